"""An optimizer and a scheduler of one's own: two methods each, and they work with everything else.

The optimizer keeps the best trial and tries something near it. The scheduler stops trials that have stopped getting
better, and gives large networks more memory. Corrected against the documents: methods without a body, and
`return trials` before trials are assigned; a run works on copies of both parts, so each sweep starts from scratch.
"""

from __future__ import annotations

from collections.abc import Iterator
from random import Random

from metta.sweep import Resources, SweepExperiment, Trial
from metta.sweep.executors import LocalExecutor
from metta.sweep.optimizers import Optimizer
from metta.sweep.schedulers import Scheduler


class MyOptimizer(Optimizer):
    """A hill climber on a logarithmic scale.

    Args:
        start: the first learning rate.
        step: how far a trial is from the best one, in powers of ten.
    """

    def __init__(self, start: float = 1e-4, step: float = 0.5) -> None:
        self.best: tuple[float, float] = (float("-inf"), start)  # score, learning rate
        self.step = step
        self.random = Random(0)

    def suggest(self, n: int) -> list[Trial]:
        """Near the best one so far."""
        rates = [self.best[1] * 10 ** self.random.gauss(0, self.step) for _ in range(n)]
        return [Trial({"learning_rate": rate, "width": self.random.choice([64, 512])}) for rate in rates]

    def observe(self, trial: Trial, result: float) -> None:
        """Keep it if it is better; NaN, a failure, never is."""
        if result > self.best[0]:
            self.best = (float(result), trial.params["learning_rate"])


class MyScheduler(Scheduler):
    """A new trial whenever a slot is free, as the base class has it; stops what has come to a standstill."""

    def should_stop(self, trial: Trial) -> bool:
        """Less than a thousandth gained by the last unit of resource."""
        scores = [report.metrics["score"] for report in trial.reports]
        return len(scores) > 1 and scores[-1] - scores[-2] < 0.001

    def allocate_resources(self, trial: Trial) -> Resources:
        """An executor that knows about memory gives it, and ends what takes longer than the limit."""
        return Resources(memory="4GB" if trial.params["width"] > 128 else "1GB", time_limit=3600)


def train(trial: Trial) -> Iterator[float]:
    """A curve with a plateau that is highest at a learning rate of 0.01."""
    plateau = 1 / (1 + abs(trial.params["learning_rate"] - 0.01) * 50)
    for epoch in range(1, 31):
        yield plateau * (1 - 0.5**epoch)


# Use them like any other.
experiment = SweepExperiment(
    train,
    optimizer=MyOptimizer(),
    scheduler=MyScheduler(),
    executor=LocalExecutor(max_workers=1),
    seed=0,
)


def main() -> None:
    """Thirty trials, none of which needs all of its 30 epochs."""
    result = experiment.run(budget=30)
    print(f"{sum(trial.step for trial in result.trials)} epochs instead of {30 * len(result.trials)}")
    print(f"learning rate {result.best_params['learning_rate']:.4f}, score {result.best_score:.2f}")


if __name__ == "__main__":
    main()
