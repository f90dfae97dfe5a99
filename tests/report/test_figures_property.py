"""Any names, values and scores: the drawing is XML, no name is markup, the data is JSON."""

from __future__ import annotations

import json
import math
from typing import Any
from xml.etree import ElementTree

from hypothesis import given, settings
from hypothesis import strategies as st

from metta.sweep.report.figures import MAKERS
from metta.sweep.report.snapshot import Span
from metta.sweep.trial import Failure, FailureReason, Report, TrialState
from tests.report.snapshots import snapshot, trial

HOSTILE = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "</text></svg><h1>",
    "&lt;b&gt;",
    "a\0b",
    "\u202egnp.exe",
    "\ud800",
    "]]>",
    "x" * 3000,
    "",
    ".",
    "a\nb",
)
names = st.sampled_from(HOSTILE) | st.text(max_size=12)
numbers = (
    st.floats() | st.integers(-(10**400), 10**400) | st.sampled_from([0.0, -0.0, 5e-324, 1.7e308, math.inf, math.nan])
)
values = numbers | st.booleans() | st.none() | names | st.lists(st.integers() | names, max_size=3)
scores = st.floats() | st.sampled_from([0.0, 1e-320, 1.7e308, -1.7e308])
kinds = st.sampled_from(["Uniform", "LogUniform", "LogitNormal", "Integer", "PowerOfTwo", "Choice", "Constant", "Else"])
ENDS = ("running", "paused", "completed", "pruned", "failed", "preempted", "lost", "cancelled", "else")


@st.composite
def sweeps(draw: st.DrawFn) -> Any:
    keys = draw(st.lists(names, min_size=1, max_size=5, unique=True))
    goal = {key: draw(st.sampled_from(["maximize", "minimize"])) for key in keys}
    paths = draw(st.lists(names, max_size=4, unique=True))
    trials = []
    for number in range(draw(st.integers(0, 12))):
        params = {path: draw(values) for path in paths if draw(st.booleans())}
        reports = [Report(step, {key: draw(scores) for key in keys}) for step in range(1, draw(st.integers(1, 4)))]
        last = dict(reports[-1].metrics) if reports else None
        score: Any = last if last is None or len(keys) > 1 else last[keys[0]]
        made = trial(number, score, state=draw(st.sampled_from(list(TrialState))), params=params, reports=reports)
        if made.state is TrialState.FAILED:
            made.failure = Failure(FailureReason.USER_ERROR, draw(names))
        made.parent = draw(st.none() | st.integers(0, 12))
        trials.append(made)
    space = {
        path: {"type": draw(kinds), "lo": draw(numbers), "hi": draw(numbers)}
        | ({"values": draw(st.lists(values))} if draw(st.booleans()) else {})
        for path in paths
        if draw(st.booleans())
    }
    times = st.floats(-1e6, 1e6)
    spans = [
        Span(
            draw(st.integers(0, 12)),
            1,
            draw(names),
            draw(times),
            draw(st.none() | times),
            draw(st.sampled_from(ENDS)),
            draw(names),
        )
        for _ in range(draw(st.integers(0, 6)))
    ]
    return snapshot(*trials, goal=goal, space=space, spans=spans, seconds=draw(st.floats(0, 1e9)))  # type: ignore[arg-type]


@given(sweeps())
@settings(max_examples=60, deadline=None)
def test_whatever_is_in_a_sweep_is_drawn(sweep: Any) -> None:
    for make in MAKERS.values():
        figure = make(sweep)
        assert len(figure.alt) < 1200
        svg = figure.to_svg()
        tags = {element.tag.partition("}")[2] for element in ElementTree.fromstring(svg).iter()}
        assert tags <= {"svg", "g", "path", "text", "title", "circle", "rect"}
        for element in ElementTree.fromstring(svg).iter():
            for name in ("d", "x", "y", "cx", "cy", "width", "height"):
                assert "nan" not in element.get(name, "")
                assert "inf" not in element.get(name, "")
        page = figure._repr_html_()
        assert "<script" not in page
        assert "<img" not in page
        assert "\0" not in page
        page.encode()
        json.dumps(figure.to_json(), allow_nan=False)
