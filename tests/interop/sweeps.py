"""Sweeps that the tests of this folder write and read back."""

from __future__ import annotations

import contextlib
import sys
import time
from pathlib import Path
from typing import cast

from metta.sweep.executors.local import LocalExecutor
from metta.sweep.experiments.results import SweepResult
from metta.sweep.experiments.sweep import SweepExperiment
from metta.sweep.goal import Objectives
from metta.sweep.interop import CSVLogger, TensorBoardLogger, recording
from metta.sweep.optimizers.random import RandomOptimizer
from metta.sweep.report.events import Callback, Listener
from metta.sweep.report.snapshot import Span, SweepSnapshot
from metta.sweep.schedulers import ASHAScheduler
from metta.sweep.space import Choice, Integer, LogUniform, PowerOfTwo, SearchSpace, Uniform
from metta.sweep.trial import Failure, FailureReason, Report, Trial, TrialState

SPACE = SearchSpace(
    {
        "learning_rate": LogUniform(1e-4, 1e-1),
        "layers": Integer(1, 8),
        "batch": PowerOfTwo(8, 64),
        "kind": Choice(["cnn", "mlp"]),
        "cnn.width": Uniform(0.5, 2.0),
        "api_token": "hunter2-hunter2",
    }
)

BEGAN = 1_700_000_000.0


def objective(trial: Trial) -> None:
    """Ten steps; the configuration with 8 layers cannot be built."""
    if trial.params["layers"] == 8:
        raise ValueError("=8 layers do not fit")
    for step in range(1, 10):
        score = trial.params["learning_rate"] * step + trial.params["layers"]
        trial.report({"score": score, "loss": 1 / step})
        if trial.should_stop():
            return


def sweep(
    folder: Path | None, *callbacks: Listener | Callback, trials: int = 12, resume: str | None = None
) -> SweepResult:
    """A small real sweep, with pruned, failed and completed trials."""
    with LocalExecutor(max_workers=1) as executor:
        experiment = SweepExperiment(
            objective,
            name="digits",
            search_space=SPACE,
            optimizer=RandomOptimizer(),
            scheduler=ASHAScheduler(max_epochs=9, grace_period=1, reduction_factor=3),
            executor=executor,
            seed=3,
            store=folder,
            callbacks=callbacks,
        )
        result = experiment.run(trials, resume=resume or False)
        result.trials  # noqa: B018  # waits
        return result


def slow_objective(trial: Trial) -> None:
    """Forty steps of some milliseconds, from the state that was saved last."""
    done = trial.load() or 0
    for step in range(done + 1, 41):
        time.sleep(0.005)
        trial.save(step)
        trial.report({"score": trial.params["x"] * step, "loss": 1 / step})


def log_until_killed(folder: Path) -> None:
    """Start a slow sweep in this folder, or go on with it, with loggers that write every report at once."""
    recording.FLUSH_INTERVAL = 0.0  # type: ignore[misc]
    loggers = (CSVLogger(folder / "csv"), TensorBoardLogger(folder / "tb"))
    experiment = SweepExperiment(
        slow_objective,
        name="killed",
        search_space={"x": Uniform(0, 1)},
        optimizer=RandomOptimizer(),
        executor=LocalExecutor(max_workers=1),
        seed=1,
        store=folder / "store",
        callbacks=loggers,
    )
    with contextlib.closing(cast(LocalExecutor, experiment.executor)):
        experiment.run(6, resume=(folder / "store").exists()).value  # noqa: B018


def snapshot(
    *trials: Trial, several: bool = False, run_id: str | None = "digits-1", status: str = "completed"
) -> SweepSnapshot:
    """A sweep of these trials, each of which one worker had from second `10 * number` on, for five seconds."""
    goal = {"accuracy": "maximize", "latency": "minimize"} if several else {"score": "maximize"}
    return SweepSnapshot(
        run_id=run_id,
        name="digits",
        status=status,
        objectives=Objectives(tuple(goal), tuple(goal.values())),  # type: ignore[arg-type]
        trials=trials,
        seconds=10.0 * len(trials),
        space=SPACE.to_json()["parameters"],
        spans=tuple(Span(t.id, 1, "here", 10.0 * t.id, 10.0 * t.id + 5, t.state.value) for t in trials),
    )


def made(
    number: int,
    state: TrialState = TrialState.COMPLETED,
    steps: int = 3,
    params: dict[str, object] | None = None,
    several: bool = False,
) -> Trial:
    """A trial that has reported so often."""
    usual = {"learning_rate": 0.01, "layers": 2, "batch": 16, "kind": "mlp", "api_token": "hunter2-hunter2"}
    trial = Trial(usual if params is None else params, number)
    for step in range(1, steps + 1):
        metrics = (
            {"accuracy": step / 10, "latency": 5.0} if several else {"score": number + step / 10, "loss": 1 / step}
        )
        trial.add_report(Report(step, metrics))
    trial.state = state
    trial.cost = 1.5 * steps
    if state is TrialState.FAILED:
        trial.failure = Failure(FailureReason.OOM, "it needs 9 GB")
    if steps:
        trial.score = dict(trial.reports[-1].metrics) if several else trial.reports[-1].metrics["score"]
    return trial


if __name__ == "__main__":
    log_until_killed(Path(sys.argv[1]))
