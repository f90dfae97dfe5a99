"""Scales, ticks, words and SVG elements."""

from __future__ import annotations

import math
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metta.sweep.report.drawing.marks import FEW, Mark, marks, outline, thinned
from metta.sweep.report.drawing.scales import (
    Bands,
    Linear,
    Log,
    NearOne,
    beyond,
    near_one,
    positive,
    score_scale,
    spread,
    whole,
)
from metta.sweep.report.drawing.styles import STYLES, style_of
from metta.sweep.report.drawing.svg import document, number, text
from metta.sweep.report.drawing.ticks import duration_ticks, linear_ticks, log_ticks
from metta.sweep.report.drawing.words import fitted, lines, unique_ends, width_of

SVG = "{http://www.w3.org/2000/svg}"
any_float = st.floats(allow_nan=False, allow_infinity=False)


def labels(ticks: object) -> list[str]:
    return [tick.label for tick in ticks]  # type: ignore[attr-defined]


def test_ticks_are_round_and_written_alike() -> None:
    assert labels(linear_ticks(0.0, 1.0, 5)) == ["0.0", "0.2", "0.4", "0.6", "0.8", "1.0"]
    assert labels(linear_ticks(-3.2, 4.1, 4)) == ["-2", "0", "2", "4"]
    assert labels(linear_ticks(0.0, 3.0, 10, whole=True)) == ["0", "1", "2", "3"]
    assert labels(linear_ticks(1_000_000.0, 3_000_000.0, 2)) == ["1e6", "2e6", "3e6"]
    assert labels(linear_ticks(0.00001, 0.00003, 2)) == ["1e-5", "2e-5", "3e-5"]
    assert labels(linear_ticks(1e6, 1e6 + 4, 4)) == ["1e6", "1.000001e6", "1.000002e6", "1.000003e6", "1.000004e6"]


def test_logarithmic_ticks_are_powers_of_ten_or_lie_between_them() -> None:
    assert labels(log_ticks(1e-5, 1e-1, 10)) == ["1e-5", "0.0001", "0.001", "0.01", "0.1"]
    assert labels(log_ticks(1e-12, 1.0, 5)) == ["1e-12", "1e-9", "1e-6", "0.001", "1"]
    assert labels(log_ticks(3.0, 40.0, 5)) == ["5", "10", "20"]
    assert labels(log_ticks(6.0, 9.0, 5)) == ["6", "7", "8", "9"]


def test_times_have_units() -> None:
    assert labels(duration_ticks(90.0, 5)) == ["0 s", "30 s", "1 min", "1 min 30 s"]
    assert labels(duration_ticks(1.0, 4)) == ["0.0 s", "0.5 s", "1.0 s"]
    assert labels(duration_ticks(86400 * 5.0, 5))[-1] == "5 d"


@given(any_float, any_float, st.integers(1, 20))
@settings(max_examples=200, deadline=None)
def test_every_pair_of_numbers_makes_an_axis(a: float, b: float, count: int) -> None:
    lo, hi = min(a, b), max(a, b)
    scale = spread(lo, hi, margin=0.05)
    assert scale.lo < scale.hi
    assert 0.0 <= scale.place(lo) <= scale.place(hi) <= 1.0
    ticks = scale.ticks(count)
    assert len(ticks) <= 60
    assert len(set(labels(ticks))) == len(ticks)
    if lo > 0:
        log = positive(lo, hi)
        assert 0.0 <= log.place(lo) <= log.place(hi) <= 1.0
        assert len(log.ticks(count)) <= 60
    if hi < 1:
        near = near_one(lo, hi)
        assert 0.0 <= near.place(lo) <= near.place(hi) <= 1.0
        assert len(near.ticks(count)) <= 60


def test_scales_put_values_where_they_belong() -> None:
    assert Log(1.0, 100.0).place(10.0) == pytest.approx(0.5)
    assert Log(1.0, 100.0).place(-1.0) == 0.0
    assert NearOne(0.9, 0.999).place(0.99) == pytest.approx(0.5)
    assert labels(NearOne(0.9, 0.9999).ticks(5)) == ["0.9", "0.99", "0.999", "0.9999"]
    assert Bands(("a", "b")).place(1) == 0.75
    assert labels(Bands(tuple("abcdef")).ticks(3)) == ["a", "c", "e"]
    assert whole(0, 9).place(0) == pytest.approx(0.05)
    assert whole(2**60, 2**60).place(2**60) == pytest.approx(0.5)
    assert Linear(-1.7e308, 1.7e308).place(0.0) == 0.5


def test_a_run_that_diverged_does_not_squeeze_the_others() -> None:
    usual = [index / 10 for index in range(30)]
    scale = score_scale([*usual, 1e30], "minimize")
    assert isinstance(scale, Linear)
    assert scale.hi < 10
    assert beyond(scale, [*usual, 1e30]) == 1
    assert beyond(score_scale([*usual, -1e30], "maximize"), [*usual, -1e30]) == 1
    very_good = score_scale([*usual, 1e30], "maximize")  # what is good is never cut off
    assert beyond(very_good, [*usual, 1e30]) == 0


def test_losses_over_many_powers_of_ten_are_logarithmic() -> None:
    scale = score_scale([1e-6, 1e-3, 1.0], "minimize")
    assert isinstance(scale, Log)
    assert beyond(scale, [1e-6, 1e-3, 1.0]) == 0
    assert isinstance(score_scale([1e-6, 1e-3, 1.0], "maximize"), Linear)
    assert score_scale([], "minimize") == Linear(0.0, 1.0)


def test_what_does_not_fit_loses_its_middle() -> None:
    path = "trainer.optimizer.schedule.learning_rate"
    short = fitted(path, 120)
    assert short.startswith("tr")
    assert short.endswith("rate")
    assert "…" in short
    assert width_of(short) <= 120
    assert fitted("lr", 120) == "lr"
    assert fitted("名" * 50, 100).count("名") < 9
    assert lines("one two three", 50) == ["one two", "three"]
    assert lines("", 50) == [""]
    assert unique_ends(["a.lr", "b.depth", "c.depth", "x."]) == ["lr", "b.depth", "c.depth", "x."]


@given(st.text())
@settings(max_examples=200, deadline=None)
def test_any_text_makes_a_document(content: str) -> None:
    root = ElementTree.fromstring(document(100, 50, "f", content, text(1, 2, content)))
    assert root.get("viewBox") == "0 0 100 50"
    assert [child.tag for child in root.iter()] == [f"{SVG}svg", f"{SVG}g", f"{SVG}text"]


def test_what_turns_text_round_or_is_no_text_is_replaced() -> None:
    hostile = "a\0b\u202ec\u2066d\ud800</text><script>alert('1')</script>\"\n\x1b[31m"
    root = ElementTree.fromstring(document(100, 50, "f", "alt", text(1, 2, hostile)))
    shown = "".join(root.itertext())
    assert shown == "a\ufffdb\ufffdc\ufffdd\ufffd</text><script>alert('1')</script>\" \ufffd[31m"


def test_coordinates_are_short() -> None:
    assert [number(value) for value in (1.0, 1.25, -0.01, 100.04)] == ["1", "1.2", "0", "100"]


def test_many_marks_are_one_element_and_few_have_a_title_each() -> None:
    few = ElementTree.fromstring(marks([Mark(1, 2, "<a>")] * FEW, STYLES[0]))
    assert len(few.findall("path")) == len(few.findall("path/title")) == FEW
    assert few.findtext("path/title") == "<a>"
    many = ElementTree.fromstring(marks([Mark(1, 2, "<a>")] * (FEW + 1), STYLES[0]))
    assert many.tag == "path"
    assert len(list(many)) == 0
    assert marks([], STYLES[0]) == ""


def test_every_state_has_a_shape_and_a_colour_that_is_read_on_white_and_on_black() -> None:
    assert len({style.shape for style in STYLES}) == len({style.color for style in STYLES}) == len(STYLES)
    assert len({outline(style.shape, 5, 5, 2) for style in STYLES}) == len(STYLES)
    for style in STYLES:
        assert _contrast(style.color, "#ffffff") >= 4.5
        assert _contrast(style.color, "#121212") >= 3.0
    assert style_of("pending") is style_of("running")


def _contrast(a: str, b: str) -> float:
    """The contrast ratio of WCAG 2.1."""
    light, dark = sorted((_luminance(a), _luminance(b)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def _luminance(color: str) -> float:
    parts = [int(color[index : index + 2], 16) / 255 for index in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return math.fsum(weight * part for weight, part in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def test_thinning_keeps_the_ends() -> None:
    assert list(thinned(range(10), 20)) == list(range(10))
    assert list(thinned(range(1001), 3)) == [0, 500, 1000]
    assert list(thinned(range(9), 1)) == [0]
    assert list(thinned(range(9), 0)) == []
