"""The worker program: one attempt, on whatever machine an engine starts it.

It is a small driver: the task runs in a worker process of the same kind as on the driver's own machine, with the same
time-outs, memory watch and masking of secrets, and this process writes what is told into the attempt's folder, and
passes on what it finds there. So it outlives whatever becomes of the task, and can say what that was.

SIGTERM (the engine wants the machine back) and SIGUSR1 (the job's time is nearly over) make `trial.should_stop()` true;
after SIGTERM the task has the grace to save and return. It then says `preempted`, and the attempt after it goes on. So
does a trial that waits in vain for a driver's answer.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any, Final

from metta.sweep.errors import DamagedError, StorageError, WorkerDied
from metta.sweep.executors.base import (
    Answer,
    Event,
    EventStream,
    Failed,
    Finished,
    Logged,
    Reported,
    Started,
    StateSaved,
)
from metta.sweep.executors.jobs import THREAD_VARIABLES
from metta.sweep.executors.objective import Outcome
from metta.sweep.executors.pool import WorkerPool
from metta.sweep.executors.remote import spool
from metta.sweep.executors.remote.taskfile import Header, read_task
from metta.sweep.executors.serial import UnstorableError, one_line
from metta.sweep.store.codec import Unstorable, dumps
from metta.sweep.store.files import write_file
from metta.sweep.trial import FailureReason, Report, number_to_json

HEARTBEAT_S: Final = 2.0
"""Seconds between two heart-beats, and between two looks whether the attempt is fenced."""

QUICKEST_LOOK_S: Final = 0.005
SLOWEST_LOOK_S: Final = 0.2
"""Seconds between two looks for answers: soon after a report, and when nothing has come for long."""

LAST_WORDS_S: Final = 5.0
"""Seconds before the engine kills us in which the task is ended and its end is written, at most half of the grace."""

SIGNAL_SPREAD_S: Final = 0.3
"""Seconds within which all processes of a job get a signal that is meant for all of them."""

EXIT_REFUSED: Final = 3
"""Exit code where nothing was run: no task, or not the one that was promised."""


def main(arguments: list[str]) -> int:
    """Run the attempt whose folder and digest are the arguments; the exit code."""
    if len(arguments) != 2:
        print("usage: python -m metta.sweep.worker ATTEMPT_FOLDER SHA256", file=sys.stderr)
        return 2
    attempt, digest = Path(arguments[0]), arguments[1]
    try:
        if spool.is_fenced(attempt):
            print(f"{attempt} is fenced: another attempt has taken its place", file=sys.stderr)
            return 0
        header, call = read_task(attempt / spool.TASK, digest)
        if _is_over(attempt):
            print(f"{attempt} is over: an earlier start has told how it ended", file=sys.stderr)
            return 0
        number, taken_over, restore = _begin(attempt)
    except FileNotFoundError:
        print(f"{attempt} has no task: it is over, or this machine does not see the driver's files", file=sys.stderr)
        return EXIT_REFUSED
    except StorageError as error:
        print(error, file=sys.stderr)
        return EXIT_REFUSED
    run = spool.run_folder(attempt, number)
    program = _Program(attempt, number, header, taken_over)
    program.listen()
    try:
        program.work(call, restore)
    except StorageError as error:
        # The folder cannot be written: the driver will miss our heart-beat. What we say here may reach it.
        print(f"{run}: {error}", file=sys.stderr)
        return EXIT_REFUSED
    return 0


def _is_over(attempt: Path) -> bool:
    """Whether the last start that did anything has ended for good: the engine has started the job once too often."""
    for number in reversed(spool.runs_of(attempt)):
        run = spool.run_folder(attempt, number)
        if spool.read_json(run / spool.START) is not None:
            done = spool.read_json(run / spool.DONE)
            return done is not None and done.get("reason") != FailureReason.PREEMPTED.value
    return False


def _begin(attempt: Path) -> tuple[int, dict[str, int], Path | None]:
    """A new start: its number, up to which bytes it takes over those before it, and the last state of these.

    A state whose report was not told any more does not count: that report would be missing.
    """
    number = spool.new_run(attempt)
    taken_over: dict[str, int] = {}
    states: list[tuple[int, Path]] = []
    reached = 0
    for earlier in spool.runs_of(attempt):
        if earlier >= number:
            break
        run = spool.run_folder(attempt, earlier)
        start = spool.read_json(run / spool.START)
        if start is None:
            continue  # it died before it did anything
        taken_over |= {name: offset for name, offset in start["taken_over"].items() if name not in taken_over}
        reader = spool.LineReader(run / spool.EVENTS)
        while lines := reader.read():
            for line in lines:
                if line.get("event") == "saved":
                    states.append((line["step"], run / line["file"]))
                elif line.get("event") == "reported":
                    reached = max(reached, line["step"])
        taken_over.setdefault(run.name, reader.offset)
    reported = [path for step, path in states if step <= reached]
    return number, taken_over, reported[-1] if reported else None


class _Program:
    """One start of the worker program."""

    def __init__(self, attempt: Path, number: int, header: Header, taken_over: dict[str, int]) -> None:
        self._attempt = attempt
        self._number = number
        self._run = spool.run_folder(attempt, number)
        self._header = header
        self._taken_over = taken_over
        self._answers = spool.LineReader(attempt / spool.ANSWERS)
        self._asked_to_stop: str | None = None
        self._must_end_at = math.inf
        self._told_to_stop = False
        self._cancelled = False
        self._driver_answer = Answer.CONTINUE
        self._written = 0
        self._reported = 0
        self._judged = 0
        self._beats = 0

    def listen(self) -> None:
        """From now on signals are noted, and dealt with between two events."""
        for number in (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT):
            signal.signal(number, self._on_signal)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self._asked_to_stop = f"the job was told to end by {signal.Signals(number).name}"
        if number != signal.SIGUSR1:
            self._must_end_at = min(self._must_end_at, time.monotonic() + self._header.grace)

    def work(self, call: bytes, restore: Path | None) -> None:
        """Run the task, and write how it ended.

        Raises:
            StorageError: that cannot be written.
        """
        spool.write_json(self._run / spool.START, {"taken_over": self._taken_over, "host": socket.gethostname()})
        if (problem := self._problem()) is not None:
            self._conclude(Failed(self._header.token, FailureReason.USER_ERROR, problem))
            return
        self._settle_in()
        header = self._header
        if restore is not None and header.channel is not None:
            header.channel["restore"] = str(restore)
        task = header.task(self._run)
        events = EventStream()
        pool = WorkerPool(max(1, math.ceil(header.cpus)), grace=min(header.grace, 5.0), equips=False)
        beating = threading.Event()
        heart = threading.Thread(target=self._beat, args=(beating,), daemon=True)
        heart.start()
        try:
            pool.submit_call(task, call, frozenset(header.secrets), events)
            for event in self._events(pool, events):
                if isinstance(event, Finished | Failed):
                    self._conclude(event)
                    return
                self._tell(event)
        finally:
            pool.close()
            beating.set()

    def _problem(self) -> str | None:
        """Why the call cannot run here."""
        here = sys.version_info[:2]
        if here != self._header.python:
            wanted, found = (".".join(map(str, version)) for version in (self._header.python, here))
            return (
                f"the driver runs Python {wanted}, the job's interpreter {sys.executable} is Python {found}: pickled "
                f"functions do not travel between these; give the executor python= of version {wanted}"
            )
        return None

    def _settle_in(self) -> None:
        """Have what the task finds around it be the driver's, as far as this machine has it."""
        with contextlib.suppress(OSError):
            os.chdir(self._header.folder)
        known = set(sys.path)
        sys.path[:0] = [path for path in self._header.paths if path not in known]
        sys.argv[:] = self._header.arguments
        # Engines give a job fewer cores than the machine has; libraries would take all of them.
        for name in THREAD_VARIABLES:
            os.environ.setdefault(name, str(max(1, int(self._header.cpus))))

    def _events(self, pool: WorkerPool, events: EventStream) -> Iterator[Event]:
        """The events of the task; looks for answers and for reasons to end between them."""
        token = self._header.token
        pause, stopped, heard = QUICKEST_LOOK_S, False, time.monotonic()
        while True:
            try:
                event = events.get(pause)
                pause, heard = QUICKEST_LOOK_S, time.monotonic()
                yield event
            except TimeoutError:
                waits = self._judged < self._reported
                if waits and time.monotonic() - heard > self._header.patience:
                    self._asked_to_stop = f"no driver has answered for {self._header.patience:g} s"
                pause = min(pause * 1.5, SLOWEST_LOOK_S / (4 if waits else 1))
            for answer in self._new_answers():
                pause, heard = QUICKEST_LOOK_S, time.monotonic()
                if answer.get("cancel"):
                    self._cancelled = True
                elif answer.get("run") == self._number:
                    self._judged = max(self._judged, answer["sequence"])
                    self._driver_answer = Answer(answer["answer"])
                    self._pass_on(pool, answer["sequence"], self._driver_answer)
            if self._asked_to_stop is not None and not self._told_to_stop:
                self._told_to_stop = True
                self._pass_on(pool, 0, Answer.PAUSE)
            must_end = time.monotonic() >= self._must_end_at - min(LAST_WORDS_S, self._header.grace / 2)
            if not stopped and (self._cancelled or must_end):
                stopped = True
                pool.cancel(token)

    def _pass_on(self, pool: WorkerPool, sequence: int, answer: Answer) -> None:
        pool.answer(Reported(self._header.token, sequence, Report(0, {})), answer)

    def _new_answers(self) -> list[dict[str, Any]]:
        try:
            return self._answers.read()
        except DamagedError:
            raise
        except StorageError:  # a file system that hangs for a while must not end the task
            return []

    def _beat(self, over: threading.Event) -> None:
        """In a thread of its own, so that a file system that hangs holds up nothing else."""
        while not over.wait(HEARTBEAT_S if self._beats else 0):
            self._beats += 1
            with contextlib.suppress(StorageError):
                write_file(self._run / spool.HEARTBEAT, [str(self._beats).encode()], durable=False)
            with contextlib.suppress(StorageError):
                if spool.is_fenced(self._attempt) or max(spool.runs_of(self._attempt), default=0) > self._number:
                    self._cancelled = True

    # Telling

    def _tell(self, event: Event) -> None:
        match event:
            case Started():
                self._write({"event": "started", "host": socket.gethostname(), "process": os.getpid()})
            case Reported(sequence=sequence, report=report):
                self._reported = sequence
                metrics = {name: number_to_json(value) for name, value in report.metrics.items()}
                self._write({"event": "reported", "sequence": sequence, "step": report.step, "metrics": metrics})
            case StateSaved(step=step, path=path):
                self._write({"event": "saved", "step": step, "file": path.name})
            case Logged(text=text) if self._header.stream_log:
                self._write({"event": "logged", "text": text})

    def _write(self, line: dict[str, Any]) -> None:
        data = json.dumps(line).encode() + b"\n"
        spool.append(self._run / spool.EVENTS, data)
        self._written += len(data)

    def _conclude(self, event: Finished | Failed) -> None:
        """Write the last event. What it names is on the disk before it."""
        done: dict[str, Any]
        if isinstance(event, Finished):
            try:
                done = self._finished(event)
            except Unstorable as error:
                wrong = UnstorableError(f"the result of {self._header.name or 'the task'}: {error}")
                done = self._failed(Failed(event.token, FailureReason.USER_ERROR, one_line(wrong), "", wrong))
        else:
            done = self._failed(event)
        done |= {"log": event.log, "seconds": event.seconds, "events": self._written}
        spool.write_json(self._run / spool.DONE, done)

    def _finished(self, event: Finished) -> dict[str, Any]:
        result = event.result
        if isinstance(result, Outcome):
            if result.answer is not Answer.CONTINUE and self._driver_answer is Answer.CONTINUE:
                return self._preempted()  # the trial obeyed us, not its scheduler
            metrics = result.metrics
            numbers = None if metrics is None else {name: number_to_json(value) for name, value in metrics.items()}
            return {"end": "outcome", "metrics": numbers, "step": result.step, "answer": result.answer.value}
        write_file(self._run / spool.RESULT, dumps(result, f"the result of {self._header.name or 'the task'}"))
        return {"end": "result"}

    def _ended_by_engine(self, event: Failed) -> bool:
        """Whether the task failed because the engine wants the machine back."""
        if event.reason is FailureReason.CANCELLED:
            return True
        if event.traceback or not isinstance(event.exception, WorkerDied) or event.reason is FailureReason.OOM:
            return False
        # Engines signal all processes of a job: the task's may have ended before we heard of it ourselves.
        time.sleep(SIGNAL_SPREAD_S)
        return self._asked_to_stop is not None

    def _preempted(self) -> dict[str, Any]:
        reason = FailureReason.PREEMPTED.value
        return {
            "end": "failed",
            "reason": reason,
            "message": self._asked_to_stop or "the job was ended",
            "traceback": "",
            "kind": None,
        }

    def _failed(self, event: Failed) -> dict[str, Any]:
        if not self._cancelled and self._ended_by_engine(event):
            return self._preempted()
        return {
            "end": "failed",
            "reason": event.reason.value,
            "message": event.message,
            "traceback": event.traceback,
            "kind": kind_of(event.exception),
        }


def kind_of(error: BaseException | None) -> str | None:
    """What the driver may rebuild of an exception: its class, if that is the interpreter's or ours."""
    if isinstance(error, UnstorableError):
        return "unstorable"
    if isinstance(error, WorkerDied):
        return "died"
    if error is not None and type(error).__module__ == "builtins":
        return type(error).__name__
    return None
