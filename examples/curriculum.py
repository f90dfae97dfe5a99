"""Curricula: an experiment whose stages run whole sweeps, one task after another, written by hand and ready-made.

    python examples/curriculum.py

The tasks tell apart two, five and ten kinds of handwritten digits. Corrected against the documents: what the loop's
condition reads (`current_stage`, `task_idx`) is declared, and the body advances it; a sweep's result is made the record
that the contract declares; a task that is not mastered is left when its patience is used up.
"""

from __future__ import annotations

from typing import NamedTuple

from metta.sweep.executors import LocalExecutor
from metta.sweep.experiments import Experiment, Pipeline, SweepExperiment, TrainingExperiment
from metta.sweep.experiments.curriculum.experiment import CurriculumExperiment
from metta.sweep.experiments.curriculum.schedulers import InterleaveScheduler
from metta.sweep.experiments.curriculum.tasks import Task
from metta.sweep.optimizers import Optimizer, RandomOptimizer
from metta.sweep.schedulers import ASHAScheduler, Scheduler, SynchronousBatchScheduler
from metta.sweep.space import LogUniform

TASKS = [
    Task("two", {"classes": 2}, mastery_threshold=0.97, patience=2),
    Task("five", {"classes": 5}, mastery_threshold=0.95, patience=2),
    Task("ten", {"classes": 10}, mastery_threshold=0.999, patience=2),  # out of reach in three epochs
]
SPACE = {"learning_rate": LogUniform(3e-3, 3e-2)}
WORKERS = LocalExecutor(max_workers=1)  # one for all sweeps


class TaskSelection(NamedTuple):
    """What the sweep of a task reads."""

    current_task: Task


class TaskResults(NamedTuple):
    """What the sweep of a task gives."""

    task_results: dict[str, float]


class Standing(NamedTuple):
    """Where the curriculum is after a sweep."""

    should_advance: bool
    current_stage: int
    attempts: int
    visited: list[str]


class HandmadeCurriculum(Experiment[str]):
    """Curriculum that orchestrates sweep experiments per task."""

    def pipeline(self) -> Pipeline:
        return (
            Pipeline()
            .stage("init", self.initialize_curriculum)
            .through(tasks=list[Task], current_stage=int, attempts=int, visited=list[str])
            .loop_while(lambda ctx: ctx.current_stage < len(ctx.tasks))
            .stage("select_task", self.select_next_task)
            .through(current_task=Task)
            .stage("run_sweep", self.execute_task_sweep)  # Nested experiment!
            .through(task_results=dict[str, float])
            .stage("evaluate", self.assess_mastery)
            .through(should_advance=bool, current_stage=int, attempts=int, visited=list[str])
            .end_loop()
            .stage("tell", self.tell)
            .through(str)
        )

    def initialize_curriculum(self) -> tuple[list[Task], int, int, list[str]]:
        """All tasks, none of them tried."""
        return TASKS, 0, 0, []

    def select_next_task(self, tasks: list[Task], current_stage: int) -> Task:
        """The one that is next in the list."""
        return tasks[current_stage]

    async def execute_task_sweep(self, input: TaskSelection) -> TaskResults:
        """Each curriculum stage runs a full sweep experiment."""
        sweep = SweepExperiment(
            TrainingExperiment(max_epochs=3).with_params(input.current_task.overrides),
            optimizer=self.optimizer_for_task(input.current_task),
            scheduler=self.scheduler_for_task(input.current_task),
            executor=WORKERS,
            seed=0,
        )
        results = await sweep.run(budget=3)  # Nested experiment execution
        return TaskResults(task_results={"best_score": results.best_score})

    def optimizer_for_task(self, task: Task) -> Optimizer:
        """The same for all."""
        return RandomOptimizer(SPACE)

    def scheduler_for_task(self, task: Task) -> Scheduler:
        """The same for all."""
        return SynchronousBatchScheduler(batch_size=3)

    def assess_mastery(
        self,
        current_task: Task,
        task_results: dict[str, float],
        current_stage: int,
        attempts: int,
        visited: list[str],
    ) -> Standing:
        """On to the next task when this one is mastered or out of patience."""
        tried = attempts + 1
        advance = task_results["best_score"] >= current_task.mastery_threshold or tried >= current_task.patience
        return Standing(advance, current_stage + advance, 0 if advance else tried, [*visited, current_task.name])

    def tell(self, visited: list[str]) -> str:
        """The tasks in the order they were visited."""
        return ", ".join(visited)


class ConciseCurriculum(Experiment[int]):
    """Curriculum that runs a sweep for each task; it stops at the first that is not mastered."""

    def pipeline(self) -> Pipeline:
        return (
            Pipeline()
            .stage("init", self.setup_curriculum)
            .through(tasks=list[Task], task_idx=int, should_advance=bool)
            .loop_while(lambda ctx: ctx.should_advance and ctx.task_idx < len(ctx.tasks))
            .stage("select_task", self.get_next_task)
            .through(current_task=Task)
            # This stage runs a complete sweep experiment!
            .stage("optimize_task", self.run_task_sweep)
            .through(task_results=dict[str, float])
            .stage("check_mastery", self.evaluate_progress)
            .through(should_advance=bool, task_idx=int)
            .end_loop()
            .stage("count", self.count)
            .through(int)
        )

    def setup_curriculum(self) -> tuple[list[Task], int, bool]:
        """All tasks, the first one next."""
        return TASKS, 0, True

    def get_next_task(self, tasks: list[Task], task_idx: int) -> Task:
        """The one that is next in the list."""
        return tasks[task_idx]

    async def run_task_sweep(self, input: TaskSelection) -> dict[str, float]:
        """Each task gets its own optimization."""
        sweep = SweepExperiment(
            TrainingExperiment().with_params(input.current_task.overrides),
            optimizer=self.create_optimizer_for_task(input.current_task),
            scheduler=ASHAScheduler(max_epochs=3, grace_period=1),
            executor=WORKERS,
            seed=0,
        )
        result = await sweep.run(budget=4)
        return {"best_score": result.best_score}

    def create_optimizer_for_task(self, task: Task) -> Optimizer:
        """The same for all."""
        return RandomOptimizer(SPACE)

    def evaluate_progress(self, current_task: Task, task_results: dict[str, float], task_idx: int) -> tuple[bool, int]:
        """Whether the task is mastered; then the next one is on."""
        mastered = task_results["best_score"] >= current_task.mastery_threshold
        return mastered, task_idx + mastered

    def count(self, task_idx: int) -> int:
        """Tasks that were mastered."""
        return task_idx


def main() -> None:
    """By hand, by hand in short, and ready-made: the easy tasks again in between, sweeps that start warm."""
    print(f"by hand: {HandmadeCurriculum().run().value}")
    print(f"in short: {ConciseCurriculum().run().value} of {len(TASKS)} tasks mastered")
    ready_made = CurriculumExperiment(
        TASKS,
        base_experiment=TrainingExperiment(max_epochs=3),
        scheduler=InterleaveScheduler(revisit_ratio=0.25),
        search_space=SPACE,
        optimizer=RandomOptimizer(),
        sweep_scheduler=SynchronousBatchScheduler(batch_size=3),
        sweep_budget=3,
        executor=WORKERS,
    )
    result = ready_made.run().value
    print(f"ready-made: {', '.join(result.order)}; mastered: {', '.join(result.mastered)}")
    print(f"mean of the best scores above 0.95: {result.final_performance > 0.95}")


if __name__ == "__main__":
    main()
