"""Our executor of this machine keeps the contract; and the suite finds those that do not."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import pytest

from metta.sweep.errors import UsageError
from metta.sweep.executors import (
    Answer,
    Event,
    EventStream,
    Executor,
    Failed,
    Finished,
    LocalExecutor,
    Logged,
    Reported,
    Started,
    Task,
)
from metta.sweep.testing.executor_conformance import ExecutorConformance
from metta.sweep.trial import FailureReason


class TestLocal(ExecutorConformance):
    patience = 30.0
    passes_environment = True
    time_limit = 2.0

    def make(self, folder: Path) -> Executor:
        return LocalExecutor(4, grace=0.2)


# What the suite finds


class TamperedStream(EventStream):
    """Gives other events than those that happen."""

    def __init__(self, tamper: Callable[[Event], list[Event]]) -> None:
        super().__init__()
        self._tamper = tamper
        self._given: deque[Event] = deque()

    def get(self, timeout: float | None = None) -> Event:
        while not self._given:
            self._given.extend(self._tamper(super().get(timeout)))
        return self._given.popleft()

    def __len__(self) -> int:
        return len(self._given) + super().__len__()


class Wrong(LocalExecutor):
    """Keeps the contract but for what its subclass does."""

    patience: ClassVar[float] = 30.0

    def __init__(self) -> None:
        super().__init__(4, grace=0.2)

    def events(self) -> EventStream:
        return TamperedStream(self.tamper)

    def tamper(self, event: Event) -> list[Event]:
        return [event]


class Twice(Wrong):
    def tamper(self, event: Event) -> list[Event]:
        return [event, event] if isinstance(event, Finished) else [event]


class Headless(Wrong):
    def tamper(self, event: Event) -> list[Event]:
        return [] if isinstance(event, Started) else [event]


class Losing(Wrong):
    def tamper(self, event: Event) -> list[Event]:
        return [] if isinstance(event, Reported) and event.sequence == 7 else [event]


class Repeating(Wrong):
    def tamper(self, event: Event) -> list[Event]:
        return [event, event] if isinstance(event, Reported) else [event]


class Deaf(Wrong):
    def answer(self, report: Reported, answer: Answer) -> None:
        super().answer(report, Answer.CONTINUE)


class Lasting(Wrong):
    patience = 3.0

    def cancel(self, token: str) -> None:
        return


class Hasty(Wrong):
    """Says that a task is over, and lets its processes live on."""

    patience = 5.0
    stream: EventStream

    def events(self) -> EventStream:
        self.stream = super().events()
        return self.stream

    def cancel(self, token: str) -> None:
        if not token.endswith("never-was"):
            self.stream.put(Failed(token, FailureReason.CANCELLED, "cancelled"))


class Blaming(Wrong):
    def tamper(self, event: Event) -> list[Event]:
        return [replace(event, reason=FailureReason.USER_ERROR)] if isinstance(event, Failed) else [event]


class Contagious(Wrong):
    tokens: list[str]

    def submit(self, task: Task, events: EventStream) -> None:
        self.tokens = [*getattr(self, "tokens", []), task.token]
        super().submit(task, events)

    def tamper(self, event: Event) -> list[Event]:
        if isinstance(event, Failed) and event.reason is FailureReason.KILLED:
            for token in self.tokens:
                self.cancel(token)
        return [event]


class Silent(Wrong):
    def tamper(self, event: Event) -> list[Event]:
        return [replace(event, log="")] if isinstance(event, Finished) else [event]


class Loud(Wrong):
    def tamper(self, event: Event) -> list[Event]:
        return [Logged(event.token, event.text.upper())] if isinstance(event, Logged) else [event]


class Talkative(Wrong):
    def tamper(self, event: Event) -> list[Event]:
        return [replace(event, traceback=str(event.exception))] if isinstance(event, Failed) else [event]


class Wordy(Wrong):
    def tamper(self, event: Event) -> list[Event]:
        return [replace(event, message=event.message * 20)] if isinstance(event, Failed) else [event]


class Forgetful(Wrong):
    def submit(self, task: Task, events: EventStream) -> None:
        channel = task.channel and replace(task.channel, restore=None)
        super().submit(replace(task, channel=channel), events)


class Tolerant(Wrong):
    def submit(self, task: Task, events: EventStream) -> None:
        try:
            super().submit(task, events)
        except UsageError:
            return


class Generous(Wrong):
    def submit(self, task: Task, events: EventStream) -> None:
        super().submit(replace(task, resources=replace(task.resources, memory=None, cpus=1)), events)


class Claiming(Wrong):
    def reattach(self, token: str, events: EventStream, folder: Path | None = None, *, also_ended: bool = True) -> bool:
        return True


@pytest.mark.parametrize(
    ("wrong", "found_by", "message"),
    [
        (Twice, "test_results", "came after the task's last event"),
        (Headless, "test_results", "came before Started"),
        (Losing, "test_reports_stream", r"the steps of the reports \(continue\): .*, found \[1, 2, 3, 4, 5, 6, 8"),
        (Repeating, "test_reports_stream", "the report before it was number 1"),
        (Deaf, "test_reports_stream", r"steps of the reports \(pause\): expected \[1, 2, 3\], found \[1, 2, 3, 4"),
        (Lasting, "test_cancel", r"no event within 3 s; these are not over: \['conformance-"),
        (Hasty, "test_cancel", "is over, but its processes live on"),
        (Blaming, "test_time_limits", "expected the reason timeout, but Failed"),
        (Contagious, "test_a_killed_worker_fails_one_task", "expected the reason killed|should have returned, but F"),
        (Silent, "test_output", r"the tail of the output: .*, found \[\]"),
        (Loud, "test_output", "the output as events: "),
        (Talkative, "test_secrets", "the secret was told"),
        (Wordy, "test_exceptions_that_cannot_travel", "a text of .* characters, expected at most"),
        (Forgetful, "test_states", "what the second attempt did"),
        (Tolerant, "test_a_token_in_use", "a second task with the token of a running one was accepted"),
        (Tolerant, "test_closing", "a closed executor accepted a task"),
        (Generous, "test_memory", "the task should have failed, but Finished"),
        (Generous, "test_too_much", "the task should have failed, but Finished"),
        (Claiming, "test_a_driver_is_killed", "a task that ended with its driver is found"),
    ],
)
def test_what_breaks_the_contract_is_found(
    wrong: type[Wrong], found_by: str, message: str, suites: list[type[ExecutorConformance]]
) -> None:
    class Suite(ExecutorConformance):
        patience = wrong.patience
        time_limit = 2.0

        def make(self, folder: Path) -> Executor:
            return wrong()

    suites.append(Suite)
    with pytest.raises(AssertionError, match=message):
        getattr(Suite(), found_by)()


@pytest.fixture
def suites() -> Iterator[list[type[ExecutorConformance]]]:
    """Suites whose executors are closed in the end."""
    made: list[type[ExecutorConformance]] = []
    yield made
    for suite in made:
        suite.teardown_class()


def test_a_suite_without_make_says_what_to_write() -> None:
    with pytest.raises(TypeError, match=r"ExecutorConformance has to say how an executor is made: write make\(self, f"):
        ExecutorConformance().test_results()
