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


class ExitsOnTheWayBack(BadWayBack):
    def __setstate__(self, state: object) -> NoReturn:
        raise SystemExit(3)


def give_bad_way_back() -> BadWayBack:
    return BadWayBack()


def give_a_lock() -> object:
    import threading

    return threading.Lock()


async def double(value: int) -> int:
    return 2 * value


# --- deaths


def crash() -> None:
    import ctypes

    ctypes.string_at(0)


def shoot(process: int) -> None:
    try:
        os.kill(process, signal.SIGKILL)
    except ProcessLookupError:
        return


def sleep_a_little(seconds: float) -> None:
    time.sleep(seconds)


def fork_and_die(told: Path, detached: bool) -> None:
    """The child has all our descriptors."""
    child = os.fork()
    if child == 0:
        if detached:
            os.setsid()
        told.write_text(str(os.getpid()))
        time.sleep(FOREVER)
    wait_for(told)
    os._exit(5)


def fork_and_die_soon() -> None:
    if os.fork() == 0:
        time.sleep(FOREVER)
    time.sleep(0.02)
    os._exit(5)


def fork_bomb(folder: Path, limit: int) -> None:
    """Every process forks until there are about so many."""
    while len(os.listdir(folder)) < limit:
        if os.fork() == 0:
            (folder / str(os.getpid())).touch()
        time.sleep(0.001)
    time.sleep(FOREVER)


# --- secrets


def secret() -> str:
    return os.environ["CANARY_TOKEN"]


def print_secret_and_fail() -> NoReturn:
    print("my token is", secret())
    raise ValueError(f"cannot log in with {secret()}")


def print_secret_in_pieces() -> None:
    text = secret() + "\n"
    for part in (text[:5], text[5:9], text[9:]):
        os.write(1, part.encode())
        time.sleep(0.05)
    os.write(1, b"bye\n")


def print_secret_in_pieces_and_fail() -> NoReturn:
    print_secret_in_pieces()
    raise ValueError("***")


def print_secret_in_a_child_and_fail() -> NoReturn:
    subprocess.run([sys.executable, "-c", "import os; print(os.environ['CANARY_TOKEN'])"], check=True)
    raise ValueError


def fail_with_secret_at_the_cut() -> NoReturn:
    raise ValueError("x" * 490 + secret() + "y" * 60_000)


def fail_with_secret_in_a_cause() -> None:
    try:
        raise KeyError(secret())  # shown as its repr
    except KeyError as error:
        raise ValueError("no such key") from error


def exit_with_secret() -> NoReturn:
    sys.exit(f"bad token {secret()}")


def print_secret_and_die() -> None:
    os.write(2, f"last words {secret()}".encode())
    os._exit(3)


def fail_with_own_secret(value: str) -> NoReturn:
    os.environ["LOADED_PASSWORD"] = value
    raise ValueError(f"{value} is wrong")


def reveal(credentials: dict[str, Any]) -> NoReturn:
    print("it is", credentials["password"].get_secret_value())
    raise ValueError(f"it is {credentials['password'].get_secret_value()}")


class RevealingPickle:
    def __reduce__(self) -> NoReturn:
        raise RuntimeError(f"not with {secret()}")


class RevealingResult:
    def __getstate__(self) -> object:
        return {"some": "state"}

    def __setstate__(self, state: object) -> NoReturn:
        raise RuntimeError(f"not with {secret()}")


# --- resources


def fill_memory(size: int) -> None:
    kept = []
    for _ in range(size >> 20):
        kept.append(bytearray(os.urandom(1) * (1 << 20)))
        time.sleep(0.001)
    time.sleep(FOREVER)


def fill_memory_in_children(count: int, size: int, folder: Path) -> None:
    for _ in range(count):
        if os.fork() == 0:
            (folder / str(os.getpid())).touch()
            fill_memory(size)
    time.sleep(FOREVER)


def share_memory(count: int, size: int, seconds: float) -> str:
    kept = b"x" * size
    children = []
    for _ in range(count):
        child = os.fork()
        if child == 0:
            assert kept.count(b"x") == size  # reads every page
            time.sleep(seconds)
            os._exit(0)
        children.append(child)
    for child in children:
        os.waitpid(child, 0)
    return "alive"


def hold_memory(size: int, seconds: float) -> int:
    kept = b"x" * size
    time.sleep(seconds)
    return len(kept)


LEAKED: list[bytes] = []


def leak_memory(size: int) -> int:
    LEAKED.append(b"x" * size)
    return os.getpid()


def wait_and_tell(seconds: float) -> int:
    time.sleep(seconds)
    return os.getpid()


def threads() -> str:
    return os.environ["OMP_NUM_THREADS"]


def worker_and_devices() -> tuple[str, str]:
    return str(os.getpid()), os.environ["CUDA_VISIBLE_DEVICES"]


def tell_devices_and_wait(told: Path, go: Path) -> None:
    told.write_text(os.environ["CUDA_VISIBLE_DEVICES"])
    wait_for(go)


def lives(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True


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
