"""What the trials of the matrix train. Importable without pytest, so that workers start fast."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from metta.sweep.trial import Trial

STEPS = 4


def height(params: Mapping[str, float]) -> float:
    """A hill over whatever the space has, between 0 and 1."""
    wanted = {"x": 0.3, "y": 0.01, "cnn.layers": 6, "transformer.heads": 4}
    misses = [
        abs(params[name] - best) / (abs(best) + abs(params[name])) for name, best in wanted.items() if name in params
    ]
    return 1 - sum(misses) / len(misses)


def train(trial: Trial) -> Iterator[dict[str, float]]:
    """A curve that rises to the height of the hill; what was learnt is saved, so that a trial goes on."""
    learnt = trial.load() or {"steps": 0, "skill": 0.0}
    for step in range(learnt["steps"] + 1, STEPS + 1):
        skill = learnt["skill"] + (height(trial.params) - learnt["skill"]) / 2
        learnt = {"steps": step, "skill": skill}
        trial.save(learnt)
        yield {"score": skill, "latency": trial.params["x"] + 1 / step, "cost": float(step)}
