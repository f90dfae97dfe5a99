"""The last event of a task: from what its worker sent, or from how its worker ended."""

from __future__ import annotations

import pickle
import signal
from typing import Any

from metta.sweep.errors import StageTimeout, WorkerDied
from metta.sweep.executors.base import Failed, Finished
from metta.sweep.executors.serial import ErrorText, describe_error, loads_in_driver, one_line
from metta.sweep.redaction import Redactor
from metta.sweep.trial import FailureReason


def from_result(token: str, payload: bytes, log: str, seconds: float, redactor: Redactor) -> Finished | Failed:
    """The event for a task that returned. Runs the user's code where a class has some for unpickling."""
    try:
        result = loads_in_driver(payload)
    except (Exception, SystemExit) as error:  # a class that calls sys.exit() when it is rebuilt must not end the driver
        text = describe_error(error, error.__traceback__, redactor)
        message = f"the result could not be rebuilt in the driver: {text.message}"
        return Failed(token, text.reason, message, text.traceback, error, log, seconds)
    return Finished(token, result, log, seconds)


def from_error(token: str, payload: bytes, log: str, seconds: float, redactor: Redactor) -> Failed:
    """The event for a task that raised. Its worker has masked what it knew; a task may hide its secrets from it."""
    text = ErrorText(*pickle.loads(payload))
    message, traceback = redactor.text(text.message), redactor.text(text.traceback)
    return Failed(token, text.reason, message, traceback, _rebuild(text.pickled), log, seconds)


def _rebuild(pickled: bytes | None) -> BaseException | None:
    if pickled is None:
        return None
    try:
        rebuilt: Any = loads_in_driver(pickled)
    except (
        Exception,
        SystemExit,
    ):  # an __init__ that wants other arguments than __reduce__ gives: its text has arrived
        return None
    return rebuilt if isinstance(rebuilt, BaseException) else None


def from_exit(token: str, code: int, log: str, seconds: float, *, out_of_memory: bool) -> Failed:
    """The event for a task whose worker ended under it: `code` >= 0 was its exit code, < 0 minus the signal."""
    if code >= 0:
        reason = FailureReason.USER_ERROR
        message = f"the task ended its worker process with the exit code {code} (os._exit?)"
    elif out_of_memory:
        reason = FailureReason.OOM
        message = "the kernel killed the worker process: out of memory"
    else:
        reason = FailureReason.KILLED
        message = f"the worker process was ended by {signal_name(-code)}"
    return Failed(token, reason, message, "", WorkerDied(message, reason=reason.value), log, seconds)


def from_stop(
    token: str, name: str, reason: FailureReason, log: str, seconds: float, *, limit: float, why: str
) -> Failed:
    """The event for a task that the driver had stopped: by a cancellation, at its limit in seconds, or for `why`."""
    if why:
        return Failed(token, reason, why, "", WorkerDied(why, reason=reason.value), log, seconds)
    if reason is FailureReason.TIMEOUT:
        error = StageTimeout(name or token, limit)
        return Failed(token, reason, one_line(error), "", error, log, seconds)
    return Failed(token, reason, reason.value, "", None, log, seconds)


def signal_name(number: int) -> str:
    """The name of a signal, such as "SIGKILL"; "signal 72" where it has none."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
