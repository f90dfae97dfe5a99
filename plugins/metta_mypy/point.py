"""Where a chain of builder calls stands: what a pipeline's type knows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from mypy.types import Type

from metta.sweep.contracts.flow import (
    EMPTY,
    Keyword,
    Loop,
    PersistentMap,
    Positional,
    Setting,
    State,
    TypeOracle,
    start_state,
)
from metta.sweep.contracts.signature import Signature

Contract = Positional[Type] | Keyword[Type]


@dataclass(frozen=True, slots=True, eq=False)
class Inputs:
    """The inputs of a pipeline. `optional` exists only where they were inferred from its first step."""

    contract: Contract
    optional: Mapping[str, Type | None] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, eq=False)
class Pending:
    """The last stage: a `.through` may follow, and decides with it.

    Attributes:
        before: the pipeline in front of the stage.
        nested: the pipeline that stands as the stage.
        takes_any: what it takes is not known, and no setting is wrong.
        is_anonymous: the names of its parameters are not known, which matters where the context has fields.
        ends: of the arms of a parallel step, by name; `opened` are those that run on the context around it.
        settled: its problems have been reported: no `.through` stands in the same expression.
    """

    before: Point
    name: str
    signature: Signature[Type] | None = None
    settings: Mapping[str, Setting] = field(default_factory=dict)
    over: str | None = None
    nested: Point | None = None
    takes_any: bool = False
    is_anonymous: bool = False
    ends: Mapping[str, State[Type]] | None = None
    opened: frozenset[str] = frozenset()
    is_keyed: bool = False
    settled: bool = False


class Place(NamedTuple):
    """Where an expression ends."""

    module: str
    line: int
    column: int


@dataclass(frozen=True, slots=True, eq=False)
class OpenLoop:
    """A loop that is not closed yet: the rule book's frame, and where it began.

    Attributes:
        has_condition: whether the body may run zero times.
        first: the first stage in front of the loop on its level.
    """

    frame: Loop[Type]
    has_condition: bool
    module: str
    line: int
    column: int
    first: str


@dataclass(frozen=True, slots=True, eq=False)
class Point:
    """The context, the inputs, and the loops that are open.

    Attributes:
        inputs: None while they are not known: an open pipeline without a step, or one that came from elsewhere.
        start: the context of the inputs.
        is_arm: the chain runs on the context of the step it stands in; it has no inputs of its own.
        is_part: the pipeline is open and stands in another one somewhere in its file: what it reads beyond its first
            step may come from there.
        names: of the stages on this level.
        first: the first stage of the chain, or of the loop that is open: messages call the step by it.
        pending: the stage that a `.through` would belong to.
        closed: the stage whose `.through` came last.
        part: where the chain ends in its file, if it is a part and nothing was added to it since.
    """

    state: State[Type]
    inputs: Inputs | None = None
    start: State[Type] | None = None
    is_arm: bool = False
    is_part: bool = False
    loops: tuple[OpenLoop, ...] = ()
    names: PersistentMap[bool] = EMPTY
    first: str = ""
    pending: Pending | None = None
    closed: str = ""
    part: Place | None = None

    @classmethod
    def beginning(cls, inputs: Inputs, oracle: TypeOracle[Type]) -> Point:
        """A pipeline with these inputs and no step."""
        start = start_state(inputs.contract, inputs.optional, oracle)
        return cls(start, inputs, start)

    def at(self, state: State[Type]) -> Point:
        """The same chain with another context, and nothing pending."""
        return self.behind(state, self.names, self.first)

    def behind(
        self,
        state: State[Type],
        names: PersistentMap[bool],
        first: str,
        pending: Pending | None = None,
        closed: str = "",
    ) -> Point:
        """The same chain one stage further (written out: `dataclasses.replace` takes ten times as long)."""
        return Point(
            state,
            self.inputs,
            self.start,
            self.is_arm,
            self.is_part,
            self.loops,
            names,
            first,
            pending,
            closed,
        )

    def waiting(self, pending: Pending) -> Point:
        """The same chain before a stage whose `.through` will decide what stands behind it."""
        return self.behind(self.state, self.names, self.first, pending)

    def as_arm(self) -> Point:
        """What a chain begins with that runs on the context at this point."""
        return Point(self.state, is_arm=True)


UNKNOWN = Point(State(unknown=True))
"""A pipeline of which nothing is known: its type was written out as `Pipeline`."""

OPEN = Point(State(open=True))
