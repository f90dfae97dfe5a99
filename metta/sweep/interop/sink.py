"""Where trials are written to, one after another: what exporters and loggers share.

A sink remembers where it writes what it has written (its `marks`), so that a sweep that is exported again, or logged
by another driver after it was resumed, is not written twice.
"""

from __future__ import annotations

import json
import os
import stat
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

from metta.sweep.errors import RefusedError, StorageError
from metta.sweep.interop.facts import TrialFacts, facts_of
from metta.sweep.report.snapshot import Span, SweepSnapshot
from metta.sweep.trial import Report, TrialState


class Mark(NamedTuple):
    """What was written of a trial.

    Attributes:
        step: up to which its reports were; 0 for none.
        state: what it was in then.
    """

    step: int = 0
    state: str = ""


class Sink(ABC):
    """Takes what happens to the trials of one sweep; errors are those of the library behind it.

    Args:
        marks: number -> what earlier sinks have written of the trial at the same place.

    Attributes:
        marks: the same with what this one has written.
    """

    def __init__(self, marks: Mapping[int, Mark]) -> None:
        self.marks: dict[int, Mark] = dict(marks)
        self._open: set[int] = set()

    def start(self, trial: TrialFacts) -> None:
        """A trial begins, or goes on; nothing where it has not ended since it did."""
        if trial.number not in self._open:
            self._open.add(trial.number)
            self._start(trial)
            self.marks.setdefault(trial.number, Mark(0, "running"))

    def report(self, number: int, report: Report, at: float) -> None:
        """A trial that was started reported, at this time (seconds since the epoch)."""
        self._report(number, report, at)
        self.marks[number] = Mark(report.step, "running")

    def end(self, trial: TrialFacts) -> None:
        """A trial that was started is over, or leaves its worker for some time."""
        self._open.discard(trial.number)
        self._end(trial)
        self.marks[trial.number] = Mark(trial.step, trial.state)

    @abstractmethod
    def flush(self) -> None:
        """Write what waits, and the marks."""

    @abstractmethod
    def close(self, status: str) -> None:
        """The sweep is "completed", "cancelled" or "failed"; where it may go on, "interrupted" or "running"."""

    @abstractmethod
    def _start(self, trial: TrialFacts) -> None:
        """As `start`, of a trial that is not open; `marks` has it where it is not new."""

    @abstractmethod
    def _report(self, number: int, report: Report, at: float) -> None:
        """As `report`."""

    @abstractmethod
    def _end(self, trial: TrialFacts) -> None:
        """As `end`."""


class Marks:
    """Marks in a file of their own.

    Args:
        path: the file.
        key: of the sweep that it has to be of.

    Raises:
        RefusedError: the file belongs to another sweep.
        StorageError: it is none of ours.
    """

    def __init__(self, path: Path, key: str) -> None:
        self._path, self._key = path, key
        self.known: dict[int, Mark] = {}
        try:
            data = json.loads(path.read_bytes())
            owner = data["sweep"]
            self.known = {int(number): Mark(int(step), str(state)) for number, (step, state) in data["trials"].items()}
        except FileNotFoundError:
            return
        except OSError as error:
            raise StorageError(f"{path} cannot be read: {error.strerror or error}", path=str(path)) from error
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise StorageError(f"{path} is not what was written to it: {error}", path=str(path)) from None
        if owner != key:
            raise RefusedError(f"{path.parent} holds the sweep {owner!r}, not {key!r}: write to another folder")

    def save(self, marks: Mapping[int, Mark]) -> None:
        """Write them, as a whole or not at all."""
        text = json.dumps({"sweep": self._key, "trials": {str(number): list(mark) for number, mark in marks.items()}})
        with replacing(self._path) as waiting:
            waiting.write_text(text, encoding="utf-8")


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A file to write to that takes the place of `path` when it is written: nobody ever reads half of it.

    Where `path` is a link, what it leads to is replaced.

    Raises:
        StorageError: it cannot be written, or is a pipe or a device: nothing takes the place of those.
    """
    try:
        kind = path.stat().st_mode
    except OSError:
        kind = stat.S_IFREG  # it is not there yet, or it is said below
    if not (stat.S_ISREG(kind) or stat.S_ISDIR(kind)):
        raise StorageError(f"{path} cannot be written: it is a pipe or a device; name a file", path=str(path))
    place = Path(os.path.realpath(path))
    waiting = place.with_name(f".{place.name}.{os.getpid()}")
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        try:
            yield waiting
            waiting.replace(place)
        finally:
            waiting.unlink(missing_ok=True)
    except OSError as error:
        raise StorageError(f"{path} cannot be written: {error.strerror or error}", path=str(path)) from error


def write(snapshot: SweepSnapshot, sink: Sink, began: float) -> None:
    """Write what a sink does not know yet of a sweep, and close it."""
    try:
        play(snapshot, sink, began)
    except BaseException:
        with suppress(Exception):  # what is wrong is told by the first error
            sink.close("interrupted")
        raise
    sink.close(snapshot.status)


def play(snapshot: SweepSnapshot, sink: Sink, began: float) -> None:
    """Write what a sink does not know yet of a sweep.

    The reports are read trial by trial, and kept by nobody.

    Args:
        snapshot: the sweep.
        sink: where to.
        began: when the sweep began, in seconds since the epoch.
    """
    spans = spans_by_trial(snapshot)
    for trial in snapshot.trials:
        facts = facts_of(snapshot, trial, spans.get(trial.id, ()), began)
        known = sink.marks.get(trial.id)
        if known == Mark(facts.step, facts.state) or (known is None and trial.state is TrialState.PENDING):
            continue
        sink.start(facts)
        after = 0 if known is None else known.step
        # Of when a trial reported nothing is kept but the order: its end is when all of them had come.
        at = facts.ended or began + snapshot.seconds
        for report in trial.copy_unread().reports if trial.step > after else ():
            if report.step > after:
                sink.report(trial.id, report, at)
        if trial.state is not TrialState.RUNNING:
            sink.end(facts)
    sink.flush()


def spans_by_trial(snapshot: SweepSnapshot) -> dict[int, tuple[Span, ...]]:
    """The attempts of each trial, in the order in which they began."""
    by_trial = sorted(snapshot.spans, key=lambda span: (span.trial, span.began))
    return {number: tuple(spans) for number, spans in groupby(by_trial, key=lambda span: span.trial)}
