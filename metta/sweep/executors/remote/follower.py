"""The driver's view of an attempt elsewhere: what its worker program has told, as events."""

from __future__ import annotations

import builtins
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from metta.sweep.errors import DamagedError, RunError, StageTimeout, StorageError, WorkerDied
from metta.sweep.executors.base import Answer, Event, Failed, Finished, Logged, Reported, StateSaved
from metta.sweep.executors.base import Started as Started
from metta.sweep.executors.channel import state_path
from metta.sweep.executors.objective import Outcome
from metta.sweep.executors.remote import spool
from metta.sweep.executors.serial import UnstorableError
from metta.sweep.redaction import Redactor
from metta.sweep.store.codec import loads
from metta.sweep.store.files import read_file
from metta.sweep.trial import FailureReason, Report

_STATE: Final = re.compile(re.escape(state_path(Path(), 0).name).replace("0" * 8, r"\d{8,12}"))

_MOST_REPORTS: Final = 1 << 40
"""More than one start of a worker program makes: tells the reports of several starts apart in one number."""


@dataclass(slots=True)
class Follower:
    """Reads what the worker program of an attempt has written since the last look.

    Attributes:
        token: of the attempt.
        attempt: its folder.
        run: the start of the worker program that is followed; 0 before there is one.
    """

    token: str
    attempt: Path
    run: int = 0
    _reader: spool.LineReader | None = None
    _seen_start: bool = False

    def read(self) -> list[Event]:
        """What is new, in order; not the last event.

        Raises:
            DamagedError: something there is not what a worker program writes.
            StorageError: it cannot be read; the next look begins where this one did.
        """
        before = self.run, self._reader, self._seen_start
        self._reader = None if self._reader is None else replace(self._reader)
        try:
            events = list(self._of_earlier_runs())
            if self._reader is not None:
                events += self._events(self.run, self._reader.read())
        except StorageError:
            self.run, self._reader, self._seen_start = before
            raise
        return events

    def _of_earlier_runs(self) -> Iterator[Event]:
        """Where a newer start has taken over: what it has taken over and was not read yet. Then it is followed."""
        for number in reversed(spool.runs_of(self.attempt)):
            if number <= self.run:
                return
            start = spool.read_json(spool.run_folder(self.attempt, number) / spool.START)
            if start is not None:
                break
        else:
            return
        for name, end in sorted(_taken_over(start, self.attempt)):
            earlier = spool.run_number(name)
            if not earlier or earlier < self.run:
                continue
            reader = self._reader_of(earlier)
            while reader.offset < end and (lines := reader.read(end)):
                yield from self._events(earlier, lines)
        self.run, self._reader = number, self._reader_of(number)

    def _reader_of(self, number: int) -> spool.LineReader:
        if self._reader is not None and number == self.run:
            return self._reader
        return spool.LineReader(spool.run_folder(self.attempt, number) / spool.EVENTS)

    def _events(self, number: int, lines: list[dict[str, Any]]) -> Iterator[Event]:
        for line in lines:
            try:
                event = self._event(number, line)
            except (KeyError, TypeError, ValueError) as error:
                path = spool.run_folder(self.attempt, number) / spool.EVENTS
                raise DamagedError(f"{path} is damaged: {line!r:.200} is no event ({error})", path=str(path)) from None
            if event is not None:
                yield event

    def _event(self, number: int, line: dict[str, Any]) -> Event | None:
        kind = line["event"]
        if kind == "started":
            if self._seen_start:
                return None  # the engine has started the job again: the same attempt goes on
            self._seen_start = True
            return Started(self.token, f"{line['host']}:{int(line['process'])}")
        if kind == "reported":
            metrics = {str(name): float(value) for name, value in line["metrics"].items()}
            sequence = number * _MOST_REPORTS + int(line["sequence"])
            return Reported(self.token, sequence, Report(int(line["step"]), metrics))
        if kind == "saved":
            if not _STATE.fullmatch(line["file"]):
                raise ValueError("no name of a state")
            return StateSaved(self.token, int(line["step"]), spool.run_folder(self.attempt, number) / line["file"])
        if kind == "logged":
            return Logged(self.token, str(line["text"]))
        raise ValueError(f"unknown event {kind!r}")

    def end(self) -> dict[str, Any] | None:
        """What the worker program has written last; None before, and while events before that are not read.

        Raises:
            StorageError: it cannot be read, or is damaged.
        """
        if self._reader is None:
            return None
        path = spool.run_folder(self.attempt, self.run) / spool.DONE
        done = spool.read_json(path)
        if done is None:
            return None
        told = done.get("events", 0)
        if not isinstance(told, int):
            raise DamagedError(f"{path} is damaged: {told!r:.100} bytes of events", path=str(path))
        return None if self._reader.offset < told else done

    def heartbeat(self) -> bytes:
        """What stands there now; it changes while the worker program lives."""
        try:
            return spool.read_end(spool.run_folder(self.attempt, self.run) / spool.HEARTBEAT, 64)
        except FileNotFoundError:
            return b""


def _taken_over(start: dict[str, Any], attempt: Path) -> Iterator[tuple[str, int]]:
    """Of which earlier starts one has taken over how many bytes."""
    taken_over = start.get("taken_over")
    for name, end in taken_over.items() if isinstance(taken_over, dict) else [("", None)]:
        if not isinstance(end, int):
            raise DamagedError(f"{attempt} is damaged: a start has taken over {taken_over!r:.100}", path=str(attempt))
        yield name, end


def answer_line(sequence: int, answer: Answer) -> dict[str, Any]:
    """The line of `answers` for a report of a `Follower`."""
    run, number = divmod(sequence, _MOST_REPORTS)
    return {"run": run, "sequence": number, "answer": answer.value}


def last_event(
    follower: Follower, done: dict[str, Any], name: str, limit: float | None, redactor: Redactor
) -> Finished | Failed:
    """The last event of an attempt from what its worker program has written.

    Args:
        follower: of the attempt.
        done: what its `end` gave.
        name: of the task, for messages.
        limit: its time-out in seconds.
        redactor: masks secrets of the driver.

    Raises:
        DamagedError: it is not what a worker program writes.
        StorageError: the result cannot be read.
    """
    token = follower.token
    try:
        log, seconds = redactor.text(str(done["log"])), float(done["seconds"])
        if done["end"] == "outcome":
            given = done["metrics"]
            metrics = None if given is None else {str(metric): float(value) for metric, value in given.items()}
            return Finished(token, Outcome(metrics, int(done["step"]), Answer(done["answer"])), log, seconds)
        if done["end"] == "result":
            return Finished(token, _result(follower), log, seconds)
        reason = FailureReason(done["reason"])
        message, traceback = redactor.text(str(done["message"])), redactor.text(str(done["traceback"]))
        error = _rebuilt(reason, done["kind"], message, name or token, limit)
        return Failed(token, reason, message, traceback, error, log, seconds)
    except (KeyError, TypeError, ValueError) as error:
        path = spool.run_folder(follower.attempt, follower.run) / spool.DONE
        raise DamagedError(f"{path} is damaged: {error}", path=str(path)) from None


def _result(follower: Follower) -> Any:
    path = spool.run_folder(follower.attempt, follower.run) / spool.RESULT
    try:
        return loads(read_file(path), path=path)
    except FileNotFoundError:
        raise DamagedError(f"{path} is missing", path=str(path)) from None


def _rebuilt(
    reason: FailureReason, kind: str | None, message: str, name: str, limit: float | None
) -> BaseException | None:
    """The exception that a failure stands for, as far as text can say: no class is looked up but the interpreter's."""
    if reason is FailureReason.TIMEOUT and limit is not None:
        return StageTimeout(name, limit)
    if kind == "unstorable":
        return UnstorableError(message.partition(": ")[2] or message)
    if kind == "died":
        return WorkerDied(message, reason=reason.value)
    cls = getattr(builtins, kind, None) if kind is not None and kind.isidentifier() else None
    if isinstance(cls, type) and issubclass(cls, Exception):
        try:
            return cls(message.removeprefix(f"{kind}: "))
        except TypeError:  # UnicodeDecodeError and its like want more than a text
            pass
    return None if kind is None else RunError(message)
