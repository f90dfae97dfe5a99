"""What an executor is told is on disk already: a task when it is submitted, a report when it is answered (R1, R3).

A driver that dies after it has told somebody something must not have forgotten it.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from metta.sweep.executors.base import Answer, Event, EventStream, Finished, Reported, Started, Task
from metta.sweep.executors.objective import Outcome
from metta.sweep.experiments import SweepExperiment
from metta.sweep.schedulers import ASHAScheduler, AsynchronousScheduler
from metta.sweep.schedulers.base import Scheduler
from metta.sweep.space import Uniform
from metta.sweep.store.entries import Event as Entry
from metta.sweep.store.entries import StoredReport
from metta.sweep.store.runs import Store
from metta.sweep.trial import Report, Trial

STEPS = 4


class Watching:
    """An executor in this process, whose trials report their steps one by one and wait for each answer.

    Args:
        written: says what is in the journal now.
    """

    capacity = 3

    def __init__(self, written: Callable[[], list[Entry | StoredReport]]) -> None:
        self._written = written
        self._streams: dict[str, tuple[EventStream, Trial]] = {}
        self.told = 0
        self.forgettable: list[str] = []

    def events(self) -> EventStream:
        return EventStream()

    def submit(self, task: Task, events: EventStream) -> None:
        tokens = [entry.data["token"] for entry in self._entries() if entry.kind == "trial.granted"]
        self._note(task.token in tokens, f"{task.token} was submitted")
        trial: Trial = task.args[1]
        self._streams[task.token] = events, trial
        self._put(task.token, Started(task.token, "here"))
        self._report(task.token, (trial.step or 0) + 1, 1)

    def answer(self, report: Reported, answer: Answer) -> None:
        _, trial = self._streams[report.token]
        steps = [(found.trial, found.step) for found in self._written() if isinstance(found, StoredReport)]
        self._note(
            (trial.id, report.report.step) in steps, f"step {report.report.step} of trial {trial.id} was answered"
        )
        if answer is Answer.CONTINUE and report.report.step < STEPS:
            self._report(report.token, report.report.step + 1, report.sequence + 1)
        else:
            self._put(report.token, Finished(report.token, Outcome(None, report.sequence, answer)))

    def cancel(self, token: str) -> None: ...

    @property
    def outlives_driver(self) -> bool:
        return False

    def reattach(self, token: str, events: EventStream, folder: Path | None = None, *, also_ended: bool = True) -> bool:
        return False

    def close(self) -> None: ...

    def _report(self, token: str, step: int, sequence: int) -> None:
        score = step * float(self._streams[token][1].params["x"])
        self._put(token, Reported(token, sequence, Report(step, {"score": score})))

    def _put(self, token: str, event: Event) -> None:
        self._streams[token][0].put(event)

    def _entries(self) -> list[Entry]:
        return [entry for entry in self._written() if isinstance(entry, Entry)]

    def _note(self, is_written: bool, what: str) -> None:
        self.told += 1
        if not is_written:
            self.forgettable.append(f"{what} before that was committed")


@pytest.mark.parametrize("scheduler", [AsynchronousScheduler(), ASHAScheduler(max_epochs=STEPS, grace_period=1)])
def test_nothing_is_told_before_it_is_committed(scheduler: Scheduler, tmp_path: Path) -> None:
    def written() -> list[Entry | StoredReport]:
        with Store(tmp_path).open("told") as run:
            return list(run.journal.entries())

    executor = Watching(written)
    space = {"x": Uniform(0.0, 1.0)}
    sweep = SweepExperiment(
        _never, name="told", search_space=space, scheduler=scheduler, executor=executor, store=tmp_path, seed=1
    )
    result = sweep.run(6)
    assert len(result.trials) == 6
    assert executor.told > 12
    assert executor.forgettable == []


def _never(trial: Trial) -> float:
    raise AssertionError("the executor of this test calls nothing")
