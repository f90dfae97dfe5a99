"""The programs on the pages: what Markdown says of them, and how they are taken out.

A block of Python without a title is the beginning of every program of its page; "Wrong" and "Right" are what comes
behind it. "Message" is what the wrong program before it is told. In a wrong program a comment at the end of a line
says what is found there: `# error: missing-field` or `# note: untyped-stage`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from metta.sweep.explain import FOLDER
from tests.marks import Finding

FILE = "train.py"
"""The name the programs have in the messages."""

_BLOCK = re.compile(r'^```(\w+)(?: title="(\w+)")?\n(.*?)^```$', re.DOTALL | re.MULTILINE)
_MARK = re.compile(r"#\s*(error|note): ([a-z-]+)$")


@dataclass(frozen=True, slots=True)
class Programs:
    """What a page shows.

    Attributes:
        wrong: the program that gets the code.
        message: what it is told.
        right: the programs that are fine.
    """

    wrong: str
    message: str
    right: tuple[str, ...]


def programs(text: str) -> Programs:
    """Of a page in Markdown.

    Raises:
        ValueError: a page without exactly one wrong program and one message, or with a block that is neither.
    """
    blocks: dict[tuple[str, str], list[str]] = {}
    for language, title, body in _BLOCK.findall(text):
        blocks.setdefault((language, title), []).append(body)
    start = "\n\n".join(blocks.pop(("python", ""), []))
    (wrong,) = blocks.pop(("python", "Wrong"))
    (message,) = blocks.pop(("text", "Message"))
    right = blocks.pop(("python", "Right"))
    for language, title in blocks:
        if language in ("python", "text"):
            raise ValueError(f'a block of {language} has the title "{title}"')
    return Programs(_joined(start, wrong), message, tuple(_joined(start, body) for body in right))


def with_message(code: str, message: str) -> None:
    """Write a message into a page, for UPDATE_GOLDEN=1."""
    path = FOLDER / f"{code}.md"
    text = re.sub(
        r'^```text title="Message"\n.*?^```$',
        lambda _: f'```text title="Message"\n{message}```',
        path.read_text(encoding="utf-8"),
        flags=re.DOTALL | re.MULTILINE,
    )
    path.write_text(text, encoding="utf-8")


def marked(program: str) -> set[Finding]:
    """What the comments of a program say."""
    lines = enumerate(program.splitlines(), 1)
    return {Finding(n, found[1], found[2]) for n, line in lines if (found := _MARK.search(line))}


def _joined(start: str, body: str) -> str:
    """One file, with the empty lines that a formatter would put between them."""
    last = start.rstrip().rpartition("\n")[2]
    far = last.startswith(" ") or body.startswith(("def ", "async ", "class ", "@"))
    return f"{start}\n\n{body}" if far else f"{start}\n{body}" if last.startswith("from ") else f"{start}{body}"


def found_by(text: str) -> set[str]:
    """Who finds the mistake, as its page says: `Found by: definition time, mypy.`"""
    (found,) = re.findall(r"^Found by: ([^.]+)\.", text, re.MULTILINE)
    return set(found.split(", "))
