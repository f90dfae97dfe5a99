"""The contract of an optimizer: what to try next.

The driver's calls, in this order:

1. `copy()`: a run works on a copy, so one object serves many sweeps.
2. `bind(search_space=, goal=, seed=)`: what was left open is filled in.
3. `suggest(n)`: at most n new trials. The driver numbers them (`trial.id`). Fewer than n means that there is nothing
   more for now; the driver asks again after the next observation, and the search is over when it then has no
   trial left to wait for. A suggested trial is *pending* until it is observed in a final state.
4. `observe(trial, result)`: once for every result that counts (a rung of the scheduler, the end of the trial).
   `trial.state` is the state after the scheduler's verdict; `trial.resource` is the resource at which the result
   was reached, 0 for "to the end, no limit". A failed trial comes as a `Result` with `failure`; a trial that ends
   without a new result (pruned while paused) comes with its last one.

Suggestions are deterministic: same seed and same calls, same trials.
"""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Mapping
from enum import StrEnum
from typing import Any, Self

from metta.sweep.errors import UsageError
from metta.sweep.goal import Goal, Objectives
from metta.sweep.space import SearchSpace
from metta.sweep.trial import Trial
from metta.sweep.tunable import Tunable


class Restored(StrEnum):
    """How `load_state_dict` brought an optimizer back."""

    STATE = "state"
    """Exactly: its own state was read."""
    REPLAY = "replay"
    """Exactly: every suggestion was computed again and compared with the record."""
    OBSERVATIONS = "observations"
    """It knows all results, but its next suggestions are not those of the uninterrupted run."""


class Optimizer(Tunable, ABC):
    """Suggests parameters and learns from results. A custom one writes `suggest` and `observe`.

    Args:
        search_space: a `SearchSpace` or a mapping dot path -> distribution or fixed value; None to take the
            experiment's.
        seed: makes the suggestions repeatable; None to take the run's.
        goal: "maximize", "minimize" or a mapping metric -> direction; None to take the experiment's.
    """

    # Class attributes, so that a subclass need not call __init__.
    search_space: SearchSpace | None = None
    seed: int | None = None
    goal: Goal | None = None
    objective_names: tuple[str, ...] = ()
    """The metrics to optimize, where they were named without a direction."""

    def __init__(
        self,
        search_space: SearchSpace | Mapping[str, object] | None = None,
        *,
        seed: int | None = None,
        goal: Goal | None = None,
    ) -> None:
        self.search_space = None if search_space is None else SearchSpace.of(search_space)
        self.seed = seed
        self.goal = goal
        if goal is not None:
            Objectives.of(goal)  # a wrong direction is an error here, not at the run's start

    @abstractmethod
    def suggest(self, n: int) -> list[Trial]:
        """At most `n` new trials (n >= 1)."""

    @abstractmethod
    def observe(self, trial: Trial, result: Any) -> None:
        """Learn from a result.

        Args:
            trial: a trial of `suggest`, or any other: one of an earlier sweep, of a scheduler's fork.
            result: a number, a mapping name -> number (several objectives) or a `Result`. The driver always
                passes a `Result`, which is a float; annotate it as the narrowest type you use.
        """

    def bind(
        self,
        *,
        search_space: SearchSpace | Mapping[str, object] | None = None,
        goal: Goal | None = None,
        seed: int | None = None,
    ) -> None:
        """Fill in what was left open; what was given stays.

        Raises:
            UsageError: the optimizer was given another goal than the experiment.
        """
        if self.search_space is None and search_space is not None:
            self.search_space = SearchSpace.of(search_space)
        if self.seed is None:
            self.seed = seed
        if self.goal is None:
            self.goal = goal
        elif goal is not None and Objectives.of(goal).directions != Objectives.of(self.goal).directions:
            raise UsageError(
                f"the optimizer was given goal={self.goal!r} and the experiment goal={goal!r}: "
                "say it once, or the same on both"
            )

    def copy(self) -> Self:
        """An independent copy with the same observations."""
        return copy.deepcopy(self)

    def state_dict(self) -> dict[str, Any]:
        """Everything that later suggestions depend on, as JSON values.

        The default is for an optimizer without state of its own.
        """
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> Restored:
        """Go on where `state_dict` was taken. Called on a fresh, bound copy of the same configuration."""
        return Restored.STATE

    @property
    def objectives(self) -> Objectives:
        """The goal as objectives; "maximize" where none was given."""
        return Objectives.of(self.goal if self.goal is not None else "maximize")

    def require_space(self) -> SearchSpace:
        """The search space.

        Raises:
            UsageError: there is none.
        """
        if self.search_space is None:
            name = type(self).__name__
            raise UsageError(
                f"{name} has no search space: write {name}(search_space={{...}}), or give one to the experiment"
            )
        return self.search_space
