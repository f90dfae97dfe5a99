"""Tasks on a Dask cluster keep the contract of executors."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from metta.sweep.executors import Executor
from metta.sweep.executors.base import Answer, EventStream, Failed, Finished, Reported, StateSaved, Task
from metta.sweep.executors.dask.executor import DaskExecutor
from metta.sweep.executors.objective import Outcome, trial_task
from metta.sweep.testing.executor_conformance import ExecutorConformance
from metta.sweep.trial import FailureReason, Trial
from tests.executors.dask_cluster import DaskCluster
from tests.executors.remote_tasks import add, climbing


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DaskCluster]:
    with DaskCluster(tmp_path_factory.mktemp("dask"), threads=2) as cluster:
        yield cluster


def last(stream: EventStream) -> Finished | Failed:
    until = time.monotonic() + 60
    while not isinstance(event := stream.get(until - time.monotonic()), Finished | Failed):
        pass
    return event


def test_a_task_runs_on_the_cluster(cluster: DaskCluster, tmp_path: Path) -> None:
    with DaskExecutor(cluster.address, spool=tmp_path) as executor:
        stream = executor.events()
        executor.submit(Task("a", add, (1, 2)), stream)
        end = last(stream)
        assert isinstance(end, Finished)
        assert end.result == 3


@pytest.mark.parametrize("how", ["terminate", "kill"])
def test_a_worker_that_goes_lets_its_trial_save(tmp_path: Path, how: str) -> None:
    """Also one that is killed: the program ends by itself, as the machine is still there. The next attempt goes on."""
    gates = tmp_path / "gates"
    gates.mkdir()
    for step in (1, 2):
        (gates / f"gate-{step}").touch()
    with (
        DaskCluster(tmp_path, workers=1) as cluster,
        DaskExecutor(cluster.address, spool=tmp_path / "spool", grace=4) as executor,
    ):
        stream = executor.events()
        trial = Trial({"x": 1.0, "gates": str(gates)}, id=0)
        executor.submit(trial_task(climbing, trial, token="a", folder=tmp_path / "trial"), stream)
        saved: list[Path] = []
        while not isinstance(event := stream.get(60), Finished | Failed):
            match event:
                case StateSaved(path=path):
                    saved.append(path)
                case Reported(report=report):
                    executor.answer(event, Answer.CONTINUE)
                    if report.step == 2:
                        getattr(cluster.workers["w0"], how)()
        assert isinstance(event, Failed)
        assert event.reason is FailureReason.PREEMPTED
        cluster.add_worker("w1")
        for step in range(3, 9):
            (gates / f"gate-{step}").touch()
        again = trial_task(climbing, trial, token="b", folder=tmp_path / "trial", restore=saved[-1])
        executor.submit(again, stream)
        steps = []
        while not isinstance(event := stream.get(60), Finished | Failed):
            if isinstance(event, Reported):
                steps.append(event.report.step)
                executor.answer(event, Answer.CONTINUE)
        assert isinstance(event, Finished)
        assert isinstance(event.result, Outcome)
        assert (steps, event.result.metrics) == ([3, 4, 5, 6, 7, 8], {"score": 36.0})


# The contract


@pytest.mark.slow
class TestDask(ExecutorConformance):
    crowd = 8
    passes_environment = False
    refuses_too_much = False  # its workers declare no cores

    address: str

    @pytest.fixture(autouse=True)
    def at(self, cluster: DaskCluster) -> None:
        self.address = cluster.address

    def make(self, folder: Path) -> Executor:
        return DaskExecutor(self.address, spool=folder / "spool", grace=0.5)
