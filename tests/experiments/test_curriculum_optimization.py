"""Curricula that are compared, and curricula that evolve."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from metta.sweep.errors import UsageError
from metta.sweep.executors import LocalExecutor
from metta.sweep.experiments import SweepExperiment
from metta.sweep.experiments.curriculum.experiment import CurriculumResult
from metta.sweep.experiments.curriculum.optimization import (
    CurriculumOptimizationExperiment,
    Evolving,
    TaskSchedulerOptimization,
)
from metta.sweep.experiments.curriculum.schedulers import (
    AdaptiveScheduler,
    CurriculumScheduler,
    DifficultyRampScheduler,
    InterleaveScheduler,
    RandomScheduler,
)
from metta.sweep.experiments.curriculum.tasks import Progress, Task
from metta.sweep.schedulers import SynchronousBatchScheduler
from tests.experiments.curriculum_objectives import Peak, curriculum

TASKS = [Task("easy", {"steepness": 0.1}, patience=1), Task("hard", {"top": 0.5}, patience=3)]


@dataclass(frozen=True, repr=False)
class OnlyTheFirst(CurriculumScheduler):
    """A planted loser: it never turns to the second task."""

    def next_task(self, progress: Progress) -> int | None:
        return 0 if not progress.history else None


def one_worker() -> LocalExecutor:
    return LocalExecutor(max_workers=1)


def test_the_best_strategy_is_found_and_each_has_its_repeats(tmp_path: Path) -> None:
    strategies = [OnlyTheFirst(), DifficultyRampScheduler(), OnlyTheFirst(label="again")]
    search = TaskSchedulerOptimization(
        strategies,
        base=curriculum(tasks=TASKS, sweep_budget=2, executor=None, unreached_score=0.0),
        repeats=2,
        scheduler=SynchronousBatchScheduler(3),
        executor=one_worker,
        seed=1,
        store=tmp_path,
    )
    result = search.run()
    assert len(result.trials) == 3
    assert [trial.params["scheduler"] for trial in result.trials] == strategies
    assert all("score_std" in trial.reports[-1].metrics for trial in result.trials)
    assert search.best_strategy(result) == DifficultyRampScheduler()
    # easy once and hard three times, two trials each, two repeats
    assert result.best_trial.reports[-1].metrics["leaf_resource"] == 16
    assert not result.failures


def test_without_strategies_there_is_one_of_each_kind() -> None:
    search = TaskSchedulerOptimization(base=curriculum())
    space = search.search_space
    assert space is not None
    kinds = [RandomScheduler(), DifficultyRampScheduler(), InterleaveScheduler(), AdaptiveScheduler()]
    assert repr(space["scheduler"]) == f"Choice({kinds!r})"
    assert search.repeats == 3


def evolution(**changes: Any) -> CurriculumOptimizationExperiment:
    settings: dict[str, Any] = {
        "base": curriculum(tasks=TASKS, sweep_budget=1, executor=None, unreached_score=0.0),
        "population_size": 4,
        "generations": 3,
        "executor": one_worker,
        "seed": 4,
    }
    return CurriculumOptimizationExperiment(changes.pop("schedulers", None), **(settings | changes))


def test_it_evolves(tmp_path: Path) -> None:
    schedulers = [OnlyTheFirst(), DifficultyRampScheduler(), OnlyTheFirst(label="again")]
    result = evolution(schedulers=schedulers, switch_probability=0.0).run(store=tmp_path).value
    assert [len(each.population) for each in result.history] == [4, 4, 4]
    first, *later = result.history
    assert first.population[:3] == schedulers
    ids = [scheduler.id for each in result.history for scheduler in each.population]
    assert ids[3] == "OnlyTheFirst 0.3"
    # All come from the one survivor, which keeps its place and its performance.
    for each in later:
        assert {type(scheduler) for scheduler in each.population} == {DifficultyRampScheduler}
    assert later[0].population[0] == DifficultyRampScheduler()
    assert later[0].performances[0] == first.performances[1]
    # The survivor has one curriculum for all three generations.
    assert len(list(tmp_path.glob("runs/*/children/*"))) == 4 + 3 + 3
    best = [max(each.performances) for each in result.history]
    assert best == sorted(best)
    assert result.score == result.final_performance == best[-1]
    assert result.best_scheduler in later[-1].population


def test_without_a_store_nothing_below_it_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("METTA_SWEEP_HOME", str(tmp_path / "home"))
    assert evolution(generations=1).run(store=None).value.score > 0
    assert not (tmp_path / "home").exists()


def test_survivors_are_the_best_and_children_are_mutated() -> None:
    experiment = evolution(survivors=0.5)
    population = list(experiment.create_curriculum_population({}).population)
    after = experiment.evolve_curriculum_strategies(population, [0.1, 0.4, float("nan"), 0.2], 0, [])
    assert isinstance(after, Evolving)
    assert after.population[:2] == [population[1], population[3]]
    assert after.known == {population[1].id: 0.4, population[3].id: 0.2}
    assert [child.label.rpartition(" ")[2] for child in after.population[2:]] == ["1.2", "1.3"]
    assert after.generation == 1
    again = experiment.evolve_curriculum_strategies(population, [0.1, 0.4, float("nan"), 0.2], 0, [])
    assert again.population == after.population
    later = experiment.evolve_curriculum_strategies(population, [0.1, 0.4, 0.3, 0.2], 1, [])
    assert later.population[2:] != after.population[2:]


def test_a_curriculum_without_a_score_does_not_survive() -> None:
    experiment = evolution(survivors=0.75)
    population = list(experiment.create_curriculum_population({}).population)
    after = experiment.evolve_curriculum_strategies(population, [float("nan"), 0.1, float("-inf"), 0.2], 0, [])
    assert after.population[:3] == [population[3], population[1], population[0]]


def test_the_goal_is_that_of_the_curriculum() -> None:
    assert TaskSchedulerOptimization(base=curriculum(goal="minimize")).goal == "minimize"
    assert TaskSchedulerOptimization(base=curriculum()).goal == "maximize"


def test_a_sweep_over_curricula_that_evolve_goes_their_way() -> None:
    assert SweepExperiment(evolution(base=curriculum(goal="minimize"))).goal == "minimize"
    assert SweepExperiment(evolution()).goal == "maximize"


def test_minimizing_keeps_the_lowest() -> None:
    experiment = evolution(base=curriculum(goal="minimize"))
    population = list(experiment.create_curriculum_population({}).population)
    after = experiment.evolve_curriculum_strategies(population, [0.1, 0.4, 0.3, 0.2], 0, [])
    assert after.population[0] == population[0]


def test_a_mutation_may_turn_to_another_kind() -> None:
    experiment = evolution(switch_probability=1.0, survivors=0.0, population_size=30)
    population = list(experiment.create_curriculum_population({}).population)
    children = experiment.evolve_curriculum_strategies(population, [1.0] + [0.0] * 29, 0, []).population[1:]
    kinds = {type(child) for child in children}
    assert kinds == {DifficultyRampScheduler, InterleaveScheduler, AdaptiveScheduler}


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: evolution(population_size=3), r"population_size=3: there are 4 schedulers already"),
        (lambda: evolution(generations=0), r"generations=0: expected a whole number"),
        (lambda: evolution(survivors=2.0), r"survivors=2.0: expected a number from 0 to 1"),
        (lambda: evolution(schedulers=[]), r"schedulers=\[\]: expected a list of curriculum schedulers"),
        (lambda: evolution(schedulers=[OnlyTheFirst()] * 2), r"has 'OnlyTheFirst\(\)' twice"),
        (lambda: evolution(base=Peak()), r"expected a CurriculumExperiment"),
        (lambda: TaskSchedulerOptimization([RandomScheduler]), r"is a class: write strategies=RandomScheduler"),  # type: ignore[list-item]
    ],
)
def test_what_is_wrong_is_said(make: Callable[[], object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        make()


PROGRAM = """
import sys

from tests.experiments.test_curriculum_optimization import evolution

result = evolution(max_parallel=1).run(store="store", resume="resume" in sys.argv).value
print(result.history)
"""


def run(folder: Path, *arguments: str, fail_at: str = "") -> subprocess.CompletedProcess[str]:
    (folder / "evolving.py").write_text(PROGRAM)
    environment = {**os.environ, "METTA_SWEEP_FAIL_AT": fail_at, "PYTHONPATH": str(Path(__file__).parents[2])}
    command = [sys.executable, "evolving.py", *arguments]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


def test_it_is_killed_and_goes_on_where_it_was(tmp_path: Path) -> None:
    killed = run(tmp_path, fail_at="sweep.committed:40")
    assert killed.returncode == -9, killed.stderr
    resumed = run(tmp_path, "resume")
    assert resumed.returncode == 0, resumed.stderr
    whole = evolution().run(store=None).value
    assert resumed.stdout == f"{whole.history}\n"


def test_a_curriculum_gives_a_result_that_is_typed() -> None:
    result: CurriculumResult = curriculum(tasks=TASKS[:1], sweep_budget=1).run(store=None).value
    assert result.order == ("easy",)


def test_a_sweep_tunes_the_order_of_a_curriculum() -> None:
    base = curriculum(tasks=TASKS, sweep_budget=1, executor=None, scheduler=InterleaveScheduler())
    sweep = SweepExperiment(base, scheduler=SynchronousBatchScheduler(2), executor=one_worker, seed=1, store=None)
    result = sweep.run(budget=2)
    assert not result.failures
    assert set(result.best_params) == {"scheduler.patience_factor", "scheduler.revisit_ratio"}
    assert base.with_params(result.best_params).run(store=None).final_performance == result.best_score
