"""The states of trials on disk: which file a trial goes on from, and which files nobody needs any more."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final, Literal, get_args

from metta.sweep.errors import UsageError
from metta.sweep.executors.channel import state_path, step_of
from metta.sweep.executors.remote.spool import FOLDER as ATTEMPTS
from metta.sweep.experiments.ledger import Ledger
from metta.sweep.store.files import inside

_STATES: Final = state_path(Path(), 0).name.replace("0" * 8, "[0-9]" * 8)
"""The names of states, as a pattern."""

Keep = Literal["last+best", "last", "all", "none"]
"""Which states stay: of every trial the last one, with the state of the sweep's best score ("last+best") or without
("last"); all that were ever saved; or none of trials that are over."""


def checked_keep(keep: str) -> Keep:
    """`keep_checkpoints=`.

    Raises:
        UsageError: it is none of the four.
    """
    known: Keep
    for known in get_args(Keep):
        if keep == known:
            return known
    raise UsageError(f"keep_checkpoints={keep!r}: expected one of {', '.join(map(repr, get_args(Keep)))}")


def _states_in(folder: Path) -> Iterator[Path]:
    """The states in a trial's folder, those of attempts on other machines included."""
    yield from folder.glob(_STATES)
    yield from folder.glob(f"{ATTEMPTS}/*/run-*/{_STATES}")


class Checkpoints:
    """The states of a sweep's trials.

    A file is deleted only when the journal on disk names a newer one, so whatever instant a driver dies at, the
    state that its successor goes on from is there.

    Args:
        root: the run's folder; paths in the journal are relative to it.
        trial_folder: where a trial has its states.
        keep: which states stay.
        may_fork: whether a state of a finished trial may be wanted by a fork.
        resumed: whether a driver before this one may have died before it deleted what it meant to.
    """

    def __init__(
        self, root: Path, trial_folder: Callable[[int], Path], keep: Keep, may_fork: bool, resumed: bool = False
    ) -> None:
        self.root: Final = root
        self._trial_folder = trial_folder
        self._keep = keep
        self._may_fork = may_fork
        self._resumed = resumed
        self._candidates: list[tuple[int, str]] = []
        self._best = ""

    def relative(self, path: Path) -> str:
        """The path of a state as the journal has it."""
        return path.relative_to(self.root).as_posix()

    def start_of(self, ledger: Ledger, number: int) -> tuple[int, Path | None]:
        """The step and the file that a trial goes on from; (0, None) to start at the beginning."""
        state = ledger.states.get(number)
        if state is None:
            return 0, None
        path = inside(self.root, state.path)
        if not path.is_file():
            logging.getLogger("metta.sweep").warning("trial %d starts again: its state %s is gone", number, path)
            return 0, None
        return state.step, path

    def prepare(self, number: int, saved_step: int) -> None:
        """Before an attempt: remove what an earlier one has saved after the state that this one goes on from."""
        folder = self._trial_folder(number)
        for path in [*folder.glob("pending-*"), *folder.glob(".pending-*")]:
            path.unlink(missing_ok=True)
        for path in _states_in(folder):
            if step_of(path) > saved_step:
                path.unlink(missing_ok=True)

    def replaced(self, ledger: Ledger, number: int) -> None:
        """The trial's state is about to be replaced by a newer one."""
        # A fork's first state is its donor's: the donor goes on from it, or has given it up itself.
        if number in ledger.states and number not in ledger.forks:
            self._candidates.append((number, ledger.states[number].path))

    def finished(self, ledger: Ledger, number: int) -> None:
        """The trial is over, and nothing of it runs any more."""
        if self._keep == "none" and not self._may_fork:
            self.replaced(ledger, number)

    def conclude(self, ledger: Ledger) -> None:
        """The sweep is over: no trial will go on from another's state."""
        if self._keep == "none":
            self._may_fork = False
            # These go on if the budget is raised.
            cut = {*ledger.cut_paused, *(grant.trial for grant in ledger.cut)}
            for number in ledger.states:
                if number not in cut and ledger.trials[number].state.is_finished:
                    self.finished(ledger, number)
        if self._resumed and self._keep != "all":
            for number in ledger.states:
                for path in _states_in(self._trial_folder(number)):
                    self._candidates.append((number, self.relative(path)))
        self.remove_unused(ledger)

    def remove_unused(self, ledger: Ledger) -> None:
        """Delete what is not needed, once the journal is committed."""
        if self._keep == "all":
            self._candidates.clear()
            return
        best = "" if ledger.best_state is None or self._keep != "last+best" else ledger.best_state.path
        if self._best not in ("", best):
            number = next(iter(n for n, state in ledger.states.items() if state.path == self._best), None)
            if number is None:
                self._candidates.append((-1, self._best))
        self._best = best
        if not self._candidates:
            return
        used = {ledger.states[number].path for number in ledger.forks if self._is_kept(ledger, number)} | {best}
        waiting = []
        for number, path in self._candidates:
            if path in used:
                waiting.append((number, path))
            elif not self._is_current(ledger, number, path):
                inside(self.root, path).unlink(missing_ok=True)
        self._candidates = waiting

    def _is_current(self, ledger: Ledger, number: int, path: str) -> bool:
        """Whether it is the state that the trial itself goes on from, or is kept as its last."""
        state = ledger.states.get(number)
        return state is not None and state.path == path and self._is_kept(ledger, number)

    def _is_kept(self, ledger: Ledger, number: int) -> bool:
        """Whether the last state of the trial stays."""
        return self._keep != "none" or self._may_fork or not ledger.trials[number].state.is_finished
