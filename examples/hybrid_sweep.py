"""Four phases of one search, over real trainings: explore, model, evolve, validate.

Each phase gives its trials to the next one: the model begins with what the exploration found, the population with the
best configurations of both, and the best of all are trained again under several seeds. `HybridSweepExperiment` of
`metta.sweep.experiments.strategies.hybrid` is this pipeline with its numbers as arguments.
Corrected against the document: it says neither what is searched nor where; that is `base_experiment`, and its
`tunables()` are the space. Its budgets (50, 100 and 20 times 30 trainings) are smaller here.
"""

from metta.sweep.executors import LocalExecutor
from metta.sweep.experiments import TrainingExperiment
from metta.sweep.experiments.base import Experiment, Pipeline
from metta.sweep.experiments.strategies.records import Validation


class HybridSweepExperiment(Experiment[Validation]):
    """
    Phase 1: Random exploration to map the space
    Phase 2: Bayesian optimization to model promising regions
    Phase 3: Population evolution for final refinement
    """

    nests = True  # its phases are sweeps: a sweep over this experiment leaves the workers to them

    def __init__(self, executor: LocalExecutor) -> None:
        self.base_experiment = TrainingExperiment(max_epochs=2)
        self.executor = executor
        self.seed = 0

    def pipeline(self) -> Pipeline:
        return (
            Pipeline()
            # Broad exploration with random search
            .stage(
                "explore",
                self.random_search(
                    n_trials=5,
                    resources_per_trial=0.5,  # Quick evaluations
                ),
            )
            # Focused search with Gaussian Process model
            .stage(
                "model",
                self.bayesian_optimize(
                    n_trials=2,
                    acquisition="UCB",
                    beta=2.0,  # Exploration/exploitation tradeoff
                ),
            )
            # Population refinement in best region
            .stage(
                "evolve",
                self.population_training(
                    population_size=2,
                    generations=2,
                ),
            )
            # Final validation of best candidates
            .stage(
                "validate",
                self.final_evaluation(
                    n_seeds=2,  # Multiple seeds for robustness
                    top=2,
                ),
            )
        )


with LocalExecutor(max_workers=1) as executor:
    validation = HybridSweepExperiment(executor).run().value

print(f"{len(validation.validation_scores)} candidates were validated")
print(f"the best one: {', '.join(validation.best_params)}")
print(f"its mean accuracy is above 70 %: {validation.best_score > 0.7}")
