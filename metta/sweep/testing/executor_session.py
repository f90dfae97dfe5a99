"""Tasks and their events, as a driver sees them, with an umpire who checks every event."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar
from uuid import uuid4

from metta.sweep.executors.base import (
    Answer,
    Event,
    EventStream,
    Executor,
    Failed,
    Finished,
    Logged,
    Reported,
    Started,
    StateSaved,
    Task,
)
from metta.sweep.executors.objective import Objective, trial_task
from metta.sweep.trial import FailureReason, Trial

E = TypeVar("E", bound=Event)

Answers = Mapping[int, Answer | None]
"""What a report at a step is answered; None: not at all. Those at other steps are told to go on."""


@dataclass
class Record:
    """What has come of one task so far.

    Attributes:
        token: of the task.
        folder: of its log, and of the trial's states.
        answers: to its reports.
        events: in the order in which they came.
    """

    token: str
    folder: Path
    answers: Answers = field(default_factory=dict)
    events: list[Event] = field(default_factory=list)

    def of(self, kind: type[E]) -> list[E]:
        """The events of one kind."""
        return [event for event in self.events if isinstance(event, kind)]

    @property
    def is_over(self) -> bool:
        """Whether its last event has come."""
        return bool(self.events) and isinstance(self.events[-1], Finished | Failed)

    @property
    def finished(self) -> Finished:
        """Its end, which must be a good one."""
        end = self.events[-1]
        assert isinstance(end, Finished), f"the task should have returned, but {end!r:.2000}"
        return end

    @property
    def result(self) -> Any:
        """What it returned, which it must have."""
        return self.finished.result

    def failed(self, *reasons: FailureReason) -> Failed:
        """Its end, which must be a failure, for one of these reasons and with a message."""
        end = self.events[-1]
        assert isinstance(end, Failed), f"the task should have failed, but {end!r:.2000}"
        assert end.reason in reasons, f"expected the reason {' or '.join(reasons)}, but {end!r:.2000}"
        assert end.message, f"a failure without a message: {end!r:.2000}"
        return end

    @property
    def steps(self) -> list[int]:
        """The steps of its reports."""
        return [event.report.step for event in self.of(Reported)]

    @property
    def log(self) -> str:
        """The whole of `log.txt`; "" where there is none."""
        path = self.folder / "log.txt"
        return path.read_bytes().decode("utf-8", "replace") if path.exists() else ""

    @property
    def text(self) -> str:
        """All that the task has said, in every place where it is kept."""
        ends: list[Finished | Failed] = [*self.of(Finished), *self.of(Failed)]
        told = [text for failed in self.of(Failed) for text in (failed.message, failed.traceback)]
        return "\n".join([self.log, self.streamed, *(end.log for end in ends), *told])

    @property
    def streamed(self) -> str:
        """Its output as events."""
        return "".join(event.text for event in self.of(Logged))

    def check(self, event: Event) -> None:
        """Whether this event may come now."""
        where = f"{event!r:.300} of {self.token}"
        assert not self.is_over, f"{where} came after the task's last event, {self.events[-1]!r:.300}"
        if isinstance(event, Started):
            assert not self.of(Started), f"{where} came although the task had started"
            assert not self.events, f"{where} is not the first event"
            assert event.worker, f"{where} does not say which worker has the task"
        elif not isinstance(event, Failed):
            assert self.of(Started), f"{where} came before Started"
        if isinstance(event, Reported):
            for before in self.of(Reported)[-1:]:
                assert event.sequence > before.sequence, f"{where}: the report before it was number {before.sequence}"
                assert event.report.step > before.report.step, f"{where}: step {before.report.step} came before it"
        if isinstance(event, StateSaved):
            assert event.path.is_absolute(), f"{where}: expected an absolute path"
        if isinstance(event, Finished | Failed):
            assert event.seconds >= 0, f"{where} took less than no time"


class Session:
    """Submits tasks to one stream of an executor, and reads it.

    Args:
        executor: under test.
        folder: for the folders of the tasks.
        patience: seconds in which the next event, or what processes do, has to come. A healthy executor never needs
            them all.
    """

    def __init__(self, executor: Executor, folder: Path, patience: float) -> None:
        self.executor = executor
        self.stream: EventStream = executor.events()
        self.records: dict[str, Record] = {}
        self._folder = folder
        self._patience = patience

    def __enter__(self) -> Session:
        return self

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        for record in self.records.values():
            if not record.is_over:
                self.executor.cancel(record.token)
        if kind is None:
            self.check_silence()

    def submit(self, fn: Callable[..., object], *args: Any, token: str = "", **options: Any) -> Record:
        """Hand in a task; `options` are those of `Task`."""
        record = self._new(token)
        task = Task(record.token, fn, args, **{"log_folder": record.folder, **options})
        return self._submit(record, task)

    def submit_trial(
        self,
        objective: Objective,
        answers: Answers | None = None,
        *,
        token: str = "",
        resume: Record | None = None,
        timeout: float | None = None,
        **params: Any,
    ) -> Record:
        """Hand in an attempt of a trial; `resume`: its last attempt, whose last state it goes on from."""
        record = self._new(token)
        record.answers = answers or {}
        trial, restore = Trial(params, id=len(self.records)), None
        if resume is not None:
            record.folder = resume.folder
            trial.reports = [event.report for event in resume.of(Reported)]
            restore = resume.of(StateSaved)[-1].path
        task = trial_task(objective, trial, token=record.token, folder=record.folder, restore=restore, timeout=timeout)
        return self._submit(record, task)

    def adopt(self, token: str, answers: Answers | None = None) -> Record:
        """Reattach to a task of an earlier driver, which must be there."""
        record = Record(token, self._folder / token, answers or {})
        self.records[token] = record
        assert self.executor.reattach(token, self.stream, record.folder), f"reattach({token!r}) found nothing"
        return record

    def run(self, fn: Callable[..., object], *args: Any, **options: Any) -> Record:
        """Hand in a task, and read until it is over."""
        record = self.submit(fn, *args, **options)
        self.wait(record)
        return record

    def read(self) -> Event:
        """The next event, checked and recorded; a report is answered."""
        try:
            event = self.stream.get(self._patience)
        except TimeoutError:
            waiting = [record.token for record in self.records.values() if not record.is_over]
            raise AssertionError(f"no event within {self._patience:g} s; these are not over: {waiting}") from None
        record = self.records.get(event.token)
        assert record is not None, f"{event!r:.300} is of no task of this stream"
        record.check(event)
        record.events.append(event)
        if isinstance(event, Reported):
            answer = record.answers.get(event.report.step, Answer.CONTINUE)
            if answer is not None:
                self.executor.answer(event, answer)
        return event

    def wait(self, *records: Record, until: Callable[[Record], bool] = lambda record: record.is_over) -> None:
        """Read until these, or all, are over, or until something else is true of each of them."""
        wanted = records or tuple(self.records.values())
        while not all(until(record) for record in wanted):
            ended = [record for record in wanted if record.is_over and not until(record)]
            assert not ended, f"it ended too early: {ended[0].events[-1]!r:.2000}"
            self.read()

    def eventually(self, condition: Callable[[], bool]) -> bool:
        """Whether it became true: for what processes do, of which no event tells."""
        end = time.monotonic() + self._patience
        while not condition():
            if time.monotonic() > end:
                return False
            time.sleep(0.01)
        return True

    def check_silence(self) -> None:
        """Nothing comes that nobody has waited for, of tasks that are over."""
        while len(self.stream):
            self.read()

    def check_gone(self, record: Record) -> None:
        """No process of a task with a pulse is left."""
        path = record.folder / "pulse"

        def is_still() -> bool:
            before = _size(path)
            time.sleep(0.3)  # the time of 15 beats
            return _size(path) == before

        assert _size(path), "the task's child never lived"
        assert self.eventually(is_still), f"{record.token} is over, but its processes live on"

    def _new(self, token: str) -> Record:
        token = token or f"conformance-{uuid4().hex[:12]}"
        return Record(token, self._folder / token)

    def _submit(self, record: Record, task: Task) -> Record:
        assert record.token not in self.records
        self.executor.submit(task, self.stream)
        self.records[record.token] = record
        return record


def _size(path: Path) -> int:
    """Its bytes; 0 where it is not there."""
    return path.stat().st_size if path.exists() else 0
