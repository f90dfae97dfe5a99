"""What the tests have workers do. Importable without pytest, so that workers start fast."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NoReturn

from metta.sweep.trial import Trial

FOREVER = 10_000.0


def echo(value: Any = None) -> Any:
    return value


def pid() -> int:
    return os.getpid()


def kill_myself() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def leave(code: int) -> None:
    os._exit(code)


def sys_exit(code: int) -> None:
    sys.exit(code)


def wait_forever(ready: Path) -> None:
    ready.write_text(str(os.getpid()))
    time.sleep(FOREVER)


def wait_for(path: Path) -> None:
    while not path.exists():
        time.sleep(0.001)


def spin_forever() -> None:
    while True:
        pass


def ignore_sigterm(ready: Path) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    wait_forever(ready)


def clean_up_when_stopped(ready: Path, cleaned: Path) -> None:
    try:
        wait_forever(ready)
    finally:
        cleaned.write_text("yes")


def start_child_and_wait(ready: Path) -> None:
    child = subprocess.Popen([sys.executable, "-c", f"import time; time.sleep({FOREVER})"])
    ready.write_text(f"{os.getpid()} {child.pid}")
    time.sleep(FOREVER)


def start_child_and_return() -> int:
    return subprocess.Popen([sys.executable, "-c", f"import time; time.sleep({FOREVER})"]).pid


def detach_child_and_leave(ready: Path) -> None:
    child = subprocess.Popen(
        [sys.executable, "-c", f"import time; time.sleep({FOREVER})"],
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    ready.write_text(str(child.pid))
    os._exit(0)


def fork_and_come_back() -> str:
    return "child" if os.fork() == 0 else "parent"


def close_every_descriptor() -> str:
    os.closerange(3, 256)
    return "never heard of"


def print_both(text: str) -> None:
    print(text)
    print(f"{text} on stderr", file=sys.stderr)
    subprocess.run([sys.executable, "-c", f"print({text!r} + ' by a child')"], check=True)


def print_much(lines: int) -> None:
    for number in range(lines):
        print("x" * 79, number)


def spoil_surroundings(folder: Path) -> None:
    os.chdir(folder)
    os.environ["SPOILED"] = "yes"
    sys.path.append("/nowhere")


def read_surroundings() -> tuple[str, str | None, bool, str]:
    return os.getcwd(), os.environ.get("SPOILED"), "/nowhere" in sys.path, os.environ["OMP_NUM_THREADS"]


def fail(text: str) -> NoReturn:
    raise ValueError(text)


class NeedsTwo(Exception):
    """pickle would call `NeedsTwo(*args)` with the one argument of `Exception`."""

    def __init__(self, first: str, second: str) -> None:
        super().__init__(f"{first} and {second}")
        self.second = second


class AddsText(Exception):
    """pickle would call `AddsText(*args)` with a text that is complete already."""

    def __init__(self, layer: str) -> None:
        super().__init__(f"no layer {layer}")


class Unbuildable(Exception):
    """Not even its `__new__` takes what it keeps."""

    def __new__(cls, first: str, second: str) -> Unbuildable:
        return super().__new__(cls, first, second)

    def __init__(self, first: str, second: str) -> None:
        super().__init__(f"{first} and {second}")


class Explosive(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text")

    def __reduce__(self) -> NoReturn:
        raise RuntimeError("no pickle")


def fail_with_needs_two() -> NoReturn:
    raise NeedsTwo("this", "that")


def fail_with_added_text() -> NoReturn:
    raise AddsText("conv9")


def fail_with_unbuildable() -> NoReturn:
    raise Unbuildable("this", "that")


def fail_to_open() -> NoReturn:
    raise FileNotFoundError(2, "No such file", "weights.pt")


def fail_explosively() -> NoReturn:
    raise Explosive


def fail_hugely() -> NoReturn:
    raise ValueError("x" * 20_000_000)


def fail_recursively() -> None:
    fail_recursively()


def fail_from_a_cause() -> None:
    try:
        fail("the cause")
    except ValueError as error:
        raise KeyError("the effect") from error


def fail_for_want_of_memory() -> NoReturn:
    raise MemoryError


class BadWayBack:
    """Pickles well, and fails to unpickle."""

    def __setstate__(self, state: object) -> NoReturn:
        raise RuntimeError("not here")

    def __getstate__(self) -> object:
        return {"some": "state"}


def give_bad_way_back() -> BadWayBack:
    return BadWayBack()


def give_a_lock() -> object:
    import threading

    return threading.Lock()


async def double(value: int) -> int:
    return 2 * value


# --- objectives


def plain(trial: Trial) -> float:
    return float(trial.params["x"]) * 2


async def asynchronous(trial: Trial) -> Mapping[str, float]:
    trial.report({"score": 1.0})
    return {"score": 2.0, "loss": 0.5}


def counting(trial: Trial) -> Iterator[float]:
    """Counts up from the saved number, saving before each report."""
    state = trial.load() or {"number": 0}
    while state["number"] < 5:
        state["number"] += 1
        trial.save(state)
        yield state["number"]


def counting_by_hand(trial: Trial) -> float:
    """The same as a plain function that asks whether to stop."""
    state = trial.load() or {"number": 0}
    while state["number"] < 5:
        state["number"] += 1
        trial.save(state)
        trial.report({"score": state["number"]})
        if trial.should_stop():
            break
    return float(state["number"])


def without_saving(trial: Trial) -> Iterator[float]:
    yield from (1.0, 2.0, 3.0)


def saving_after_the_last_report(trial: Trial) -> float:
    trial.report({"score": 1.0})
    trial.save({"number": 7})
    return 1.0


def saving_a_function(trial: Trial) -> None:
    trial.save({"model": {"activation": echo}})


def yielding_text(trial: Trial) -> Iterator[str]:
    yield "good"


def closing_marks(trial: Trial) -> Iterator[float]:
    try:
        while True:
            yield 1.0
    finally:
        Path(trial.params["closed"]).write_text("yes")
