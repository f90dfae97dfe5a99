"""Curricula that are optimized: which order of the tasks serves best, and orders that evolve.

    python examples/curriculum_sweeps.py

Every trial of the searches below is a whole curriculum, which runs a sweep per task; only the trainings take workers.
Corrected against the documents: `generation`, which the loop's condition reads, is declared and the body advances it;
results are returned, not written into the context; `evolved_population` is computed; and 50 generations are 2. The
ready-made `CurriculumOptimizationExperiment` does the same, with evaluations side by side and survivors that keep
their results.
"""

from __future__ import annotations

from dataclasses import replace
from random import Random
from typing import NamedTuple

from metta.sweep.executors import LocalExecutor
from metta.sweep.experiments import Experiment, Pipeline, TrainingExperiment
from metta.sweep.experiments.curriculum.experiment import CurriculumExperiment
from metta.sweep.experiments.curriculum.optimization import (
    CurriculumOptimizationExperiment,
    TaskSchedulerOptimization,
)
from metta.sweep.experiments.curriculum.schedulers import (
    AdaptiveScheduler,
    CurriculumScheduler,
    DifficultyRampScheduler,
    InterleaveScheduler,
    RandomScheduler,
)
from metta.sweep.experiments.curriculum.tasks import Task
from metta.sweep.optimizers import RandomOptimizer
from metta.sweep.schedulers import SynchronousBatchScheduler
from metta.sweep.space import LogUniform

WORKERS = LocalExecutor(max_workers=1)  # one for all sweeps of all curricula
CURRICULUM = CurriculumExperiment(
    [Task("two", {"classes": 2}, 0.97, patience=1), Task("ten", {"classes": 10}, 0.999, patience=2)],
    base_experiment=TrainingExperiment(max_epochs=1),
    search_space={"learning_rate": LogUniform(1e-3, 3e-2)},
    optimizer=RandomOptimizer(),
    sweep_scheduler=SynchronousBatchScheduler(batch_size=2),
    sweep_budget=2,
)


class Evolved(NamedTuple):
    """The next generation."""

    population: list[CurriculumScheduler]
    generation: int


class HandmadeEvolution(Experiment[int]):
    """Use PBT to evolve curriculum schedulers."""

    def pipeline(self) -> Pipeline:
        return (
            Pipeline()
            .stage("init_population", self.create_curriculum_population)
            .through(population=list[CurriculumScheduler], generation=int)
            .loop_while(lambda ctx: ctx.generation < 2)
            .stage("evaluate_curricula", self.run_curriculum_experiments)
            .through(curriculum_results=dict[str, float])
            .stage("evolve", self.evolve_curriculum_strategies)
            .through(population=list[CurriculumScheduler], generation=int)
            .end_loop()
            .stage("count", self.count)
            .through(int)
        )

    def create_curriculum_population(self) -> Evolved:
        """The first generation."""
        return Evolved([DifficultyRampScheduler(), RandomScheduler()], 0)

    async def run_curriculum_experiments(self, population: list[CurriculumScheduler]) -> dict[str, float]:
        """Each curriculum scheduler is itself an experiment."""
        curriculum_results: dict[str, float] = {}
        for scheduler in population:
            # Each scheduler determines a different task sequence
            curriculum_exp = CurriculumExperiment(
                CURRICULUM.tasks,
                scheduler=scheduler,
                base_experiment=TrainingExperiment(max_epochs=1),
                optimizer=RandomOptimizer(),
                sweep_scheduler=SynchronousBatchScheduler(batch_size=2),
                sweep_budget=2,
                executor=WORKERS,
            )
            result = await curriculum_exp.run()
            curriculum_results[scheduler.id] = result.final_performance
        return curriculum_results

    def evolve_curriculum_strategies(
        self, population: list[CurriculumScheduler], curriculum_results: dict[str, float], generation: int
    ) -> Evolved:
        """Evolve the scheduling strategies themselves."""
        # Top performing curricula reproduce with mutations
        # Task sequences, progression criteria, difficulty ramping all evolve
        best = max(population, key=lambda scheduler: curriculum_results[scheduler.id])
        child = replace(best.mutated(Random(generation)), label=f"child {generation}")
        return Evolved([best, child], generation + 1)

    def count(self, population: list[CurriculumScheduler]) -> int:
        """How many there are in the end."""
        return len(population)


def main() -> None:
    """Compare the four kinds, evolve by hand, evolve ready-made."""
    search = TaskSchedulerOptimization(
        strategies=[
            RandomScheduler(),
            DifficultyRampScheduler(),
            InterleaveScheduler(),
            AdaptiveScheduler(),
        ],
        base=CURRICULUM,
        repeats=1,
        executor=WORKERS,
        seed=0,
    )
    result = search.run()
    compared = [trial.params["scheduler"].name for trial in result.trials]
    print(f"compared: {', '.join(compared)}")
    print(f"the best is one of them: {search.best_strategy(result).name in compared}")

    print(f"evolved by hand: {HandmadeEvolution().run().value} schedulers")

    evolution = CurriculumOptimizationExperiment(
        base=CURRICULUM, population_size=4, generations=2, executor=WORKERS, seed=0
    )
    evolved = evolution.run().value
    first, second = (max(generation.performances) for generation in evolved.history)
    print(f"evolved ready-made: the best of the second generation is no worse: {second >= first}")


if __name__ == "__main__":
    main()
