"""Each part tested alone: an optimizer, a scheduler, a stage, a whole sweep on a virtual clock. No training needed.

Run it with pytest, or as it is. Corrected against the documents: `await` in a plain `def` is a syntax error;
`SweepContext()` needs defaults, and a stage that is a method needs its object. Parts of one's own get whole suites:
subclass `OptimizerConformance` or `SchedulerConformance`.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from metta.sweep import Trial
from metta.sweep.optimizers import AxOptimizer, RandomOptimizer
from metta.sweep.schedulers import ASHAScheduler, Scheduler
from metta.sweep.space import LogUniform, SearchSpace, Uniform
from metta.sweep.testing import SchedulerConformance, bowl, power_law, simulate

search_space = {"learning_rate": LogUniform(1e-4, 1e-1), "dropout": Uniform(0.0, 0.5)}


@dataclass
class SweepContext:
    """What flows through the pipeline."""

    trials: list[Trial] = field(default_factory=list)


async def suggest_stage(ctx: SweepContext) -> SweepContext:
    """A stage is a plain function: it can be called without a pipeline."""
    return SweepContext([*ctx.trials, *RandomOptimizer(search_space, seed=0).suggest(10)])


def test_optimizer() -> None:
    """As many as were asked for, all inside the space, all different."""
    opt = AxOptimizer(search_space, seed=0)
    trials = opt.suggest(10)
    assert len(trials) == 10
    assert all(1e-4 <= trial.params["learning_rate"] <= 1e-1 for trial in trials)
    assert len({trial.params["learning_rate"] for trial in trials}) == 10


def test_scheduler() -> None:
    """The rungs."""
    sched = ASHAScheduler(max_t=100)
    assert sched.get_next_rung(10) == 30  # 10 * 3


def test_pipeline() -> None:
    """A stage alone."""
    ctx = SweepContext()
    ctx = asyncio.run(suggest_stage(ctx))
    assert len(ctx.trials) > 0


def test_halving_finds_what_a_search_of_full_trainings_finds() -> None:
    """Eighty-one configurations on a virtual clock, in a moment: the real parts, and a formula for the training."""
    space = SearchSpace.of(search_space)
    halving = simulate(
        RandomOptimizer(space), ASHAScheduler(max_epochs=27, grace_period=1), power_law(bowl(space)), budget=81
    )
    full = simulate(RandomOptimizer(space), Scheduler(max_resource=27), power_law(bowl(space)), budget=81)
    assert best(halving.trials).params == best(full.trials).params
    assert sum(trial.step for trial in halving.trials) < sum(trial.step for trial in full.trials) / 4


def best(trials: list[Trial]) -> Trial:
    """The best of those that were trained longest."""
    longest = max(trial.step for trial in trials)
    return max(
        (trial for trial in trials if trial.step == longest), key=lambda trial: trial.reports[-1].metrics["score"]
    )


class TestStandstill(SchedulerConformance):
    """A suite for everything that a sweep relies on: ends, budgets, restored states, failures, ties."""

    def make(self) -> Scheduler:
        """The scheduler under test."""
        return Standstill(max_resource=27)


class Standstill(Scheduler):
    """Stops what has not gained a hundredth in any objective within the last unit of resource."""

    def should_stop(self, trial: Trial) -> bool:
        """Asked after each report. The suite also runs it with other metrics than "score", and with two of them."""
        losses = [self.objectives.losses(self.objectives.score(report.metrics)) for report in trial.reports[-2:]]
        return len(losses) == 2 and all(before - now < 0.01 for before, now in zip(*losses, strict=True))


def main() -> None:
    """Without pytest: call them."""
    for test in (
        test_optimizer,
        test_scheduler,
        test_pipeline,
        test_halving_finds_what_a_search_of_full_trainings_finds,
    ):
        test()
        print(f"{test.__name__}: passed")


if __name__ == "__main__":
    main()
