"""The table that a benchmark prints."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple


class Row(NamedTuple):
    """One measurement: what, how long it took and beside what, the ratio, and whether a promise holds."""

    what: str
    took: str
    beside: str = ""
    ratio: str = ""
    promise: str = ""
    holds: bool | None = None


def table(rows: Sequence[Row], *, took: str = "took", beside: str = "beside") -> str:
    """The rows as aligned text."""
    heads = ("what", took, beside, "ratio", "promise", "holds")
    cells = [(*row[:5], {None: "", True: "yes", False: "NO"}[row.holds]) for row in rows]
    widths = [max(len(line[column]) for line in (heads, *cells)) for column in range(len(heads))]
    lines = [heads, tuple("-" * width for width in widths), *cells]
    return "\n".join("  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)) for line in lines)


def failed(rows: Sequence[Row]) -> bool:
    """Whether a promise does not hold."""
    return any(row.holds is False for row in rows)
