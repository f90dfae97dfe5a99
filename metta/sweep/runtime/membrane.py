"""The membrane around a stage: its hooks in their order, its attempts, its time-out.

What crosses it: the stage's raw result enters (`Shaping.enter` gives the data that hooks see), is checked, changed and
observed, and leaves as what the generated code assigns.

    skip_if                                          the stage does not run
    before (global)                                  once, with the input
    per attempt:   call -> enter -> before -> schema, validate, assert_fn
                   -> filter, transform, enrich -> recheck
    on_error                                         after the last attempt; its value enters in place of the result
    log, metrics, debug, monitor                     once, with the data of the attempt that succeeded
    cache, checkpoint_path, checkpoint -> archive    only in a durable run
    after -> leave

The logic is one coroutine. In a sync function nothing it awaits ever suspends, so one `send` runs it to its end.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from dataclasses import dataclass
from enum import Enum
from functools import partial
from types import CoroutineType
from typing import TYPE_CHECKING, Any, Final, Protocol, cast

from metta.sweep.errors import ContractViolation, InternalError, UsageError, WorkerDied
from metta.sweep.pipeline.hooks import RetryPolicy
from metta.sweep.runtime import pauses
from metta.sweep.runtime.attempts import Invoke, blocking_call, looping_call
from metta.sweep.runtime.stage_hooks import Hook, StageHooks, arrange, rejected
from metta.sweep.runtime.threads import in_thread

if TYPE_CHECKING:
    from metta.sweep.runtime.history import Stored
    from metta.sweep.runtime.recorder import NodeRecord, Visit

_log = logging.getLogger("metta.sweep")

MAX_PREEMPTIONS: Final = 20
"""So often one passage of a stage is begun again because it lost its machine."""


class _Skipped(Enum):
    SKIPPED = "skipped"

    def __repr__(self) -> str:
        return "SKIPPED"


SKIPPED: Final = _Skipped.SKIPPED
"""What a membrane returns when `skip_if` is true and there is no `default`."""


class Shaping(Protocol):
    """Between the stage's result, the data that hooks see, and what the generated code assigns."""

    def enter(self, raw: object) -> object:
        """The result as the contract's whole; ContractViolation where it does not meet the contract."""
        ...

    def substitute(self, raw: object) -> object:
        """What stands in for the result (a default, the value of `on_error`): read like an un-annotated output."""
        ...

    def recheck(self, data: object) -> None:
        """ContractViolation where data that a hook replaced no longer meets the contract."""
        ...

    def leave(self, data: object) -> object:
        """The data as the generated code assigns it."""
        ...

    def rejoin(self, value: object) -> object:
        """The data of which `leave` has made this value."""
        ...


@dataclass(frozen=True, slots=True)
class HookedStage:
    """A stage and what stands around it.

    Attributes:
        stage: its name.
        call: what is called, with the arguments the generated code gives.
        is_async: whether `call` returns an awaitable.
        hooks: as given to `.through`.
        global_hooks: innermost first; each callable takes the stage's name first.
        shaping: of the stage's contract.
        keeps: the stage returns None and leaves the context as it was: the data of its hooks is its input, and any
            value of `on_error` lets the run go on.
        record: of a durable run.
        is_element: it runs for one element of a map: its first argument is the index and the element.
    """

    stage: str
    call: Callable[..., Any]
    is_async: bool
    hooks: Mapping[str, Any]
    global_hooks: tuple[Mapping[str, Any], ...]
    shaping: Shaping
    keeps: bool = False
    record: NodeRecord | None = None
    is_element: bool = False


def sync_membrane(stage: HookedStage) -> Callable[..., Any]:
    """The stage with its hooks, for sync functions.

    Returns:
        (whole, /, *args, **kwargs) -> what the shaping lets leave, or SKIPPED. `whole` is the stage's input as a whole.
        It raises what the stage or a hook raises, unchanged, or ContractViolation.

    Raises:
        UsageError: the stage names an executor that there is not.
    """
    if stage.is_async:
        raise InternalError(f'async stage "{stage.stage}" in a sync function')
    hooks = arrange(stage.stage, stage.hooks, stage.global_hooks)
    invoke = blocking_call(stage.stage, stage.call, hooks.control)
    passage = _Passage(stage, hooks, invoke, False, _pause, partial(_not_awaited, stage.stage), _in_place)
    cross = passage.cross

    def membrane(whole: object, /, *args: Any, **kwargs: Any) -> Any:
        return _drive(cross(whole, args, kwargs))

    return membrane


def async_membrane(stage: HookedStage) -> Callable[..., Coroutine[Any, Any, Any]]:
    """The stage with its hooks, for async functions; like `sync_membrane`.

    A sync stage runs in a thread (with a time-out: in a worker process), never on the loop. Hooks run on the loop;
    what they return is awaited if it can be.
    """
    hooks = arrange(stage.stage, stage.hooks, stage.global_hooks)
    invoke = looping_call(stage.stage, stage.call, stage.is_async, hooks.control)
    passage = _Passage(stage, hooks, invoke, True, _pause_on_loop, _awaited, in_thread)
    cross = passage.cross

    def membrane(whole: object, /, *args: Any, **kwargs: Any) -> Coroutine[Any, Any, Any]:
        return cross(whole, args, kwargs)

    return membrane


class _Passage:
    """Everything decided when the graph is linked; a call changes nothing here.

    Args:
        suspends: whether `invoke` returns an awaitable.
        pause: waits the given seconds.
        settle: (name of the hook, what it returned, awaitable) -> what the hook means.
        off_loop: calls what waits for a disk.
    """

    __slots__ = (
        "_default",
        "_has_default",
        "_hooks",
        "_inspects",
        "_invoke",
        "_keeps",
        "_name",
        "_of_elements",
        "_off_loop",
        "_pause",
        "_record",
        "_settle",
        "_shaping",
        "_suspends",
    )

    def __init__(
        self,
        stage: HookedStage,
        hooks: StageHooks,
        invoke: Invoke,
        suspends: bool,
        pause: Callable[[float], Awaitable[None]],
        settle: Callable[[str, Any], Awaitable[Any]],
        off_loop: Callable[..., Awaitable[Any]],
    ) -> None:
        self._name = stage.stage
        self._shaping = stage.shaping
        self._keeps = stage.keeps
        self._hooks = hooks
        self._invoke = invoke
        self._suspends = suspends
        self._pause = pause
        self._settle = settle
        self._off_loop = off_loop
        self._record = stage.record
        self._of_elements = stage.is_element
        self._inspects = bool(hooks.entering or hooks.checks or hooks.changers)
        self._has_default = "default" in hooks.control
        self._default = hooks.control.get("default")

    async def cross(self, whole: object, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if self._record is None:
            return await self._pass(None, whole, args, kwargs)
        if self._of_elements:
            number, whole = cast("tuple[int, object]", whole)
            visit = self._record.element(number)
        else:
            visit = self._record.visit()
        if visit.is_done:
            value = await self._off_loop(visit.restore, SKIPPED)
            if visit.known.archive_pending:
                await self._archive(visit, self._shaping.rejoin(value))
            return value
        return await self._pass(visit, whole, args, kwargs)

    async def _pass(self, visit: Visit | None, whole: object, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        hooks, shaping = self._hooks, self._shaping
        if hooks.skip_if is not None and await self._ask(hooks.skip_if, whole):
            value = shaping.leave(shaping.substitute(self._default)) if self._has_default else SKIPPED
            if visit is not None:
                await self._off_loop(visit.skip, value, SKIPPED)
            return value
        if visit is not None and hooks.kept.get("cache"):
            found = await self._look_up(visit, whole, args, kwargs)
            if found is not None:
                value = await self._off_loop(visit.read, found)
                await self._off_loop(partial(visit.keep, value, cached=found))
                return value
        for hook in hooks.starting:
            await self._ask(hook, whole)
        data = await self._attempt(visit, whole, args, kwargs)
        for hook in hooks.observers:
            await self._show(hook, data)
        if visit is not None:
            await self._keep(visit, data, shaping.leave(data))
        for hook in hooks.leaving:
            await self._ask(hook, data)
        return shaping.leave(data)

    async def _show(self, hook: Hook, data: Any) -> bool:
        """Call a hook whose failure is logged and holds nothing up; whether it went well."""
        try:
            await self._ask(hook, data)
        except Exception:
            _log.exception('hook "%s" of stage "%s" failed; the stage goes on', hook.name, self._name)
            return False
        return True

    async def _attempt(self, visit: Visit | None, whole: object, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """The data of the first attempt that succeeds, or of `on_error`."""
        hooks = self._hooks
        attempt = 1
        preemptions = 0 if visit is None else visit.known.preemptions
        while True:
            if visit is not None:
                attempt = await self._off_loop(visit.started)
            try:
                if visit is None:
                    return await self._once(whole, args, kwargs)
                with visit.inside():
                    data = await self._once(whole, args, kwargs)
                visit.succeeded()
                return data
            except Exception as error:
                preempted = _is_preemption(error) and preemptions < MAX_PREEMPTIONS
                again = preempted or (
                    _is_retried(error, hooks.policy, attempt) and not (visit and visit.would_poison(error))
                )
                if visit is not None:
                    await self._off_loop(visit.failed, error, not again)
                if not again:
                    if attempt > 1:
                        error.add_note(f'stage "{self._name}" failed after {attempt} attempts')
                    if hooks.on_error is None:
                        raise
                    raw = await self._ask(hooks.on_error, error, whole)
                    if raw is None:
                        raise
                    return whole if self._keeps else self._shaping.substitute(raw)
            # Outside the handler: the next attempt's exception has no business with this one.
            if preempted:
                preemptions += 1
                continue
            if hooks.policy is not None and hooks.policy.backoff is not None:
                await self._pause(hooks.policy.backoff.seconds(attempt))
            attempt += 1

    async def _once(self, whole: object, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        raw = self._invoke(args, kwargs)
        if self._suspends:
            raw = await raw
        data = self._shaping.enter(whole if self._keeps else raw)
        return await self._inspect(data) if self._inspects else data

    async def _look_up(
        self, visit: Visit, whole: object, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Stored | None:
        """What another run has computed from the same inputs."""
        cache_key = self._hooks.kept.get("cache_key")
        inputs = (args, kwargs) if cache_key is None else await self._ask(Hook("cache_key", cache_key), whole)
        found: Stored | None = await self._off_loop(visit.look_up, inputs)
        return found

    async def _keep(self, visit: Visit, data: Any, value: Any) -> None:
        """Cache, file, commit and archive the outcome."""
        kept = self._hooks.kept
        if kept.get("cache"):
            await self._off_loop(visit.remember, value)
        if "checkpoint_path" in kept:
            path = await self._ask(Hook("checkpoint_path", kept["checkpoint_path"]), data)
            serialized = "serialize" in kept
            content = await self._ask(Hook("serialize", kept["serialize"]), data) if serialized else data
            await self._off_loop(visit.write_file, path, content, serialized)
        await self._off_loop(partial(visit.keep, value, archive=bool(self._hooks.archive)))
        if self._hooks.archive:
            await self._archive(visit, data)

    async def _archive(self, visit: Visit, data: Any) -> None:
        """Hand the data to the sinks, each as often as the stage may be tried."""
        policy = self._hooks.policy
        for hook in self._hooks.archive:
            for attempt in range(1, (1 if policy is None else policy.max_attempts) + 1):
                if await self._show(hook, data):
                    break
                if policy is not None and policy.backoff is not None and attempt < policy.max_attempts:
                    await self._pause(policy.backoff.seconds(attempt))
        await self._off_loop(visit.archived)

    async def _inspect(self, data: Any) -> Any:
        """Show the data to `before`, check it and change it."""
        hooks = self._hooks
        for hook in hooks.entering:
            await self._ask(hook, data)
        for hook in hooks.checks:
            try:
                verdict = await self._ask(hook, data)
            except AssertionError as error:
                raise rejected(self._name, hook.name, str(error), data) from error
            if verdict is not None and not verdict:
                raise rejected(self._name, hook.name, "", data)
        for hook in hooks.changers:
            data = await self._ask(hook, data)
        if hooks.changers:
            self._shaping.recheck(data)
        return data

    async def _ask(self, hook: Hook, *data: Any) -> Any:
        answer = hook.call(*data)
        if answer is not None and hasattr(type(answer), "__await__"):
            return await self._settle(hook.name, answer)
        return answer


def _is_preemption(error: Exception) -> bool:
    """Whether the machine was taken from under the attempt, which does not use up a retry."""
    if not isinstance(error, WorkerDied):
        return False
    from metta.sweep.trial import FailureReason

    return not FailureReason(error.reason).uses_up_retries


def _is_retried(error: Exception, policy: RetryPolicy | None, attempt: int) -> bool:
    if policy is None or attempt >= policy.max_attempts:
        return False
    if isinstance(error, ContractViolation):
        # The same stage would give the same data: only a policy that names it means it.
        return any(issubclass(kind, ContractViolation) and isinstance(error, kind) for kind in policy.on)
    return isinstance(error, policy.on)


async def _in_place(call: Callable[..., Any], /, *args: Any) -> Any:
    return call(*args)


async def _pause(seconds: float) -> None:
    pauses.sleep(seconds)


async def _pause_on_loop(seconds: float) -> None:
    await pauses.sleep_on_loop(seconds)


async def _awaited(hook: str, answer: Awaitable[Any]) -> Any:
    return await answer


async def _not_awaited(stage: str, hook: str, answer: Any) -> Any:
    """In a sync function: a value that happens to be awaitable (a Context, a finished run) is just a value."""
    if not isinstance(answer, CoroutineType):
        return answer
    answer.close()
    raise UsageError(
        f'hook "{hook}" of stage "{stage}" is async, but nothing in its pipeline is: '
        "make the hook a plain function, or the stage async"
    )


def _drive(crossing: Coroutine[Any, Any, Any]) -> Any:
    """Run a coroutine that never suspends."""
    try:
        crossing.send(None)
    except StopIteration as stop:
        return stop.value
    except RuntimeError as error:
        stopped = _disguised(error)
        if stopped is None:
            raise
    else:
        crossing.close()
        raise InternalError("a sync membrane was suspended")
    raise stopped


def _disguised(error: RuntimeError) -> StopIteration | None:
    """The StopIteration of a stage or hook, which leaves a coroutine only as the cause of a RuntimeError (PEP 479)."""
    cause = error.__cause__
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    ours = trace is not None and trace.tb_frame.f_globals is globals()
    return cause if ours and isinstance(cause, StopIteration) else None
