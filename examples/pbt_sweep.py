"""Population based training: hyperparameters change while the networks train.

The optimizer only draws the first population. From then on a member in the bottom fifth copies the weights and the
hyperparameters of one in the top fifth and perturbs the latter, so that a result is a schedule, not a constant.
Corrected against the documents: `search_space` is written out, `RandomOptimizer` imported; 20 members of 50 generations
are 5 of 4; and "random perturbation" is a multiplication with 1 + factor or 1 - factor, as in the paper (Jaderberg et
al., 2017).
"""

from __future__ import annotations

from metta.sweep import Trial
from metta.sweep.executors import LocalExecutor
from metta.sweep.experiments import SweepExperiment, SweepResult, TrainingExperiment
from metta.sweep.optimizers import RandomOptimizer
from metta.sweep.schedulers import PBTScheduler
from metta.sweep.space import LogUniform

search_space = {"trainer.learning_rate": LogUniform(1e-5, 1e-2), "trainer.batch_size": 64}

experiment = SweepExperiment(
    TrainingExperiment,
    name="pbt_evolution",
    optimizer=RandomOptimizer(search_space),  # PBT handles exploitation
    scheduler=PBTScheduler(
        population_size=5,
        perturbation_factor=0.2,
        num_generations=4,  # ready checks, one per epoch here
        exploit_method="truncation",  # the bottom fifth copies the top fifth
        explore_method="perturb",  # times 0.8 or 1.2
    ),
    executor=LocalExecutor(max_workers=1),
    seed=6,
)


def ancestry(result: SweepResult, trial: Trial) -> list[Trial]:
    """The trials whose weights this one goes on from, the first one first, itself last."""
    if trial.parent is None:
        return [trial]
    return [*ancestry(result, result.trials[trial.parent]), trial]


def main() -> None:
    """Without a budget PBT has an end of its own: every member has passed all generations."""
    result = experiment.run()
    founders = [trial for trial in result.trials if trial.parent is None]
    print(f"{len(founders)} members, {len(result.trials) - len(founders)} forks")
    schedule = [
        f"{trial.params['learning_rate']:.2g} from epoch {trial.reports[0].step}"
        for trial in ancestry(result, result.best_trial)
    ]
    print(f"the learning rate of the best network was {', '.join(schedule)}")
    print(f"it is above 80 %: {result.best_score > 0.8}")


if __name__ == "__main__":
    main()
