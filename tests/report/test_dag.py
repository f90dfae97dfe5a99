"""The graph of a run shows the states of real runs: one that runs, has failed, was resumed, loops, maps, or is old."""

from __future__ import annotations

import json
import shutil
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from metta.sweep import Experiment, Pipeline, SweepExperiment
from metta.sweep.compiler.drawing import layout
from metta.sweep.compiler.drawing.file import FILE
from metta.sweep.compiler.drawing.model import Drawing, DrawnNode
from metta.sweep.compiler.drawing.svg import NoPicture
from metta.sweep.executors import LocalExecutor
from metta.sweep.optimizers import RandomOptimizer
from metta.sweep.report.dag import DagReader, DagView, dag_view
from metta.sweep.report.dag_states import NodeState, NodeStatus
from metta.sweep.runtime.durable import DurableGraph
from metta.sweep.space import Uniform
from metta.sweep.store.run import RunStatus
from metta.sweep.store.runs import Store
from metta.sweep.trial import Trial
from tests.compiler.test_drawing_svg import groups, texts
from tests.compiler.test_render_pictures import needs_dot
from tests.runtime.test_frozen_runs import FROZEN


def view_of(store: Store, name: str) -> DagView:
    with store.open(name) as run:
        return dag_view(run)


def states(view: DagView) -> dict[str, str]:
    return {id: status.state.value for id, status in view.nodes.items()}


def shown(view: DagView) -> dict[str, str]:
    """The last line in each box of the picture."""
    return {id: texts(group)[-1] for id, group in groups(view.to_svg()).items() if texts(group)}


def less(rows: list[int]) -> list[int]:
    return rows[1:]


def once(row: int) -> int:
    return row * row


class Judge:
    """A stage that fails until it is told to be kind, and says when it is entered."""

    def __init__(self) -> None:
        self.kind = False
        self.entered = threading.Event()
        self.may_go_on = threading.Event()
        self.may_go_on.set()

    def __call__(self, squares: list[int]) -> float:
        self.entered.set()
        assert self.may_go_on.wait(30)
        if not self.kind:
            raise ValueError("the <judge> is strict")
        return float(sum(squares))


def judged(store: Path, judge: Judge) -> DurableGraph[Any, Any]:
    pipeline = (
        Pipeline(rows=list[int])
        .stage("load", less)
        .through(rows=list[int])
        .loop_while(lambda now: len(now.rows) > 2)
        .stage("shrink", less)
        .through(rows=list[int])
        .end_loop(until=lambda now: len(now.rows) == 7)
        .map("square", once, over="rows")
        .through(squares=list[int], retry=1)
        .conditional(
            lambda now: now.rows,
            Pipeline().stage("judge", judge).through(score=float, retry=1),
            Pipeline().stage("nothing", lambda: 0.0).through(score=float),
        )
        .stage("tell", lambda score: str(score))
        .through(told=str)
    )
    return pipeline.compile().with_store(store, "judged")


def test_a_run_that_fails_and_is_resumed(tmp_path: Path) -> None:
    judge = Judge()
    durable = judged(tmp_path, judge)
    with pytest.raises(ValueError, match="strict"):
        durable.run(rows=[1, 2, 3, 4, 5])
    failed = view_of(durable.store, "judged")
    assert failed.status is RunStatus.FAILED
    assert states(failed) == {
        "load": "done",
        "loop": "done",
        "shrink": "done",
        "loop@until": "done",
        "square": "done",
        "conditional": "done",
        "conditional.then.judge": "failed",
        "conditional.otherwise.nothing": "waiting",
        "tell": "waiting",
    }
    assert (failed.nodes["shrink"].passages, failed.nodes["square"].passages) == (2, 2)
    assert failed.nodes["loop"].answers == (2, 1)
    assert failed.nodes["loop@until"].answers == (0, 2)
    blamed = failed.nodes["conditional.then.judge"]
    assert (blamed.failures, blamed.last_error) == (2, "ValueError: the <judge> is strict")
    assert failed.alt.endswith("The run is failed: 1 failed, 3 done, 2 not run. Failed: conditional.then.judge.")
    with durable.store.open("judged") as run:
        reader = DagReader(run)
        assert reader.read() == reader.read() == failed  # what was read is not counted again
    told = "<strong>conditional.then.judge</strong>: ValueError: the &lt;judge&gt; is strict"
    assert failed.to_html().count(told) == 1

    judge.kind = True
    durable.resume()
    done = view_of(durable.store, "judged")
    assert (done.status, done.failure) == (RunStatus.COMPLETED, "")
    assert states(done)["conditional.then.judge"] == states(done)["tell"] == "done"
    assert states(done)["conditional.otherwise.nothing"] == "waiting"
    assert "<ul" not in done.to_html()


@needs_dot
def test_what_is_written_into_the_boxes(tmp_path: Path) -> None:
    judge = Judge()
    durable = judged(tmp_path, judge)
    with pytest.raises(ValueError, match="strict"):
        durable.run(rows=[1, 2, 3, 4, 5])
    lines = shown(view_of(durable.store, "judged"))
    assert lines["load"].startswith("✓ done · ")
    assert lines["shrink"].startswith("✓ done 2× · ")
    assert lines["square"].startswith("✓ done 2× · ")
    assert lines["loop@until"] == "no 2×"
    assert lines["conditional"] == "yes 1×"
    assert lines["conditional.then.judge"] == "✗ failed: ValueError: the <judg…"
    assert lines["tell"] == "○ not run"


def test_a_run_that_runs_is_read_again_and_again(tmp_path: Path) -> None:
    judge = Judge()
    judge.kind = True
    judge.may_go_on.clear()
    durable = judged(tmp_path, judge)
    driver = threading.Thread(target=durable.run, kwargs={"rows": [1, 2, 3, 4]})
    driver.start()
    try:
        assert judge.entered.wait(30)
        with durable.store.open("judged") as run:
            began = run.journal.last_seq
            clock = {"now": 0.0}
            reader = DagReader(run, now=lambda: clock["now"])
            first = reader.read()
            assert first.status is RunStatus.RUNNING
            assert states(first)["conditional.then.judge"] == "running"
            assert states(first)["tell"] == "waiting"
            entered = next(event.time for event in run.journal.events() if event.subject == "conditional.then.judge")
            clock["now"] = entered + 61.0
            assert reader.read().nodes["conditional.then.judge"].seconds == pytest.approx(61.0)
            judge.may_go_on.set()
            driver.join(30)
            last = reader.read()
            assert began < run.journal.last_seq
        assert last.status is RunStatus.COMPLETED
        assert last == view_of(durable.store, "judged")
    finally:
        judge.may_go_on.set()
        driver.join(30)


def test_the_drawing_of_a_run_that_goes_on_with_another_plan_is_the_new_one(tmp_path: Path) -> None:
    judge = Judge()
    durable = judged(tmp_path, judge)
    with pytest.raises(ValueError, match="strict"):
        durable.run(rows=[1, 2, 3])
    with durable.store.open("judged") as run:
        reader = DagReader(run)
        assert "tell" in reader.read().nodes
        changed = Pipeline(rows=list[int]).stage("load", less).through(rows=list[int]).stage("say", print)
        changed.compile().with_store(tmp_path, "judged").resume(allow_changed=True)
        assert set(reader.read().nodes) == {"load", "say"}


def fails(x: int) -> int:
    raise ValueError(f"no {x}")


@needs_dot
def test_a_folded_pipeline_is_told_as_a_whole(tmp_path: Path) -> None:
    inner = Pipeline().stage("first", lambda x: x).through(x=int).stage("second", fails).through(y=int)
    hooked = Pipeline(x=int).stage("whole", inner).through(y=int, retry=0, checkpoint=True)
    plain = Pipeline(x=int).stage("parts", inner)
    lines = {}
    for name, pipeline in (("hooked", hooked), ("plain", plain)):
        durable = pipeline.compile().with_store(tmp_path, name)
        with pytest.raises(ValueError, match="no 1"):
            durable.run(x=1)
        view = view_of(durable.store, name)
        (frame,) = view.drawing.frames if view.drawing else ()
        (group,) = (each for id, each in groups(view.to_svg(collapsed={frame.id})).items() if id == frame.id)
        lines[name] = texts(group)
        # Unfolded, the frame itself says how the step has ended where that is recorded.
        assert view.to_svg(collapsed=()).count("✗ failed") == (4 if name == "hooked" else 2)
    assert lines["hooked"] == ["whole", "2 stages", "checkpoint", "✗ failed: ValueError: no 1"]
    assert lines["plain"] == ["parts", "2 stages", "✗ failed · 1 of 2 done"]


class Tuning(Experiment[float]):
    """An experiment inside of a pipeline: its stages are passed by a run of its own."""

    def pipeline(self) -> Pipeline:
        return Pipeline(x=int).stage("deep", lambda x: x / 2).through(float)


@needs_dot
def test_an_experiment_is_folded_and_has_the_state_of_its_run(tmp_path: Path) -> None:
    pipeline = Pipeline(x=int).stage("tune", Tuning()).through(y=float)
    durable = pipeline.compile().with_store(tmp_path, "outer")
    durable.run(x=2)
    view = view_of(durable.store, "outer")
    assert states(view) == {"tune": "done"}
    assert view.folded() == {"tune"}
    assert view.folded(expanded={"tune"}) == frozenset()
    assert shown(view)["tune"].startswith("✓ done · ")
    assert texts(groups(view.to_svg(collapsed=()))["tune.deep"])[0] == "deep"


# -- sweeps --------------------------------------------------------------------------------------------------------


def objective(trial: Trial) -> float:
    return float(trial.params["x"])


class Training(Experiment[float]):
    """What a sweep searches."""

    x: float = 0.5

    def pipeline(self) -> Pipeline:
        return Pipeline().stage("train", lambda: self.x).through(float)


class Evaluated(Experiment[float]):
    """One without a pipeline."""

    x: float = 0.5

    def evaluate(self, trial: Trial) -> float:
        return float(trial.params["x"])


@pytest.mark.parametrize(
    ("searched", "stages"),
    [
        (objective, {"begin", "suggest", "launch"}),
        (Training(), {"train"}),
        (Evaluated(), {"begin", "suggest", "launch"}),
    ],
)
def test_a_sweep_shows_what_it_searches_or_its_own_loop(
    searched: Callable[[Trial], float] | Experiment[float], stages: set[str], tmp_path: Path
) -> None:
    optimizer = RandomOptimizer({"x": Uniform(0, 1)}, seed=1)
    sweep = SweepExperiment(
        searched, name="s", store=tmp_path, optimizer=optimizer, executor=LocalExecutor(max_workers=1)
    )
    assert sweep.run(budget=1).best_score is not None
    view = view_of(Store.at(tmp_path), "s")
    assert view.drawing is not None
    assert stages <= set(view.drawing.stages)
    assert (view.nodes, view.status) == ({}, RunStatus.COMPLETED)
    assert "The run is" not in view.alt


@needs_dot
def test_only_the_ground_stands_outside_of_the_groups(tmp_path: Path) -> None:
    """Pages make it see-through, so that the graph stands on their own ground, light or dark."""
    durable = Pipeline(x=float).stage("halve", lambda x: x / 2).through(y=float).compile().with_store(tmp_path, "half")
    durable.run(x=1.0)
    svg = ElementTree.fromstring(view_of(durable.store, "half").to_svg())
    (inner,) = [part for part in svg if part.tag.endswith("}g")]
    (ground,) = [part for part in inner if part.tag.endswith("}polygon")]
    assert ground.get("fill") == "white"


def test_no_name_makes_the_sentence_long(tmp_path: Path) -> None:
    name = "n" * 3000
    node = DrawnNode("@output", "output", f"result: {name}")
    view = DagView(name, name, RunStatus.FAILED, Drawing(name, (DrawnNode(name, "stage", name), node)))
    failed = NodeStatus(NodeState.FAILED)
    assert len(view.alt) < 300
    assert len(view.title) < 100
    assert len(replace(view, nodes={f"{name}{number}": failed for number in range(9)}).alt) < 700


# -- runs without a drawing ----------------------------------------------------------------------------------------


@pytest.fixture
def frozen(tmp_path: Path) -> Store:
    for path in shutil.copytree(FROZEN, tmp_path / "runs" / "frozen-1").rglob("*"):
        path.chmod(0o700 if path.is_dir() else 0o600)
    return Store(tmp_path)


def test_an_old_run_has_a_table_and_a_sentence(frozen: Store) -> None:
    view = view_of(frozen, "frozen-1")
    assert view.drawing is None
    assert view.status is RunStatus.INTERRUPTED
    assert states(view) == {"load": "done", "train": "done", "square": "done", "dies": "stopped"}
    assert view.nodes["square"].states == {NodeState.DONE: 3}
    html = view.to_html()
    assert "This run has kept no drawing of its pipeline. The run is interrupted: 1 stopped, 3 done." in html
    assert '<tr class="state-stopped"><td>dies</td>' in html
    with pytest.raises(NoPicture, match="has kept no drawing"):
        view.to_svg()


@pytest.mark.parametrize("text", ["{", '{"schema": "metta-sweep/drawing", "version": 99}', "[" * 10_000])
def test_a_damaged_drawing_is_no_error_of_the_run(text: str, frozen: Store) -> None:
    (frozen.runs_folder / "frozen-1" / FILE).write_text(text)
    view = view_of(frozen, "frozen-1")
    assert view.drawing is None
    assert view.problem
    assert view.problem[1:] in view.alt
    assert "<td>load</td>" in view.to_html()


@needs_dot
def test_a_drawing_of_another_pipeline_is_drawn_all_the_same(frozen: Store, tmp_path: Path) -> None:
    durable = judged(tmp_path / "other", Judge())
    with pytest.raises(ValueError, match="strict"):
        durable.run(rows=[1, 2])
    (folder,) = durable.store.runs_folder.iterdir()
    shutil.copy(folder / FILE, frozen.runs_folder / "frozen-1" / FILE)
    view = view_of(frozen, "frozen-1")
    assert shown(view)["square"].startswith("✓ done 3×")
    assert states(view)["tell"] == "waiting"


def test_without_dot_there_is_a_table(frozen: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    durable = judged(tmp_path, Judge())
    with pytest.raises(ValueError, match="strict"):
        durable.run(rows=[1, 2])
    monkeypatch.setenv("PATH", str(tmp_path))
    layout._laid_out.cache_clear()
    html = view_of(durable.store, "judged")._repr_html_()
    assert "There is no picture: it is drawn by the program" in html
    assert "<td>judge</td><td>conditional</td>" in html or "<td>judge</td><td>then</td>" in html


def test_the_data_is_json(tmp_path: Path) -> None:
    durable = judged(tmp_path, Judge())
    with pytest.raises(ValueError, match="strict"):
        durable.run(rows=[1, 2])
    view = view_of(durable.store, "judged")
    data = json.loads(json.dumps(view.to_json()))
    assert (data["schema"], data["version"], data["status"]) == ("metta-sweep/dag", 1, "failed")
    assert data["nodes"]["load"]["state"] == "done"
    assert data["nodes"]["loop"]["answers"] == [0, 1]
    assert {node["id"] for node in data["drawing"]["nodes"]} > set(data["nodes"])
    assert data["failure"] == "ValueError: the <judge> is strict"


def test_the_most_telling_of_several_passages_counts() -> None:
    status = NodeStatus(NodeState.RUNNING, {NodeState.DONE: 3, NodeState.CACHED: 1, NodeState.RUNNING: 2})
    assert (status.passages, status.finished) == (6, 4)
