"""Sweeps of sweeps of sweeps, killed at random instants and resumed: the whole tree comes out the same."""

from __future__ import annotations

import json
import random
import shutil
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from metta.sweep.experiments.sweep_status import result_so_far
from metta.sweep.experiments.tree.drawing import to_text
from metta.sweep.experiments.tree.run_tree import RunTree, TrialStarter, run_tree
from metta.sweep.store.run import Run, RunStatus
from tests.cli.commands import processes_of
from tests.experiments.three_levels import BUDGETS, Nursery, nursery


@pytest.fixture(scope="module")
def drivers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nursery]:
    with nursery(str(tmp_path_factory.mktemp("mark"))) as made:
        yield made


Place = tuple[int, ...]
"""The numbers of the trials that lead to a run, from the top."""


class Case:
    """One experiment through its lives; after each of them what must hold is checked."""

    def __init__(self, drivers: Nursery, folder: Path, base: str, slots: int, executors: str = "top") -> None:
        self.drivers, self.folder = drivers, folder
        self.request = {"folder": str(folder), "base": base, "slots": slots, "executors": executors}
        self.lost = 0
        self.is_over = False
        self._finished: dict[tuple[str, int], int] = {}
        folder.mkdir()

    def live(self, **how: Any) -> bool:
        """One driver's life; False when it has come to the end."""
        code = self.drivers.run(**self.request, **how)
        assert code in (0, -9, 130), "the driver failed, see its traceback"
        self.lost += code != 0
        self.is_over = code == 0
        self._nobody_is_left()
        self._what_had_finished_did_not_run_again()
        return not self.is_over

    def finish(self) -> RunTree:
        """Live to the end; the tree."""
        while not self.is_over:
            self.live()
        result = json.loads((self.folder / "result.json").read_text())
        tree = self.tree()
        assert result == {"run": tree.id, "best": tree.best, "zombies": []}
        return tree

    def tree(self) -> RunTree:
        return run_tree("levels", store=self.folder / "store")

    def calls(self) -> int:
        """How often the objective was called."""
        return len((self.folder / "calls").read_text().splitlines())

    def _nobody_is_left(self) -> None:
        """The nursery lives, and no driver or worker."""
        end = time.monotonic() + 10
        while len(left := processes_of(self.drivers.mark)) > 1 and time.monotonic() < end:
            time.sleep(0.02)
        assert len(left) == 1, left

    def _what_had_finished_did_not_run_again(self) -> None:
        """Whatever had ended when a driver died is granted no slot by a later one, at any level."""
        if not any((self.folder / "store").glob("runs/levels-*")):
            return  # killed before there was a run
        before, self._finished = self._finished, {}
        granted: Counter[tuple[str, int]] = Counter()
        for node in self.tree().walk():
            assert not node.problem
            with Run.open(node.folder, write=False) as run:
                for event in run.journal.events():
                    if event.kind == "trial.granted":
                        granted[node.id, int(event.subject)] += 1
                    elif event.kind in ("trial.returned", "trial.failed"):
                        self._finished[node.id, int(event.subject)] = granted[node.id, int(event.subject)]
        assert before.items() <= self._finished.items()


def table(tree: RunTree) -> dict[Place, Any]:
    """All that is known of the trials of all runs, but how long they took."""
    found: dict[Place, Any] = {}

    def read(node: RunTree, place: Place) -> None:
        with Run.open(node.folder, write=False) as run:
            result = result_so_far(run)
        assert place not in found
        found[place] = node.name, result.seed, result.ended, [_without_time(trial.to_json()) for trial in result.trials]
        for child in node.children:
            assert isinstance(child.starter, TrialStarter)
            read(child, (*place, child.starter.trial))

    read(tree, ())
    loaded: dict[Place, Any] = {place: json.loads(json.dumps(told)) for place, told in found.items()}
    return loaded


def _without_time(trial: dict[str, Any]) -> dict[str, Any]:
    reports = [
        [step, {key: value for key, value in told.items() if key != "leaf_cost"}] for step, told in trial["reports"]
    ]
    return {**trial, "cost": None, "reports": reports}


_references: dict[tuple[str, int], dict[Place, Any]] = {}


def reference(drivers: Nursery, folder: Path, base: str, slots: int) -> dict[Place, Any]:
    """The table of the same experiment that nobody kills."""
    key = base, slots
    if key not in _references:
        case = Case(drivers, folder / "whole", base, slots)
        tree = case.finish()
        assert case.lost == 0
        top, middle, inner = BUDGETS[base]
        assert len([*tree.walk()]) == 1 + top + top * middle
        assert tree.spent.trials == top * middle * inner
        _references[key] = table(tree)
    return _references[key]


def check(
    drivers: Nursery, folder: Path, base: str, slots: int, kills: int, seed: int, longest: float = 0.5
) -> RunTree:
    """Kill at random instants, resume, compare; the tree of the last one."""
    whole = reference(drivers, folder, base, slots)
    draw = random.Random(seed)
    done = rounds = 0
    while done < kills:
        rounds += 1
        case = Case(drivers, folder / f"killed-{rounds}", base, slots)
        # Longer and longer: on a busy machine the first lives may all be too short for anything.
        while done + case.lost < kills and case.live(kill_after=draw.uniform(0.02, longest) * (1 + case.lost / 4)):
            pass
        tree = case.finish()
        done += case.lost
        assert table(tree) == whole
        assert {node.status for node in tree.walk()} == {RunStatus.COMPLETED}
        if base == "cheap":
            leaves = tree.spent.trials
            assert leaves <= case.calls() <= leaves + slots * case.lost
    return tree


def test_killed_three_times(drivers: Nursery, tmp_path: Path) -> None:
    check(drivers, tmp_path, "cheap", 1, kills=3, seed=1)


def test_killed_with_two_slots(drivers: Nursery, tmp_path: Path) -> None:
    check(drivers, tmp_path, "cheap", 2, kills=2, seed=2)


@pytest.mark.slow
def test_real_training_of_the_digits_network_killed_once(drivers: Nursery, tmp_path: Path) -> None:
    tree = check(drivers, tmp_path, "training", 1, kills=1, seed=3, longest=8.0)
    starts = ["levels ", "├─ trial 0: ", "│  └─ trial 0: ", "└─ trial 1: ", "   └─ trial 0: "]
    lines = to_text(tree, ascii=False).splitlines()
    assert all(line.startswith(start) for line, start in zip(lines[1:], starts, strict=False))
    assert lines[6].startswith("5 runs; at the leaves 4 trials, 4 steps, ")
    tree.draw(tmp_path / ("tree.svg" if shutil.which("dot") else "tree.dot"))


@pytest.mark.slow
@pytest.mark.parametrize("slots", [1, 2])
def test_killed_30_times(slots: int, drivers: Nursery, tmp_path: Path) -> None:
    check(drivers, tmp_path, "cheap", slots, kills=30, seed=4)


@pytest.mark.parametrize("executors", ["all", "none"])
def test_one_slot_that_all_levels_share_is_enough(executors: str, drivers: Nursery, tmp_path: Path) -> None:
    case = Case(drivers, tmp_path / "shared", "cheap", 1, executors)
    assert table(case.finish()) == reference(drivers, tmp_path, "cheap", 1)


@pytest.mark.parametrize("slots", [1, 2])
def test_an_interrupt_reaches_the_leaves(slots: int, drivers: Nursery, tmp_path: Path) -> None:
    case = Case(drivers, tmp_path / "interrupted", "cheap", slots)
    for call in (2, 7):
        assert case.live(interrupt_at=call)
        tree = case.tree()
        assert tree.status is RunStatus.CANCELLED
        assert {node.status for node in tree.walk()} <= {RunStatus.CANCELLED, RunStatus.COMPLETED}
        path = [node.status for node in (tree, tree.children[-1], tree.children[-1].children[-1])]
        assert path == [RunStatus.CANCELLED] * 3
    assert table(case.finish()) == reference(drivers, tmp_path, "cheap", slots)
