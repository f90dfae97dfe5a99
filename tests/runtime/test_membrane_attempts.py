"""Retries, back-off, on_error and what happens to exceptions."""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from metta.sweep.errors import ContractViolation, InternalError, UsageError
from metta.sweep.pipeline.context import Context
from metta.sweep.pipeline.hooks import Backoff, RetryPolicy
from metta.sweep.runtime.membrane import sync_membrane
from metta.sweep.runtime.stage_hooks import storeless_hooks
from tests.runtime.crossing import IntShaping, Recorder, Runner, hooked, run_sync

Through = Callable[..., Runner]


def failing(*errors: BaseException, value: object = 1) -> Callable[[], object]:
    """A stage that raises these, one per attempt, and then returns the value."""
    left: Iterator[BaseException] = iter(errors)

    def train() -> object:
        for error in left:
            raise error
        return value

    return train


def test_retry_counts_the_retries_after_the_first_failure(through: Through, slept: list[float]) -> None:
    assert through(failing(OSError(), OSError()), {"retry": 2})(None) == 1
    assert len(slept) == 2


def test_the_last_exception_is_raised_with_a_note(through: Through, slept: list[float]) -> None:
    errors = [OSError("first"), OSError("second"), OSError("third")]
    with pytest.raises(OSError, match="third") as caught:
        through(failing(*errors), {"retry": 2})(None)
    assert caught.value is errors[2]
    assert caught.value.__notes__ == ['stage "train" failed after 3 attempts']
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None
    assert traceback.extract_tb(caught.value.__traceback__)[-1].name == "train"


def test_two_attempts_leave_a_note(through: Through, slept: list[float]) -> None:
    policy = RetryPolicy(max_attempts=5, on=(OSError,))
    with pytest.raises(ValueError, match="second") as caught:
        through(failing(OSError("first"), ValueError("second")), {"retry": policy})(None)
    assert caught.value.__notes__ == ['stage "train" failed after 2 attempts']


def test_one_attempt_leaves_no_note(through: Through) -> None:
    error = OSError("gone")
    with pytest.raises(OSError, match="gone") as caught:
        through(failing(error), {"retry": 0})(None)
    assert caught.value is error
    assert not hasattr(error, "__notes__")


def test_backoff_gives_the_pauses(through: Through, slept: list[float]) -> None:
    policy = RetryPolicy(max_attempts=5, backoff=Backoff(base=1, factor=3, max=10, jitter=0))
    through(failing(*[OSError() for _ in range(4)]), {"retry": policy})(None)
    assert slept == [1, 3, 9, 10]


def test_no_backoff_no_pause(through: Through, slept: list[float]) -> None:
    assert through(failing(OSError()), {"retry": RetryPolicy(2, None)})(None) == 1
    assert slept == []


def test_only_the_named_exceptions_are_retried(through: Through, slept: list[float]) -> None:
    policy = RetryPolicy(max_attempts=3, on=(OSError, KeyError))
    assert through(failing(FileNotFoundError(), KeyError()), {"retry": policy})(None) == 1
    with pytest.raises(ValueError, match="no"):
        through(failing(ValueError("no")), {"retry": policy})(None)


class LossViolation(ContractViolation):
    pass


@pytest.mark.parametrize(
    ("on", "attempts"),
    [
        ((Exception,), 1),
        ((OSError,), 1),
        ((ContractViolation,), 3),
        ((LossViolation,), 1),
        ((Exception, ContractViolation), 3),
    ],
)
def test_a_violation_is_retried_only_where_it_is_named(
    through: Through, slept: list[float], on: tuple[type[BaseException], ...], attempts: int
) -> None:
    seen = Recorder()
    hooks = {"validate": lambda data: False, "retry": RetryPolicy(3, on=on)}
    with pytest.raises(ContractViolation):
        through(seen.hook("train", 1), hooks)(None)
    assert len(seen.calls) == attempts


def test_a_subclass_that_is_named_is_retried(through: Through, slept: list[float]) -> None:
    hooks = {"retry": RetryPolicy(2, on=(LossViolation,))}
    assert through(failing(LossViolation("nan")), hooks)(None) == 1
    with pytest.raises(ContractViolation):
        through(failing(ContractViolation("other")), hooks)(None)


def test_a_failing_check_or_changer_counts_as_a_failed_attempt(through: Through, slept: list[float]) -> None:
    seen = Recorder()
    flaky = failing(OSError(), value=True)
    hooks = {"validate": lambda data: flaky(), "retry": 1, "log": seen.hook("log")}
    assert through(seen.hook("train", 1), hooks, {"before": seen.hook("start")})(None) == 1
    assert seen.names == ["start", "train", "train", "log"]


@pytest.mark.parametrize("stop", [KeyboardInterrupt, SystemExit])
def test_what_stops_the_program_is_never_caught(slept: list[float], stop: type[BaseException]) -> None:
    seen = Recorder()

    def train() -> int:
        seen.calls.append(("train",))
        raise stop

    hooks = {"retry": RetryPolicy(3, on=(BaseException,)), "on_error": seen.hook("on_error", 1)}
    with pytest.raises(stop):
        run_sync(train, hooks)(None)
    assert seen.names == ["train"]


def test_a_cancelled_stage_is_not_retried(slept: list[float]) -> None:
    from metta.sweep.runtime.membrane import async_membrane

    seen = Recorder()

    async def train() -> None:
        seen.calls.append(("train",))
        raise asyncio.CancelledError

    hooks = {"retry": RetryPolicy(3, on=(BaseException,)), "on_error": seen.hook("on_error", 1)}

    async def main() -> None:
        with pytest.raises(asyncio.CancelledError):
            await async_membrane(hooked(train, hooks, is_async=True))(None)

    asyncio.run(main())
    assert seen.names == ["train"]


# -- on_error ----------------------------------------------------------------------------------------------------------


def test_on_error_is_called_after_the_last_attempt(through: Through, slept: list[float]) -> None:
    seen = Recorder()
    last = OSError("last")

    def rescue(error: Exception) -> int:
        seen.calls.append(("on_error", error))
        return 7

    hooks = {"retry": 1, "on_error": rescue, "validate": seen.hook("validate"), "transform": seen.hook("transform")}
    more = {"log": seen.hook("log"), "after": seen.hook("after")}
    assert through(failing(OSError(), last), {**hooks, **more}, shaping=IntShaping(seen))("input") == "7"
    assert seen.calls == [("on_error", last), ("enter", 7), ("log", 7), ("after", 7), ("leave", 7)]


@pytest.mark.parametrize(
    "rescue",
    [
        lambda error, data: (str(error), data),
        lambda error, data=None: (str(error), data),
        lambda *given: (str(given[0]), given[1]),
    ],
)
def test_on_error_may_take_the_input(through: Through, rescue: Callable[..., Any]) -> None:
    assert through(failing(OSError("gone")), {"on_error": rescue})("input") == ("gone", "input")


def test_on_error_without_a_signature_takes_the_error(through: Through) -> None:
    assert through(failing(OSError("gone")), {"on_error": str})("input") == "gone"


def test_a_global_on_error_takes_the_stage_first(through: Through) -> None:
    short = {"on_error": lambda stage, error: (stage, str(error))}
    assert through(failing(OSError("gone")), {}, short)("input") == ("train", "gone")
    long = {"on_error": lambda stage, error, data: (stage, str(error), data)}
    assert through(failing(OSError("gone")), {}, long)("input") == ("train", "gone", "input")
    assert through(failing(OSError("gone")), {"on_error": lambda error: "local"}, long)("input") == "local"


def test_on_error_may_be_async_where_the_stage_is(slept: list[float]) -> None:
    from metta.sweep.runtime.membrane import async_membrane

    async def rescue(error: Exception, data: object) -> object:
        await asyncio.sleep(0)
        return data

    membrane = async_membrane(hooked(failing(OSError()), {"on_error": rescue}))
    assert asyncio.run(membrane("input")) == "input"


def test_none_lets_the_error_go_on(through: Through) -> None:
    error = OSError("gone")
    with pytest.raises(OSError, match="gone") as caught:
        through(failing(error), {"on_error": lambda error: None})(None)
    assert caught.value is error
    assert error.__context__ is None


def test_a_value_of_on_error_must_meet_the_contract(through: Through) -> None:
    with pytest.raises(ContractViolation, match="found 'seven'"):
        through(failing(OSError()), {"on_error": lambda error: "seven"}, shaping=IntShaping())(None)


def test_what_on_error_raises_is_raised(through: Through) -> None:
    def rescue(error: Exception) -> None:
        raise LookupError("worse")

    with pytest.raises(LookupError, match="worse") as caught:
        through(failing(OSError("gone")), {"on_error": rescue})(None)
    assert isinstance(caught.value.__context__, OSError)


# -- sync functions ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("place", ["stage", "hook"])
def test_stop_iteration_leaves_a_sync_membrane_as_itself(place: str) -> None:
    error = StopIteration("the data set is empty")

    def broken(*data: object) -> int:
        raise error

    run = run_sync(broken, {}) if place == "stage" else run_sync(lambda: 1, {"after": broken})
    with pytest.raises(StopIteration) as caught:
        run(None)
    assert caught.value is error


def test_a_runtime_error_of_the_stage_stays_one() -> None:
    def broken() -> None:
        async def empty() -> None:
            raise StopIteration

        asyncio.run(empty())

    with pytest.raises(RuntimeError, match="coroutine raised StopIteration"):
        run_sync(broken, {})(None)


def test_an_async_hook_in_a_sync_function() -> None:
    async def check(data: object) -> bool:
        return True

    with pytest.raises(UsageError, match='hook "validate" of stage "train" is async, but nothing in its pipeline is'):
        run_sync(lambda: 1, {"validate": check})(None)


def test_data_that_can_be_awaited_is_just_data_in_a_sync_function() -> None:
    context = Context(x=1)
    assert run_sync(lambda: context, {"transform": lambda data: data})(None) is context


def test_an_async_stage_in_a_sync_function_is_our_mistake() -> None:
    with pytest.raises(InternalError):
        sync_membrane(hooked(lambda: 1, {}, is_async=True))


def test_storeless_hooks() -> None:
    hooks = {"log": print, "cache": True, "checkpoint": False, "archive": print, "profile": True}
    assert storeless_hooks(hooks) == ("cache", "archive", "profile")
