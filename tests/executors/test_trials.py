"""Objectives in workers: reports, the scheduler's answers, and states that survive."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from metta.sweep.errors import RunError, UsageError
from metta.sweep.executors import (
    Answer,
    Event,
    Failed,
    Finished,
    LocalExecutor,
    Reported,
    StateSaved,
)
from metta.sweep.executors.channel import state_path, step_of
from metta.sweep.executors.objective import Outcome, as_metrics, trial_task
from metta.sweep.trial import FailureReason, Report, Trial
from tests.executors import tasks
from tests.executors.helpers import PATIENCE, read_when_there


def drive(
    executor: LocalExecutor,
    objective: Callable[[Trial], Any],
    folder: Path,
    answers: Mapping[int, Answer] | None = None,
    *,
    trial: Trial | None = None,
    **options: Any,
) -> list[Event]:
    """Run one attempt; answer each report by its step (CONTINUE where `answers` has nothing)."""
    stream = executor.events()
    task = trial_task(objective, trial or Trial({"x": 3}), token="attempt", folder=folder, **options)
    executor.submit(task, stream)
    events: list[Event] = []
    while not events or not isinstance(events[-1], Finished | Failed):
        events.append(event := stream.get(PATIENCE))
        if isinstance(event, Reported):
            executor.answer(event, (answers or {}).get(event.report.step, Answer.CONTINUE))
    return events


def outcome(events: list[Event]) -> Outcome:
    end = events[-1]
    assert isinstance(end, Finished), end
    assert isinstance(end.result, Outcome)
    return end.result


def failure(events: list[Event]) -> Failed:
    end = events[-1]
    assert isinstance(end, Failed), end
    return end


def reports(events: list[Event]) -> list[Report]:
    return [event.report for event in events if isinstance(event, Reported)]


def scores(events: list[Event]) -> list[tuple[int, float]]:
    return [(report.step, report.metrics["score"]) for report in reports(events)]


def test_plain_function(executor: LocalExecutor, tmp_path: Path) -> None:
    events = drive(executor, tasks.plain, tmp_path, metric_key="accuracy")
    assert outcome(events) == Outcome({"accuracy": 6.0}, 0, Answer.CONTINUE)
    assert reports(events) == []


def test_async_function(executor: LocalExecutor, tmp_path: Path) -> None:
    events = drive(executor, tasks.asynchronous, tmp_path)
    assert outcome(events) == Outcome({"score": 2.0, "loss": 0.5}, 1, Answer.CONTINUE)
    assert reports(events) == [Report(1, {"score": 1.0})]


def test_async_generator(executor: LocalExecutor, tmp_path: Path) -> None:
    async def count(trial: Trial) -> Any:
        for number in range(1, 5):
            yield {"score": number}

    assert scores(drive(executor, count, tmp_path)) == [(1, 1.0), (2, 2.0), (3, 3.0), (4, 4.0)]
    assert outcome(drive(executor, count, tmp_path, {2: Answer.STOP})).step == 2


@pytest.mark.parametrize("objective", [tasks.counting, tasks.counting_by_hand])
@pytest.mark.parametrize("answer", [Answer.PAUSE, Answer.STOP])
def test_scheduler_is_obeyed_at_the_very_report(
    executor: LocalExecutor, tmp_path: Path, objective: Callable[[Trial], Any], answer: Answer
) -> None:
    events = drive(executor, objective, tmp_path, {3: answer})
    assert scores(events) == [(1, 1.0), (2, 2.0), (3, 3.0)]
    assert outcome(events) == Outcome({"score": 3.0}, 3, answer)


def test_generator_waits_for_its_answer(executor: LocalExecutor, tmp_path: Path) -> None:
    stream = executor.events()
    executor.submit(trial_task(tasks.counting, Trial({}), token="a", folder=tmp_path), stream)
    while not isinstance(event := stream.get(PATIENCE), Reported):
        pass
    with pytest.raises(TimeoutError):
        stream.get(0.2)  # nothing more comes until then
    executor.answer(event, Answer.STOP)
    end = stream.get(PATIENCE)
    assert isinstance(end, Finished)


def test_generator_is_closed_when_stopped(executor: LocalExecutor, tmp_path: Path) -> None:
    trial = Trial({"closed": str(tmp_path / "closed")})
    drive(executor, tasks.closing_marks, tmp_path, {2: Answer.STOP}, trial=trial)
    assert read_when_there(tmp_path / "closed") == "yes"


def test_state_comes_right_before_its_report(executor: LocalExecutor, tmp_path: Path) -> None:
    events = drive(executor, tasks.counting, tmp_path)
    kinds = [type(event) for event in events[1:-1]]
    assert kinds == [StateSaved, Reported] * 5
    saved = [event for event in events if isinstance(event, StateSaved)]
    assert [event.step for event in saved] == [1, 2, 3, 4, 5]
    assert [event.path for event in saved][-1] == state_path(tmp_path, 5)
    # Old states go: the newest, and the one before it for a driver that has not heard of the newest.
    assert sorted(path.name for path in tmp_path.glob("*.safetensors")) == [
        "step-00000004.safetensors",
        "step-00000005.safetensors",
    ]


@pytest.mark.parametrize("objective", [tasks.counting, tasks.counting_by_hand])
def test_pause_and_resume_go_on_from_the_saved_step(
    executor: LocalExecutor, tmp_path: Path, objective: Callable[[Trial], Any]
) -> None:
    trial = Trial({})
    first = drive(executor, objective, tmp_path, {2: Answer.PAUSE}, trial=trial)
    (*_, saved) = [event for event in first if isinstance(event, StateSaved)]
    trial.reports.extend(reports(first))
    second = drive(executor, objective, tmp_path, trial=trial, restore=saved.path)
    assert scores(second) == [(3, 3.0), (4, 4.0), (5, 5.0)]
    assert outcome(second).step == 5


def test_fork_from_a_donors_state(executor: LocalExecutor, tmp_path: Path) -> None:
    drive(executor, tasks.counting, tmp_path / "donor", {3: Answer.STOP})
    donated = state_path(tmp_path / "donor", 3)
    events = drive(executor, tasks.counting, tmp_path / "fork", restore=donated)
    assert scores(events) == [(4, 4.0), (5, 5.0)]
    assert donated.exists()  # a fork never clears up in the donor's folder


def test_restart_without_a_state_sends_no_known_report(executor: LocalExecutor, tmp_path: Path) -> None:
    trial = Trial({})
    trial.reports.extend([Report(1, {"score": 1.0}), Report(2, {"score": 2.0})])
    events = drive(executor, tasks.without_saving, tmp_path, trial=trial)
    assert scores(events) == [(3, 3.0)]


def test_state_saved_after_the_last_report(executor: LocalExecutor, tmp_path: Path) -> None:
    events = drive(executor, tasks.saving_after_the_last_report, tmp_path)
    assert events[-2] == StateSaved("attempt", 1, state_path(tmp_path, 1))


def test_uncommitted_state_can_be_loaded_and_is_left_uncommitted_by_a_failure(
    executor: LocalExecutor, tmp_path: Path
) -> None:
    def save_and_fail(trial: Trial) -> None:
        trial.save({"number": 1})
        assert trial.load() == {"number": 1}
        raise ValueError("before the report")

    events = drive(executor, save_and_fail, tmp_path)
    assert failure(events).message == "ValueError: before the report"
    assert not any(isinstance(event, StateSaved) for event in events)
    assert not list(tmp_path.glob("step-*"))


def test_unstorable_state_names_its_place(executor: LocalExecutor, tmp_path: Path) -> None:
    end = failure(drive(executor, tasks.saving_a_function, tmp_path))
    assert end.reason is FailureReason.USER_ERROR
    assert end.message.startswith('UsageError: save(state): state["model"]["activation"] is a function')


def test_yield_that_is_no_number(executor: LocalExecutor, tmp_path: Path) -> None:
    end = failure(drive(executor, tasks.yielding_text, tmp_path))
    assert "the objective gave 'good': expected a number, or a mapping" in end.message


def test_a_metric_that_is_no_number_is_named() -> None:
    with pytest.raises(UsageError) as caught:
        as_metrics({"score": 1.0, "note": "hi"}, "score")
    assert str(caught.value) == (
        "the objective gave {'score': 1.0, 'note': 'hi'}: 'note' is str; expected a number for every name"
    )


def test_output_goes_to_the_trials_log(executor: LocalExecutor, tmp_path: Path) -> None:
    def speak(trial: Trial) -> float:
        print("epoch 1")
        return 0.0

    drive(executor, speak, tmp_path)
    drive(executor, speak, tmp_path)
    assert (tmp_path / "log.txt").read_text() == "epoch 1\nepoch 1\n"


def test_answers_nobody_reads(executor: LocalExecutor, tmp_path: Path) -> None:
    def report_much(trial: Trial) -> float:
        for _ in range(3000):
            trial.report({"score": 1.0})
        return float(trial.should_stop())

    events = drive(executor, report_much, tmp_path)
    assert len(reports(events)) == 3000
    assert outcome(events).metrics == {"score": 0.0}


def test_output_after_many_reports_is_in_the_log(executor: LocalExecutor, tmp_path: Path) -> None:
    def report_and_speak(trial: Trial) -> None:
        for _ in range(300):
            trial.report({"score": 1.0})
        print("last words")

    for number in range(5):
        end = drive(executor, report_and_speak, tmp_path / str(number))[-1]
        assert isinstance(end, Finished)
        assert end.log == "last words\n"


def test_late_answer_is_ignored(executor: LocalExecutor, tmp_path: Path) -> None:
    events = drive(executor, tasks.asynchronous, tmp_path)
    (late,) = [event for event in events if isinstance(event, Reported)]
    executor.answer(late, Answer.STOP)
    assert outcome(drive(executor, tasks.counting, tmp_path)).answer is Answer.CONTINUE


def test_step_of_a_strange_name() -> None:
    assert step_of(state_path(Path("somewhere"), 123456789)) == 123456789
    with pytest.raises(RunError, match="is no saved state"):
        step_of(Path("model.safetensors"))
