"""What engines and jobs say, as it may stand in our own messages."""

from __future__ import annotations


def as_line(text: str, longest: int = 300) -> str:
    """The text as one line that does nothing to a terminal, shortened to so many characters."""
    line = " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())
    return line if len(line) <= longest else line[: longest - 1] + "…"
