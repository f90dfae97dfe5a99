"""Settings of an optimizer, learned from the sweeps that are in the store already.

    python examples/learned_settings.py

Every finished sweep tells what its landscape is like. A Gaussian process fitted to its results stands for the training,
and settings of an optimizer are compared on such surrogates, without training anything (Eggensperger, Hutter, Hoos and
Leyton-Brown, "Efficient Benchmarking of Hyperparameter Optimizers via Surrogates", AAAI 2015). The best ones are a good
guess for the next sweep; what to expect of them is told by leaving out one sweep after the other.
"""

import tempfile

from metta.sweep.executors import LocalExecutor
from metta.sweep.experiments import SweepExperiment, TrainingExperiment
from metta.sweep.experiments.learned import learned_settings
from metta.sweep.optimizers import BayesianOptimizer, RandomOptimizer, SobolOptimizer
from metta.sweep.space import Integer, LogUniform, SearchSpace

SPACE = SearchSpace(
    {
        "trainer.learning_rate": LogUniform(1e-5, 1e-1),
        "agent.hidden_size": Integer(8, 128, log=True),
    }
)

with LocalExecutor(max_workers=2) as executor, tempfile.TemporaryDirectory() as store:
    for classes in (4, 7, 10):
        sweep = SweepExperiment(
            TrainingExperiment(max_epochs=1, classes=classes),
            name=f"{classes}-digits",
            optimizer=SobolOptimizer(SPACE),
            executor=executor,
            store=store,
            seed=classes,
        )
        print(f"{classes} digits: {len(sweep.run(20).trials)} trials")

    # Which kind of optimizer?
    kinds = learned_settings([RandomOptimizer(), BayesianOptimizer()], store=store, trials=20)
    print("kind:", kinds.best.name)

    # Which settings of it? They are drawn from `BayesianOptimizer().tunables()`.
    learned = learned_settings(BayesianOptimizer(), store=store, trials=20, draws=5)
    print(f"{len(learned.candidates)} settings compared on {len(learned.sweeps)} sweeps")
    print(f"no worse than the default: {learned.best.regret <= kinds.best.regret}")
    assert learned.held_out is not None  # there is more than one sweep
    print(f"on a sweep it has not seen better than random search: {learned.held_out < kinds.candidates[-1].regret}")

    next_sweep = SweepExperiment(
        TrainingExperiment(max_epochs=1),
        name="next",
        optimizer=learned.create(search_space=SPACE),
        executor=executor,
        store=store,
        seed=0,
    )
    print(f"the next sweep: {len(next_sweep.run(6).trials)} trials")
