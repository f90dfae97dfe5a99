"""A pipeline with everything in it, run durably in processes that are killed: the other half of test_durable_kills.py.

    python -m tests.runtime.durable_program FOLDER KIND points      every fail point of a pipeline's run, one by one
    python -m tests.runtime.durable_program FOLDER KIND random N S  N kills at random instants, drawn from the seed S

KIND is "sync", "async" (one stage is) or "dynamic" (one stage says nothing about its types). Each stage writes a line
when it begins. After each kill the run is resumed in a new process until it ends; the program prints, as JSON, what
went wrong: nothing, if all is well.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

from metta.sweep import Context, Pipeline, RetryPolicy, exponential
from metta.sweep.runtime.history import History
from metta.sweep.store import failpoints
from metta.sweep.store.runs import Store

ROOMS = ("artifact", "cache", "file", "journal", "lock", "run", "stage")
POINTS = sorted(name for name in failpoints.FAIL_POINTS if name.partition(".")[0] in ROOMS)
PATIENT = RetryPolicy(max_attempts=100, backoff=exponential(base=0.001, max=0.001), on=(OSError,))
NAME = "everything"


class Model(NamedTuple):
    """What the pipeline trains."""

    weights: list[float]
    epoch: int


class Calls:
    """The stages; each call leaves a line in a file, whatever becomes of the process."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def note(self, line: str) -> int:
        """Write the line down; how often it stands there now."""
        with open(self.file, "a") as file:
            file.write(line + "\n")
        return self.file.read_text().splitlines().count(line)

    def load(self, size: int) -> list[float]:
        self.note("load")
        return [float(number) for number in range(size)]

    def init(self, data: list[float]) -> Model:
        self.note("init")
        return Model([0.0] * len(data), 0)

    def train(self, model: Model, data: list[float]) -> Model:
        self.note(f"train {model.epoch}")
        return Model([w + x * 0.5 for w, x in zip(model.weights, data, strict=True)], model.epoch + 1)

    def flaky(self, model: Model) -> float:
        if self.note("flaky") % 3:
            raise OSError("not yet")
        return sum(model.weights)

    def square(self, x: float) -> float:
        self.note(f"square {x}")
        return x * x

    def left(self, data: list[float]) -> float:
        self.note("left")
        return min(data)

    def right(self, data: list[float]) -> str:
        self.note("right")
        return "r" * 10_000 + str(max(data))  # large: it becomes an artifact

    def inner(self, total: float) -> float:
        self.note("inner")
        return total + 1

    async def areport(self, squares: list[float], both: list[Any], bonus: float) -> str:
        return self.report(squares, both, bonus)

    def report(self, squares: list[float], both: list[Any], bonus: float) -> str:
        self.note("report")
        return f"{sum(squares)} {both[0]} {len(both[1])} {bonus}"


def untyped(ctx):  # type: ignore[no-untyped-def]
    return ctx._replace(model=ctx.model)


def everything(calls: Calls, kind: str) -> Pipeline:
    nested = Pipeline(total=float).stage("inner", calls.inner).through(bonus=float)
    begin = (
        Pipeline(size=int)
        .stage("load", calls.load)
        .through(data=list[float], cache=True)
        .stage("init", calls.init)
        .through(model=Model)
    )
    if kind == "dynamic":
        begin = begin.stage("untyped", untyped)
    return (
        begin.loop_while(lambda now: now.model.epoch < 3)
        .stage("train", calls.train)
        .through(model=Model, checkpoint=True, checkpoint_path=lambda data: f"models/{data.model.epoch}")
        .end_loop()
        .stage("flaky", calls.flaky)
        .through(total=float, retry=PATIENT)
        .map("square", calls.square, over="data", max_parallel=2)
        .through(squares=list[float])
        .parallel([calls.left, calls.right])
        .through(both=list[float | str])
        .conditional(
            lambda now: now.total > 1e9,
            Pipeline().stage("never", lambda: 0.0).through(total=float),
            Pipeline().stage("nested", nested).through(retry=2, checkpoint=True),
        )
        .stage("bonus", lambda ctx: ctx.get("bonus", 0.0))
        .through(bonus=float)
        .stage("report", calls.areport if kind == "async" else calls.report)
        .through(result=str, archive=lambda data: calls.note("archived"))
    )


def drive(folder: Path, kind: str) -> None:
    """Begin the run, or go on with it where there is one; leave the result in a file."""
    graph = everything(Calls(folder / "calls"), kind).compile()
    durable = graph.with_store(folder / "store", NAME)
    latest = durable.store.latest(NAME, unfinished=False)
    if latest is not None and begun(latest.folder):
        result: Context = durable.resume(latest.id)
    else:
        result = durable.run(size=4)
    (folder / "result").write_text(str(result.result))


def begun(folder: Path) -> bool:
    """Whether the run has its first event: before that nothing was promised."""
    return bool(committed(folder).name)


def committed(folder: Path) -> History:
    store = Store.at(folder.parent.parent)
    with store.open(folder.name) as run:
        return History.of(run.journal.events())


def child(folder: Path, kind: str, point: str = "", times: int = 1) -> int:
    """Drive in a process of its own, which `point` may kill; its process id."""
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        if point:
            failpoints._COUNTDOWN = failpoints._Countdown(f"{point}:{times}")  # type: ignore[misc]
        drive(folder, kind)
        code = 0
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)


def ended(pid: int) -> int:
    """Wait for a child; its exit code, negative for a signal."""
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


EXPECTED = "14.0 0.0 10003 10.0"
ORDER = (
    {"load": "load"},
    {"init": "init"},
    {"train": "train 0"},
    {"train#2": "train 1"},
    {"train#3": "train 2"},
    {f"square~1/square[{index}]": f"square {index}.0" for index in range(4)},
    {"parallel.arm 0.left": "left", "parallel.arm 1.right": "right"},
    {"conditional.otherwise.nested~1/conditional.otherwise.nested.inner": "inner"},
    {"report": "report"},
)
"""The keys of the passages and the lines that their calls leave; what stands together may run at the same time."""

CALLS = {key: line for together in ORDER for key, line in together.items()}


def judged(folder: Path, kills: int, done_at: list[set[str]], calls_at: list[Counter[str]]) -> list[str]:
    """What is wrong with a run that was killed some times and has ended."""
    wrong = []
    result = folder / "result"
    if not result.exists() or result.read_text() != EXPECTED:
        wrong.append(f"the result is {result.read_text() if result.exists() else 'missing'}")
    calls = Counter((folder / "calls").read_text().splitlines())
    for done, before in zip(done_at, calls_at, strict=True):
        for key in done & CALLS.keys():
            if calls[CALLS[key]] != before[CALLS[key]]:
                wrong.append(f"{key} was committed and ran again")
        wrong += lost(done, before)
    for name in CALLS.values():
        if not 1 <= calls[name] <= 1 + kills:
            wrong.append(f"{name} ran {calls[name]} times with {kills} kills")
    if not 1 <= calls["archived"] <= 1 + kills:
        wrong.append(f"archived {calls['archived']} times with {kills} kills")
    for epoch in (1, 2, 3):
        files = list(folder.glob(f"store/runs/[!.]*/files/models/{epoch}"))
        if len(files) != 1:
            wrong.append(f"the file of epoch {epoch} is there {len(files)} times")
    if list(folder.glob("store/runs/[!.]*/files/models/*tmp*")):
        wrong.append("temporary files are left")
    return wrong


def lost(done: set[str], calls: Counter[str]) -> list[str]:
    """What had ended and was not committed when a later stage began: a kill may cost what runs, and nothing before."""
    began = max((place for place, together in enumerate(ORDER) for line in together.values() if calls[line]), default=0)
    ended = [key for together in ORDER[:began] for key in together]
    return [f"{key} was not committed when a later stage began" for key in ended if key not in done]


def look(folder: Path) -> tuple[set[str], Counter[str]]:
    """What is committed now, and what has been called."""
    done: set[str] = set()
    for run in folder.glob("store/runs/[!.]*"):
        if (run / "run.db").exists():
            history = committed(run)
            done |= {key for key, passage in history.passages.items() if passage.done and passage.output.is_there}
    calls = folder / "calls"
    return done, Counter(calls.read_text().splitlines() if calls.exists() else ())


def at_point(folder: Path, kind: str, point: str, times: int) -> list[str] | None:
    """Kill once at a fail point, then go on to the end; None where the run passes it less often."""
    folder.mkdir(parents=True)
    code = ended(child(folder, kind, point, times))
    if code == 0:
        return None
    if code != -signal.SIGKILL:
        return [f"the driver ended with {code}"]
    done, calls = look(folder)
    if ended(child(folder, kind)) != 0:
        return ["the resumed driver failed"]
    return judged(folder, 1, [done], [calls])


def points(folder: Path, kind: str) -> dict[str, list[str]]:
    """Every fail point, at its first and fourth passage."""
    found: dict[str, list[str]] = {}
    passed = set()
    for point in POINTS:
        for times in (1, 4):
            here = folder / f"{point}-{times}"
            wrong = at_point(here, kind, point, times)
            shutil.rmtree(here)
            if wrong is None:
                break
            passed.add(point)
            if wrong:
                found[f"{point}:{times}"] = wrong
    found["passed"] = sorted(passed)
    return found


def at_random(folder: Path, kind: str, kills: int, seed: int) -> dict[str, list[str]]:
    """Kill at random instants, several times in one run."""
    draw = random.Random(seed)
    found: dict[str, list[str]] = {}
    total = number = 0
    while total < kills:
        number += 1
        here = folder / str(number)
        here.mkdir(parents=True)
        done_at: list[set[str]] = []
        calls_at: list[Counter[str]] = []
        patience = 0.05
        while True:
            pid = child(here, kind)
            time.sleep(draw.uniform(0, patience))
            patience *= 1.1  # on a slow machine, too, it comes to an end
            os.kill(pid, signal.SIGKILL)
            code = ended(pid)
            if code == 0:
                break
            if code != -signal.SIGKILL:
                found[str(number)] = [f"the driver ended with {code}"]
                break
            done, calls = look(here)
            done_at.append(done)
            calls_at.append(calls)
            total += 1
        if str(number) not in found and (wrong := judged(here, len(done_at), done_at, calls_at)):
            found[str(number)] = wrong
        shutil.rmtree(here)
    return found


def main(folder: str, kind: str, what: str, *rest: str) -> None:
    if what == "points":
        result = points(Path(folder), kind)
    else:
        result = at_random(Path(folder), kind, int(rest[0]), int(rest[1]))
    print(json.dumps(result))


if __name__ == "__main__":
    main(*sys.argv[1:])
