"""The main job: tune a real network on scikit-learn's digits with TPE and ASHA, in two worker processes.

    python examples/digits_sweep.py
    python examples/digits_sweep.py --budget 20 --optimizer random --scheduler batch

The pipelines of the sweep and of the training are drawn to files first: what is drawn is what runs. There is no
`if __name__ == "__main__"` below, and none is needed: a worker never runs this script again.
"""

import argparse
import shutil
from pathlib import Path

from metta.sweep.executors import LocalExecutor
from metta.sweep.experiments import Experiment, SweepExperiment, TrainingExperiment
from metta.sweep.optimizers import Optimizer, OptunaOptimizer, RandomOptimizer
from metta.sweep.report.live import live_view
from metta.sweep.schedulers import (
    ASHAScheduler,
    AsynchronousScheduler,
    Scheduler,
    SynchronousBatchScheduler,
)
from metta.sweep.space import Integer, LogUniform, PowerOfTwo

SEARCH_SPACE = {
    "trainer.learning_rate": LogUniform(1e-4, 1e-1),
    "trainer.batch_size": PowerOfTwo(16, 256),
    "agent.hidden_size": Integer(8, 256, log=True),
}


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description="Tune a network on the digits data.")
    parser.add_argument("--budget", type=int, default=120, help="configurations to try (default: 120)")
    parser.add_argument("--epochs", type=int, default=81, help="epochs of a full training (default: 81)")
    parser.add_argument("--optimizer", choices=["optuna", "random"], default="optuna")
    parser.add_argument("--scheduler", choices=["asha", "async", "batch"], default="asha")
    parser.add_argument("--workers", type=int, default=2, help="worker processes (default: 2)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--demo", type=Path, default=Path("demo"), help="folder for the drawings")
    return parser.parse_args()


def make_optimizer(name: str) -> Optimizer:
    """What to try next."""
    return OptunaOptimizer(SEARCH_SPACE, sampler="TPE") if name == "optuna" else RandomOptimizer(SEARCH_SPACE)


def make_scheduler(name: str, epochs: int) -> Scheduler:
    """What runs how long."""
    match name:
        case "asha":
            return ASHAScheduler(max_epochs=epochs, reduction_factor=3, grace_period=max(1, epochs // 27))
        case "async":
            return AsynchronousScheduler(max_epochs=epochs)
        case _:
            return SynchronousBatchScheduler(batch_size=10, max_epochs=epochs)


def draw(experiment: Experiment, folder: Path, name: str) -> None:
    """Draw an experiment's pipeline: as SVG where graphviz is installed, else as text."""
    folder.mkdir(parents=True, exist_ok=True)
    graph = experiment.pipeline().compile()
    if shutil.which("dot"):
        graph.draw(str(folder / f"{name}.svg"))
        print(f"drew {folder / name}.svg")
        return
    for suffix in ("mmd", "dot"):
        graph.draw(str(folder / f"{name}.{suffix}"))
    print(f"drew {folder / name}.mmd and .dot (install graphviz to get an SVG)")


options = arguments()
sweep = SweepExperiment(
    TrainingExperiment,
    name="digits",
    optimizer=make_optimizer(options.optimizer),
    scheduler=make_scheduler(options.scheduler, options.epochs),
    executor=LocalExecutor(max_workers=options.workers),
    seed=options.seed,
)
draw(sweep, options.demo, "sweep")
draw(TrainingExperiment(), options.demo, "training")

with live_view() as view:
    result = sweep.run(budget=options.budget, progress=view)
    result.print_table()
best = TrainingExperiment().with_params({**result.best_params, "max_epochs": options.epochs}).run()
print(f"best configuration, trained alone: {best.score:.1%} of the test images are right")
