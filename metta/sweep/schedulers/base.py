"""The contract of a scheduler: which trial runs next, for how long, and when it stops.

A scheduler is a deterministic state machine. It starts nothing and waits for nothing: the driver asks `next`, does
what the decision says, and tells what happened. The driver's calls:

1. `copy()`, then `search_space` is set, then `bind(objectives=, seed=)`.
2. `next(view)`, again and again, until the answer is `Wait` or `Done`; then after every event below.
   After a `Launch` or a `Fork` the driver calls `on_launch(decision, trials)` with the numbered trials, before
   they run; the list is shorter than asked when the optimizer had no more or the budget ended (for a `Fork`: it is
   empty only when the optimizer was to suggest its parameters; nothing has then changed).
3. `on_report(trial, report)` for every new report (already appended to `trial.reports`). The verdict says whether the
   trial goes on, and whether the report is a result that the optimizer should hear.
4. `on_complete(trial)` when the objective ended by itself; `on_failure(trial)` when it failed for good (after the
   retries), or was cancelled.

It is a function of these calls and of nothing else, no clock and no randomness but its seed's: a sweep that is resumed
makes them again and expects the same answers. A `next` that answers `Wait`, `next_start` and `allocate_resources`
change nothing.

A trial's step is a unit of resource (an epoch, say). `until` is the grant: how many units the trial may have used in
all before its next verdict; None means that it runs until it ends by itself or a verdict stops it.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, ClassVar, Self

from metta.sweep.errors import UsageError
from metta.sweep.goal import Objectives
from metta.sweep.trial import Report, Resources, Trial
from metta.sweep.tunable import Tunable

if TYPE_CHECKING:
    from metta.sweep.space import SearchSpace


@dataclass(frozen=True, slots=True)
class View:
    """What a scheduler may know when it decides.

    Attributes:
        trials: every trial of the sweep, `trials[i].id == i`. To be read only.
        free_slots: how many more trials could start at once: slots minus running minus queued ones.
        active: trials that run or are queued to run.
        remaining: configurations the budget still allows to start; None for no limit.
        exhausted: True when the optimizer has nothing more to suggest until something is observed.
    """

    trials: Sequence[Trial]
    free_slots: int
    active: int
    remaining: int | None = None
    exhausted: bool = False

    def startable(self, wanted: int) -> int:
        """`wanted` new configurations, cut to what budget and optimizer still allow."""
        if self.exhausted:
            return 0
        return max(0, wanted if self.remaining is None else min(wanted, self.remaining))


@dataclass(frozen=True, slots=True)
class Launch:
    """Start `count` new configurations, asked from the optimizer in one `suggest(count)`.

    They count in the budget. More than there are free slots are queued and start in the order of their numbers, unless
    `Scheduler.next_start` chooses another.
    """

    count: int
    until: int | None = None


@dataclass(frozen=True, slots=True)
class Resume:
    """Let a paused trial go on, from its saved state, until it has used `until` units in all."""

    trial: int
    until: int | None = None


@dataclass(frozen=True, slots=True)
class Fork:
    """Start a new trial with `params` from the saved state of the trial `parent`.

    `params` None asks the optimizer for them. It does not count in the budget. `replaces`, if given, is a paused trial
    whose place it takes and which ends as pruned.
    """

    parent: int
    params: Mapping[str, Any] | None
    until: int | None = None
    replaces: int | None = None


@dataclass(frozen=True, slots=True)
class Prune:
    """End these paused trials as pruned."""

    trials: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Wait:
    """Nothing to do until the next event. Never the answer when nothing is active."""


@dataclass(frozen=True, slots=True)
class Done:
    """The sweep is over; nothing is active and nothing is paused."""


Decision = Launch | Resume | Fork | Prune | Wait | Done


class Action(StrEnum):
    """What becomes of a trial after a report."""

    CONTINUE = "continue"
    PAUSE = "pause"
    """Stop it, keep its saved state: it may be resumed, forked from, or pruned later."""
    STOP = "stop"
    """End it as pruned."""
    COMPLETE = "complete"
    """End it as completed: it has used its whole resource."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """The answer to a report.

    Attributes:
        action: what becomes of the trial.
        milestone: the resource at which this report counts as a result: the driver sets `trial.resource` to it and
            passes the result to the optimizer. None: the report is only a point of a learning curve.
        until: the new grant of a trial that goes on; None leaves the grant as it was. An objective that is called
            once per grant (a plain function) is then called again.
    """

    action: Action = Action.CONTINUE
    milestone: int | None = None
    until: int | None = None


CONTINUE = Verdict()


class Scheduler(Tunable):
    """Launches a new trial whenever a slot is free; the base of all schedulers.

    A custom scheduler writes `should_stop` or `allocate_resources` or both; one that decides more overrides `next`
    and the `on_*` methods.

    `synchronous` schedulers work in batches: the driver holds all results back while anything is active, and then
    passes them to the optimizer in the order of trial numbers, so that the outcome does not depend on timing.

    Args:
        max_resource: units of resource after which a trial is complete; None for no limit.
        max_parallel: trials that may run at once; None for as many as the executor has slots.
        seed: for schedulers that draw; None to take the run's.
    """

    synchronous: ClassVar[bool] = False
    forks: ClassVar[bool] = True
    """False promises that it decides no `Fork`: the states of trials that are over may then be deleted early."""

    # Class attributes, so that a subclass need not call __init__.
    max_resource: int | None = None
    max_parallel: int | None = None
    seed: int | None = None
    objectives: Objectives = Objectives()
    search_space: SearchSpace | None = None
    """What the sweep searches; the driver sets it. None where nobody has said it (a custom optimizer may not)."""

    def __init__(
        self,
        *,
        max_resource: int | None = None,
        max_parallel: int | None = None,
        seed: int | None = None,
    ) -> None:
        self.max_resource = None if max_resource is None else positive("max_resource", max_resource)
        self.max_parallel = None if max_parallel is None else positive("max_parallel", max_parallel)
        self.seed = seed

    # What a custom scheduler writes

    def should_stop(self, trial: Trial) -> bool:
        """Should this running trial end now, as pruned? Asked after every report."""
        return False

    def allocate_resources(self, trial: Trial) -> Resources:
        """What the trial needs; asked each time it is about to start or to go on."""
        return Resources()

    def next_start(self, waiting: Iterable[Trial], running: Iterable[Trial]) -> int | None:
        """Which of the trials that wait for a slot takes the one that is free; the default is the first in the queue.

        Asked for every free slot, also again for the same one, so it changes nothing.

        Args:
            waiting: trials that are queued to start or to go on, in the order of the queue.
            running: trials that have a slot.

        Returns:
            Its number; None to leave the slot free until something happens. When nothing runs None starts the first.
        """
        return next((trial.id for trial in waiting), None)

    # What the driver calls

    @property
    def natural_budget(self) -> int | None:
        """How many configurations the scheduler starts by itself when no budget is given; None: no such number."""
        return None

    def bind(self, *, objectives: Objectives, seed: int) -> None:
        """Take what the run knows: the objectives, and the seed where none was given."""
        self.objectives = objectives
        if self.seed is None:
            self.seed = seed

    def next(self, view: View) -> Decision:
        """The next decision. `Wait` only while something is active; it leaves the scheduler as it was."""
        count = view.startable(view.free_slots)
        if count > 0:
            return Launch(count, self.max_resource)
        return Wait() if view.active else Done()

    def on_launch(self, decision: Launch | Fork, trials: Sequence[Trial]) -> None:
        """The trials that `decision` started, numbered, in order; they have not run yet."""

    def on_report(self, trial: Trial, report: Report) -> Verdict:
        """Judge a new report."""
        if self.max_resource is not None and report.step >= self.max_resource:
            return Verdict(Action.COMPLETE, self.max_resource)
        if self.should_stop(trial):
            return Verdict(Action.STOP, report.step)
        return CONTINUE

    def on_complete(self, trial: Trial) -> None:
        """The objective of `trial` ended by itself; `trial.score` is final."""

    def on_failure(self, trial: Trial) -> None:
        """`trial` failed for good or was cancelled."""

    def copy(self) -> Self:
        """An independent copy in the same state."""
        return copy.deepcopy(self)

    def state_dict(self) -> dict[str, Any]:
        """Everything that later decisions depend on, as JSON values.

        The default is for a scheduler without state of its own.
        """
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where `state_dict` was taken. Called on a fresh, bound copy of the same configuration."""


def positive(name: str, value: int, least: int = 1) -> int:
    """`value`, if it is a whole number of at least `least`.

    Raises:
        UsageError: it is not.
    """
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise UsageError(f"{name}={value!r}: expected a whole number, at least {least}")
    return value


def resource_argument(default: int | None, **named: int | None) -> int | None:
    """The one value given under `max_resource` or one of its accepted names, else `default`.

    Raises:
        UsageError: two names were given with different values.
    """
    given = {name: value for name, value in named.items() if value is not None}
    if len(set(given.values())) > 1:
        both = " and ".join(f"{name}={value!r}" for name, value in given.items())
        raise UsageError(f"{both} are names for one argument: give one of them")
    return next(iter(given.values()), default)
