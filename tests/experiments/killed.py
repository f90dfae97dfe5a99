"""Sweeps in processes that are killed: a nursery that has imported everything forks a driver for each request.

Run as a program it is the nursery: it reads requests, JSON lines, on stdin, and answers each with a JSON line.
"""

from __future__ import annotations

import faulthandler
import json
import os
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

from metta.sweep.experiments import SweepExperiment
from metta.sweep.experiments.results import SweepResult
from metta.sweep.optimizers import (
    AxOptimizer,
    BayesianOptimizer,
    EvolutionaryStrategy,
    GridOptimizer,
    MultiFidelityOptimizer,
    NevergradOptimizer,
    OptunaOptimizer,
    ProteinOptimizer,
    RandomOptimizer,
    SobolOptimizer,
    TransferOptimizer,
)
from metta.sweep.optimizers.base import Optimizer
from metta.sweep.schedulers import ASHAScheduler, AsynchronousScheduler, SynchronousBatchScheduler
from metta.sweep.schedulers.allocation import AdaptiveBandit
from metta.sweep.schedulers.base import Scheduler
from metta.sweep.schedulers.hyperband import HyperbandScheduler
from metta.sweep.schedulers.median import MedianStoppingScheduler
from metta.sweep.schedulers.pb2 import PB2Scheduler
from metta.sweep.schedulers.pbt import PBTScheduler
from metta.sweep.schedulers.resource_aware import ResourceAwareScheduler
from metta.sweep.space import Choice, LogUniform, Uniform
from metta.sweep.trial import Observation, Resources, Result, Trial
from tests.experiments.killed_objectives import STEPS, noted, streaming
from tests.experiments.population_objectives import network

BUDGET = 8
SPACE = {"x": Uniform(0.0, 1.0), "y": LogUniform(1e-3, 1.0), "kind": Choice([(1, 2), "two", 3.0])}


class Counting(Optimizer):
    """A custom one without `state_dict`: its suggestions depend on all it was told."""

    def __init__(self) -> None:
        self.heard: list[float] = []
        self.made = 0

    def suggest(self, n: int) -> list[Trial]:
        new = []
        for _ in range(n):
            self.made += 1
            shift = sum(self.heard) % 1.0
            new.append(Trial({"x": (0.37 * self.made + shift) % 1.0, "y": 0.1 + shift / 10, "kind": (1, self.made)}))
        return new

    def observe(self, trial: Trial, result: float) -> None:
        self.heard.append(float(result))


class Doubting(Scheduler):
    """A custom one without `state_dict`: stops every third trial that it sees at step 2."""

    def __init__(self) -> None:
        super().__init__()
        self.seen = 0

    def should_stop(self, trial: Trial) -> bool:
        self.seen += trial.step == 2
        return trial.step == 2 and self.seen % 3 == 0

    def allocate_resources(self, trial: Trial) -> Resources:
        return Resources(cpus=1, time_limit=600)


EARLIER = [
    Observation(Trial({"x": x, "y": y, "kind": "two"}), Result(x - y)) for x, y in ((0.1, 0.1), (0.4, 0.01), (0.9, 0.5))
]

OPTIMIZERS: dict[str, Callable[[], Optimizer]] = {
    "random": RandomOptimizer,
    "tpe": lambda: OptunaOptimizer(sampler="TPE", n_startup_trials=4),
    "nsga2": lambda: OptunaOptimizer(sampler="NSGA-II", population_size=4),
    "cma": lambda: OptunaOptimizer(sampler="CMA-ES"),
    "qmc": lambda: OptunaOptimizer(sampler="QMC"),
    "sobol": SobolOptimizer,
    "grid": GridOptimizer,
    "bayesian": lambda: BayesianOptimizer(initial_samples=3),
    "protein": lambda: ProteinOptimizer(num_random_samples=3),
    "nevergrad": lambda: NevergradOptimizer(algorithm="DE"),
    "evolution": lambda: EvolutionaryStrategy(population_size=4),
    "ax": lambda: AxOptimizer(initialization_budget=3),
    "multi_fidelity": lambda: MultiFidelityOptimizer(initial_samples=3),
    "transfer": lambda: TransferOptimizer(previous={"earlier": EARLIER}),
    "custom": Counting,
}
SCHEDULERS: dict[str, Callable[[], Scheduler]] = {
    "async": lambda: AsynchronousScheduler(max_resource=STEPS),
    "batch": lambda: SynchronousBatchScheduler(batch_size=3, max_resource=STEPS),
    "asha": lambda: ASHAScheduler(max_epochs=STEPS, grace_period=1, reduction_factor=2),
    "asha-stopping": lambda: ASHAScheduler(max_epochs=STEPS, grace_period=1, reduction_factor=2, mode="stopping"),
    "pbt": lambda: PBTScheduler(BUDGET, STEPS, max_resource=STEPS),
    "pbt-optimizer": lambda: PBTScheduler(BUDGET, STEPS, max_resource=STEPS, explore_method="optimizer"),
    "pb2": lambda: PB2Scheduler(BUDGET, STEPS, max_resource=STEPS),
    "hyperband": lambda: HyperbandScheduler(max_resource=STEPS, eta=2),
    "median": lambda: MedianStoppingScheduler(min_trials=2, max_resource=STEPS),
    "resource-aware": lambda: ResourceAwareScheduler(max_resource=STEPS, queue_size=3),
    "allocation": lambda: AdaptiveBandit(BUDGET, STEPS, 3),
    "custom": Doubting,
    "endless": AsynchronousScheduler,
}


def experiment(folder: Path, optimizer: str, scheduler: str, workers: int, objective: str = "noted") -> SweepExperiment:
    """The sweep; its store and the objective's notes are in `folder`."""
    from metta.sweep.executors.local import LocalExecutor

    return SweepExperiment(
        {"noted": noted, "streaming": streaming, "network": network}[objective](str(folder)),
        name="killed",
        search_space=SPACE if needs_space(optimizer, scheduler) else None,
        optimizer=OPTIMIZERS[optimizer](),
        scheduler=SCHEDULERS[scheduler](),
        executor=lambda: LocalExecutor(max_workers=workers),
        cost_key="cost",
        seed=11,
        store=folder / "store",
    )


def needs_space(optimizer: str, scheduler: str) -> bool:
    """Whether one of the two asks for the search space."""
    return optimizer != "custom" or scheduler in ("pbt", "pb2")


def table(result: SweepResult) -> list[dict[str, Any]]:
    """All that is known of the trials, as JSON values."""
    loaded: list[dict[str, Any]] = json.loads(json.dumps([trial.to_json() for trial in result.trials]))
    return loaded


def drive(request: dict[str, Any]) -> None:
    """Run a sweep, or go on with it, to its end; write what came of it."""
    from metta.sweep.store import failpoints

    if request.get("fail_at"):
        failpoints._COUNTDOWN = failpoints._Countdown(request["fail_at"])  # type: ignore[misc]
    if request.get("snapshots"):
        from metta.sweep.experiments import sweep_journal

        sweep_journal.LEAST_INTERVAL = request["snapshots"]  # type: ignore[misc]
    folder = Path(request["folder"])
    sweep = experiment(
        folder, request["optimizer"], request["scheduler"], request["workers"], request.get("objective", "noted")
    )
    # By its id: also a run that is finished, whose driver was killed before it wrote the answer.
    run = next((path.name for path in (folder / "store").glob("runs/killed-*")), None)
    result = sweep.run(request["budget"], resume=run or False)
    answer = {
        "table": table(result),
        "ended": result.ended,
        "recomputed": result.recomputed,
        "resumed": result.resumed and result.resumed.value,
        "run": result.run_id,
    }
    (folder / "result.json").write_text(json.dumps(answer))


class Nursery:
    """Starts drivers. Each `run` returns how the driver's process ended: 0, or minus a signal's number."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.experiments.killed"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def run(self, **request: Any) -> int:
        """Have a driver run; `kill_after` seconds it is killed."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        return int(json.loads(self._process.stdout.readline()))

    def close(self) -> None:
        """End the nursery."""
        self._process.communicate()


@contextmanager
def nursery() -> Iterator[Nursery]:
    """A nursery that is closed in the end."""
    made = Nursery()
    try:
        yield made
    finally:
        made.close()


LIBRARIES = {"ax": "ax.api.client", "nevergrad": "nevergrad", "evolution": "nevergrad"}
"""What takes long to import: once here is enough for all lives."""


def serve() -> None:
    """Fork a driver per request."""
    for line in sys.stdin:
        request = json.loads(line)
        if library := LIBRARIES.get(request["optimizer"]):
            import_module(library)
        child = os.fork()
        if child == 0:
            _become_driver(request)
        print(json.dumps(_wait(child, request.get("kill_after"))), flush=True)


def _become_driver(request: dict[str, Any]) -> None:
    code = 1
    faulthandler.dump_traceback_later(100, exit=True)  # a driver that hangs fails, and says where
    try:
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(2, 1)
        drive(request)
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)


def _wait(child: int, kill_after: float | None) -> int:
    if kill_after is not None:
        deadline = time.monotonic() + kill_after
        while time.monotonic() < deadline:
            done, status = os.waitpid(child, os.WNOHANG)
            if done:
                return os.waitstatus_to_exitcode(status)
            time.sleep(0.002)
        os.kill(child, signal.SIGKILL)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


if __name__ == "__main__":
    serve()
