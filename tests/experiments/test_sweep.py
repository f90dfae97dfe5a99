"""Sweeps with real worker processes: every optimizer x scheduler, failures, budgets, resuming, contexts."""

from __future__ import annotations

import asyncio
import math
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from metta.sweep.errors import MissingExtraError, RunError, UsageError
from metta.sweep.executors.local import LocalExecutor
from metta.sweep.experiments import Budget, Pipeline, SweepExperiment, SweepResult, TrainingExperiment
from metta.sweep.optimizers import OptunaOptimizer, RandomOptimizer
from metta.sweep.optimizers.base import Optimizer
from metta.sweep.report.events import (
    SweepEnded,
    SweepEvent,
    SweepStarted,
    TrialEnded,
    TrialPaused,
    TrialReported,
    TrialStarted,
)
from metta.sweep.schedulers import ASHAScheduler, AsynchronousScheduler, SynchronousBatchScheduler
from metta.sweep.schedulers.base import Scheduler
from metta.sweep.space import LogUniform, Uniform
from metta.sweep.trial import FailureReason, Resources, Trial, TrialState

SPACE = {"x": Uniform(0.0, 1.0), "y": LogUniform(1e-3, 1.0)}

OPTIMIZERS: dict[str, Callable[[], Optimizer]] = {
    "random": RandomOptimizer,
    "optuna": lambda: OptunaOptimizer(sampler="TPE", n_startup_trials=4),
}
SCHEDULERS: dict[str, Callable[[], Scheduler]] = {
    "batch": lambda: SynchronousBatchScheduler(batch_size=4, max_resource=4),
    "async": lambda: AsynchronousScheduler(max_resource=4),
    "asha": lambda: ASHAScheduler(max_epochs=4, grace_period=1, reduction_factor=2),
    "asha-stopping": lambda: ASHAScheduler(max_epochs=4, grace_period=1, reduction_factor=2, mode="stopping"),
}


@pytest.fixture(scope="module")
def executor() -> Iterator[LocalExecutor]:
    with LocalExecutor(max_workers=2) as executor:
        yield executor


@pytest.fixture(scope="module")
def one_worker() -> Iterator[LocalExecutor]:
    with LocalExecutor(max_workers=1) as executor:
        yield executor


def curve(trial: Trial) -> Iterator[dict[str, float]]:
    """A learning curve that is best at x = 0.3 and small y; it saves, so that it can go on."""
    state = trial.load() or {"step": 0}
    for step in range(state["step"] + 1, 5):
        trial.save({"step": step})
        yield {"score": step * (1 - (trial.params["x"] - 0.3) ** 2 - trial.params["y"])}


def forgetful(trial: Trial) -> Iterator[float]:
    """The same without saving."""
    for step in range(1, 5):
        yield step * (1 - (trial.params["x"] - 0.3) ** 2)


def per_grant(trial: Trial) -> float:
    """A plain function: called once per grant."""
    return float(trial.resource * (1 - (trial.params["x"] - 0.3) ** 2))


def by_hand(trial: Trial) -> None:
    """A plain function with its own epochs."""
    done = trial.load() or 0
    for step in range(done + 1, (trial.resource or 4) + 1):
        trial.save(step)
        trial.report({"score": step * trial.params["x"]})
        if trial.should_stop():
            return


def deaf(trial: Trial) -> None:
    """Reports for ever and never asks whether it should stop."""
    for step in range(1, 1_000_000):
        trial.report({"score": trial.params["x"]}, step=step)
        time.sleep(0.005)


async def asynchronous(trial: Trial) -> float:
    await asyncio.sleep(0)
    return float(trial.params["x"])


def troubled(trial: Trial) -> float:
    """One trial in every way to fail, by its number; the rest are fine."""
    match trial.id:
        case 1:
            raise ValueError("no such layer")
        case 2:
            os.kill(os.getpid(), signal.SIGKILL)
        case 3:
            return math.nan
        case 4:
            return {"accuracy": 0.5}  # type: ignore[return-value]
        case 5:
            return None  # type: ignore[return-value]
        case 6:
            return "great"  # type: ignore[return-value]
    return float(trial.params["x"])


def endless(trial: Trial) -> Iterator[float]:
    while True:
        time.sleep(0.01)
        yield trial.params["x"]


def sweep(objective: Any = curve, **arguments: Any) -> SweepExperiment:
    return SweepExperiment(objective, **{"search_space": SPACE, "seed": 7, **arguments})


def table(result: SweepResult) -> list[dict[str, Any]]:
    """The trials without what depends on the clock."""
    return [{**trial.to_json(), "cost": None} for trial in result.trials]


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("scheduler", SCHEDULERS)
def test_every_optimizer_with_every_scheduler(optimizer: str, scheduler: str, executor: LocalExecutor) -> None:
    result = sweep(optimizer=OPTIMIZERS[optimizer](), scheduler=SCHEDULERS[scheduler](), executor=executor).run(
        budget=12
    )
    assert len(result.trials) == 12
    assert [trial.id for trial in result.trials] == list(range(12))
    assert {trial.state for trial in result.trials} <= {TrialState.COMPLETED, TrialState.PRUNED}
    assert result.best_trial.step == 4
    assert result.best_score == max(row["score"] for row in result.rows() if row["step"] == 4)
    assert result.recomputed == 0
    for trial in result.trials:
        assert [report.step for report in trial.reports] == list(range(1, trial.step + 1))
    if scheduler.startswith("asha"):
        assert min(trial.step for trial in result.trials) < 4
    else:
        assert all(trial.step == 4 for trial in result.trials)


@pytest.mark.parametrize("scheduler", SCHEDULERS)
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_one_worker_and_a_seed_repeat_the_whole_table(
    optimizer: str, scheduler: str, one_worker: LocalExecutor
) -> None:
    def run(seed: int) -> list[dict[str, Any]]:
        return table(
            sweep(
                optimizer=OPTIMIZERS[optimizer](),
                scheduler=SCHEDULERS[scheduler](),
                executor=one_worker,
                seed=seed,
            ).run(budget=8)
        )

    assert run(1) == run(1)
    assert run(1) != run(2)


def test_batches_repeat_with_two_workers_and_random_speeds(executor: LocalExecutor) -> None:
    def uneven(trial: Trial) -> float:
        time.sleep(os.urandom(1)[0] / 255 * 0.03)
        return float(trial.params["x"])

    def run() -> list[dict[str, Any]]:
        experiment = sweep(
            uneven,
            optimizer=OptunaOptimizer(sampler="TPE", n_startup_trials=4),
            scheduler=SynchronousBatchScheduler(batch_size=6),
            executor=executor,
        )
        return table(experiment.run(budget=18))

    assert run() == run()


@pytest.mark.parametrize("scheduler", ["asha", "asha-stopping"])
def test_a_plain_function_is_called_once_per_grant(scheduler: str, executor: LocalExecutor) -> None:
    result = sweep(per_grant, scheduler=SCHEDULERS[scheduler](), executor=executor).run(budget=10)
    assert max(trial.step for trial in result.trials) == 4
    for trial in result.trials:
        assert [report.step for report in trial.reports] == [1, 2, 4][: len(trial.reports)]
        assert trial.score == pytest.approx(trial.step * (1 - (trial.params["x"] - 0.3) ** 2))


@pytest.mark.parametrize("scheduler", SCHEDULERS)
def test_a_plain_function_with_its_own_epochs(scheduler: str, executor: LocalExecutor) -> None:
    result = sweep(by_hand, scheduler=SCHEDULERS[scheduler](), executor=executor).run(budget=8)
    assert result.recomputed == 0
    assert not result.failures
    for trial in result.trials:
        assert trial.score == pytest.approx(trial.step * trial.params["x"])
        assert [report.step for report in trial.reports] == list(range(1, trial.step + 1))


def test_without_saved_state_a_promoted_trial_starts_again_and_the_result_says_so(
    executor: LocalExecutor,
) -> None:
    result = sweep(forgetful, scheduler=SCHEDULERS["asha"](), executor=executor).run(budget=6)
    promoted_to_2 = sum(trial.step >= 2 for trial in result.trials)
    promoted_to_4 = sum(trial.step == 4 for trial in result.trials)
    assert result.recomputed == promoted_to_2 + 2 * promoted_to_4 > 0
    assert f"{result.recomputed} of them again, no state was saved" in str(result)
    for trial in result.trials:
        assert [report.step for report in trial.reports] == list(range(1, trial.step + 1))


def test_a_function_that_never_asks_is_ended(executor: LocalExecutor) -> None:
    result = sweep(deaf, scheduler=AsynchronousScheduler(max_resource=3), executor=executor).run(budget=3)
    assert [trial.state for trial in result.trials] == [TrialState.COMPLETED] * 3
    assert [trial.step for trial in result.trials] == [3, 3, 3]


def test_an_async_objective(executor: LocalExecutor) -> None:
    result = sweep(asynchronous, executor=executor).run(budget=3)
    assert [trial.score for trial in result.trials] == [trial.params["x"] for trial in result.trials]


@pytest.mark.parametrize("scheduler", ["batch", "async", "asha"])
def test_every_way_to_fail_is_told_by_its_reason(scheduler: str, executor: LocalExecutor) -> None:
    result = sweep(troubled, scheduler=SCHEDULERS[scheduler](), executor=executor).run(budget=10)
    assert len(result.trials) == 10
    why = {
        trial.id: (trial.failure.reason, trial.failure.message) for trial in result.trials if trial.failure is not None
    }
    assert why[1] == (FailureReason.USER_ERROR, "ValueError: no such layer")
    assert why[2][0] is FailureReason.KILLED
    assert "'score' was not reported; reported: 'accuracy'" in why[4][1]
    assert "the objective reported nothing and returned None" in why[5][1]
    assert "expected a number" in why[6][1]
    if scheduler == "asha":  # a score that is not a number is the worst: never promoted
        assert result.trials[3].state is TrialState.PRUNED
    else:
        assert why[3] == (FailureReason.USER_ERROR, "its last score is not finite: nan")
    assert set(why) <= {1, 2, 3, 4, 5, 6}
    assert {reason: len(trials) for reason, trials in result.failures.items()} == {
        FailureReason.USER_ERROR: len(why) - 1,
        FailureReason.KILLED: 1,
    }
    assert result.best_trial.id in {0, 7, 8, 9}
    text = str(result)
    assert "1 failed (killed), trial 2" in text
    assert "failed (user_error), last trial 6: " in text


def test_a_failed_trial_keeps_the_users_traceback(executor: LocalExecutor) -> None:
    result = sweep(troubled, executor=executor).run(budget=2)
    failure = result.trials[1].failure
    assert failure is not None
    assert 'raise ValueError("no such layer")' in failure.traceback


def test_a_sweep_without_any_score_says_why(executor: LocalExecutor) -> None:
    def broken(trial: Trial) -> float:
        raise RuntimeError("out of cheese")

    result = sweep(broken, executor=executor).run(budget=3)
    with pytest.raises(RunError, match=r"no trial with a score: 3 failed .* last trial 2: .*out of cheese"):
        _ = result.best_score


def test_a_missing_cost_fails_the_trial(executor: LocalExecutor) -> None:
    result = sweep(curve, cost_key="dollars", executor=executor).run(budget=1)
    failure = result.trials[0].failure
    assert failure is not None
    assert "the cost 'dollars' was not reported; reported: 'score'" in failure.message


def test_cost_and_budget_of_cost(executor: LocalExecutor) -> None:
    def paid(trial: Trial) -> dict[str, float]:
        return {"score": trial.params["x"], "dollars": 2.0}

    result = sweep(paid, cost_key="dollars", executor=executor).run(budget=Budget(cost=6.0))
    finished = [trial for trial in result.trials if trial.state is TrialState.COMPLETED]
    assert [trial.cost for trial in finished] == [2.0] * 3
    assert "cost budget of 6" in result.ended


def test_a_time_budget_stops_what_runs(executor: LocalExecutor) -> None:
    result = sweep(endless, executor=executor).run(budget=Budget(seconds=0.5))
    assert {trial.state for trial in result.trials} == {TrialState.CANCELLED}
    assert "time budget of 0.5 s" in result.ended
    assert result.best_trial.score == result.best_trial.params["x"]  # a cancelled trial keeps its score


def test_target_patience_and_resource(executor: LocalExecutor) -> None:
    good = sweep(asynchronous, executor=executor).run(budget=Budget(target_score=0.5))
    assert good.best_score >= 0.5
    assert "target score 0.5 was reached" in good.ended
    patient = sweep(asynchronous, executor=executor, seed=1).run(budget=Budget(patience=4))
    assert "4 results in a row were no better" in patient.ended
    assert len(patient.trials) >= 5
    limited = sweep(curve, executor=executor).run(budget=Budget(resource=10))
    assert sum(trial.step for trial in limited.trials) == 10
    assert "resource budget of 10" in limited.ended


def test_minimizing(executor: LocalExecutor) -> None:
    result = sweep(asynchronous, goal="minimize", executor=executor).run(budget=5)
    assert result.best_score == min(trial.params["x"] for trial in result.trials)


def test_several_objectives_have_a_ranking_and_no_best(executor: LocalExecutor) -> None:
    def two(trial: Trial) -> dict[str, float]:
        return {"gain": trial.params["x"], "loss": trial.params["x"]}

    result = sweep(two, goal={"gain": "maximize", "loss": "minimize"}, executor=executor).run(budget=4)
    assert len(result.ranking) == 4
    with pytest.raises(UsageError, match=r"several objectives \(gain, loss\) have no best trial"):
        _ = result.best_trial
    with pytest.raises(UsageError, match="single objective"):
        sweep(two, goal={"gain": "maximize", "loss": "minimize"}).run(budget=Budget(patience=3))


def test_run_is_right_in_async_code_and_in_a_running_loop(executor: LocalExecutor) -> None:
    async def awaited() -> float:
        result = await sweep(asynchronous, executor=executor).run(budget=2)
        return result.best_score

    async def notebook_cell() -> float:
        result = sweep(asynchronous, executor=executor).run(budget=2)
        return result.best_score

    plain = sweep(asynchronous, executor=executor).run(budget=2).best_score
    assert asyncio.run(awaited()) == asyncio.run(notebook_cell()) == plain


def test_sweeps_run_side_by_side_on_one_executor(executor: LocalExecutor) -> None:
    results = [sweep(curve, name=f"s{n}", executor=executor, seed=n).run(budget=4) for n in range(3)]
    assert [len(result.trials) for result in results] == [4, 4, 4]


def test_one_optimizer_object_serves_many_sweeps(one_worker: LocalExecutor) -> None:
    optimizer = RandomOptimizer(SPACE, seed=3)
    experiment = SweepExperiment(asynchronous, optimizer=optimizer, executor=one_worker)
    first, second = experiment.run(budget=3), experiment.run(budget=3)
    assert [trial.params["x"] for trial in first.trials] == [trial.params["x"] for trial in second.trials]


def test_the_events_tell_the_whole_story(executor: LocalExecutor) -> None:
    events: list[SweepEvent] = []
    result = sweep(scheduler=SCHEDULERS["asha"](), executor=executor).run(budget=6, progress=events.append)
    assert result.best_score > 0
    assert isinstance(events[0], SweepStarted)
    assert isinstance(events[-1], SweepEnded)
    started = [event for event in events if isinstance(event, TrialStarted)]
    assert sum(not event.resumed for event in started) == 6
    paused = sum(isinstance(event, TrialPaused) for event in events)
    ended = [event for event in events if isinstance(event, TrialEnded)]
    assert sorted(event.trial for event in ended) == list(range(6))
    assert paused + sum(event.state == "completed" for event in ended) == len(started)
    reports = sum(isinstance(event, TrialReported) for event in events)
    assert reports == sum(trial.step for trial in result.trials)
    assert [event.seconds for event in events] == sorted(event.seconds for event in events)


def test_a_listener_that_fails_does_not_end_the_sweep(
    executor: LocalExecutor, caplog: pytest.LogCaptureFixture
) -> None:
    def listener(event: SweepEvent) -> None:
        raise KeyError("mine")

    assert len(sweep(asynchronous, executor=executor).run(budget=2, progress=listener).trials) == 2
    assert "a progress listener failed" in caplog.text


def test_quiet_by_default(executor: LocalExecutor, capfd: pytest.CaptureFixture[str]) -> None:
    def noisy(trial: Trial) -> float:
        print("chatter of a library")
        return 1.0

    assert sweep(noisy, executor=executor).run(budget=2).best_score == 1.0
    assert capfd.readouterr() == ("", "")


def test_a_store_keeps_states_and_logs(executor: LocalExecutor, tmp_path: Path) -> None:
    def noisy(trial: Trial) -> float:
        print("hello from", trial.id)
        trial.save({"x": 1})
        return 1.0

    result = sweep(noisy, executor=executor, store=tmp_path, name="a/b ../c").run(budget=2)
    assert len(result.trials) == 2
    (run,) = (tmp_path / "runs").iterdir()
    assert run.name.startswith("a-b-c-")
    assert (run / "trials" / "trial-0001" / "log.txt").read_text() == "hello from 1\n"
    assert list((run / "trials" / "trial-0000").glob("*.safetensors"))


def test_cancel_stops_the_workers_and_says_so(executor: LocalExecutor) -> None:
    running = threading.Event()

    def listener(event: SweepEvent) -> None:
        if isinstance(event, TrialReported):
            running.set()

    result = sweep(endless, executor=executor, name="long").run(budget=2, progress=listener)
    assert running.wait(60)
    result.cancel()
    with pytest.raises(RunError, match='run "long" was cancelled'):
        _ = result.best_score
    # The executor is the caller's: its workers are free again.
    assert sweep(asynchronous, executor=executor).run(budget=2).best_score > 0


def test_an_optimizer_that_fails_fails_the_sweep(executor: LocalExecutor) -> None:
    class Broken(RandomOptimizer):
        def suggest(self, n: int) -> list[Trial]:
            raise ZeroDivisionError("in the model")

    with pytest.raises(ZeroDivisionError, match="in the model"):
        _ = sweep(asynchronous, optimizer=Broken(), executor=executor).run(budget=2).trials


class Listing(Optimizer):
    """A custom optimizer as the vision writes it: suggest and observe, nothing else."""

    def __init__(self, values: list[float]) -> None:
        self.values = values
        self.observed: list[float] = []

    def suggest(self, n: int) -> list[Trial]:
        now, self.values = self.values[:n], self.values[n:]
        return [Trial({"x": x}) for x in now]

    def observe(self, trial: Trial, result: float) -> None:
        self.observed.append(float(result))


class Hearing(Optimizer):
    """Suggests what it has heard, in the order of hearing."""

    def __init__(self) -> None:
        self.heard: tuple[int, ...] = ()

    def suggest(self, n: int) -> list[Trial]:
        return [Trial({"heard": self.heard}) for _ in range(n)]

    def observe(self, trial: Trial, result: float) -> None:
        self.heard = (*self.heard, trial.id)


def test_a_batch_is_heard_at_once_and_in_order_whichever_trial_was_faster(executor: LocalExecutor) -> None:
    def later_is_faster(trial: Trial) -> float:
        time.sleep(0.2 if trial.id % 2 == 0 else 0.0)
        return 1.0

    scheduler = SynchronousBatchScheduler(batch_size=4)
    result = SweepExperiment(later_is_faster, optimizer=Hearing(), scheduler=scheduler, executor=executor).run(12)
    assert [trial.params["heard"] for trial in result.trials] == [tuple(range(4 * (n // 4))) for n in range(12)]


def test_a_promoted_trial_waits_for_the_state_that_it_is_still_saving(executor: LocalExecutor) -> None:
    def saves_late(trial: Trial) -> None:
        for step in range((trial.load() or 0) + 1, trial.resource + 1):
            trial.report({"score": step + trial.params["x"]})
            if step == trial.resource:
                time.sleep(0.1)
            trial.save(step)

    result = sweep(saves_late, scheduler=SCHEDULERS["asha"](), executor=executor).run(budget=5)
    assert max(trial.step for trial in result.trials) == 4
    assert result.recomputed == 0


class Doubting(Scheduler):
    """A custom scheduler as the vision writes it."""

    def should_stop(self, trial: Trial) -> bool:
        return trial.step == 2 and trial.params["x"] < 0.5

    def allocate_resources(self, trial: Trial) -> Resources:
        return Resources(cpus=1, time_limit=600)


def test_a_custom_optimizer_and_a_custom_scheduler(executor: LocalExecutor) -> None:
    result = SweepExperiment(
        forgetful, optimizer=Listing([0.1, 0.6, 0.2, 0.9]), scheduler=Doubting(), executor=executor
    ).run(budget=50)
    assert [trial.step for trial in result.trials] == [2, 4, 2, 4]
    assert [trial.state.value for trial in result.trials] == ["pruned", "completed", "pruned", "completed"]
    assert result.ended == "the optimizer had no more suggestions"


def test_an_optimizer_that_suggests_too_many_is_told(executor: LocalExecutor) -> None:
    class Greedy(RandomOptimizer):
        def suggest(self, n: int) -> list[Trial]:
            return super().suggest(n + 1)

    with pytest.raises(UsageError, match=r"Greedy.suggest\(2\) returned 3 trials: at most 2"):
        _ = sweep(asynchronous, optimizer=Greedy(), executor=executor).run(budget=5).trials


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ([{"x": 0.5}], r"Careless\.suggest\(1\) gave \{'x': 0\.5\} in its list: expected Trial\(\{\.\.\.\}\)"),
        ({"x": 0.5}, r"Careless\.suggest\(1\) gave dict: expected a list of Trial"),
        (None, r"Careless\.suggest\(1\) gave NoneType: expected a list of Trial"),
    ],
)
def test_an_optimizer_that_suggests_no_trials_is_told(given: Any, told: str, executor: LocalExecutor) -> None:
    class Careless(RandomOptimizer):
        def suggest(self, n: int) -> list[Trial]:
            return given  # type: ignore[no-any-return]

    with pytest.raises(UsageError, match=told):
        _ = sweep(asynchronous, optimizer=Careless(), executor=executor).run(budget=1).best_score


@pytest.mark.parametrize(
    ("method", "told"),
    [
        ("allocate_resources", r"gave \{'gpus': 1\}: it has to return Resources, such as Resources\(cpus=2, gpus=1\)"),
        ("next", r"gave \{'gpus': 1\}: expected a Launch, Resume, Fork, Prune, Wait or Done"),
        ("on_report", r"gave \{'gpus': 1\}: expected a Verdict, such as CONTINUE"),
        ("next_start", r"gave \{'gpus': 1\}: expected one of the waiting \[0\]"),
    ],
)
def test_a_scheduler_that_answers_something_else_is_told(method: str, told: str, executor: LocalExecutor) -> None:
    careless = type("Careless", (Scheduler,), {method: lambda *_: {"gpus": 1}})
    with pytest.raises(UsageError, match=rf"Careless\.{method} {told}"):
        _ = sweep(asynchronous, scheduler=careless(), executor=executor).run(budget=1).best_score


def test_an_attribute_error_of_an_optimizer_is_what_is_raised(executor: LocalExecutor) -> None:
    class Unfinished(RandomOptimizer):
        def suggest(self, n: int) -> list[Trial]:
            return self.nope  # type: ignore[attr-defined, no-any-return]

    with pytest.raises(AttributeError, match="'Unfinished' object has no attribute 'nope'"):
        _ = sweep(asynchronous, optimizer=Unfinished(), executor=executor).run(budget=1).best_score


def test_a_time_limit_is_a_failure_with_its_reason(executor: LocalExecutor) -> None:
    class Hasty(AsynchronousScheduler):
        def allocate_resources(self, trial: Trial) -> Resources:
            return Resources(time_limit=0.3)

    result = sweep(endless, scheduler=Hasty(), executor=executor).run(budget=2)
    assert list(result.failures) == [FailureReason.TIMEOUT]


@pytest.mark.parametrize("budget", [0, -3, 1.5, True, "9"])
def test_a_wrong_budget_is_refused_before_anything_runs(budget: Any) -> None:
    with pytest.raises(UsageError, match="budget="):
        sweep().run(budget=budget)


@pytest.mark.parametrize(
    ("objective", "told"),
    [
        (
            lambda: 1.0,
            r"objective <lambda>\(\) cannot be called with a trial: too many positional arguments; it takes",
        ),
        (
            lambda lr, size: 1.0,
            r"<lambda>\(lr, size\) cannot be called with a trial: missing a required arg.*'size'",
        ),
    ],
)
def test_an_objective_that_takes_no_trial_is_refused_at_once(objective: Any, told: str) -> None:
    with pytest.raises(UsageError, match=told):
        SweepExperiment(objective)


@pytest.mark.parametrize("objective", [lambda *trials: 1.0, lambda trial, seed=0: 1.0, float, len])
def test_an_objective_that_may_take_a_trial_is_taken(objective: Any) -> None:
    assert SweepExperiment(objective).base_experiment is objective


def test_wrong_arguments_are_refused_at_once() -> None:
    with pytest.raises(UsageError, match=r"base_experiment='train'"):
        SweepExperiment("train")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match=r"optimizer=RandomOptimizer is a class: write"):
        SweepExperiment(curve, optimizer=RandomOptimizer)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match=r"scheduler='asha': expected a Scheduler"):
        SweepExperiment(curve, scheduler="asha")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="did you mean 'maximize'"):
        SweepExperiment(curve, goal="maximise")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="different search spaces"):
        SweepExperiment(curve, search_space=SPACE, optimizer=RandomOptimizer({"z": Uniform(0, 1)})).run(1)


def test_a_path_that_the_experiment_lacks_is_an_error_before_anything_runs() -> None:
    experiment = SweepExperiment(TrainingExperiment, search_space={"trainer.learning_rat": LogUniform(1e-3, 1)})
    with pytest.raises(UsageError, match="did you mean 'learning_rate'"):
        experiment.run(budget=2)


def test_an_override_of_the_pipeline_is_what_runs(executor: LocalExecutor) -> None:
    stages: list[str] = []

    class Watched(SweepExperiment):
        def pipeline(self) -> Pipeline:
            return super().pipeline().with_global_hooks(before=lambda stage, data: stages.append(stage))

    class Wrong(SweepExperiment):
        def pipeline(self) -> Pipeline:
            return super().pipeline().stage("best", lambda trials: trials[0]).through(Trial)

    arguments: dict[str, Any] = {"search_space": SPACE, "executor": executor}
    assert len(Watched(asynchronous, **arguments).run(budget=2).trials) == 2
    assert stages[:6] == ["begin", "decide", "suggest", "launch", "wait", "observe"]
    assert stages[-1] == "conclude"
    with pytest.raises(UsageError, match="gave Trial: it has to end in a SweepRecord"):
        _ = Wrong(asynchronous, **arguments).run(budget=2).trials


def test_rows_html_and_pandas(executor: LocalExecutor, monkeypatch: pytest.MonkeyPatch) -> None:
    result = sweep(curve, name="<b>", executor=executor).run(budget=3)
    rows = result.rows()
    assert list(rows[0]) == ["trial", "state", "score", "step", "cost", "failure", "x", "y"]
    html = result._repr_mimebundle_()["text/html"]
    assert html.startswith("<table>")
    assert "<th>score</th>" in html
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(MissingExtraError, match="pandas"):
        result.to_dataframe()
    assert [observation.trial.id for observation in result.observations] == [0, 1, 2]


def test_the_base_experiments_own_tunables_and_a_real_network(executor: LocalExecutor) -> None:
    pytest.importorskip("torch")
    result = SweepExperiment(
        TrainingExperiment,
        optimizer=OptunaOptimizer(sampler="TPE", n_startup_trials=3),
        scheduler=ASHAScheduler(max_epochs=4, grace_period=1, reduction_factor=2),
        executor=executor,
        seed=5,
    ).run(budget=8)
    assert not result.failures
    assert set(result.best_params) == {"trainer.learning_rate", "trainer.batch_size", "agent.hidden_size"}
    assert result.best_trial.step == 4
    assert result.recomputed == 0
    # What was paused and promoted is what training in one go gives.
    alone = Trial(result.best_params, resource=4)
    TrainingExperiment().evaluate(alone)
    assert [r.metrics for r in alone.reports] == [r.metrics for r in result.best_trial.reports]


def test_ctrl_c_leaves_no_process_behind(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "import os, time\n"
        "from metta.sweep.experiments import SweepExperiment\n"
        "from metta.sweep.space import Uniform\n"
        "def train(trial):\n"
        f"    open(os.path.join({str(tmp_path)!r}, f'{{os.getpid()}}'), 'w').close()\n"
        "    time.sleep(600)\n"
        "result = SweepExperiment(train, search_space={'x': Uniform(0, 1)}).run(budget=4)\n"
        "print('started', flush=True)\n"
        "result.best_score\n"
    )
    process = subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"started\n"
    while not (pids := [int(path.name) for path in tmp_path.iterdir() if path.name.isdigit()]):
        assert process.poll() is None, process.communicate()[1].decode()
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert b"KeyboardInterrupt" in err
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
