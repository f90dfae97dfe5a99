"""A sweep is read while it is driven: each look gives what a fresh one would, and nothing changes under who looks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from benchmarks import durability
from metta.sweep.executors import LocalExecutor
from metta.sweep.experiments.budget import Budget
from metta.sweep.experiments.spans import Spans
from metta.sweep.experiments.sweep import SweepExperiment
from metta.sweep.experiments.sweep_reading import SweepReader
from metta.sweep.optimizers import RandomOptimizer
from metta.sweep.report.snapshot import Span, SweepSnapshot
from metta.sweep.schedulers import ASHAScheduler, PBTScheduler
from metta.sweep.space import Uniform
from metta.sweep.store.entries import Event, StoredReport
from metta.sweep.store.run import RunStatus
from metta.sweep.store.runs import Store
from metta.sweep.trial import Trial, TrialState


def climb(trial: Trial) -> Iterator[dict[str, float]]:
    if trial.params["x"] < 0.2:
        raise ValueError("too small")
    for step in range(1, 10):
        yield {"score": step * trial.params["x"]}


def sweep(store: Path | None, **settings: Any) -> SweepExperiment:
    given: dict[str, Any] = {
        "optimizer": RandomOptimizer({"x": Uniform(0, 1)}, seed=3),
        "scheduler": ASHAScheduler(max_epochs=9, reduction_factor=3, grace_period=1),
        "executor": LocalExecutor(max_workers=2),
        **settings,
    }
    return SweepExperiment(climb, name="climb", store=store, **given)


def plain(snapshot: SweepSnapshot) -> dict[str, Any]:
    """A snapshot as values that can be compared."""
    found = {field.name: getattr(snapshot, field.name) for field in fields(snapshot) if field.name != "trials"}
    found["trials"] = [
        (t.id, dict(t.params), t.state, t.step, t.score, t.cost, t.failure, t.parent, t.reports)
        for t in snapshot.trials
    ]
    return found


def test_each_look_gives_what_a_fresh_one_gives(tmp_path: Path) -> None:
    looks: list[SweepSnapshot] = []
    versions: list[int] = []
    readers: list[SweepReader] = []
    store = Store.at(tmp_path)

    def look(_event: object) -> None:
        if not readers:
            readers.append(SweepReader(store.open("climb")))
        looks.append(readers[0].read())
        versions.append(looks[-1].version)

    result = sweep(tmp_path).run(12, progress=look)
    assert result.trials
    last = readers[0].read()
    with store.open("climb") as run:
        assert plain(last) == plain(SweepReader(run).read())
        assert last.version == run.journal.last_seq
    assert versions == sorted(versions)
    assert [t.score for t in last.trials] == [t.score for t in result.trials]
    assert [t.reports for t in last.trials] == [t.reports for t in result.trials]
    assert last.status == "completed"
    assert last.space["x"]["type"] == "Uniform"
    # What was looked at earlier is still what it was then.
    early = next(look for look in looks if look.counts[TrialState.RUNNING])
    assert any(trial.state is TrialState.RUNNING for trial in early.trials)
    assert early.ended is None
    assert early.status == "running"


def test_spans_tell_each_attempt(tmp_path: Path) -> None:
    result = sweep(tmp_path).run(9)
    assert result.trials
    with Store.at(tmp_path).open("climb") as run:
        snapshot = SweepReader(run).read()
    by_trial: dict[int, list[Span]] = {}
    for span in snapshot.spans:
        by_trial.setdefault(span.trial, []).append(span)
        assert span.ended is not None
        assert 0 <= span.began <= span.ended <= snapshot.seconds
        assert span.worker
    for trial in snapshot.trials:
        *before, last = by_trial[trial.id]
        assert [span.attempt for span in by_trial[trial.id]] == list(range(1, len(before) + 2))
        assert {span.end for span in before} <= {"paused"}
        if trial.state is TrialState.FAILED:
            assert last.end == "failed"
            assert last.reason == "user_error: ValueError: too small"
        elif trial.state is TrialState.PRUNED:
            assert last.end == "paused"
        else:
            assert last.end == "completed"


def test_what_is_read_again_after_a_resumption_is_the_whole(tmp_path: Path) -> None:
    name = sweep(tmp_path).run(4).run_id
    assert name is not None
    store = Store.at(tmp_path)
    with store.open("climb") as run:
        reader = SweepReader(run)
        assert len(reader.read().trials) == 4
        assert sweep(tmp_path).run(8, resume=name).trials
        again = reader.read()
        assert len(again.trials) == 8
        assert again.budget_trials == 8
        with store.open("climb") as other:
            assert plain(again) == plain(SweepReader(other).read())


def test_forks_are_read(tmp_path: Path) -> None:
    scheduler = PBTScheduler(population_size=4, num_generations=2)
    assert sweep(tmp_path, scheduler=scheduler, seed=1).run(Budget(trials=4)).trials
    with Store.at(tmp_path).open("climb") as run:
        snapshot = SweepReader(run).read()
    assert any(trial.parent is not None for trial in snapshot.trials)


def test_a_second_look_at_a_long_sweep_reads_what_is_new(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    durability.build(tmp_path, 300, 12)
    with Store.at(tmp_path).open("durability") as run:
        reader = SweepReader(run)
        before = reader.read()
        assert all(trial._unread is not None for trial in before.trials), "no report is read before it is asked for"
        assert [report.step for report in before.trials[7].reports] == list(range(1, 13))
        assert durability.sweep(tmp_path).run(301, resume=True).trials
        started: list[int] = []
        entries = run.journal.entries

        def noted(after: int = 0) -> Iterator[Event | StoredReport]:
            started.append(after)
            return entries(after)

        monkeypatch.setattr(run.journal, "entries", noted)
        after = reader.read()
        assert started == [before.version]
        assert len(after.trials) == 301
        assert after.trials[5] is before.trials[5], "what has not changed is not copied"


@pytest.mark.parametrize("kept", [True, False])
def test_a_result_gives_its_snapshot(tmp_path: Path, kept: bool) -> None:
    result = sweep(tmp_path if kept else None).run(4)
    snapshot = result.snapshot()
    assert [t.score for t in snapshot.trials] == [t.score for t in result.trials]
    assert [t.reports for t in snapshot.trials] == [t.reports for t in result.trials]
    assert bool(snapshot.spans) is kept
    assert snapshot.status == "completed"
    assert snapshot.ended == result.ended


def event(seq: int, kind: str, subject: str = "", **data: Any) -> Event:
    return Event(seq, 100.0 + seq, kind, subject, data)


def test_an_attempt_whose_driver_dies_is_lost_and_an_adopted_one_goes_on() -> None:
    spans = Spans()
    spans.feed(event(0, "sweep.started", base=100.0))
    for number in (0, 1):
        spans.feed(event(1 + number, "trial.granted", str(number), attempt=1, token="t"))
        spans.feed(event(3 + number, "trial.began", str(number), attempt=1, worker=f"w{number}", saved_step=0))
    assert [span.end for span in spans.now(RunStatus.RUNNING, 5.0)] == ["running", "running"]
    assert [span.end for span in spans.now(RunStatus.INTERRUPTED, 5.0)] == ["lost", "lost"]
    assert [span.end for span in spans.now(RunStatus.CANCELLED, 5.0)] == ["cancelled", "cancelled"]
    spans.feed(event(60, "sweep.resumed", base=154.0, adopted=[1]))
    spans.feed(event(61, "trial.failed", "1", attempt=1, reason="node_lost", message="", traceback=""))
    assert spans.now(RunStatus.RUNNING, 7.0) == (
        Span(0, 1, "w0", 3.0, 6.0, "lost"),
        Span(1, 1, "w1", 4.0, 7.0, "lost", "node_lost"),
    )


@pytest.mark.parametrize(
    ("reason", "end"),
    [("preempted", "preempted"), ("node_lost", "lost"), ("lost_contact", "lost"), ("oom", "failed")],
)
def test_the_end_says_who_is_to_blame(reason: str, end: str) -> None:
    spans = Spans()
    spans.feed(event(0, "sweep.started", base=100.0))
    spans.feed(event(1, "trial.began", "0", attempt=1, worker="w", saved_step=0))
    spans.feed(event(2, "trial.failed", "0", attempt=1, reason=reason, message="m", traceback=""))
    assert spans.now(RunStatus.RUNNING, 2.0) == (Span(0, 1, "w", 1.0, 2.0, end, f"{reason}: m"),)


def test_a_budget_that_is_spent_ends_what_runs() -> None:
    spans = Spans()
    spans.feed(event(0, "sweep.started", base=100.0))
    spans.feed(event(1, "trial.began", "0", attempt=1, worker="w", saved_step=0))
    spans.feed(event(2, "sweep.decided", do="halt", why="its 2 s are over"))
    assert spans.now(RunStatus.RUNNING, 2.0) == (Span(0, 1, "w", 1.0, 2.0, "cancelled", "its 2 s are over"),)
