"""What the journal of a sweep says, for whoever has the store and not the code: nothing of the user's is run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace

from metta.sweep.experiments.budget import Budget, Spent
from metta.sweep.experiments.driver import Job
from metta.sweep.experiments.ledger import Ledger
from metta.sweep.experiments.restore import Restoration, restore
from metta.sweep.experiments.results import SweepRecord, SweepResult
from metta.sweep.goal import Objectives
from metta.sweep.optimizers.base import Restored
from metta.sweep.optimizers.params import ParamsCodec
from metta.sweep.report.pace import seconds_left, used_share
from metta.sweep.store.run import Run, RunStatus
from metta.sweep.trial import FailureReason, Trial, TrialState


@dataclass(frozen=True, slots=True)
class SweepStatus:
    """Where a sweep stands.

    Attributes:
        run_id, name: of the run.
        status: whether a driver has it, and how it ended.
        objectives: what is optimized.
        trials: all of them, by number; their reports are read when asked for.
        counts: how many trials there are in each state.
        running: the trials that have a worker; if no driver lives, those that will go on first.
        best: the trial with the best score at the largest resource; None without one, and for several objectives.
        failures: how many trials failed, by reason.
        spent: what was used; its `seconds` are the time that drivers ran.
        budget: the limits.
        seconds_left: an estimate, from the budget; None where it cannot be told.
        ended: why the sweep ended, as a phrase; None while it goes on.
        restored: how the optimizer was brought back when the sweep was resumed last; None if it never was.
    """

    run_id: str
    name: str
    status: RunStatus
    objectives: Objectives
    trials: tuple[Trial, ...]
    counts: Mapping[TrialState, int]
    running: tuple[Trial, ...]
    best: Trial | None
    failures: Mapping[FailureReason, int]
    spent: Spent
    budget: Budget
    seconds_left: float | None
    ended: str | None
    restored: Restored | None


def sweep_status(run: Run) -> SweepStatus:
    """Where the sweep of a run stands; the run may be driven meanwhile.

    Raises:
        DamagedError: the journal is not what was written, or tells of no sweep.
    """
    restoration = restore(run.journal, ParamsCodec(None))
    ledger, result = restoration.ledger, _result(run, restoration)
    single = ledger.objectives.is_single
    spent = _spent(ledger)
    return SweepStatus(
        run_id=run.id,
        name=run.name,
        status=run.info.status,
        objectives=ledger.objectives,
        trials=tuple(ledger.trials),
        counts=Counter(trial.state for trial in ledger.trials),
        running=tuple(ledger.trials[number] for number in sorted(ledger.running)),
        best=next(iter(result.ranking), None) if single else None,
        failures=Counter(trial.failure.reason for trial in ledger.trials if trial.failure is not None),
        spent=spent,
        budget=ledger.budget,
        seconds_left=None if ledger.over is not None else seconds_left(spent.seconds, _share(spent, ledger)),
        ended=ledger.over,
        restored=_restored(restoration),
    )


def result_so_far(run: Run) -> SweepResult:
    """The result of a run, as far as it has come; the run may be driven meanwhile.

    A parameter that was chosen among objects that are no JSON values (classes, say) is a text in it.

    Raises:
        DamagedError: the journal is not what was written, or tells of no sweep.
    """
    return _result(run, restore(run.journal, ParamsCodec(None)))


def _result(run: Run, restoration: Restoration) -> SweepResult:
    ledger = restoration.ledger
    record = SweepRecord(
        name=restoration.facts.name,
        objectives=ledger.objectives,
        trials=tuple(ledger.trials),
        seconds=ledger.now,
        seed=restoration.facts.seed,
        ended=ledger.over or "it goes on",
        recomputed=ledger.recomputed,
        run_id=run.id,
        folder=run.folder,
        resumed=_restored(restoration),
    )
    return SweepResult(Job.finished(record.name, record))


def _restored(restoration: Restoration) -> Restored | None:
    how = restoration.facts.restored
    return None if how is None else Restored(how)


def _spent(ledger: Ledger) -> Spent:
    spent = ledger.spent
    return replace(spent, seconds=ledger.now)


def _share(spent: Spent, ledger: Ledger) -> float | None:
    """How much of the budget is used; what waits for a worker, or has one, is not."""
    budget = ledger.budget
    waiting = len(ledger.running) + len(ledger.queue)
    return used_share(
        (spent.trials - waiting, budget.trials),
        (spent.seconds, budget.seconds),
        (spent.resource, budget.resource),
        (spent.cost, budget.cost),
    )
