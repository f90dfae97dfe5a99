"""Conditional search spaces: parameters that exist only where another one has a certain value.

A dotted prefix that is a value of a `Choice` is a condition: "cnn.layers" exists where model_type is "cnn". `.when`
says the same for any name. An inactive parameter is absent from `trial.params`; reading it, or a misspelt one, is a
KeyError. Also shown: a constraint between parameters, which every suggestion meets.
"""

from __future__ import annotations

from metta.sweep import Trial
from metta.sweep.executors import LocalExecutor
from metta.sweep.experiments import SweepExperiment
from metta.sweep.optimizers import OptunaOptimizer
from metta.sweep.schedulers import SynchronousBatchScheduler
from metta.sweep.space import Choice, Integer, LogUniform, SearchSpace, divides

search_space = SearchSpace(
    {
        "model_type": Choice(["cnn", "transformer"]),
        "cnn.layers": Integer(3, 10),  # only where model_type == "cnn"
        "transformer.heads": Integer(4, 16),  # only where model_type == "transformer"
        "width": Integer(64, 256),
        "optimizer": Choice(["sgd", "adam"]),
        "momentum": LogUniform(0.5, 0.99).when("optimizer", "sgd"),
    }
).require(divides("transformer.heads", "width"))


def train(trial: Trial) -> float:
    """A score that a deep convolutional network gets, or a transformer with few heads."""
    params = trial.params
    if params["model_type"] == "cnn":
        score: float = 0.6 + 0.02 * params["cnn.layers"]
    else:
        score = 0.9 - 0.01 * params["transformer.heads"]
    return score + (0.05 * params["momentum"] if params["optimizer"] == "sgd" else 0.02)


experiment = SweepExperiment(
    train,
    name="architectures",
    optimizer=OptunaOptimizer(search_space, sampler="TPE"),  # sees conditions define-by-run
    scheduler=SynchronousBatchScheduler(batch_size=4),
    executor=LocalExecutor(max_workers=2),
    seed=0,
)


def main() -> None:
    """Every trial has the parameters of its branch and no others."""
    result = experiment.run(budget=16)
    for kind in ("cnn", "transformer"):
        found = [trial for trial in result.trials if trial.params["model_type"] == kind]
        names = sorted({name for trial in found for name in trial.params if "." in name})
        print(f"{len(found)} of type {kind} with {', '.join(names)}")
    odd = [t for t in result.trials if t.params["width"] % t.params.get("transformer.heads", 1)]
    print(f"{len(odd)} where the heads do not divide the width; the best is a {result.best_params['model_type']}")
    try:
        result.best_params["transformer.haeds"]
    except KeyError as error:
        print(error)


if __name__ == "__main__":
    main()
