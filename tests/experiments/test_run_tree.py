"""The tree of a run: who has started what, how it stands, what the leaves have used, and its drawings."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from metta.sweep import Pipeline, RetryPolicy
from metta.sweep.errors import UsageError
from metta.sweep.executors import LocalExecutor
from metta.sweep.experiments import Experiment, SweepExperiment
from metta.sweep.experiments.nested.meta import MetaMetaExperiment, MetaSweepExperiment
from metta.sweep.experiments.tree.drawing import to_text
from metta.sweep.experiments.tree.facts import seconds_of_stages, seconds_of_trials, wall_seconds_of
from metta.sweep.experiments.tree.run_tree import RunTree, Spending, StageStarter, TrialStarter, run_tree
from metta.sweep.optimizers import GridOptimizer, RandomOptimizer
from metta.sweep.report.events import SweepEvent, TrialEnded
from metta.sweep.report.text import cells as columns
from metta.sweep.runtime.history import History, Passage
from metta.sweep.schedulers import SynchronousBatchScheduler
from metta.sweep.space import Integer, Uniform
from metta.sweep.store.entries import Event
from metta.sweep.store.nested import child_runs, run_above, runs_below, top_run
from metta.sweep.store.run import Run, RunStatus
from metta.sweep.store.runs import Store
from metta.sweep.trial import Trial, TrialState


def curve(trial: Trial) -> Iterator[dict[str, float]]:
    """Two steps; the cost is that of all steps so far."""
    for step in (1, 2):
        yield {"score": step * float(trial.params["x"]), "dollars": 10.0 * step}


def sweep(name: str = "inner", budget: int = 2, **settings: Any) -> SweepExperiment:
    return SweepExperiment(
        curve,
        name=name,
        search_space={"x": Uniform(0.0, 1.0)},
        optimizer=RandomOptimizer(),
        scheduler=SynchronousBatchScheduler(batch_size=1),
        budget=budget,
        **{"seed": 1, **settings},
    )


def meta(base: SweepExperiment, **settings: Any) -> MetaSweepExperiment:
    return MetaSweepExperiment(
        base,
        RandomOptimizer(),
        scheduler=SynchronousBatchScheduler(batch_size=1),
        seed=2,
        budget=2,
        name="middle",
        **settings,
    )


def levels(folder: Path, **settings: Any) -> MetaMetaExperiment:
    return MetaMetaExperiment(
        meta(sweep(**settings)),
        RandomOptimizer(),
        scheduler=SynchronousBatchScheduler(batch_size=1),
        executor=LocalExecutor(max_workers=1),
        seed=3,
        budget=2,
        name="levels",
        store=folder,
    )


@pytest.fixture(scope="module")
def three_levels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with the run "levels" of three levels, two trials at each."""
    folder = tmp_path_factory.mktemp("levels")
    assert len(levels(folder, cost_key="dollars").run().trials) == 2
    return folder


def test_three_levels_and_what_their_leaves_have_used(three_levels: Path) -> None:
    tree = run_tree("levels", store=three_levels)
    assert [node.name for node in tree.walk()] == ["levels", *(["middle", "inner", "inner"] * 2)]
    assert {node.status for node in tree.walk()} == {RunStatus.COMPLETED}
    starters = [node.starter for node in tree.walk()]
    assert [starter.trial for starter in starters if isinstance(starter, TrialStarter)] == [0, 0, 1, 1, 0, 1]
    middle, inner = tree.children[0], tree.children[0].children[0]
    assert isinstance(middle.starter, TrialStarter)
    assert (middle.starter.score, middle.starter.state) == (middle.best, TrialState.COMPLETED)
    assert list(middle.starter.params) == ["scheduler.batch_size"]
    # Two trials of two steps in each of four inner sweeps; a sweep above them has used what they have, and no more.
    assert (inner.spent.trials, inner.spent.resource, inner.spent.costs) == (2, 4, {"dollars": 40.0})
    assert (tree.spent.trials, tree.spent.resource, tree.spent.costs) == (8, 16, {"dollars": 160.0})
    assert (tree.own, middle.own) == (Spending(), Spending())
    leaves = [node for node in tree.walk() if not node.children]
    assert tree.spent.seconds == pytest.approx(sum(leaf.own.seconds for leaf in leaves))
    assert all(0 < leaf.own.seconds < leaf.wall_seconds for leaf in leaves)
    assert all(child.wall_seconds < node.wall_seconds for node in tree.walk() for child in node.children)
    assert tree.best == max(leaf.best or 0 for leaf in leaves)
    assert tree.spent.cost == 160.0


def test_a_sweep_alone_costs_the_seconds_of_its_trials(tmp_path: Path) -> None:
    result = sweep(store=tmp_path).run()
    tree = run_tree(result.run_id or "", store=Store(tmp_path))
    assert (tree.starter, tree.children, tree.counts) == (None, (), {"completed": 2})
    assert tree.spent.seconds == pytest.approx(sum(trial.cost or 0 for trial in result.trials))
    assert tree.spent.cost == tree.spent.seconds
    assert run_tree(tree.folder) == tree


class Stages(Experiment[float]):
    """A stage that fails once after its sweep, then one that runs a sweep twice, in a loop."""

    nests = True

    def __init__(self) -> None:
        self.failed = False

    def pipeline(self) -> Pipeline:
        return (
            Pipeline()
            .stage("tune", self.tune)
            .through(best=float, retry=RetryPolicy(max_attempts=2, backoff=None))
            .stage("begin", lambda: 0)
            .through(rounds=int)
            .loop_while(lambda now: now.rounds < 2)
            .stage("again", self.again)
            .through(rounds=int)
            .end_loop()
            .stage("end", lambda best: best)
            .through(float)
        )

    async def tune(self) -> float:
        best = (await sweep("tuned", budget=1).run()).best_score
        if not self.failed:
            self.failed = True
            raise ValueError("once")
        return best

    async def again(self, rounds: int) -> int:
        await sweep("first", budget=1).run()
        await sweep("second", budget=1).run()
        return rounds + 1


def test_the_stages_that_have_started_runs(tmp_path: Path) -> None:
    assert Stages().run(store=tmp_path).value > 0
    tree = run_tree("Stages", store=tmp_path)
    assert [(child.starter, child.name) for child in tree.children] == [
        (StageStarter("tune", 1), "tuned"),
        (StageStarter("tune", 2), "tuned"),
        (StageStarter("again", 1), "first"),
        (StageStarter("again", 1), "second"),
        (StageStarter("again", 1), "first"),
        (StageStarter("again", 1), "second"),
    ]
    assert (tree.spent.trials, tree.spent.resource) == (6, 12)
    # Of the pipeline's own stages only those count that have started no run.
    with Run.open(tree.folder, write=False) as run:
        done = run.journal.events(kinds={"stage.done"})
        own = [event.data["seconds"] for event in done if event.subject in ("begin", "end")]
    assert tree.own.seconds == pytest.approx(sum(own))
    text = str(tree)
    assert "├─ stage tune: tuned " in text
    assert "├─ stage tune (attempt 2): tuned " in text
    assert "└─ stage again: second " in text


class Searching(Experiment[float]):
    """An experiment that runs a sweep in a stage; its parameter is the number of trials."""

    nests = True
    trials: int = 1

    def pipeline(self) -> Pipeline:
        return Pipeline().stage("search", self.search).through(float)

    async def search(self) -> float:
        return (await sweep(budget=self.trials).run()).best_score


def test_trials_that_are_pipelines_that_run_sweeps(tmp_path: Path) -> None:
    outer = SweepExperiment(
        Searching(),
        name="outer",
        search_space={"trials": Integer(1, 2)},
        optimizer=GridOptimizer(resolution=2),
        executor=LocalExecutor(max_workers=1),
        store=tmp_path,
    )
    assert len(outer.run(budget=2).trials) == 2
    tree = run_tree("outer", store=tmp_path)
    assert [(node.name, node.kind) for node in tree.walk()] == [
        ("outer", "sweep"),
        *[("Searching", "pipeline"), ("inner", "sweep")] * 2,
    ]
    assert {child.starter[0] for child in tree.children if child.starter is not None} == {0, 1}
    assert [child.children[0].starter for child in tree.children] == [StageStarter("search", 1)] * 2
    assert (tree.spent.trials, tree.spent.resource) == (3, 6)


@pytest.mark.parametrize("cost_key", [None, "dollars"])
def test_a_worker_that_has_started_a_sweep_does_not_hide_what_the_others_did(
    cost_key: str | None, tmp_path: Path
) -> None:
    def mixed(trial: Trial) -> Iterator[dict[str, float]]:
        if trial.params["number"] == 1:
            sweep().run().value  # noqa: B018
        yield from ({"score": float(step), "dollars": 10.0 * step} for step in range(1, 2 + trial.params["number"]))

    outer = SweepExperiment(
        mixed,
        name="outer",
        search_space={"number": Integer(0, 2)},
        optimizer=GridOptimizer(),
        executor=LocalExecutor(max_workers=1),
        cost_key=cost_key,
        store=tmp_path,
    )
    result = outer.run(budget=3).value
    tree = run_tree("outer", store=tmp_path)
    assert [child.starter.trial for child in tree.children if isinstance(child.starter, TrialStarter)] == [1]
    assert (tree.own.trials, tree.own.resource) == (2, 1 + 3)
    assert (tree.spent.trials, tree.spent.resource) == (2 + 2, 1 + 3 + 4)
    if cost_key is None:
        assert tree.own.seconds == sum(result.trials[number].cost or 0.0 for number in (0, 2))
    else:
        assert tree.own.costs == {"dollars": 10.0 + 30.0}
        assert 0 < tree.own.seconds < result.seconds - tree.children[0].own.seconds


def test_trials_stand_in_the_order_of_their_numbers(three_levels: Path, tmp_path: Path) -> None:
    shutil.copytree(three_levels, tmp_path / "store")
    whole = run_tree("levels", store=tmp_path / "store")
    manifest = whole.children[0].folder / "manifest.json"
    data = json.loads(manifest.read_text())
    manifest.write_text(json.dumps({**data, "created": "2999-01-01T00:00:00.000000Z"}))
    again = run_tree("levels", store=tmp_path / "store")
    assert [node.id for node in again.walk()] == [node.id for node in whole.walk()]


def test_a_damaged_child_is_shown(three_levels: Path, tmp_path: Path) -> None:
    shutil.copytree(three_levels, tmp_path / "store")
    whole = run_tree("levels", store=tmp_path / "store")
    torn, bare = whole.children[0].children[0], whole.children[1]
    (torn.folder / "run.db").write_bytes(b"x" * 5000)
    (bare.folder / "manifest.json").unlink()
    tree = run_tree("levels", store=tmp_path / "store")
    damaged = {node.folder: node for node in tree.walk() if node.status is RunStatus.DAMAGED}
    assert damaged.keys() == {torn.folder, bare.folder}
    assert all(node.problem for node in damaged.values())
    # What lies below a damaged run is still there.
    assert [node.id for node in tree.walk()] == [node.id for node in whole.walk()]
    assert (tree.spent.trials, tree.spent.resource) == (6, 12)
    text = str(tree)
    assert f"{torn.id} is damaged: " in text
    assert max(len(line) for line in text.splitlines() if "is damaged" not in line) <= 80
    for node in damaged.values():
        shutil.rmtree(node.folder)
        node.folder.write_text("no folder")
    assert len([*run_tree("levels", store=tmp_path / "store").walk()]) == 3


def test_a_top_that_is_damaged_still_has_its_children(three_levels: Path, tmp_path: Path) -> None:
    shutil.copytree(three_levels, tmp_path / "store")
    (folder,) = (tmp_path / "store" / "runs").iterdir()
    (folder / "run.db").write_bytes(b"")
    tree = run_tree(folder)
    assert (tree.status, len([*tree.walk()])) == (RunStatus.DAMAGED, 7)
    assert [child.starter for child in tree.children] == [None, None]
    assert tree.spent.trials == 8


def test_it_is_read_while_it_is_driven(tmp_path: Path) -> None:
    seen: list[RunTree] = []

    def look(event: SweepEvent) -> None:
        if isinstance(event, TrialEnded):
            known = seen[-1] if seen else None
            seen.append(run_tree("levels", store=tmp_path, known=known))

    assert len(levels(tmp_path).run(progress=look).trials) == 2
    first, second = seen
    assert (first.status, len(first.children)) == (RunStatus.RUNNING, 1)
    assert (second.status, len(second.children)) == (RunStatus.RUNNING, 2)
    assert [child.status for child in second.children] == [RunStatus.COMPLETED] * 2
    assert [*second.children[0].walk()][1:] == [*first.children[0].walk()][1:]
    whole = run_tree("levels", store=tmp_path, known=second)
    assert whole == run_tree("levels", store=tmp_path)
    # What had ended was not read again.
    assert all(
        new is old
        for after, before in zip(whole.children, second.children, strict=True)
        for new, old in zip(after.children, before.children, strict=True)
    )
    assert run_tree("levels", store=tmp_path, known=whole) is whole


def test_runs_are_found_by_way_of_those_above(three_levels: Path) -> None:
    store = Store(three_levels)
    tree = run_tree("levels", store=store)
    middle = tree.children[1]
    inner = middle.children[0]
    assert store.find("levels/1").folder == middle.folder
    assert store.find("levels/1/0").folder == inner.folder
    assert store.find(f"{tree.id}/{middle.id}/{inner.id}").folder == inner.folder
    assert store.find(f"levels/{middle.id}").folder == middle.folder
    assert run_tree("levels/1/0", store=store).spent == inner.spent
    with pytest.raises(UsageError, match=r"'middle' means several of the runs that levels-.* has started"):
        store.find("levels/middle")
    with pytest.raises(UsageError, match=r"there is no run '7' in run levels-.*: there is 0, 1"):
        store.find("levels/7")
    with pytest.raises(UsageError, match="it has started none"):
        store.find("levels/0/0/0")
    with pytest.raises(UsageError, match=r"there is no run 'labels' in .*: did you mean 'levels'"):
        store.find("labels/0")
    with pytest.raises(UsageError, match=f"run {inner.id} is a part of run {tree.id}: remove that one"):
        store.remove("levels/1/0")


def test_the_way_up_and_down(three_levels: Path) -> None:
    tree = run_tree("levels", store=three_levels)
    middle = tree.children[0]
    assert [child.trial for child in child_runs(tree.folder)] == [0, 1]
    assert {*runs_below(tree.folder)} == {node.folder for node in tree.walk()} - {tree.folder}
    assert [run_above(node.folder) for node in (tree, middle, middle.children[0])] == [
        None,
        tree.folder,
        middle.folder,
    ]
    assert top_run(middle.children[0].folder) == tree.folder
    assert top_run(tree.folder) is None
    assert [info.id for info in Store(three_levels).all()] == [tree.id]


def test_there_is_nothing_to_draw(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="there is no run 'nothing'"):
        run_tree("nothing", store=tmp_path)
    with pytest.raises(UsageError, match="name the store"):
        run_tree("nothing", store=None)


# How long what is recorded took


def test_seconds_of_trials_are_those_of_their_attempts() -> None:
    told: list[tuple[float, str, str, dict[str, Any]]] = [
        (1.0, "trial.granted", "0", {}),
        (2.0, "trial.began", "0", {}),
        (3.0, "trial.began", "1", {}),
        (4.0, "trial.judged", "0", {"action": "continue"}),
        (5.0, "trial.judged", "0", {"action": "pause"}),
        (7.0, "trial.failed", "1", {}),
        (8.0, "trial.failed", "2", {}),  # it never began
        (10.0, "trial.began", "3", {}),  # its driver died
        (30.0, "trial.began", "3", {}),
        (31.0, "trial.returned", "3", {}),
    ]
    events = [Event(seq, time, kind, subject, data) for seq, (time, kind, subject, data) in enumerate(told, 1)]
    assert seconds_of_trials(events) == 3.0 + 4.0 + 1.0


def test_seconds_of_stages_count_the_innermost_once() -> None:
    took = {
        "load": 1.0,
        "nested": 10.0,
        "nested~2/inner": 4.0,
        "nested~2/deep": 3.0,
        "nested~2/deep~1/stage#2": 2.0,
        "each": 50.0,
        "each[0]": 20.0,
        "each[1]": 25.0,
        "sweep": 100.0,
    }
    history = History(passages={key: Passage(done=True, seconds=seconds) for key, seconds in took.items()})
    history.passages["known"] = Passage(done=True, seconds=1000.0, cached=True)
    assert seconds_of_stages(history, {"sweep"}) == 1.0 + 4.0 + 2.0 + 20.0 + 25.0


def test_the_time_between_drivers_is_not_counted() -> None:
    told = [(1.0, "run.started"), (4.0, "stage.started"), (100.0, "run.resumed"), (102.0, "x"), (200.0, "run.resumed")]
    events = [Event(seq, time, kind, "", {}) for seq, (time, kind) in enumerate(told, 1)]
    assert wall_seconds_of(events) == 3.0 + 2.0
    assert wall_seconds_of([]) == 0.0


# Drawings of a tree that was made up


def node(name: str, *children: RunTree, **facts: Any) -> RunTree:
    folder = Path("runs") / f"{name}-20260101-000000-0000"
    known: dict[str, Any] = {"kind": "sweep", "status": RunStatus.COMPLETED, "counts": {"completed": 2}}
    return RunTree(
        **{"id": folder.name, "name": name, "folder": folder, "created": "", "seq": 1, **known, **facts},
        children=children,
    )


def by_trial(number: int, **params: Any) -> TrialStarter:
    return TrialStarter(number, params, TrialState.COMPLETED, 0.5)


TREE = node(
    "levels",
    node(
        "middle",
        node("inner", starter=by_trial(0, x=0.25), best=0.5, own=Spending(2, 6, 1.5)),
        node(
            "inner",
            starter=by_trial(1, x=1e-05, kind='<b> & "quoted"\n[end]' * 3),
            status=RunStatus.RUNNING,
            counts={"running": 1, "failed": 1},
            own=Spending(2, 2, 100.5),
        ),
        starter=by_trial(0, **{"scheduler.batch_size": 9}),
        best=0.5,
    ),
    node("report", starter=StageStarter("report", 1), kind="pipeline", counts={"done": 3}, own=Spending(0, 0, 0.25)),
    node("", kind="", status=RunStatus.DAMAGED, counts={}, problem="its run.db is missing"),
    best=0.75,
    wall_seconds=4000.0,
)

TEXT = """\
run                                   trials  best  steps        time     status
levels                                   2/2  0.75      8  1 min 42 s  completed
├─ trial 0: batch_size=9                 2/2   0.5      8  1 min 42 s  completed
│  ├─ trial 0: x=0.25                    2/2   0.5      6      1.50 s  completed
│  └─ trial 1: x=1e-05, kind=<b> & …     1/2     -      2  1 min 40 s    running
├─ stage report                            -     -      0      0.25 s  completed
└─ -20260101-000000-0000                   -     -      0         0 s    damaged
6 runs; at the leaves 4 trials, 8 steps, 1 min 42 s of work
1 h 6 min by the clock
-20260101-000000-0000 is damaged: its run.db is missing"""


def test_the_text() -> None:
    assert to_text(TREE, ascii=False) == TEXT
    assert all(len(line) <= 80 for line in TEXT.splitlines())
    plain = to_text(TREE, ascii=True)
    assert plain.isascii()
    assert "|  `- trial 1: x=1e-05, kind=<b> ...     1/2 " in plain
    assert "|- stage report" in plain
    narrow = to_text(TREE, 60, ascii=True).splitlines()
    assert max(map(len, narrow[:-1])) <= 68  # a label has 24 characters in any case


def test_wide_characters_keep_the_columns_of_the_text() -> None:
    tree = node("训练🚀", node("模型" * 20), node("plain"))
    head, *lines = to_text(tree, ascii=False).splitlines()[:4]
    assert {columns(line[: line.rindex("completed")]) for line in lines} == {columns(head[: head.rindex("status")]) - 3}
    assert max(map(columns, lines)) <= 80


def test_the_text_suits_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal:
        def __init__(self, encoding: str | None) -> None:
            self.encoding = encoding

    for encoding, ascii in (("utf-8", False), ("ascii", True), ("latin-1", True), (None, True), ("no such", True)):
        monkeypatch.setattr("sys.stdout", Terminal(encoding))
        assert to_text(TREE) == to_text(TREE, ascii=ascii)
        assert str(TREE) == to_text(TREE)


def test_costs_have_a_column_and_keep_their_units() -> None:
    one = node("a", own=Spending(1, 2, 3.0, {"dollars": 4.0}))
    two = node("b", own=Spending(1, 2, 3.0, {"joules": 5.0}))
    other = node("c", own=Spending(1, 2, 3.0, {"joules": 0.5}))
    both = node("both", one, two, other)
    assert both.spent == Spending(3, 6, 9.0, {"dollars": 4.0, "joules": 5.5})
    assert (both.spent.cost, two.spent.cost, TREE.spent.cost) == (None, 5.0, 102.25)
    head, *lines = to_text(both).splitlines()
    assert head.split()[-1] == "cost"
    assert [line.split()[-1] for line in lines[:4]] == ["-", "4", "5", "0.5"]
    assert lines[4].endswith("9 s of work, dollars 4, joules 5.5")


def test_json_holds_everything() -> None:
    strange = node(
        "top",
        node("x", starter=TrialStarter(0, {"a": math.nan, "b": (1, print)}, None, None), best=math.inf),
        node("y", starter=TrialStarter(1, {}, TrialState.FAILED, {"loss": math.nan})),
        node("z", starter=StageStarter("train", 2), problem="gone"),
    )
    data = json.loads(json.dumps(strange.to_json(), allow_nan=False))
    x, y, z = data["children"]
    assert (x["started_by"]["params"]["a"], x["best"]) == ("nan", "inf")
    assert y["started_by"] == {"trial": 1, "params": {}, "state": "failed", "score": {"loss": "nan"}}
    assert (z["started_by"], z["problem"]) == ({"stage": "train", "attempt": 2}, "gone")
    assert data["started_by"] is None
    assert data["spent"] == {"trials": 0, "resource": 0, "seconds": 0.0, "costs": {}}


def test_a_notebook_shows_it_and_reads_no_markup() -> None:
    page = TREE._repr_html_()
    assert page.count("<tr>") == 7
    assert "&lt;b&gt; &amp; &quot;quoted&quot;" in page
    assert "<b>" not in page
    assert "├─\N{NO-BREAK SPACE}trial 0: batch_size=9" in page


def test_drawings_as_text() -> None:
    dot, mermaid = TREE.to_dot(), TREE.to_mermaid()
    assert 'n0 -> n1 [label="trial 0: batch_size=9"]' in dot
    assert r'label="middle\nsweep, completed\n2/2 trials, best 0.5\n8 steps, 1 min 42 s"' in dot
    assert r"\"quoted\"" in dot
    assert 'n0 -->|"trial 0: batch_size=9"| n1' in mermaid
    assert '"middle<br/>sweep, completed<br/>2/2 trials, best 0.5<br/>8 steps, 1 min 42 s"]:::completed' in mermaid
    assert "<b>" not in mermaid
    assert dot.count(" -> ") == mermaid.count(" -->") == 5


def test_the_suffix_says_the_format(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, start in (("a.txt", "run "), ("a.json", "{"), ("a.dot", "digraph"), ("a.mmd", "flowchart")):
        assert TREE.draw(tmp_path / name).read_text().startswith(start)
    monkeypatch.chdir(tmp_path)
    assert TREE.draw(format="text").name == "levels-20260101-000000-0000.txt"
    with pytest.raises(UsageError, match=r'unknown format "mermiad" \(did you mean "mermaid"\?\)'):
        TREE.draw("a.dot", format="mermiad")
    with pytest.raises(UsageError, match="cannot write"):
        TREE.draw(tmp_path / "no" / "a.dot")


@pytest.mark.skipif(shutil.which("dot") is None, reason="graphviz is not installed")
def test_pictures(tmp_path: Path) -> None:
    assert b"<svg" in TREE.draw(tmp_path / "a").read_bytes()
    assert TREE.draw(tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")


def test_without_graphviz_it_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UsageError, match='svg is drawn by the program "dot", which is not installed'):
        TREE.draw(tmp_path / "a.svg")
