"""Stages that run on an executor: by name, by class, as an object; what comes back, what goes wrong, who takes over."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from metta.sweep import Pipeline
from metta.sweep.compiler.fingerprint import fingerprints
from metta.sweep.errors import RunError, StageTimeout, UsageError, WorkerDied
from metta.sweep.executors.base import EventStream, Executor, Failed, Finished, Started, Task
from metta.sweep.executors.child import acall_on, call_on, stage_task
from metta.sweep.executors.local import LocalExecutor
from metta.sweep.executors.serial import UnstorableError
from metta.sweep.executors.shared import close_shared, shared_executor, source_of
from metta.sweep.experiments.base import Pipeline as AnyPipeline
from metta.sweep.pipeline.hooks import RetryPolicy
from metta.sweep.trial import FailureReason, Resources
from tests.executors import tasks
from tests.executors.helpers import PATIENCE
from tests.executors.process_engine import ProcessExecutor


@pytest.fixture(autouse=True)
def _closed() -> Iterator[None]:
    yield
    close_shared()


class Recording(LocalExecutor):
    """A local executor whose tasks can be looked at."""

    made = 0

    def __init__(self) -> None:
        super().__init__(max_workers=1)
        type(self).made += 1
        self.tasks: list[Task] = []
        self.closed = False

    def submit(self, task: Task, events: EventStream) -> None:
        self.tasks.append(task)
        super().submit(task, events)

    def close(self) -> None:
        self.closed = True
        super().close()


class Remembering:
    """An executor whose tasks outlive the driver: each ends at once, as the script of its token says."""

    capacity = 1
    outlives_driver = True

    def __init__(self, ends: dict[str, Finished | Failed] | None = None) -> None:
        self.ends = ends or {}
        self.asked: list[tuple[str, Path | None]] = []
        self.tasks: list[Task] = []
        self.cancelled: list[str] = []
        self.then: Callable[[], Finished] | None = None

    def events(self) -> EventStream:
        return EventStream()

    def submit(self, task: Task, events: EventStream) -> None:
        self.tasks.append(task)
        events.put(Started(task.token, "new"))
        events.put(self.then or self.ends.get("submitted", Finished(task.token, "new")))

    def reattach(self, token: str, events: EventStream, folder: Path | None = None, *, also_ended: bool = True) -> bool:
        self.asked.append((token, folder))
        if token not in self.ends:
            return False
        events.put(self.ends[token])
        return True

    def answer(self, report: object, answer: object) -> None: ...
    def cancel(self, token: str) -> None:
        self.cancelled.append(token)

    def close(self) -> None: ...


def lost(token: str, reason: FailureReason = FailureReason.LOST_CONTACT) -> Failed:
    return Failed(token, reason, "gone")


def pipeline_on(executor: Any, stage: Callable[..., Any] = tasks.pid, **hooks: Any) -> AnyPipeline:
    return Pipeline().stage("where", stage).through(int, executor=executor, **hooks)


# -- which executor ----------------------------------------------------------------------------------------------------


def test_names_of_the_workers_of_this_process() -> None:
    assert [source_of(wanted) for wanted in ("local", "LocalExecutor", LocalExecutor)] == [None, None, None]


def test_an_object_is_itself() -> None:
    with LocalExecutor(1) as executor:
        assert shared_executor(source_of(executor) or Recording) is executor


def test_one_for_each_class_of_a_process() -> None:
    before = Recording.made
    first, second = shared_executor(Recording), shared_executor(Recording)
    assert first is second
    assert Recording.made == before + 1
    close_shared()
    assert isinstance(first, Recording)
    assert first.closed
    assert shared_executor(Recording) is not first


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ("lokal", "there is no executor 'lokal': did you mean 'local'"),
        (7, r"executor=7: expected the name of an executor \(.*local.*\), an executor such as LocalExecutor"),
    ],
)
def test_no_executor(wanted: Any, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        source_of(wanted)


def test_what_cannot_be_made_without_arguments() -> None:
    def on(queue: str) -> Executor:
        raise AssertionError(queue)

    with pytest.raises(UsageError, match=r"on needs queue: .* executor=on\(queue=\.\.\.\)"):
        shared_executor(on)  # type: ignore[arg-type]


# -- in a pipeline -----------------------------------------------------------------------------------------------------


def test_stages_here_and_there() -> None:
    with closing(Recording()) as executor:
        pipeline = (
            Pipeline(x=int)
            .stage("here", tasks.pid)
            .through(here=int)
            .stage("there", tasks.pid)
            .through(there=int, executor=executor, resources=Resources(memory="1GB"), timeout=PATIENCE)
        )
        now = pipeline.compile().run(x=1)
        assert now.here == os.getpid() != now.there
        (task,) = executor.tasks
        assert (task.name, task.timeout, task.resources.memory) == ("there", PATIENCE, "1GB")


def test_an_async_stage_goes_there_too() -> None:
    async def where() -> int:
        return os.getpid()

    with LocalExecutor(1) as executor:
        assert asyncio.run(pipeline_on(executor, where).compile().arun()) != os.getpid()


def test_a_class_and_a_partial_of_it() -> None:
    assert pipeline_on(Recording).compile().run() != os.getpid()
    assert pipeline_on(partial(LocalExecutor, max_workers=1)).compile().run() != os.getpid()


def test_the_fingerprint_does_not_depend_on_where_it_runs() -> None:
    with LocalExecutor(1) as executor:
        found = [
            fingerprints(pipeline_on(each, resources=Resources(cpus=cpus)).compile().graph)
            for each, cpus in (("local", 1), (executor, 2), (LocalExecutor, 3))
        ]
    assert found[0] == found[1] == found[2]


@pytest.mark.parametrize("bad", [3, None, str, list[int], int | None, Resources])
def test_a_hook_that_is_no_executor_is_found_at_once(bad: object) -> None:
    with pytest.raises(Exception, match="the name of an executor, an executor, or its class"):
        pipeline_on(bad).compile()


# -- how it ends -------------------------------------------------------------------------------------------------------


@pytest.fixture
def local() -> Iterator[LocalExecutor]:
    with LocalExecutor(1) as executor:
        yield executor


def test_result_and_output(local: LocalExecutor, capsys: pytest.CaptureFixture[str]) -> None:
    assert call_on(local, stage_task(lambda a, b: print("six by seven") or a * b, (6,), {"b": 7}, name="times")) == 42
    assert asyncio.run(acall_on(local, stage_task(tasks.echo, (1,), name="echo"))) == 1
    assert capsys.readouterr().out == "six by seven\n"


def test_timeout(local: LocalExecutor) -> None:
    with pytest.raises(StageTimeout, match=r'stage "spin" was stopped after its time-out of 0\.2 s'):
        call_on(local, stage_task(tasks.spin_forever, timeout=0.2, name="spin"))


def test_what_cannot_travel(local: LocalExecutor) -> None:
    with pytest.raises(UnstorableError, match=r'stage "lock" runs in another process: .* must be storable'):
        call_on(local, stage_task(tasks.give_a_lock, name="lock"))


def failed(event: Failed) -> BaseException:
    with pytest.raises(Exception) as caught:  # noqa: PT011
        call_on(Remembering({"submitted": event}), stage_task(tasks.pid, name="train", token="t"))
    return caught.value


def test_an_exception_that_came_as_text() -> None:
    error = failed(Failed("t", FailureReason.USER_ERROR, "NoLayer: conv9", "Traceback: NoLayer"))
    assert type(error) is RunError
    assert str(error) == 'stage "train": NoLayer: conv9'
    assert error.__notes__ == ["In the worker process:\n\nTraceback: NoLayer"]


def test_an_exception_that_was_rebuilt() -> None:
    error = failed(Failed("t", FailureReason.USER_ERROR, "KeyError: 'a'", "Traceback: KeyError", KeyError("a")))
    assert isinstance(error, KeyError)
    assert "Traceback: KeyError" in error.__notes__[0]


@pytest.mark.parametrize("reason", ["node_lost", "preempted", "oom", "killed", "lost_contact", "cancelled"])
def test_the_machine_s_fault(reason: str) -> None:
    error = failed(Failed("t", FailureReason(reason), "job 7 on n1: it is gone"))
    assert isinstance(error, WorkerDied)
    assert (str(error), error.reason) == ('stage "train": job 7 on n1: it is gone', reason)


def test_a_time_limit_of_the_engine() -> None:
    error = failed(Failed("t", FailureReason.TIMEOUT, "job 7: TIMEOUT", seconds=60.0))
    assert isinstance(error, StageTimeout)
    assert (error.stage, error.seconds) == ("train", 60.0)


# -- preemption --------------------------------------------------------------------------------------------------------


class Preempting(LocalExecutor):
    """Takes its machine away from the first attempts."""

    def __init__(self, times: int, reason: FailureReason = FailureReason.PREEMPTED) -> None:
        super().__init__(1)
        self.times, self.reason, self.tokens = times, reason, list[str]()

    def submit(self, task: Task, events: EventStream) -> None:
        self.tokens.append(task.token)
        if len(self.tokens) <= self.times:
            events.put(lost(task.token, self.reason))
        else:
            super().submit(task, events)


@pytest.mark.parametrize("reason", [FailureReason.PREEMPTED, FailureReason.NODE_LOST])
def test_a_preemption_uses_up_no_retry(reason: FailureReason, tmp_path: Path) -> None:
    with closing(Preempting(20, reason)) as executor:
        assert pipeline_on(executor).compile().with_store(tmp_path, "run").run() != os.getpid()
        assert len(set(executor.tokens)) == 21
    with closing(Preempting(20, reason)) as executor:
        assert pipeline_on(executor).compile().run() != os.getpid()


@pytest.mark.parametrize("store", [True, False])
def test_but_not_for_ever(store: bool, tmp_path: Path) -> None:
    with closing(Preempting(100)) as executor:
        graph = pipeline_on(executor).compile()
        with pytest.raises(WorkerDied, match="gone"):
            (graph.with_store(tmp_path, "run") if store else graph).run()
        assert len(executor.tokens) == 21


def test_a_killed_worker_uses_one_up() -> None:
    with closing(Preempting(3, FailureReason.KILLED)) as executor:
        with pytest.raises(WorkerDied):
            pipeline_on(executor, retry=RetryPolicy(2, None)).compile().run()
        assert len(executor.tokens) == 2


# -- who takes over ----------------------------------------------------------------------------------------------------


def test_the_newest_that_is_still_there_is_adopted(tmp_path: Path) -> None:
    executor = Remembering({"b": Finished("b", "of b"), "a": Finished("a", "of a")})
    task = stage_task(tasks.pid, name="train", token="d", log_folder=tmp_path)
    assert call_on(executor, task, adopt=["c", "b", "a"]) == "of b"
    assert executor.asked == [("c", tmp_path), ("b", tmp_path)]
    assert executor.tasks == []
    assert asyncio.run(acall_on(executor, task, adopt=["c", "b", "a"])) == "of b"


@pytest.mark.parametrize("reason", [FailureReason.LOST_CONTACT, FailureReason.CANCELLED])
def test_what_is_lost_is_begun_anew(reason: FailureReason) -> None:
    executor = Remembering({"a": lost("a", reason)})
    task = stage_task(tasks.pid, name="train", token="b")
    assert call_on(executor, task, adopt=["a"]) == "new"
    assert [each.token for each in executor.tasks] == ["b"]


def test_who_ends_with_the_driver_is_not_asked() -> None:
    executor = Remembering({"a": Finished("a", "of a")})
    executor.outlives_driver = False
    assert call_on(executor, stage_task(tasks.pid, name="train", token="b"), adopt=["a"]) == "new"
    assert executor.asked == []


def test_who_is_interrupted_cancels() -> None:
    def interrupt() -> Finished:
        raise KeyboardInterrupt

    executor = Remembering()
    executor.then = interrupt
    with pytest.raises(KeyboardInterrupt):
        call_on(executor, stage_task(tasks.pid, name="train", token="a"))
    with pytest.raises(KeyboardInterrupt):
        asyncio.run(acall_on(executor, stage_task(tasks.pid, name="train", token="b")))
    assert executor.cancelled == ["a", "b"]


# -- in a job that outlives its driver ---------------------------------------------------------------------------------


class OfTheUser(Exception):
    pass


def fails_builtin() -> None:
    raise KeyError("conv9")


def fails_own() -> None:
    raise OfTheUser("no such layer")


def doubled(x: int) -> int:
    print(f"x is {x}")
    return 2 * x


@pytest.fixture
def remote(tmp_path: Path) -> Iterator[ProcessExecutor]:
    executor = ProcessExecutor(tmp_path / "engine", poll_interval=0.05)
    yield executor
    executor.close()


def test_a_job_s_result_and_output(remote: ProcessExecutor, capsys: pytest.CaptureFixture[str]) -> None:
    assert call_on(remote, stage_task(doubled, (4,), name="double", timeout=PATIENCE)) == 8
    assert asyncio.run(acall_on(remote, stage_task(doubled, (5,), name="double", timeout=PATIENCE))) == 10
    assert capsys.readouterr().out == "x is 4\nx is 5\n"


def test_a_job_s_exceptions(remote: ProcessExecutor) -> None:
    with pytest.raises(KeyError) as builtin:
        call_on(remote, stage_task(fails_builtin, name="train"))
    assert "in fails_builtin" in builtin.value.__notes__[0]
    with pytest.raises(RunError, match="OfTheUser: no such layer") as own:
        call_on(remote, stage_task(fails_own, name="train"))
    assert type(own.value) is RunError
    assert "in fails_own" in own.value.__notes__[0]


def test_a_job_s_result_that_cannot_be_stored(remote: ProcessExecutor) -> None:
    with pytest.raises(UnstorableError, match='stage "lock" runs in another process'):
        call_on(remote, stage_task(tasks.give_a_lock, name="lock"))
    with pytest.raises(UnstorableError, match='stage "lock" runs in another process'):
        call_on(remote, stage_task(tasks.echo, (tasks.give_a_lock(),), name="lock"))


def test_a_job_s_time_out(remote: ProcessExecutor) -> None:
    with pytest.raises(StageTimeout, match=r'stage "spin" was stopped after its time-out of 0\.2 s'):
        call_on(remote, stage_task(tasks.spin_forever, timeout=0.2, name="spin"))


def test_elements_of_a_map_are_jobs(remote: ProcessExecutor, tmp_path: Path) -> None:
    async def begin() -> list[int]:
        return [1, 2, 3]

    pipeline = (
        Pipeline()
        .stage("begin", begin)
        .through(xs=list[int])
        .map("double", doubled, over="xs")
        .through(ys=list[int], executor=remote)
    )
    graph = pipeline.compile().with_store(tmp_path / "store", "run")
    assert asyncio.run(graph.arun()).ys == [2, 4, 6]
    logs = sorted(path.read_text() for path in tmp_path.rglob("log.txt"))
    assert logs == ["x is 1\n", "x is 2\n", "x is 3\n"]
