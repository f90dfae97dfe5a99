"""A scheduler may choose which of the waiting trials starts next."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import pytest

from metta.sweep.errors import UsageError
from metta.sweep.executors.local import LocalExecutor
from metta.sweep.experiments import SweepExperiment
from metta.sweep.experiments.budget import Budget
from metta.sweep.experiments.ledger import Ledger
from metta.sweep.goal import Objectives
from metta.sweep.optimizers import RandomOptimizer
from metta.sweep.report.events import SweepEvent, TrialStarted
from metta.sweep.schedulers import AsynchronousScheduler
from metta.sweep.schedulers.base import Decision, Launch, Scheduler, View
from metta.sweep.space import Uniform
from metta.sweep.testing import simulate
from metta.sweep.trial import Resources, Trial, TrialState

SPACE = {"x": Uniform(0, 1)}


class LastFirst(AsynchronousScheduler):
    """Starts the youngest of those that wait, and never two beside each other whose sum of x is above 1."""

    def next_start(self, waiting: Iterable[Trial], running: Iterable[Trial]) -> int | None:
        used = sum(trial.params["x"] for trial in running)
        fitting = [trial.id for trial in waiting if used + trial.params["x"] <= 1]
        return max(fitting, default=None)


class Wrong(Scheduler):
    def next_start(self, waiting: Iterable[Trial], running: Iterable[Trial]) -> int | None:
        return 99


def book_of(scheduler: Scheduler, slots: int = 2) -> Ledger:
    book = Ledger(
        optimizer=RandomOptimizer(SPACE, seed=1),
        scheduler=scheduler,
        objectives=Objectives(),
        budget=Budget(trials=4),
        slots=slots,
        cost_key=None,
        tell=lambda event: None,
    )
    scheduler.bind(objectives=Objectives(), seed=1)
    book.enact(Launch(4))
    return book


def test_the_default_is_the_first_in_the_queue() -> None:
    book = book_of(Scheduler())
    for expected in (0, 1):
        assert book.next_grant() == expected
        book.grant(expected)
    assert book.next_grant() is None  # no slot is free


def test_trials_that_still_wind_down_are_no_candidates() -> None:
    assert book_of(Scheduler()).next_grant(blocked={0, 1}) == 2
    assert book_of(Scheduler()).next_grant(blocked={0, 1, 2, 3}) is None


def test_the_ledger_starts_whom_the_scheduler_chooses() -> None:
    book = book_of(LastFirst(), slots=4)
    order = []
    while (number := book.next_grant()) is not None:
        book.grant(number)
        order.append(number)
    assert order[0] == 3
    assert sum(book.trials[number].params["x"] for number in order) <= 1
    assert len(order) < 4


class Reluctant(Scheduler):
    def next_start(self, waiting: Iterable[Trial], running: Iterable[Trial]) -> int | None:
        return None


def test_when_nothing_runs_the_first_starts_in_any_case() -> None:
    book = book_of(Reluctant())
    assert book.next_grant() == 0
    book.grant(0)
    assert book.next_grant() is None
    run = simulate(RandomOptimizer(SPACE), Reluctant(), lambda params, step: 0.0, budget=5, workers=3, steps=2)
    assert [trial.state for trial in run.trials] == [TrialState.COMPLETED] * 5


def test_a_choice_that_does_not_wait_is_an_error() -> None:
    with pytest.raises(UsageError, match=r"Wrong\.next_start gave 99: expected one of the waiting \[0, 1, 2, 3\]"):
        book_of(Wrong()).next_grant()


def test_the_simulation_starts_whom_the_scheduler_chooses() -> None:
    class Batch(LastFirst):
        def next(self, view: View) -> Decision:
            count = view.startable(8)
            return Launch(count) if count else super().next(view)

    run = simulate(RandomOptimizer(SPACE), Batch(), lambda params, step: params["x"], budget=8, workers=1, steps=1)
    ended = [int(event.split()[2]) for event in run.events if " completed " in event]
    assert ended == list(range(7, -1, -1))


def train(trial: Trial) -> Iterator[float]:
    for step in range(1, 6):
        yield step * trial.params["x"]


class Impatient(Scheduler):
    """Writes `should_stop` and `allocate_resources` alone."""

    def should_stop(self, trial: Trial) -> bool:
        return trial.step >= 2 and trial.params["x"] < 0.5

    def allocate_resources(self, trial: Trial) -> Resources:
        return Resources(cpus=1, time_limit=600)


class Patient(Scheduler):
    """Writes `allocate_resources` alone: less for the first trial than it takes."""

    def allocate_resources(self, trial: Trial) -> Resources:
        return Resources(time_limit=0.2 if trial.id == 0 else 600)


def test_custom_schedulers_in_a_real_sweep() -> None:
    started: list[int] = []

    def hear(event: SweepEvent) -> None:
        if isinstance(event, TrialStarted):
            started.append(event.trial)

    def sweep(scheduler: Scheduler) -> list[Trial]:
        result = SweepExperiment(
            train, optimizer=RandomOptimizer(SPACE), scheduler=scheduler, executor=executor, seed=4, store=None
        ).run(6, progress=hear)
        return list(result.trials)

    with LocalExecutor(max_workers=2) as executor:
        trials = sweep(Impatient())
        assert {trial.state for trial in trials} == {TrialState.COMPLETED, TrialState.PRUNED}
        for trial in trials:
            stopped = trial.params["x"] < 0.5
            assert trial.state is (TrialState.PRUNED if stopped else TrialState.COMPLETED)
            assert trial.step == (2 if stopped else 5)
        started.clear()
        assert {trial.state for trial in sweep(LastFirst())} == {TrialState.COMPLETED}
        assert sorted(started) == list(range(6))


def sleeps(trial: Trial) -> float:
    import time

    if trial.id == 0:
        time.sleep(60)
    return float(trial.params["x"])


def test_the_time_limit_that_a_scheduler_allocates_holds() -> None:
    with LocalExecutor(max_workers=2) as executor:
        trials = SweepExperiment(
            sleeps, optimizer=RandomOptimizer(SPACE), scheduler=Patient(), executor=executor, seed=4, store=None
        ).run(3)
        states = [trial.state for trial in trials.trials]
    assert states == [TrialState.FAILED, TrialState.COMPLETED, TrialState.COMPLETED]
