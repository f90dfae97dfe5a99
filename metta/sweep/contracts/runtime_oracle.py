"""The type oracle over run-time annotations."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import FunctionType, NoneType
from typing import Any, ForwardRef, get_origin

from metta.sweep.contracts import assignable as types
from metta.sweep.contracts.flow import State, TypeOracle
from metta.sweep.contracts.records import (
    constructor_fields,
    is_replaceable,
    protocol_fields,
    record_fields,
    union_members,
)


class RuntimeOracle(TypeOracle[Any]):
    """Answers from annotations as they are found at run time.

    Args:
        context: the class of the Context view (it lives on a floor above).
    """

    def __init__(self, context: type) -> None:
        self._context = context

    def is_assignable(self, source: Any, target: Any, /) -> bool | None:
        return types.is_assignable(source, target)

    def join(self, members: Sequence[Any], /) -> Any:
        return types.join(members)

    def describe(self, tp: Any, /) -> str:
        return types.describe(tp)

    def fields_of(self, tp: Any, /) -> Mapping[str, tuple[Any, bool]] | None:
        fields = record_fields(tp)
        if fields is None:
            return None
        return {name: (f.type, f.required) for name, f in fields.items() if f.readable}

    def constructor_of(self, tp: Any, /) -> Mapping[str, tuple[Any | None, bool]] | None:
        taken = constructor_fields(tp)
        if taken is None:
            return None
        fields = record_fields(tp) or {}
        return {name: (fields[name].type if name in fields else None, needed) for name, needed in taken.items()}

    def protocol_of(self, tp: Any, /) -> Mapping[str, Any] | None:
        return protocol_fields(tp)

    def unreplaceable(self, tp: Any, name: str, /) -> str | None:
        having = [member for member in union_members(tp) if name in (record_fields(member) or {})]
        return next((found for member in having if (found := is_replaceable(member))), None)

    def element_of(self, tp: Any, /) -> Any | None:
        return types.element_of(tp)

    def list_of(self, tp: Any | None, /) -> Any:
        return list.__class_getitem__(Any if tp is None else tp)

    def mapping_value(self, tp: Any, /) -> Any | None:
        return types.mapping_value(tp)

    def plain_tuple(self, tp: Any, /) -> Sequence[Any] | None:
        return types.plain_tuple(tp)

    def is_any(self, tp: Any, /) -> bool:
        # An annotation that names nothing says as little.
        return tp is Any or type(tp) is ForwardRef

    def any_type(self) -> Any:
        return Any

    def is_gradual(self, tp: Any, /) -> bool:
        return types.is_gradual(tp)

    def is_object(self, tp: Any, /) -> bool:
        return tp is object

    def is_none(self, tp: Any, /) -> bool:
        return tp is NoneType or tp is None

    def members_of(self, tp: Any, /) -> Sequence[Any]:
        return union_members(tp)

    def builtin(self, cls: type, /) -> Any:
        return cls

    def is_context(self, tp: Any, /) -> bool:
        return tp is self._context

    def is_function(self, tp: Any, /) -> bool:
        return tp is FunctionType or (get_origin(tp) or tp) is Callable

    def view(self, state: State[Any], /) -> Any:
        return self._context

    def accepts(self, value: object, tp: Any, /) -> bool | None:
        from metta.sweep.contracts.values import check_value

        return check_value(value, tp) is None

    def describe_value(self, value: object, /) -> str:
        from metta.sweep.contracts.values import summarize

        return summarize(value, 60)

    def is_generic(self, tp: Any, /) -> bool:
        # Most return types are plain classes.
        return type(tp) is not type and (hasattr(tp, "__bound__") or bool(getattr(tp, "__parameters__", ())))

    def resolve(self, returns: Any, arguments: Sequence[tuple[Any, Any]], /) -> Any:
        if not arguments:
            return types.substitute(returns, {})
        # All at once, so that a variable that stands in several parameters takes the union.
        patterns = tuple.__class_getitem__(tuple(pattern for pattern, _ in arguments))
        actuals = tuple.__class_getitem__(tuple(actual for _, actual in arguments))
        return types.substitute(returns, types.unify(patterns, actuals))
