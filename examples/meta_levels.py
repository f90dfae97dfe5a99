"""Levels of optimization: train a model, tune it, tune what tunes it, and tune that. The run tree shows who did what.

    python examples/meta_levels.py

Every level is an experiment whose trials are experiments of the level below; only the trainings at the leaves take
worker processes. Budgets are tiny here: `inner_budget` counts the trials of each run of the level below.
"""

import tempfile
from pathlib import Path

from metta.sweep.executors import LocalExecutor
from metta.sweep.experiments import SweepExperiment, TrainingExperiment
from metta.sweep.experiments.nested.meta import MetaMetaExperiment, MetaSweepExperiment
from metta.sweep.experiments.tree.run_tree import run_tree
from metta.sweep.optimizers import BayesianOptimizer, EvolutionaryStrategy
from metta.sweep.schedulers import PBTScheduler
from metta.sweep.space import Choice, Uniform

# Level 0: train a model. Fixed hyperparameters.
training = TrainingExperiment(max_epochs=3)

# Level 1: optimize the hyperparameters.
sweep = SweepExperiment(base_experiment=training, optimizer=BayesianOptimizer(initial_samples=2))

# Level 2: optimize the optimizer. A population of two sweeps; after each inner trial the worse one may copy the better
# one, with what that has observed, and go on with other settings. Without `meta_search_space` all would be searched
# that a sweep says it has: its `tunables()`.
meta_sweep = MetaSweepExperiment(
    base_experiment=sweep,
    meta_optimizer=PBTScheduler(population_size=2, num_generations=4),
    meta_search_space={"optimizer.acquisition": Choice(["ei", "ucb"]), "optimizer.exploration": Uniform(0.0, 3.0)},
)

# Level 3: learn to learn to learn.
meta_meta = MetaMetaExperiment(
    base_experiment=meta_sweep,
    meta_meta_optimizer=EvolutionaryStrategy(),
    inner_budget=2,
    executor=LocalExecutor(max_workers=2),
    seed=1,
)

with tempfile.TemporaryDirectory() as folder:
    print(f"level 0: {training.run(store=None).score:.0%} of the test images are right")
    result = meta_meta.run(budget=2, store=folder)
    best = result.best_trial
    print(f"level 3: {result.best_score:.0%} with {', '.join(best.params)}")
    tree = run_tree(result.run_id or "", store=folder)
    print(tree)
    depths = {node.name: len(node.folder.relative_to(Path(folder).resolve()).parts) for node in tree.walk()}
    print(f"levels: {' > '.join(sorted(depths, key=depths.__getitem__))}")
