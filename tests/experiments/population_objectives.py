"""What the members of tested populations run. Workers import this module: it stays light."""

from __future__ import annotations

import hashlib
import os
import signal
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from metta.sweep.trial import Trial
from tests.experiments.killed_objectives import STEPS, note


def network(folder: str) -> Callable[[Trial], Iterator[dict[str, float]]]:
    """A real network on the digits; the rate is "y". Each report has the digests of the states around its epoch."""

    def train(trial: Trial) -> Iterator[dict[str, float]]:
        from metta.sweep.experiments import digits

        settings = digits.Settings(trial.params["y"], 256, 8, seed=trial.id)
        data, state = digits.load_digits(), digits.build(trial, settings)
        while state.epoch < STEPS:
            loaded = digest(parts(state))
            note(folder, f"{trial.id} {state.epoch + 1}")
            state = digits.train_epoch(data, settings, state)
            trial.save(parts(state))
            score = digits.validation_accuracy(data, settings, state)
            yield {"score": score, "cost": float(state.epoch), "loaded": loaded, "saved": digest(parts(state))}

    return train


def parts(state: Any) -> dict[str, Any]:
    """A state of a training as what is saved: weights, the optimizer's moments, the generator, epoch and loss."""
    return {name: getattr(state, name) for name in ("epoch", "loss", "weights", "moments", "generator")}


def digest(state: Mapping[str, Any]) -> float:
    """48 bits of the SHA-256 of everything in a state: a metric is a float, which holds 53."""
    found = hashlib.sha256()
    for name, value in sorted(state.items()):
        found.update(name.encode())
        for key, tensor in sorted(value.items()) if isinstance(value, Mapping) else [("", value)]:
            found.update(key.encode())
            found.update(tensor.numpy().tobytes() if hasattr(tensor, "numpy") else repr(tensor).encode())
    return float(int.from_bytes(found.digest()[:6], "big"))


def mortal(trial: Trial) -> Iterator[dict[str, float]]:
    """Trial 1 is the best, and kills its process at step 2, however often it is tried."""
    step = trial.load() or 0
    while step < 5:
        step += 1
        if trial.id == 1 and step == 2:
            os.kill(os.getpid(), signal.SIGKILL)
        trial.save(step)
        yield {"score": float(step) if trial.id == 1 else trial.params["x"] - 1}
