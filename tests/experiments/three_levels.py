"""Three levels of sweeps in a process that is killed: a nursery forks a driver for each request.

Run as a program it is the nursery: it reads requests, JSON lines, on stdin, and answers each with a JSON line.
"""

from __future__ import annotations

import contextlib
import faulthandler
import json
import os
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from metta.sweep.experiments import SweepExperiment, TrainingExperiment
from metta.sweep.experiments.base import Experiment
from metta.sweep.experiments.nested.meta import MetaMetaExperiment, MetaSweepExperiment
from metta.sweep.optimizers import BayesianOptimizer, RandomOptimizer
from metta.sweep.schedulers import SynchronousBatchScheduler
from metta.sweep.space import LogUniform, Uniform
from tests.cli.commands import MARK, ROOT
from tests.experiments.killed_objectives import slowly

BUDGETS = {"cheap": (2, 2, 3), "training": (2, 1, 2)}
"""Trials of the outermost sweep, of each of those inside of it, and of each innermost one."""


def experiment(folder: Path, base: str, slots: int, executors: str = "top") -> MetaMetaExperiment:
    """The sweep of sweeps of sweeps; its store and the objective's notes are in `folder`.

    Args:
        base: "cheap" or "training".
        slots: leaves at once.
        executors: who is given the executor: the outermost sweep ("top"), the same one all of them ("all"), or nobody
            on a machine with so many cores ("none").
    """
    from metta.sweep.executors.local import LocalExecutor

    top, middle, inner = BUDGETS[base]
    executor: LocalExecutor | None = LocalExecutor(max_workers=slots)
    if executors == "none":
        executor = None
        os.sched_setaffinity(0, [*os.sched_getaffinity(0)][:slots])
    given = executor if executors == "all" else None
    is_cheap = base == "cheap"
    training: Experiment[Any] = TrainingExperiment(max_epochs=1)
    leaf = SweepExperiment(
        slowly(str(folder)) if is_cheap else training,
        name="inner",
        search_space={"x": Uniform(0.0, 1.0), "y": Uniform(0.0, 1.0)}
        if is_cheap
        else {"trainer.learning_rate": LogUniform(1e-3, 1e-1)},
        optimizer=BayesianOptimizer(initial_samples=2),
        scheduler=SynchronousBatchScheduler(batch_size=slots),
        executor=given,
    )
    optimizer = BayesianOptimizer(initial_samples=2) if is_cheap else RandomOptimizer()
    between = MetaSweepExperiment(
        leaf,
        optimizer,
        name="middle",
        inner_budget=inner,
        scheduler=SynchronousBatchScheduler(batch_size=slots),
        executor=given,
    )
    return MetaMetaExperiment(
        between,
        RandomOptimizer(),
        name="levels",
        inner_budget=middle,
        scheduler=SynchronousBatchScheduler(batch_size=slots),
        executor=executor,
        budget=top,
        seed=5,
        store=folder / "store",
    )


def drive(request: dict[str, Any]) -> None:
    """Run the experiment, or go on with it, to its end; write what came of it."""
    folder = Path(request["folder"])
    sweep = experiment(folder, request["base"], request["slots"], request["executors"])
    # By its id: also a run that is finished, whose driver was killed before it wrote the answer.
    run = next((path.name for path in (folder / "store").glob("runs/levels-*")), None)
    result = sweep.run(BUDGETS[request["base"]][0], resume=run or False)
    answer = {"run": result.run_id, "best": result.best_score, "zombies": _zombies()}
    (folder / "result.json").write_text(json.dumps(answer))


def _zombies() -> list[str]:
    """The children of this process that have ended, and that nobody has taken leave of."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            name, _, rest = entry.read_text().rpartition(")")
            if rest.split()[:2] == ["Z", str(os.getpid())]:
                found.append(name)
    return found


class Nursery:
    """Starts drivers. Each `run` returns how the driver's process ended: its code, or minus a signal's number.

    Attributes:
        mark: stands in the environment of the nursery, the drivers and all workers.
    """

    def __init__(self, mark: str) -> None:
        self.mark = mark
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.experiments.three_levels"],
            cwd=ROOT,
            env={**os.environ, MARK: mark},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def run(self, **request: Any) -> int:
        """Have a driver run; it is killed `kill_after` seconds, or interrupted at the call `interrupt_at`."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        return int(json.loads(self._process.stdout.readline()))

    def close(self) -> None:
        """End the nursery."""
        self._process.communicate()


@contextmanager
def nursery(mark: str) -> Iterator[Nursery]:
    """A nursery that is closed in the end."""
    made = Nursery(mark)
    try:
        yield made
    finally:
        made.close()


def serve() -> None:
    """Fork a driver per request."""
    for line in sys.stdin:
        request = json.loads(line)
        child = os.fork()
        if child == 0:
            _become_driver(request)
        print(json.dumps(_wait(child, request)), flush=True)


def _become_driver(request: dict[str, Any]) -> None:
    code = 1
    faulthandler.dump_traceback_later(100, exit=True)  # a driver that hangs fails, and says where
    try:
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(2, 1)
        drive(request)
        code = 0
    except KeyboardInterrupt:
        code = 130
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)


def _wait(child: int, request: dict[str, Any]) -> int:
    deadline = None if "kill_after" not in request else time.monotonic() + request["kill_after"]
    calls = Path(request["folder"]) / "calls"
    is_interrupted = False
    while True:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        if deadline is not None and time.monotonic() >= deadline:
            os.kill(child, signal.SIGKILL)
            deadline = None
        if not is_interrupted and "interrupt_at" in request and calls.exists():
            is_interrupted = len(calls.read_text().splitlines()) >= request["interrupt_at"]
            if is_interrupted:
                os.kill(child, signal.SIGINT)
        time.sleep(0.002)


if __name__ == "__main__":
    serve()
