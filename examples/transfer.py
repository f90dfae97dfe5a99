"""Transfer between tasks: a warm start that is weighted by how similar the tasks turn out to be.

    python examples/transfer.py

Two earlier sweeps are in the store: one trained the digits network on five of the ten digits, the other one is of
something else whose parameters happen to have the same names, and there the opposite is right. The new task is all ten
digits, with noise. `TransferOptimizer` starts from both and trusts each as far as it ranks the new results (RGPE:
Feurer, Letham, Hutter and Bakshy, "Practical Transfer Learning for Bayesian Optimization", 2018).
"""

import math
import tempfile
from collections.abc import Callable

from metta.sweep.executors import LocalExecutor
from metta.sweep.experiments import SweepExperiment, SweepResult, TrainingExperiment, load_observations
from metta.sweep.optimizers import BayesianOptimizer, Optimizer, SobolOptimizer
from metta.sweep.optimizers.transfer.optimizer import TransferOptimizer
from metta.sweep.schedulers import SynchronousBatchScheduler
from metta.sweep.space import Integer, LogUniform, SearchSpace
from metta.sweep.trial import Trial

Objective = Callable[[Trial], float] | TrainingExperiment

SPACE = SearchSpace(
    {
        "trainer.learning_rate": LogUniform(1e-5, 1e-1),
        "agent.hidden_size": Integer(8, 128, log=True),
    }
)


def something_else(trial: Trial) -> float:
    """The slower and the smaller the better."""
    rate, size = float(trial.params["learning_rate"]), int(trial.params["hidden_size"])
    return -math.log(rate) - size / 50


EARLIER: dict[str, Objective] = {
    "five-digits": TrainingExperiment(max_epochs=2, classes=5),
    "something-else": something_else,
}


def search(objective: Objective, name: str, optimizer: Optimizer, trials: int) -> SweepResult:
    """A sweep in batches of two, so that it is the same each time."""
    scheduler = SynchronousBatchScheduler(batch_size=2)
    sweep = SweepExperiment(
        objective, name=name, optimizer=optimizer, scheduler=scheduler, executor=executor, store=store, seed=0
    )
    return sweep.run(trials)


with LocalExecutor(max_workers=2) as executor, tempfile.TemporaryDirectory() as store:
    for name, objective in EARLIER.items():
        result = search(objective, name, SobolOptimizer(SPACE), 16)
        print(f"{name}: {len(result.trials)} trials")

    previous = {name: load_observations(name, store=store) for name in EARLIER}
    warm, cold = TransferOptimizer(SPACE, previous), BayesianOptimizer(SPACE)
    print("before:", ", ".join(f"{name} {weight:.2f}" for name, weight in warm.weights.items()))

    task = TrainingExperiment(max_epochs=2, noise=0.2)
    started_warm, started_cold = search(task, "ten-digits", warm, 8), search(task, "ten-digits", cold, 8)
    for observation in started_warm.observations:
        warm.observe(observation.trial, observation.result)
    trusted = [name for name, weight in warm.weights.items() if weight > 0.01]
    print(f"after 8 trials trusted: {', '.join(trusted)}")
    print(f"the warm start has found the better network: {started_warm.best_score > started_cold.best_score}")
