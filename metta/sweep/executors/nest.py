"""Where the code of a trial is: what the sweeps and experiments that it starts belong to.

A trial of a sweep over an experiment that contains experiments runs in the driver, as a coroutine. Whatever it starts
is a child of it: kept in the trial's folder, found again there when the trial is tried again, counted in what the trial
has spent. Only the leaves take workers, all of them those of the outermost sweep. A trial that runs in a worker and
starts a sweep has one slot for it, beside its own; being a leaf itself, it has spent its own steps and seconds.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from metta.sweep.executors.base import Executor
from metta.sweep.store.nested import CHILDREN_FOLDER
from metta.sweep.trial import Trial, number_to_json

LEAF_RESOURCE: Final = "leaf_resource"
"""The metric of a nested trial that sums the units of resource of all trials below it that ran in workers."""

LEAF_COST: Final = "leaf_cost"
"""The same for their costs, each in its own sweep's unit (default: seconds)."""


@dataclass(slots=True)
class Nest:
    """A trial, as a place where runs are started.

    Attributes:
        trial: the trial.
        folder: its folder; its child runs are in `children`.
        slots: how many leaves may run at once below it; None where the executor's own queue decides.
        executor: takes the leaves; None: each sweep opens its own.
        allow_changed: the run around was resumed although its plan has changed.
        retry_failed: the trial had failed and is tried again: so is what has failed below it.
        prefix: begins the names of its child runs' folders.
        accounts: what each of its child runs has spent so far, by run id: units of resource, and cost.
    """

    trial: Trial
    folder: Path
    slots: int | None
    executor: Executor | None = None
    allow_changed: bool = False
    retry_failed: bool = False
    prefix: str = ""
    accounts: dict[str, tuple[int, float]] = field(default_factory=dict)
    _started: dict[int, int] = field(default_factory=dict)
    _noted: int = 0

    def children(self) -> Path:
        """The folder for the next run that the trial starts.

        It is named by the step that the trial has reached: one that goes on from a saved state starts other runs than
        those it has started before that step, and one that starts again finds those.
        """
        step = self.trial.reached
        number = self._started[step] = self._started.get(step, 0) + 1
        return self.child(f"step-{step:04d}-{number}")

    def child(self, name: str) -> Path:
        """The folder for a run that has a name of its own in the trial."""
        return self.folder / CHILDREN_FOLDER / f"{self.prefix}{name}"

    def for_repeat(self, prefix: str, trial: Trial) -> Nest:
        """The place of one of several repeats, a trial of its own: their child runs lie side by side."""
        return replace(self, trial=trial, prefix=prefix, _started={}, _noted=0)

    def account(self, run: str, resource: int, cost: float) -> None:
        """Note what a child run has spent in all so far."""
        self.accounts[run] = resource, cost

    def new_reports(self) -> list[list[Any]]:
        """The trial's reports since this was last asked, as JSON values: a stage that is committed keeps its own.

        Also those that were known before: an attempt that starts again counts its steps anew.
        """
        new = [report for report in self.trial.reports if self._noted < report.step <= self.trial.reached]
        self._noted = max(self._noted, self.trial.reached)
        return [
            [report.step, {name: number_to_json(value) for name, value in report.metrics.items()}] for report in new
        ]

    def report_again(self, reports: Iterable[Sequence[Any]]) -> None:
        """What a committed stage has reported: the driver may have died before it was heard."""
        for step, metrics in reports:
            self.trial.report({name: float(value) for name, value in metrics.items()}, step)
        self._noted = max(self._noted, self.trial.reached)

    @property
    def spent(self) -> Mapping[str, float]:
        """What the child runs have spent, as metrics."""
        spent = list(self.accounts.values())
        return {
            LEAF_RESOURCE: float(sum(resource for resource, _ in spent)),
            LEAF_COST: sum(cost for _, cost in spent),
        }


NEST: ContextVar[Nest | None] = ContextVar("metta_sweep_nest", default=None)
"""The trial that this code runs in."""
