"""Any optimizer with any scheduler: a table of all combinations, in one loop.

Corrected against the documents: `results` is a list before something is appended to it, `search_space` is written out,
and `max_resource` is 27 instead of 100; every scheduler takes that name for the units of a full training. The
objective yields one number per unit, so that each scheduler may stop, pause or fork it there.
"""

from __future__ import annotations

from collections.abc import Iterator

from metta.sweep import Trial
from metta.sweep.executors import LocalExecutor
from metta.sweep.experiments import SweepExperiment, SweepResult
from metta.sweep.optimizers import AxOptimizer, NevergradOptimizer, OptunaOptimizer
from metta.sweep.schedulers import ASHAScheduler, HyperbandScheduler, PBTScheduler
from metta.sweep.space import LogUniform, Uniform

search_space = {"learning_rate": LogUniform(1e-4, 1e-1), "dropout": Uniform(0.0, 0.6)}


def train(trial: Trial) -> Iterator[dict[str, float]]:
    """A learning curve that rises to its plateau; the best is at a learning rate of 0.01 and a dropout of 0.2."""
    plateau = 1 - (trial.params["dropout"] - 0.2) ** 2
    speed = 1 / (1 + abs(trial.params["learning_rate"] - 0.01) * 100)
    score: float = trial.load() or 0.0
    while True:
        score += speed * (plateau - score)
        trial.save(score)
        yield {"score": score}


def main() -> None:
    """Nine sweeps of six configurations; how long they are trained, and what they become, the scheduler decides."""
    results: list[SweepResult] = []
    with LocalExecutor(max_workers=1) as executor:
        for optimizer in [AxOptimizer, OptunaOptimizer, NevergradOptimizer]:
            for scheduler in [ASHAScheduler, PBTScheduler, HyperbandScheduler]:
                experiment = SweepExperiment(
                    train,
                    name=f"{optimizer.__name__} + {scheduler.__name__}",
                    optimizer=optimizer(search_space),
                    scheduler=scheduler(max_resource=27),
                    executor=executor,
                    seed=0,
                )
                results.append(experiment.run(budget=6))
                # Reading a result waits for it; without this all nine would run at the same time.
                verdict = "good" if results[-1].best_score > 0.8 else "bad"
                started = sum(trial.parent is None for trial in results[-1].trials)
                print(f"{experiment.name}: {started} configurations, the best one is {verdict}")
    print(f"{len(results)} sweeps, {sum(not result.failures for result in results)} without a failed trial")


if __name__ == "__main__":
    main()
