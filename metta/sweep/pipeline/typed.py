"""What plain type checkers are told about pipelines: type variables, phantom markers, and kinds of values and stages.

Nothing here acts at run time. `Pipeline[In, Out, S]` is a pipeline that takes `In`, whose value is `Out`, and that
stands in the loops `S`. A positional contract, `Pipeline(T)` or `.through(T)`, makes `Out` known, and with it the
argument of the next stage, condition or hook. Behind a keyword contract `Out` is `Any`: which fields there are is more
than generics can say, and the mypy plugin's business.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Never, Protocol, TypeAlias

from typing_extensions import TypeVar

Facts = TypeVar("Facts", covariant=True, default=Any)
Scope = TypeVar("Scope")
Entry = TypeVar("Entry")


class Top(Generic[Facts]):
    """No loop is open. `Facts` is what only the mypy plugin knows about the context."""


class Loop(Generic[Scope, Entry, Facts]):
    """A loop is open that stands in `Scope`, and before whose first pass the value was `Entry`.

    `Entry` is invariant: so `end_loop` can ask for a value of the entry's type, which is the rule for what a loop
    carries from pass to pass.
    """


In = TypeVar("In", contravariant=True, default=Any)
Out = TypeVar("Out", covariant=True, default=Any)
S = TypeVar("S", covariant=True, default=Top[Any])
Ret = TypeVar("Ret", covariant=True, default=Any)
Prev = TypeVar("Prev", covariant=True, default=Any)
Fields = TypeVar("Fields", covariant=True, default=Any)

Class = TypeVar("Class", bound=type)


def checked_by_plugin(cls: Class) -> Class:
    """Mark a class whose overloads are for checkers without our mypy plugin.

    The plugin takes the implementations' signatures instead, and builds the exact signature of each call itself.
    """
    return cls


if TYPE_CHECKING:
    from metta.sweep.pipeline.builder import Pipeline
    from metta.sweep.pipeline.context import Context

    # Bare variables for the signatures in builder.py; no class of ours is generic in them.
    T = TypeVar("T")
    R = TypeVar("R")
    A = TypeVar("A")
    B = TypeVar("B")
    D = TypeVar("D")
    K = TypeVar("K")
    V = TypeVar("V")
    Given = TypeVar("Given", contravariant=True)
    Made = TypeVar("Made", covariant=True)

    class Unreturned:
        """Returned by nothing, so that only `Any` and `NoReturn` fit it: those match before anything else does."""

    # How a stage function can take the value D as a whole: it reads nothing, the value, or the Context view.
    Whole: TypeAlias = Callable[[], R] | Callable[[D], R] | Callable[[Context], R]
    Nothing: TypeAlias = Coroutine[Any, Any, None] | None

    class NamedTupleLike(Protocol):
        def _asdict(self) -> dict[str, Any]: ...

    class DataclassLike(Protocol):
        __dataclass_fields__: ClassVar[dict[str, Any]]

    class ModelLike(Protocol):
        model_config: ClassVar[Any]

    class TypedDictLike(Protocol):
        __required_keys__: ClassVar[frozenset[str]]

    Condition: TypeAlias = Callable[[D], object]
    AsyncCondition: TypeAlias = Callable[[D], Coroutine[Any, Any, Any]]
    AnyCondition: TypeAlias = Callable[[D], Unreturned]

    # Values whose fields the next stage may read one by one: its parameters cannot be checked without their names.
    Record: TypeAlias = NamedTupleLike | DataclassLike | ModelLike | TypedDictLike

    Tuple = TypeVar("Tuple", bound=NamedTupleLike)
    Data = TypeVar("Data", bound=DataclassLike)

    class NamedTupleOf(Protocol[Given, Made]):
        """A NamedTuple class, seen as a contract that a `Given` meets."""

        @staticmethod
        def _asdict(value: Given, /) -> dict[str, Any]: ...
        @staticmethod
        def _make(iterable: Iterable[Any], /) -> Made: ...

    class Runnable(Protocol):
        """A compiled graph or an experiment as a stage."""

        @property
        def run(self) -> Callable[..., Any]: ...
        def __metta_stage__(self) -> Any: ...

    AnyPipeline: TypeAlias = Pipeline[Any, Any, Any]
    Nested: TypeAlias = Pipeline[Never, Any, Top]
    Reader: TypeAlias = (
        Pipeline[D, Any, Top] | Callable[[], object] | Callable[[D], object] | Callable[[Context], object]
    )
    Arm: TypeAlias = Callable[..., Any] | Runnable | Nested
