"""The immutable builder: each call records one step and returns a new pipeline that shares the rest."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from metta.sweep.contracts.diagnostics import Diagnostic, Site
from metta.sweep.contracts.flow import Problem, State
from metta.sweep.pipeline import reading
from metta.sweep.pipeline.infer import inferred_inputs
from metta.sweep.pipeline.plan import Block
from metta.sweep.pipeline.replay import Cursor, Report, apply, finish, replay, start_state
from metta.sweep.pipeline.reporting import Found, settle
from metta.sweep.pipeline.steps import (
    BranchStep,
    BreakStep,
    EndStep,
    Inputs,
    ParallelStep,
    StageStep,
    Step,
)

if TYPE_CHECKING:
    from metta.sweep.runtime.compiled import CompiledGraph

_OPEN: State[Any] = State(open=True)

_Chain = tuple[Step, "_Chain | None"]
"""Recorded steps, last first. Pipelines share it, so that none keeps the ones alive that it was made from."""


class Pipeline:
    """A typed pipeline under construction.

    `Pipeline(x=int)` and `Pipeline(T)` declare inputs; `Pipeline()` is open and finds them where it is used. A
    pipeline is a value: every method returns a new one, and building n stages costs O(n). What a step reads is
    checked as soon as it can be known, and ContractError names both sides; `compile()` checks the rest.
    """

    __slots__ = ("_chain", "_cursor", "_global_hooks", "_inputs", "_notes", "_pending", "_site")

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

    def stage(self, name: str, fn: Any, /, **settings: Any) -> Pipeline:
        """Add a stage: a callable, a pipeline, a compiled graph or an experiment.

        Args:
            name: unique on this level of the pipeline.
            fn: what runs; its parameters say what it reads from the context.
            settings: parameters of `fn` that are fixed here; `field("x")` binds one to another context field.
        """
        return self._record(reading.read_stage(name, fn, settings, Site.of_caller()))

    def map(self, name: str, fn: Any, /, over: str, max_parallel: int | None = None, **settings: Any) -> Pipeline:
        """Add a stage that runs once per element of the field `over`, at most `max_parallel` at a time."""
        step = reading.read_stage(name, fn, settings, Site.of_caller(), over=over, max_parallel=max_parallel)
        return self._record(step)

    def through(self, contract: Any = reading.ABSENT, /, **keywords: Any) -> Pipeline:
        """Declare what the stage before gives, and hook into it.

        Args:
            contract: a type that replaces the context (`.through(TrainingOutput)`).
            keywords: hooks; without a positional contract, types are fields (`.through(score=float)`); what is left
                are settings of the stage.
        """
        site = Site.of_caller()
        pending = self._pending
        if pending is None or pending.through is not None:
            problem = Problem(
                "through-without-stage",
                "through follows no stage" if pending is None else f'stage "{pending.name}" has a through already',
                expected="one .through(...) right behind a .stage, .map or .parallel",
                found="no stage before it" if pending is None else "a second one",
                remedy="put the contract and all hooks into one .through behind the stage",
            )
            settle([(None, problem)], site, "" if pending is None else pending.name)
            return self
        through = reading.read_through(pending, contract, keywords, site)
        step = pending.with_through(through)
        new = self._copy()
        assert self._chain is not None
        new._chain, new._pending = (step, self._chain[1]), step
        # What a stage reads is settled with its through: settings may come with it.
        new._apply(step)
        return new

    def loop_while(
        self, condition: Callable[..., object] | None = None, /, *, max_iterations: int | None = None
    ) -> Pipeline:
        """Begin a loop. The condition sees the context before each pass; without one the body runs at least once.

        Args:
            max_iterations: LoopLimitExceeded is raised when the loop would begin a pass beyond it.
        """
        return self._record(reading.read_loop(condition, max_iterations, Site.of_caller()))

    def break_if(self, condition: Callable[..., object], /) -> Pipeline:
        """Leave the loop if the condition holds for the context at this point."""
        return self._record(BreakStep(condition, Site.of_caller()))

    def end_loop(self, until: Callable[..., object] | None = None) -> Pipeline:
        """Close the innermost loop; `until` sees the context at the end of the body and ends the loop when true."""
        return self._record(EndStep(until, Site.of_caller()))

    def conditional(self, predicate: Callable[..., object], /, then: Any, otherwise: Any = None) -> Pipeline:
        """Run one of two arms on the context. Afterwards a field that only one arm sets is maybe set."""
        site = Site.of_caller()
        first = reading.read_arm("then", then, site, 1)
        second = None if otherwise is None else reading.read_arm("otherwise", otherwise, site, 2)
        return self._record(BranchStep(predicate, first, second, site))

    def parallel(self, arms: Sequence[Any] | Mapping[str, Any], /) -> Pipeline:
        """Run arms concurrently on a snapshot of the context.

        A sequence gives the list of their results in declared order; a mapping gives one field per key.
        """
        return self._record(reading.read_parallel(arms, Site.of_caller()))

    def with_global_hooks(self, **hooks: Any) -> Pipeline:
        """The same pipeline with hooks on all its stages, nested ones included; they take the stage's name first.

        `before` runs when a stage starts, with its input. A control hook of the stage itself wins; observers both run.
        """
        checked = reading.read_global_hooks(hooks, Site.of_caller())
        new = self._settled()._copy()
        new._global_hooks = (*self._global_hooks, checked)
        return new

    def compile(self) -> CompiledGraph:
        """Check the whole pipeline and compile it.

        Raises:
            ContractError: with every finding, each at its line.
        """
        from metta.sweep.pipeline import seam

        return seam.compile(self)

    def __metta_stage__(self) -> Any:
        from metta.sweep.pipeline.steps import StageView

        return StageView(self)

    def __repr__(self) -> str:
        names = [step.name for step in self._steps() if isinstance(step, (StageStep, ParallelStep))]
        inputs = "" if self._inputs is None else "..."
        shown = " -> ".join(names[:8]) + (" -> ..." if len(names) > 8 else "")
        return f"<Pipeline({inputs}) {shown or 'without stages'}>"

    # -- inside ------------------------------------------------------------------------------------------------------

    def _copy(self) -> Pipeline:
        new = object.__new__(Pipeline)
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

    def _settled(self) -> Pipeline:
        """This pipeline with its last stage applied."""
        pending = self._pending
        if pending is None:
            return self
        new = self._copy()
        new._pending = None
        if pending.through is None:
            new._apply(pending)
        return new

    def _record(self, step: Step) -> Pipeline:
        new = self._copy()
        new._chain, new._pending = (step, self._chain), None
        if self._pending is not None and self._pending.through is None:
            new._apply(self._pending)
        if isinstance(step, (StageStep, ParallelStep)):
            new._pending = step
        else:
            new._apply(step)
        return new

    @classmethod
    def _of_step(cls, step: Step, site: Site) -> Pipeline:
        """An open pipeline of one step: a bare callable as an arm."""
        new = cls()
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

    def _closed(self, inputs: Inputs) -> Pipeline:
        """The same steps with these inputs declared (those a compiled graph has found)."""
        if self._inputs is not None:
            return self
        new = Pipeline()
        new._site = self._site
        new._inputs, new._cursor = inputs, Cursor(start_state(inputs))
        new._global_hooks = self._global_hooks
        for step in self._steps():
            # Each step is complete: its through is part of it.
            new = new._copy()
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


def _into(found: list[Found]) -> Report:
    return lambda step, problem: found.append((step, problem))
