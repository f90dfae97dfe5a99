"""Text that has to fit: how wide it is about, cut in the middle, broken into lines."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final
from unicodedata import combining, east_asian_width

ELLIPSIS: Final = "\N{HORIZONTAL ELLIPSIS}"

LONGEST: Final = 60
"""Characters of a name in a sentence."""


def width_of(content: str, size: float = 12.0) -> float:
    """About how many pixels a text takes in a sans-serif face of `size` pixels: nobody measures before drawing."""
    return size * sum(_em(char) for char in content)


def _em(char: str) -> float:
    if combining(char):
        return 0.0
    if east_asian_width(char) in "WF":
        return 1.0
    if char in " .,:;|!'ijl()[]":
        return 0.32
    return 0.72 if char.isupper() or char in "mwMW%@" else 0.57


def fitted(content: str, width: float, size: float = 12.0) -> str:
    """`content`, without its middle where it is wider than `width` pixels: paths differ at their ends."""
    if len(content) * size <= width or width_of(content, size) <= width:
        return content
    room = max(0.0, width - width_of(ELLIPSIS, size))
    head = _taken(content, room * 0.4, size)
    tail = _taken(content[::-1], room - width_of(head, size), size)[::-1]
    return head + ELLIPSIS + tail


def _taken(content: str, width: float, size: float) -> str:
    used = 0.0
    for index, char in enumerate(content):
        used += _em(char) * size
        if used > width:
            return content[:index]
    return content


def brief(name: str) -> str:
    """A name as it stands in a sentence: without its middle where it is longer than 60 characters."""
    half = (LONGEST - 1) // 2
    return name if len(name) <= LONGEST else name[:half] + ELLIPSIS + name[-half:]


def lines(content: str, width: float, size: float = 12.0) -> list[str]:
    """`content` broken at its blanks into lines of at most `width` pixels; a longer word is cut in its middle."""
    found = [""]
    for word in content.split():
        longer = f"{found[-1]} {word}".strip()
        if not found[-1] or width_of(longer, size) <= width:
            found[-1] = longer
        else:
            found.append(word)
    return [fitted(line, width, size) for line in found]


def unique_ends(paths: Sequence[str]) -> list[str]:
    """The last part of each dot path where it names that path only, the whole path otherwise."""
    ends = [path.rpartition(".")[2] or path for path in paths]
    known = {end: ends.count(end) for end in set(ends)}
    return [end if known[end] == 1 else path for end, path in zip(ends, paths, strict=True)]
