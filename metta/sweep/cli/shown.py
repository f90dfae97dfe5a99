"""How the command line shows things: values as JSON, tracebacks without our own frames, times, plain tables."""

from __future__ import annotations

import json
import math
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from enum import Enum
from pathlib import Path
from typing import Any, Final

import click

from metta.sweep.cli.output import show
from metta.sweep.contracts.records import record_fields_of_value
from metta.sweep.errors import UsageError
from metta.sweep.experiments.run import OwnRun
from metta.sweep.pipeline.context import Context
from metta.sweep.report.text import cells, padded, shorten

_PACKAGE: Final = str(Path(__file__).resolve().parents[1])
_FRAME: Final = re.compile(r'^\s*(?:[|+-]\s*)*File "([^"\n]*)"')
_LONGEST: Final = 200
_DEEPEST: Final = 20
SHARE: Final = 16
"""Columns of the terminal that a cell of a sheet may have, however many there are."""


def show_json(data: object) -> None:
    """Write one JSON document to standard output.

    Raises:
        UsageError: standard output cannot be written.
    """
    show(json.dumps(jsonable(data), indent=2, allow_nan=False))


def format_of(format: str | None, as_json: bool) -> str | None:
    """The format that `--format` and `--json` ask for; None where neither does.

    Raises:
        UsageError: they contradict one another.
    """
    if as_json and format not in (None, "json"):
        raise UsageError(f"--json is --format json, and excludes --format {format}: choose one")
    return "json" if as_json else format


def jsonable(value: object, depth: int = 0) -> Any:
    """A JSON value that says the same: records become objects, what is not finite null, anything else its `repr`."""
    if isinstance(value, Enum):
        return jsonable(value.value, depth)
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if depth > _DEEPEST:
        return "..."
    if isinstance(value, Context):
        value = value._asdict()
    elif isinstance(value, OwnRun):
        value = value._record
    if isinstance(value, Mapping):
        return {str(name): jsonable(item, depth + 1) for name, item in value.items()}
    if (fields := record_fields_of_value(value)) is not None:
        return {name: jsonable(item, depth + 1) for name, item in fields.items()}
    if isinstance(value, list | tuple):
        return [jsonable(item, depth + 1) for item in value]
    if isinstance(value, set | frozenset):
        return sorted((jsonable(item, depth + 1) for item in value), key=repr)
    return str(value) if isinstance(value, Path) else repr(value)


def result_lines(value: object) -> list[str]:
    """A pipeline's result for people: a line per field, or its value; each bounded."""
    if isinstance(value, Context):
        fields = value._asdict()
    else:
        fields = record_fields_of_value(value) or {"": value}
    return [f"{name} = {_bounded(item)}" if name else _bounded(item) for name, item in fields.items()]


def _bounded(value: object) -> str:
    try:
        text = repr(value)
    except Exception as error:  # a value that cannot be shown is still a result
        text = f"<{type(value).__name__}, whose repr raised {type(error).__name__}>"
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"


def user_traceback(text: str) -> str:
    """A formatted traceback without the frames of ours that lead to the user's code.

    Empty where no frame is the user's: then the message says it all.
    """
    kept: list[str] = []
    has_users = follows = False
    for entry, file in reversed(list(_entries(text))):
        if file is None:
            follows = follows and not _begins(entry)
        elif not _is_ours(file):
            follows = has_users = True
        elif follows:
            continue  # ours, on the way to the user's
        kept.append(entry)
    return "".join(reversed(kept)) if has_users else ""


def _entries(text: str) -> Iterator[tuple[str, str | None]]:
    """The frames of a traceback with their files, and the lines between them."""
    lines = text.splitlines(keepends=True)
    position = 0
    while position < len(lines):
        end = position + 1
        frame = _FRAME.match(lines[position])
        while frame is not None and end < len(lines) and _continues(lines[end]):
            end += 1
        yield "".join(lines[position:end]), frame and frame[1]
        position = end


def _begins(line: str) -> bool:
    return "Traceback (most recent call last):" in line


def _continues(line: str) -> bool:
    """Whether a line belongs to the frame above it: its source, and the marks below that."""
    plain = re.sub(r"^\s*(?:[|]\s?)*", "", line)
    indent = len(line) - len(line.lstrip(" |"))
    return indent >= 4 and bool(plain) and _FRAME.match(line) is None


def _is_ours(file: str) -> bool:
    ours = file.startswith((_PACKAGE, "<metta.sweep."))
    return ours or re.search(r"/(asyncio|concurrent/futures|threading)(/\w+)*\.py$", file) is not None


def seconds_of(text: str) -> float:
    """A span of time as people write it: "30d", "12h", "90m", "45s" or a number of days.

    Raises:
        click.BadParameter: it is none.
    """
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([smhdw]?)\s*", text)
    if found is None:
        raise click.BadParameter(f"{text!r} is no span of time: expected something like 30d, 12h or 90m")
    return float(found[1]) * {"s": 1, "m": 60, "h": 3_600, "": 86_400, "d": 86_400, "w": 604_800}[found[2]]


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Columns of text, each as wide as its widest cell; the last is not padded."""
    widths = [max(map(cells, column)) for column in zip(head, *rows, strict=True)]
    return "\n".join(_line(row, widths) for row in (head, *rows))


def sheet(rows: Sequence[Sequence[str]], width: int) -> list[str]:
    """Lines with a label and a cell for each column, in blocks of as many columns as fit beside one another.

    Args:
        rows: each a label, then the cells; of the same length.
        width: of the terminal, in columns; what is too long for its share is cut.
    """
    number = max(len(rows[0]) - 1, 1)
    labels = [shorten(row[0], max(width // 3, 8)) for row in rows]
    room = width - max(map(cells, labels))
    most = max(room // number - 2, min(SHARE, room - 2), 1)
    columns = [[shorten(row[index + 1], most) for row in rows] for index in range(len(rows[0]) - 1)]
    blocks: list[list[list[str]]] = []
    used = 0
    for column in columns:
        wide = 2 + max(map(cells, column))
        if not blocks or used + wide > room:
            blocks.append([labels])
            used = 0
        blocks[-1].append(column)
        used += wide
    lines: list[str] = []
    for block in blocks:
        widths = [max(map(cells, column)) for column in block]
        lines += [*([""] if lines else []), *(_line(row, widths) for row in zip(*block, strict=True))]
    return lines


def terminal_width() -> int:
    """Columns of standard output; 80 where it is no terminal, and at most 120."""
    from shutil import get_terminal_size

    return min(get_terminal_size((80, 24)).columns, 120) if sys.stdout.isatty() else 80


def _line(row: Sequence[str], widths: Sequence[int]) -> str:
    return "  ".join(padded(text, width) for text, width in zip(row, widths, strict=True)).rstrip()
