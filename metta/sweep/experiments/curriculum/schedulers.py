"""The order of the tasks of a curriculum: which one is next, and when to leave it.

A scheduler is a frozen value, and its answer a pure function of the progress: same progress and seed, same task.
So a curriculum that is resumed visits what it would have visited, and curricula can be compared, changed and bred.

All of them leave a task that is mastered or out of patience, and end when no other is left.
"""

from __future__ import annotations

import random
import statistics
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any, Self

from metta.sweep.errors import UsageError
from metta.sweep.experiments.curriculum.tasks import Progress

if TYPE_CHECKING:
    from metta.sweep.space import Distribution


@dataclass(frozen=True, repr=False)
class CurriculumScheduler(ABC):
    """Decides which task a curriculum turns to next. A custom one writes `next_task`.

    Args:
        patience_factor: multiplies the patience of every task; the result is rounded, and at least 1.
        seed: of its draws; None to take the curriculum's.
        label: what it is called among others; "" for its class and the settings that are not the default.

    Raises:
        UsageError: a setting is out of its range.
    """

    patience_factor: float = field(default=1.0, kw_only=True)
    seed: int | None = field(default=None, kw_only=True)
    label: str = field(default="", kw_only=True)

    def __post_init__(self) -> None:
        self._check("patience_factor", self.patience_factor > 0, "a number above 0")

    @abstractmethod
    def next_task(self, progress: Progress) -> int | None:
        """The number of the next task; None when the curriculum is over. Changes nothing, and draws from `random`."""

    @property
    def name(self) -> str:
        """What kind of order it is: the name of its class."""
        return type(self).__name__

    @property
    def id(self) -> str:
        """Tells it from others: its label, else its class and settings."""
        return self.label or repr(self)

    def __repr__(self) -> str:
        told = ((known.name, getattr(self, known.name), known.default) for known in fields(self))
        settings = ", ".join(
            f"{name}={value:.4g}" if isinstance(value, float) else f"{name}={value!r}"
            for name, value, default in told
            if value != default
        )
        return f"{self.name}({settings})"

    def tunables(self) -> Mapping[str, Distribution[Any]]:
        """What may be tuned and mutated: name of a setting -> distribution."""
        from metta.sweep.space import LogUniform

        return {"patience_factor": LogUniform(0.3, 3.0)}

    def mutated(self, rng: random.Random, factor: float = 0.2) -> Self:
        """A copy with every tunable moved by one step, as population based training perturbs (see `explore.moved`).

        Args:
            rng: where the chances come from; also the copy's new seed.
            factor: the size of a step, in (0, 1).
        """
        from metta.sweep.schedulers.explore import moved

        settings = {
            name: moved(distribution, _clipped(distribution, getattr(self, name)), rng, factor, 0.25)
            for name, distribution in self.tunables().items()
        }
        return replace(self, **settings, seed=rng.getrandbits(31))

    def chances(self, progress: Progress) -> random.Random:
        """The chances of the next decision: they depend on the seed and on how many sweeps there were only."""
        return random.Random(f"{self.seed or 0}/{len(progress.history)}")

    def open_tasks(self, progress: Progress) -> list[int]:
        """The tasks that are neither mastered nor out of patience, the easiest first."""
        return _easiest_first(
            progress,
            [
                index
                for index, task in enumerate(progress.tasks)
                if not task.is_mastered and task.visits < max(1, round(task.patience * self.patience_factor))
            ],
        )

    def _check(self, name: str, holds: bool, expected: str) -> None:
        if not holds:
            raise UsageError(f"{self.name}({name}={getattr(self, name)!r}): expected {expected}")


@dataclass(frozen=True, repr=False)
class RandomScheduler(CurriculumScheduler):
    """Any of the tasks that are left, with equal chances."""

    def next_task(self, progress: Progress) -> int | None:
        left = self.open_tasks(progress)
        return self.chances(progress).choice(left) if left else None


@dataclass(frozen=True, repr=False)
class DifficultyRampScheduler(CurriculumScheduler):
    """From easy to hard: stays with a task until it is mastered or patience is used up.

    Args:
        advance_at: the share of the way to mastery (see `TaskProgress.mastery`) after which the ramp goes on already;
            it comes back to such tasks after the hardest. In (0, 1].
        hardest_first: whether the ramp goes down.
    """

    advance_at: float = 1.0
    hardest_first: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        self._check("advance_at", 0 < self.advance_at <= 1, "a number above 0, at most 1")

    def next_task(self, progress: Progress) -> int | None:
        left = self.open_tasks(progress)
        if self.hardest_first:
            left.reverse()
        below = [index for index in left if progress.tasks[index].mastery < self.advance_at]
        return next(iter(below or left), None)

    def tunables(self) -> Mapping[str, Distribution[Any]]:
        from metta.sweep.space import Choice, Uniform

        return {
            **super().tunables(),
            "advance_at": Uniform(0.2, 1.0),
            "hardest_first": Choice([False, True], ordered=False),
        }


@dataclass(frozen=True, repr=False)
class InterleaveScheduler(CurriculumScheduler):
    """From easy to hard, with visits to mastered tasks in between, so that they are tuned further and not forgotten.

    Args:
        revisit_ratio: share of the sweeps that go to mastered tasks, to the one that was left longest ago. In [0, 1).
    """

    revisit_ratio: float = 0.25

    def __post_init__(self) -> None:
        super().__post_init__()
        self._check("revisit_ratio", 0 <= self.revisit_ratio < 1, "a number of at least 0, below 1")

    def next_task(self, progress: Progress) -> int | None:
        left = self.open_tasks(progress)
        if not left:
            return None
        mastered = [index for index, task in enumerate(progress.tasks) if task.is_mastered]
        revisits = sum(visit.is_revisit for visit in progress.history)
        if mastered and revisits + 1 <= self.revisit_ratio * (len(progress.history) + 1):
            last = {visit.task: when for when, visit in enumerate(progress.history)}
            return min(mastered, key=lambda index: last[index])
        return left[0]

    def tunables(self) -> Mapping[str, Distribution[Any]]:
        from metta.sweep.space import Uniform

        return {**super().tunables(), "revisit_ratio": Uniform(0.05, 0.75)}


@dataclass(frozen=True, repr=False)
class AdaptiveScheduler(CurriculumScheduler):
    """The task that is being learned fastest, or forgotten.

    Learning progress is the absolute slope of a line fitted to the last scores of a task over the numbers of its
    sweeps (Matiisen et al., 2017, "Teacher-Student Curriculum Learning", the Window algorithm); the task with the
    largest one is next, with probability `epsilon` any. Before that every task gets two sweeps, the easiest first:
    one score has no slope.

    Args:
        epsilon: share of the decisions that are random. In [0, 1].
        window: how many scores the line is fitted to; at least 2.
    """

    epsilon: float = 0.1
    window: int = 5

    def __post_init__(self) -> None:
        super().__post_init__()
        self._check("epsilon", 0 <= self.epsilon <= 1, "a number from 0 to 1")
        self._check("window", self.window >= 2, "a whole number, at least 2")

    def next_task(self, progress: Progress) -> int | None:
        left = self.open_tasks(progress)
        if not left:
            return None
        chances = self.chances(progress)
        if chances.random() < self.epsilon:
            return chances.choice(left)
        tasks = progress.tasks
        fresh = [index for index in left if tasks[index].visits < 2]
        if fresh:
            return min(fresh, key=lambda index: tasks[index].visits)  # the first of equals: the easiest
        return max(left, key=lambda index: learning_progress(tasks[index].scores[-self.window :]))

    def tunables(self) -> Mapping[str, Distribution[Any]]:
        from metta.sweep.space import Integer, Uniform

        return {**super().tunables(), "epsilon": Uniform(0.01, 0.5), "window": Integer(2, 10)}


def learning_progress(scores: Sequence[float]) -> float:
    """The absolute slope of the least-squares line through the scores, per sweep; at least two of them."""
    return abs(statistics.linear_regression(range(len(scores)), scores).slope)


def _easiest_first(progress: Progress, tasks: Sequence[int]) -> list[int]:
    return sorted(tasks, key=lambda index: (progress.tasks[index].difficulty, index))


def _clipped(distribution: Distribution[Any], value: Any) -> Any:
    """A setting that was given by hand may lie outside of the range that is searched: its nearest end."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return min(max(value, distribution.from_unit(0.0)), distribution.from_unit(1.0))
    return value
