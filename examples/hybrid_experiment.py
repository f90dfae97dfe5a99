"""A search in phases, with a contract behind each: what a phase has found gets a name, and may be named by a later one.

The settings of a phase may stand in its `.through`, beside the contract.
Corrected against the document: `init_from=exploration_results` is a NameError, a field is named by
`field("exploration_results")`; and it does not say what is searched, which is `base_experiment`. The budgets are
smaller.
"""

from typing import Any

from metta.sweep import Experiment, Pipeline, Trial, field
from metta.sweep.executors import LocalExecutor
from metta.sweep.space import LogUniform, Uniform


def train(trial: Trial) -> float:
    """In place of a training: how well the two parameters suit each other."""
    rate, momentum = trial.params["learning_rate"], trial.params["momentum"]
    return float(1 - (rate * 100 - 1) ** 2 / 100 - (momentum - 0.9) ** 2)


class HybridExperiment(Experiment[Any]):
    """Combine multiple optimization strategies"""

    nests = True

    def __init__(self, executor: LocalExecutor) -> None:
        self.base_experiment = train
        self.search_space = {"learning_rate": LogUniform(1e-4, 1e-1), "momentum": Uniform(0.0, 1.0)}
        self.executor = executor
        self.seed = 0

    def pipeline(self) -> Pipeline:
        return (
            Pipeline()
            # Phase 1: Broad exploration with random search
            .stage("explore", self.random_search)
            .through(
                exploration_results=list[Trial],
                n_trials=10,
                max_time_per_trial=600,  # Quick eval
            )
            # Phase 2: Model the space with Bayesian optimization
            .stage("model", self.bayesian_optimization)
            .through(
                modeled_results=list[Trial],
                n_trials=10,
                init_from=field("exploration_results"),  # Warm start
            )
            # Phase 3: Refine with population evolution
            .stage("refine", self.population_evolution)
            .through(
                final_results=list[Trial],
                population_size=4,
                generations=3,
            )
            # Phase 4: Validate best candidates
            .stage("validate", self.intensive_evaluation)
            .through(
                validation_scores=dict,
                n_seeds=2,
                full_evaluation=True,
            )
        )


def best(trials: list[Trial]) -> float:
    """The best score of a phase."""
    return max(trial.score for trial in trials if isinstance(trial.score, float))


with LocalExecutor(max_workers=1) as executor:
    result = HybridExperiment(executor).run().value

found, modeled = result.exploration_results, result.modeled_results
print(f"exploration: {len(found)} trials")
print(f"model: {len(modeled)} trials, better: {best(modeled) > best(found)}")
print(f"validated: {', '.join(sorted(result.validation_scores))}")
print(f"best {max(result.validation_scores.values()):.2f}")
