"""One run of a program: its reports, its end, its state."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
import threading
from collections import deque
from contextlib import suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final

from metta.sweep.errors import RunError, UsageError
from metta.sweep.executors.memory import usage_of
from metta.sweep.executors.objective import IN_WORKER
from metta.sweep.trial import Trial

if TYPE_CHECKING:
    from metta.sweep.executors.command import CommandTraining

TAIL: Final = 20
"""Lines of the standard error that a failure's message quotes."""

REAPING: Final = 10.0
"""Seconds after which nobody waits any more for the end of processes that were killed."""


class CommandRun:
    """One run of the program.

    In a worker its processes stay in the worker's process group, so that whoever watches the worker's memory, or kills
    it, has them too: they are those that the group has got since. Called by hand, they are a group of their own.
    """

    def __init__(self, training: CommandTraining, trial: Trial, folder: Path) -> None:
        self._training = training
        self._trial = trial
        self._folder = folder
        self._tail: deque[str] = deque(maxlen=TAIL)
        self._step = 0
        self._kept: dict[str, tuple[int, int, int]] = {}
        self._saves_with_reports = False
        self._shares_group = IN_WORKER.get()
        self._strangers = _members(os.getpgrp()) if self._shares_group else frozenset[int]()

    def run(self) -> None:
        self._restore()
        process = self._start()
        assert process.stdout is not None
        reaper = threading.Thread(target=self._reap, args=(process,), daemon=True)
        copier = threading.Thread(target=self._copy, args=(process.stderr,), daemon=True)
        reaper.start()
        copier.start()
        killer: threading.Timer | None = None
        try:
            with process.stdout:
                for line in process.stdout:  # also after its stop: a full pipe would keep it from ending
                    if killer is None and self._take(line):
                        self._signal(process, signal.SIGTERM)
                        killer = threading.Timer(self._training.grace, self._signal, (process, signal.SIGKILL))
                        killer.daemon = True
                        killer.start()
            reaper.join()
        except BaseException:
            self._signal(process, signal.SIGKILL)
            raise
        finally:
            if killer is not None:
                killer.cancel()
            reaper.join(REAPING)
            copier.join(REAPING)
        if killer is None:
            self._check(process.returncode)
        if killer is None or not self._saves_with_reports:
            # Else what changed after the report that led to the stop belongs to a later step than that.
            self._save()

    def _start(self) -> subprocess.Popen[str]:
        training, trial = self._training, self._trial
        arguments = training.arguments(trial)
        environment = {
            **os.environ,
            **training.environment,
            "METTA_SWEEP_PARAMS": json.dumps(dict(trial.params), default=str),
            "METTA_SWEEP_TRIAL": str(trial.id),
            "METTA_SWEEP_RESOURCE": str(trial.resource),
            "METTA_SWEEP_SEED": str(trial.seed),
            "METTA_SWEEP_CHECKPOINT": os.fspath(self._folder),
            "METTA_SWEEP_STEP": str(self._step),
        }
        try:
            return subprocess.Popen(
                arguments,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env=environment,
                cwd=training.folder,
                encoding="utf-8",
                errors="backslashreplace",
                process_group=None if self._shares_group else 0,
            )
        except OSError as error:
            raise RunError(f"the command {shlex.join(arguments)} cannot be started: {error}") from None

    def _take(self, line: str) -> bool:
        """Take a line of the standard output; True when the trial has to end."""
        found = _json_object(line)
        metrics = {} if found is None else {name: value for name, value in found.items() if _is_number(value)}
        step = metrics.pop(self._training.step_key, None)
        if not metrics:
            sys.stdout.write(line)
            return False
        if step is not None and step != int(step):
            raise UsageError(f"the command reported {self._training.step_key}={step}: expected a whole number")
        self._step = self._step + 1 if step is None else int(step)
        if self._step > self._trial.step:
            self._saves_with_reports |= self._save()
        self._trial.report(metrics, self._step)
        return self._trial.should_stop()

    def _copy(self, errors: IO[str]) -> None:
        """Standard error goes to the log, and its end is kept."""
        with errors:
            for line in errors:
                self._tail.append(line)
                sys.stderr.write(line)

    def _check(self, code: int) -> None:
        if code:
            how = f"exited with code {code}" if code > 0 else f"was ended by {signal.Signals(-code).name}"
            told = "".join(self._tail).strip()
            raise RunError(f"the command {how}" + (f"; the end of its standard error:\n{told}" if told else ""))
        if not self._trial.step:
            raise RunError(
                'the command reported nothing: print lines such as {"score": 0.9} on the standard output, and flush it'
            )

    # Ending it

    def _reap(self, process: subprocess.Popen[str]) -> None:
        """When the program has ended its children end too; they would keep its pipes open."""
        process.wait()
        self._signal(process, signal.SIGKILL)

    def _signal(self, process: subprocess.Popen[str], number: signal.Signals) -> None:
        group = os.getpgrp() if self._shares_group else process.pid
        for member in _members(group) - self._strangers:
            with suppress(ProcessLookupError, PermissionError):
                os.kill(member, number)

    # Its state

    def _restore(self) -> None:
        state = self._trial.load()
        if state is None:
            return
        for name, content in state["files"].items():
            path = self._folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        self._step = state["step"]
        self._kept = self._stamps()

    def _save(self) -> bool:
        """Save what lies in the folder, where that has changed; whether it has."""
        stamps = self._stamps()
        if not stamps or stamps == self._kept:
            return False
        files = {name: (self._folder / name).read_bytes() for name in stamps}
        self._trial.save({"files": files, "step": self._step})
        self._kept = stamps
        return True

    def _stamps(self) -> dict[str, tuple[int, int, int]]:
        found = {}
        for path in sorted(self._folder.rglob("*")):
            with suppress(FileNotFoundError):  # renamed meanwhile
                about = path.stat()
                if path.is_file() and path.suffix != ".tmp":
                    found[path.relative_to(self._folder).as_posix()] = (about.st_ino, about.st_size, about.st_mtime_ns)
        return found


def _members(group: int) -> frozenset[int]:
    """The processes of a group, this one excepted."""
    usage = usage_of([group]).get(group)
    return frozenset() if usage is None else frozenset(usage.processes) - {os.getpid()}


def _json_object(line: str) -> dict[str, Any] | None:
    if not line.lstrip().startswith("{"):
        return None
    try:
        found = json.loads(line)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
