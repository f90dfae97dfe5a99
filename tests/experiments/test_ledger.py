"""The ledger alone: what it does with what it is told, and that it can be written down at any time."""

from __future__ import annotations

import json
import random
from typing import Any, ClassVar

import pytest

from metta.sweep.experiments.budget import Budget
from metta.sweep.experiments.ledger import MAX_DEATHS, MAX_PREEMPTIONS, Ledger, SavedState
from metta.sweep.experiments.ledger_json import load_ledger, remainder_of, row_of
from metta.sweep.experiments.moves import Halt
from metta.sweep.goal import Objectives
from metta.sweep.optimizers import RandomOptimizer
from metta.sweep.optimizers.params import ParamsCodec
from metta.sweep.report.events import SweepEvent, TrialPaused, TrialStarted
from metta.sweep.schedulers import ASHAScheduler, AsynchronousScheduler, SynchronousBatchScheduler
from metta.sweep.schedulers.base import Done, Fork, Scheduler, Wait
from metta.sweep.space import Uniform
from metta.sweep.trial import Failure, FailureReason, Report, Trial, TrialState

SPACE = {"x": Uniform(0.0, 1.0)}


def ledger(
    scheduler: Scheduler | None = None, budget: Budget | None = None, slots: int = 2, cost_key: str | None = None
) -> Ledger:
    events: list[SweepEvent] = []
    made = Ledger(
        optimizer=RandomOptimizer(SPACE, seed=1),
        scheduler=scheduler or AsynchronousScheduler(),
        objectives=Objectives(),
        budget=budget or Budget(trials=4),
        slots=slots,
        cost_key=cost_key,
        tell=events.append,
    )
    made.scheduler.bind(objectives=Objectives(), seed=1)
    made.told = events  # type: ignore[attr-defined]
    return made


def told(book: Ledger) -> list[SweepEvent]:
    events: list[SweepEvent] = book.told  # type: ignore[attr-defined]
    return events


def settle(book: Ledger) -> list[int]:
    """Decide until there is nothing to decide; the trials that got a slot."""
    while not isinstance(move := book.decide(), Wait):
        book.enact(move)
        if isinstance(move, Done | Halt):
            break
    granted = []
    while (number := book.next_grant()) is not None:
        book.grant(number)
        granted.append(number)
    return granted


def report(book: Ledger, number: int, step: int, score: float = 1.0) -> None:
    book.reported(number, Report(step, {"score": score, "cost": float(step)}))


@pytest.mark.parametrize(
    ("reason", "limit"),
    [
        (FailureReason.KILLED, MAX_DEATHS - 1),
        (FailureReason.OOM, MAX_DEATHS - 1),
        (FailureReason.PREEMPTED, MAX_PREEMPTIONS),
        (FailureReason.NODE_LOST, MAX_PREEMPTIONS),
        (FailureReason.USER_ERROR, 0),
        (FailureReason.TIMEOUT, 0),
        (FailureReason.CONTRACT, 0),
    ],
)
def test_how_often_an_attempt_is_repeated(reason: FailureReason, limit: int) -> None:
    book = ledger(slots=1)
    repeated = 0
    while settle(book) == [0]:
        book.began(0, 0)
        book.failed(0, Failure(reason, "gone"))
        if book.trials[0].state is TrialState.PENDING:
            repeated += 1
            assert told(book)[-1] == TrialPaused(book.now, 0, 0, None, reason.value, "gone")
    assert repeated == limit
    failure = book.trials[0].failure
    assert failure is not None
    assert failure.reason is reason
    assert book.attempts[0] == limit + 1
    assert book.spent.trials == 2  # the next one has started: repeats are no new configurations


def test_a_memory_error_of_the_objectives_own_is_not_repeated() -> None:
    book = ledger(slots=1)
    settle(book)
    book.began(0, 0)
    book.failed(0, Failure(FailureReason.OOM, "MemoryError", "Traceback ..."))
    assert book.trials[0].state is TrialState.FAILED


def test_work_that_is_done_again_is_counted_and_not_charged() -> None:
    book = ledger(slots=1, budget=Budget(resource=10))
    settle(book)
    book.began(0, 0)
    report(book, 0, 1)
    report(book, 0, 2)
    assert (book.spent.resource, book.recomputed) == (2, 0)
    book.failed(0, Failure(FailureReason.NODE_LOST))
    settle(book)
    book.began(0, 0)
    assert (book.spent.resource, book.recomputed) == (2, 2)
    report(book, 0, 3)
    assert book.spent.resource == 3


def test_a_promotion_without_a_state_is_charged_once_however_often_it_is_lost() -> None:
    book = ledger(ASHAScheduler(max_epochs=4, grace_period=2, reduction_factor=2), slots=1)
    for number in (0, 1):
        assert settle(book) == [number]
        book.began(number, 0)
        report(book, number, 1)
        report(book, number, 2, score=float(number))
    assert settle(book) == [1]
    assert (book.spent.resource, book.recomputed) == (4, 0)
    assert book.restart(slots=1, budget=book.budget) == (1,)  # lost before it began
    assert settle(book) == [1]
    book.began(1, 0)
    assert (book.spent.resource, book.recomputed) == (6, 2)
    book.restart(slots=1, budget=book.budget)
    settle(book)
    book.began(1, 0)
    assert (book.spent.resource, book.recomputed) == (6, 4)


def test_what_ran_goes_on_first_in_the_order_of_numbers() -> None:
    book = ledger(SynchronousBatchScheduler(batch_size=5), budget=Budget(trials=5), slots=3)
    assert settle(book) == [0, 1, 2]
    for number in (2, 0):
        book.began(number, 0)
    assert book.restart(slots=2, budget=book.budget) == (0, 1, 2)
    assert settle(book) == [0, 1]
    assert [grant.trial for grant in book.queue] == [2, 3, 4]
    assert [grant.resumed for grant in book.queue] == [True, False, False]
    # Only those that had begun are told as paused: the others were never told as started.
    assert [event.trial for event in told(book) if isinstance(event, TrialPaused)] == [2, 0]


def test_an_attempt_that_was_lost_between_its_last_report_and_its_end_is_over_when_it_returns() -> None:
    book = ledger(slots=1)
    settle(book)
    book.began(0, 0)
    report(book, 0, 1)
    book.restart(slots=1, budget=book.budget)
    settle(book)
    book.began(0, 1)
    assert book.last_report(0, {"score": 5.0}) is None  # it has reported before: what it returns is no news
    book.returned(0)
    assert book.trials[0].state is TrialState.COMPLETED
    assert [known.step for known in book.trials[0].reports] == [1]


def test_what_a_function_returns_is_a_report_if_it_has_made_none() -> None:
    book = ledger(slots=1)
    settle(book)
    book.began(0, 0)
    assert book.last_report(0, {"score": 5.0}) == Report(1, {"score": 5.0})
    assert book.last_report(0, None) is None
    book.returned(0)
    failure = book.trials[0].failure
    assert failure is not None
    assert failure.message.startswith("the objective reported nothing and returned None")


def test_a_fork_starts_from_what_its_donor_was_then() -> None:
    book = ledger(slots=3, budget=Budget(trials=1))
    settle(book)
    book.began(0, 0)
    report(book, 0, 1)
    book.saved(0, SavedState(1, "trials/0/1"))
    (fork,) = book.enact(Fork(0, {"x": 0.5}))
    report(book, 0, 2)
    book.saved(0, SavedState(2, "trials/0/2"))
    assert book.states == {0: SavedState(2, "trials/0/2"), fork.id: SavedState(1, "trials/0/1")}
    assert book.forks == {fork.id}
    book.grant(fork.id)
    book.began(fork.id, 1)
    report(book, fork.id, 2)
    book.saved(fork.id, SavedState(2, "trials/1/2"))
    assert book.forks == set()
    assert book.spent.trials == 1
    assert book.spent.resource == 3  # the step of the donor was paid for once
    assert book.recomputed == 0


def test_a_fork_of_a_donor_that_saves_nothing_runs_its_steps_again() -> None:
    book = ledger(slots=3, budget=Budget(trials=1))
    settle(book)
    book.began(0, 0)
    report(book, 0, 1)
    report(book, 0, 2)
    (fork,) = book.enact(Fork(0, {"x": 0.5}))
    assert book.recomputed == 2
    book.grant(fork.id)
    book.began(fork.id, 0)
    report(book, fork.id, 1)
    assert book.spent.resource == 3


class Listening(RandomOptimizer):
    heard: ClassVar[list[tuple[int, TrialState]]] = []

    def observe(self, trial: Trial, result: float) -> None:
        self.heard.append((trial.id, trial.state))


def test_the_optimizer_hears_the_end_of_who_is_replaced_and_may_propose_the_parameters() -> None:
    book = ledger(slots=1, budget=Budget(trials=1))
    book.optimizer = Listening(SPACE, seed=1)
    settle(book)
    book.began(0, 0)
    report(book, 0, 1)
    del book.running[0]
    book.trials[0].state = TrialState.PAUSED
    (fork,) = book.enact(Fork(0, None, until=2, replaces=0))
    assert (fork.id, fork.parent, fork.resource, fork.tag) == (1, 0, 2, 1)
    assert fork.params != book.trials[0].params
    assert book.trials[0].state is TrialState.PRUNED
    assert Listening.heard == [(0, TrialState.PRUNED)]
    assert book.spent.trials == 1


def test_a_fork_without_a_proposal_changes_nothing() -> None:
    class Empty(RandomOptimizer):
        def suggest(self, n: int) -> list[Trial]:
            return []

    book = ledger(slots=1, budget=Budget(trials=1))
    settle(book)
    book.trials[0].state = TrialState.PAUSED
    book.optimizer = Empty(SPACE)
    assert book.enact(Fork(0, None, replaces=0)) == []
    assert book.exhausted
    assert book.trials[0].state is TrialState.PAUSED


def test_the_best_state_is_the_one_saved_with_the_best_report() -> None:
    book = ledger(slots=1)
    settle(book)
    book.began(0, 0)
    for step, score in ((1, 1.0), (2, 9.0), (3, 3.0)):
        report(book, 0, step, score)
        book.saved(0, SavedState(step, str(step)))
    assert book.best_state == SavedState(2, "2")


def test_a_queued_trial_that_a_halt_has_cut_is_told_as_started_when_it_goes_on() -> None:
    book = ledger(SynchronousBatchScheduler(batch_size=3), budget=Budget(resource=1), slots=1)
    assert settle(book) == [0]
    book.began(0, 0)
    report(book, 0, 1)
    settle(book)
    assert [trial.state.value for trial in book.trials] == ["cancelled"] * 3
    book.restart(slots=1, budget=Budget(trials=3))
    assert settle(book) == [0]
    assert [grant.trial for grant in book.queue] == [1, 2]
    book.began(0, 0)
    started = [event for event in told(book) if isinstance(event, TrialStarted)]
    assert [event.resumed for event in started] == [False, True]


def dumped(book: Ledger, codec: ParamsCodec) -> dict[str, Any]:
    rows = [list(row_of(book, number, codec)) for number in range(len(book.trials))]
    loaded: dict[str, Any] = json.loads(json.dumps({"rows": rows, "remainder": remainder_of(book)}))
    return loaded


@pytest.mark.parametrize("seed", range(10))
def test_a_ledger_comes_back_from_json_at_any_time(seed: int) -> None:
    """A random walk: before every step the ledger is written down, read, and must be the same again."""
    from metta.sweep.store.entries import TrialRow

    draw = random.Random(seed)
    scheduler = ASHAScheduler(max_epochs=4, grace_period=1, reduction_factor=2)
    book = ledger(scheduler, Budget(trials=9), slots=3, cost_key="cost")
    codec = ParamsCodec(book.optimizer.search_space)
    for _ in range(150):
        stored = dumped(book, codec)
        again = ledger(ASHAScheduler(max_epochs=4, grace_period=1, reduction_factor=2), cost_key="cost")
        reports = {trial.id: list(trial.reports) for trial in book.trials}
        load_ledger(
            again,
            [TrialRow(*row) for row in stored["rows"]],
            stored["remainder"],
            codec,
            lambda trial, step, reports=reports: [known for known in reports[trial] if known.step <= step],  # type: ignore[misc]
        )
        assert dumped(again, codec) == stored
        assert [trial.to_json() for trial in again.trials] == [trial.to_json() for trial in book.trials]
        assert again.forks == book.forks
        if book.over is not None:
            break
        book.now += draw.random()
        settle(book)
        number = draw.choice(sorted(book.running)) if book.running else None
        if number is None:
            continue
        trial = book.trials[number]
        if book.running[number].began is None:
            book.began(number, book.states[number].step if number in book.states else 0)
        match draw.choice(["report", "report", "report", "kill", "fail", "restart"]):
            case "report":
                report(book, number, trial.step + 1, draw.random())
                book.saved(number, SavedState(trial.step, f"{number}/{trial.step}"))
            case "kill":
                book.failed(number, Failure(FailureReason.KILLED, "killed"))
            case "fail":
                book.failed(number, Failure(FailureReason.USER_ERROR, "ValueError: x", "Traceback"))
            case "restart":
                book.restart(slots=draw.randint(1, 3), budget=book.budget)
    assert book.over == "the budget of trials was used up"
    assert len(book.trials) == 9
