"""A page for every code a diagnostic can have: what it means, a program that gets it, and programs that do not.

The pages are Markdown files in `pages/`, one per code. Their programs are run and type-checked by tests/explain.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from metta.sweep.contracts.diagnostics import CODES, nearest
from metta.sweep.errors import UsageError

FOLDER = Path(__file__).parent / "pages"
"""Where the pages are: `<code>.md` each."""

BEYOND: dict[str, str] = {
    "attr-defined": "a hook or a condition reads a field that its data does not have",
    "contract-violation": "a value broke the contract of its stage while the pipeline ran",
}
"""What has a page and is no code of ours: what mypy itself says of a lambda, and what only a run can find."""


@dataclass(frozen=True, slots=True)
class Page:
    """What there is to say about one code.

    Attributes:
        code: such as "missing-field".
        title: what the code means, in one line.
        text: the page in Markdown. Its links to other pages are relative: `[code](code.md)`.
    """

    code: str
    title: str
    text: str


def codes() -> tuple[str, ...]:
    """Every code that has a page, sorted."""
    return tuple(sorted(CODES | BEYOND))


def title(code: str) -> str:
    """What a code of `codes()` means, in one line; the page is not read for that."""
    return CODES[code] if code in CODES else BEYOND[code]


def page(code: str) -> Page:
    """The page of a code.

    Args:
        code: as a message has it at its end. Brackets around it, capitals and the names of exceptions are understood:
            "[missing-field]", "ContractViolation".

    Raises:
        UsageError: there is no such code; the nearest one is named.
    """
    known = codes()
    name = _kebab(code)
    if name not in known:
        near = nearest(name, known)
        hint = f' (did you mean "{near}"?)' if near else ""
        raise UsageError(f'there is no code "{code}"{hint}: metta-sweep explain lists all of them')
    return Page(name, title(name), (FOLDER / f"{name}.md").read_text(encoding="utf-8"))


def _kebab(code: str) -> str:
    """ "ContractViolation", "contract_violation" and "[contract-violation]" are one."""
    text = code.strip().strip("[]").replace("_", "-").replace(" ", "-")
    if text[:1].isupper() and "-" not in text and not text.isupper():
        text = "".join(f"-{letter}" if letter.isupper() else letter for letter in text).removeprefix("-")
    return text.lower()
