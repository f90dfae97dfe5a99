"""Multi-fidelity search: Hyperband whose configurations come from a model of all rungs.

    python examples/multi_fidelity.py

Hyperband (Li et al., JMLR 2018) starts many trainings on a few epochs and goes on with the best. BOHB (Falkner, Klein
and Hutter, ICML 2018) draws them from a model of the results at one number of epochs. `MultiFidelityOptimizer` models
every rung, and how the rungs hang together (Kennedy and O'Hagan, Biometrika 2000).

First a planted problem, on a virtual clock: the better a configuration is in the end, the slower it learns, so that
short trainings mislead. Then the digits network, really trained.
"""

import tempfile
from statistics import median

from metta.sweep.executors import LocalExecutor
from metta.sweep.experiments import SweepExperiment, TrainingExperiment
from metta.sweep.optimizers import BayesianOptimizer, Optimizer, RandomOptimizer
from metta.sweep.optimizers.multi_fidelity.optimizer import MultiFidelityOptimizer
from metta.sweep.schedulers import HyperbandScheduler
from metta.sweep.space import LogUniform, SearchSpace, Uniform
from metta.sweep.testing import bowl, crossing, simulate

SPACE = SearchSpace(
    {
        "learning_rate": LogUniform(1e-4, 1e-1),
        "weight_decay": LogUniform(1e-6, 1e-2),
        "dropout": Uniform(0, 0.5),
        "momentum": Uniform(0.5, 1),
    }
)
EPOCHS = 27
quality = bowl(SPACE)


def missed(optimizer: type[Optimizer], seed: int) -> float:
    """How far the best configuration that was trained to the end is from the best there is."""
    scheduler = HyperbandScheduler(max_resource=EPOCHS)
    done = simulate(optimizer(SPACE, seed=seed), scheduler, crossing(quality), seed=seed, steps=EPOCHS)
    return 1 - max(quality(trial.params) for trial in done.trials if trial.step == EPOCHS)


found = {
    kind: median(missed(kind, seed) for seed in range(9))
    for kind in (RandomOptimizer, BayesianOptimizer, MultiFidelityOptimizer)
}
for kind, distance in found.items():
    print(f"{kind.__name__}: {distance:.2f} from the best")

with LocalExecutor(max_workers=2) as executor, tempfile.TemporaryDirectory() as store:
    sweep = SweepExperiment(
        TrainingExperiment,
        name="multi-fidelity",
        optimizer=MultiFidelityOptimizer(initial_samples=5),
        scheduler=HyperbandScheduler(max_resource=9),
        executor=executor,
        seed=0,
        store=store,
    )
    result = sweep.run()
    epochs = sum(trial.step for trial in result.trials)
    print(f"{len(result.trials)} networks in {epochs} epochs; the best tells most digits: {result.best_score > 0.9}")
