"""A sweep as JSON and as lines, from its result or from its status."""

from __future__ import annotations

from collections import Counter
from typing import Any

from metta.sweep.cli.shown import duration, user_traceback
from metta.sweep.experiments.results import SweepResult
from metta.sweep.experiments.sweep_status import SweepStatus
from metta.sweep.report.text import number_text, shorten, value_text
from metta.sweep.store.run import RunStatus
from metta.sweep.trial import Trial, TrialState

MOST_RUNNING = 20


def sweep_json(result: SweepResult) -> dict[str, Any]:
    """The outcome of a sweep as JSON values."""
    counts = Counter(trial.state.value for trial in result.trials)
    ranking = result.ranking
    return {
        "counts": dict(counts),
        "best": trial_json(ranking[0]) if ranking else None,
        "seconds": result.seconds,
        "ended": result.ended,
        "failures": [trial_json(trial) for trial in result.trials if trial.failure is not None],
    }


def trial_json(trial: Trial) -> dict[str, Any]:
    """What is asked for most of a trial, as JSON values."""
    failure = trial.failure
    told = None if failure is None else {"reason": failure.reason.value, "message": failure.message}
    return {
        "id": trial.id,
        "state": trial.state.value,
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
        "counts": {state.value: number for state, number in status.counts.items()},
        "best": None if status.best is None else trial_json(status.best),
        "running": [trial_json(trial) for trial in status.running],
        "failures": [trial_json(trial) for trial in status.trials if trial.failure is not None],
        "spent": status.spent,
        "budget": status.budget,
        "seconds_left": status.seconds_left,
        "ended": status.ended,
        "restored": status.restored,
    }


def status_lines(status: SweepStatus) -> list[str]:
    """Where a sweep stands, for people: counts, best, what runs, and why trials have failed."""
    is_driven = status.status is RunStatus.RUNNING
    # What ran when the driver ended does so no more.
    words = {TrialState.RUNNING: "running" if is_driven else "stopped"}
    counts = ", ".join(f"{number} {words.get(state, state.value)}" for state, number in status.counts.items())
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
    """By reason: how many, and the first of them with its traceback."""
    lines = []
    failed = [(trial, trial.failure) for trial in status.trials if trial.failure is not None]
    for reason, number in status.failures.items():
        trial, failure = next(each for each in failed if each[1].reason is reason)
        lines.append(
            f"failed ({reason.value}): {number}, the first is trial {trial.id}: {shorten(failure.message, 200)}"
        )
        lines += [f"  {line}" for line in user_traceback(failure.traceback).splitlines()]
    return lines
