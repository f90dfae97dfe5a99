"""What `ExecutorConformance` has workers do: importable on every machine that metta-sweep is installed on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any, Final, NoReturn

from metta.sweep.executors.channel import PipeChannel
from metta.sweep.executors.jobs import THREAD_VARIABLES
from metta.sweep.trial import Trial

LONG: Final = 300.0
"""Seconds after which what is never to end by itself does so all the same: a test that fails leaves nothing behind."""

WORKER_PROGRAM: Final = b"metta.sweep.worker"
"""What the command line of a job's program contains."""


# Results


def echo(value: Any) -> Any:
    """What it was given."""
    return value


async def echo_async(value: Any) -> Any:
    """The same as a coroutine."""
    return value


def give_a_lock() -> object:
    """A result that cannot travel."""
    return threading.Lock()


def surroundings(variable: str) -> tuple[str, str | None]:
    """The working folder, and an environment variable."""
    return os.getcwd(), os.environ.get(variable)


def threads() -> dict[str, str | None]:
    """What numerical libraries are told about threads."""
    return {variable: os.environ.get(variable) for variable in THREAD_VARIABLES}


# Failures


class Unimportable:
    """Can be sent, and not be received: what it is made of is on no machine."""

    def __reduce__(self) -> tuple[Any, ...]:
        return import_module, ("a_module_that_is_nowhere",)


class Unpicklable(Exception):
    """An exception that cannot travel."""

    def __reduce__(self) -> NoReturn:
        raise RuntimeError("no way to send it")


class Explosive(Unpicklable):
    """An exception without a text."""

    def __str__(self) -> str:
        raise RuntimeError("no text")

    __repr__ = __str__


def fail(text: str) -> NoReturn:
    """A `ValueError`."""
    raise ValueError(text)


def fail_from_a_cause(text: str) -> NoReturn:
    """A `ValueError` that another exception led to."""
    try:
        raise KeyError("the cause of it")
    except KeyError as error:
        raise ValueError(text) from error


def fail_hugely(characters: int) -> NoReturn:
    """An exception with a text of so many characters."""
    raise ValueError("x" * characters)


def fail_unpicklably() -> NoReturn:
    """An exception that holds what cannot be pickled, and says so when somebody tries."""
    raise Unpicklable("it holds a socket")


def fail_explosively() -> NoReturn:
    """An exception that raises when it is shown or sent."""
    raise Explosive


def call_exit(code: int) -> NoReturn:
    """`sys.exit`, as a script would."""
    sys.exit(code)


# Output


def print_in_order(lines: int) -> None:
    """Lines to stdout, to stderr and by a child, one after the other."""
    for number in range(lines):
        print(f"line {number} on stdout")
        print(f"line {number} on stderr", file=sys.stderr)
        subprocess.run([sys.executable, "-c", f"print('line {number} by a child')"], check=True)


def print_much(lines: int) -> None:
    """Numbered lines of 80 characters."""
    for number in range(lines):
        print(f"{number:079d}")


def print_bytes(data: bytes) -> None:
    """Whatever bytes these are, past Python's own streams."""
    os.write(1, data)


class Secret:
    """Text that is not to be shown, with the method by which that is told."""

    def __init__(self, text: str) -> None:
        self._text = text

    def get_secret_value(self) -> str:
        """The text."""
        return self._text


def tell(secret: Secret) -> NoReturn:
    """Tell a secret on both streams, in pieces, by a child, and in an exception."""
    text = secret.get_secret_value()
    print("stdout", text)
    print("stderr", text, file=sys.stderr, flush=True)
    for character in text.encode():
        os.write(1, bytes([character]))
    subprocess.run([sys.executable, "-c", f"print(' child', {text!r})"], check=True)
    raise ValueError(f"cannot log in with {text}")


# Ends


def kill_worker() -> None:
    """The worker process kills itself, as the kernel would."""
    os.kill(os.getpid(), signal.SIGKILL)


def kill_program() -> None:
    """Kill the program of the job first, if the task is in one, and then the worker process.

    A job's program that is the first process of a container cannot be killed from inside; then only the worker is.
    """
    for process in _ancestors():
        try:
            command = Path(f"/proc/{process}/cmdline").read_bytes()
        except OSError:
            break
        if WORKER_PROGRAM in command:
            os.kill(process, signal.SIGKILL)
            break
    kill_worker()


def _ancestors() -> Iterator[int]:
    """The parent of this process, its parent, and so on."""
    process = os.getppid()
    while process > 1:
        yield process
        try:
            process = int(Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[1])
        except OSError:
            return


def fill_memory(most: int) -> str:
    """Take memory until somebody objects; after `most` bytes nobody has."""
    kept = []
    for _ in range(most >> 20):
        kept.append(b"x" * (1 << 20))
        time.sleep(0.001)
    time.sleep(1.0)  # for one last look at it
    return f"nobody objected to {len(kept)} MiB"


def wait_long() -> None:
    """Never return."""
    time.sleep(LONG)


# Trials


def count(trial: Trial) -> Iterator[float]:
    """Count up from the saved number to `steps`, saving before each report; each report waits for its answer.

    With `die_after`, the worker is killed when the report of that step has been judged.
    """
    state = trial.load() or {"number": 0, "blob": b"\x00\xff"}
    assert state["blob"] == b"\x00\xff"
    while state["number"] < trial.params["steps"]:
        state["number"] += 1
        print(f"step {state['number']}")
        trial.save(state)
        yield state["number"]
        if state["number"] == trial.params.get("die_after"):
            kill_worker()


def stream(trial: Trial) -> float:
    """Report `steps` times, `pause` seconds apart, and never wait for an answer.

    With `gate`, wait after that step until there is a file `go` in the trial's folder. `streamed` is there at the end.
    """
    folder = _folder(trial)
    for number in range(1, trial.params["steps"] + 1):
        print(f"step {number}")
        trial.report({"score": number, "half": number / 2})
        time.sleep(trial.params["pause"])
        while number == trial.params.get("gate") and not (folder / "go").exists():
            time.sleep(0.02)
    (folder / "streamed").write_text("yes")
    return float(trial.params["steps"])


def pulse(trial: Trial) -> None:
    """Have a child write to `pulse` in the trial's folder, report once, and never end.

    With `stubborn`, neither of them hears SIGTERM.
    """
    if trial.params.get("stubborn"):
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # children inherit that
    path = _folder(trial) / "pulse"
    path.touch()
    if os.fork() == 0:
        try:
            _beat(path)
        finally:
            os._exit(0)
    while not path.stat().st_size:
        time.sleep(0.005)
    trial.report({"score": 0.0})
    time.sleep(LONG)


def _beat(path: Path) -> None:
    """Make a file longer for as long as this process lives."""
    end = time.monotonic() + LONG
    while time.monotonic() < end:
        with path.open("ab") as file:
            file.write(b".")
        time.sleep(0.02)


def wait(trial: Trial) -> float:
    """Report once and wait for the answer."""
    trial.report({"score": 1.0})
    trial.should_stop()
    return 1.0


def _folder(trial: Trial) -> Path:
    assert isinstance(trial.channel, PipeChannel)
    trial.channel.folder.mkdir(parents=True, exist_ok=True)
    return trial.channel.folder
