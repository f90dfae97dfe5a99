"""Three searches in parallel, a model of what they found together, then exploit or explore.

What parallel arms give is a list of their results; `combine_observations` makes one of them. Its fields are what the
condition reads. `intensive_local_search` and `continue_global_search` are no strategies but methods of this
experiment: they take what the model stage gives, and await a strategy with settings that depend on it.
Corrected against the document: the pipeline stands in an experiment, or there would be no `self`; and it does not say
what `critical_params` and `threshold` are.
"""

from typing import Any

from metta.sweep import Experiment, Pipeline, Trial
from metta.sweep.executors import LocalExecutor
from metta.sweep.experiments.strategies.records import FittedModel, Found
from metta.sweep.space import Integer, Uniform

critical_params = ["rate"]


def train(trial: Trial) -> float:
    """In place of a training; best where the rate is 0.3 and there are 4 layers."""
    return float(1 - (trial.params["rate"] - 0.3) ** 2 - 0.01 * (trial.params["layers"] - 4) ** 2)


class Composed(Experiment[Any]):
    """Compose sophisticated strategies."""

    nests = True

    def __init__(self, executor: LocalExecutor, threshold: float) -> None:
        self.base_experiment = train
        self.search_space = {"rate": Uniform(0.0, 1.0), "layers": Integer(1, 8)}
        self.executor = executor
        self.seed = 0
        self.threshold = threshold

    async def intensive_local_search(self, fitted: FittedModel) -> Found:
        """A grid round the best point of the model."""
        rate = fitted.model.optimum["rate"]
        print(f"exploit: the model is best with {fitted.model.optimum['layers']} layers")
        nearby = [min(1.0, max(0.0, rate + step)) for step in (-0.02, -0.01, 0.0, 0.01, 0.02)]
        grid = {"rate": nearby, "layers": [fitted.model.optimum["layers"]]}
        return await self.grid_search(fitted, params=grid)

    async def continue_global_search(self, fitted: FittedModel) -> Found:
        """More points, where the first ones have left the largest gaps."""
        print(f"explore: {len(fitted.observed)} trials are not enough")
        return await self.sobol_sequence(fitted, n=16, skip=8)

    def pipeline(self) -> Pipeline:
        return (
            Pipeline()
            .parallel(
                [
                    self.random_search(n=8),
                    self.grid_search(params=critical_params),
                    self.sobol_sequence(n=8),
                ]
            )
            .stage("merge", self.combine_observations)
            .stage("model", self.fit_gaussian_process)
            .conditional(
                lambda ctx: ctx.best_score > self.threshold,
                Pipeline().stage("exploit", self.intensive_local_search),
                Pipeline().stage("explore", self.continue_global_search),
            )
        )


with LocalExecutor(max_workers=1) as executor:
    for threshold in (0.9, 1.0):
        found = Composed(executor, threshold).run().value
        print(f"{len(found.observed)} trials, best score {found.best_score:.2f}")
