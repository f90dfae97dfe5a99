"""What a trial costs on each backend when it does nothing: submission, start, reports, result, and the way back.

    python benchmarks/backends.py [--backends NAME ...] [--start NAME ...] [--no-peers] [--rounds N] [--trials N]

In each round a backend runs one trial alone, from `submit` to its result, and then several that are submitted at once.
SLURM is measured beside submitit on the same cluster. A backend that is not up is left out, and the reason is said;
`--start slurm docker kubernetes` starts the clusters of the tests for as long as the benchmark runs.
"""

from __future__ import annotations

import argparse
import itertools
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from importlib import import_module
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.report import Row, table
from metta.sweep.errors import MettaSweepError
from metta.sweep.executors import (
    Answer,
    DockerExecutor,
    Executor,
    Failed,
    Finished,
    LocalExecutor,
    Reported,
    SLURMExecutor,
    trial_task,
)
from metta.sweep.executors.remote.executor import RemoteExecutor
from metta.sweep.trial import Trial

ROOT = Path(__file__).resolve().parents[1]

STEPS = 3
"""Reports of a trial."""

LOOK_S = 0.02
"""Seconds between two looks for submitit's results; its own `result()` looks every second."""

LIMIT_S = 300.0
"""Seconds in which something has to happen."""

Run = Callable[[int], None]
"""Runs so many trials, all at once."""

_tokens = itertools.count()


class Side(NamedTuple):
    """One of those that are measured."""

    name: str
    run: Run


class Found(NamedTuple):
    """Seconds per trial of each round: one after the other, and all at once."""

    alone: list[float]
    together: list[float]


def do_nothing(trial: Trial) -> float:
    """The objective: reports, and no work."""
    for step in range(STEPS):
        trial.report({"score": float(step)})
    return float(trial.params["x"])


def do_nothing_elsewhere(value: float) -> float:
    """The same for submitit, which has no reports."""
    return value


# Ours


class Place(NamedTuple):
    """An executor, and a folder for its trials."""

    executor: Executor
    folder: Path


def local(folder: Path) -> Place:
    """Warm worker processes of this machine."""
    return Place(LocalExecutor(4), folder)


def processes(folder: Path) -> Place:
    """All that remote backends have in common, with processes of this machine as the jobs."""
    return Place(import_module("tests.executors.process_engine").ProcessExecutor(folder / "engine"), folder)


def slurm(folder: Path) -> Place:
    """A SLURM cluster, its default partition."""
    return Place(SLURMExecutor(poll_interval=1.0), folder)


def docker(folder: Path) -> Place:
    """Containers of the image METTA_SWEEP_IMAGE, with this Python environment mounted."""
    mounts = {path: path for path in dict.fromkeys((sys.prefix, str(ROOT)))}
    image = os.environ.get("METTA_SWEEP_IMAGE", "python:3")
    return Place(DockerExecutor(image, mounts=mounts, pull="never", python=sys.executable, max_jobs=4), folder)


def kubernetes(folder: Path) -> Place:
    """The cluster of the tests, in the folder that its pods share with this machine."""
    if "KUBERNETES_LAB" not in os.environ:
        raise MettaSweepError("add `--start kubernetes`: the cluster of the tests is the one that is measured")
    cluster = import_module("tests.clusters.fixtures_kubernetes").KubernetesCluster
    running = cluster(Path(os.environ["KUBERNETES_LAB"]), os.environ["KUBERNETES_IMAGE"])
    return Place(running.executor(), running.shared / folder.name)


BACKENDS: dict[str, Callable[[Path], Place]] = {
    "local": local,
    "processes": processes,
    "slurm": slurm,
    "docker": docker,
    "kubernetes": kubernetes,
}


@contextmanager
def opened(name: str) -> Iterator[Run]:
    """A backend, ready to run trials.

    Raises:
        MettaSweepError: it is not up, or its library is missing.
    """
    with ExitStack() as stack:
        executor, folder = BACKENDS[name](stack.enter_context(shared_folder(name)))
        stack.callback(executor.close)
        if isinstance(executor, RemoteExecutor):
            for problem in executor.engine.problems():
                raise MettaSweepError(problem)
        stream = executor.events()

        def run(count: int) -> None:
            for _ in range(count):
                trial, number = Trial({"x": 0.5}), next(_tokens)
                trial.id = number
                token = f"benchmark-{os.getpid()}-{number}"
                task = trial_task(do_nothing, trial, token=token, folder=folder / f"{number}")
                executor.submit(task, stream)
            left = count
            while left:
                match stream.get(LIMIT_S):
                    case Reported() as event:
                        executor.answer(event, Answer.CONTINUE)
                    case Finished():
                        left -= 1
                    case Failed() as event:
                        raise RuntimeError(event.message)

        yield run


@contextmanager
def shared_folder(name: str) -> Iterator[Path]:
    """A new folder, which the user of a container may enter."""
    with tempfile.TemporaryDirectory(prefix=f"backends-{name}-") as text:
        folder = Path(text)
        folder.chmod(0o755)
        yield folder


# Beside it


@contextmanager
def submitit() -> Iterator[Run]:
    """submitit on the same SLURM cluster, its jobs in an array."""
    with tempfile.TemporaryDirectory(prefix="backends-submitit-") as folder:
        executor: Any = import_module("submitit").SlurmExecutor(folder=folder)
        executor.update_parameters(time=5)

        def run(count: int) -> None:
            with executor.batch():
                jobs = [executor.submit(do_nothing_elsewhere, 0.5) for _ in range(count)]
            end = time.monotonic() + LIMIT_S
            while not all(job.done() for job in jobs):
                if time.monotonic() > end:
                    raise RuntimeError(f"submitit's jobs have not ended within {LIMIT_S:g} s")
                time.sleep(LOOK_S)
            assert [job.result() for job in jobs] == [0.5] * count

        yield run


# Measuring


def measured(sides: Sequence[Side], trials: int, rounds: int) -> dict[str, Found]:
    """Every side in turn, round by round; the first side of one round is the last of the next."""
    found = {side.name: Found([], []) for side in sides}
    for side in sides:
        side.run(1)  # starts and loads what it starts and loads late
    for number in range(rounds):
        for side in sides if number % 2 else reversed(sides):
            began = perf_counter()
            side.run(1)
            between = perf_counter()
            side.run(trials)
            found[side.name].alone.append(between - began)
            found[side.name].together.append((perf_counter() - between) / trials)
    return found


def rows(found: dict[str, Found], trials: int) -> Iterator[Row]:
    """Each backend, then SLURM beside submitit."""
    for name, side in found.items():
        if not name.startswith("submitit"):
            yield Row(f"{name}, one trial", _seconds(side.alone))
            yield Row(f"{name}, each of {trials} at once", _seconds(side.together))
    for name, theirs in found.items():
        if name.startswith("submitit") and "slurm" in found:
            ours = found["slurm"]
            for what, mine, other in (
                ("one trial", ours.alone, theirs.alone),
                (f"each of {trials} at once", ours.together, theirs.together),
            ):
                ratios = [left / right for left, right in zip(mine, other, strict=True)]
                ratio = f"{median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"
                yield Row(f"slurm, {what}, beside {name}", _seconds(mine), _seconds(other), ratio)


def _seconds(values: Sequence[float]) -> str:
    middle = median(values)
    return f"{middle:.2f} s" if middle >= 0.1 else f"{1000 * middle:.1f} ms"


def sides_of(names: Sequence[str], stack: ExitStack, *, peers: bool) -> Iterator[Side]:
    """Those that are up; says on stderr why others are left out."""
    for name in names:
        try:
            yield Side(name, stack.enter_context(opened(name)))
        except MettaSweepError as error:
            print(f"left out: {name}: {error}", file=sys.stderr)
            continue
        if name == "slurm" and peers and find_spec("submitit") is not None:
            yield Side(f"submitit ({version('submitit')})", stack.enter_context(submitit()))


def start(names: Sequence[str], stack: ExitStack) -> None:
    """Start clusters of the tests; says on stderr why one cannot be."""
    if names:
        started, skipped = import_module("tests.clusters.start").started, import_module("pytest").skip.Exception
        for name in names:
            try:
                stack.enter_context(started(name))
            except skipped as reason:
                print(f"cannot start {name}: {reason}", file=sys.stderr)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backends", nargs="+", choices=BACKENDS, default=list(BACKENDS), help="default: all")
    clusters = ("slurm", "docker", "kubernetes")
    parser.add_argument("--start", nargs="+", choices=clusters, default=[], help="clusters to start")
    parser.add_argument("--no-peers", action="store_true", help="leave submitit out")
    parser.add_argument("--rounds", type=int, default=5, help="runs of each side; default: %(default)s")
    parser.add_argument("--trials", type=int, default=10, help="at once; default: %(default)s")
    options = parser.parse_args(arguments)
    with ExitStack() as stack:
        start(options.start, stack)
        sides = list(sides_of(options.backends, stack, peers=not options.no_peers))
        if not sides:
            return 1
        found = list(rows(measured(sides, options.trials, options.rounds), options.trials))
    print(table(found, took="ours", beside="theirs"))
    print(f"\nWall time per trial; a trial does nothing but report {STEPS} times. Medians of the rounds.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
