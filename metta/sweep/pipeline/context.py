"""The Context view: the fields of a pipeline at one point, as a read-only record."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import Any, ClassVar, Generic

from typing_extensions import TypeVar

F = TypeVar("F", covariant=True, default=Any)
V = TypeVar("V", covariant=True, default=Any)


class Context(Generic[F, V]):
    """A read-only view of the fields that are set: attribute access, `get` and `_replace`.

    A context is a value: `_replace` returns a new one. Reading a field that is not set raises AttributeError, which
    names the fields there are; `get(name, default)` does not raise. Awaiting a finished context gives the context
    itself, so that `await experiment.run()` and `experiment.run()` are both right.
    """

    __slots__ = ("__dict__",)

    def __init__(self, fields: Mapping[str, Any] | Iterable[tuple[str, Any]] = (), /, **more: Any) -> None:
        self.__dict__.update(fields, **more)

    def get(self, name: str, default: Any = None, /) -> Any:
        """The field, or `default` where it is not set."""
        return self.__dict__.get(name, default)

    def _replace(self, **changes: Any) -> Context:
        """A copy with some fields replaced; AttributeError for a name that is no field here."""
        for name in changes:
            if name not in self.__dict__:
                raise AttributeError(_no_field(name, self.__dict__))
        return Context({**self.__dict__, **changes})

    def _asdict(self) -> dict[str, Any]:
        """The fields as a new dict, in the order in which they were set."""
        return dict(self.__dict__)

    def __contains__(self, name: object) -> bool:
        return name in self.__dict__

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(_no_field(name, self.__dict__))

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(
            f"the context is read-only: return the new value from a stage, or use _replace({name}=...)"
        )

    def __delattr__(self, name: str) -> None:
        raise AttributeError("the context is read-only")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Context) and self.__dict__ == other.__dict__

    __hash__: ClassVar[None]  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"Context({', '.join(f'{name}={value!r}' for name, value in self.__dict__.items())})"

    def __copy__(self) -> Context:
        return self

    def __reduce__(self) -> tuple[type[Context], tuple[dict[str, Any]]]:
        return (Context, (dict(self.__dict__),))


def _no_field(name: str, fields: Mapping[str, Any]) -> str:
    near = get_close_matches(name, fields, n=1)
    hint = f' (did you mean "{near[0]}"?)' if near else ""
    return f'the context has no field "{name}"{hint}; it has {", ".join(fields) or "none"}'
