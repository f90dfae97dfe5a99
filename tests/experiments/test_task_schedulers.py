"""The orders of tasks, as pure functions of the progress."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metta.sweep.errors import UsageError
from metta.sweep.experiments.curriculum.schedulers import (
    AdaptiveScheduler,
    CurriculumScheduler,
    DifficultyRampScheduler,
    InterleaveScheduler,
    RandomScheduler,
    learning_progress,
)
from metta.sweep.experiments.curriculum.tasks import Progress, Task, checked_tasks
from metta.sweep.store.codec import dumps, loads

TASKS = [Task("easy"), Task("middle"), Task("hard")]
KINDS = (RandomScheduler, DifficultyRampScheduler, InterleaveScheduler, AdaptiveScheduler)
each_kind = pytest.mark.parametrize("kind", KINDS)

Scores = Callable[[int, int], float]


def visited(scheduler: CurriculumScheduler, score: Scores, tasks: list[Task] = TASKS, limit: int = 100) -> list[int]:
    """The tasks visited until the scheduler ends, where visit number `n` of task `t` gives `score(t, n)`."""
    progress = Progress.of(tasks)
    while (task := scheduler.next_task(progress)) is not None and len(progress.history) < limit:
        progress = progress.after(task, score(task, progress.tasks[task].visits))
    return [visit.task for visit in progress.history]


def never(task: int, visit: int) -> float:
    return 0.0


def at_once(task: int, visit: int) -> float:
    return 1.0


@each_kind
def test_without_mastery_every_task_is_left_when_its_patience_is_used_up(kind: type[CurriculumScheduler]) -> None:
    tasks = [Task("a", patience=2), Task("b", patience=3), Task("c", patience=4)]
    assert Counter(visited(kind(seed=1), never, tasks)) == {0: 2, 1: 3, 2: 4}


@each_kind
def test_the_patience_factor_multiplies_patience_and_leaves_one_visit(kind: type[CurriculumScheduler]) -> None:
    assert Counter(visited(kind(patience_factor=2.0), never)) == {0: 6, 1: 6, 2: 6}
    assert Counter(visited(kind(patience_factor=0.01), never)) == {0: 1, 1: 1, 2: 1}


@each_kind
def test_mastered_tasks_are_left(kind: type[CurriculumScheduler]) -> None:
    assert Counter(visited(kind(), at_once)) == {0: 1, 1: 1, 2: 1}


@each_kind
@settings(max_examples=25, derandomize=True, deadline=None)
@given(
    scores=st.lists(st.floats(0, 1), min_size=1, max_size=12),
    patience=st.integers(1, 4),
    seed=st.integers(0, 100),
)
def test_it_ends_and_visits_every_task(
    kind: type[CurriculumScheduler], scores: list[float], patience: int, seed: int
) -> None:
    tasks = [Task(name, patience=patience) for name in "abcd"]
    order = visited(kind(seed=seed), lambda task, visit: scores[(3 * task + visit) % len(scores)], tasks)
    assert set(order) == {0, 1, 2, 3}
    assert len(order) < 100
    assert order == visited(kind(seed=seed), lambda task, visit: scores[(3 * task + visit) % len(scores)], tasks)


def test_random_draws_evenly_and_by_its_seed() -> None:
    firsts = Counter(RandomScheduler(seed=seed).next_task(Progress.of(TASKS)) for seed in range(600))
    assert all(150 < firsts[task] < 250 for task in range(3))
    orders = {tuple(visited(RandomScheduler(seed=seed), never)) for seed in range(10)}
    assert len(orders) > 5


def test_the_ramp_goes_by_difficulty_and_stays_until_mastery() -> None:
    tasks = [Task("hard", difficulty=3), Task("easy", difficulty=1), Task("middle", difficulty=2)]
    assert visited(DifficultyRampScheduler(), at_once, tasks) == [1, 2, 0]
    assert visited(DifficultyRampScheduler(), lambda task, visit: 0.45 * visit, tasks) == [1, 1, 1, 2, 2, 2, 0, 0, 0]
    assert visited(DifficultyRampScheduler(hardest_first=True), at_once, tasks) == [0, 2, 1]


def test_the_ramp_goes_on_at_its_share_of_the_way_and_comes_back() -> None:
    # The second visit is half of the way from 0 to the threshold 0.9.
    def score(task: int, visit: int) -> float:
        return 0.45 * visit

    assert visited(DifficultyRampScheduler(advance_at=0.5), score) == [0, 0, 1, 1, 2, 2, 0, 1, 2]


def test_interleave_comes_back_to_mastered_tasks_in_its_ratio() -> None:
    tasks = [Task("a"), Task("b"), Task("c", patience=12)]

    def score(task: int, visit: int) -> float:
        return 0.0 if task == 2 else 1.0

    order = visited(InterleaveScheduler(revisit_ratio=0.25), score, tasks)
    assert order == [0, 1, 2, 0, 2, 2, 2, 1, 2, 2, 2, 0, 2, 2, 2, 1, 2, 2]
    assert 2 not in order[:2]
    assert visited(InterleaveScheduler(revisit_ratio=0.0), score, tasks) == [0, 1, *[2] * 12]


def test_adaptive_turns_to_where_scores_move() -> None:
    tasks = [Task("flat", patience=20), Task("learning", patience=20), Task("forgotten", patience=20)]
    slopes = (0.0, 0.03, -0.02)
    order = visited(AdaptiveScheduler(epsilon=0.0), lambda task, visit: 0.2 + slopes[task] * visit, tasks)
    assert order[:6] == [0, 1, 2, 0, 1, 2]
    assert order[6:24] == [1] * 18
    assert order[24:42] == [2] * 18
    assert order[42:] == [0] * 18


def test_adaptive_looks_at_its_window_only() -> None:
    progress = Progress.of([Task("was fast", patience=20), Task("is slow", patience=20)])
    for score in (0.1, 0.3, 0.5, 0.5, 0.5):
        progress = progress.after(0, score)
    for score in (0.1, 0.15):
        progress = progress.after(1, score)
    assert AdaptiveScheduler(epsilon=0.0, window=3).next_task(progress) == 1
    assert AdaptiveScheduler(epsilon=0.0, window=5).next_task(progress) == 0


def test_adaptive_explores_with_epsilon() -> None:
    progress = Progress.of([Task(name, patience=9) for name in "ab"])
    for task, slope in ((0, 0.1), (1, 0.0)):
        for visit in range(3):
            progress = progress.after(task, slope * visit)
    picks = Counter(AdaptiveScheduler(epsilon=0.5, seed=seed).next_task(progress) for seed in range(400))
    assert 60 < picks[1] < 140  # a quarter


def test_learning_progress_is_the_absolute_slope() -> None:
    assert learning_progress([1.0, 2.0, 3.0]) == pytest.approx(1.0)
    assert learning_progress([3.0, 2.5, 2.0]) == pytest.approx(0.5)
    assert learning_progress([0.0, 1.0, 0.0]) == pytest.approx(0.0)


def test_minimizing_turns_best_and_mastery_round() -> None:
    progress = Progress.of([Task("loss", mastery_threshold=0.1)], maximize=False)
    progress = progress.after(0, 0.5).after(0, 0.3).after(0, 0.4)
    task = progress.tasks[0]
    assert task.best == 0.3
    assert not task.is_mastered
    assert task.mastery == pytest.approx(0.5)
    assert progress.after(0, 0.1).tasks[0].is_mastered


@each_kind
@settings(max_examples=30, derandomize=True, deadline=None)
@given(seed=st.integers(0, 1_000))
def test_mutations_stay_in_their_ranges_and_change_something(kind: type[CurriculumScheduler], seed: int) -> None:
    before = kind(patience_factor=50.0)
    after = before.mutated(random.Random(seed))
    assert type(after) is kind
    assert after.patience_factor <= 3.0
    for name, distribution in after.tunables().items():
        distribution.check(getattr(after, name))
    assert kind().mutated(random.Random(seed)) != kind()
    assert kind().mutated(random.Random(seed)) == kind().mutated(random.Random(seed))


def test_a_setting_outside_of_its_range_is_mutated_into_it() -> None:
    assert AdaptiveScheduler(window=50).mutated(random.Random(0)).window == 8


@each_kind
def test_schedulers_are_stored_and_told_apart(kind: type[CurriculumScheduler]) -> None:
    scheduler = kind().mutated(random.Random(3))
    assert loads(dumps([scheduler]), list[CurriculumScheduler]) == [scheduler]
    assert kind().id == f"{kind.__name__}()"
    assert scheduler.id.startswith(f"{kind.__name__}(patience_factor=")
    assert replace(scheduler, label="mine").id == "mine"
    assert kind().name == kind.__name__


@dataclass(frozen=True)
class Backwards(CurriculumScheduler):
    """A custom one: the last task that is left."""

    def next_task(self, progress: Progress) -> int | None:
        return max(self.open_tasks(progress), default=None)


def test_a_custom_one_needs_next_task_only() -> None:
    assert visited(Backwards(), at_once) == [2, 1, 0]
    assert Backwards().mutated(random.Random(0)).patience_factor != 1.0


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: RandomScheduler(patience_factor=0), r"RandomScheduler\(patience_factor=0\): expected a number above"),
        (lambda: DifficultyRampScheduler(advance_at=0), r"advance_at=0\): expected a number above 0, at most 1"),
        (lambda: InterleaveScheduler(revisit_ratio=1), r"revisit_ratio=1\): expected a number of at least 0, below 1"),
        (lambda: AdaptiveScheduler(epsilon=2), r"epsilon=2\): expected a number from 0 to 1"),
        (lambda: AdaptiveScheduler(window=1), r"window=1\): expected a whole number, at least 2"),
        (lambda: Task(""), r"Task\(name=''\): expected a name"),
        (lambda: Task("a", cast("Any", {1: 2})), r"expected a mapping dot path -> value"),
        (lambda: Task("a", patience=0), r"patience=0\): expected a whole number, at least 1"),
        (lambda: Task("a", mastery_threshold=float("nan")), r"mastery_threshold=nan\): expected a finite number"),
        (lambda: Task("a", difficulty=float("inf")), r"difficulty=inf\): expected a finite number"),
        (lambda: checked_tasks([]), r"expected a list of tasks, at least one"),
        (lambda: checked_tasks([Task("a"), Task("a")]), r"two tasks are called 'a'"),
        (lambda: checked_tasks(cast("Any", ["a"])), r"tasks has 'a': expected Task"),
    ],
)
def test_what_is_wrong_is_said(make: Callable[[], object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        make()


def test_a_task_keeps_its_own_copy_of_the_overrides() -> None:
    given: dict[str, object] = {"a": 1}
    task = Task("t", given)
    given["a"] = 2
    overrides: Mapping[str, object] = task.overrides
    assert overrides == {"a": 1}
