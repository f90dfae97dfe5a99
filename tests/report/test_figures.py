"""The six figures: what they show, say and leave out."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any
from xml.etree import ElementTree

import pytest

from metta.sweep.goal import Goal
from metta.sweep.report import figures
from metta.sweep.report.drawing.marks import MANY
from metta.sweep.report.drawing.words import width_of
from metta.sweep.report.figures import (
    Figure,
    all_figures,
    history,
    learning_curves,
    parallel_coordinates,
    parameter_importance,
    pareto,
    timeline,
)
from metta.sweep.report.figures.attempts import running
from metta.sweep.report.snapshot import Span, SweepSnapshot
from metta.sweep.trial import Report, TrialState
from tests.report.snapshots import SPACE, TWO, searched, snapshot, trial

FOUR: Goal = {"a": "maximize", "b": "minimize", "c": "maximize", "d": "minimize"}
Make = Callable[[SweepSnapshot], Figure]
SVG = "http://www.w3.org/2000/svg"
EACH = pytest.mark.parametrize("make", figures.MAKERS.values(), ids=figures.MAKERS.keys())


def drawn(figure: Figure, width: int = 720, height: int = 360) -> ElementTree.Element:
    """The drawing, after what holds for all of them."""
    svg = figure.to_svg(width, height)
    root = ElementTree.fromstring(svg)
    assert root.get("role") == "img"
    assert root.get("aria-label") == figure.alt
    assert figure.alt.endswith(".")
    for element in root.iter():
        assert not {"style", "id", "href"} & set(element.attrib)
        assert not [name for name in element.attrib if name.startswith("on")]
        assert element.tag.partition("}")[2] in {"svg", "g", "path", "text", "title", "circle", "rect"}
    json.dumps(figure.to_json(), allow_nan=False)
    return root


def words(figure: Figure) -> list[str]:
    """All texts that the drawing shows."""
    return [element.text or "" for element in drawn(figure).iter() if element.tag.endswith("}text")]


def titles(figure: Figure) -> list[str]:
    """The tooltips."""
    return [element.text or "" for element in drawn(figure).iter() if element.tag.endswith("}title")]


def by_class(figure: Figure, name: str) -> list[ElementTree.Element]:
    return [element for element in drawn(figure).iter() if name in (element.get("class") or "").split()]


@EACH
@pytest.mark.parametrize("count", [0, 1, 2, 30])
@pytest.mark.parametrize("goal", ["maximize", TWO, FOUR], ids=["one", "two", "four"])
def test_any_number_of_trials_and_objectives_is_drawn(make: Make, count: int, goal: Goal) -> None:
    figure = make(searched(count, goal=goal))
    for width, height in ((720, 360), (10, 10), (2000, 900)):
        root = drawn(figure, width, height)
        assert float(root.attrib["width"]) >= max(width, 280)
    if figure.missing:
        assert words(figure)
        assert figure.notes == ()


def test_only_figures_with_something_to_show_are_given() -> None:
    assert all_figures(searched(0)) == ()
    assert [figure.name for figure in all_figures(searched(40))] == [
        "history",
        "learning_curves",
        "parallel_coordinates",
        "parameter_importance",
        "timeline",
    ]
    assert "pareto" in [figure.name for figure in all_figures(searched(40, goal=TWO))]
    assert [figure.name for figure in all_figures(snapshot(trial(0, 1.0)))] == ["history", "parallel_coordinates"]


@EACH
def test_five_thousand_trials_stay_small(make: Make) -> None:
    figure = make(searched(5000, goal=TWO))
    svg = figure.to_svg()
    assert len(svg) < 400_000
    assert svg.count("<") < 4000
    assert len(json.dumps(figure.to_json())) < 1_500_000


@EACH
def test_a_notebook_shows_the_drawing_and_says_what_it_shows(make: Make) -> None:
    figure = make(searched(30))
    html = figure._repr_html_()
    assert figure.to_svg() in html
    assert f"<strong>{figure.title}.</strong>" in html
    bundle = figure._repr_mimebundle_()
    assert bundle == {"text/html": html, "image/svg+xml": figure.to_svg(), "text/plain": str(figure)}
    assert figure._repr_mimebundle_(include=["text/plain"]) == {"text/plain": str(figure)}
    assert "text/html" not in figure._repr_mimebundle_(exclude=["text/html"])


# History


def test_history_tells_the_best_and_when_it_was_reached() -> None:
    figure = history(snapshot(*(trial(number, score) for number, score in enumerate([0.5, 0.4, 0.75, 0.7]))))
    assert figure.alt == "Score of 4 trials in order: the best, 0.75, was reached by trial 2 (4 completed)."
    assert figure.tracks[0].best == ((0, 0.5), (2, 0.75))
    assert figure.to_json()["objectives"][0]["best_so_far"] == [
        {"trial": 0, "value": 0.5},
        {"trial": 2, "value": 0.75},
    ]
    assert "best 0.75 (trial 2)" in words(figure)
    low = history(snapshot(trial(0, 0.5), trial(1, 0.4), trial(2, 0.4), goal="minimize"))
    assert low.tracks[0].best == ((0, 0.5), (1, 0.4))


def test_best_so_far_compares_at_the_largest_resource_only() -> None:
    early = trial(0, 0.99, step=1, state=TrialState.PRUNED)
    figure = history(snapshot(early, trial(1, 0.5, step=9), trial(2, 0.6, step=9)))
    assert figure.tracks[0].best == ((1, 0.5), (2, 0.6))
    assert figure.notes == ("Best so far is compared among the 2 trials that reached step 9.",)


def test_trials_without_a_finite_score_are_in_a_strip_of_their_own() -> None:
    figure = history(
        snapshot(
            trial(0, 0.5),
            trial(1, math.nan),
            trial(2, math.inf),
            trial(3, state=TrialState.FAILED),
            trial(4, state=TrialState.RUNNING),
        )
    )
    assert "no score" in words(figure)
    assert [dot.value for dot in figure.tracks[0].dots] == [0.5, None, None, None, None]
    assert figure.tracks[0].best == ((0, 0.5),)
    assert "trial 3: score -, failed (oom: out of memory)" in titles(figure)
    assert "no score" not in words(history(snapshot(trial(0, 0.5))))


def test_states_differ_by_shape() -> None:
    states = [TrialState.COMPLETED, TrialState.PRUNED, TrialState.PAUSED, TrialState.RUNNING, TrialState.FAILED]
    figure = history(snapshot(*(trial(number, 0.5, state=state) for number, state in enumerate(states))))
    shapes = {
        (element.get("class") or "").split()[1]: element[0].attrib["d"].partition(",")[2].lstrip("0123456789.")
        for element in by_class(figure, "mark")
    }
    assert shapes.keys() == {"completed", "pruned", "paused", "running", "failed"}
    assert len(set(shapes.values())) == 5


def test_several_objectives_have_a_panel_and_a_best_each() -> None:
    scores = [
        {"accuracy": 0.9, "latency": 5.0},
        {"accuracy": 0.8, "latency": 1.0},
        {"accuracy": math.nan, "latency": 0.1},
    ]
    figure = history(snapshot(*(trial(number, score) for number, score in enumerate(scores)), goal=TWO))
    assert [track.best for track in figure.tracks] == [((0, 0.9),), ((0, 5.0), (1, 1.0))]
    assert {"accuracy (maximize)", "latency (minimize)"} <= set(words(figure))
    assert (
        "the best accuracy, 0.9, was reached by trial 0 and the best latency, 1, was reached by trial 1" in figure.alt
    )


def test_a_score_beyond_the_axis_is_said() -> None:
    trials = [trial(number, number / 10) for number in range(20)]
    figure = history(snapshot(*trials, trial(20, 1e12), goal="minimize"))
    assert figure.notes == ("1 trial beyond the axis of score (the worst: 1e+12): at its edge.",)


def test_more_trials_than_can_be_seen_are_thinned_and_this_is_said() -> None:
    figure = history(snapshot(*(trial(number, float(number)) for number in range(MANY + 10))))
    assert f"{MANY} of the {MANY + 10} trials are drawn, in equal distances." in figure.notes
    assert figure.to_json()["objectives"][0]["left_out"] == 10
    assert figure.tracks[0].best[-1] == (MANY + 9, MANY + 9.0)


# Learning curves


def reports(*scores: float, first: int = 1) -> list[Report]:
    return [Report(first + place, {"score": score}) for place, score in enumerate(scores)]


def test_curves_have_gaps_where_there_is_no_number() -> None:
    curve = reports(0.1, 0.2, math.nan, 0.3, math.inf, 0.4, 0.5)
    figure = learning_curves(snapshot(trial(0, 0.5, reports=curve)))
    (line,) = by_class(figure, "line")
    runs = line.attrib["d"].split("M")[1:]
    assert [run.count("L") for run in runs] == [1, 0, 1]
    assert runs[1].endswith("h0")  # a point alone is a dot
    assert figure.to_json()["trials"][0]["values"] == [[0.1], [0.2], [None], [0.3], [None], [0.4], [0.5]]


def test_successive_halving_has_a_logarithmic_axis_and_others_do_not() -> None:
    assert "step (logarithmic)" in words(learning_curves(searched(60)))
    same = [trial(number, 0.5, reports=reports(*(0.1 * step for step in range(20)))) for number in range(5)]
    assert "step" in words(learning_curves(snapshot(*same)))


def test_one_report_each_is_no_curve() -> None:
    figure = learning_curves(snapshot(trial(0, 0.5), trial(1, 0.6)))
    assert figure.missing == "Every trial reported once: there are no curves to draw."
    nothing = trial(1, math.nan, reports=reports(math.nan, math.inf))
    assert learning_curves(snapshot(trial(0), nothing)).missing == "No trial has reported a score yet."


def test_of_many_trials_only_some_are_read_and_drawn_and_this_is_said() -> None:
    asked: list[int] = []
    sweep = searched(900)

    def later(number: int, found: list[Report]) -> Callable[[], list[Report]]:
        def read() -> list[Report]:
            asked.append(number)
            return found

        return read

    for one in sweep.trials:
        found = one.reports
        if found:
            one.read_reports_later(found[-1].step, later(one.id, found))
    figure = learning_curves(sweep)
    assert len(asked) == len(set(asked)) == 300
    with_steps = sum(one.step > 0 for one in sweep.trials)
    assert figure.notes[0] == (
        f"The best 100 of {with_steps} trials have a line of their own; 200 of the {with_steps - 100} others, "
        "in equal distances of rank, are a faint bundle."
    )
    assert len(by_class(figure, "line")) == 100
    assert len(by_class(figure, "others")) == 1
    assert figure.to_json()["left_out"] == with_steps - 100


def test_a_peak_survives_thinning() -> None:
    values = [0.0] * 100_000
    values[54_321] = 1.0
    figure = learning_curves(snapshot(trial(0, 0.0, reports=reports(*values))))
    assert len(figure.curves[0].points) <= 20_000
    assert (54_322, (1.0,)) in figure.curves[0].points


def test_a_fork_hangs_on_its_parent() -> None:
    parent = trial(0, 0.4, reports=reports(0.1, 0.2, 0.3, 0.4))
    child = trial(1, 0.6, reports=reports(0.5, 0.6, first=3))
    child.parent = 0
    figure = learning_curves(snapshot(parent, child))
    assert [curve.start for curve in figure.curves if curve.trial == 1] == [(2, (0.2,))]
    assert "fork of another trial" in words(figure)
    child.parent = 99  # a parent that is not there
    assert learning_curves(snapshot(parent, child)).curves[0].start is None


# Parallel coordinates


def test_axes_have_the_scale_of_the_distribution() -> None:
    figure = parallel_coordinates(searched(30))
    scales = {entry["path"]: entry["scale"] for entry in figure.to_json()["parameters"]}
    assert scales == {
        "trainer.lr": "log",
        "trainer.batch_size": "bands",
        "model.kind": "bands",
        "model.depth": "linear",
        "gamma": "nearone",
        "dropout": "linear",
        "augment": "bands",
    }
    assert {"512", "cnn", "True", "0.9999"} <= set(words(figure))
    assert "not set" in words(figure)
    assert "no score" in words(figure)


def test_without_a_space_the_axes_are_those_of_the_values() -> None:
    params: list[dict[str, Any]] = [
        {"lr": 1e-5, "flag": True, "kind": None, "size": 4, "odd": 10**400, "list": [1, 2], "fixed": 1},
        {"lr": 1e-1, "flag": False, "kind": "b", "size": 8, "odd": math.inf, "list": (1, 2), "fixed": 1},
        {"lr": 1e-3, "flag": 1, "kind": "b", "size": 6, "odd": math.nan, "list": [3], "fixed": 1},
    ]
    figure = parallel_coordinates(
        snapshot(*(trial(number, float(number), params=own) for number, own in enumerate(params)))
    )
    scales = {entry["path"]: entry["scale"] for entry in figure.to_json()["parameters"]}
    assert scales == {"lr": "log", "flag": "bands", "kind": "bands", "size": "linear", "odd": "bands", "list": "bands"}
    by_path = {axis.path: axis.scale for axis in figure.axes}
    assert len(by_path["list"].names) == 2  # type: ignore[union-attr]  # a tuple is the list that a store makes of it
    assert len(by_path["flag"].names) == 3  # type: ignore[union-attr]  # True is not 1


def test_the_same_number_is_one_name_and_other_values_are_others() -> None:
    own: list[Any] = [1, 1.0, "a", "1", True]
    figure = parallel_coordinates(
        snapshot(*(trial(number, float(number), params={"x": value}) for number, value in enumerate(own)))
    )
    assert len({row.places[0] for row in figure.rows}) == 4


@pytest.mark.parametrize(
    ("space", "values"),
    [
        ({"x": {"type": "PowerOfTwo", "lo": 1, "hi": 2**52}}, [1, 2**53 - 1]),  # its logarithm is 53.0
        ({"x": {"type": "Choice", "values": 5}}, ["a", "b"]),
        ({"x": {"type": "Choice", "values": None}}, [0.5, 1.5]),
    ],
)
def test_a_space_that_does_not_fit_to_the_values_is_no_failure(space: dict[str, Any], values: list[Any]) -> None:
    trials = [trial(number, 1.0, params={"x": value}) for number, value in enumerate(values)]
    figure = parallel_coordinates(replace(snapshot(*trials), space=space))
    assert all(None not in row.places for row in figure.rows)


def test_a_parameter_is_known_by_its_full_path() -> None:
    trials = [trial(0, 1.0, params={"a.x": 0.1}), trial(1, 2.0, params={"x": 0.5}), trial(2, 3.0, params={"x": 0.7})]
    figure = parallel_coordinates(snapshot(*trials))
    assert {row.trial: [place is None for place in row.places] for row in figure.rows} == {
        0: [False, True, False],
        1: [True, False, False],
        2: [True, False, False],
    }


def test_what_is_not_set_lies_below_the_axis() -> None:
    own: list[dict[str, Any]] = [{"kind": "cnn", "depth": 1}, {"kind": "cnn", "depth": 9}, {"kind": "mlp"}]
    figure = parallel_coordinates(snapshot(*(trial(number, 1.0, params=params) for number, params in enumerate(own))))
    bottoms = [float(path.attrib["d"].rpartition("V")[2]) for path in by_class(figure, "axis")[1].findall("*[@d]")[:1]]
    (line,) = [path for path in by_class(figure, "line") for path in path if "trial 2:" in str(path[0].text)]
    assert float(line.attrib["d"].split("L")[1].partition(",")[2]) > bottoms[0] + 10


def test_a_value_that_the_space_does_not_know_is_on_the_axis() -> None:
    own = {"trainer.lr": 5.0, "trainer.batch_size": 48, "model.kind": "rnn", "gamma": 1.5, "dropout": "much"}
    figure = parallel_coordinates(snapshot(trial(0, 1.0, params=own), trial(1, 2.0, params=own), space=SPACE))
    assert {"rnn", "much"} <= set(words(figure))
    assert all(place is None or 0 <= place <= 1 for row in figure.rows for place in row.places)


def test_the_best_lies_on_top_and_failures_go_to_no_score() -> None:
    figure = parallel_coordinates(searched(40))
    classes = [element.get("class") for element in by_class(figure, "line")]
    assert classes[-1] == "line best"
    assert classes[0] == "line failed"
    assert all(row.places[-1] is None for row in figure.rows if row.look == "failed")


def test_with_several_objectives_the_front_is_on_top_and_none_is_the_best() -> None:
    figure = parallel_coordinates(searched(40, goal=TWO))
    looks = {row.trial: row.look for row in figure.rows}
    front = {spot.trial for spot in pareto(searched(40, goal=TWO)).spots if spot.on_front}
    assert {number for number, look in looks.items() if look == "Pareto front"} == front
    assert "best" not in looks.values()
    assert [axis.path for axis in figure.axes][-2:] == ["accuracy", "latency"]


def test_of_many_parameters_the_most_important_have_an_axis() -> None:
    trials = [
        trial(
            number,
            float(number % 8),
            params={f"p{index:02}": (number * (index + 3)) % 23 for index in range(19)} | {"z": number % 8},
        )
        for number in range(64)
    ]
    figure = parallel_coordinates(snapshot(*trials))
    assert len(figure.axes) == 13
    assert "z" in [axis.path for axis in figure.axes]
    assert "The 12 most important of 20 parameters are drawn." in figure.notes
    assert len(figure.to_json()["parameters_left_out"]) == 8


def test_constants_alone_have_nothing_to_compare() -> None:
    trials = [trial(number, 1.0, params={"x": 1}) for number in range(3)]
    assert (
        parallel_coordinates(snapshot(*trials)).missing == "All parameters are constant: there is nothing to compare."
    )
    assert parallel_coordinates(snapshot(trial(0, params={"x": 1}))).missing == "No trial has a score yet."


@pytest.mark.parametrize("width", [280, 640])
def test_the_labels_of_the_first_axis_stand_where_no_line_goes(width: int) -> None:
    names = ("a_name_that_is_rather_long_for_a_label", "b")
    trials = [trial(number, float(number), params={"a": names[number % 2], "x": number}) for number in range(9)]
    figure = parallel_coordinates(snapshot(*trials))
    axes = [group for group in drawn(figure, width).iter(f"{{{SVG}}}g") if group.get("class") == "axis"]
    first, *others = ([part for part in axis if part.get("class") == "halo"] for axis in axes)
    line = float(axes[0][0].attrib["d"].removeprefix("M").partition(",")[0])
    assert len(first) == 2
    assert line > 100  # long names get more room
    for label in first:
        assert label.get("text-anchor") == "end"
        assert width_of(label.text or "", 10.0) < float(label.attrib["x"]) < line
    assert [{label.get("text-anchor") for label in labels} for labels in others] == [{None}, {None}]


# Importance


def test_importance_names_what_matters_and_leaves_constants_out() -> None:
    trials = [trial(number, float(number), params={"x": number, "k": 3, "y": number % 2}) for number in range(20)]
    figure = parameter_importance(snapshot(*trials))
    assert figure.shares[0] == ("x", 1.0)
    assert figure.alt == "Among 20 trials these parameters matter most: x (100%)."
    assert dict(figure.shares).keys() == {"x", "y"}
    assert "100%" in words(figure)


def test_too_few_trials_have_a_sentence_instead() -> None:
    figure = parameter_importance(snapshot(*(trial(number, 1.0) for number in range(3))))
    assert words(figure) == ["Importance needs at least 8 trials with a score; there are 3."]


def test_nothing_is_more_important_than_chance() -> None:
    trials = [trial(number, 1.0, params={"x": number % 2, "y": 1 - number % 2}) for number in range(8)]
    assert "no parameter alone explains more" in parameter_importance(snapshot(*trials)).alt
    fixed = [trial(number, float(number), params={"x": 1}) for number in range(8)]
    assert "constant" in parameter_importance(snapshot(*fixed)).missing


def test_a_parameter_alone_is_compared_with_none() -> None:
    trials = [trial(number, float(number), params={"x": number, "k": 3}) for number in range(20)]
    figure = parameter_importance(snapshot(*trials))
    told = "x is the only parameter that is searched: there is none to compare it with."
    assert figure.missing == figure.alt == told
    assert figure not in all_figures(snapshot(*trials))


# Pareto front


@pytest.mark.parametrize("turned", [1.0, -1.0])
def test_the_front_of_two_objectives_is_a_step_line_that_no_trial_crosses(turned: float) -> None:
    goal: Goal = TWO if turned > 0 else {"accuracy": "minimize", "latency": "maximize"}
    pairs = [(0.9, 5.0), (0.8, 2.0), (0.5, 1.0), (0.6, 3.0), (0.85, 6.0)]
    scores = [{"accuracy": turned * a, "latency": turned * b} for a, b in pairs]
    figure = pareto(snapshot(*(trial(number, score) for number, score in enumerate(scores)), goal=goal))
    assert [spot.trial for spot in figure.spots if spot.on_front] == [0, 1, 2]
    assert figure.alt == "Accuracy and latency of 5 trials: 3 of them are beaten by no other."
    (path,) = [element for element in by_class(figure, "front") if element.get("d")]
    # By the corner that is worse than both members: to the right place first, then to the right height.
    assert re.fullmatch(r"M[\d.]+,[\d.]+(H[\d.]+V[\d.]+){2}", path.attrib["d"])
    assert pareto(snapshot(trial(0, 1.0))).missing


def test_the_front_compares_at_the_largest_resource_only() -> None:
    trials = [trial(0, {"accuracy": 0.9, "latency": 5.0}, step=9), trial(1, {"accuracy": 1.0, "latency": 1.0}, step=1)]
    figure = pareto(snapshot(*trials, goal=TWO))
    assert [spot.trial for spot in figure.spots if spot.on_front] == [0]
    assert figure.notes == ("The front is that of the 1 trial that reached step 9.",)


def test_several_objectives_have_a_panel_for_each_pair() -> None:
    figure = pareto(searched(30, goal=FOUR))
    assert sum("(minimize)" in word or "(maximize)" in word for word in words(figure)) == 12
    assert figure.notes[0].startswith("One panel for each pair of objectives;")
    five: Goal = {**FOUR, "e": "maximize"}  # type: ignore[dict-item]
    assert "each pair of the first 4 of 5 objectives" in pareto(searched(30, goal=five)).notes[0]


# Timeline


def attempt(
    number: int, worker: str, began: float, ended: float | None, end: str = "completed", again: int = 1
) -> Span:
    return Span(number, again, worker, began, ended, end, "oom: out of memory" if end == "failed" else "")


def test_a_row_per_worker_and_a_bar_per_attempt() -> None:
    spans = [
        attempt(0, "gpu-10", 0.0, 4.0),
        attempt(1, "gpu-9", 0.0, 2.0, "preempted"),
        attempt(1, "gpu-9", 3.0, None, "running", again=2),
        attempt(2, "gpu-10", 4.0, 5.0, "failed"),
    ]
    figure = timeline(snapshot(trial(0), trial(1), trial(2), spans=spans, seconds=8.0))
    assert figure.rows == ("gpu-9", "gpu-10")
    assert figure.alt == (
        "4 attempts of 3 trials on 2 workers in 8 s: 1 completed, 1 running, 1 failed and 1 preempted."
    )
    assert titles(figure)[-4:] == [
        "trial 0 on gpu-10, 0 s to 4 s, completed",
        "trial 1 on gpu-9, 0 s to 2 s, preempted",
        "trial 1, attempt 2 on gpu-9, 3 s to 8 s, running",
        "trial 2 on gpu-10, 4 s to 5 s, failed: oom: out of memory",
    ]


def test_a_worker_with_two_attempts_at_once_has_two_rows() -> None:
    spans = [attempt(0, "node", 0.0, 4.0), attempt(1, "node", 1.0, 3.0), attempt(2, "node", 3.0, 5.0)]
    figure = timeline(snapshot(trial(0), spans=spans))
    assert figure.rows == ("node", "")
    assert [bar.row for bar in figure.bars] == [0, 1, 1]


def test_workers_with_a_new_name_each_time_are_slots() -> None:
    spans = [attempt(number, f"pod-{number}", number / 2, number / 2 + 1.0) for number in range(60)]
    figure = timeline(snapshot(trial(0), spans=spans))
    assert figure.rows == ("slot 1", "slot 2")
    assert "60 workers: a row is a slot" in figure.notes[0]


def test_hundreds_at_once_are_counted() -> None:
    spans = [attempt(number, f"pod-{number}", 0.0, 10.0 if number % 2 else 5.0, "failed") for number in range(200)]
    figure = timeline(snapshot(trial(0), spans=spans, seconds=10.0))
    assert figure.bundled == "counts"
    assert "attempts that run at once" in words(figure)
    counts = running(figure.bars, 10.0)
    assert counts[0] == pytest.approx(200.0)
    assert counts[-1] == pytest.approx(100.0)
    assert math.fsum(counts) / len(counts) == pytest.approx(150.0, rel=0.01)


def test_a_part_of_a_slice_counts_as_that_part() -> None:
    bars = timeline(snapshot(trial(0), spans=[attempt(0, "w", 0.25, 1.5)], seconds=300.0)).bars
    assert running(bars, 300.0)[:4] == pytest.approx([0.75, 0.5, 0.0, 0.0])


def test_times_that_go_backwards_are_drawn() -> None:
    spans = [attempt(0, "", 3.0, 1.0), attempt(1, "", -1.0, None, "running")]
    figure = timeline(snapshot(trial(0), spans=spans, seconds=0.0))
    assert figure.rows[0] == "unknown worker"
    assert drawn(figure) is not None


def test_without_a_store_there_is_no_timeline() -> None:
    assert "keeps a run in a store" in timeline(snapshot(trial(0, 1.0))).missing


def test_many_attempts_are_few_elements_and_none_gets_lost() -> None:
    spans = [attempt(number, f"w{number % 8}", number // 8, number // 8 + 1.0) for number in range(8000)]
    late = [
        attempt(8000, "w3", 1500.0, 1500.001),
        attempt(8001, "w4", 1600.0, 1700.0),
        attempt(8002, "w4", 1700.0, 2000.0),
    ]
    figure = timeline(snapshot(trial(0), spans=[*spans, *late], seconds=2000.0))
    (path,) = by_class(figure, "bar")
    starts: dict[str, list[str]] = {}
    for segment in path.attrib["d"].split("M")[1:]:
        left, _, rest = segment.partition(",")
        starts.setdefault(rest.partition("H")[0], []).append(left)
    assert [len(found) for found in starts.values()] == [1, 1, 1, 2, 3, 1, 1, 1]
    assert figure.to_json()["left_out"] == 8003 - MANY


@EACH
def test_a_figure_is_a_function_of_the_snapshot(make: Make) -> None:
    sweep = searched(50, goal=TWO)
    assert make(sweep).to_svg() == make(replace(sweep)).to_svg()


@EACH
@pytest.mark.parametrize("count", [1, 9])
def test_no_name_makes_a_sentence_long(make: Make, count: int) -> None:
    names = [f"{'n' * 5000}{place}" for place in range(count)]
    goal: Goal = dict.fromkeys(names, "minimize")
    trials = []
    for number in range(12):
        metrics = dict.fromkeys(names, float(number))
        params = {name: number * place for place, name in enumerate(names, 1)}
        score = metrics if count > 1 else float(number)
        trials.append(trial(number, score, params=params, reports=[Report(step, metrics) for step in (1, 2)]))
    trials[0].score = dict.fromkeys(names, 1e6) if count > 1 else 1e6  # beyond the axis, which is said
    figure = make(snapshot(*trials, goal=goal, spans=[attempt(0, names[0], 0.0, 1.0)]))
    assert len(figure.alt) < 1200
    assert all(len(note) < 300 for note in figure.notes)
