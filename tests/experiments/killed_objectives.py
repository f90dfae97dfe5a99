"""What the trials of the killed sweeps run: a learning curve that saves, and notes every step it computes.

Workers import this module: it stays light.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator

from metta.sweep.trial import Trial

STEPS = 4


def noted(folder: str) -> Callable[[Trial], Iterator[dict[str, float]]]:
    """The objective that notes in `folder/calls`, a line for each: "<trial> <step>"."""

    def curve(trial: Trial) -> Iterator[dict[str, float]]:
        state = trial.load() or {"step": 0, "sum": 0.0}
        done, total = state["step"], state["sum"]
        for step in range(done + 1, STEPS + 1):
            # The sum needs every step's number: a lost or doubled one would show in the score.
            total += step * (1 - (trial.params["x"] - 0.3) ** 2 - trial.params["y"] / 10)
            note(folder, f"{trial.id} {step}")
            trial.save({"step": step, "sum": total})
            yield {"score": total, "cost": 1.5 * step}

    return curve


def streaming(folder: str) -> Callable[[Trial], None]:
    """A plain function that reports and saves without asking: it is far ahead of its driver."""

    def run(trial: Trial) -> None:
        state = trial.load() or {"step": 0, "sum": 0.0}
        total = state["sum"]
        for step in range(state["step"] + 1, 10 * STEPS + 1):
            total += step * trial.params["x"]
            note(folder, f"{trial.id} {step}")
            trial.save({"step": step, "sum": total})
            trial.report({"score": total, "cost": 1.5 * step}, step=step)

    return run


def note(folder: str, line: str) -> None:
    """Append a line in one write: several workers do."""
    descriptor = os.open(os.path.join(folder, "calls"), os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(descriptor, f"{line}\n".encode())
    finally:
        os.close(descriptor)


def slowly(folder: str) -> Callable[[Trial], float]:
    """A score that notes each call in `folder/calls`; it takes a moment, in which its driver may die."""

    def score(trial: Trial) -> float:
        note(folder, f"{trial.id} {trial.seed}")
        time.sleep(0.03)
        x, y = trial.params["x"], trial.params["y"]
        return float(1.0 - (x - 0.3) ** 2 - (y - 0.7) ** 2 + (trial.seed % 97) / 1e4)

    return score
