"""A worker process: one task after another, until the driver closes its connection.

It is forked by the fork server and does everything in its main thread, where user code finds what it expects of a
main thread: signals, event loops, threads of its own.
"""

from __future__ import annotations

import atexit
import copy
import os
import pickle
import signal
import socket
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import astuple, dataclass, field
from functools import cached_property
from types import CoroutineType, FrameType, ModuleType, TracebackType
from typing import Any, Final, NoReturn, TextIO

from metta.sweep.errors import UserError
from metta.sweep.executors.base import ChannelSettings
from metta.sweep.executors.channel import Link, PipeChannel
from metta.sweep.executors.objective import run_coroutine
from metta.sweep.executors.serial import describe_error, dumps, loads_in_worker
from metta.sweep.executors.wire import Kind, message
from metta.sweep.redaction import Redactor, secrets_in

_OWN_FOLDER: Final = os.path.dirname(__file__) + os.sep


@dataclass(frozen=True)
class Surroundings:
    """What a task finds around it: the driver's, as they were when the task was submitted."""

    folder: str
    environment: dict[str, str]
    path: list[str]
    arguments: list[str]
    encoded: object = field(default=None, compare=False, repr=False)

    @classmethod
    def here(cls, known: Surroundings | None = None) -> Surroundings:
        """Those of this process: `known` itself, if it still holds."""
        try:
            folder = os.getcwd()
        except FileNotFoundError:  # somebody removed it
            folder = os.sep
        # Decoding the whole environment costs more than all the rest of handing in a task.
        encoded = getattr(os.environ, "_data", None)
        arguments = getattr(sys, "argv", [])
        if (
            known is not None
            and encoded is not None
            and encoded == known.encoded
            and (folder, sys.path, arguments) == (known.folder, known.path, known.arguments)
        ):
            return known
        return cls(folder, dict(os.environ), list(sys.path), list(arguments), copy.copy(encoded))

    @cached_property
    def redactor(self) -> Redactor:
        """Masks the secrets of the environment."""
        return Redactor(secrets_in(self.environment))

    def apply(self) -> None:
        """Make them those of this process: also undoes what the last task did to them."""
        with suppress(OSError):
            os.chdir(self.folder)
        if os.environ != self.environment:
            for name in os.environ.keys() - self.environment.keys():
                del os.environ[name]
            os.environ.update(self.environment)
        sys.path[:] = self.path
        sys.argv[:] = self.arguments


class Terminated(BaseException):
    """SIGTERM came: the driver wants the task to end. `finally` blocks run, then the process ends."""


def serve(connection: socket.socket) -> NoReturn:
    """Work until the driver closes the connection; never returns to the fork server's code."""
    code = 1
    try:
        _prepare_process()
        _work(Link(connection))
        code = 0
    except Terminated:
        code = 128 + signal.SIGTERM
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        with suppress(BaseException):
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            atexit._run_exitfuncs()
        _flush()
        os._exit(code)


def _prepare_process() -> None:
    # A fresh `__main__`: what user code finds there (multiprocessing looks for a script to run again) is nothing.
    sys.modules["__main__"] = ModuleType("__main__")
    sys.stdout = _line_writer(1)
    sys.stderr = _line_writer(2)


def _line_writer(descriptor: int) -> TextIO:
    return open(descriptor, "w", buffering=1, encoding="utf-8", errors="backslashreplace", closefd=False)


def _work(link: Link) -> None:
    own = os.getpid()
    surroundings = Surroundings.here()
    signal.signal(signal.SIGTERM, _on_sigterm)
    while (received := link.receive()) is not None:
        kind, payload = received
        if kind is Kind.SETUP:
            surroundings = Surroundings(*pickle.loads(payload))
        elif kind is Kind.RUN:
            surroundings.apply()
            signal.signal(signal.SIGTERM, _on_sigterm)  # the last task may have set its own
            answer = _run(link, *pickle.loads(payload))
            if os.getpid() != own:
                os._exit(0)  # the task forked, and its child came back out of it
            _flush()
            link.send_frame(*answer)
            del answer
        del received, payload  # large arguments and results must not stay while the worker is idle


def _on_sigterm(number: int, frame: FrameType | None) -> None:
    raise Terminated


def _run(
    link: Link, name: str, settings: ChannelSettings | None, secrets: frozenset[str], call: bytes
) -> tuple[Kind, bytes]:
    """Run one task; the frame's kind and payload that answer it."""
    try:
        fn, args, kwargs = _rebuild(call)
        if settings is not None:
            kwargs = {**kwargs, "channel": PipeChannel(link, settings)}
        result = fn(*args, **kwargs)
        if isinstance(result, CoroutineType):
            result = run_coroutine(result)
        return Kind.RESULT, dumps(result, f"the result of {name or 'the task'}")
    except Terminated:
        raise
    except BaseException as error:
        # Here and not in the driver: what was shortened may end in the middle of a secret.
        redactor = Redactor(secrets | secrets_in(os.environ))
        told = describe_error(error, _user_frames(error.__traceback__), redactor)
        return Kind.ERROR, pickle.dumps(astuple(told), protocol=5)


def _rebuild(call: bytes) -> tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]:
    try:
        fn, args, kwargs = loads_in_worker(call)
    except Exception as error:
        raise UserError(
            "the function or its arguments could not be rebuilt in the worker process "
            f"({type(error).__name__}: {error})"
        ) from error
    return fn, args, kwargs


def _user_frames(frames: TracebackType | None) -> TracebackType | None:
    """The traceback from the first frame on that is not ours, or all of it where every frame is."""
    first = frames
    while first is not None and first.tb_frame.f_code.co_filename.startswith(_OWN_FOLDER):
        first = first.tb_next
    return first or frames


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        with suppress(BaseException):
            stream.flush()


def setup_message(surroundings: Surroundings) -> bytes:
    """The frame by which the driver sends its surroundings."""
    return message(Kind.SETUP, surroundings.folder, surroundings.environment, surroundings.path, surroundings.arguments)
