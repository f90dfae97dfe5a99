"""The immutable builder: each call records one step and returns a new pipeline that shares the rest.

(Longer than our files are: two thirds of it are overloads, which have to stand with their methods. They are what
pyright, ty, pyrefly and mypy without our plugin know of the language; `typed` has their vocabulary. A `@deprecated`
overload is a mistake that is recognized: its sentence is shown at the method's name where the checker reports the use
of what is deprecated, `reportDeprecated` in pyright.)
"""

# mypy compares the overloads with one another before it knows the call.
# mypy: disable-error-code="overload-cannot-match, overload-overlap, no-any-return"

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Generic, Never, Unpack, overload

from typing_extensions import deprecated

from metta.sweep.contracts.diagnostics import Diagnostic, Site
from metta.sweep.contracts.flow import State, through_without_stage
from metta.sweep.pipeline import reading, seam
from metta.sweep.pipeline.infer import inferred_inputs
from metta.sweep.pipeline.plan import Block
from metta.sweep.pipeline.replay import Cursor, Report, apply, finish, replay, start_state
from metta.sweep.pipeline.reporting import Found, settle
from metta.sweep.pipeline.shown import Shown
from metta.sweep.pipeline.steps import BranchStep, BreakStep, EndStep, Inputs, ParallelStep, StageStep, Step
from metta.sweep.pipeline.typed import Fields, In, Loop, Out, Prev, Ret, S, Top, checked_by_plugin

if TYPE_CHECKING:
    from collections.abc import Coroutine
    from datetime import timedelta
    from typing import Literal

    from typing_extensions import TypeForm

    from metta.sweep.executors.base import Executor
    from metta.sweep.pipeline.hooks import DataHooks, Hooks, RetryPolicy
    from metta.sweep.pipeline.typed import (
        A,
        AnyCondition,
        AnyPipeline,
        Arm,
        AsyncCondition,
        B,
        Condition,
        Data,
        Entry,
        K,
        ModelLike,
        NamedTupleOf,
        Nothing,
        R,
        Reader,
        Record,
        Runnable,
        Scope,
        T,
        Tuple,
        TypedDictLike,
        Unreturned,
        V,
        Whole,
    )
    from metta.sweep.runtime.compiled import CompiledGraph
    from metta.sweep.trial import Resources

_OPEN: State[Any] = State(open=True)

_Chain = tuple[Step, "_Chain | None"]
"""Recorded steps, last first. Pipelines share it, so that none keeps the ones alive that it was made from."""


@checked_by_plugin
class Pipeline(Shown, Generic[In, Out, S]):
    """A typed pipeline under construction.

    `Pipeline(x=int)` and `Pipeline(T)` declare inputs; `Pipeline()` is open and finds them where it is used. A
    pipeline is a value: every method returns a new one, and building n stages costs O(n). What a step reads is
    checked as soon as it can be known, and ContractError names both sides; `compile()` checks the rest.

    For type checkers a pipeline is generic: see `metta.sweep.pipeline.typed`. A bare `Pipeline` is any pipeline.
    """

    __slots__ = ("_chain", "_cursor", "_global_hooks", "_inputs", "_notes", "_pending", "_site")

    @overload
    def __init__(self: Pipeline[object, Any, Top], /) -> None: ...
    @overload
    def __init__(self: Pipeline[T, T, Top], value: TypeForm[T], /) -> None: ...
    @overload
    def __init__(self: Pipeline[object, Any, Top], /, **fields: TypeForm[Any]) -> None: ...
    def __init__(self, value: Any = reading.ABSENT, /, **fields: Any) -> None:
        self._site = site = Site.of_caller()
        self._chain: _Chain | None = None
        self._pending: StageStep | ParallelStep | None = None
        self._inputs: Inputs | None = reading.declared_inputs(value, fields, site)
        self._global_hooks: tuple[Mapping[str, Any], ...] = ()
        self._notes: tuple[Diagnostic, ...] = ()
        start = _OPEN if self._inputs is None else start_state(self._inputs)
        self._cursor = Cursor(start)

    # -- the language ------------------------------------------------------------------------------------------------

    # A nested pipeline: what it sets replaces the value; one that declares its input may set nothing. A function that
    # returns None sets nothing either, and what returns Any fits it too: the value behind them is not followed.
    @overload
    def stage(self, name: str, fn: Pipeline[object, R, Top], /, **settings: Any) -> Staged[In, R, S, Out]: ...
    @overload
    def stage(
        self: Pipeline[In, Record, S], name: str, fn: Pipeline[Any, Any, Top], /, **settings: Any
    ) -> Staged[In, Any, S, Out]: ...
    @overload
    def stage(self, name: str, fn: Pipeline[Out, Any, Top], /, **settings: Any) -> Staged[In, Any, S, Out]: ...
    @overload
    @deprecated(
        "this stage does not take the value of the contract before it; it reads the fields of a record, or one value"
    )
    def stage(self, name: str, fn: Pipeline[Never, Any, Top], /) -> Staged[In, Any, S, Out]: ...
    @overload
    def stage(
        self, name: str, fn: Runnable | Pipeline[Never, Any, Top], /, **settings: Any
    ) -> Staged[In, Any, S, Out]: ...
    # The fields of a record may be read one by one.
    @overload
    def stage(
        self: Pipeline[In, Record, S], name: str, fn: Callable[..., Nothing], /, **settings: Any
    ) -> Staged[In, Any, S, Out]: ...
    @overload
    def stage(
        self: Pipeline[In, Record, S], name: str, fn: Callable[..., Coroutine[Any, Any, R]], /, **settings: Any
    ) -> Staged[In, R, S, Out]: ...
    @overload
    def stage(
        self: Pipeline[In, Record, S], name: str, fn: Callable[..., R], /, **settings: Any
    ) -> Staged[In, R, S, Out]: ...
    # Anything else is read as a whole.
    @overload
    def stage(self, name: str, fn: Whole[Nothing, Out], /) -> Staged[In, Any, S, Out]: ...
    @overload
    def stage(self, name: str, fn: Whole[Coroutine[Any, Any, R], Out], /) -> Staged[In, R, S, Out]: ...
    @overload
    def stage(self, name: str, fn: Whole[R, Out], /) -> Staged[In, R, S, Out]: ...
    # ty and pyrefly know a TypedDict only as a Mapping, and it has fields.
    @overload
    @deprecated(
        "this stage does not take the value of the contract before it; it reads the fields of a record, or one value"
    )
    def stage(
        self: Pipeline[In, dict[Any, Any], S], name: str, fn: Callable[[Never], R], /
    ) -> Staged[In, R, S, Out]: ...
    @overload
    def stage(
        self: Pipeline[In, Mapping[str, object], S], name: str, fn: Callable[..., Any], /
    ) -> Staged[In, Any, S, Out]: ...
    @overload
    @deprecated(
        "this stage does not take the value of the contract before it; it reads the fields of a record, or one value"
    )
    def stage(self, name: str, fn: Callable[[Never], R], /) -> Staged[In, R, S, Out]: ...
    # With settings, or keyword-only parameters: what is left to read cannot be said.
    @overload
    def stage(self, name: str, fn: Callable[..., Nothing], /, **settings: Any) -> Staged[In, Any, S, Out]: ...
    @overload
    def stage(
        self, name: str, fn: Callable[..., Coroutine[Any, Any, R]], /, **settings: Any
    ) -> Staged[In, R, S, Out]: ...
    @overload
    def stage(self, name: str, fn: Callable[..., R], /, **settings: Any) -> Staged[In, R, S, Out]: ...
    def stage(self, name: str, fn: Any, /, **settings: Any) -> Staged[Any, Any, Any, Any]:
        """Add a stage: a callable, a pipeline, a compiled graph or an experiment.

        Args:
            name: unique on this level of the pipeline.
            fn: what runs; its parameters say what it reads from the context.
            settings: parameters of `fn` that are fixed here; `field("x")` binds one to another context field.
        """
        return self._record(reading.read_stage(name, fn, settings, Site.of_caller()))

    @overload
    def map(
        self: Pipeline[In, Record, S],
        name: str,
        fn: Runnable | Pipeline[Never, Any, Top],
        /,
        over: str,
        max_parallel: int | None = None,
        **settings: Any,
    ) -> Staged[In, list[Any], S, Any]: ...
    @overload
    def map(
        self: Pipeline[In, Record, S],
        name: str,
        fn: Callable[..., Coroutine[Any, Any, R]],
        /,
        over: str,
        max_parallel: int | None = None,
        **settings: Any,
    ) -> Staged[In, list[R], S, Any]: ...
    @overload
    def map(
        self: Pipeline[In, Record, S],
        name: str,
        fn: Callable[..., R],
        /,
        over: str,
        max_parallel: int | None = None,
        **settings: Any,
    ) -> Staged[In, list[R], S, Any]: ...
    def map(
        self, name: str, fn: Any, /, over: str, max_parallel: int | None = None, **settings: Any
    ) -> Staged[Any, Any, Any, Any]:
        """Add a stage that runs once per element of the field `over`, at most `max_parallel` at a time."""
        step = reading.read_stage(name, fn, settings, Site.of_caller(), over=over, max_parallel=max_parallel)
        return self._record(step)

    if not TYPE_CHECKING:
        # For checkers only `Staged` has it. Who calls it elsewhere reads here what is wrong.
        def through(self, contract=reading.ABSENT, /, **keywords):
            """Only right behind a stage, and once."""
            pending = self._pending
            name = None if pending is None else pending.name
            settle([(None, through_without_stage(name))], Site.of_caller(), name or "")
            return self

        def __getattr__(self, name):
            hint = f": write .compile().{name}(...)" if name in ("run", "arun") else ""
            raise AttributeError(f"a {type(self).__name__} has no {name!r}{hint}", name=name, obj=self)

    @overload
    def loop_while(
        self, condition: AnyCondition[Out] | None = None, /, *, max_iterations: int | None = None
    ) -> Pipeline[In, Out, Loop[S, Out]]: ...
    @overload
    @deprecated("this condition is a coroutine function: nothing awaits it, and a coroutine is always true")
    def loop_while(
        self, condition: AsyncCondition[Out], /, *, max_iterations: int | None = None
    ) -> Pipeline[In, Out, Loop[S, Out]]: ...
    @overload
    def loop_while(
        self, condition: Condition[Out], /, *, max_iterations: int | None = None
    ) -> Pipeline[In, Out, Loop[S, Out]]: ...
    def loop_while(
        self, condition: Callable[..., Any] | None = None, /, *, max_iterations: int | None = None
    ) -> Pipeline[Any, Any, Any]:
        """Begin a loop. The condition sees the context before each pass; without one the body runs at least once.

        Args:
            max_iterations: LoopLimitExceeded is raised when the loop would begin a pass beyond it.
        """
        return self._record(reading.read_loop(condition, max_iterations, Site.of_caller()))

    @overload
    def break_if(
        self: Pipeline[In, Entry, Loop[Scope, Entry]], condition: AnyCondition[Out], /
    ) -> Pipeline[In, Out, Loop[Scope, Entry]]: ...
    @overload
    @deprecated("this condition is a coroutine function: nothing awaits it, and a coroutine is always true")
    def break_if(
        self: Pipeline[In, Entry, Loop[Scope, Entry]], condition: AsyncCondition[Out], /
    ) -> Pipeline[In, Out, Loop[Scope, Entry]]: ...
    @overload
    def break_if(
        self: Pipeline[In, Entry, Loop[Scope, Entry]], condition: Condition[Out], /
    ) -> Pipeline[In, Out, Loop[Scope, Entry]]: ...
    def break_if(self, condition: Callable[..., Any], /) -> Pipeline[Any, Any, Any]:
        """Leave the loop if the condition holds for the context at this point."""
        return self._record(BreakStep(condition, Site.of_caller()))

    @overload
    def end_loop(
        self: Pipeline[In, Unreturned, Loop[Scope, Entry]], until: AnyCondition[Any] | None = None
    ) -> Pipeline[In, Any, Scope]: ...
    @overload
    def end_loop(
        self: Pipeline[In, Entry, Loop[Scope, Entry]], until: AnyCondition[Out] | None = None
    ) -> Pipeline[In, Entry, Scope]: ...
    @overload
    @deprecated("this condition is a coroutine function: nothing awaits it, and a coroutine is always true")
    def end_loop(
        self: Pipeline[In, Entry, Loop[Scope, Entry]], until: AsyncCondition[Out]
    ) -> Pipeline[In, Entry, Scope]: ...
    @overload
    def end_loop(
        self: Pipeline[In, Unreturned, Loop[Scope, Entry]], until: Condition[Any]
    ) -> Pipeline[In, Any, Scope]: ...
    @overload
    def end_loop(
        self: Pipeline[In, Entry, Loop[Scope, Entry]], until: Condition[Out]
    ) -> Pipeline[In, Entry, Scope]: ...
    def end_loop(self, until: Callable[..., Any] | None = None) -> Pipeline[Any, Any, Any]:
        """Close the innermost loop; `until` sees the context at the end of the body and ends the loop when true."""
        return self._record(EndStep(until, Site.of_caller()))

    @overload
    def conditional(
        self, predicate: AnyCondition[Out], /, then: Arm, otherwise: Arm | None = None
    ) -> Pipeline[In, Any, S]: ...
    @overload
    @deprecated("this condition is a coroutine function: nothing awaits it, and a coroutine is always true")
    def conditional(
        self, predicate: AsyncCondition[Out], /, then: Arm, otherwise: Arm | None = None
    ) -> Pipeline[In, Any, S]: ...
    # An arm of which nothing is known, and then what both arms may give.
    @overload
    def conditional(
        self, predicate: Condition[Out], /, then: Pipeline[object, Unreturned, Top], otherwise: Arm | None = None
    ) -> Pipeline[In, Any, S]: ...
    @overload
    def conditional(
        self, predicate: Condition[Out], /, then: Arm, otherwise: Pipeline[object, Unreturned, Top]
    ) -> Pipeline[In, Any, S]: ...
    @overload
    def conditional(
        self, predicate: Condition[Out], /, then: Pipeline[object, A, Top], otherwise: Pipeline[object, B, Top]
    ) -> Pipeline[In, A | B, S]: ...
    # Functions, and pipelines that declare their input.
    @overload
    def conditional(
        self: Pipeline[In, Record, S], predicate: Condition[Out], /, then: Arm, otherwise: Arm | None = None
    ) -> Pipeline[In, Any, S]: ...
    @overload
    def conditional(
        self, predicate: Condition[Out], /, then: Reader[Out], otherwise: Reader[Out] | None = None
    ) -> Pipeline[In, Any, S]: ...
    @overload
    @deprecated("an arm does not take the value of the contract before it")
    def conditional(
        self, predicate: Condition[Out], /, then: Reader[Never], otherwise: Reader[Never] | None = None
    ) -> Pipeline[In, Any, S]: ...
    @overload
    def conditional(
        self, predicate: Condition[Out], /, then: Arm, otherwise: Arm | None = None
    ) -> Pipeline[In, Any, S]: ...
    def conditional(
        self, predicate: Callable[..., Any], /, then: Any, otherwise: Any = None
    ) -> Pipeline[Any, Any, Any]:
        """Run one of two arms on the context. Afterwards a field that only one arm sets is maybe set."""
        site = Site.of_caller()
        first = reading.read_arm("then", then, site, "then")
        second = None if otherwise is None else reading.read_arm("otherwise", otherwise, site, "otherwise")
        return self._record(BranchStep(predicate, first, second, site))

    @overload
    def parallel(self, arms: Sequence[Arm], /) -> Fanout[In, list[Any], S, Out]: ...
    @overload
    def parallel(self, arms: Mapping[str, Arm], /) -> Fanout[In, Any, S, Out]: ...
    def parallel(self, arms: Sequence[Any] | Mapping[str, Any], /) -> Fanout[Any, Any, Any, Any]:
        """Run arms concurrently on a snapshot of the context.

        A sequence gives the list of their results in declared order; a mapping gives one field per key.
        """
        return self._record(reading.read_parallel(arms, Site.of_caller()))

    def with_global_hooks(self, **hooks: Unpack[Hooks]) -> Pipeline[In, Out, S]:
        """The same pipeline with hooks on all its stages, nested ones included; they take the stage's name first.

        `before` runs when a stage starts, with its input. A control hook of the stage itself wins; observers both run.
        """
        checked = reading.read_global_hooks(hooks, Site.of_caller())
        new = self._settled()._copy(Pipeline)
        new._global_hooks = (*self._global_hooks, checked)
        return new

    @overload
    def compile(self: Pipeline[object, Out, Top]) -> CompiledGraph[Any, Out]: ...
    @overload
    def compile(self: Pipeline[In, Out, Top]) -> CompiledGraph[In, Out]: ...
    def compile(self: AnyPipeline) -> CompiledGraph[Any, Any]:
        """Check the whole pipeline and compile it.

        Raises:
            ContractError: with every finding, each at its line.
        """
        return seam.compile(self)

    def __metta_stage__(self: AnyPipeline) -> Any:
        from metta.sweep.pipeline.steps import StageView

        return StageView(self)

    def __repr__(self) -> str:
        names = [step.name for step in self._steps() if isinstance(step, (StageStep, ParallelStep))]
        inputs = "" if self._inputs is None else "..."
        shown = " -> ".join(names[:8]) + (" -> ..." if len(names) > 8 else "")
        return f"<Pipeline({inputs}) {shown or 'without stages'}>"

    # -- inside ------------------------------------------------------------------------------------------------------

    def _copy(self, kind: type[AnyPipeline]) -> AnyPipeline:
        new = object.__new__(kind)
        new._chain, new._pending = self._chain, self._pending
        new._inputs, new._global_hooks, new._cursor = self._inputs, self._global_hooks, self._cursor
        new._notes, new._site = self._notes, self._site
        return new

    def _apply(self, step: Step) -> None:
        """Move the cursor of this new, not yet shared pipeline."""
        found: list[Found] = []
        self._cursor = apply(self._cursor, step, _into(found))
        if found:
            self._notes += settle(found)

    def _settled(self) -> AnyPipeline:
        """This pipeline with its last stage applied."""
        pending = self._pending
        if pending is None:
            return self
        new = self._copy(Pipeline)
        new._pending = None
        if pending.through is None:
            new._apply(pending)
        return new

    def _record(self, step: Step) -> Any:
        new = self._copy(_KINDS.get(type(step), Pipeline))
        new._chain, new._pending = (step, self._chain), None
        if self._pending is not None and self._pending.through is None:
            new._apply(self._pending)
        if isinstance(step, (StageStep, ParallelStep)):
            new._pending = step
        else:
            new._apply(step)
        return new

    @classmethod
    def _of_step(cls, step: Step, site: Site) -> AnyPipeline:
        """An open pipeline of one step: a bare callable as an arm."""
        new: AnyPipeline = Pipeline()
        new._site = site
        return new._record(step)

    def _steps(self) -> list[Step]:
        """All steps in order."""
        found: list[Step] = []
        chain = self._chain
        while chain is not None:
            step, chain = chain
            found.append(step)
        found.reverse()
        return found

    def _closed(self, inputs: Inputs) -> AnyPipeline:
        """The same steps with these inputs declared (those a compiled graph has found)."""
        if self._inputs is not None:
            return self
        new: AnyPipeline = Pipeline()
        new._site = self._site
        new._inputs, new._cursor = inputs, Cursor(start_state(inputs))
        new._global_hooks = self._global_hooks
        for step in self._steps():
            # Each step is complete: its through is part of it.
            new = new._copy(Pipeline)
            new._chain = (step, new._chain)
            new._apply(step)
        return new

    def _standing_inputs(self) -> Inputs:
        """The declared inputs, or those that the first step asks for."""
        if self._inputs is not None:
            return self._inputs
        return inferred_inputs(self._steps(), self._site)

    def _standing(self) -> tuple[Block, Inputs, tuple[Diagnostic, ...]]:
        """The plan of this pipeline standing alone, its inputs, and the notes.

        Raises:
            ContractError: with every finding.
        """
        inputs = self._standing_inputs()
        found: list[Found] = []
        if self._inputs is None:
            block = replay(self._steps(), start_state(inputs), self._global_hooks, _into(found))
            return block, inputs, settle(found)
        settled = self._settled()
        block = finish(settled._cursor, start_state(inputs), self._global_hooks, _into(found))
        return block, inputs, settled._notes + settle(found)


@checked_by_plugin
class Staged(Pipeline[In, Ret, S], Generic[In, Ret, S, Prev]):
    """A pipeline right behind a stage, where its contract and hooks can be given.

    `Ret` is what the stage returns, `Prev` the value before it.
    """

    __slots__ = ()

    # A contract that is Any. Then built-in types: what the stage returns, or what is wider, which is not followed. A
    # wrong one returns no type variable: the type expected of the call, often a bare Pipeline, would solve it with Any;
    # and its hooks have none, which a bag of hooks would solve so.
    @overload
    def through(
        self, contract: TypeForm[Unreturned], /, **hooks: Unpack[DataHooks[Any, Prev]]
    ) -> Pipeline[In, Any, S]: ...
    @overload
    def through(
        self: Staged[In, int, S, Prev], contract: TypeForm[Ret], /, **hooks: Unpack[DataHooks[Ret, Prev]]
    ) -> Pipeline[In, Ret, S]: ...
    @overload
    def through(
        self: Staged[In, int, S, Prev], contract: TypeForm[int], /, **hooks: Unpack[DataHooks[int, Prev]]
    ) -> Pipeline[In, Any, S]: ...
    @overload
    @deprecated("the stage before returns something else than this contract")
    def through(
        self: Staged[In, float, S, Prev], contract: TypeForm[int], /, **hooks: Unpack[DataHooks[int, Prev]]
    ) -> Pipeline[In, Any, S]: ...
    @overload
    def through(
        self: Staged[In, str | float | list[Any] | dict[Any, Any], S, Prev],
        contract: TypeForm[Ret],
        /,
        **hooks: Unpack[DataHooks[Ret, Prev]],
    ) -> Pipeline[In, Ret, S]: ...
    @overload
    def through(
        self: Staged[In, float, S, Prev], contract: TypeForm[float], /, **hooks: Unpack[DataHooks[float, Prev]]
    ) -> Pipeline[In, Any, S]: ...
    @overload
    def through(
        self: Staged[In, str, S, Prev], contract: TypeForm[str], /, **hooks: Unpack[DataHooks[str, Prev]]
    ) -> Pipeline[In, Any, S]: ...
    @overload
    def through(
        self: Staged[In, list[T], S, Prev], contract: TypeForm[list[T]], /, **hooks: Unpack[DataHooks[list[T], Prev]]
    ) -> Pipeline[In, Any, S]: ...
    @overload
    def through(
        self: Staged[In, dict[K, V], S, Prev],
        contract: TypeForm[dict[K, V]],
        /,
        **hooks: Unpack[DataHooks[dict[K, V], Prev]],
    ) -> Pipeline[In, Any, S]: ...
    @overload
    @deprecated("the stage before returns something else than this contract")
    def through(self, contract: TypeForm[str], /, **hooks: Unpack[DataHooks[str, Prev]]) -> Pipeline[In, Any, S]: ...
    @overload
    @deprecated("the stage before returns something else than this contract")
    def through(
        self, contract: TypeForm[float], /, **hooks: Unpack[DataHooks[float, Prev]]
    ) -> Pipeline[In, Any, S]: ...
    @overload
    @deprecated("the stage before returns something else than this contract")
    def through(
        self, contract: TypeForm[list[Any]], /, **hooks: Unpack[DataHooks[list[Any], Prev]]
    ) -> Pipeline[In, Any, S]: ...
    @overload
    @deprecated("the stage before returns something else than this contract")
    def through(
        self, contract: TypeForm[dict[Any, Any]], /, **hooks: Unpack[DataHooks[dict[Any, Any], Prev]]
    ) -> Pipeline[In, Any, S]: ...
    # A NamedTuple class tells what is one of it, a dataclass does not. A dict may be read as either.
    @overload
    def through(
        self, contract: NamedTupleOf[Ret, T], /, **hooks: Unpack[DataHooks[Ret, Prev]]
    ) -> Pipeline[In, T, S]: ...
    @overload
    def through(
        self: Staged[In, dict[Any, Any], S, Prev], contract: type[T], /, **hooks: Unpack[DataHooks[T, Prev]]
    ) -> Pipeline[In, T, S]: ...
    @overload
    @deprecated("the stage before returns, or one of these hooks gives, something else than this contract")
    def through(self, contract: type[Tuple], /, **hooks: Unpack[DataHooks[Any, Prev]]) -> Pipeline[In, Any, S]: ...
    @overload
    @deprecated("the stage before returns something else than this contract")
    def through(
        self: Staged[In, str | float | list[Any] | tuple[Any, ...] | ModelLike | TypedDictLike, S, Prev],
        contract: type[Data],
        /,
        **hooks: Unpack[DataHooks[Any, Prev]],
    ) -> Pipeline[In, Any, S]: ...
    # Other classes, unions and protocols, and bags of hooks. From here on the hooks are written out, without aliases:
    # with Unpack pyright takes a bag without annotation for settings, and ty a field for a hook; an alias would stand
    # in pyright's sentences in place of what it means.
    # fmt: off
    @overload
    def through(
        self, contract: TypeForm[T], /, *, before: Callable[[T], object] = ..., after: Callable[[T], object] = ...,
        log: Callable[[T], object] = ..., metrics: Callable[[T], object] = ..., debug: Callable[[T], object] = ...,
        monitor: Callable[[T], object] = ..., validate_type: Literal["auto", "deep"] | bool = ...,
        schema: type[Any] = ..., validate: Callable[[T], object] = ..., assert_fn: Callable[[T], object] = ...,
        transform: Callable[[T], T] = ..., filter: Callable[[T], T] = ..., enrich: Callable[[T], T] = ...,
        serialize: Callable[[T], object] = ..., retry: int | RetryPolicy = ..., timeout: float | timedelta = ...,
        on_error: Callable[[Any], object] | Callable[[Any, Prev], object] = ...,
        skip_if: Callable[[Prev], object] = ..., default: Any = ..., checkpoint: bool = ...,
        checkpoint_path: Callable[[T], str] = ..., cache: bool = ..., cache_key: Callable[[Prev], object] = ...,
        archive: Callable[[T], object] = ..., profile: bool = ...,
        resources: Resources = ..., executor: str | Executor | Callable[[], Executor] = ...,
        **unknown: Never,
    ) -> Pipeline[In, T, S]: ...
    # Hooks only, keyword contracts, and settings of the stage.
    @overload
    def through(
        self, /, *, before: Callable[[Ret], object] = ..., after: Callable[[Ret], object] = ...,
        log: Callable[[Ret], object] = ..., metrics: Callable[[Ret], object] = ...,
        debug: Callable[[Ret], object] = ..., monitor: Callable[[Ret], object] = ...,
        validate_type: Literal["auto", "deep"] | bool = ..., schema: type[Any] = ...,
        validate: Callable[[Ret], object] = ..., assert_fn: Callable[[Ret], object] = ...,
        transform: Callable[[Ret], Ret] = ..., filter: Callable[[Ret], Ret] = ..., enrich: Callable[[Ret], Ret] = ...,
        serialize: Callable[[Ret], object] = ..., retry: int | RetryPolicy = ..., timeout: float | timedelta = ...,
        on_error: Callable[[Any], object] | Callable[[Any, Prev], object] = ...,
        skip_if: Callable[[Prev], object] = ..., default: Any = ..., checkpoint: bool = ...,
        checkpoint_path: Callable[[Ret], str] = ..., cache: bool = ..., cache_key: Callable[[Prev], object] = ...,
        archive: Callable[[Ret], object] = ..., profile: bool = ...,
        resources: Resources = ..., executor: str | Executor | Callable[[], Executor] = ...,
    ) -> Pipeline[In, Ret, S]: ...
    @overload
    def through(
        self, /, *, before: Callable[[Any], object] = ..., after: Callable[[Any], object] = ...,
        log: Callable[[Any], object] = ..., metrics: Callable[[Any], object] = ...,
        debug: Callable[[Any], object] = ..., monitor: Callable[[Any], object] = ...,
        validate_type: Literal["auto", "deep"] | bool = ..., schema: type[Any] = ...,
        validate: Callable[[Any], object] = ..., assert_fn: Callable[[Any], object] = ...,
        transform: Callable[[Any], Any] = ..., filter: Callable[[Any], Any] = ..., enrich: Callable[[Any], Any] = ...,
        serialize: Callable[[Any], object] = ..., retry: int | RetryPolicy = ..., timeout: float | timedelta = ...,
        on_error: Callable[[Any], object] | Callable[[Any, Prev], object] = ...,
        skip_if: Callable[[Prev], object] = ..., default: Any = ..., checkpoint: bool = ...,
        checkpoint_path: Callable[[Any], str] = ..., cache: bool = ..., cache_key: Callable[[Prev], object] = ...,
        archive: Callable[[Any], object] = ..., profile: bool = ...,
        resources: Resources = ..., executor: str | Executor | Callable[[], Executor] = ...,
        **fields: TypeForm[Any],
    ) -> Pipeline[In, Any, S]: ...
    # What stands behind `**` and is no single TypedDict, such as one of two bags, may fill a parameter that is
    # required: only such a call comes here.
    @overload
    def through(self, contract: TypeForm[T], /, *, _bag: object, **hooks: object) -> Pipeline[In, T, S]: ...
    @overload
    def through(self, /, *, _bag: object, **hooks: object) -> Pipeline[In, Any, S]: ...
    @overload
    @deprecated(
        "neither hooks nor types: settings of the stage stand on .stage(...), and a bag of hooks is annotated as Hooks"
    )
    def through(
        self, /, *, before: Callable[[Any], object] = ..., after: Callable[[Any], object] = ...,
        log: Callable[[Any], object] = ..., metrics: Callable[[Any], object] = ...,
        debug: Callable[[Any], object] = ..., monitor: Callable[[Any], object] = ...,
        validate_type: Literal["auto", "deep"] | bool = ..., schema: type[Any] = ...,
        validate: Callable[[Any], object] = ..., assert_fn: Callable[[Any], object] = ...,
        transform: Callable[[Any], Any] = ..., filter: Callable[[Any], Any] = ..., enrich: Callable[[Any], Any] = ...,
        serialize: Callable[[Any], object] = ..., retry: int | RetryPolicy = ..., timeout: float | timedelta = ...,
        on_error: Callable[[Any], object] | Callable[[Any, Prev], object] = ...,
        skip_if: Callable[[Prev], object] = ..., default: Any = ..., checkpoint: bool = ...,
        checkpoint_path: Callable[[Any], str] = ..., cache: bool = ..., cache_key: Callable[[Prev], object] = ...,
        archive: Callable[[Any], object] = ..., profile: bool = ...,
        resources: Resources = ..., executor: str | Executor | Callable[[], Executor] = ...,
        **settings: Any,
    ) -> Pipeline[In, Any, S]: ...
    @overload
    @deprecated(
        "neither hooks nor types: settings of the stage stand on .stage(...), and a bag of hooks is annotated as Hooks"
    )
    def through(
        self, contract: TypeForm[T], /, *, before: Callable[[T], object] = ..., after: Callable[[T], object] = ...,
        log: Callable[[T], object] = ..., metrics: Callable[[T], object] = ..., debug: Callable[[T], object] = ...,
        monitor: Callable[[T], object] = ..., validate_type: Literal["auto", "deep"] | bool = ...,
        schema: type[Any] = ..., validate: Callable[[T], object] = ..., assert_fn: Callable[[T], object] = ...,
        transform: Callable[[T], T] = ..., filter: Callable[[T], T] = ..., enrich: Callable[[T], T] = ...,
        serialize: Callable[[T], object] = ..., retry: int | RetryPolicy = ..., timeout: float | timedelta = ...,
        on_error: Callable[[Any], object] | Callable[[Any, Prev], object] = ...,
        skip_if: Callable[[Prev], object] = ..., default: Any = ..., checkpoint: bool = ...,
        checkpoint_path: Callable[[T], str] = ..., cache: bool = ..., cache_key: Callable[[Prev], object] = ...,
        archive: Callable[[T], object] = ..., profile: bool = ...,
        resources: Resources = ..., executor: str | Executor | Callable[[], Executor] = ...,
        **settings: Any,
    ) -> Pipeline[In, T, S]: ...
    # fmt: on
    def through(self, contract: Any = reading.ABSENT, /, **keywords: Any) -> Pipeline[Any, Any, Any]:
        """Declare what the stage before gives, and hook into it.

        Args:
            contract: a type that replaces the context (`.through(TrainingOutput)`).
            keywords: hooks; without a positional contract, types are fields (`.through(score=float)`); what is left
                are settings of the stage.
        """
        site = Site.of_caller()
        pending = self._pending
        assert pending is not None
        assert self._chain is not None
        step = pending.with_through(reading.read_through(pending, contract, keywords, site))
        new = self._copy(Pipeline)
        new._chain, new._pending = (step, self._chain[1]), step
        # What a stage reads is settled with its through: settings may come with it.
        new._apply(step)
        return new


class Fanout(Staged[In, Ret, S, Prev], Generic[In, Ret, S, Prev, Fields]):
    """A pipeline right behind `.parallel(...)`. `Fields` is known to the mypy plugin only."""

    __slots__ = ()


_KINDS: Mapping[type[Step], type[AnyPipeline]] = {StageStep: Staged, ParallelStep: Fanout}
"""Which steps are followed by a `.through`."""


def _into(found: list[Found]) -> Report:
    return lambda step, problem: found.append((step, problem))
