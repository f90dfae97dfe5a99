"""CurriculumExperiment: tasks, order, warm start, result, store; killed and resumed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, assert_type

import pytest

from metta.sweep.errors import RefusedError, UsageError
from metta.sweep.executors import LocalExecutor
from metta.sweep.experiments import Run, SweepExperiment
from metta.sweep.experiments.base import numbers_in
from metta.sweep.experiments.curriculum.experiment import DIGITS_RAMP, CurriculumExperiment, CurriculumResult
from metta.sweep.experiments.curriculum.schedulers import InterleaveScheduler, RandomScheduler
from metta.sweep.experiments.curriculum.tasks import Progress, Task
from metta.sweep.optimizers import Optimizer, RandomOptimizer
from metta.sweep.schedulers import SynchronousBatchScheduler
from metta.sweep.schedulers.base import Scheduler
from metta.sweep.space import Integer, Uniform
from metta.sweep.store.entries import Event
from metta.sweep.store.run import Run as StoredRun
from metta.sweep.trial import Observation, Trial
from tests.experiments.curriculum_objectives import TASKS, Peak, curriculum


@pytest.fixture(scope="module")
def finished() -> CurriculumResult:
    return curriculum().run(store=None).value


def test_it_visits_the_tasks_and_tells_how_each_ended(finished: CurriculumResult) -> None:
    assert [task.name for task in finished.tasks] == ["easy", "middle", "hard"]
    assert finished.order[0] == "easy"
    assert finished.order.count("hard") == 2
    assert finished.mastered == ("easy", "middle")[: len(finished.mastered)]
    assert set(finished.best_params) == {"easy", "middle", "hard"}
    for task in finished.tasks:
        visits = [visit for visit in finished.visits if finished.tasks[visit.task] == task]
        assert task.scores == tuple(visit.score for visit in visits)
    hard = Peak().with_params({**TASKS[2].overrides, **finished.best_params["hard"]})
    assert hard.measure() == finished.tasks[2].best


def test_the_score_is_the_mean_of_the_tasks_best(finished: CurriculumResult) -> None:
    best = [max(task.scores) for task in finished.tasks]
    assert finished.score == pytest.approx(sum(best) / 3)
    assert finished.final_performance == finished.score
    assert numbers_in(finished) == {"score": finished.score}
    lines = str(finished).splitlines()
    assert lines[0].startswith("easy    best ")
    assert lines[0].endswith("in 1 sweep(s), mastered")
    assert lines[-1] == f"final performance {finished.score:.4g} after {len(finished.visits)} sweep(s)"


def test_a_run_is_the_same_again_and_forwards_its_attributes(finished: CurriculumResult) -> None:
    run = curriculum().run(store=None)
    assert_type(run, Run[CurriculumResult])
    assert run.final_performance == finished.final_performance
    assert run.value == finished


def test_tasks_that_were_not_reached_count_as_the_worst() -> None:
    assert curriculum(max_visits=1).run(store=None).value.score == float("-inf")
    result = curriculum(max_visits=1, unreached_score=0.0).run(store=None).value
    assert result.order == ("easy",)
    assert result.tasks[2].best is None
    assert result.score == pytest.approx(max(result.tasks[0].scores) / 3)
    assert "hard    not visited" in str(result)


def test_minimizing() -> None:
    class Distance(Peak):
        def measure(self) -> float:
            return self.steepness * abs(self.x - 0.3)

    tasks = [Task("near", mastery_threshold=0.4), Task("exact", mastery_threshold=0.0, patience=1)]
    minimizing = curriculum(tasks=tasks, base_experiment=Distance, goal="minimize")
    assert minimizing.unreached_score == float("inf")
    result = minimizing.run(store=None).value
    assert result.mastered == ("near",)
    assert result.tasks[1].best == min(result.tasks[1].scores)


def test_without_a_goal_it_goes_the_way_of_its_base() -> None:
    lower = SweepExperiment(Peak, search_space={"x": Uniform(0.0, 1.0)}, goal="minimize")
    tasks = [Task("only", {"base_experiment.steepness": 2.0})]
    minimizing = CurriculumExperiment(tasks, base_experiment=lower)
    assert (minimizing.goal, minimizing.unreached_score) == ("minimize", float("inf"))
    assert CurriculumExperiment(tasks, base_experiment=lower, goal="maximize").goal == "maximize"
    assert curriculum().goal == "maximize"


def test_what_a_sweep_has_observed_is_stored_once(tmp_path: Path) -> None:
    def stored(visits: int) -> int:
        tasks = [Task("only", mastery_threshold=2.0, patience=visits)]
        store = tmp_path / str(visits)
        run = curriculum(tasks=tasks).run(store=store)
        assert len(run.value.visits) == visits
        inline = sum(len(json.dumps(event.data)) for event in events_of(store))
        return inline + sum(path.stat().st_size for path in store.glob("runs/*/artifacts/**/*") if path.is_file())

    def events_of(store: Path) -> Iterator[Event]:
        with StoredRun.open(next(store.glob("runs/*")), write=False) as run:
            yield from run.journal.events(kinds={"stage.done"})

    few, many, most = stored(2), stored(6), stored(10)
    assert most - many < 1.25 * (many - few)


class Recording(CurriculumExperiment):
    """Notes what its sweeps start warm from."""

    started: list[tuple[str, list[Observation]]]

    def __init__(self, *args: Any, **keywords: Any) -> None:
        self.started = []
        super().__init__(*args, **keywords)

    def observations_for_task(
        self, task: Task, progress: Progress, known: Sequence[Sequence[Observation]]
    ) -> Sequence[Observation]:
        found = super().observations_for_task(task, progress, known)
        self.started.append((task.name, list(found)))
        return found


def recording(**changes: Any) -> Recording:
    return Recording(
        [Task("a", patience=2), Task("b", patience=2)],
        base_experiment=Peak().with_params({"top": 0.0}),
        optimizer=RandomOptimizer(),
        sweep_scheduler=SynchronousBatchScheduler(2),
        sweep_budget=2,
        **changes,
    )


def test_a_sweep_starts_from_its_own_task_else_from_the_sweep_before() -> None:
    warm = recording()
    result = warm.run(store=None).value
    assert result.order == ("a", "a", "b", "b")
    assert [(name, len(found)) for name, found in warm.started] == [("a", 0), ("a", 2), ("b", 2), ("b", 2)]
    first_a, second_a, first_b, second_b = (found for _, found in warm.started)
    assert [known.result for known in second_a] != [known.result for known in first_b]
    best = {"a": result.visits[0].score, "b": result.visits[2].score}
    assert max(float(known.result) for known in second_a) == best["a"]
    assert max(float(known.result) for known in second_b) == best["b"]
    assert all(isinstance(known.trial, Trial) and known.trial.state.is_finished for known in second_b)
    assert not first_a


class Heard(RandomOptimizer):
    """Suggests the best that it was told, a little shifted."""

    def __init__(self) -> None:
        super().__init__()
        self.best: tuple[float, float] | None = None

    def suggest(self, n: int) -> list[Trial]:
        if self.best is None:
            return [Trial({"x": 0.9}) for _ in range(n)]
        return [Trial({"x": self.best[1] - 0.1}) for _ in range(n)]

    def observe(self, trial: Trial, result: Any) -> None:
        self.best = max(self.best or (float("-inf"), 0.0), (float(result), trial.params["x"]))


@pytest.mark.parametrize(("warm_start", "expected"), [(True, [0.9, 0.8, 0.7]), (False, [0.9, 0.9, 0.9])])
def test_the_optimizer_hears_what_the_earlier_sweeps_have_found(warm_start: bool, expected: list[float]) -> None:
    tasks = [Task(name, patience=1) for name in "abc"]
    result = curriculum(tasks=tasks, optimizer=Heard(), sweep_budget=1, warm_start=warm_start).run(store=None).value
    assert [visit.params["x"] for visit in result.visits] == pytest.approx(expected)


class ByTask(CurriculumExperiment):
    def optimizer_for_task(self, task: Task) -> Optimizer:
        return RandomOptimizer(initial_params=[{"x": 0.25 if task.name == "a" else 0.75}])

    def scheduler_for_task(self, task: Task) -> Scheduler:
        return SynchronousBatchScheduler(1)


def test_optimizer_and_scheduler_may_depend_on_the_task() -> None:
    tasks = [Task(name, patience=1) for name in "ab"]
    result = ByTask(tasks, base_experiment=Peak, sweep_budget=1).run(store=None).value
    assert [visit.params["x"] for visit in result.visits] == [0.25, 0.75]


def test_the_scheduler_takes_the_seed_of_the_curriculum() -> None:
    progress = Progress.of(TASKS)
    picks = [curriculum(scheduler=RandomScheduler(), seed=seed).next_task(progress) for seed in range(20)]
    assert picks == [RandomScheduler(seed=seed).next_task(progress) for seed in range(20)]
    assert curriculum(scheduler=RandomScheduler(seed=3), seed=9).next_task(progress) == picks[3]


def test_the_settings_of_the_scheduler_are_tunable() -> None:
    one = curriculum(scheduler=InterleaveScheduler())
    assert set(one.tunables()) == {"scheduler.patience_factor", "scheduler.revisit_ratio"}
    changed = one.with_params({"scheduler.revisit_ratio": 0.5})
    assert changed.scheduler == InterleaveScheduler(revisit_ratio=0.5)
    assert one.scheduler == InterleaveScheduler()


def test_its_sweeps_share_one_executor(finished: CurriculumResult) -> None:
    opened: list[LocalExecutor] = []

    def executor() -> LocalExecutor:
        opened.append(LocalExecutor(max_workers=1))
        return opened[-1]

    assert curriculum(executor=executor).run(store=None).value == finished
    assert len(opened) == 1


def test_it_is_drawn_as_a_loop() -> None:
    drawn = curriculum().pipeline().compile().to_mermaid()
    for stage in ("init", "select_task", "run_sweep", "evaluate", "conclude"):
        assert stage in drawn


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"tasks": [Task("a", {"stepness": 1})]}, r"no parameter 'stepness'.*did you mean 'steepness'"),
        ({"tasks": None}, r"the default tasks need a TrainingExperiment"),
        ({"base_experiment": lambda trial: 0.0}, r"a curriculum needs an Experiment"),
        ({"scheduler": RandomScheduler}, r"scheduler=RandomScheduler is a class: write scheduler=RandomScheduler"),
        ({"goal": "maximise"}, r"goal='maximise': expected \"maximize\""),
        ({"max_visits": 0}, r"max_visits=0: expected a whole number, at least 1"),
        ({"search_space": {"y": Integer(1, 2)}}, r"no parameter 'y'"),
        ({"sweep_budget": 0}, r"trials"),
        ({"seed": -1}, r"seed=-1"),
    ],
)
def test_what_is_wrong_is_said_before_anything_runs(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        curriculum(**changes)


def test_a_scheduler_that_names_no_task_is_told_so() -> None:
    class Wrong(RandomScheduler):
        def next_task(self, progress: Progress) -> int | None:
            return 3

    with pytest.raises(UsageError, match=r"Wrong.next_task gave 3: expected the number of one of 3 tasks"):
        _ = curriculum(scheduler=Wrong()).run(store=None).value


def test_other_tasks_are_no_resume(tmp_path: Path) -> None:
    class Interrupted(CurriculumExperiment):
        def conclude(self, progress: Progress) -> CurriculumResult:
            raise InterruptedError

    one, other = (
        Interrupted([Task("a", mastery_threshold=mastery, patience=1)], base_experiment=Peak, sweep_budget=1)
        for mastery in (0.5, 0.6)
    )
    with pytest.raises(InterruptedError):
        _ = one.run(store=tmp_path).value
    with pytest.raises(RefusedError, match=r'stage "init" has changed'):
        _ = other.run(store=tmp_path, resume=True).value


def test_the_default_tasks_are_a_ramp_over_the_digits() -> None:
    pytest.importorskip("torch")
    default = CurriculumExperiment()
    assert [task.name for task in default.tasks] == [task.name for task in DIGITS_RAMP]
    assert [task.difficulty for task in default.tasks] == [0.0, 1.0, 2.0, 3.0]
    small = CurriculumExperiment(
        [replace(DIGITS_RAMP[1], patience=1)],
        optimizer=RandomOptimizer(initial_params=[{"trainer.learning_rate": 0.01}]),
        sweep_scheduler=SynchronousBatchScheduler(1, max_resource=2),
        sweep_budget=1,
        executor=lambda: LocalExecutor(max_workers=1),
    )
    result = small.run(store=None).value
    assert result.order == ("five digits",)
    assert 0.8 < result.score <= 1.0


PROGRAM = """
import sys
from pathlib import Path

from tests.experiments.curriculum_objectives import Peak, curriculum


class Noted(Peak):
    def measure(self) -> float:
        with Path("trained").open("a") as notes:
            notes.write("x\\n")
        return super().measure()


print(curriculum(base_experiment=Noted).run(store="store", resume="resume" in sys.argv).value)
"""


def run(folder: Path, *arguments: str, fail_at: str = "") -> subprocess.CompletedProcess[str]:
    root = Path(__file__).parents[2]
    environment = {**os.environ, "METTA_SWEEP_FAIL_AT": fail_at, "PYTHONPATH": str(root)}
    return subprocess.run(
        [sys.executable, "curriculum_script.py", *arguments],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("fail_at", ["sweep.committed:9", "stage.called:7"])
def test_it_is_killed_and_goes_on_where_it_was(fail_at: str, tmp_path: Path, finished: CurriculumResult) -> None:
    (tmp_path / "curriculum_script.py").write_text(PROGRAM)
    killed = run(tmp_path, fail_at=fail_at)
    assert killed.returncode == -9, killed.stderr
    before = (tmp_path / "trained").read_text().count("x")
    trials = 4 * len(finished.visits)
    assert 0 < before < trials
    resumed = run(tmp_path, "resume")
    assert resumed.returncode == 0, resumed.stderr
    assert resumed.stdout == f"{finished}\n"
    # One worker: at most what it was doing when the driver died is done again.
    assert (tmp_path / "trained").read_text().count("x") - trials <= 1
