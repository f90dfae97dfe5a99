"""What tasks see and give, in real worker processes."""

from __future__ import annotations

import asyncio
import gc
import os
import threading
from contextlib import suppress
from pathlib import Path

import pytest

from metta.sweep.errors import UsageError
from metta.sweep.executors import Event, Failed, Finished, LocalExecutor, Logged, Started, Task
from metta.sweep.executors.placement import OVERTAKES
from metta.sweep.trial import FailureReason, Resources
from tests.executors import tasks
from tests.executors.helpers import PATIENCE, eventually, fail, last, lives, read_to_end, run, start


def test_order_of_events(executor: LocalExecutor) -> None:
    token, stream = start(executor, tasks.echo, {"a": [1, 2]})
    started, finished = read_to_end(stream)
    assert isinstance(started, Started)
    assert isinstance(finished, Finished)
    assert started.token == finished.token == token
    assert int(started.worker) != os.getpid()
    assert finished.result == {"a": [1, 2]}
    assert finished.seconds > 0


def test_lambda_closure_and_bound_method_travel(executor: LocalExecutor) -> None:
    factor = 3

    class Scaler:
        def __init__(self, by: int) -> None:
            self.by = by

        def scale(self, value: int) -> int:
            return value * self.by

    assert run(executor, lambda value: value + factor, 4) == 7
    assert run(executor, Scaler(5).scale, 4) == 20


def test_class_of_a_function_body_keeps_its_identity(executor: LocalExecutor) -> None:
    seen = []

    class Box:
        def __init__(self, value: int) -> None:
            self.value = value

        def note(self) -> None:
            seen.append(self.value)

    def make(value: int) -> Box:
        return Box(value)

    box = run(executor, make, 4)
    assert type(box) is Box
    box.note()  # the method is still ours: it appends to our list, not to a copy of it
    assert seen == [4]


def test_class_changed_between_two_tasks(executor: LocalExecutor) -> None:
    class Settings:
        rate = 1

        def __init__(self) -> None:
            self.seen = Settings.rate

    assert run(executor, Settings).seen == 1
    Settings.rate = 2
    assert run(executor, Settings).seen == 2  # the same warm worker, which knows the class already


def test_async_function(executor: LocalExecutor) -> None:
    assert run(executor, tasks.double, 21) == 42


def test_workers_are_warm(executor: LocalExecutor) -> None:
    assert len({run(executor, tasks.pid) for _ in range(5)}) == 1


def test_200_tasks_on_two_workers(executor: LocalExecutor) -> None:
    stream = executor.events()
    for number in range(200):
        executor.submit(Task(f"t{number}", tasks.echo, (number,)), stream)
    results: dict[str, object] = {}
    workers = set()
    while len(results) < 200:
        match stream.get(PATIENCE):
            case Finished(token, result):
                results[token] = result
            case Started(_, worker):
                workers.add(worker)
            case event:
                pytest.fail(f"unexpected {event}")
    assert results == {f"t{number}": number for number in range(200)}
    assert len(workers) <= 2


def test_submitting_from_many_threads(executor: LocalExecutor) -> None:
    results: list[int] = []

    def work(first: int) -> None:
        results.extend(run(executor, tasks.echo, first + number) for number in range(10))

    threads = [threading.Thread(target=work, args=(first,)) for first in (0, 10, 20, 30)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert sorted(results) == list(range(40))


def test_asyncio_waits_without_blocking_its_loop(executor: LocalExecutor) -> None:
    async def main() -> tuple[int, int]:
        ticks = 0

        async def tick() -> None:
            nonlocal ticks
            while True:
                ticks += 1
                await asyncio.sleep(0)

        ticking = asyncio.create_task(tick())
        _, stream = start(executor, tasks.echo, 5)
        while not isinstance(event := await stream.aget(), Finished):
            assert isinstance(event, Started)
        ticking.cancel()
        return event.result, ticks

    result, ticks = asyncio.run(main())
    assert result == 5
    assert ticks > 1


def test_cancelled_waiter_loses_no_event(executor: LocalExecutor) -> None:
    async def main() -> list[Event]:
        stream = executor.events()
        waiter = asyncio.ensure_future(stream.aget())
        await asyncio.sleep(0)
        waiter.cancel()
        executor.submit(Task("late", tasks.echo, (1,)), stream)
        return [await stream.aget(), await stream.aget()]

    started, finished = asyncio.run(main())
    assert isinstance(started, Started)
    assert isinstance(finished, Finished)


def test_get_times_out(executor: LocalExecutor) -> None:
    with pytest.raises(TimeoutError, match=r"no event within 0\.01 s"):
        executor.events().get(0.01)


def test_large_argument_and_result(executor: LocalExecutor) -> None:
    data = os.urandom(1 << 20) * 8  # many times what a socket holds at once
    assert run(executor, tasks.echo, data) == data


def test_output_is_captured(executor: LocalExecutor, tmp_path: Path) -> None:
    for text in ("first", "second"):
        end = last(start(executor, tasks.print_both, text, log_folder=tmp_path / "trial")[1])
        assert end.log == f"{text}\n{text} on stderr\n{text} by a child\n"
    assert (tmp_path / "trial" / "log.txt").read_text().splitlines()[::3] == ["first", "second"]


def test_failed_tasks_have_their_output_too(executor: LocalExecutor) -> None:
    def speak_and_die() -> None:
        print("last words")
        os._exit(3)

    assert fail(executor, speak_and_die).log == "last words\n"


def test_output_never_belongs_to_the_next_task(executor: LocalExecutor) -> None:
    for number in range(100):
        assert last(start(executor, print, number)[1]).log == f"{number}\n"


def test_long_output_keeps_its_tail(executor: LocalExecutor, tmp_path: Path) -> None:
    end = last(start(executor, tasks.print_much, 5000, log_folder=tmp_path)[1])
    assert end.log.endswith("x 4999\n")
    assert len(end.log) < 20_000
    assert len((tmp_path / "log.txt").read_text().splitlines()) == 5000


def test_unwritable_log_does_not_fail_the_task(executor: LocalExecutor, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    end = last(start(executor, tasks.print_both, "hello", log_folder=tmp_path / "file")[1])
    assert isinstance(end, Finished)
    assert "the log file cannot be written" in end.log
    assert "hello" in end.log


def test_streamed_output(executor: LocalExecutor) -> None:
    events = read_to_end(start(executor, tasks.print_both, "ä", stream_log=True)[1])
    text = "".join(event.text for event in events if isinstance(event, Logged))
    assert text == "ä\nä on stderr\nä by a child\n"


def test_surroundings_are_the_drivers(executor: LocalExecutor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run(executor, tasks.spoil_surroundings, tmp_path)
    monkeypatch.chdir(tmp_path.parent)
    threads = str(max(1, len(os.sched_getaffinity(0)) // 2))
    assert run(executor, tasks.read_surroundings) == (str(tmp_path.parent), None, False, threads)
    monkeypatch.setenv("SPOILED", "by the driver")
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    assert run(executor, tasks.read_surroundings) == (str(tmp_path.parent), "by the driver", False, "7")


def test_cores_are_counted(tmp_path: Path) -> None:
    with LocalExecutor(2, grace=0.2) as executor:
        warm = [start(executor, tasks.wait_for, tmp_path / "go")[1] for _ in range(2)]
        for stream in warm:
            assert isinstance(stream.get(PATIENCE), Started)
        (tmp_path / "go").touch()
        for stream in warm:  # from now on there are two idle workers
            assert isinstance(stream.get(PATIENCE), Finished)
        _, first = start(executor, tasks.wait_forever, tmp_path / "ready")
        assert isinstance(first.get(PATIENCE), Started)
        wide, stream = start(executor, tasks.echo, resources=Resources(cpus=2))
        for _ in range(OVERTAKES):  # there is a slot for younger ones, for a while
            assert run(executor, tasks.echo, 1) == 1
        _, other = start(executor, tasks.echo)
        with pytest.raises(TimeoutError):
            other.get(0.3)
        with pytest.raises(TimeoutError):
            stream.get(0.01)
        executor.cancel(wide)
        assert fail_reason(last(stream)) is FailureReason.CANCELLED
        assert isinstance(last(other), Finished)


def fail_reason(end: Finished | Failed) -> FailureReason | None:
    return end.reason if isinstance(end, Failed) else None


def test_more_cores_than_there_are() -> None:
    with LocalExecutor(1) as executor, pytest.raises(UsageError, match="wants 3 cores, the executor has 1"):
        start(executor, tasks.echo, resources=Resources(cpus=3))


def test_token_in_use(executor: LocalExecutor, tmp_path: Path) -> None:
    token, _ = start(executor, tasks.wait_forever, tmp_path / "ready")
    with pytest.raises(UsageError, match="is not over"):
        executor.submit(Task(token, tasks.echo), executor.events())


def test_token_again_after_its_end(executor: LocalExecutor) -> None:
    stream = executor.events()
    for _ in range(3):
        executor.submit(Task("again", tasks.echo), stream)
        assert isinstance(last(stream), Finished)


def test_closed_executor_refuses(tmp_path: Path) -> None:
    executor = LocalExecutor(1, grace=0.2)
    _, running = start(executor, tasks.wait_forever, tmp_path / "ready")
    started = running.get(PATIENCE)
    assert isinstance(started, Started)
    _, waiting = start(executor, tasks.echo)
    executor.close()
    executor.close()
    assert fail_reason(last(running)) is FailureReason.CANCELLED
    assert fail_reason(last(waiting)) is FailureReason.CANCELLED
    assert not lives(int(started.worker))
    with pytest.raises(UsageError, match="closed"):
        start(executor, tasks.echo)


def test_closing_an_executor_that_never_started() -> None:
    LocalExecutor(1).close()


def test_executor_that_nobody_closes() -> None:
    executor = LocalExecutor(1)
    worker = run(executor, tasks.pid)
    del executor
    gc.collect()
    assert eventually(lambda: not lives(worker))


def test_fork_after_close(tmp_path: Path) -> None:
    executor = LocalExecutor(1)
    run(executor, tasks.pid)
    executor.close()
    with open(tmp_path / "file", "w") as file:  # it may have got a descriptor that was the executor's
        child = os.fork()
        if child == 0:
            file.write("still open")
            file.flush()
            os._exit(0)
        os.waitpid(child, 0)
    assert (tmp_path / "file").read_text() == "still open"


def test_close_ends_idle_workers() -> None:
    executor = LocalExecutor(1)
    worker = run(executor, tasks.pid)
    executor.close()
    assert not lives(worker)


def open_sockets() -> set[str]:
    links = []
    for descriptor in os.listdir("/proc/self/fd"):
        with suppress(FileNotFoundError):  # the descriptor of this very listing
            links.append(os.readlink(f"/proc/self/fd/{descriptor}"))
    return {link for link in links if link.startswith("socket:")}


def test_fork_of_the_driver(executor: LocalExecutor) -> None:
    others = open_sockets()
    worker = run(executor, tasks.pid)
    ours = open_sockets() - others
    assert ours

    def use_in_fork() -> str:
        if open_sockets() & ours:
            return "the fork keeps connections open"
        try:
            start(executor, tasks.echo)
        except UsageError as error:
            executor.close()  # must not end the parent's workers
            return str(error)
        return "no error"

    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(write, use_in_fork().encode())
        os._exit(0)
    os.close(write)
    with os.fdopen(read) as pipe:
        assert "make a new one after a fork" in pipe.read()
    os.waitpid(child, 0)
    assert run(executor, tasks.pid) == worker
    assert eventually(lambda: lives(worker))


def test_executor_does_not_travel(executor: LocalExecutor) -> None:
    end = fail(executor, tasks.echo, executor)
    assert end.reason is FailureReason.USER_ERROR
    assert "cannot be sent to another process: TypeError: a LocalExecutor owns processes" in end.message


@pytest.mark.parametrize("workers", [0, -1])
def test_no_workers(workers: int) -> None:
    with pytest.raises(UsageError, match="expected at least 1"):
        LocalExecutor(workers)


def test_capacity_and_reattach(executor: LocalExecutor) -> None:
    assert executor.capacity == 2
    assert LocalExecutor().capacity == len(os.sched_getaffinity(0))
    assert not executor.reattach("task-of-a-dead-driver", executor.events())
