"""Sweeps on an engine whose jobs outlive their driver: it is killed, and nothing is lost and nothing is done twice."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from metta.sweep.executors.remote import spool
from metta.sweep.executors.remote.engine import Phase
from metta.sweep.experiments import SweepExperiment
from metta.sweep.space import Uniform
from metta.sweep.store.runs import Store
from metta.sweep.trial import Trial
from tests.executors.helpers import eventually
from tests.executors.process_engine import ProcessEngine, ProcessExecutor
from tests.experiments.remote_sweeps import run, sweep, table

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    return table(run(tmp_path_factory.mktemp("local"), "local", resume=False))


def _driver(folder: Path, *, resume: bool, fail_at: str = "", engine: str = "process") -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tests.experiments.remote_sweeps", str(folder), engine, *["resume"] * resume]
    environment = {**os.environ, "METTA_SWEEP_FAIL_AT": fail_at}
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT, env=environment)


def _finish(folder: Path, *, resume: bool) -> list[dict[str, Any]]:
    driver = _driver(folder, resume=resume)
    out, _ = driver.communicate(timeout=240)
    assert driver.returncode == 0
    found: list[dict[str, Any]] = json.loads(out.splitlines()[-1])
    return found


def _events(folder: Path, kind: str) -> list[dict[str, Any]]:
    """What the journal of the first sweep in a store says of a kind of events."""
    store = Store.at(folder / "store")
    for info in store.all():
        with store.open(info.id) as kept:
            return [event.data for event in kept.journal.events(kinds={kind})]
    return []


def _saved(folder: Path) -> dict[str, list[int]]:
    """The steps of the states that were noted, in their order, by trial."""
    store = Store.at(folder / "store")
    found: dict[str, list[int]] = {}
    for info in store.all():
        with store.open(info.id) as kept:
            for event in kept.journal.events(kinds={"trial.saved"}):
                found.setdefault(event.subject, []).append(event.data["step"])
    return found


def _check(folder: Path, found: list[dict[str, Any]], reference: list[dict[str, Any]]) -> None:
    assert found == reference
    for log in (folder / "store").rglob("log.txt"):
        done = Counter(log.read_text().split("\n"))
        assert max(done.values()) == 1, f"{log}: a step was done twice"
    for trial, steps in _saved(folder).items():
        assert steps == sorted(set(steps)), f"trial {trial}: a state that was known already was taken for a new one"
    engine = ProcessEngine(folder / "engine")

    def all_ended() -> bool:  # a job's answer is there a moment before its process is gone
        left = engine.status({job: job.partition(".")[0] for job in engine.jobs()})
        return all(status.phase is Phase.ENDED for status in left.values())

    assert eventually(all_ended), "no job goes on"


def test_the_same_table_as_on_this_machine(tmp_path: Path, reference: list[dict[str, Any]]) -> None:
    found = table(run(tmp_path, "process", resume=False))
    _check(tmp_path, found, reference)


@pytest.mark.slow
def test_a_sweep_without_a_store_leaves_nothing(tmp_path: Path, reference: list[dict[str, Any]]) -> None:
    with ProcessExecutor(tmp_path / "engine", max_jobs=3) as executor:
        unkept = sweep(tmp_path, executor).with_params({"store": None})
        assert table(unkept.run(progress=False).value) == reference
        assert list(executor.spool.iterdir()) == []


@pytest.mark.parametrize(
    "point",
    [
        "remote.submitted:4",
        pytest.param("sweep.answered:7", marks=pytest.mark.slow),
        pytest.param("sweep.committed:9", marks=pytest.mark.slow),
        pytest.param("remote.noted:5", marks=pytest.mark.slow),
    ],
)
def test_a_killed_driver_loses_nothing(tmp_path: Path, reference: list[dict[str, Any]], point: str) -> None:
    driver = _driver(tmp_path, resume=False, fail_at=point)
    driver.communicate(timeout=240)
    assert driver.returncode == -signal.SIGKILL
    _check(tmp_path, _finish(tmp_path, resume=True), reference)
    (resumed,) = _events(tmp_path, "sweep.resumed")
    if point.startswith("remote."):  # else its jobs may all have ended, and the next ones not begun
        assert resumed["adopted"], "the job was taken over"


@pytest.mark.slow
def test_ctrl_c_ends_the_jobs_and_the_sweep_goes_on_later(tmp_path: Path, reference: list[dict[str, Any]]) -> None:
    driver = _driver(tmp_path, resume=False)
    engine = ProcessEngine(tmp_path / "engine")
    until = time.monotonic() + 60
    while not engine.jobs():
        assert time.monotonic() < until
        time.sleep(0.02)
    time.sleep(1.0)
    driver.send_signal(signal.SIGINT)
    driver.communicate(timeout=60)
    assert driver.returncode in (1, 130, -signal.SIGINT)
    left = engine.status({job: job.partition(".")[0] for job in engine.jobs()})
    assert all(status.phase is Phase.ENDED for status in left.values()), "no job goes on"
    assert _finish(tmp_path, resume=True) == reference  # what ran since the last report is done again


def kill_again_and_again(folder: Path, reference: list[dict[str, Any]], seed: int, kills: int) -> int:
    """Kill drivers at random instants; how many attempts were taken over."""
    draw = random.Random(seed)
    began = False
    for _ in range(kills):
        driver = _driver(folder, resume=began)
        time.sleep(draw.uniform(1.0, 3.5))
        driver.kill()
        out, _ = driver.communicate()
        if driver.returncode == 0:  # it was faster
            _check(folder, json.loads(out.splitlines()[-1]), reference)
            break
        if _events(folder, "sweep.ended"):  # there is nothing left to resume
            break
        began = bool(_events(folder, "sweep.started"))
    else:
        _check(folder, _finish(folder, resume=began), reference)
    return sum(len(resumed["adopted"]) for resumed in _events(folder, "sweep.resumed"))


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
def test_drivers_killed_at_random_instants(tmp_path: Path, reference: list[dict[str, Any]], seed: int) -> None:
    kill_again_and_again(tmp_path, reference, seed, kills=4)


def _live_attempts(folder: Path) -> list[Path]:
    """The attempts whose end nobody has told."""
    attempts = [path.parent for path in (folder / "store").rglob(spool.TASK)]
    return [attempt for attempt in attempts if not spool.is_fenced(attempt)]


@pytest.mark.slow
def test_a_sweep_goes_on_here_and_there_again(tmp_path: Path, reference: list[dict[str, Any]]) -> None:
    """Resumed on this machine, what runs elsewhere is fenced; resumed there, nothing of it comes back."""
    _driver(tmp_path, resume=False, fail_at="sweep.answered:7").communicate(timeout=240)
    left = _live_attempts(tmp_path)
    assert left
    here = _driver(tmp_path, resume=True, engine="local", fail_at="sweep.answered:3")
    here.communicate(timeout=240)
    assert here.returncode == -signal.SIGKILL
    assert all(spool.is_fenced(attempt) for attempt in left)
    assert _finish(tmp_path, resume=True) == reference


def hitting(folder: Path, executor: ProcessExecutor) -> SweepExperiment:
    """Trial 1 has the target as soon as trial 0 runs, which never ends."""

    def one_hits(trial: Trial) -> float:
        if trial.id == 0:
            (folder / "began").touch()
        while trial.id == 0 or not (folder / "began").exists():
            time.sleep(0.02)
        return 0.0

    return SweepExperiment(
        one_hits, search_space={"x": Uniform(0.0, 1.0)}, executor=executor, store=folder / "store", seed=3
    )


_DIES_AT_ITS_END = """
import os, signal, sys
from pathlib import Path
from metta.sweep.experiments import Budget
from metta.sweep.experiments.session import Session
from tests.executors.process_engine import ProcessExecutor
from tests.experiments.test_remote_sweep import hitting
Session.halt = lambda session: os.kill(os.getpid(), signal.SIGKILL)
folder = Path(sys.argv[1])
hitting(folder, ProcessExecutor(folder / "engine", max_jobs=2)).run(Budget(trials=9, target_score=0.0)).value
"""


def test_the_jobs_of_a_sweep_that_is_over_are_ended(tmp_path: Path) -> None:
    """Its driver died after it had noted the end, before it took back what still ran."""
    driver = subprocess.run([sys.executable, "-c", _DIES_AT_ITS_END, str(tmp_path)], cwd=ROOT, check=False, timeout=240)
    assert driver.returncode == -signal.SIGKILL
    assert _live_attempts(tmp_path)
    with ProcessExecutor(tmp_path / "engine", max_jobs=2) as executor:
        found = hitting(tmp_path, executor).run(resume=True, progress=False)
        assert "target" in found.value.ended
        assert _live_attempts(tmp_path) == []
    assert ProcessEngine(tmp_path / "engine").jobs() == []
