"""R3: a sweep whose driver is killed at any instant goes on as if nothing had happened."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from metta.sweep.experiments.verify import verify_sweep
from metta.sweep.store.entries import StoredReport
from metta.sweep.store.failpoints import FAIL_POINTS
from metta.sweep.store.runs import Store
from tests.experiments.killed import BUDGET, OPTIMIZERS, SCHEDULERS, SPACE, Nursery, needs_space, nursery

POINTS = sorted(point for point in FAIL_POINTS if point.partition(".")[0] == "sweep")
JOURNAL_POINTS = ["journal.begun", "journal.written", "journal.committed"]


@pytest.fixture(scope="module")
def drivers() -> Iterator[Nursery]:
    with nursery() as made:
        yield made


class Case:
    """One sweep through its lives; after each of them what must hold is checked."""

    def __init__(
        self, drivers: Nursery, folder: Path, optimizer: str, scheduler: str, workers: int, objective: str = "noted"
    ) -> None:
        self.drivers, self.folder = drivers, folder
        self.optimizer, self.scheduler = optimizer, scheduler
        self.request: dict[str, Any] = {
            "folder": str(folder),
            "optimizer": optimizer,
            "scheduler": scheduler,
            "workers": workers,
            "budget": BUDGET,
            "objective": objective,
        }
        self.runs_ahead = objective == "streaming"
        self.kills = 0
        self.is_over = False
        self._calls = 0
        self._committed: dict[int, int] = {}
        self._tokens: set[str] = set()
        folder.mkdir()

    def live(self, **how: Any) -> bool:
        """One driver's life; False when it has come to the end of the sweep."""
        code = self.drivers.run(**self.request, **how)
        assert code in (0, -9), "the driver failed, see its traceback"
        self.kills += code == -9
        self.is_over = code == 0
        self._check()
        return not self.is_over

    def finish(self) -> dict[str, Any]:
        """Live to the end of the sweep; the result."""
        while not self.is_over:
            self.live()
        return self.result()

    def result(self) -> dict[str, Any]:
        loaded: dict[str, Any] = json.loads((self.folder / "result.json").read_text())
        return loaded

    def _check(self) -> None:
        """What was committed before this life was not computed in it, and nothing is numbered twice."""
        calls = self._read_calls()
        for trial, step in () if self.runs_ahead else calls[self._calls :]:
            assert step > self._committed.get(trial, 0), f"trial {trial} has computed step {step} again"
        self._calls = len(calls)
        runs = list((self.folder / "store" / "runs").glob("killed-*"))
        assert len(runs) <= 1
        if not runs:
            return
        with Store(self.folder / "store").open(runs[0].name) as run:
            reports: dict[int, list[int]] = {}
            numbers: list[int] = []
            donors: dict[int, int] = {}
            starts: dict[int, int] = {}
            tokens: list[str] = []
            granted: set[int] = set()
            for entry in run.journal.entries():
                if isinstance(entry, StoredReport):
                    reports.setdefault(entry.trial, []).append(entry.step)
                elif entry.kind == "sweep.decided":
                    numbers += [new[0] for new in entry.data.get("new", ())]
                    if entry.data["do"] == "fork":
                        donors[numbers[-1]] = entry.data["parent"]
                elif entry.kind == "trial.began":
                    starts.setdefault(int(entry.subject), entry.data["saved_step"])
                elif entry.kind == "trial.granted":
                    tokens.append(entry.data["token"])
                    granted.add(int(entry.subject))
            assert numbers == list(range(len(numbers)))
            assert len(numbers) - len(donors) <= BUDGET
            assert {trial for trial, start in starts.items() if start} <= donors.keys()
            assert len(set(tokens)) == len(tokens)
            for trial, steps in reports.items():
                assert steps == list(range(starts[trial] + 1, starts[trial] + len(steps) + 1))
                assert steps[-1] >= self._committed.get(trial, 0)
            if not self.runs_ahead:
                # A worker gets its task, and hears that it may go on, after that is on disk.
                for trial, step in calls:
                    assert trial in granted
                    # A fork goes on from a state of its donor's, and that from one of its own donor's.
                    known = trial
                    while known not in reports and known in donors:
                        known = donors[known]
                    assert step <= reports.get(known, [0])[-1] + 1
            self._committed = {trial: steps[-1] for trial, steps in reports.items()}

    def _read_calls(self) -> list[tuple[int, int]]:
        path = self.folder / "calls"
        lines = path.read_text().splitlines() if path.exists() else []
        return [(int(trial), int(step)) for trial, step in (line.split() for line in lines)]

    def check_decisions(self) -> None:
        """(c): the recorded order, fed to a fresh optimizer and scheduler, reproduces every decision."""
        optimizer = OPTIMIZERS[self.optimizer]()
        if needs_space(self.optimizer, self.scheduler):
            optimizer.bind(search_space=SPACE)
        with Store(self.folder / "store").open("killed") as run:
            assert verify_sweep(run, optimizer, SCHEDULERS[self.scheduler]()) == []


_references: dict[tuple[str, str], list[dict[str, Any]]] = {}


def reference(drivers: Nursery, folder: Path, optimizer: str, scheduler: str) -> list[dict[str, Any]]:
    """The table of the same sweep with one worker that nobody kills."""
    key = optimizer, scheduler
    if key not in _references:
        case = Case(drivers, folder / "whole", optimizer, scheduler, 1)
        _references[key] = case.finish()["table"]
        assert case.kills == 0
    return _references[key]


def check_numbers(table: list[dict[str, Any]]) -> None:
    """All trials are there, and all but the forks were charged to the budget."""
    assert [row["id"] for row in table] == list(range(len(table)))
    assert sum(row["parent"] is None for row in table) == BUDGET
    assert all(row["parent"] is None or row["parent"] < row["id"] for row in table)


def check(drivers: Nursery, folder: Path, case: Case, seed: str, kills: int) -> None:
    """Kill at random events, with and without snapshots, then compare."""
    draw = random.Random(seed)
    for _ in range(kills):
        point = draw.choice([*POINTS, *JOURNAL_POINTS])
        if not case.live(fail_at=f"{point}:{draw.randint(1, 9)}", snapshots=draw.choice([1, 10, 1000])):
            break
    result = case.finish()
    table = result["table"]
    check_numbers(table)
    assert {row["state"] for row in table} <= {"completed", "pruned"}
    assert result["recomputed"] == 0
    assert result["ended"] == "the budget of trials was used up"
    if case.request["workers"] == 1 or case.scheduler in ("batch", "hyperband"):
        whole = reference(drivers, folder, case.optimizer, case.scheduler)
        assert table == whole
    case.check_decisions()


SLOW = ("pbt-optimizer", "median", "resource-aware")
"""Schedulers whose kind another one stands for in the quick row."""


def cells() -> Iterator[Any]:
    for optimizer in OPTIMIZERS:
        for scheduler in SCHEDULERS:
            if scheduler == "endless":
                continue
            for workers in (1, 2):
                # One row and one column with one worker, and the two corners with two: the rest is the slow suite's.
                quick = {
                    1: (optimizer == "tpe" and scheduler not in SLOW) or (scheduler == "asha" and optimizer != "ax"),
                    2: (optimizer, scheduler) in {("tpe", "asha"), ("nsga2", "batch"), ("custom", "custom")},
                }[workers]
                marks = () if quick else pytest.mark.slow
                yield pytest.param(optimizer, scheduler, workers, marks=marks)


@pytest.mark.parametrize(("optimizer", "scheduler", "workers"), list(cells()))
def test_every_optimizer_and_scheduler_killed_at_random_events(
    optimizer: str, scheduler: str, workers: int, drivers: Nursery, tmp_path: Path
) -> None:
    case = Case(drivers, tmp_path / "killed", optimizer, scheduler, workers)
    check(drivers, tmp_path, case, f"{optimizer} {scheduler} {workers}", kills=5)


@pytest.mark.parametrize("point", [*POINTS, *JOURNAL_POINTS])
def test_killed_at_every_kind_of_event(point: str, drivers: Nursery, tmp_path: Path) -> None:
    case = Case(drivers, tmp_path / "killed", "random", "asha", 1)
    for times in {"sweep.ending": (1,), "sweep.snapshot": (1, 3)}.get(point, (1, 4, 7)):
        assert case.live(fail_at=f"{point}:{times}", snapshots=2)
    result = case.finish()
    assert result["table"] == reference(drivers, tmp_path, "random", "asha")
    assert result["recomputed"] == 0
    case.check_decisions()


@pytest.mark.slow
def test_a_worker_that_is_far_ahead_of_its_driver_loses_no_report(drivers: Nursery, tmp_path: Path) -> None:
    """It saves more often than the driver commits: the state that is known must stay until a newer one is known."""
    whole = Case(drivers, tmp_path / "whole", "random", "endless", 1, "streaming").finish()
    case = Case(drivers, tmp_path / "killed", "random", "endless", 1, "streaming")
    draw, points = random.Random(3), ["sweep.collected", "sweep.committed", "sweep.answered", *JOURNAL_POINTS]
    for _ in range(10):
        if not case.live(fail_at=f"{draw.choice(points)}:{draw.randint(3, 6)}", snapshots=draw.choice([1, 1000])):
            break
    result = case.finish()
    assert case.kills >= 4
    assert result["table"] == whole["table"]
    states = [path.name for path in (tmp_path / "killed").rglob("*.safetensors")]
    assert states == ["step-00000040.safetensors"] * BUDGET
    assert result["recomputed"] == 0


def killed_at_random_times(drivers: Nursery, folder: Path, kills: int, seed: int = 7) -> None:
    """Sweeps one after another until so many drivers were killed, at instants that nobody has chosen."""
    draw = random.Random(seed)
    done, sweeps = 0, 0
    while done < kills:
        sweeps += 1
        optimizer, scheduler = (
            draw.choice(["random", "tpe", "custom"]),
            draw.choice([name for name in SCHEDULERS if name != "endless"]),
        )
        case = Case(drivers, folder / f"killed-{sweeps}", optimizer, scheduler, 2)
        # Longer and longer: on a busy machine the first lives may all be too short for anything.
        while case.live(
            kill_after=draw.uniform(0.02, 0.5) * (1 + case.kills / 4), snapshots=draw.choice([1, 10, 1000])
        ):
            pass
        done += case.kills
        check_numbers(case.result()["table"])
        case.check_decisions()


def test_killed_at_30_random_instants(drivers: Nursery, tmp_path: Path) -> None:
    killed_at_random_times(drivers, tmp_path, 30)


@pytest.mark.slow
def test_killed_at_300_random_instants(drivers: Nursery, tmp_path: Path) -> None:
    killed_at_random_times(drivers, tmp_path, 300)


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(100, 120))
def test_killed_at_10_000_random_instants(drivers: Nursery, tmp_path: Path, seed: int) -> None:
    killed_at_random_times(drivers, tmp_path, 500, seed)
