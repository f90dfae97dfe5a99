"""What it costs that a sweep survives the end of its driver: per event and per trial, and to go on.

    python benchmarks/durability.py [--check] [--no-peers] [--rounds N] [--trials N] [--largest N] [--reports N]

The trials do nothing and run in this process, so that nothing but the driver is measured. Every round runs each side
once, in turn; a figure is the median of the rounds. Every outcome is on disk before the sweep goes on, one trial at a
time; Optuna's storages are used in the same way on the same disk. `--check` makes a broken promise the exit code 1.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from statistics import median
from time import perf_counter, process_time
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.report import Row, failed, table
from metta.sweep.executors.base import Answer, EventStream, Finished, Reported, Started, Task
from metta.sweep.executors.objective import Outcome
from metta.sweep.experiments import Budget, SweepExperiment
from metta.sweep.experiments.ledger_json import remainder_of, row_of
from metta.sweep.experiments.restore import restore
from metta.sweep.optimizers import RandomOptimizer
from metta.sweep.optimizers.params import ParamsCodec
from metta.sweep.space import LogUniform, SearchSpace, Uniform
from metta.sweep.store.entries import Entry, ReportEntry
from metta.sweep.store.runs import Store
from metta.sweep.trial import Report, Trial, TrialState

SPACE = SearchSpace({"x": Uniform(0.0, 1.0), "lr": LogUniform(1e-4, 1e-1)})
EVENTS = 5
"""Durable entries of a trial with one report: decided, granted, began, its report, returned."""

CPU_PER_TRIAL = 1e-3
"""Seconds of CPU that the store may take per trial."""

PER_EVENT = 1e-3
"""Seconds of wall time that an event may take until it is on disk."""

FLAT = 1.2
RESUME_S = 5.0
RESUME_BYTES = 500e6


class Instantly:
    """An executor whose tasks are over as soon as they are submitted."""

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity

    def events(self) -> EventStream:
        return EventStream()

    def submit(self, task: Task, events: EventStream) -> None:
        trial: Trial = task.args[1]
        score = float(trial.params["x"])
        events.put(Started(task.token, "here"))
        events.put(Reported(task.token, 1, Report(1, {"score": score})))
        events.put(Finished(task.token, Outcome(None, 1, Answer.CONTINUE)))

    def answer(self, report: Reported, answer: Answer) -> None: ...

    def cancel(self, token: str) -> None: ...

    @property
    def outlives_driver(self) -> bool:
        return False

    def reattach(self, token: str, events: EventStream, folder: Path | None = None, *, also_ended: bool = True) -> bool:
        return False

    def close(self) -> None: ...


class Spent(NamedTuple):
    """Seconds per trial: of this process's CPU, and of the wall clock."""

    cpu: float
    wall: float


def objective(trial: Trial) -> float:
    """Never called: `Instantly` knows the answer."""
    return 0.0


def sweep(store: Path | None, slots: int = 1) -> SweepExperiment:
    """The sweep that is measured."""
    return SweepExperiment(
        objective,
        name="durability",
        search_space=SPACE,
        optimizer=RandomOptimizer(),
        executor=Instantly(slots),
        seed=1,
        store=store,
    )


def spent(work: Callable[[], object], trials: int) -> Spent:
    """What `work`, which runs so many trials, takes per trial."""
    cpu, wall = process_time(), perf_counter()
    work()
    return Spent((process_time() - cpu) / trials, (perf_counter() - wall) / trials)


def ours(trials: int, *, kept: bool, slots: int = 1) -> Spent:
    """A sweep of ours."""
    with tempfile.TemporaryDirectory() as folder:
        experiment = sweep(Path(folder) if kept else None, slots)
        return spent(lambda: experiment.run(trials).trials, trials)


def optunas(trials: int, storage: Callable[[str], Any]) -> Spent:
    """The same by Optuna's ask and tell with random sampling."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    with tempfile.TemporaryDirectory() as folder:
        sampler = optuna.samplers.RandomSampler(seed=1)
        study = optuna.create_study(storage=storage(folder), sampler=sampler, direction="maximize")

        def work() -> None:
            for _ in range(trials):
                trial = study.ask()
                score = trial.suggest_float("x", 0.0, 1.0)
                trial.suggest_float("lr", 1e-4, 1e-1, log=True)
                trial.report(score, 1)
                study.tell(trial, score)

        return spent(work, trials)


def rdb(folder: str) -> Any:
    """Optuna's RDB storage with SQLite."""
    import optuna

    return optuna.storages.RDBStorage(f"sqlite:///{folder}/study.db")


def journal(folder: str) -> Any:
    """Optuna's journal storage in a file."""
    import optuna
    from optuna.storages.journal import JournalFileBackend

    return optuna.storages.JournalStorage(JournalFileBackend(f"{folder}/study.log"))


def per_trial_rows(rounds: int, trials: int, peers: bool) -> list[Row]:
    """The cost of a trial and of an event, beside Optuna's storages."""
    sides: dict[str, Callable[[], Spent]] = {
        # Longer than the others: starting a run is no part of a trial.
        "kept": lambda: ours(10 * trials, kept=True),
        "unkept": lambda: ours(10 * trials, kept=False),
    }
    if peers and find_spec("optuna") is not None:
        sides["optuna, RDB (SQLite)"] = lambda: optunas(trials, rdb)
        sides["optuna, journal file"] = lambda: optunas(trials, journal)
    found: dict[str, list[Spent]] = {name: [] for name in sides}
    for _ in range(rounds):
        for name, side in sides.items():
            found[name].append(side())
    wall = {name: median(each.wall for each in spents) for name, spents in found.items()}
    share = median(kept.cpu - unkept.cpu for kept, unkept in zip(found["kept"], found["unkept"], strict=True))
    event = wall["kept"] / EVENTS
    rows = [
        Row("a durable event, wall", _ms(event), promise=f"<= {_ms(PER_EVENT)}", holds=event <= PER_EVENT),
        Row("the store's share of a trial, CPU", _ms(share), promise=f"<= {_ms(CPU_PER_TRIAL)}",
            holds=share <= CPU_PER_TRIAL),
        Row("a trial without a store, wall", _ms(wall["unkept"])),
        Row("a durable trial, wall", _ms(wall["kept"])),
    ]  # fmt: skip
    for name in list(sides)[2:]:
        ratios = [other.wall / one.wall for one, other in zip(found["kept"], found[name], strict=True)]
        rows.append(Row("a durable trial, wall", _ms(wall["kept"]), f"{name}: {_ms(wall[name])}", _ratio(ratios)))
    return rows


def flat_rows(rounds: int, sizes: Sequence[int]) -> list[Row]:
    """Whether a trial costs the same in a long sweep as in a short one; 64 trials at once."""
    found: dict[int, list[float]] = {size: [] for size in sizes}
    for _ in range(rounds):
        for size in sizes:
            # A short sweep is repeated: its start is not what is compared.
            found[size].append(ours(size, kept=True, slots=64).cpu)
    first = sizes[0]
    rows = [Row(f"a trial of {first:,}, CPU", _ms(median(found[first])))]
    for size in sizes[1:]:
        ratios = [other / one for one, other in zip(found[first], found[size], strict=True)]
        rows.append(
            Row(f"a trial of {size:,}, CPU", _ms(median(found[size])), f"of {first:,}: {_ms(median(found[first]))}",
                _ratio(ratios), f"<= {FLAT:g}", median(ratios) <= FLAT)
        )  # fmt: skip
    return rows


def build(folder: Path, trials: int, reports: int) -> None:
    """A run of so many trials that are over, with so many reports each, as a driver leaves it when it is killed."""
    sweep(folder).run(1).trials  # noqa: B018  # waits
    optimizer = RandomOptimizer(SPACE, seed=1)
    optimizer.suggest(1)
    codec = ParamsCodec(SPACE)
    with Store.at(folder).open("durability", write=True) as run:
        restored = restore(run.journal, codec)
        ledger, base = restored.ledger, restored.facts.base
        ledger.restart(slots=1, budget=Budget(trials=trials))
        run.journal.commit([Entry("sweep.resumed", "", _resumed(base, trials), base + 1)])
        numbers = iter(range(1, trials))
        while batch := list(islice(numbers, 100)):
            entries: list[Entry | ReportEntry] = []
            for number in batch:
                (trial,) = optimizer.suggest(1)
                entries += _story(number, trial, reports, base + number, codec)
                trial.id, trial.state, trial.score, trial.cost = number, TrialState.COMPLETED, trial.params["x"], 1.0
                trial.read_reports_later(reports, tuple)
                ledger.trials.append(trial)
                ledger.attempts[number] = 1
            rows = [row_of(ledger, number, codec) for number in batch]
            run.journal.commit(entries, rows=rows)
        ledger.now = float(trials)
        ledger.spent = ledger.spent.__class__(trials, 0.0, trials * reports, float(trials), 1.0, 0)
        state = {"facts": restored.facts.to_json(), "ledger": remainder_of(ledger)}
        state |= {"scheduler": {}, "optimizer": optimizer.state_dict()}
        run.journal.commit([Entry("sweep.stopped", "", {"why": "built"}, base + trials)], snapshot=state)
        from metta.sweep.store.run import RunStatus

        run.publish(RunStatus.CANCELLED)


def _resumed(base: float, trials: int) -> dict[str, Any]:
    """What raises the budget of one trial with which the run began."""
    return {
        "base": base, "budget": {"trials": trials}, "slots": 1, "retry": [], "drop_paused": False, "lost": [],
        "optimizer": "state", "informed": False, "scheduler": "kept", "synchronous": False, "plan": None,
        "differences": [],
    }  # fmt: skip


def _story(number: int, trial: Trial, reports: int, time: float, codec: ParamsCodec) -> list[Entry | ReportEntry]:
    new = [number, codec.encode(trial.params), trial.tag]
    score, subject = trial.params["x"], str(number)
    return [
        Entry("sweep.decided", "", {"do": "launch", "count": 1, "until": None, "new": [new]}, time),
        Entry("trial.granted", subject, {"attempt": 1, "token": f"durability-trial-{number}-attempt-1"}, time),
        Entry("trial.began", subject, {"attempt": 1, "worker": "here", "saved_step": 0}, time),
        *(ReportEntry(number, step, {"score": score}, time) for step in range(1, reports + 1)),
        Entry("trial.returned", subject, {"attempt": 1}, time),
    ]


def resume_child(folder: Path, trials: int) -> None:
    """Go on with a built run for one more trial; print seconds and the largest resident set in bytes."""
    began = perf_counter()
    result = sweep(folder).run(trials + 1, resume=True)
    count = len(result.trials)
    seconds = perf_counter() - began
    assert count == trials + 1, count
    assert result.trials[trials // 2].reports
    print(json.dumps([seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024]))


def resume_rows(trials: int, reports: int) -> list[Row]:
    """How long it takes to go on with a long sweep, and how much memory."""
    with tempfile.TemporaryDirectory() as folder:
        build(Path(folder), trials, reports)
        command = [sys.executable, __file__, "--resume-child", folder, "--largest", str(trials)]
        seconds, size = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    what = f"resume of {trials:,} trials with {reports} reports"
    return [
        Row(f"{what}, wall", f"{seconds:.2f} s", promise=f"<= {RESUME_S:g} s", holds=seconds <= RESUME_S),
        Row(f"{what}, memory", f"{size / 1e6:.0f} MB", promise=f"<= {RESUME_BYTES / 1e6:.0f} MB",
            holds=size <= RESUME_BYTES),
    ]  # fmt: skip


def _ms(seconds: float) -> str:
    return f"{seconds * 1e3:.3f} ms"


def _ratio(ratios: Sequence[float]) -> str:
    return f"{median(ratios):.2f} ({min(ratios):.2f}-{max(ratios):.2f})"


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print the table; 1 with `--check` if a promise does not hold."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="exit with 1 if a promise does not hold")
    parser.add_argument("--no-peers", action="store_true", help="leave Optuna out")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--trials", type=int, default=100, help="of a round of Optuna; ours runs ten times as many")
    parser.add_argument("--largest", type=int, default=100_000, help="trials of the longest sweep")
    parser.add_argument("--reports", type=int, default=100, help="of each trial of the sweep that is resumed")
    parser.add_argument("--resume-child", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args(arguments)
    if given.resume_child is not None:
        resume_child(given.resume_child, given.largest)
        return 0
    ours(1, kept=True)  # what is imported and started once is not what is compared
    rows = per_trial_rows(given.rounds, given.trials, not given.no_peers)
    sizes = [max(1, given.largest // 100), max(1, given.largest // 10), given.largest]
    rows += flat_rows(1 if given.largest > 10_000 else given.rounds, sizes)
    rows += resume_rows(given.largest, given.reports)
    print(table(rows))
    return 1 if given.check and failed(rows) else 0


if __name__ == "__main__":
    raise SystemExit(main())
