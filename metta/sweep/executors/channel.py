"""The worker's end of a trial: `trial.report`, `should_stop`, `save` and `load` over the pipe."""

from __future__ import annotations

import io
import os
import pickle
import socket
import threading
from contextlib import suppress
from pathlib import Path

from metta.sweep.errors import RunError
from metta.sweep.executors.base import Answer, ChannelSettings
from metta.sweep.executors.checkpoint import read_state, write_state
from metta.sweep.executors.wire import Kind, frame, message, read_frame
from metta.sweep.store.files import replace_durably
from metta.sweep.trial import Report, Saved

_SUFFIX = ".safetensors"


class Link:
    """The worker's end of its socket. Any thread of the task may send."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._stream = io.BufferedReader(connection.makefile("rb", buffering=0), 1 << 16)
        self._sending = threading.Lock()

    def send(self, data: bytes) -> None:
        """Send whole frames."""
        try:
            with self._sending:
                self._connection.sendall(data)
        except OSError:
            os._exit(1)  # the driver is gone: nobody is left to hear of this task

    def send_frame(self, kind: Kind, payload: bytes) -> None:
        """Send one frame with a payload that may be large."""
        self.send(frame(kind, payload))

    def receive(self) -> tuple[Kind, bytes] | None:
        """The next frame; None once the driver closed the connection."""
        return read_frame(self._stream)


class SavedStates:
    """The files of a trial's states, as one attempt sees them: one may be pending until a report commits it."""

    def __init__(self, settings: ChannelSettings) -> None:
        self._settings = settings
        self._pending: Path | None = None
        self._newest = settings.restore
        restored = settings.restore
        self._kept = [restored] if restored is not None and restored.parent == settings.states_folder else []

    @property
    def folder(self) -> Path:
        """The trial's folder."""
        return self._settings.folder

    def save(self, state: object) -> None:
        """Write the state beside the committed ones."""
        pending = self._settings.states_folder / f"pending-{os.getpid()}{_SUFFIX}"
        write_state(pending, state)
        self._pending = pending

    def load(self) -> Saved | None:
        """The state saved last, by this attempt or by the one it goes on from."""
        if self._pending is not None:
            return Saved(read_state(self._pending), None)
        if self._newest is None:
            return None
        return Saved(read_state(self._newest), step_of(self._newest))

    def commit(self, step: int) -> Path | None:
        """Give the pending state the name of its step; its file, or None where nothing is pending."""
        if self._pending is None:
            return None
        path = state_path(self._settings.states_folder, step)
        replace_durably(self._pending, path)
        self._pending = None
        self._newest = path
        self._kept = [kept for kept in self._kept if kept != path] + [path]
        while len(self._kept) > max(1, self._settings.keep):
            with suppress(FileNotFoundError):
                self._kept.pop(0).unlink()
        return path


class PipeChannel:
    """A `TrialChannel` whose other end is the driver.

    Reports stream: `report` does not wait. `should_stop` waits until the driver has judged every report so far, so a
    scheduler that pauses at step 3 is obeyed at step 3, on a slow machine too.
    """

    def __init__(self, link: Link, settings: ChannelSettings) -> None:
        self._link = link
        self._states = SavedStates(settings)
        self._lock = threading.RLock()
        self._reports = 0
        self._judged = 0
        self._answer = Answer.CONTINUE

    @property
    def folder(self) -> Path:
        """The trial's folder."""
        return self._states.folder

    @property
    def answer(self) -> Answer:
        """The driver's last word that this process has heard; PAUSE and STOP stay."""
        return self._answer

    def report(self, report: Report) -> None:
        """Send a report, and with it the state that was saved before it."""
        with self._lock:
            self._reports += 1
            told = message(Kind.REPORT, self._reports, report.step, dict(report.metrics))
            # One write for both: the driver never sees the state without its report.
            self._link.send(self._commit(report.step) + told)

    def should_stop(self) -> bool:
        """True once the driver said PAUSE or STOP to a report."""
        with self._lock:
            while self._judged < self._reports and self._answer is Answer.CONTINUE:
                received = self._link.receive()
                if received is None:
                    os._exit(1)  # the driver is gone
                kind, payload = received
                if kind is Kind.ANSWER:
                    sequence, answer = pickle.loads(payload)
                    self._judged = max(self._judged, sequence)
                    self._answer = Answer(answer)
            return self._answer is not Answer.CONTINUE

    def save(self, state: object) -> None:
        """Write the state beside the committed ones; the next report commits it."""
        with self._lock:
            self._states.save(state)

    def load(self) -> Saved | None:
        """The state saved last, by this attempt or by the one it goes on from."""
        with self._lock:
            return self._states.load()

    def finish(self, step: int) -> None:
        """Commit a state that was saved after the last report, with the last step."""
        with self._lock:
            self._link.send(self._commit(step))

    def _commit(self, step: int) -> bytes:
        """Commit the pending state; the frame that tells the driver, or nothing."""
        path = self._states.commit(step)
        return b"" if path is None else message(Kind.SAVED, step, os.fspath(path))


def state_path(folder: Path, step: int) -> Path:
    """The file of the state that was committed with the report of `step`."""
    return folder / f"step-{step:08d}{_SUFFIX}"


def step_of(path: Path) -> int:
    """The step in a name that `state_path` made.

    Raises:
        RunError: the name has none.
    """
    number = path.name.removeprefix("step-").removesuffix(_SUFFIX)
    if not number.isascii() or not number.isdigit():
        raise RunError(f"{path} is no saved state: its name should be like {state_path(Path(), 12).name}")
    return int(number)
