"""Texts for people: numbers, times and names, short, and harmless to a terminal."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Final

from metta.sweep.goal import Objectives, Score

_CONTROLS: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_INVISIBLE: Final = re.compile(
    r"[\u00ad\u061c\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufe00-\ufe0f\ufeff\U000e0000-\U000e01ef]"
)
"""Joiners, marks that turn the direction, variation selectors: terminals disagree on the width of what has them."""


def harmless(text: str) -> str:
    """Text that can do nothing to a terminal: control characters, except tabs and line feeds, as Python writes them."""
    return text if text.isascii() and text.isprintable() else _CONTROLS.sub(_escaped, text)


def _escaped(found: re.Match[str]) -> str:
    return ascii(found[0])[1:-1]


def one_line(text: str) -> str:
    """The same on one line, also without invisible characters."""
    if text.isascii() and text.isprintable():
        return text
    flat = " ".join(text.split()) if any(end in text for end in "\n\r\t\v\f") else text
    return _INVISIBLE.sub("", _CONTROLS.sub(_escaped, flat))


def shorten(text: str, width: int, *, mark: str = "…") -> str:
    """One line that is at most `width` columns wide; wide characters count twice.

    Args:
        mark: what stands where something was cut off.
    """
    flat = one_line(text[: 20 * width + 200])  # a message may be a megabyte
    if cells(flat) <= width:
        return flat
    room = width - cells(mark)
    kept, used = 0, 0
    for letter in flat:
        used += cells(letter)
        if used > room:
            break
        kept += 1
    return flat[:kept] + (mark if room >= 0 else "")


def cells(text: str) -> int:
    """How many columns of a terminal a line is wide."""
    if text.isascii():
        return len(text)
    from rich.cells import cell_len

    return cell_len(text)


def padded(text: str, width: int) -> str:
    """A line with spaces behind it, `width` columns wide; one that is wider as it is."""
    return text + " " * (width - cells(text))


def counts(numbers: Mapping[str, int]) -> str:
    """`{"timeout": 2, "oom": 1}` as "timeout 2, oom 1"; zeros are left out."""
    return ", ".join(f"{name} {number}" for name, number in numbers.items() if number)


def clock(seconds: float) -> str:
    """Seconds as h:mm:ss, or m:ss below an hour: for lines that are told, or drawn again, while time passes."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def duration(seconds: float) -> str:
    """Seconds in two units at most: "0.12 s", "45 s", "1 min 30 s", "2 h", "3 d 6 h". For all other spans of time."""
    if not math.isfinite(seconds):
        return "-"
    seconds = max(seconds, 0)
    if seconds < 9.995 and seconds != int(seconds):
        return f"{seconds:.2f} s"
    left = round(seconds)
    parts = []
    for unit, size in (("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1)):
        amount, left = divmod(left, size)
        parts.append((amount, unit))
    first = next((index for index, (amount, _) in enumerate(parts) if amount), len(parts))
    return " ".join(f"{amount} {unit}" for amount, unit in parts[first : first + 2] if amount) or "0 s"


def goal_text(objectives: Objectives) -> str:
    """What is optimized, as "maximize accuracy, minimize latency"."""
    pairs = zip(objectives.directions, objectives.keys, strict=True)
    return ", ".join(f"{direction} {key}" for direction, key in pairs)


def scores_text(objectives: Objectives, score: Score | None) -> str:
    """A score with its names, as "accuracy 0.91, latency 20"."""
    values = dict(score) if isinstance(score, Mapping) else dict.fromkeys(objectives.keys, score)
    return ", ".join(f"{key} {number_text(values.get(key))}" for key in objectives.keys)


def trials_text(count: int) -> str:
    """How many trials."""
    return f"{count} trial" if count == 1 else f"{count} trials"


def number_text(value: float | None) -> str:
    """A number with four significant digits; a dash for none."""
    return "-" if value is None else f"{value:.4g}"


def value_text(value: object) -> str:
    """A parameter's value: numbers short, everything else as it prints, bounded."""
    return number_text(value) if isinstance(value, float) else shorten(str(value), 40)
