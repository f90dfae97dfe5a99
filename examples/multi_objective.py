"""Two objectives: accuracy up, latency down. There is no best trial then, but a front of trials that none other beats.

`objective_thresholds` says what is of interest at all: Ax looks for configurations that beat both. Corrected against
the documents: nothing there says that latency is to be small. `goal` says it, once, for the sweep and its optimizer.
"""

from __future__ import annotations

from collections.abc import Mapping

from metta.sweep import Trial
from metta.sweep.executors import LocalExecutor
from metta.sweep.experiments import SweepExperiment
from metta.sweep.optimizers import AxOptimizer
from metta.sweep.schedulers import SynchronousBatchScheduler
from metta.sweep.space import Integer, Uniform

search_space = {"width": Integer(16, 512, log=True), "depth": Integer(1, 8), "pruned": Uniform(0.0, 0.9)}

optimizer = AxOptimizer(
    search_space=search_space,
    objectives=["accuracy", "latency"],
    objective_thresholds={"accuracy": 0.8, "latency": 100},
)


def measure(trial: Trial) -> Mapping[str, float]:
    """A model of a network: larger ones are more accurate and slower, pruning costs a little and saves a lot."""
    params = trial.params
    weights = params["width"] ** 2 * params["depth"] * (1 - params["pruned"])
    accuracy = 1 - (weights / 50) ** -0.25 - 0.1 * params["pruned"] ** 4
    return {"accuracy": accuracy, "latency": weights / 5_000 + 2 * params["depth"]}  # milliseconds


experiment = SweepExperiment(
    measure,
    name="accurate and fast",
    optimizer=optimizer,
    goal={"accuracy": "maximize", "latency": "minimize"},
    scheduler=SynchronousBatchScheduler(batch_size=2),
    executor=LocalExecutor(max_workers=2),
    seed=0,
)


def main() -> None:
    """The front, the fastest first."""
    result = experiment.run(budget=8)
    scores = [trial.score for trial in result.pareto_front if isinstance(trial.score, Mapping)]
    for score in sorted(scores, key=lambda score: score["latency"]):
        print(f"{score['latency']:6.1f} ms  {score['accuracy']:.3f}")
    wanted = [score for score in scores if score["accuracy"] >= 0.8 and score["latency"] <= 100]
    print(f"{len(scores)} of {len(result.trials)} trials are on the front, {len(wanted)} within the thresholds")


if __name__ == "__main__":
    main()
