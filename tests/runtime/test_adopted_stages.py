"""Stages on executors that outlive the driver: the tokens of their jobs, and who asks for them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from metta.sweep import Pipeline, RetryPolicy
from metta.sweep.errors import WorkerDied
from metta.sweep.executors.base import EventStream, Failed, Finished, Task
from metta.sweep.runtime.durable import DurableGraph
from metta.sweep.trial import FailureReason


class Jobs:
    """An executor of jobs that go on without a driver, all of which are given by tokens.

    Attributes:
        submitted, asked: the tokens, in order.
        behaves: what becomes of the next submissions: an error to raise, a reason to fail for, or a result.
        alive: the tokens of jobs that can be adopted, with their results.
    """

    capacity = None
    outlives_driver = True

    def __init__(self) -> None:
        self.submitted: list[str] = []
        self.asked: list[str] = []
        self.folders: list[Path | None] = []
        self.behaves: list[Any] = []
        self.alive: dict[str, int] = {}

    def events(self) -> EventStream:
        return EventStream()

    def submit(self, task: Task, events: EventStream) -> None:
        self.submitted.append(task.token)
        self.folders.append(task.log_folder)
        behavior = self.behaves.pop(0) if self.behaves else task.fn(*task.args, **task.kwargs)
        if isinstance(behavior, BaseException):
            raise behavior
        if isinstance(behavior, FailureReason):
            events.put(Failed(task.token, behavior, "it is gone"))
        else:
            events.put(Finished(task.token, behavior))

    def reattach(self, token: str, events: EventStream, folder: Path | None = None, *, also_ended: bool = True) -> bool:
        self.asked.append(token)
        if token in self.alive:
            events.put(Finished(token, self.alive[token]))
        return token in self.alive

    def answer(self, report: object, answer: object) -> None: ...
    def cancel(self, token: str) -> None: ...
    def close(self) -> None: ...


@pytest.fixture
def jobs() -> Jobs:
    return Jobs()


def train(x: int) -> int:
    return x + 1


def durable(jobs: Jobs, folder: Path, stage: Callable[[int], int] = train, **hooks: Any) -> DurableGraph[Any, Any]:
    pipeline = Pipeline(x=int).stage("train", stage).through(y=int, executor=jobs, **hooks)
    return pipeline.compile().with_store(folder, "run")


def died(graph: DurableGraph[Any, Any], jobs: Jobs, run: str | None = None) -> str:
    """Run or resume until the driver dies under the stage; the run's id."""
    jobs.behaves = [KeyboardInterrupt()]
    with pytest.raises(KeyboardInterrupt):
        graph.run(x=1) if run is None else graph.resume(run)
    found = graph.store.latest("run", unfinished=True)
    assert found is not None
    return found.id


def test_the_next_driver_asks_for_it(jobs: Jobs, tmp_path: Path) -> None:
    graph = durable(jobs, tmp_path)
    run = died(graph, jobs)
    (token,) = jobs.submitted
    assert token.startswith(f"{run}-stage-")
    jobs.alive = {token: 7}
    assert graph.resume(run).y == 7
    assert (jobs.submitted, jobs.asked) == ([token], [token])


def test_what_a_job_is_just_writing_is_left_alone(jobs: Jobs, tmp_path: Path) -> None:
    graph = durable(jobs, tmp_path)
    run = died(graph, jobs)
    (folder,) = jobs.folders
    assert folder is not None
    ours, theirs = folder / ".0123456789abcdef.tmp", folder / "attempts" / "job" / "run-001" / ".0123456789abcdef.tmp"
    for path in (ours, theirs):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    graph.resume(run)
    assert not ours.exists(), "of the driver that died"
    assert theirs.exists(), "of the worker program, which goes on"


def test_what_is_gone_is_submitted_under_another_token(jobs: Jobs, tmp_path: Path) -> None:
    graph = durable(jobs, tmp_path)
    run = died(graph, jobs)
    assert graph.resume(run).y == 2
    first, second = jobs.submitted
    assert first != second
    assert jobs.asked == [first]
    assert len(set(jobs.folders)) == 1


def test_of_several_dead_drivers_the_newest_first(jobs: Jobs, tmp_path: Path) -> None:
    graph = durable(jobs, tmp_path)
    run = died(graph, jobs)
    died(graph, jobs, run)
    first, second = jobs.submitted
    jobs.asked.clear()
    jobs.alive = {first: 7}
    assert graph.resume(run).y == 7
    assert jobs.asked == [second, first]


def test_what_has_failed_is_not_asked_for(jobs: Jobs, tmp_path: Path) -> None:
    graph = durable(jobs, tmp_path, retry=RetryPolicy(2, None))
    jobs.behaves = [FailureReason.KILLED, FailureReason.KILLED]
    with pytest.raises(WorkerDied, match="it is gone"):
        graph.run(x=1)
    found = graph.store.latest("run", unfinished=True)
    assert found is not None
    assert graph.resume(found.id).y == 2
    assert len(set(jobs.submitted)) == 3
    assert jobs.asked == []


def test_preemptions_are_no_failures(jobs: Jobs, tmp_path: Path) -> None:
    jobs.behaves = [*[FailureReason.PREEMPTED] * 3, FailureReason.KILLED, 5]
    assert durable(jobs, tmp_path, retry=RetryPolicy(2, None)).run(x=1).y == 5


def test_preemptions_are_counted_over_all_drivers(jobs: Jobs, tmp_path: Path) -> None:
    graph = durable(jobs, tmp_path)
    jobs.behaves = [*[FailureReason.NODE_LOST] * 15, KeyboardInterrupt()]
    with pytest.raises(KeyboardInterrupt):
        graph.run(x=1)
    jobs.behaves = [FailureReason.NODE_LOST] * 10
    with pytest.raises(WorkerDied):
        graph.resume()
    assert len(jobs.submitted) == 16 + 6


def test_what_a_change_made_void_is_not_asked_for(jobs: Jobs, tmp_path: Path) -> None:
    run = died(durable(jobs, tmp_path), jobs)
    changed = durable(jobs, tmp_path, lambda x: x + 100)
    assert changed.resume(run, allow_changed=True).y == 101
    assert len(set(jobs.submitted)) == 2
    assert jobs.asked == []


def test_moving_a_stage_elsewhere_is_no_change(jobs: Jobs, tmp_path: Path) -> None:
    run = died(durable(jobs, tmp_path), jobs)
    others = Jobs()
    assert durable(others, tmp_path).resume(run).y == 2
    assert (others.asked, len(others.submitted)) == (jobs.submitted, 1)


def test_without_a_store_nobody_looks(jobs: Jobs) -> None:
    pipeline = Pipeline(x=int).stage("train", train).through(y=int, executor=jobs)
    assert pipeline.compile().run(x=1).y == 2
    assert pipeline.compile().run(x=1).y == 2
    assert (len(set(jobs.submitted)), jobs.asked, jobs.folders) == (2, [], [None, None])


def test_elements_of_a_map_have_jobs_of_their_own(jobs: Jobs, tmp_path: Path) -> None:
    async def begin() -> list[int]:
        return [1, 2]

    pipeline = (
        Pipeline()
        .stage("begin", begin)
        .through(xs=list[int])
        .map("each", train, over="xs")
        .through(ys=list[int], executor=jobs)
    )
    graph = pipeline.compile().with_store(tmp_path, "run")
    assert asyncio.run(graph.arun()).ys == [2, 3]
    assert len(set(jobs.submitted)) == len(set(jobs.folders)) == 2
