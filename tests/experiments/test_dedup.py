"""A configuration that comes again gives the result that it had."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from metta.sweep.executors.base import Finished, Reported, Started
from metta.sweep.executors.local import LocalExecutor
from metta.sweep.experiments import Budget, SweepExperiment, SweepResult
from metta.sweep.experiments.reuse import KnownResults, told_by
from metta.sweep.optimizers import RandomOptimizer
from metta.sweep.optimizers.params import ParamsCodec
from metta.sweep.schedulers import ASHAScheduler, AsynchronousScheduler
from metta.sweep.schedulers.base import Scheduler
from metta.sweep.space import Choice, SearchSpace
from metta.sweep.trial import Report, Trial, TrialState

SPACE = {"x": Choice([1, 2])}


@pytest.fixture(scope="module")
def executor() -> Iterator[LocalExecutor]:
    with LocalExecutor(max_workers=1) as executor:
        yield executor


class Noting:
    """A curve that notes each step that is really run."""

    def __init__(self, folder: Path) -> None:
        self.notes = folder / "notes"

    def __call__(self, trial: Trial) -> Iterator[dict[str, float]]:
        done = trial.load() or 0
        for step in range(done + 1, 5):
            with self.notes.open("a") as file:
                file.write(f"{trial.id}\n")
            trial.save(step)
            yield {"score": float(step * trial.params["x"]), "cost": float(step)}

    def ran(self) -> set[int]:
        return {int(line) for line in self.notes.read_text().split()}


def run(folder: Path, executor: LocalExecutor, scheduler: Scheduler | None = None, **arguments: Any) -> SweepResult:
    settings: dict[str, Any] = {"search_space": SPACE, "seed": 4, "store": folder / "store", "deduplicate": True}
    return SweepExperiment(
        Noting(folder),
        optimizer=RandomOptimizer(),
        scheduler=scheduler or AsynchronousScheduler(),
        executor=executor,
        **{**settings, **arguments},
    ).run(budget=8)


def table(result: SweepResult) -> list[tuple[Any, ...]]:
    return [
        (
            dict(trial.params),
            trial.state,
            trial.score,
            [(report.step, dict(report.metrics)) for report in trial.reports],
        )
        for trial in result.trials
    ]


SCHEDULERS: dict[str, Callable[[], Scheduler]] = {
    "async": AsynchronousScheduler,
    "max": lambda: AsynchronousScheduler(max_resource=3),
    "promotion": lambda: ASHAScheduler(max_epochs=4, grace_period=1, reduction_factor=2),
    "stopping": lambda: ASHAScheduler(max_epochs=4, grace_period=1, reduction_factor=2, mode="stopping"),
}


@pytest.mark.parametrize("scheduler", SCHEDULERS)
def test_the_sweep_is_the_same_and_less_is_run(scheduler: str, executor: LocalExecutor, tmp_path: Path) -> None:
    tables, ran = {}, {}
    for deduplicate in (False, True):
        folder = tmp_path / str(deduplicate)
        folder.mkdir()
        result = run(folder, executor, SCHEDULERS[scheduler](), deduplicate=deduplicate)
        assert not result.failures
        assert result.recomputed == 0
        tables[deduplicate], ran[deduplicate] = table(result), (folder / "notes").read_text().split()
    assert tables[True] == tables[False]
    assert len(ran[True]) < len(ran[False])


def test_each_configuration_is_run_once(executor: LocalExecutor, tmp_path: Path) -> None:
    result = run(tmp_path, executor, store=None)
    firsts = {min(trial.id for trial in result.trials if trial.params["x"] == x) for x in (1, 2)}
    assert Noting(tmp_path).ran() == firsts
    assert len(result.trials) == 8


def test_costs_and_steps_count_like_those_that_are_run(executor: LocalExecutor, tmp_path: Path) -> None:
    sweep = SweepExperiment(
        Noting(tmp_path),
        search_space={"x": Choice([1])},
        optimizer=RandomOptimizer(),
        executor=executor,
        store=None,
        deduplicate=True,
        cost_key="cost",
    )
    result = sweep.run(budget=Budget(cost=12))
    assert [trial.cost for trial in result.trials] == [4.0, 4.0, 4.0]
    assert Noting(tmp_path).ran() == {0}


def test_also_after_resuming(executor: LocalExecutor, tmp_path: Path) -> None:
    first = run(tmp_path, executor)
    assert not first.failures, str(first)
    before = (tmp_path / "notes").read_text()
    assert first.run_id is not None
    sweep = SweepExperiment(
        Noting(tmp_path),
        search_space=SPACE,
        seed=4,
        optimizer=RandomOptimizer(),
        scheduler=AsynchronousScheduler(),
        executor=executor,
        store=tmp_path / "store",
        deduplicate=True,
    )
    result = sweep.run(budget=12, resume=first.run_id)
    assert len(result.trials) == 12
    assert (tmp_path / "notes").read_text() == before


def trial(number: int, state: TrialState = TrialState.COMPLETED, parent: int | None = None, **params: Any) -> Trial:
    made = Trial(params, number, parent=parent)
    made.state = state
    return made


def test_only_completed_trials_that_are_no_forks_are_known() -> None:
    known = KnownResults(
        ParamsCodec(SearchSpace.of(SPACE)),
        [
            trial(0, TrialState.PRUNED, x=1),
            trial(1, TrialState.FAILED, x=1),
            trial(2, parent=0, x=1),
            trial(3, TrialState.CANCELLED, x=1),
        ],
    )
    assert known.find(trial(9, x=1)) is None
    known.remember(trial(4, x=1, y=[1, 2]))
    known.remember(trial(5, y=[1, 2], x=1))
    assert known.find(trial(9, y=[1, 2], x=1)) == 4
    assert known.find(trial(9, y=[1, 2], x=1, parent=4)) is None
    assert known.find(trial(9, x=1.5, y=[1, 2])) is None


def test_a_value_that_cannot_be_stored_is_never_the_same() -> None:
    known = KnownResults(ParamsCodec(None), [trial(0, x=object)])
    assert known.find(trial(1, x=object)) is None


def test_what_is_told_goes_on_after_the_last_known_step() -> None:
    source = trial(3, x=1)
    for step in (1, 2, 3):
        source.add_report(Report(step, {"score": float(step)}))
    events = told_by(source, "token", 1)
    assert isinstance(events[0], Started)
    assert [event.report.step for event in events[1:-1] if isinstance(event, Reported)] == [2, 3]
    assert isinstance(events[-1], Finished)
