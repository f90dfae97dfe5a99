"""How many trials per second a sweep gets through when a trial does nothing: what a trial costs beside its own work.

    python benchmarks/throughput.py [--check] [--no-peers] [--rounds N] [--trials N] [--workers N]

Every round runs each side once, in turn; a ratio is the median of the rounds' ratios. Ours is a `SweepExperiment` in
worker processes with its store on: every outcome is on disk before the sweep goes on. `--check` makes a broken promise
the exit code 1; otherwise it is 0.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from importlib import import_module
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from time import perf_counter, process_time
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.report import Row, failed, table
from metta.sweep.executors import Failed, Finished, LocalExecutor, trial_task
from metta.sweep.experiments import SweepExperiment
from metta.sweep.optimizers import RandomOptimizer
from metta.sweep.space import Uniform
from metta.sweep.trial import Trial

ROOT = Path(__file__).resolve().parents[1]

OURS = "sweep, store on"
UNKEPT = "sweep, no store"
BARE = "the executor alone"
OWN = (OURS, UNKEPT, BARE)

PROMISE = 10.0
"""Times the trials per second of ray tune."""

Run = Callable[[int], None]
"""Runs so many trials."""


class Side(NamedTuple):
    """One of those that are compared; `share` says how many of the trials it runs (a slow one runs fewer)."""

    name: str
    run: Run
    share: float = 1.0


class Found(NamedTuple):
    """Trials per second, and CPU seconds of this process per trial, of each round."""

    rates: list[float]
    costs: list[float]


def do_nothing(trial: Trial) -> float:
    """The objective, as cheap as one can be."""
    return float(trial.params["x"])


@contextmanager
def sweep(workers: int, *, is_kept: bool) -> Iterator[Run]:
    """Ours: a sweep in warm worker processes."""
    with tempfile.TemporaryDirectory() as folder, LocalExecutor(workers) as executor:
        experiment = SweepExperiment(
            do_nothing,
            search_space={"x": Uniform(0, 1)},
            optimizer=RandomOptimizer(),
            executor=executor,
            seed=1,
            store=folder if is_kept else None,
        )

        def run(trials: int) -> None:
            assert len(experiment.run(budget=trials).trials) == trials

        yield run


@contextmanager
def bare_executor(workers: int) -> Iterator[Run]:
    """Ours without optimizer, scheduler, ledger and store: the process executor alone."""
    with tempfile.TemporaryDirectory() as folder, LocalExecutor(workers) as executor:
        stream = executor.events()

        def submit(number: int) -> None:
            trial = Trial({"x": 0.5})
            trial.id = number
            executor.submit(trial_task(do_nothing, trial, token=f"{number}", folder=Path(folder)), stream)

        def run(trials: int) -> None:
            for number in range(min(workers, trials)):
                submit(number)
            submitted, ended = workers, 0
            while ended < trials:
                match stream.get(60):
                    case Finished():
                        ended += 1
                        if submitted < trials:
                            submit(submitted)
                            submitted += 1
                    case Failed() as event:
                        raise RuntimeError(event.message)

        yield run


@contextmanager
def ray_tune(workers: int) -> Iterator[Run]:
    """ray tune, its actors reused from trial to trial."""
    # It reports nothing to its makers from here, and listens to this machine alone.
    os.environ |= {"RAY_AIR_NEW_OUTPUT": "0", "RAY_USAGE_STATS_ENABLED": "0", "RAY_AUTH_MODE": "disabled"}
    ray, tune = import_module("ray"), import_module("ray.tune")
    ray.init(num_cpus=workers, include_dashboard=False, log_to_driver=False, configure_logging=False)

    def ray_objective(config: dict[str, float]) -> dict[str, float]:
        return {"score": config["x"]}

    with tempfile.TemporaryDirectory() as folder:

        def run(trials: int) -> None:
            tuner = tune.Tuner(
                ray_objective,
                param_space={"x": tune.uniform(0, 1)},
                tune_config=tune.TuneConfig(num_samples=trials, metric="score", mode="max", reuse_actors=True),
                run_config=tune.RunConfig(verbose=0, storage_path=folder),
            )
            assert len(tuner.fit()) == trials

        yield run
        ray.shutdown()


def optuna_objective(trial: Any) -> float:
    """The same for optuna."""
    return float(trial.suggest_float("x", 0, 1))


def optuna_study(path: str | None) -> Any:
    """A study with random suggestions: in memory, or in a journal file, which several processes may share."""
    optuna = import_module("optuna")
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    journal = import_module("optuna.storages.journal")
    storage = None
    if path is not None:
        storage = optuna.storages.JournalStorage(journal.JournalFileBackend(path))
    return optuna.create_study(
        study_name="benchmark",
        storage=storage,
        sampler=optuna.samplers.RandomSampler(),
        direction="maximize",
        load_if_exists=True,
    )


@contextmanager
def optuna_threads(workers: int) -> Iterator[Run]:
    """optuna with n_jobs: threads of one process, nothing is written."""

    def run(trials: int) -> None:
        optuna_study(None).optimize(optuna_objective, n_trials=trials, n_jobs=workers)

    yield run


_OPTUNA_WORKER = """
import sys
from benchmarks.throughput import optuna_objective, optuna_study
study = optuna_study(sys.argv[1])
for line in sys.stdin:
    study.optimize(optuna_objective, n_trials=int(line))
    print("done", flush=True)
"""


@contextmanager
def optuna_processes(workers: int) -> Iterator[Run]:
    """optuna as its documentation runs it in processes: each optimizes the same study, here in a journal file."""
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        command = [sys.executable, "-c", _OPTUNA_WORKER, f"{folder}/journal.log"]
        pipe = subprocess.PIPE
        processes = [
            stack.enter_context(subprocess.Popen(command, cwd=ROOT, stdin=pipe, stdout=pipe, text=True))
            for _ in range(workers)
        ]

        def run(trials: int) -> None:
            for number, process in enumerate(processes):
                assert process.stdin is not None
                process.stdin.write(f"{(trials + number) // workers}\n")
                process.stdin.flush()
            for process in processes:
                assert process.stdout is not None
                assert process.stdout.readline() == "done\n"

        yield run


class Peer(NamedTuple):
    """Another library: how the table calls it, the distribution that must be there, and what it runs."""

    name: str
    distribution: str
    open: Callable[[int], AbstractContextManager[Run]]
    share: float


PEERS = (
    Peer("ray tune", "ray", ray_tune, 0.2),
    Peer("optuna in processes, JournalStorage", "optuna", optuna_processes, 0.3),
    Peer("optuna with n_jobs (threads, in memory)", "optuna", optuna_threads, 0.5),
)


def measured(sides: Sequence[Side], trials: int, rounds: int) -> dict[str, Found]:
    """Every side in turn, round by round; the first side of one round is the last of the next."""
    found = {side.name: Found([], []) for side in sides}
    for side in sides:
        side.run(10)  # starts its processes, loads what it loads late
    for number in range(rounds):
        for side in sides if number % 2 else reversed(sides):
            count = max(2, round(trials * side.share))
            began, cpu = perf_counter(), process_time()
            side.run(count)
            found[side.name].rates.append(count / (perf_counter() - began))
            found[side.name].costs.append((process_time() - cpu) / count)
    return found


def rows(found: dict[str, Found]) -> Iterator[Row]:
    """Ours, then the others beside it."""
    ours = found[OURS]
    for name, (rates, costs) in found.items():
        if name in OWN:
            yield Row(f"{name} ({median(costs) * 1e6:,.0f} us of CPU per trial in the driver)", _rate(rates))
            continue
        ratios = [mine / theirs for mine, theirs in zip(ours.rates, rates, strict=True)]
        is_promised = name.startswith("ray tune")
        yield Row(
            f"{OURS}, beside {name}",
            _rate(ours.rates),
            _rate(rates),
            f"{median(ratios):.1f} ({min(ratios):.1f} to {max(ratios):.1f})",
            f">= {PROMISE:g}" if is_promised else "",
            median(ratios) >= PROMISE if is_promised else None,
        )


def _rate(rates: Sequence[float]) -> str:
    return f"{median(rates):,.1f}/s" if median(rates) < 100 else f"{median(rates):,.0f}/s"


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="exit with 1 if a promise does not hold")
    parser.add_argument("--no-peers", action="store_true", help="leave the other libraries out")
    parser.add_argument("--rounds", type=int, default=5, help="runs of each side; default: %(default)s")
    parser.add_argument("--trials", type=int, default=1_000, help="of our sweep in a round; default: %(default)s")
    parser.add_argument("--workers", type=int, default=2, help="worker processes; default: %(default)s")
    options = parser.parse_args(arguments)
    workers: int = options.workers
    with ExitStack() as stack:
        sides = [
            Side(OURS, stack.enter_context(sweep(workers, is_kept=True))),
            Side(UNKEPT, stack.enter_context(sweep(workers, is_kept=False))),
            Side(BARE, stack.enter_context(bare_executor(workers))),
        ]
        for peer in PEERS if not options.no_peers else ():
            if find_spec(peer.distribution) is not None:
                name = f"{peer.name} ({version(peer.distribution)})"
                sides.append(Side(name, stack.enter_context(peer.open(workers)), peer.share))
        found = list(rows(measured(sides, options.trials, options.rounds)))
    print(table(found, took="ours", beside="theirs"))
    print(f"\nTrials per second of {workers} workers, wall time; no trial does anything. Medians of the rounds.")
    return 1 if options.check and failed(found) else 0


if __name__ == "__main__":
    sys.exit(main())
