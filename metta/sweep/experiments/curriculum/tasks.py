"""The tasks of a curriculum, and how far it has come with each of them: plain values."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from numbers import Real
from types import MappingProxyType
from typing import Any, NamedTuple

from metta.sweep.errors import UsageError
from metta.sweep.trial import Failure, Observation, Result, Trial, TrialState


@dataclass(frozen=True)
class Task:
    """One task of a curriculum.

    Args:
        name: of its own in the curriculum.
        overrides: what makes the base experiment this task: dot path -> value, as `Experiment.with_params` takes them.
        mastery_threshold: the task is mastered when a sweep's best score is at least this (at most this where the goal
            is to minimize).
        patience: sweeps without mastery after which the curriculum goes on anyway.
        difficulty: orders the tasks, small is easy; None for the task's place in the curriculum's list.

    Raises:
        UsageError: the name is empty, a number is none or not finite, or patience is below 1.
    """

    name: str
    overrides: Mapping[str, Any] = field(default_factory=dict)
    mastery_threshold: float = 0.9
    patience: int = 3
    difficulty: float | None = None

    def __post_init__(self) -> None:
        name: object = self.name
        if not isinstance(name, str) or not name:
            raise UsageError(f"Task(name={name!r}): expected a name")
        overrides: object = self.overrides
        if not isinstance(overrides, Mapping) or not all(isinstance(path, str) for path in overrides):
            raise UsageError(f"Task(overrides={overrides!r}): expected a mapping dot path -> value")
        object.__setattr__(self, "overrides", dict(overrides))
        patience: object = self.patience
        if isinstance(patience, bool) or not isinstance(patience, int) or patience < 1:
            raise UsageError(f"Task(patience={patience!r}): expected a whole number, at least 1")
        _check_number("mastery_threshold", self.mastery_threshold)
        if self.difficulty is not None:
            _check_number("difficulty", self.difficulty)


def _check_number(name: str, value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, Real) or not math.isfinite(value):
        raise UsageError(f"Task({name}={value!r}): expected a finite number")


def checked_tasks(tasks: Sequence[Task]) -> tuple[Task, ...]:
    """The tasks of a curriculum, each with a difficulty.

    Raises:
        UsageError: there is none, one is no Task, or two have the same name.
    """
    if isinstance(tasks, Task) or not isinstance(tasks, Sequence) or not tasks:
        raise UsageError(f"tasks={tasks!r}: expected a list of tasks, at least one: [Task('easy', {{'classes': 2}})]")
    names: set[str] = set()
    for task in tasks:
        if not isinstance(task, Task):
            raise UsageError(f"tasks has {task!r}: expected Task(...)")
        if task.name in names:
            raise UsageError(f"two tasks are called {task.name!r}: their names must differ")
        names.add(task.name)
    places = [float(index) if task.difficulty is None else task.difficulty for index, task in enumerate(tasks)]
    return tuple(replace(task, difficulty=place) for task, place in zip(tasks, places, strict=True))


class Visit(NamedTuple):
    """One sweep of a curriculum.

    Attributes:
        task: the number of its task.
        score: its best score.
        params: those of its best trial.
        is_revisit: whether the task was mastered already.
    """

    task: int
    score: float
    params: dict[str, Any]
    is_revisit: bool


class Tried(NamedTuple):
    """What is kept of an observation: what an optimizer hears of it, as a record without its learning curve.

    Attributes:
        trial: its number in its sweep.
        params: of the trial.
        resource: at which the result was reached.
        score, cost, failure: of the result.
        state: of the trial.
    """

    trial: int
    params: dict[str, Any]
    resource: int
    score: float | None
    cost: float | None
    failure: Failure | None
    state: TrialState

    @classmethod
    def of(cls, known: Observation) -> Tried:
        """The record of an observation with one objective."""
        trial, result = known.trial, known.result
        score = None if result.score is None or isinstance(result.score, Mapping) else float(result.score)
        return cls(trial.id, dict(trial.params), trial.resource, score, result.cost, result.failure, trial.state)

    @property
    def observation(self) -> Observation:
        """The observation again."""
        trial = Trial(self.params, self.trial, resource=self.resource)
        trial.state, trial.score, trial.cost, trial.failure = self.state, self.score, self.cost, self.failure
        return Observation(trial, Result(self.score, self.cost, self.failure))


@dataclass(frozen=True, slots=True)
class TaskProgress:
    """How far a curriculum has come with one task.

    Attributes:
        name, difficulty, threshold, patience: of the task.
        maximize: whether larger scores are better.
        scores: the best score of each of its sweeps, in their order.
    """

    name: str
    difficulty: float
    threshold: float
    patience: int
    maximize: bool = True
    scores: tuple[float, ...] = ()

    @property
    def visits(self) -> int:
        """Sweeps so far."""
        return len(self.scores)

    @property
    def best(self) -> float | None:
        """The best score; None before the first sweep."""
        if not self.scores:
            return None
        return max(self.scores) if self.maximize else min(self.scores)

    @property
    def is_mastered(self) -> bool:
        """Whether a sweep reached the threshold."""
        best = self.best
        return best is not None and (best >= self.threshold if self.maximize else best <= self.threshold)

    @property
    def mastery(self) -> float:
        """How much of the way from the first sweep's score to the threshold is done: 0 at first, 1 when mastered."""
        if self.is_mastered:
            return 1.0
        best = self.best
        if best is None:
            return 0.0
        return (best - self.scores[0]) / (self.threshold - self.scores[0])


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a curriculum has come: all that the order of its tasks may depend on.

    Attributes:
        tasks: one entry per task.
        history: the sweeps so far, in their order.
    """

    tasks: tuple[TaskProgress, ...]
    history: tuple[Visit, ...] = ()

    @classmethod
    def of(cls, tasks: Sequence[Task], maximize: bool = True) -> Progress:
        """Before the first sweep.

        Raises:
            UsageError: the tasks are none of a curriculum, see `checked_tasks`.
        """
        return cls(
            tuple(
                TaskProgress(task.name, task.difficulty or 0.0, task.mastery_threshold, task.patience, maximize)
                for task in checked_tasks(tasks)
            )
        )

    def after(self, task: int, score: float, params: Mapping[str, Any] = MappingProxyType({})) -> Progress:
        """After one more sweep of the task with this number, with its best score and parameters."""
        before = self.tasks[task]
        now = replace(before, scores=(*before.scores, score))
        visit = Visit(task, score, dict(params), before.is_mastered)
        return Progress((*self.tasks[:task], now, *self.tasks[task + 1 :]), (*self.history, visit))
