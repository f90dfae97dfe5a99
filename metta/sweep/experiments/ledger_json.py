"""A ledger as JSON values: a row per trial, and the remainder, which does not grow with the number of trials."""

from __future__ import annotations

import gc
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, astuple
from typing import Any

from metta.sweep.experiments.budget import Budget, Spent
from metta.sweep.experiments.ledger import Attempt, Grant, Ledger, SavedState
from metta.sweep.optimizers.params import ParamsCodec
from metta.sweep.store.entries import TrialRow
from metta.sweep.trial import Failure, FailureReason, Params, Report, Trial, TrialState, number_to_json

ReadReports = Callable[[int, int], Iterable[Report]]
"""Reads the reports of a trial (its number) up to a step."""


def row_of(ledger: Ledger, number: int, codec: ParamsCodec) -> TrialRow:
    """Everything that is known of a trial but its reports, which have a table of their own."""
    trial = ledger.trials[number]
    data: dict[str, Any] = {
        "params": codec.encode(trial.params),
        "resource": trial.resource,
        "score": score_to_json(trial.score),
        "cost": None if trial.cost is None else number_to_json(trial.cost),
        "attempts": ledger.attempts[number],
    }
    # What few trials have stands only where there is some: a row is read for each of a hundred thousand trials.
    if trial.parent is not None:
        data["parent"] = trial.parent
    if trial.tag is not None:
        data["tag"] = trial.tag
    if trial.failure is not None:
        data["failure"] = failure_to_json(trial.failure)
    if number in ledger.states:
        data["saved"] = list(ledger.states[number])
    if ledger.deaths[number]:
        data["deaths"] = ledger.deaths[number]
    if ledger.charged[number]:
        data["charged"] = ledger.charged[number]
    if ledger.preemptions[number]:
        data["preemptions"] = ledger.preemptions[number]
    score = trial.score if isinstance(trial.score, float) else None
    return TrialRow(number, trial.state.value, trial.step, score, data)


def remainder_of(ledger: Ledger) -> dict[str, Any]:
    """Everything else."""
    return {
        "now": ledger.now,
        "slots": ledger.slots,
        "budget": budget_to_json(ledger.budget),
        "queue": [_grant_to_json(grant) for grant in ledger.queue],
        "running": [
            [_grant_to_json(attempt.grant), attempt.granted, attempt.began, attempt.cost_before, attempt.reported]
            for attempt in ledger.running.values()
        ],
        "held": ledger.held,
        "cut": [_grant_to_json(grant) for grant in ledger.cut],
        "cut_paused": ledger.cut_paused,
        "exhausted": ledger.exhausted,
        "spent": asdict(ledger.spent),
        "best_report": ledger.best_report,
        "best_state": ledger.best_state,
        "recomputed": ledger.recomputed,
        "over": ledger.over,
    }


def load_ledger(
    ledger: Ledger, rows: Iterable[TrialRow], remainder: Mapping[str, Any], codec: ParamsCodec, read: ReadReports
) -> None:
    """Bring an empty ledger to where rows and remainder were written."""
    with _without_collector():
        for row in rows:
            _load_row(ledger, row, codec, read)
    ledger.now = remainder["now"]
    ledger.slots = remainder["slots"]
    ledger.budget = budget_from_json(remainder["budget"])
    ledger.queue = deque(Grant(*grant) for grant in remainder["queue"])
    ledger.running = {
        grant[0]: Attempt(Grant(*grant), granted, began, float(cost), reported)
        for grant, granted, began, cost, reported in remainder["running"]
    }
    ledger.held = list(remainder["held"])
    ledger.cut = [Grant(*grant) for grant in remainder["cut"]]
    ledger.cut_paused = list(remainder["cut_paused"])
    ledger.exhausted = remainder["exhausted"]
    spent = remainder["spent"]
    ledger.spent = Spent(**{**spent, "cost": float(spent["cost"])})
    best = remainder["best_report"]
    ledger.best_report = None if best is None else (best[0], best[1])
    state = remainder["best_state"]
    ledger.best_state = None if state is None else SavedState(*state)
    ledger.recomputed = remainder["recomputed"]
    ledger.over = remainder["over"]


@contextmanager
def _without_collector() -> Iterator[None]:
    """While a hundred thousand trials are made, none of which is garbage, collections take as long as the rest."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def _load_row(ledger: Ledger, row: TrialRow, codec: ParamsCodec, read: ReadReports) -> None:
    data, number = row.data, row.id
    trial = Trial(
        Params(codec.decode(data["params"])),
        number,
        resource=data["resource"],
        parent=data.get("parent"),
        tag=data.get("tag"),
    )
    trial.state = _STATES[row.state]
    trial.score = score_from_json(data["score"])
    trial.cost = None if data["cost"] is None else float(data["cost"])
    if row.step:
        step = row.step
        trial.read_reports_later(step, lambda: read(number, step))
    if "failure" in data:
        trial.failure = failure_from_json(data["failure"])
    if "saved" in data:
        ledger.states[number] = SavedState(*data["saved"])
        if trial.parent is not None and not trial.state.is_finished:
            ledger.forks.add(number)
    if data["attempts"]:
        ledger.attempts[number] = data["attempts"]
    if "deaths" in data:
        ledger.deaths[number] = data["deaths"]
    if "preemptions" in data:
        ledger.preemptions[number] = data["preemptions"]
    if "charged" in data:
        ledger.charged[number] = data["charged"]
    ledger.trials.append(trial)


_STATES = {state.value: state for state in TrialState}


def budget_to_json(budget: Budget) -> dict[str, Any]:
    """The limits that there are."""
    return {name: limit for name, limit in asdict(budget).items() if limit is not None}


def budget_from_json(data: Mapping[str, Any]) -> Budget:
    """The budget that `budget_to_json` wrote."""
    return Budget(**data)


def failure_to_json(failure: Failure) -> list[str]:
    """A failure as JSON values."""
    return [failure.reason.value, failure.message, failure.traceback]


def failure_from_json(data: list[str]) -> Failure:
    """The failure that `failure_to_json` wrote."""
    reason, message, traceback = data
    return Failure(FailureReason(reason), str(message), str(traceback))


def score_to_json(score: Any) -> Any:
    """A score, of one objective or of several, as JSON values."""
    if score is None:
        return None
    if isinstance(score, Mapping):
        return {name: number_to_json(value) for name, value in score.items()}
    return number_to_json(score)


def score_from_json(data: Any) -> Any:
    """The score that `score_to_json` wrote."""
    if data is None:
        return None
    return {name: float(value) for name, value in data.items()} if isinstance(data, dict) else float(data)


def _grant_to_json(grant: Grant) -> list[Any]:
    return list(astuple(grant))
