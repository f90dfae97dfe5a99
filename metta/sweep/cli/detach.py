"""`--detach`: the command goes on in a process that no terminal can end, and what it says goes into the run's log.

The process is forked before the user's file is loaded: its environment and its settings are in memory only, and nothing
that it needs is written down.
"""

from __future__ import annotations

import io
import json
import os
import shlex
import signal
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import IO, Any, Final, TypeAlias

import click

from metta.sweep.cli.output import show
from metta.sweep.cli.shown import show_json
from metta.sweep.errors import UsageError
from metta.sweep.redaction import Redactor, secrets_in
from metta.sweep.store.files import make_folder, storage_errors
from metta.sweep.store.run import RunInfo

Began: TypeAlias = Callable[[RunInfo], None]
"""Is told, once, which run is driven."""

LOG: Final = Path("driver") / "log.txt"
"""In the folder of the run: what its driver has said."""


def go_to_background(store: str | None, *, dry_run: bool = False, as_json: bool = False) -> Began:
    """Leave the terminal: from here on a process of its own goes on, without terminal and input.

    The process that the user has started waits until that one has begun its run, says how to come back to it, and
    ends; or it ends as that one does, and says what that one has said.

    Args:
        store: of the command line.
        dry_run: nothing is to be run.
        as_json: what is said is a JSON document.

    Returns:
        What the process in the background calls when its run has begun.

    Raises:
        UsageError: there would be nothing to come back to, or this system cannot fork.
        click.exceptions.Exit: in the process that the user has started, with its exit code.
    """
    if dry_run:
        raise UsageError("--detach and --dry-run exclude one another: choose one")
    if store == "none":
        raise UsageError("--detach needs a store to come back to: leave out --store none")
    if not hasattr(os, "fork"):
        raise UsageError("--detach needs a system that can fork a process: start it without, in a terminal of its own")
    _open_standard_streams()
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            stream.flush()
    # What is said before there is a run to keep it; closed by whoever reads it last.
    early = tempfile.TemporaryFile()  # noqa: SIM115
    reading, writing = os.pipe()
    pid = os.fork()
    if pid:
        os.close(writing)
        raise click.exceptions.Exit(_wait(pid, reading, early, store, as_json))
    os.close(reading)
    os.setsid()
    with open(os.devnull, "rb") as nothing:
        os.dup2(nothing.fileno(), 0)
    _speak_to(early.fileno())
    sys.stdout, sys.stderr = _masked(1), _masked(2)
    return partial(_announce, early=early, writing=writing)


def _open_standard_streams() -> None:
    """Fill the places of those that were closed: what is opened next would take their numbers."""
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(descriptor, True)
    os.close(descriptor)


# In the background


def _speak_to(descriptor: int) -> None:
    for standard in (1, 2):
        os.dup2(descriptor, standard)


def _announce(run: RunInfo, *, early: IO[bytes], writing: int) -> None:
    """Go over to the log of the run, and let the waiting process know.

    Raises:
        StorageError: the log cannot be written.
    """
    path = run.folder / LOG
    make_folder(path.parent)
    sys.stdout.flush()
    sys.stderr.flush()
    with storage_errors(path, "write"), _log(path) as log:
        early.seek(0)
        log.write(early.read())
        _speak_to(log.fileno())
    early.close()
    with os.fdopen(writing, "w") as pipe:
        json.dump({"run": run.id, "folder": str(run.folder), "pid": os.getpid(), "log": str(path)}, pipe)
        pipe.write("\n")  # the other end does not wait until whoever has inherited this one closes it


def _log(path: Path) -> io.FileIO:
    """For appending, readable by the user alone, and no link that somebody has laid there."""
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    return io.FileIO(os.open(path, flags, 0o600), "a")


class _MaskedFile(io.RawIOBase):
    """Writes to a descriptor what Python's streams are given, with the secrets of the environment masked.

    What programs and libraries in C write does not come through here.
    """

    def __init__(self, descriptor: int, redactor: Redactor) -> None:
        self._descriptor = descriptor
        self._redactor = redactor.stream()

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._descriptor

    def write(self, data: Any, /) -> int:
        self._put(self._redactor.feed(bytes(data)))
        return len(data)

    def close(self) -> None:
        if not self.closed:
            self._put(self._redactor.close())
        super().close()

    def _put(self, data: bytes) -> None:
        while data:
            data = data[os.write(self._descriptor, data) :]


def _masked(descriptor: int) -> io.TextIOWrapper:
    raw: Any = _MaskedFile(descriptor, Redactor(secrets_in(os.environ)))
    return io.TextIOWrapper(raw, encoding="utf-8", errors="backslashreplace", write_through=True)


# In the terminal


def _wait(pid: int, reading: int, early: IO[bytes], store: str | None, as_json: bool) -> int:
    """Until the run has begun, or there will be none; the exit code."""
    try:
        with os.fdopen(reading, "rb") as pipe:
            said = pipe.readline()
        if not said:
            return _failed(pid, early)
    except KeyboardInterrupt:
        os.kill(pid, signal.SIGINT)
        os.waitpid(pid, 0)
        raise
    begun = json.loads(said)
    if as_json:
        show_json(begun)
        return 0
    where = "" if store is None else f" --store {shlex.quote(store)}"
    id = begun["run"]
    show(
        f"run {id} goes on in the background (pid {begun['pid']})\n"
        f"  look at it:    metta-sweep status {id} --watch{where}\n"
        f"  what it says:  metta-sweep logs {id} -f{where}\n"
        f"  stop it:       metta-sweep cancel {id}{where}"
    )
    return 0


def _failed(pid: int, early: IO[bytes]) -> int:
    """Say what the other one has said, and end as it did."""
    _, status = os.waitpid(pid, 0)
    early.seek(0)
    click.echo(early.read(), nl=False, err=True)
    code = os.waitstatus_to_exitcode(status)
    if code < 0:
        what = f"signal {-code} ({signal.strsignal(-code)})"
        click.echo(f"error: {what} has ended the process in the background before its run had begun", err=True)
    return code if code >= 0 else 128 - code
