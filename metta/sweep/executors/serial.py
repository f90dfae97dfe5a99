"""Calls, results and exceptions on their way through the private pipe between a driver and its worker.

Importable functions and classes travel by reference. Those of `__main__`, of a notebook, of a function's body and of
modules that a fresh process could not import travel by value (cloudpickle): a worker never runs the user's
script again. Pickle is right here, and only here: both ends are one program, the pipe is private, nothing of
it reaches a disk.
"""

from __future__ import annotations

import functools
import io
import pickle
import sys
import traceback
import weakref
from dataclasses import dataclass
from types import FunctionType, TracebackType
from typing import Any, Final

import cloudpickle

from metta.sweep.errors import ContractViolation, StorageError, UserError
from metta.sweep.redaction import Redactor
from metta.sweep.trial import FailureReason

MESSAGE_LIMIT: Final = 500
TRACEBACK_LIMIT: Final = 50_000
EXCEPTION_LIMIT: Final = 1_000_000
"""Bytes: a larger pickled exception stays in the worker, its text travels."""

_OPEN: Final = Redactor()

_ALWAYS_IMPORTABLE: Final = frozenset(
    ("metta.sweep.trial", "metta.sweep.executors.base", "metta.sweep.executors.objective")
)
"""Modules whose functions and classes are in every call of a trial: no need to look each of them up every time."""

_sent_classes: weakref.WeakSet[type] = weakref.WeakSet()


class UnstorableError(UserError):
    """A value cannot travel to another process; the text says which and why."""


class _Pickler(cloudpickle.Pickler):
    def __init__(self, file: io.BytesIO) -> None:
        super().__init__(file, protocol=5)
        self.secrets: set[str] = set()

    def reducer_override(self, obj: Any) -> Any:
        if isinstance(obj, FunctionType | type):
            if obj.__module__ in _ALWAYS_IMPORTABLE and "<locals>" not in obj.__qualname__:
                return NotImplemented
            _send_by_value_if_not_importable(obj.__module__)
            if isinstance(obj, type):
                _sent_classes.add(obj)
            return super().reducer_override(obj)
        if isinstance(obj, BaseException):
            reduced = obj.__reduce_ex__(5)
            if isinstance(reduced, tuple) and reduced[0] is type(obj):
                return _rebuild_exception, (type(obj), reduced[1], obj.args), *reduced[2:]
        if hasattr(type(obj), "get_secret_value"):  # pydantic's SecretStr and its like
            self.secrets.add(_secret_of(obj))
        return NotImplemented


def _rebuild_exception(cls: type[BaseException], arguments: tuple[Any, ...], args: tuple[Any, ...]) -> BaseException:
    """An exception from what its class is called with, and its `args`; its attributes follow.

    What an exception keeps in `args` is often not what its own `__init__` wants: pickle then fails, or builds the
    message twice.
    """
    try:
        error = cls(*arguments)
    except Exception:
        error = cls.__new__(cls, *arguments)
    error.args = args
    return error


class _KeepingUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        found = super().find_class(module, name)
        return functools.partial(_fill_class, found) if name == "_class_setstate" else found


def _fill_class(fill: Any, cls: type, state: object) -> type:
    """Fill a class that came by value, unless we sent it ourselves and it came back.

    cloudpickle recognizes a class that was sent away and returns (so `isinstance` holds), but then sets all its
    attributes again: the methods of the user's class would silently become copies with globals of their own.
    """
    if cls not in _sent_classes:
        fill(cls, state)
    return cls


@functools.cache
def _send_by_value_if_not_importable(module: str | None) -> None:
    """Have a module pickled by value that a fresh process with our `sys.path` could not import, or not the same."""
    loaded = sys.modules.get(module) if module else None
    if module is None or loaded is None or module == "__main__":
        return  # cloudpickle sends these by value itself
    origin = getattr(loaded, "__file__", None)
    if origin is None:
        return  # built in, or made by an extension module
    parent = sys.modules.get(module.rpartition(".")[0])
    path = getattr(parent, "__path__", None) if "." in module else None
    for finder in sys.meta_path:
        spec = finder.find_spec(module, path) if hasattr(finder, "find_spec") else None
        if spec is not None:
            if spec.origin == origin or not spec.has_location:
                return
            break
    cloudpickle.register_pickle_by_value(loaded)


def _secret_of(value: Any) -> str:
    secret = value.get_secret_value()
    return secret.decode("utf-8", "replace") if isinstance(secret, bytes) else str(secret)


def dumps(value: object, what: str, secrets: set[str] | None = None) -> bytes:
    """Pickle a value; `what` names it in the error.

    Args:
        value: anything.
        what: names it.
        secrets: receives the content of every `SecretStr` in it.

    Raises:
        UnstorableError: it cannot be pickled.
    """
    buffer = io.BytesIO()
    try:
        pickler = _Pickler(buffer)
        pickler.dump(value)
        if secrets is not None:
            secrets.update(pickler.secrets)
    except Exception as error:  # whatever a user's __reduce__ raises
        raise UnstorableError(f"{what} cannot be sent to another process: {one_line(error)}") from error
    return buffer.getvalue()


def loads_in_worker(data: bytes) -> Any:
    """Unpickle what the driver sent. Runs the user's code and raises what that raises."""
    return pickle.loads(data)


def loads_in_driver(data: bytes) -> Any:
    """Unpickle what a worker sent, keeping the driver's own classes as they are. Raises what the user's code raises."""
    return _KeepingUnpickler(io.BytesIO(data)).load()


@dataclass(frozen=True, slots=True)
class ErrorText:
    """An exception as it travels: text that always arrives, and the exception itself where that is possible."""

    reason: FailureReason
    message: str
    traceback: str
    pickled: bytes | None


def describe_error(error: BaseException, frames: TracebackType | None, redactor: Redactor) -> ErrorText:
    """The text of an exception, secrets masked, never raising and never huge.

    `frames` are the part of its traceback that is shown.
    """
    try:
        pickled = dumps(error, "the exception") if isinstance(error, Exception) else None
    except UnstorableError:
        pickled = None
    if pickled is not None and len(pickled) > EXCEPTION_LIMIT:
        pickled = None
    return ErrorText(reason_of(error), one_line(error, redactor), _format(error, frames, redactor), pickled)


def reason_of(error: BaseException) -> FailureReason:
    """The failure reason that an exception of the user's code stands for."""
    if isinstance(error, ContractViolation):
        return FailureReason.CONTRACT
    if isinstance(error, StorageError):
        return FailureReason.STORAGE
    # torch has its own class for a full device; torch itself may not be loaded.
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return FailureReason.OOM
    return FailureReason.USER_ERROR


def one_line(error: BaseException, redactor: Redactor = _OPEN) -> str:
    """`ValueError: no such layer`, secrets masked, shortened; also for exceptions whose `__str__` explodes."""
    if isinstance(error, SystemExit):
        return f"the task called sys.exit({redactor.text(repr(error.code)):.100})"
    try:
        text = redactor.text(str(error))
    except Exception as broken:
        text = f"(its __str__ raised {type(broken).__name__})"
    text = " ".join(text[: 4 * MESSAGE_LIMIT].split())
    if len(text) > MESSAGE_LIMIT:
        text = text[: MESSAGE_LIMIT - 1] + "…"
    name = type(error).__qualname__
    return f"{name}: {text}" if text else name


def _format(error: BaseException, frames: TracebackType | None, redactor: Redactor) -> str:
    try:
        text = redactor.text("".join(traceback.format_exception(type(error), error, frames)))
    except Exception as broken:  # a __cause__ that is a property, a __repr__ that raises, ...
        text = f"{one_line(error, redactor)}\n(its traceback cannot be formatted: {one_line(broken, redactor)})\n"
    if len(text) > TRACEBACK_LIMIT:
        half = TRACEBACK_LIMIT // 2
        text = f"{text[:half]}\n… {len(text) - 2 * half} characters left out …\n{text[-half:]}"
    return text
