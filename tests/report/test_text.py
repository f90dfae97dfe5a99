"""Times and widths as people read them."""

from __future__ import annotations

import math

import pytest

from metta.sweep.report.text import cells, clock, duration, padded


def test_clock() -> None:
    assert [clock(5), clock(65), clock(3725)] == ["0:05", "1:05", "1:02:05"]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (0.003, "0.00 s"),
        (0.123, "0.12 s"),
        (2.0, "2 s"),
        (8.2, "8.20 s"),
        (9.999, "10 s"),
        (45.4, "45 s"),
        (59.7, "1 min"),
        (119, "1 min 59 s"),
        (3_599.6, "1 h"),
        (7_261, "2 h 1 min"),
        (3_630, "1 h"),
        (90_000, "1 d 1 h"),
        (259_200, "3 d"),
        (-0.5, "0 s"),
        (math.nan, "-"),
        (math.inf, "-"),
    ],
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_wide_characters_are_padded_by_columns() -> None:
    assert [padded(text, 6) for text in ("ab", "模型", "🚀", "too wide")] == ["ab    ", "模型  ", "🚀    ", "too wide"]
    assert {cells(padded(text, 6)) for text in ("ab", "模型", "🚀")} == {6}
