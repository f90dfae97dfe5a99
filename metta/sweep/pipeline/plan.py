"""What the rules decided for each step at one use of a pipeline: the input of the compiler.

A pipeline that is used twice has two plans, because its open steps are decided against the context of each use.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from metta.sweep.contracts.flow import Argument, Binding, Output, State
from metta.sweep.pipeline.steps import BranchStep, BreakStep, EndStep, LoopStep, ParallelStep, StageStep


@dataclass(frozen=True, slots=True, eq=False)
class Block:
    """Plans in order, under the global hooks of their pipeline (outermost last)."""

    plans: tuple[Plan, ...]
    start: State[Any]
    end: State[Any]
    global_hooks: tuple[Mapping[str, Any], ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class StagePlan:
    """A call: `binding` says what it takes, `output` how its result becomes the context `after`."""

    step: StageStep
    binding: Binding[Any]
    output: Output[Any]
    before: State[Any]
    after: State[Any]
    drawn: Block | None = None
    """The graph of an experiment that stands as a stage: drawn, not replayed."""


@dataclass(frozen=True, slots=True, eq=False)
class MapPlan:
    """A call per element of the field `step.over`."""

    step: StageStep
    binding: Binding[Any]
    output: Output[Any]
    before: State[Any]
    after: State[Any]


@dataclass(frozen=True, slots=True, eq=False)
class NestedPlan:
    """A pipeline in place of a stage (or as an arm).

    Attributes:
        arguments: for a closed pipeline, where its declared inputs come from; None: it runs on the context itself.
        leaving: for a closed pipeline, the names of the fields that leave it.
        replaces: its final context takes the place of the one around it: it replaces the context, or it is an arm of
            a parallel step.
        output: the contract of the outer `.through`, then the only effect.
    """

    step: StageStep | BranchStep | ParallelStep
    name: str
    arguments: tuple[Argument[Any], ...] | None
    body: Block
    leaving: tuple[str, ...]
    replaces: bool
    output: Output[Any] | None
    before: State[Any]
    after: State[Any]


@dataclass(frozen=True, slots=True, eq=False)
class BranchPlan:
    """Both arms as blocks on the outer context; `otherwise` may be empty."""

    step: BranchStep
    then: Block
    otherwise: Block
    before: State[Any]
    after: State[Any]


@dataclass(frozen=True, slots=True, eq=False)
class ParallelPlan:
    """Arms on a snapshot, each a block of its own; only their wholes leave."""

    step: ParallelStep
    arms: Mapping[str, Block]
    output: Output[Any]
    before: State[Any]
    after: State[Any]


@dataclass(frozen=True, slots=True, eq=False)
class LoopPlan:
    """A loop; `body.start` is the entry state."""

    step: LoopStep
    end: EndStep
    body: Block
    before: State[Any]
    after: State[Any]


@dataclass(frozen=True, slots=True, eq=False)
class BreakPlan:
    """Leaves the innermost loop if its condition holds for the whole at this point."""

    step: BreakStep
    before: State[Any]


Plan = StagePlan | MapPlan | NestedPlan | BranchPlan | ParallelPlan | LoopPlan | BreakPlan
