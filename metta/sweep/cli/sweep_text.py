"""A sweep as JSON and as lines, from its result or from its status."""

from __future__ import annotations

from collections import Counter
from typing import Any

from metta.sweep.cli.shown import user_traceback
from metta.sweep.experiments.results import SweepResult
from metta.sweep.experiments.sweep_status import SweepStatus
from metta.sweep.report.failed import failed_by_reason
from metta.sweep.report.snapshot import state_text
from metta.sweep.report.text import duration, number_text, shorten, value_text
from metta.sweep.store.run import RunStatus
from metta.sweep.trial import Trial

MOST_RUNNING = 20


def sweep_json(result: SweepResult) -> dict[str, Any]:
    """The outcome of a sweep as JSON values."""
    ended = RunStatus.COMPLETED
    counts = Counter(state_text(trial.state, ended) for trial in result.trials)
    ranking = result.ranking
    return {
        "counts": dict(counts),
        "best": trial_json(ranking[0], ended) if ranking else None,
        "seconds": result.seconds,
        "ended": result.ended,
        "failures": [trial_json(trial, ended) for trial in result.trials if trial.failure is not None],
    }


def trial_json(trial: Trial, status: str) -> dict[str, Any]:
    """What is asked for most of a trial, as JSON values.

    Args:
        status: of the run.
    """
    failure = trial.failure
    told = None if failure is None else {"reason": failure.reason.value, "message": failure.message}
    return {
        "id": trial.id,
        "state": state_text(trial.state, status),
        "params": dict(trial.params),
        "score": trial.score,
        "step": trial.step,
        "cost": trial.cost,
        "parent": trial.parent,
        "failure": told,
    }


def status_json(status: SweepStatus) -> dict[str, Any]:
    """Where a sweep stands, as JSON values."""
    return {
        "counts": {state_text(state, status.status): number for state, number in status.counts.items()},
        "best": None if status.best is None else trial_json(status.best, status.status),
        "running": [trial_json(trial, status.status) for trial in status.running],
        "failures": [trial_json(trial, status.status) for trial in status.trials if trial.failure is not None],
        "spent": status.spent,
        "budget": status.budget,
        "seconds_left": status.seconds_left,
        "ended": status.ended,
        "restored": status.restored,
    }


def status_lines(status: SweepStatus) -> list[str]:
    """Where a sweep stands, for people: counts, best, what runs, and why trials have failed."""
    is_driven = status.status is RunStatus.RUNNING
    counts = ", ".join(f"{number} {state_text(state, status.status)}" for state, number in status.counts.items())
    total = f" of {status.budget.trials}" if status.budget.trials is not None else ""
    left = "" if status.seconds_left is None or not is_driven else f", about {duration(status.seconds_left)} left"
    forks = sum(trial.parent is not None for trial in status.trials)
    forked = f" and {forks} {'fork' if forks == 1 else 'forks'}" if forks else ""
    trials = f"{len(status.trials) - forks}{total} trials{forked}: {counts or 'none yet'}"
    lines = [trials, f"{duration(status.spent.seconds)} of driving{left}"]
    if status.ended is not None:
        lines.append(f"ended: {status.ended}")
    if status.restored is not None:
        lines.append(f"optimizer restored from: {status.restored.value}")
    if status.best is not None:
        params = ", ".join(f"{path}={value_text(value)}" for path, value in status.best.params.items())
        score = status.best.score
        told = number_text(score) if isinstance(score, float) else str(score)
        lines.append(f"best: {told} at step {status.best.step}, trial {status.best.id} ({params})")
    word = "running" if is_driven else "goes on first"
    lines += [f"{word}: trial {trial.id} at step {trial.step}" for trial in status.running[:MOST_RUNNING]]
    return lines + _failure_lines(status)


def _failure_lines(status: SweepStatus) -> list[str]:
    """By reason: how many, and the last of them with its traceback."""
    lines = []
    for failed in failed_by_reason(status.trials):
        lines.append(shorten(str(failed), 200))
        lines += [f"  {line}" for line in user_traceback(failed.failure.traceback).splitlines()]
    return lines
