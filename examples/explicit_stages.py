"""Explicit stages: a sweep written by hand as a pipeline, in the two forms that the documents show.

First with one typed record that flows through all stages, then with a contract per stage. Corrected against the
documents: the stages there use a `self` that is not among their parameters; here they are methods. They also change the
context that they are given, where a stage has to return a new one: with a changed input neither a retry nor a resumed
run would start from what was recorded. And the loop between the stages is written out.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from metta.sweep import Context, Experiment, Pipeline, Trial
from metta.sweep.optimizers import BayesianOptimizer
from metta.sweep.space import LogUniform
from metta.sweep.trial import Observation, Result

search_space = {"learning_rate": LogUniform(1e-4, 1e-1)}


@dataclass(frozen=True)
class SweepContext:
    """Type-safe context flowing through the pipeline."""

    trials: list[Trial] = field(default_factory=list)
    observations: list[Observation] = field(default_factory=list)
    current_phase: str = "start"


class ExplicitSweep(Experiment[SweepContext]):
    """Suggest, evaluate, observe, until there are twelve observations."""

    def __init__(self, seed: int = 0) -> None:
        self.optimizer = BayesianOptimizer(search_space, seed=seed)

    def pipeline(self) -> Pipeline:
        """Each stage takes a SweepContext and returns one."""
        return (
            Pipeline(SweepContext)
            .loop_while(lambda ctx: len(ctx.observations) < 12)
            .stage("suggest", self.suggest_stage)
            .through(SweepContext)
            .stage("evaluate", self.evaluate_stage)
            .through(SweepContext)
            .end_loop()
        )

    async def suggest_stage(self, ctx: SweepContext) -> SweepContext:
        """A fresh optimizer observes what is known so far: all that a stage depends on is in the context."""
        optimizer = self.optimizer.copy()
        for observation in ctx.observations:
            optimizer.observe(observation.trial, observation.result)
        return replace(ctx, trials=optimizer.suggest(n=4), current_phase="suggest")

    def evaluate_stage(self, ctx: SweepContext) -> SweepContext:
        """The score of each trial."""
        found = [Observation(trial, Result(score(trial))) for trial in ctx.trials]
        return replace(ctx, observations=[*ctx.observations, *found], current_phase="evaluate")


def score(trial: Trial) -> float:
    """Best at a learning rate of 0.01."""
    return float(1 - abs(trial.params["learning_rate"] - 0.01) ** 0.5)


# The other form: contracts say what each stage adds, and a stage takes just what it needs.


def get_suggestions(n: int) -> list[Trial]:
    """The first suggestions of an optimizer."""
    return BayesianOptimizer(search_space, seed=0).suggest(n)


def run_training(trials: list[Trial]) -> dict[str, float]:
    """The score of each trial, by its learning rate."""
    return {f"lr={trial.params['learning_rate']:.2g}": score(trial) for trial in trials}


def update_model(results: dict[str, float]) -> str:
    """What has been learnt: the best one."""
    return max(results, key=results.__getitem__)


one_round = (
    Pipeline(n=int)
    .stage("suggest", get_suggestions)
    .through(trials=list[Trial])  # contract: the next stage gets trials
    .stage("train", run_training)
    .through(results=dict[str, float])  # contract: the next stage gets results
    .stage("update", update_model)
    .through(best=str)
)


def main() -> None:
    """Both, and what becomes of a loop."""
    final = ExplicitSweep().run(SweepContext(), store=None).value
    best = max(final.observations, key=lambda observation: observation.result)
    print(f"{len(final.observations)} observations, best {best.result:.2f}, last phase {final.current_phase!r}")
    context: Context = one_round.compile().run(n=4)
    print(f"one round: {context.best} of {len(context.trials)}")


if __name__ == "__main__":
    main()
