"""An Experiment is a class with a pipeline; its stages are its own methods, and it is a stage of other experiments.

The hybrid search of the documents: explore at random, model, refine, validate. Corrected against them: phases are
given as methods with settings, not as calls; `init_from` names a context field; `dict` is spelled out; and an
experiment that runs inside a stage is awaited in an `async def`.
"""

from __future__ import annotations

import asyncio
from random import Random
from statistics import mean

from metta.sweep import Context, Experiment, Pipeline, Trial, field


class MyExperiment(Experiment[Context]):
    """Random search, then a local one from its best point, then several seeds of the winner."""

    def __init__(self, noise: float = 0.01) -> None:
        self.noise = noise

    def pipeline(self) -> Pipeline:
        """The flow: what is drawn is what runs."""
        return (
            Pipeline(seed=int)
            .stage("explore", self.explore, n_trials=50)
            .through(exploration_results=list[Trial])
            .stage("refine", self.refine, init_from=field("exploration_results"), n_trials=20, step=0.1)
            .through(final_results=list[Trial], validate=lambda data: len(data.final_results) > 0, retry=3)
            .stage("validate", self.validate, n_seeds=10)
            .through(best_score=float)
        )

    def explore(self, seed: int, n_trials: int) -> list[Trial]:
        """Broad and cheap."""
        random = Random(seed)
        return [Trial({"lr": random.uniform(0, 1)}) for _ in range(n_trials)]

    def refine(self, init_from: list[Trial], seed: int, n_trials: int, step: float) -> list[Trial]:
        """Around the best point, best first."""
        random = Random(seed + 1)
        start = min(init_from, key=self.loss)
        near = [Trial({"lr": start.params["lr"] + random.gauss(0, step)}) for _ in range(n_trials)]
        return sorted([start, *near], key=self.loss)

    def validate(self, final_results: list[Trial], seed: int, n_seeds: int) -> float:
        """The winner's mean score over several seeds."""
        random = Random(seed + 2)
        return mean(1 - self.loss(final_results[0]) + random.gauss(0, self.noise) for _ in range(n_seeds))

    def loss(self, trial: Trial) -> float:
        """Least at lr = 0.3."""
        return float((trial.params["lr"] - 0.3) ** 2)


class Robustness(Experiment[Context]):
    """Runs the experiment above at several levels of noise: experiments contain experiments."""

    def pipeline(self) -> Pipeline:
        """One stage that runs an experiment per element, and one that compares."""
        return (
            Pipeline(noises=list[float])
            .map("run", self.run_at, over="noises", max_parallel=2)
            .through(scores=list[float])
            .stage("spread", self.spread)
            .through(spread=float)
        )

    async def run_at(self, noise: float) -> float:
        """A whole experiment as one element of a map."""
        result = await MyExperiment(noise).run(seed=0)
        return float(result.best_score)

    def spread(self, scores: list[float]) -> float:
        """How much the noise matters."""
        return max(scores) - min(scores)


async def gathered() -> str:
    """In async code a run is awaited."""
    results = await asyncio.gather(*(MyExperiment().run(seed=seed) for seed in range(3)))
    return ", ".join(f"{result.best_score:.3f}" for result in results)


def main() -> None:
    """In sync code an attribute waits for the result."""
    print(f"best score {MyExperiment().run(seed=0).best_score:.3f}")
    print(f"noise free {MyExperiment().with_params({'noise': 0.0}).run(seed=0).best_score:.3f}")
    print("three seeds", asyncio.run(gathered()))
    print(f"spread {Robustness().run(noises=[0.0, 0.01, 0.1]).spread:.3f}")


if __name__ == "__main__":
    main()
