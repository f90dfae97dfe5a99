"""Arms and elements side by side: order, failures, cancellation and how many run at once."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from functools import partial
from typing import Any

import pytest

from metta.sweep.runtime.fanout import amap_elements, aparallel, map_elements, parallel, split_map_hooks
from metta.sweep.runtime.membrane import SKIPPED
from metta.sweep.runtime.threads import in_thread, off_loop, thread_limit

WAIT = 30.0
user: ContextVar[str] = ContextVar("user", default="nobody")


def fail(error: BaseException) -> Any:
    raise error


async def afail(error: BaseException) -> Any:
    raise error


async def forever() -> None:
    await asyncio.Event().wait()


def run_arms(arms: list[Callable[[], Any]]) -> list[Any]:
    return asyncio.run(aparallel([(False, arm) for arm in arms]))


BOTH = pytest.mark.parametrize("run", [parallel, run_arms], ids=["sync", "async"])


# -- parallel ----------------------------------------------------------------------------------------------------------


@BOTH
def test_arms_run_at_the_same_time(run: Callable[[Any], list[Any]]) -> None:
    # More than a thread pool of asyncio's would run: each arm waits for all the others.
    count = 64
    barrier = threading.Barrier(count)
    arms = [partial(lambda at: (barrier.wait(WAIT), at)[1], at) for at in range(count)]
    assert run(arms) == list(range(count))


@BOTH
def test_results_come_in_declared_order(run: Callable[[Any], list[Any]]) -> None:
    second = threading.Event()

    def first() -> str:
        assert second.wait(WAIT)
        return "first"

    def last() -> str:
        second.set()
        return "last"

    assert run([first, last]) == ["first", "last"]


@BOTH
def test_no_arms(run: Callable[[Any], list[Any]]) -> None:
    assert run([]) == []


@BOTH
def test_context_variables_are_copied(run: Callable[[Any], list[Any]]) -> None:
    def arm(name: str) -> str:
        found = user.get()
        user.set(name)
        return found

    token = user.set("ada")
    try:
        assert run([partial(arm, "x"), partial(arm, "y")]) == ["ada", "ada"]
        assert user.get() == "ada"
    finally:
        user.reset(token)


@BOTH
def test_the_first_failure_in_declared_order_is_raised(run: Callable[[Any], list[Any]]) -> None:
    both = threading.Barrier(2)
    early, late = ValueError("early"), KeyError("late")

    def broken(error: Exception) -> None:
        both.wait(WAIT)
        raise error

    with pytest.raises(ValueError, match="early") as caught:
        run([lambda: 1, partial(broken, early), partial(broken, late)])
    assert caught.value is early
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None


def test_the_other_failures_are_noted() -> None:
    error = ValueError("early")
    with pytest.raises(ValueError, match="early"):
        parallel([lambda: 1, partial(fail, error), partial(fail, KeyError("x")), partial(fail, error)])
    assert error.__notes__ == ["arm 3 failed too: KeyError (\"'x'\")"]


@BOTH
def test_a_failure_is_raised_when_the_other_arms_are_over(run: Callable[[Any], list[Any]]) -> None:
    failed, over = threading.Event(), []

    def broken() -> None:
        failed.set()
        raise ValueError("broken")

    def slow() -> None:
        assert failed.wait(WAIT)
        over.append("slow")

    with pytest.raises(ValueError, match="broken"):
        run([broken, slow])
    assert over == ["slow"]


@BOTH
def test_stop_iteration_of_an_arm(run: Callable[[Any], list[Any]]) -> None:
    error = StopIteration()
    with pytest.raises((StopIteration, RuntimeError)) as caught:
        run([lambda: 1, partial(fail, error)])
    assert error in (caught.value, caught.value.__cause__)


def test_interrupting_the_first_arm_does_not_wait_for_the_others() -> None:
    release = threading.Event()
    with pytest.raises(KeyboardInterrupt):
        parallel([partial(fail, KeyboardInterrupt()), partial(release.wait, WAIT)])
    release.set()


def test_async_arms_run_at_the_same_time_and_beside_sync_ones() -> None:
    async def main() -> None:
        first, second = asyncio.Event(), asyncio.Event()
        loop = asyncio.get_running_loop()

        async def one() -> int:
            first.set()
            await second.wait()
            return 1

        async def two() -> int:
            await first.wait()
            return 2

        def three() -> int:
            loop.call_soon_threadsafe(second.set)
            return 3

        assert await aparallel([(True, one), (True, two), (False, three)]) == [1, 2, 3]

    asyncio.run(main())


def test_a_failing_arm_cancels_the_async_ones() -> None:
    seen: list[str] = []

    async def waiting() -> None:
        try:
            await forever()
        finally:
            seen.append("cleaned up")

    error = ValueError("broken")
    with pytest.raises(ValueError, match="broken") as caught:
        asyncio.run(aparallel([(True, waiting), (True, partial(afail, error)), (True, waiting)]))
    assert caught.value is error
    assert seen == ["cleaned up", "cleaned up"]
    assert not hasattr(error, "__notes__")


def test_what_a_cancelled_arm_raises_comes_second() -> None:
    async def clumsy() -> None:
        try:
            await forever()
        finally:
            raise KeyError("while cleaning up")

    error = ValueError("broken")
    with pytest.raises(ValueError, match="broken"):
        asyncio.run(aparallel([(True, clumsy), (True, partial(afail, error))]))
    assert error.__notes__ == ["arm 1 failed too: KeyError (\"'while cleaning up'\")"]


def test_cancelling_the_caller_cancels_the_arms() -> None:
    seen: list[str] = []
    release = threading.Event()

    async def main() -> None:
        async def waiting() -> None:
            started.set()
            try:
                await forever()
            finally:
                seen.append("cleaned up")

        started = asyncio.Event()
        task = asyncio.create_task(aparallel([(True, waiting), (False, partial(release.wait, WAIT))]))
        await started.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert seen == ["cleaned up"]
        # Nothing waited for the thread.
        assert not release.is_set()

    asyncio.run(main())
    release.set()


def test_an_arm_that_cancels_itself() -> None:
    async def main() -> None:
        with pytest.raises(asyncio.CancelledError):
            await aparallel([(True, partial(afail, asyncio.CancelledError()))])

    asyncio.run(main())


# -- map ---------------------------------------------------------------------------------------------------------------


def amap(call: Callable[..., Any], items: Any, *rest: Any) -> list[Any]:
    return asyncio.run(amap_elements(off_loop(call), items, *rest, threaded=True))


MAPS = pytest.mark.parametrize("run", [map_elements, amap], ids=["sync", "async"])


@MAPS
def test_elements_keep_their_order(run: Callable[..., list[Any]]) -> None:
    last = threading.Event()

    def call(item: int, factor: int, *, plus: int) -> int:
        if item == 0:
            assert last.wait(WAIT)
        if item == 3:
            last.set()
        return item * factor + plus

    assert run(call, range(4), (10,), {"plus": 1}, 4) == [1, 11, 21, 31]


@MAPS
def test_no_elements(run: Callable[..., list[Any]]) -> None:
    assert run(fail, []) == []


class Crowd:
    """Counts who is inside at once, and lets `together` in before anyone goes on."""

    def __init__(self, together: int) -> None:
        self.barrier = threading.Barrier(together)
        self.lock = threading.Lock()
        self.inside = self.most = 0

    def call(self, item: int) -> int:
        with self.lock:
            self.inside += 1
            self.most = max(self.most, self.inside)
        self.barrier.wait(WAIT)
        with self.lock:
            self.inside -= 1
        return item


@MAPS
def test_max_parallel_run_at_once_and_no_more(run: Callable[..., list[Any]]) -> None:
    crowd = Crowd(3)
    assert run(crowd.call, range(12), (), {}, 3) == list(range(12))
    assert crowd.most == 3


@MAPS
def test_threads_are_limited_by_default(run: Callable[..., list[Any]]) -> None:
    crowd = Crowd(thread_limit())
    assert len(run(crowd.call, range(2 * thread_limit()))) == 2 * thread_limit()
    assert crowd.most == thread_limit()


def test_async_elements_are_not_limited_by_default() -> None:
    async def main() -> None:
        arrived = 0
        everyone = asyncio.Event()

        async def call(item: int) -> int:
            nonlocal arrived
            arrived += 1
            if arrived == 200:
                everyone.set()
            await everyone.wait()
            return item

        assert await amap_elements(call, range(200)) == list(range(200))

    asyncio.run(main())


def test_async_elements_under_a_limit() -> None:
    async def main() -> None:
        inside = most = 0

        async def call(item: int) -> int:
            nonlocal inside, most
            inside += 1
            most = max(most, inside)
            await asyncio.sleep(0)
            inside -= 1
            return item

        assert await amap_elements(call, range(20), (), {}, 3) == list(range(20))
        assert most == 3

    asyncio.run(main())


@MAPS
def test_items_are_taken_when_there_is_room_and_by_the_caller(run: Callable[..., list[Any]]) -> None:
    taken: list[int] = []
    caller = threading.current_thread()

    def source() -> Iterator[int]:
        for item in range(6):
            assert threading.current_thread() is caller
            taken.append(item)
            yield item

    ahead: list[int] = []
    assert run(lambda item: ahead.append(len(taken) - item), source(), (), {}, 1) == [None] * 6
    assert ahead == [1] * 6


@MAPS
def test_an_endless_source_ends_with_the_first_failure(run: Callable[..., list[Any]]) -> None:
    from itertools import count

    def call(item: int) -> int:
        if item == 5:
            raise ValueError("five")
        return item

    with pytest.raises(ValueError, match="five"):
        run(call, count(), (), {}, 2)


@MAPS
def test_the_first_failing_element_is_raised_and_the_others_noted(run: Callable[..., list[Any]]) -> None:
    started, later = threading.Barrier(3), threading.Event()
    errors = {0: ValueError("zero"), 2: KeyError("two")}

    def call(item: int) -> int:
        started.wait(WAIT)
        if item in errors and (item == 2 or later.wait(WAIT)):
            raise errors[item]
        if item == 1:
            later.set()
        return item

    with pytest.raises(ValueError, match="zero"):
        run(call, range(3), (), {}, 3)
    assert errors[0].__notes__ == ["element 3 failed too: KeyError (\"'two'\")"]


@MAPS
def test_a_source_that_breaks_raises_its_error(run: Callable[..., list[Any]]) -> None:
    error = ValueError("unreadable")
    done: list[int] = []

    def source() -> Iterator[int]:
        yield 1
        raise error

    with pytest.raises(ValueError, match="unreadable") as caught:
        run(done.append, source())
    assert caught.value is error
    assert done == [1]


def test_a_failing_element_cancels_the_async_ones() -> None:
    seen: list[int] = []

    async def call(item: int) -> None:
        if item == 1:
            raise ValueError("one")
        try:
            await forever()
        finally:
            seen.append(item)

    with pytest.raises(ValueError, match="one"):
        asyncio.run(amap_elements(call, range(4)))
    assert seen == [0, 2, 3]


def test_running_threads_are_over_when_a_failure_is_raised() -> None:
    failed, over = threading.Event(), []

    def call(item: int) -> None:
        if item == 0:
            failed.set()
            raise ValueError("zero")
        assert failed.wait(WAIT)
        over.append(item)

    with pytest.raises(ValueError, match="zero"):
        amap(call, range(2))
    assert over == [1]


@pytest.mark.parametrize("limit", [None, 2])
def test_cancelling_the_caller_cancels_the_elements(limit: int | None) -> None:
    seen: list[int] = []

    async def main() -> None:
        async def call(item: int) -> None:
            started.set()
            try:
                await forever()
            finally:
                seen.append(item)

        started = asyncio.Event()
        task = asyncio.create_task(amap_elements(call, range(3), (), {}, limit))
        await started.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert seen == [0, 1, 2][: limit or 3]

    asyncio.run(main())


@MAPS
def test_skipped_elements_are_left_out(run: Callable[..., list[Any]]) -> None:
    assert run(lambda item: SKIPPED if item % 2 else item, range(5)) == [0, 2, 4]


def test_hooks_of_a_map() -> None:
    hooks = {"retry": 3, "timeout": 5, "on_error": print, "skip_if": bool, "default": 0, "executor": "local"}
    others = {"log": print, "validate": bool, "validate_type": "deep", "before": print, "cache": True}
    assert split_map_hooks({**others, **hooks}) == (hooks, others)


# -- threads -----------------------------------------------------------------------------------------------------------


def test_a_thread_gives_its_result_and_its_error_unchanged() -> None:
    error = ValueError("broken")
    assert asyncio.run(in_thread(lambda a, b: a + b, 1, b=2)) == 3
    with pytest.raises(ValueError, match="broken") as caught:
        asyncio.run(in_thread(fail, error))
    assert caught.value is error


@pytest.mark.parametrize(("cores", "limit"), [(1, 5), (8, 12), (64, 32), (None, 5)])
def test_the_limit_of_threads(monkeypatch: pytest.MonkeyPatch, cores: int | None, limit: int) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: cores)
    assert thread_limit() == limit


def test_a_thread_that_outlives_its_loop_ends_quietly() -> None:
    release, ended = threading.Event(), threading.Event()

    def work() -> None:
        release.wait(WAIT)
        ended.set()

    async def main() -> None:
        task = asyncio.create_task(in_thread(work))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    release.set()
    assert ended.wait(WAIT)
