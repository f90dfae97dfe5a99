"""Variables that are given one pipeline after another: `p = p.stage(...)`, statement by statement.

mypy gives a variable the type of its first value and narrows it with each assignment, to a type below that one. So the
values of such a variable need types of which the first is above all others; which they are is found in the text.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from enum import Enum


class Value(Enum):
    """Which of the values of its variable an expression is."""

    FIRST = "first"
    LATER = "later"


_BLOCK = re.compile(rb"(\s*)(?:async\s+)?(?:def|class)\s")
_ASSIGNMENT = re.compile(rb"(\s*)(\w+)\s*=(?!=)")
_TARGET = re.compile(rb"\s*(\w+)\s*=\s*\(*\s*")
_COMMENT = re.compile(rb"#.*")


class Variables:
    """The assignments of a file.

    Args:
        lines: of the file.
    """

    def __init__(self, lines: Sequence[bytes]) -> None:
        self._lines = lines
        self._places = _places(lines)

    def place(self, line: int, column: int) -> Value | None:
        """Whether the expression that begins here is all of a value of a variable that has several."""
        number = line
        before = self._lines[number - 1][:column]
        while number > 1 and before.strip() in (b"", b"("):
            number -= 1
            before = _COMMENT.sub(b"", self._lines[number - 1])
        return self._places.get(number) if _TARGET.fullmatch(before.rstrip()) else None


def _places(lines: Sequence[bytes]) -> dict[int, Value]:
    """Line of an assignment -> which one it is, for variables that are assigned more than once in their scope."""
    found: dict[tuple[int, bytes], list[int]] = defaultdict(list)
    scopes: list[tuple[int, int]] = []  # (indentation, line) of the blocks around
    for number, line in enumerate(lines, 1):
        block = _BLOCK.match(line)
        match = block or _ASSIGNMENT.match(line)
        if match is None:
            continue
        indentation = len(match[1])
        while scopes and scopes[-1][0] >= indentation:
            scopes.pop()
        if block is not None:
            scopes.append((indentation, number))
        else:
            found[scopes[-1][1] if scopes else 0, match[2]].append(number)
    return {
        number: Value.FIRST if number == numbers[0] else Value.LATER
        for numbers in found.values()
        if len(numbers) > 1
        for number in numbers
    }
