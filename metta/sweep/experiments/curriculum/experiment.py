"""CurriculumExperiment: a sequence of tasks, each visited with a whole sweep."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

from metta.sweep.errors import UsageError
from metta.sweep.executors.base import Executor
from metta.sweep.experiments.arguments import (
    check_paths,
    checked_base,
    checked_part,
    checked_seed,
    checked_text,
    goal_of,
)
from metta.sweep.experiments.base import Experiment, Pipeline
from metta.sweep.experiments.budget import Budget
from metta.sweep.experiments.curriculum.schedulers import CurriculumScheduler, DifficultyRampScheduler
from metta.sweep.experiments.curriculum.tasks import Progress, Task, TaskProgress, Tried, Visit, checked_tasks
from metta.sweep.experiments.plan import arguments
from metta.sweep.experiments.repeats import seed_of
from metta.sweep.experiments.sweep import SweepExperiment
from metta.sweep.experiments.training import TrainingExperiment
from metta.sweep.goal import DIRECTIONS, Direction
from metta.sweep.optimizers.base import Optimizer
from metta.sweep.schedulers.base import Scheduler, positive
from metta.sweep.trial import Observation

if TYPE_CHECKING:
    from metta.sweep.space import Distribution, SearchSpace

DIGITS_RAMP = (
    Task("two digits", {"classes": 2}, mastery_threshold=0.98),
    Task("five digits", {"classes": 5}, mastery_threshold=0.96),
    Task("all digits", {"classes": 10}, mastery_threshold=0.95),
    Task("noisy digits", {"classes": 10, "noise": 0.25}, mastery_threshold=0.85),
)
"""The tasks of a curriculum over `TrainingExperiment` that names none; thresholds are accuracies on the validation
split."""


class Begun(NamedTuple):
    """A curriculum before its first sweep.

    Attributes:
        progress: how far it has come.
        known: what each sweep has observed, one list per entry of `progress.history`.
    """

    progress: Progress
    known: list[list[Tried]]


class TaskResults(NamedTuple):
    """What a task's sweep has found: its best score, the parameters of its best trial, all observations."""

    score: float
    params: dict[str, Any]
    observations: list[Tried]


@dataclass(frozen=True, slots=True)
class CurriculumResult:
    """A finished curriculum.

    Attributes:
        score: the mean over all tasks of the best score reached in each. A task that was never visited counts with the
            curriculum's `unreached_score`.
        tasks: how far it has come with each task.
        visits: its sweeps, in their order.
    """

    score: float
    tasks: tuple[TaskProgress, ...]
    visits: tuple[Visit, ...]

    @property
    def final_performance(self) -> float:
        """The same as `score`."""
        return self.score

    @property
    def order(self) -> tuple[str, ...]:
        """The names of the tasks in the order they were visited."""
        return tuple(self.tasks[visit.task].name for visit in self.visits)

    @property
    def mastered(self) -> tuple[str, ...]:
        """The names of the tasks that were mastered."""
        return tuple(task.name for task in self.tasks if task.is_mastered)

    @property
    def best_params(self) -> dict[str, dict[str, Any]]:
        """The best parameters of each task that was visited."""
        found: dict[str, dict[str, Any]] = {}
        for visit in self.visits:
            task = self.tasks[visit.task]
            if visit.score == task.best:
                found.setdefault(task.name, visit.params)
        return found

    def __str__(self) -> str:
        width = max(len(task.name) for task in self.tasks)
        lines = [
            f"{task.name:<{width}}  "
            + ("not visited" if task.best is None else f"best {task.best:.4g} in {task.visits} sweep(s)")
            + (", mastered" if task.is_mastered else "")
            for task in self.tasks
        ]
        return "\n".join([*lines, f"final performance {self.score:.4g} after {len(self.visits)} sweep(s)"])


class CurriculumExperiment(Experiment[CurriculumResult]):
    """Visits tasks one after another, each time with a sweep over the base experiment made to be that task.

    `scheduler` says which task is next and when to leave it. A sweep starts warm: from what the earlier sweeps of the
    same task have observed, else from the sweep before it. Scores of another task are taken as they are, so tasks
    should share a scale; `observations_for_task` may be overridden, as may `optimizer_for_task` and
    `scheduler_for_task`.

    Args:
        tasks: in the order of their difficulty, where they do not say it; None for a ramp over the digits, from two
            to all of them, to noisy ones. They need a `TrainingExperiment`.
        base_experiment: what a trial runs: an Experiment, its class or an instance.
        scheduler: the order of the tasks; default: `DifficultyRampScheduler()`.
        search_space: what the sweeps search; None for the optimizer's own, else the `tunables()` of the base.
        optimizer: of the sweeps, each works on a copy; None: `BayesianOptimizer`.
        sweep_scheduler: of the sweeps, each works on a copy; None: `AsynchronousScheduler`.
        executor: where the trials run, an instance that stays open, or its class; None for that of the sweep around
            it, else a `LocalExecutor`.
        sweep_budget: of each sweep: configurations, or a `Budget`.
        metric_key: the reported metric to optimize.
        goal: "maximize" or "minimize"; None for that of the base experiment, else "maximize".
        max_visits: sweeps after which the curriculum ends in any case; None for no such limit.
        unreached_score: what a task counts that was never visited; None for the worst, minus infinity where the goal
            is to maximize.
        warm_start: whether sweeps start from what earlier ones have observed.
        seed: repeats the curriculum where the order of events is repeatable; every sweep has its own from it.
        name: for messages, drawings and the store.

    Raises:
        UsageError: an argument is none of these, or a task overrides what the base experiment does not have.
    """

    nests = True

    def __init__(
        self,
        tasks: Sequence[Task] | None = None,
        *,
        base_experiment: Experiment[Any] | type[Experiment[Any]] = TrainingExperiment,
        scheduler: CurriculumScheduler | None = None,
        search_space: SearchSpace | Mapping[str, object] | None = None,
        optimizer: Optimizer | None = None,
        sweep_scheduler: Scheduler | None = None,
        executor: Executor | Callable[[], Executor] | None = None,
        sweep_budget: int | Budget = 8,
        metric_key: str = "score",
        goal: Direction | None = None,
        max_visits: int | None = None,
        unreached_score: float | None = None,
        warm_start: bool = True,
        seed: int = 0,
        name: str = "curriculum",
    ) -> None:
        from metta.sweep.space import SearchSpace

        self.name: str = checked_text("name", name)
        self.base_experiment: Experiment[Any] = _checked_experiment(base_experiment)
        if tasks is None and not isinstance(self.base_experiment, TrainingExperiment):
            raise UsageError(f"{type(self).__name__}(tasks=None): the default tasks need a TrainingExperiment")
        self.tasks: tuple[Task, ...] = checked_tasks(DIGITS_RAMP if tasks is None else tasks)
        self.scheduler: CurriculumScheduler = checked_part(
            "scheduler", DifficultyRampScheduler() if scheduler is None else scheduler, CurriculumScheduler
        )
        self.search_space = search_space
        self.optimizer = optimizer
        self.sweep_scheduler = sweep_scheduler
        self.executor = executor
        self.sweep_budget = sweep_budget
        self.metric_key = metric_key
        self.goal: Direction = (goal_of(self.base_experiment) or "maximize") if goal is None else goal
        if self.goal not in DIRECTIONS:
            raise UsageError(f'goal={goal!r}: expected "maximize" or "minimize"; a curriculum has one objective')
        self.max_visits: int | None = None if max_visits is None else positive("max_visits", max_visits)
        worst = -math.inf if self.goal == "maximize" else math.inf
        self.unreached_score: float = worst if unreached_score is None else float(unreached_score)
        self.warm_start = warm_start
        self.seed: int = checked_seed(seed) or 0
        for task in self.tasks:
            self.base_experiment.check_params(task.overrides)
        if search_space is not None:
            check_paths(self.base_experiment, SearchSpace.of(search_space))
        self._sweep(self.tasks[0], 0, [])  # what a sweep does not take is an error here

    def pipeline(self) -> Pipeline:
        """While there is a next task: select it, run its sweep, assess what came of it."""
        return (
            Pipeline()
            .stage("init", self.initialize_curriculum, settings=self._settings())
            .through(progress=Progress, known=list[list[Tried]])
            .loop_while(lambda now: self.next_task(now.progress) is not None)
            .stage("select_task", self.select_next_task)
            .through(current_task=Task)
            .stage("run_sweep", self.execute_task_sweep)
            .through(task_results=TaskResults)
            .stage("evaluate", self.assess_mastery)
            # Not stored: it is soon computed again from what its sweep has found. `known` has all sweeps before it, so
            # a curriculum of many visits would store most observations over and over.
            .through(progress=Progress, known=list[list[Tried]], checkpoint=False)
            .end_loop()
            .stage("conclude", self.conclude)
            .through(CurriculumResult)
        )

    # What a subclass may want to decide

    def optimizer_for_task(self, task: Task) -> Optimizer | None:
        """The optimizer of a task's sweep; None for the default one."""
        return self.optimizer

    def scheduler_for_task(self, task: Task) -> Scheduler | None:
        """The scheduler of a task's sweep; None for the default one."""
        return self.sweep_scheduler

    def observations_for_task(
        self, task: Task, progress: Progress, known: Sequence[Sequence[Observation]]
    ) -> Sequence[Observation]:
        """What a task's sweep starts warm from.

        Args:
            task: the task.
            progress: how far the curriculum has come.
            known: what each sweep has observed, one entry per visit in `progress.history`.
        """
        own = [
            observation
            for visit, found in zip(progress.history, known, strict=True)
            if progress.tasks[visit.task].name == task.name
            for observation in found
        ]
        return own or (known[-1] if known else [])

    def next_task(self, progress: Progress) -> int | None:
        """The number of the next task; None when the curriculum is over."""
        if self.max_visits is not None and len(progress.history) >= self.max_visits:
            return None
        scheduler = self.scheduler if self.scheduler.seed is not None else replace(self.scheduler, seed=self.seed)
        return scheduler.next_task(progress)

    # The stages

    def initialize_curriculum(self, settings: Mapping[str, Any]) -> Begun:
        """Nothing is visited yet.

        Args:
            settings: of the curriculum. They belong to what the run is recorded as: it does not go on with others.
        """
        return Begun(Progress.of(self.tasks, self.goal == "maximize"), [])

    def select_next_task(self, progress: Progress) -> Task:
        """The task that the scheduler wants next.

        Raises:
            UsageError: it gave none a moment after it gave one, or a number that is no task.
        """
        number = self.next_task(progress)
        if number is None or not 0 <= number < len(self.tasks):
            raise UsageError(
                f"{self.scheduler.name}.next_task gave {number!r}: expected the number of one of "
                f"{len(self.tasks)} tasks, and the same for the same progress"
            )
        return self.tasks[number]

    async def execute_task_sweep(self, current_task: Task, progress: Progress, known: list[list[Tried]]) -> TaskResults:
        """A whole sweep, a child run of this one.

        Raises:
            RunError: no trial of it has a score.
        """
        start: Sequence[Observation] = ()
        if self.warm_start:
            observed = [[tried.observation for tried in sweep] for sweep in known]
            start = self.observations_for_task(current_task, progress, observed)
        sweep = self._sweep(current_task, len(progress.history), start)
        result = await sweep.run()
        best = result.best_trial
        return TaskResults(result.best_score, dict(best.params), list(map(Tried.of, result.observations)))

    def assess_mastery(
        self, current_task: Task, task_results: TaskResults, progress: Progress, known: list[list[Tried]]
    ) -> Begun:
        """Note the sweep. A run that is resumed notes again the sweeps that it has run before."""
        number = next(index for index, task in enumerate(self.tasks) if task.name == current_task.name)
        after = progress.after(number, task_results.score, task_results.params)
        return Begun(after, [*known, task_results.observations])

    def conclude(self, progress: Progress) -> CurriculumResult:
        """The result."""
        scores = [self.unreached_score if task.best is None else task.best for task in progress.tasks]
        return CurriculumResult(statistics.fmean(scores), progress.tasks, progress.history)

    def tunables(self) -> Mapping[str, Distribution[Any]]:
        """The settings of the order of the tasks."""
        return {f"scheduler.{name}": distribution for name, distribution in self.scheduler.tunables().items()}

    def _settings(self) -> dict[str, Any]:
        own = {
            "tasks": [arguments(task, ()) for task in self.tasks],
            "scheduler": {"name": self.scheduler.name, **arguments(self.scheduler, ())},
            "base_experiment": self.base_experiment._settings(),
        }
        return {**super()._settings(), **own}

    def _leaf_executor(self) -> Executor | Callable[[], Executor] | None:
        return self.executor

    def _sweep(self, task: Task, visit: int, warm_start: Sequence[Observation]) -> SweepExperiment:
        return SweepExperiment(
            self.base_experiment.with_params(task.overrides),
            name=f"{self.name}: {task.name}",
            search_space=self.search_space,
            optimizer=self.optimizer_for_task(task),
            scheduler=self.scheduler_for_task(task),
            metric_key=self.metric_key,
            goal=self.goal,
            seed=seed_of(self.seed, visit),
            warm_start=warm_start,
            budget=self.sweep_budget,
        )


def _checked_experiment(base: object) -> Experiment[Any]:
    checked = checked_base(base)
    if not isinstance(checked, Experiment):
        raise UsageError(
            f"base_experiment={base!r}: a curriculum needs an Experiment, whose parameters the tasks override"
        )
    return checked
