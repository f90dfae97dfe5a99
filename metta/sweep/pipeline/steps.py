"""What the builder records: one frozen step per call, with the place of the call."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from metta.sweep.contracts.diagnostics import Site
from metta.sweep.contracts.flow import Keyword, Positional, Setting
from metta.sweep.contracts.signature import Signature

if TYPE_CHECKING:
    from metta.sweep.pipeline.builder import Pipeline


class StageView(NamedTuple):
    """An object that is more than a callable, seen as a stage.

    Attributes:
        pipeline: its own graph: replayed in place (`call` is None), or only drawn.
        call: what runs instead of the graph (an experiment's run); its signature says what it takes and gives.
        signature: of `call`.
        gives_whole: the call gives the final whole of `pipeline`, so that its declared type can be compared.
    """

    pipeline: Pipeline | None
    call: Callable[..., Any] | None = None
    signature: Signature[Any] | None = None
    gives_whole: bool = False


class Composite(Protocol):
    """A compiled graph or an experiment: it says itself how it stands in a pipeline."""

    def __metta_stage__(self) -> StageView: ...


@dataclass(frozen=True, slots=True, eq=False)
class Through:
    """One `.through(...)`, its keywords sorted into contract, settings and hooks.

    Attributes:
        is_known: False where the contract is no type (reported): nothing is known of what follows.
    """

    contract: Positional[Any] | Keyword[Any] | None
    settings: Mapping[str, Setting]
    hooks: Mapping[str, Any]
    site: Site
    is_known: bool = True


@dataclass(frozen=True, slots=True, eq=False)
class StageStep:
    """`.stage(name, target, **settings)` and `.map(...)` (then `over` is set)."""

    name: str
    call: Callable[..., Any] | None
    signature: Signature[Any] | None
    nested: Pipeline | None
    settings: Mapping[str, Setting]
    site: Site
    over: str | None = None
    max_parallel: int | None = None
    through: Through | None = None
    gives_whole: bool = False

    def with_through(self, through: Through) -> StageStep:
        """The step with its `.through` (written out: `dataclasses.replace` takes ten times as long)."""
        return StageStep(
            self.name,
            self.call,
            self.signature,
            self.nested,
            self.settings,
            self.site,
            self.over,
            self.max_parallel,
            through,
            self.gives_whole,
        )


@dataclass(frozen=True, slots=True, eq=False)
class ParallelStep:
    """`.parallel([...])` or `.parallel({...})`; every arm is a pipeline."""

    name: str
    arms: Mapping[str, Pipeline]
    keyed: bool
    site: Site
    through: Through | None = None

    def with_through(self, through: Through) -> ParallelStep:
        """The step with its `.through`."""
        return ParallelStep(self.name, self.arms, self.keyed, self.site, through)


@dataclass(frozen=True, slots=True, eq=False)
class BranchStep:
    """`.conditional(predicate, then, otherwise)`."""

    predicate: Callable[..., Any]
    then: Pipeline
    otherwise: Pipeline | None
    site: Site


@dataclass(frozen=True, slots=True, eq=False)
class LoopStep:
    """`.loop_while(condition, max_iterations=...)`."""

    condition: Callable[..., Any] | None
    max_iterations: int | None
    site: Site


@dataclass(frozen=True, slots=True, eq=False)
class BreakStep:
    """`.break_if(condition)`."""

    condition: Callable[..., Any]
    site: Site


@dataclass(frozen=True, slots=True, eq=False)
class EndStep:
    """`.end_loop(until=...)`."""

    until: Callable[..., Any] | None
    site: Site


Step = StageStep | ParallelStep | BranchStep | LoopStep | BreakStep | EndStep
Output = StageStep | ParallelStep
"""The steps that a `.through` may follow."""


@dataclass(frozen=True, slots=True, eq=False)
class Inputs:
    """The declared inputs of a pipeline. `optional` exists only where inputs were inferred."""

    contract: Positional[Any] | Keyword[Any]
    site: Site
    optional: Mapping[str, Any] = field(default_factory=dict)
