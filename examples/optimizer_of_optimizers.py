"""Learning to optimize: experiments of one's own that find the best configuration of an optimizer.

The documents' OptimizerOptimizationExperiment and OptimizerOptimizer. Corrected against them: `optimizer.suggest` and
`.observe` take and give trials, so a stage of ours stands between them and the keyword contract; the suggestions are
made in a loop, or nothing would be learnt from them; `batch_size` is used; and what a stage returns is what its
contract says (a number, not a SweepResult).
"""

from __future__ import annotations

import math
from typing import NamedTuple

from metta.sweep.experiments import Experiment, SweepExperiment
from metta.sweep.experiments.base import Pipeline
from metta.sweep.optimizers import RandomOptimizer, create_optimizer
from metta.sweep.schedulers import create_scheduler
from metta.sweep.space import Choice, Integer, Uniform
from metta.sweep.trial import Trial

SPACE = {"x": Uniform(-5.0, 5.0), "y": Uniform(-5.0, 5.0)}


def score(trial: Trial) -> float:
    """A bumpy hill, highest, 1, at (1, -2)."""
    x, y = trial.params["x"] - 1, trial.params["y"] + 2
    return math.exp(-(x * x + y * y) / 8) * (0.75 + 0.25 * math.cos(3 * x) * math.cos(3 * y))


class OptimizerConfig(NamedTuple):
    """What is tried, as the record of a configuration."""

    acquisition_fn: str
    batch_size: int
    exploration_rate: float
    scheduler_type: str


class Outcome(NamedTuple):
    """What comes out: the best configuration, and how well its sweep did."""

    best: OptimizerConfig
    sweep_performance: float


class OptimizerOptimizationExperiment(Experiment[Outcome]):
    """Suggest a configuration, run a full sweep with it, learn from that; again and again."""

    nests = True

    def __init__(self, rounds: int = 4) -> None:
        self.rounds = rounds
        self.meta_space = {
            "acquisition_fn": Choice(["ei", "ucb"]),
            "batch_size": Integer(1, 4),
            "exploration_rate": Uniform(0.0, 3.0),
            "scheduler_type": Choice(["batch", "synchronous_batch"]),
        }

    def pipeline(self) -> Pipeline:
        """The loop; what it has learnt so far is a field, so a killed experiment goes on where it was."""
        return (
            Pipeline()
            .stage("begin", self.begin)
            .through(tried=list[OptimizerConfig], results=list[float])
            .loop_while(lambda ctx: len(ctx.results) < self.rounds)
            .stage("suggest_optimizer_config", self.suggest_optimizer_config)
            .through(acquisition_fn=str, batch_size=int, exploration_rate=float, scheduler_type=str)
            .stage("run_sweep", self.execute_sweep_with_config)
            .through(sweep_performance=float)
            .stage("update", self.observe)
            .through(tried=list[OptimizerConfig], results=list[float])
            .end_loop()
            .stage("choose", self.choose)
            .through(Outcome)
        )

    def begin(self) -> tuple[list[OptimizerConfig], list[float]]:
        """Nothing is known."""
        return [], []

    def suggest_optimizer_config(self, tried: list[OptimizerConfig], results: list[float]) -> OptimizerConfig:
        """Ask a meta optimizer that has heard of everything that was tried."""
        meta_optimizer = create_optimizer("bayesian", search_space=self.meta_space, seed=0, initial_samples=2)
        for config, result in zip(tried, results, strict=True):
            (again,) = meta_optimizer.suggest(1)
            assert dict(again.params) == config._asdict()  # it is deterministic: this is what it suggested
            meta_optimizer.observe(again, result)
        (trial,) = meta_optimizer.suggest(1)
        return OptimizerConfig(**trial.params)

    async def execute_sweep_with_config(
        self, acquisition_fn: str, batch_size: int, exploration_rate: float, scheduler_type: str
    ) -> float:
        """Test the suggested optimizer configuration in a full sweep, a child run of this one."""
        optimizer = create_optimizer(acquisition_fn, exploration=exploration_rate, initial_samples=3)
        sweep = SweepExperiment(
            score,
            search_space=SPACE,
            optimizer=optimizer,
            scheduler=create_scheduler(scheduler_type, batch_size=batch_size),
            seed=1,
        )
        result = await sweep.run(budget=8)
        return result.best_metric

    def observe(
        self,
        acquisition_fn: str,
        batch_size: int,
        exploration_rate: float,
        scheduler_type: str,
        sweep_performance: float,
        tried: list[OptimizerConfig],
        results: list[float],
    ) -> tuple[list[OptimizerConfig], list[float]]:
        """Note what came of it."""
        config = OptimizerConfig(acquisition_fn, batch_size, exploration_rate, scheduler_type)
        return [*tried, config], [*results, sweep_performance]

    def choose(self, tried: list[OptimizerConfig], results: list[float]) -> Outcome:
        """The best one."""
        best = max(range(len(results)), key=results.__getitem__)
        return Outcome(tried[best], results[best])


class OptimizerOptimizer(Experiment[float]):
    """The concise document's form: one configuration, one sweep, one number."""

    nests = True

    def __init__(self, seed: int = 0) -> None:
        self.seed = seed

    def pipeline(self) -> Pipeline:
        """Suggest, test, update."""
        return (
            Pipeline()
            .stage("suggest_config", self.suggest_optimizer_params)
            .through(acquisition_fn=str, exploration_rate=float, batch_size=int)
            .stage("test_optimizer", self.run_sweep_with_config)
            .through(performance=float)
            .stage("update", self.update_meta_model)
            .through(float)
        )

    def suggest_optimizer_params(self) -> tuple[str, float, int]:
        """At random; the experiment above does better."""
        space = {"acquisition": Choice(["ei", "ucb"]), "exploration": Uniform(0, 2), "batch_size": Integer(1, 4)}
        (trial,) = RandomOptimizer(space, seed=self.seed).suggest(1)
        return trial.params["acquisition"], trial.params["exploration"], trial.params["batch_size"]

    async def run_sweep_with_config(self, acquisition_fn: str, exploration_rate: float, batch_size: int) -> float:
        """A full sweep to test this optimizer."""
        optimizer = create_optimizer(acquisition_fn, exploration=exploration_rate)
        scheduler = create_scheduler("batch", batch_size=batch_size)
        sweep = SweepExperiment(score, search_space=SPACE, optimizer=optimizer, scheduler=scheduler, seed=1)
        result = await sweep.run(budget=6)
        return result.best_score

    def update_meta_model(self, performance: float) -> float:
        """What the meta model learns from."""
        return performance


def main() -> None:
    """Both forms, and what a sweep over the second one is: it is an experiment with a number, like any other."""
    outcome = OptimizerOptimizationExperiment(rounds=3).run().value
    print(f"its settings: {', '.join(outcome.best._fields)}")
    print(f"what its sweep has found is on the hill: {0 < outcome.sweep_performance <= 1}")
    print(f"one configuration at random, too: {0 < OptimizerOptimizer().run().value <= 1}")
    sweep = SweepExperiment(OptimizerOptimizer(), optimizer=RandomOptimizer({"seed": Integer(0, 99)}), seed=0)
    print(f"several of them: {len(sweep.run(budget=3).ranking)} trials")


if __name__ == "__main__":
    main()
