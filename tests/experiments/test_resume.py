"""Resuming, extending, refusing: what `run(resume=...)` does with a run that is there."""

from __future__ import annotations

import math
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from metta.sweep.errors import RefusedError, RunError, StorageError, UsageError
from metta.sweep.executors.base import Event, EventStream, Failed, Finished, Reported, Started, StateSaved, Task
from metta.sweep.executors.local import LocalExecutor
from metta.sweep.executors.objective import Outcome
from metta.sweep.experiments import Budget, SweepExperiment, SweepResult
from metta.sweep.experiments.plan import _space
from metta.sweep.experiments.restore import restore
from metta.sweep.experiments.sweep_status import result_so_far, sweep_status
from metta.sweep.experiments.verify import verify_sweep
from metta.sweep.optimizers import OptunaOptimizer, RandomOptimizer
from metta.sweep.optimizers.base import Optimizer, Restored
from metta.sweep.report.events import SweepEvent, TrialEnded, TrialPaused, TrialReported, TrialStarted
from metta.sweep.report.progress import Progress, advance
from metta.sweep.schedulers import ASHAScheduler, AsynchronousScheduler, SynchronousBatchScheduler
from metta.sweep.schedulers.base import Scheduler
from metta.sweep.space import Choice, LogUniform, SearchSpace, Uniform
from metta.sweep.store.entries import Event as Entry
from metta.sweep.store.entries import StoredReport
from metta.sweep.store.journal import Journal
from metta.sweep.store.run import Run, RunStatus
from metta.sweep.store.runs import Store
from metta.sweep.trial import FailureReason, Params, Report, Trial, TrialState

SPACE = {"x": Uniform(0.0, 1.0), "y": LogUniform(1e-3, 1.0)}


@pytest.fixture(scope="module")
def one_worker() -> Iterator[LocalExecutor]:
    with LocalExecutor(max_workers=1) as executor:
        yield executor


@pytest.fixture(scope="module")
def executor() -> Iterator[LocalExecutor]:
    with LocalExecutor(max_workers=2) as executor:
        yield executor


def curve(trial: Trial) -> Iterator[dict[str, float]]:
    for step in range((trial.load() or 0) + 1, 5):
        trial.save(step)
        yield {"score": step * (1 - (trial.params["x"] - 0.3) ** 2 - trial.params["y"]), "cost": step}


def other_curve(trial: Trial) -> Iterator[dict[str, float]]:
    for step in range(1, 5):
        yield {"score": step * trial.params["x"], "cost": step}


def sweep(store: Path | None, objective: Any = curve, **arguments: Any) -> SweepExperiment:
    given: dict[str, Any] = {"search_space": SPACE, "seed": 7, "cost_key": "cost", "name": "mine", "store": store}
    given["optimizer"] = RandomOptimizer()
    return SweepExperiment(objective, **{**given, **arguments})


def table(result: SweepResult) -> list[dict[str, Any]]:
    return [trial.to_json() for trial in result.trials]


def interrupted(experiment: SweepExperiment, budget: Any = 8, *, after: int = 3, **how: Any) -> None:
    """Run until so many trials have ended, then cancel: the driver stops as by Ctrl-C."""
    ended = 0
    result: list[SweepResult] = []
    started = threading.Event()

    def listener(event: SweepEvent) -> None:
        nonlocal ended
        ended += isinstance(event, TrialEnded)
        if ended == after and isinstance(event, TrialEnded):
            started.wait(60)
            result[0].cancel()

    result.append(experiment.run(budget, progress=listener, **how))
    started.set()
    with pytest.raises(RunError, match="was cancelled"):
        _ = result[0].trials


def entries(store: Path) -> list[Entry | StoredReport]:
    with Store(store).open("mine") as run:
        return list(run.journal.entries())


def kinds(store: Path) -> list[str]:
    return [entry.kind for entry in entries(store) if isinstance(entry, Entry)]


def opened(store: Path) -> Run:
    return Store(store).open("mine")


def test_a_cancelled_sweep_goes_on_where_it_was(tmp_path: Path, one_worker: LocalExecutor) -> None:
    whole = sweep(tmp_path / "whole", executor=one_worker).run(8)
    interrupted(sweep(tmp_path / "cut", executor=one_worker))
    result = sweep(tmp_path / "cut", executor=one_worker).run(resume=True)
    assert table(result) == table(whole)
    assert (result.resumed, whole.resumed) == (Restored.STATE, None)
    assert result.ended == whole.ended == "the budget of trials was used up"
    assert result.recomputed == 0
    assert kinds(tmp_path / "cut").count("sweep.stopped") == 1
    assert kinds(tmp_path / "cut").count("sweep.started") == 1
    assert result.folder == opened(tmp_path / "cut").folder
    assert result.run_id == opened(tmp_path / "cut").id


def test_every_run_is_a_new_one(tmp_path: Path, one_worker: LocalExecutor) -> None:
    experiment = sweep(tmp_path, executor=one_worker)
    assert experiment.run(2).run_id != experiment.run(2).run_id
    assert len(Store(tmp_path).all()) == 2


def test_without_a_store_nothing_stays(tmp_path: Path, one_worker: LocalExecutor) -> None:
    experiment = sweep(None, executor=one_worker)
    result = experiment.run(2)
    assert (len(result.trials), result.run_id, result.folder) == (2, None, None)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(UsageError, match="without a store there is nothing to resume"):
        experiment.run(resume=True)
    assert sweep(tmp_path, executor=one_worker).run(2, store=None).folder is None


def test_the_default_store_is_the_environments(
    tmp_path: Path, one_worker: LocalExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("METTA_SWEEP_HOME", str(tmp_path / "home"))
    result = SweepExperiment(curve, search_space=SPACE, executor=one_worker).run(1)
    assert result.folder is not None
    assert result.folder.parent == tmp_path / "home" / "runs"


def test_a_run_that_had_not_begun_wants_its_budget_again(tmp_path: Path, one_worker: LocalExecutor) -> None:
    """Killed between the making of its folder and its first event: nothing says what was asked for."""
    Store(tmp_path).create("mine", "sweep").close()
    with pytest.raises(UsageError, match="had not begun: say its budget="):
        _ = sweep(tmp_path, executor=one_worker).run(resume=True).trials
    assert len(sweep(tmp_path, executor=one_worker).run(budget=2, resume=True).trials) == 2


def test_nothing_to_resume_says_what_there_is(tmp_path: Path, one_worker: LocalExecutor) -> None:
    with pytest.raises(UsageError, match=r'no unfinished run of "mine" in .*there are no runs'):
        _ = sweep(tmp_path, executor=one_worker).run(resume=True).trials
    sweep(tmp_path, executor=one_worker, name="yours").run(1).trials  # noqa: B018
    with pytest.raises(UsageError, match=r'no unfinished run of "mine" in .*there are runs of \'yours\''):
        _ = sweep(tmp_path, executor=one_worker).run(resume=True).trials


def test_a_finished_sweep_is_extended_by_a_new_total(tmp_path: Path, one_worker: LocalExecutor) -> None:
    whole = sweep(tmp_path / "whole", executor=one_worker).run(9)
    experiment = sweep(tmp_path / "two", executor=one_worker)
    first = experiment.run(4)
    assert first.run_id is not None
    with pytest.raises(UsageError, match=r"is finished \(4 trials were started, .*give budget= a new total"):
        _ = experiment.run(resume=first.run_id).trials
    result = experiment.run(9, resume=first.run_id)
    assert table(result) == table(whole)
    assert result.run_id == first.run_id


@pytest.mark.parametrize(
    ("scheduler", "small", "large"),
    [
        (ASHAScheduler(max_epochs=4, grace_period=2, reduction_factor=2), Budget(resource=11), Budget(resource=30)),
        (AsynchronousScheduler(), Budget(cost=11.0), Budget(cost=31.0)),
        (SynchronousBatchScheduler(batch_size=3), Budget(resource=10), Budget(trials=7)),
    ],
)
def test_what_a_budget_has_cut_goes_on_when_it_is_raised(
    scheduler: Scheduler, small: Budget, large: Budget, tmp_path: Path, one_worker: LocalExecutor
) -> None:
    arguments: dict[str, Any] = {"executor": one_worker, "scheduler": scheduler}
    whole = sweep(tmp_path / "whole", **arguments).run(large)
    first = sweep(tmp_path / "two", **arguments).run(small)
    assert TrialState.CANCELLED in {trial.state for trial in first.trials}
    result = sweep(tmp_path / "two", **arguments).run(large, resume=first.run_id or "")
    assert table(result) == table(whole)
    assert result.recomputed == 0


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"search_space": {**SPACE, "x": Uniform(0.0, 2.0)}}, r"space\.parameters\.x\.hi: 1\.0 -> 2\.0"),
        (
            {"optimizer": RandomOptimizer(initial_params=[{"x": 0.5}])},
            r"optimizer\.arguments\.initial_params: \[\] -> ",
        ),
        ({"scheduler": AsynchronousScheduler(max_resource=3)}, r"scheduler\.arguments\.max_resource: nothing -> 3"),
        ({"objective": other_curve}, r"objective\.name: curve -> other_curve; objective\.code: "),
    ],
)
def test_a_changed_plan_is_refused_with_a_list(
    change: dict[str, Any], told: str, tmp_path: Path, one_worker: LocalExecutor
) -> None:
    interrupted(sweep(tmp_path, executor=one_worker))
    changed = sweep(tmp_path, executor=one_worker, **change)
    with pytest.raises(RefusedError, match=r"has changed since .*\(recorded -> now\):\n  " + told):
        _ = changed.run(resume=True).trials
    result = changed.run(resume=True, allow_changed=True)
    assert len(result.trials) == 8
    assert all(trial.state is TrialState.COMPLETED for trial in result.trials)
    assert result.resumed is (
        Restored.OBSERVATIONS if change.keys() & {"search_space", "optimizer"} else Restored.STATE
    )


@pytest.mark.parametrize("change", [{"goal": "minimize"}, {"cost_key": None}, {"seed": 8}])
def test_goal_cost_and_seed_never_change(change: dict[str, Any], tmp_path: Path, one_worker: LocalExecutor) -> None:
    interrupted(sweep(tmp_path, executor=one_worker))
    with pytest.raises(RefusedError, match="cannot go on with another goal, seed or number of repeats"):
        _ = sweep(tmp_path, executor=one_worker, **change).run(resume=True, allow_changed=True).trials


def test_a_seed_that_was_drawn_is_kept(tmp_path: Path, one_worker: LocalExecutor) -> None:
    interrupted(sweep(tmp_path, executor=one_worker, seed=None))
    result = sweep(tmp_path, executor=one_worker, seed=None).run(resume=True)
    again = sweep(tmp_path, executor=one_worker, seed=result.seed).run(8)
    assert table(again) == table(result)


def test_a_sweep_that_has_changed_goes_on_from_there_when_it_is_resumed_again(
    tmp_path: Path, one_worker: LocalExecutor
) -> None:
    """TPE takes over from random, twice interrupted: its suggestions are those of a TPE that was told all results."""
    tpe = OptunaOptimizer(sampler="TPE", n_startup_trials=2)
    interrupted(sweep(tmp_path, executor=one_worker), 9)
    interrupted(sweep(tmp_path, executor=one_worker, optimizer=tpe), None, resume=True, allow_changed=True, after=6)
    result = sweep(tmp_path, executor=one_worker, optimizer=tpe).run(resume=True)
    assert len(result.trials) == 9
    assert result.resumed in (Restored.STATE, Restored.REPLAY)
    with opened(tmp_path) as run:
        assert verify_sweep(run, OptunaOptimizer(SPACE, sampler="TPE", n_startup_trials=2)) == []
        assert verify_sweep(run, OptunaOptimizer(SPACE, sampler="TPE", n_startup_trials=50)) != []


def test_another_scheduler_takes_over_what_runs_and_prunes_what_waits(
    tmp_path: Path, one_worker: LocalExecutor
) -> None:
    asha = ASHAScheduler(max_epochs=4, grace_period=1, reduction_factor=3)
    paused = 0

    def listener(event: SweepEvent) -> None:
        nonlocal paused
        paused += isinstance(event, TrialPaused)
        if paused == 4:
            result.cancel()

    result = sweep(tmp_path, executor=one_worker, scheduler=asha).run(8, progress=listener)
    with pytest.raises(RunError):
        _ = result.trials
    batch = SynchronousBatchScheduler(batch_size=2)
    new = sweep(tmp_path, executor=one_worker, scheduler=batch)
    ended = new.run(resume=True, allow_changed=True)
    assert len(ended.trials) == 8
    states = [trial.state for trial in ended.trials]
    assert TrialState.PRUNED in states[:4]
    assert set(states[5:]) == {TrialState.COMPLETED}
    with opened(tmp_path) as run:
        assert verify_sweep(run) == []


class Undecided(RandomOptimizer):
    """One whose library has changed: it suggests something else than it did."""

    shift = 0.0

    def suggest(self, n: int) -> list[Trial]:
        new = super().suggest(n)
        for trial in new:
            shift = self.shift if trial.tag == 0 else 0.0
            trial.params = Params({**trial.params, "x": trial.params["x"] + shift})
        return new


def test_an_optimizer_that_suggests_otherwise_is_told_all_results(
    tmp_path: Path, one_worker: LocalExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    interrupted(sweep(tmp_path, executor=one_worker, optimizer=Undecided()))
    monkeypatch.setattr(Undecided, "shift", 0.25)
    result = sweep(tmp_path, executor=one_worker, optimizer=Undecided()).run(resume=True)
    assert result.resumed is Restored.OBSERVATIONS
    assert len(result.trials) == 8
    assert len({trial.params["x"] for trial in result.trials}) == 8
    (resumed,) = [entry for entry in entries(tmp_path) if isinstance(entry, Entry) and entry.kind == "sweep.resumed"]
    assert resumed.data["optimizer"] == "observations"
    assert "0.5" in resumed.data["differences"][0] or "x" in resumed.data["differences"][0]


def test_an_optimizer_that_computes_for_too_long_is_told_all_results(
    tmp_path: Path, one_worker: LocalExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    interrupted(sweep(tmp_path, executor=one_worker, optimizer=Undecided()))
    monkeypatch.setattr(restore, "__kwdefaults__", {**(restore.__kwdefaults__ or {}), "limit": 0.0})
    result = sweep(tmp_path, executor=one_worker, optimizer=Undecided()).run(resume=True)
    assert result.resumed is Restored.OBSERVATIONS
    assert len(result.trials) == 8


class Hearing(Optimizer):
    """Suggests what it has heard."""

    def __init__(self) -> None:
        self.heard: list[tuple[int, float]] = []

    def suggest(self, n: int) -> list[Trial]:
        return [Trial({"x": 0.5, "y": 0.1, "heard": list(self.heard)}) for _ in range(n)]

    def observe(self, trial: Trial, result: float) -> None:
        self.heard.append((trial.id, float(result)))


def test_a_new_optimizer_is_told_all_results(tmp_path: Path, one_worker: LocalExecutor) -> None:
    interrupted(sweep(tmp_path, executor=one_worker))
    hearing = sweep(tmp_path, executor=one_worker, optimizer=Hearing(), search_space=None)
    result = hearing.run(resume=True, allow_changed=True)
    new = next(trial for trial in result.trials if "heard" in trial.params)
    assert new.id >= 3
    assert new.params["heard"] == [(trial.id, trial.score) for trial in result.trials[: new.id]]


class Moody(AsynchronousScheduler):
    """One whose code has changed: it stops earlier than it did."""

    patience = 9

    def __init__(self) -> None:
        super().__init__()
        self.asked = 0

    def should_stop(self, trial: Trial) -> bool:
        return trial.step >= self.patience


def test_a_scheduler_that_decides_otherwise_is_refused(
    tmp_path: Path, one_worker: LocalExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    interrupted(sweep(tmp_path, executor=one_worker, scheduler=Moody()))
    monkeypatch.setattr(Moody, "patience", 2)
    moody = sweep(tmp_path, executor=one_worker, scheduler=Moody())
    with pytest.raises(
        RefusedError, match=r"its scheduler decides otherwise than it did .*verdict on step 2 of trial 0"
    ):
        _ = moody.run(resume=True).trials
    result = moody.run(resume=True, allow_changed=True)
    assert [trial.step for trial in result.trials][-3:] == [2, 2, 2]


def test_failed_trials_are_tried_again_and_are_no_new_ones(tmp_path: Path, executor: LocalExecutor) -> None:
    cure = tmp_path / "cure"

    def sick(trial: Trial) -> Iterator[dict[str, float]]:
        for step in (1, 2):
            if step == 2 and trial.id % 2 and not cure.exists():
                raise ValueError("not yet")
            yield {"score": trial.params["x"], "cost": 1.0}

    first = sweep(tmp_path / "store", sick, executor=executor).run(6)
    assert [trial.state is TrialState.FAILED for trial in first.trials] == [False, True] * 3
    cure.touch()
    result = sweep(tmp_path / "store", sick, executor=executor).run(resume=first.run_id or "", retry_failed=True)
    assert [trial.state for trial in result.trials] == [TrialState.COMPLETED] * 6
    assert [trial.params for trial in result.trials] == [trial.params for trial in first.trials] or [
        dict(a.params) == dict(b.params) for a, b in zip(result.trials, first.trials, strict=True)
    ] == [True] * 6
    assert not result.failures


def test_the_clock_stands_while_no_driver_runs(tmp_path: Path, one_worker: LocalExecutor) -> None:
    interrupted(sweep(tmp_path, executor=one_worker))
    (stopped,) = [entry for entry in entries(tmp_path) if isinstance(entry, Entry) and entry.kind == "sweep.stopped"]
    (started,) = [entry for entry in entries(tmp_path) if isinstance(entry, Entry) and entry.kind == "sweep.started"]
    time.sleep(1.5)
    sweep(tmp_path, executor=one_worker).run(resume=True).trials  # noqa: B018
    (resumed,) = [entry for entry in entries(tmp_path) if isinstance(entry, Entry) and entry.kind == "sweep.resumed"]
    before, after = stopped.time - started.data["base"], resumed.time - resumed.data["base"]
    assert after == pytest.approx(before, abs=0.01)
    assert resumed.time - stopped.time > 1.5


def test_two_drivers_on_one_run(tmp_path: Path, executor: LocalExecutor) -> None:
    def endless(trial: Trial) -> Iterator[dict[str, float]]:
        while True:
            time.sleep(0.01)
            yield {"score": 1.0, "cost": 1.0}

    reported = threading.Event()

    def listener(event: SweepEvent) -> None:
        if isinstance(event, TrialReported):
            reported.set()

    first = sweep(tmp_path, endless, executor=executor).run(1, progress=listener)
    assert reported.wait(60)
    with pytest.raises(RefusedError, match="is held by"):
        _ = sweep(tmp_path, endless, executor=executor).run(resume=True).trials
    with opened(tmp_path) as run:
        status = sweep_status(run)
    assert status.status is RunStatus.RUNNING
    assert [trial.id for trial in status.running] == [0]
    first.cancel()
    with pytest.raises(RunError):
        _ = first.trials


def test_objects_among_the_choices_come_back(tmp_path: Path, one_worker: LocalExecutor) -> None:
    def typed(trial: Trial) -> dict[str, float]:
        return {"score": float(trial.params["kind"] in (int, str)), "cost": len(trial.params["shape"])}

    space = {"kind": Choice([int, str]), "shape": Choice([(1, 2), (3,)]), "fixed": (1, "a"), "x": Uniform(0, 1)}
    whole = sweep(tmp_path / "whole", typed, search_space=space, executor=one_worker).run(8)
    interrupted(sweep(tmp_path / "cut", typed, search_space=space, executor=one_worker))
    result = sweep(tmp_path / "cut", typed, search_space=space, executor=one_worker).run(resume=True)
    assert [dict(trial.params) for trial in result.trials] == [dict(trial.params) for trial in whole.trials]
    assert {trial.params["kind"] for trial in result.trials} == {int, str}
    with opened(tmp_path / "cut") as run:
        assert {trial.params["kind"] for trial in result_so_far(run).trials} == {"<class 'int'>", "<class 'str'>"}


def test_parameters_that_cannot_be_stored_are_named(tmp_path: Path, one_worker: LocalExecutor) -> None:
    class Odd(Optimizer):
        def suggest(self, n: int) -> list[Trial]:
            return [Trial({"model": object()})]

        def observe(self, trial: Trial, result: float) -> None: ...

    arguments: dict[str, Any] = {"search_space": None, "optimizer": Odd(), "executor": one_worker}
    with pytest.raises(UsageError, match=r"the parameter 'model' is a builtins\.object, which cannot be stored"):
        _ = sweep(tmp_path, **arguments).run(1).trials


def test_status_and_result_of_a_run_that_nobody_drives(tmp_path: Path, one_worker: LocalExecutor) -> None:
    def uneven(trial: Trial) -> Iterator[dict[str, float]]:
        if trial.id == 1:
            raise ValueError("no such layer")
        yield from curve(trial)

    interrupted(sweep(tmp_path, uneven, executor=one_worker), after=4)
    with opened(tmp_path) as run:
        status, loaded = sweep_status(run), result_so_far(run)
    assert status.status is RunStatus.CANCELLED
    assert status.counts[TrialState.COMPLETED] == 3
    assert status.failures == {FailureReason.USER_ERROR: 1}
    assert status.ended is None
    assert status.seconds_left is not None
    assert status.best is not None
    assert status.best.score == max(row["score"] for row in loaded.rows() if row["state"] == "completed")
    assert status.spent.trials == len(status.trials) == len(loaded.trials)
    assert loaded.ended == "it goes on"
    # Read after the run was closed.
    assert [report.step for report in loaded.trials[0].reports] == [1, 2, 3, 4]
    result = sweep(tmp_path, uneven, executor=one_worker).run(resume=True)
    trials = table(result)
    with opened(tmp_path) as run:
        assert table(result_so_far(run)) == trials
        assert sweep_status(run).ended == "the budget of trials was used up"
        assert sweep_status(run).restored is Restored.STATE


def test_reports_of_a_restored_trial_are_read_when_asked_for(tmp_path: Path, one_worker: LocalExecutor) -> None:
    interrupted(sweep(tmp_path, executor=one_worker))
    whole = sweep(tmp_path / "whole", executor=one_worker).run(8)
    result = sweep(tmp_path, executor=one_worker).run(resume=True)
    first = result.trials[0]
    assert first._unread is not None
    assert (first.step, first.score) == (4, whole.trials[0].score)
    assert first._unread is not None
    assert first.reports == whole.trials[0].reports
    assert first._unread is None


def test_whoever_looks_on_hears_what_has_happened_before(tmp_path: Path, executor: LocalExecutor) -> None:
    interrupted(sweep(tmp_path, executor=executor))
    events: list[SweepEvent] = []
    result = sweep(tmp_path, executor=executor).run(resume=True, progress=events.append)
    assert len(result.trials) == 8
    progress = Progress()
    for event in events:
        progress = advance(progress, event)
    assert (progress.started, progress.paused, progress.running) == (8, 0, {})
    assert progress.ended == {"completed": 8}
    assert sum(isinstance(event, TrialStarted) and not event.resumed for event in events) == 8


def test_a_trial_that_kills_its_workers_is_given_up(tmp_path: Path, executor: LocalExecutor) -> None:
    def poison(trial: Trial) -> dict[str, float]:
        if trial.id == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        return {"score": trial.params["x"], "cost": 1.0}

    result = sweep(tmp_path, poison, executor=executor).run(4)
    failure = result.trials[1].failure
    assert failure is not None
    assert failure.reason is FailureReason.KILLED
    assert failure.message.endswith("(3 attempts ended like this: it is not tried again)")
    granted = [
        entry.subject for entry in entries(tmp_path) if isinstance(entry, Entry) and entry.kind == "trial.granted"
    ]
    assert sorted(granted) == ["0", "1", "1", "1", "2", "3"]
    assert [trial.state for trial in result.trials].count(TrialState.COMPLETED) == 3


def test_one_dead_worker_costs_its_trial_nothing_but_an_attempt(tmp_path: Path, one_worker: LocalExecutor) -> None:
    def frail(trial: Trial) -> Iterator[dict[str, float]]:
        for report in curve(trial):
            yield report
            if trial.id == 2 and report["cost"] == 2 and not (tmp_path / "died").exists():
                (tmp_path / "died").touch()
                os.kill(os.getpid(), signal.SIGKILL)

    whole = sweep(tmp_path / "whole", executor=one_worker).run(5)
    result = sweep(tmp_path / "frail", frail, executor=one_worker).run(5)
    assert table(result) == table(whole)
    assert (tmp_path / "died").exists()
    assert result.recomputed == 0


class Zombies:
    """An executor in this process whose first attempt at trial 0 is declared dead and reports all the same."""

    capacity = 1

    def __init__(self) -> None:
        self._stream = EventStream()
        self.submitted: list[str] = []

    def events(self) -> EventStream:
        return self._stream

    def submit(self, task: Task, events: EventStream) -> None:
        self.submitted.append(task.token)
        trial = task.args[1]
        happened: list[Event] = [Started(task.token, "here")]
        if len(self.submitted) == 1:
            happened.append(Failed(task.token, FailureReason.NODE_LOST, "no sign of life"))
        else:
            if len(self.submitted) == 2:
                dead = self.submitted[0]
                happened.append(Reported(dead, 1, Report(1, {"score": 99.0, "cost": 1.0})))
                happened.append(Finished(dead, Outcome({"score": 99.0, "cost": 1.0}, 1, None)))  # type: ignore[arg-type]
            score = float(trial.params["x"])
            happened.append(Reported(task.token, 1, Report(1, {"score": score, "cost": 1.0})))
            happened.append(Finished(task.token, Outcome(None, 1, None)))  # type: ignore[arg-type]
        for event in happened:
            events.put(event)

    def answer(self, report: Reported, answer: object) -> None: ...

    def cancel(self, token: str) -> None: ...

    @property
    def outlives_driver(self) -> bool:
        return False

    def reattach(self, token: str, events: EventStream, folder: Path | None = None, *, also_ended: bool = True) -> bool:
        return False

    def close(self) -> None: ...


def test_an_attempt_that_was_given_up_changes_nothing_any_more(tmp_path: Path) -> None:
    executor = Zombies()
    result = sweep(tmp_path, executor=executor).run(2)
    assert [trial.score for trial in result.trials] == [trial.params["x"] for trial in result.trials]
    assert executor.submitted[:2] == [f"{result.run_id}-trial-0-attempt-1", f"{result.run_id}-trial-0-attempt-2"]
    stale = [entry for entry in entries(tmp_path) if isinstance(entry, Entry) and entry.kind == "trial.stale"]
    assert [(entry.subject, entry.data["event"]) for entry in stale] == [("0", "Reported"), ("0", "Finished")]
    assert stale[0].data["token"] == executor.submitted[0]


class Stuck(Zombies):
    """Saves a state for step 1, whose report never comes."""

    def submit(self, task: Task, events: EventStream) -> None:
        assert task.channel is not None
        self.submitted.append(str(task.channel.restore))
        path = task.channel.folder / "step-00000001.safetensors"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
        events.put(Started(task.token, "here"))
        events.put(StateSaved(task.token, 1, path))

    def cancel(self, token: str) -> None:
        self._stream.put(Failed(token, FailureReason.CANCELLED, "cancelled"))


def test_a_state_counts_when_its_report_does(tmp_path: Path) -> None:
    """Else its trial would go on after step 1, and step 1 would never be reported."""
    executor = Stuck()
    for resume in (False, True):
        started = threading.Event()

        def listener(event: SweepEvent, started: threading.Event = started) -> None:
            if isinstance(event, TrialStarted):
                started.set()

        result = sweep(tmp_path, executor=executor).run(1, resume=resume, progress=listener)
        assert started.wait(60)
        time.sleep(0.1)  # for the state, which comes at once or not at all
        result.cancel()
        with pytest.raises(RunError):
            _ = result.trials
    assert executor.submitted == ["None", "None"]


def states_of(store: Path) -> dict[int, list[int]]:
    """Trial -> the steps of its states on disk."""
    found: dict[int, list[int]] = {}
    with opened(store) as run:
        for path in sorted(run.folder.glob("trials/*/step-*.safetensors")):
            found.setdefault(int(path.parent.name.removeprefix("trial-")), []).append(int(path.stem[5:]))
    return found


def best_early(trial: Trial) -> Iterator[dict[str, float]]:
    """The best score comes at step 2 of trial 1."""
    for step in range(1, 5):
        trial.save(step)
        yield {"score": 10.0 if (trial.id, step) == (1, 2) else float(step), "cost": step}


@pytest.mark.parametrize(
    ("keep", "expected"),
    [
        ("all", {0: [1, 2, 3, 4], 1: [1, 2, 3, 4], 2: [1, 2, 3, 4]}),
        ("last", {0: [4], 1: [4], 2: [4]}),
        ("last+best", {0: [4], 1: [2, 4], 2: [4]}),
        ("none", {}),
    ],
)
def test_which_states_stay(
    keep: str, expected: dict[int, list[int]], tmp_path: Path, one_worker: LocalExecutor
) -> None:
    sweep(tmp_path, best_early, keep_checkpoints=keep, executor=one_worker).run(3).trials  # noqa: B018
    assert states_of(tmp_path) == expected


def test_an_unknown_way_to_keep_states_is_refused() -> None:
    with pytest.raises(UsageError, match="keep_checkpoints='best': expected one of 'last\\+best', 'last'"):
        SweepExperiment(curve, keep_checkpoints="best")


def test_a_state_that_is_gone_costs_time_and_nothing_else(
    tmp_path: Path, one_worker: LocalExecutor, caplog: pytest.LogCaptureFixture
) -> None:
    asha: Callable[[], ASHAScheduler] = lambda: ASHAScheduler(max_epochs=4, grace_period=2, reduction_factor=2)  # noqa: E731
    interrupted(sweep(tmp_path, executor=one_worker, scheduler=asha()), after=1)
    with opened(tmp_path) as run:
        unfinished = {trial.id: trial.step for trial in result_so_far(run).trials if not trial.state.is_finished}
        for number in unfinished:
            for path in run.trial_folder(number).glob("*.safetensors"):
                path.unlink()
    assert unfinished
    result = sweep(tmp_path, executor=one_worker, scheduler=asha()).run(resume=True)
    went_on = [number for number, step in unfinished.items() if result.trials[number].step > step]
    assert result.recomputed == sum(unfinished[number] for number in went_on) > 0
    assert "starts again: its state" in caplog.text


def test_a_score_that_is_not_a_number_survives(tmp_path: Path, one_worker: LocalExecutor) -> None:
    def odd(trial: Trial) -> dict[str, float]:
        return {"score": math.nan if trial.id == 1 else math.inf if trial.id == 2 else 1.0, "cost": 1.0}

    arguments: dict[str, Any] = {"executor": one_worker, "optimizer": OptunaOptimizer(n_startup_trials=1)}
    whole = sweep(tmp_path / "whole", odd, **arguments).run(8)
    interrupted(sweep(tmp_path / "cut", odd, **arguments), after=4)
    assert table(sweep(tmp_path / "cut", odd, **arguments).run(resume=True)) == table(whole)


def test_a_finished_run_that_nobody_has_heard_of_gives_its_result(tmp_path: Path, one_worker: LocalExecutor) -> None:
    """The driver died between the last entry and the status: a script that always resumes gets what there is."""
    first = sweep(tmp_path, executor=one_worker).run(3)
    trials = table(first)
    with Store(tmp_path).open("mine", write=True) as run:
        run.publish(RunStatus.RUNNING)
        written = run.journal.last_seq
    again = sweep(tmp_path, executor=one_worker).run(3, resume=True)
    assert table(again) == trials
    assert again.run_id == first.run_id
    with opened(tmp_path) as run:
        assert run.info.status is RunStatus.COMPLETED
        assert run.journal.last_seq == written


def test_a_full_disk_ends_the_driver_and_loses_nothing(
    tmp_path: Path, one_worker: LocalExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = sweep(tmp_path / "whole", executor=one_worker).run(6)
    trials = table(whole)
    commit, left = Journal.commit, 12

    def full(self: Journal, *args: Any, **kwargs: Any) -> int:
        nonlocal left
        left -= 1
        if left < 0:
            raise StorageError("the disk is full: make room, then resume", path=str(self.path))
        return commit(self, *args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(Journal, "commit", full)
        with pytest.raises(StorageError, match="the disk is full"):
            _ = sweep(tmp_path / "full", executor=one_worker).run(6).trials
    assert "sweep.ended" not in kinds(tmp_path / "full")
    result = sweep(tmp_path / "full", executor=one_worker).run(resume=True)
    assert table(result) == trials


def test_another_repair_of_a_constraint_is_another_space() -> None:
    def small(params: Params) -> bool:
        return bool(params["x"] < 0.5)

    def to_zero(params: Params) -> dict[str, float]:
        return {"x": 0.0}

    def to_half(params: Params) -> dict[str, float]:
        return {"x": params["x"] / 2}

    space = SearchSpace({"x": Uniform(0, 1)})
    plans = [_space(space.require(small, repair=repair)) for repair in (to_zero, to_half, None)]
    assert plans[0] != plans[1] != plans[2] != plans[0]
    assert plans[0] == _space(space.require(small, repair=to_zero))
