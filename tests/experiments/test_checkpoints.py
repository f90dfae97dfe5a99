"""Which states of trials stay on disk, where forks start from those of their donors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from metta.sweep.experiments.checkpoints import Checkpoints
from metta.sweep.experiments.ledger import SavedState
from metta.sweep.schedulers.base import Fork
from metta.sweep.trial import TrialState
from tests.experiments.test_ledger import ledger, report, settle


class Sweep:
    """A ledger with one donor, and files as its trials save them."""

    def __init__(self, root: Path, keep: Any = "last") -> None:
        self.root = root
        self.book = ledger(slots=3)
        self.book.slots = 1
        settle(self.book)
        self.checkpoints = Checkpoints(root, lambda number: root / str(number), keep, may_fork=True)
        self.book.began(0, 0)

    def save(self, number: int, step: int) -> None:
        report(self.book, number, step)
        path = self.root / str(number) / f"step-{step:08}.safetensors"
        path.parent.mkdir(exist_ok=True)
        path.touch()
        self.checkpoints.replaced(self.book, number)
        self.book.saved(number, SavedState(step, self.checkpoints.relative(path)))
        self.checkpoints.remove_unused(self.book)

    def fork(self, parent: int) -> int:
        self.book.slots += 1
        (fork,) = self.book.enact(Fork(parent, {"x": 0.5}))
        self.book.grant(fork.id)
        return fork.id

    def start(self, number: int) -> None:
        step, path = self.checkpoints.start_of(self.book, number)
        assert path is not None
        self.book.began(number, step)

    def files(self) -> list[str]:
        return sorted(f"{path.parent.name}/{int(path.stem[-8:])}" for path in self.root.glob("*/step-*"))


def test_a_donor_s_state_stays_until_every_fork_has_saved_its_own(tmp_path: Path) -> None:
    sweep = Sweep(tmp_path)
    sweep.save(0, 1)
    one, two = sweep.fork(0), sweep.fork(0)
    sweep.save(0, 2)
    assert sweep.files() == ["0/1", "0/2"]
    sweep.start(one)
    sweep.save(one, 2)
    assert sweep.files() == ["0/1", "0/2", "1/2"]
    sweep.start(two)
    sweep.save(two, 2)
    sweep.checkpoints.remove_unused(sweep.book)
    assert sweep.files() == ["0/2", "1/2", "2/2"]


def test_a_fork_that_saves_leaves_its_donor_the_state_that_it_goes_on_from(tmp_path: Path) -> None:
    """The donor is paused: its last state is the one that the fork has started from."""
    sweep = Sweep(tmp_path)
    sweep.save(0, 1)
    fork = sweep.fork(0)
    sweep.start(fork)
    sweep.save(fork, 2)
    sweep.save(fork, 3)
    assert sweep.files() == ["0/1", "1/3"]
    again = sweep.fork(0)
    sweep.start(again)


@pytest.mark.parametrize(("keep", "left"), [("last", ["0/1"]), ("none", [])])
def test_at_the_end_a_fork_that_never_saved_keeps_no_more_than_asked(
    keep: str, left: list[str], tmp_path: Path
) -> None:
    sweep = Sweep(tmp_path, keep)
    sweep.save(0, 1)
    sweep.start(sweep.fork(0))
    for trial in sweep.book.trials:
        trial.state = TrialState.PRUNED
    sweep.checkpoints.conclude(sweep.book)
    assert sweep.files() == left
