"""Would jobs run there, and find what they need? A probe: one small job that looks around, compared with this process.

    for problem in check_executor(SLURMExecutor(partition="gpu")):
        print(problem)

A job is handed in as every other is, so whatever keeps jobs from running shows here first.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import platform
import secrets
import shutil
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, Final, NamedTuple

from metta.sweep.errors import MettaSweepError, RunError, StorageError
from metta.sweep.executors.base import Executor, Failed, Finished, Started, Task
from metta.sweep.executors.remote.engine import EngineUnavailable
from metta.sweep.executors.remote.executor import RemoteExecutor
from metta.sweep.store.doctor import Severity
from metta.sweep.store.files import make_folder, write_file

CORE: Final = "metta-sweep"
PACKAGES: Final = (CORE, "cloudpickle", "numpy", "scipy", "torch")
"""Distributions whose versions are compared: ours always, the others where this process has imported them."""

LONGEST_PROBE_S: Final = 300.0
"""Seconds to wait for the probe by default: a queue may be long."""

CLOCK_TOLERANCE_S: Final = 5.0
ANSWER_PATIENCE_S: Final = 5.0
"""Seconds in which what a job has written has to be seen here: network file systems show it late."""
_ASKED, _ANSWERED = "asked", "answered"


class Problem(NamedTuple):
    """What is wrong with an executor, and what to do about it. An error: jobs would fail; a warning: they might give
    other results than here."""

    severity: Severity
    what: str
    remedy: str = ""

    def __str__(self) -> str:
        return f"{self.severity.value}: {self.what}" + (f"\n  {self.remedy}" if self.remedy else "")


class Row(NamedTuple):
    """One fact, here and where the jobs run. `there` is "" where it is not known."""

    fact: str
    here: str
    there: str


@dataclass(frozen=True, slots=True)
class Examination:
    """What a probe has found: what is wrong, and all that was compared."""

    problems: tuple[Problem, ...] = ()
    rows: tuple[Row, ...] = ()


class ExecutorUnready(RunError):
    """Jobs could not run there. `problems` says why, each a sentence of the engine's."""

    exit_code = 3

    def __init__(self, name: str, problems: Sequence[str]) -> None:
        listed = "\n".join(f"  {problem}" for problem in problems)
        super().__init__(f"error: {name} cannot run jobs:\n{listed}" if problems[1:] else problems[0])
        self.problems: tuple[str, ...] = tuple(problems)


def engine_problems(executor: object) -> list[str]:
    """What keeps the engine of an executor from running jobs, without starting one; nothing for a local one."""
    if not isinstance(executor, RemoteExecutor):
        return []
    try:
        return list(executor.engine.problems())
    except EngineUnavailable as error:
        return [f"{executor.engine.name} cannot be reached: {error}"]


def refuse_if_unready(executor: object) -> None:
    """Raise what `engine_problems` finds.

    Raises:
        ExecutorUnready: there is something.
    """
    if problems := engine_problems(executor):
        raise ExecutorUnready(type(executor).__name__, problems)


def check_executor(
    executor: Executor, *, folder: Path | None = None, modules: Sequence[str] = (), timeout: float = LONGEST_PROBE_S
) -> list[Problem]:
    """What is wrong with an executor, the worst first; empty where a job ran and found all as it is here.

    Args:
        executor: an open one.
        folder: of the store that is going to be used, in which a folder is made for the probe; default: the current
            store.
        modules: names of modules that the jobs are going to import.
        timeout: seconds to wait for the probe, the time in the queue included.
    """
    return list(examine_executor(executor, folder=folder, modules=modules, timeout=timeout).problems)


def examine_executor(
    executor: Executor, *, folder: Path | None = None, modules: Sequence[str] = (), timeout: float = LONGEST_PROBE_S
) -> Examination:
    """`check_executor` with all that was compared."""
    refused = [Problem(Severity.ERROR, sentence) for sentence in engine_problems(executor)]
    if refused:
        return Examination(tuple(refused))
    nonce = secrets.token_hex(8)
    place = _store(folder) / f"probe-{nonce}"
    packages = [name for name in PACKAGES if name == CORE or name in sys.modules]
    try:
        make_folder(place)
        write_file(place / _ASKED, [nonce.encode()])
        here = look_around(str(place), os.getcwd(), packages, modules)
        (place / _ANSWERED).unlink()
        there = _probe(executor, place, nonce, (str(place), os.getcwd(), packages, list(modules)), timeout)
        answered = not isinstance(there, Problem) and there["asked"] == nonce and _seen(place / _ANSWERED, nonce)
    except (MettaSweepError, OSError) as error:
        return Examination((Problem(Severity.ERROR, str(error)),))
    finally:
        shutil.rmtree(place, ignore_errors=True)
    if isinstance(there, Problem):
        return Examination((there,))
    rows = (*compared(here, there), Row("folder of the store", "shared", "shared" if answered else "not shared"))
    found = [*differences(here, there, folder=str(place.parent))]
    if not answered and not any("is not shared" in problem.what for problem in found):
        found.append(_unshared(str(place.parent), "what a job writes there does not come back"))
    return Examination(tuple(sorted(found, key=lambda problem: list(Severity).index(problem.severity))), rows)


def _store(folder: Path | None) -> Path:
    if folder is not None:
        return folder.absolute()
    from metta.sweep.store.runs import Store

    return Store.at().folder.absolute()


def _probe(
    executor: Executor, place: Path, nonce: str, arguments: tuple[Any, ...], timeout: float
) -> dict[str, Any] | Problem:
    """What the job has seen, or what became of it."""
    token = f"probe-{nonce}"
    events = executor.events()
    executor.submit(Task(token, look_around, arguments, name="probe", timeout=timeout, log_folder=place), events)
    worker, end = "", time.monotonic() + timeout
    try:
        while True:
            event = events.get(timeout=max(0.0, end - time.monotonic()))
            if isinstance(event, Finished):
                return dict(event.result)
            if isinstance(event, Failed):
                log = f": {event.log.strip()[-500:]}" if event.log.strip() else ""
                what = f"the probe failed ({event.reason.value}): {event.message}{log}"
                remedy = f"do jobs see {place.parent} under the same path, with a Python that has metta-sweep?"
                return Problem(Severity.ERROR, what, remedy)
            if isinstance(event, Started):
                worker = event.worker
    except TimeoutError:
        executor.cancel(token)
        with contextlib.suppress(TimeoutError):  # so that nothing of it is left behind
            while not isinstance(events.get(timeout=10.0), Finished | Failed):
                pass
        state = f"has not ended on {worker}" if worker else "has not begun"
        rest = "" if worker else ", ask for less, or see what the queue says"
        remedy = f"wait longer (--wait SECONDS, timeout=){rest}"
        return Problem(Severity.ERROR, f"the probe {state} after {timeout:g} s", remedy)


def _seen(path: Path, nonce: str) -> bool:
    """Whether a file with this content appears."""
    end = time.monotonic() + ANSWER_PATIENCE_S
    while True:
        with contextlib.suppress(OSError):
            os.listdir(path.parent)  # asks the server anew
            if path.read_text() == nonce:
                return True
        if time.monotonic() >= end:
            return False
        time.sleep(0.1)


# What is looked at


def look_around(place: str, work_folder: str, packages: Sequence[str], modules: Sequence[str]) -> dict[str, Any]:
    """What a process sees of its surroundings, as plain data; it is what the probe runs.

    Args:
        place: the folder of the probe: the file that the driver wrote is read, and one is written.
        work_folder: of the driver.
        packages: the distributions whose versions are told.
        modules: looked for, not imported.
    """
    return {
        "python": platform.python_version(),
        "machine": platform.machine(),
        "host": platform.node(),
        "packages": {name: _version(name) for name in packages},
        "work_folder": os.path.isdir(work_folder),
        "modules": {name: _is_importable(name) for name in modules},
        **_exchanged(Path(place)),
    }


def _exchanged(place: Path) -> dict[str, Any]:
    """What the file of the driver says, and the clock compared with that of the file server, as both processes do."""
    asked = ""
    try:
        asked = (place / _ASKED).read_text()
        write_file(place / _ANSWERED, [asked.encode()])
    except (OSError, StorageError):
        return {"asked": asked, "clock": None}
    return {"asked": asked, "clock": time.time() - (place / _ANSWERED).stat().st_mtime}


def _version(distribution: str) -> str:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return ""


def _is_importable(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except (ImportError, ValueError, AttributeError):
        return False


# What follows from it


def compared(here: Mapping[str, Any], there: Mapping[str, Any]) -> tuple[Row, ...]:
    """What `look_around` has told in both places, side by side. Pure."""
    rows = [Row(fact, here[fact], there[fact]) for fact in ("host", "machine", "python")]
    rows += [Row(name, version, there["packages"].get(name, "")) for name, version in here["packages"].items()]
    rows.append(Row("working folder", "there", "there" if there["work_folder"] else "missing"))
    rows += [
        Row(f"module {name}", _found(found), _found(there["modules"].get(name, False)))
        for name, found in here["modules"].items()
    ]
    return tuple(rows)


def _found(found: bool) -> str:
    return "found" if found else "not found"


def differences(here: Mapping[str, Any], there: Mapping[str, Any], *, folder: str) -> list[Problem]:
    """What is wrong where the jobs run, given what `look_around` has told in both places. Pure.

    Args:
        folder: of the store, for messages.
    """
    found: list[Problem] = []
    mine, other = here["python"], there["python"]
    if mine.split(".")[:2] != other.split(".")[:2]:
        remedy = f"start jobs with a Python {'.'.join(mine.split('.')[:2])}: executor.python=PATH, or another image"
        found.append(Problem(Severity.ERROR, f"Python is {mine} here and {other} there", remedy))
    for name, version in here["packages"].items():
        if (found_there := there["packages"].get(name, "")) != version:
            severity = Severity.ERROR if name == CORE or not found_there else Severity.WARNING
            what = f"{name} is {version or 'not installed'} here and {found_there or 'not installed'} there"
            found.append(Problem(severity, what, f"install {name}=={version} there"))
    if not there["work_folder"]:
        what = f"the working folder is not there ({there['host']}): modules beside your script cannot be imported"
        found.append(Problem(Severity.ERROR, what, "start from a folder that both machines have, or mount it"))
    for name, known in here["modules"].items():
        if known and not there["modules"].get(name, False):
            what = f"the module {name} cannot be imported there"
            found.append(Problem(Severity.ERROR, what, "install it there, or keep it in the working folder"))
    if there["asked"] != here["asked"]:
        found.append(_unshared(folder, "a job does not see what is written here"))
    elif there["clock"] is None:
        found.append(_unshared(folder, "a job cannot write there"))
    elif here["clock"] is not None and abs(skew := there["clock"] - here["clock"]) > CLOCK_TOLERANCE_S:
        what = f"the clock there is {abs(skew):.0f} s {'ahead' if skew > 0 else 'behind'}"
        found.append(Problem(Severity.WARNING, what, "times in logs and reports will be off by that"))
    return found


def _unshared(folder: str, why: str) -> Problem:
    remedy = "choose a folder that both machines see under the same path: --store DIR"
    return Problem(Severity.ERROR, f"{folder} is not shared: {why}", remedy)
