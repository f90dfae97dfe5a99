"""Between the result of a call and the data of its contract: shaped, checked, and taken apart again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from metta.sweep.compiler.lower import VALUE
from metta.sweep.contracts.flow import Keyword, Output, Positional, Shape
from metta.sweep.contracts.output_value import unpack
from metta.sweep.contracts.records import build, read_fields
from metta.sweep.contracts.values import check_value
from metta.sweep.errors import ContractViolation
from metta.sweep.pipeline.context import Context

UNSET: Any = type("Unset", (), {"__repr__": lambda self: "UNSET", "__slots__": ()})()
"""Marks a field that may be set and is not."""


def view(fields: dict[str, Any]) -> Context:
    """The Context view of fields of which some may be unset."""
    return Context({name: value for name, value in fields.items() if value is not UNSET})


class ContractShaping:
    """The data of a contract: the value, or a Context of its fields.

    Args:
        stage: named by violations as the one that produced the value.
        validate_type: "auto" checks where the stage's annotation does not prove the contract; True, False, "deep".
    """

    def __init__(self, stage: str, out: Output[Any], validate_type: object = "auto") -> None:
        assert out.contract is not None
        self._stage = stage
        self._contract = out.contract
        self._shape = out.shape
        self._deep = validate_type == "deep"
        self._check = not out.proven if validate_type == "auto" else bool(validate_type)
        self._names = tuple(out.contract.fields) if isinstance(out.contract, Keyword) else ()

    def enter(self, raw: Any) -> Any:
        if isinstance(self._contract, Positional):
            if isinstance(raw, (Context, dict)) and self._shape in (Shape.RECORD, Shape.MAPPING):
                raw = build(self._contract.type, raw._asdict() if isinstance(raw, Context) else raw)
            self._verify(raw)
            return raw
        if isinstance(raw, Context):
            raw = raw._asdict()
        data, wrong = unpack(raw, self._contract, shape=self._shape, check=self._check, deep=self._deep)
        if wrong is not None:
            raise self._violation(wrong, raw)
        return Context(zip(self._names, data, strict=True))

    def _verify(self, data: Any) -> None:
        if self._check:
            _, wrong = unpack(data, self._contract, check=True, deep=self._deep)
            if wrong is not None:
                raise self._violation(wrong, data)

    def recheck(self, data: Any) -> None:
        if isinstance(self._contract, Positional):
            wrong = check_value(data, self._contract.type, deep=self._deep)
        elif not isinstance(data, Context):
            wrong = f"expected a Context with {', '.join(self._names)}, found {type(data).__name__}"
        else:
            values = data._asdict()
            missing = [name for name in self._names if name not in values]
            wrong = f"it has no {', '.join(missing)}" if missing else None
            for name, tp in self._contract.fields.items():
                if wrong is None and tp is not None:
                    wrong = check_value(values[name], tp, deep=self._deep, path=name)
        if wrong is not None:
            raise self._violation(wrong, data, " after its hooks")

    def leave(self, data: Any) -> Any:
        if isinstance(self._contract, Positional):
            return data
        if len(self._names) == 1:
            return getattr(data, self._names[0])
        return tuple(getattr(data, name) for name in self._names)

    def _violation(self, wrong: str, data: Any, when: str = "") -> ContractViolation:
        from metta.sweep.contracts.assignable import describe

        if isinstance(self._contract, Positional):
            expected = describe(self._contract.type)
        else:
            expected = ", ".join(n if t is None else f"{n}: {describe(t)}" for n, t in self._contract.fields.items())
        message = f'stage "{self._stage}" broke its contract {expected}{when}: {wrong}'
        return ContractViolation(message, stage=self._stage, data=data)


class PlainShaping:
    """No contract: what the stage gives goes nowhere; observers are given the context as it was."""

    def enter(self, raw: Any) -> Any:
        return raw

    def recheck(self, data: Any) -> None:
        return None

    def leave(self, data: Any) -> Any:
        return data


class _Carrier(Context):
    """A Context that remembers the tuple it was made from, so that leaving loses nothing."""

    __slots__ = ("raw",)

    def __init__(self, names: Sequence[str], raw: tuple[Any, ...]) -> None:
        super().__init__((n, v) for n, v in zip(names, raw, strict=True) if n != VALUE and v is not UNSET)
        object.__setattr__(self, "raw", raw)


class NestedShaping:
    """What a nested pipeline without a contract sets: a tuple in the generated code, its whole for the hooks."""

    def __init__(self, names: Sequence[str], whole_is_value: bool) -> None:
        self._names = tuple(names)
        self._value = whole_is_value

    def enter(self, raw: Any) -> Any:
        return raw[self._names.index(VALUE)] if self._value else _Carrier(self._names, raw)

    def recheck(self, data: Any) -> None:
        return None

    def leave(self, data: Any) -> Any:
        if isinstance(data, _Carrier):
            return data.raw
        fields = read_fields(data) if self._value else data._asdict()
        return tuple(data if name == VALUE else fields.get(name, UNSET) for name in self._names)
