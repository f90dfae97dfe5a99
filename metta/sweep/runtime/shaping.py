"""Between the result of a call and the data of its contract: shaped, checked, and taken apart again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from metta.sweep.compiler.lower import VALUE
from metta.sweep.contracts.flow import Keyword, Output, Positional, Shape, State, element_type
from metta.sweep.contracts.output_value import unpack
from metta.sweep.contracts.records import build, read_fields, replace
from metta.sweep.contracts.values import check_value
from metta.sweep.errors import ContractViolation
from metta.sweep.pipeline.context import Context
from metta.sweep.pipeline.replay import ORACLE

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
        self._never = validate_type is False
        self._check = not out.proven if validate_type == "auto" else bool(validate_type)
        self._names = tuple(out.contract.fields) if isinstance(out.contract, Keyword) else ()

    def enter(self, raw: Any) -> Any:
        if isinstance(self._contract, Positional):
            if isinstance(raw, (Context, dict)) and self._shape in (Shape.RECORD, Shape.MAPPING):
                raw = build(self._contract.type, raw._asdict() if isinstance(raw, Context) else raw)
            self._verify(raw)
            return raw
        data, wrong = unpack(
            self._opened(raw, self._shape), self._contract, shape=self._shape, check=self._check, deep=self._deep
        )
        if wrong is not None:
            raise self._violation(wrong, raw)
        return Context(zip(self._names, data, strict=True))

    def substitute(self, raw: Any) -> Any:
        data, wrong = unpack(self._opened(raw, Shape.DYNAMIC), self._contract, check=True, deep=self._deep)
        if wrong is not None:
            raise self._violation(wrong, raw)
        return data if isinstance(self._contract, Positional) else Context(zip(self._names, data, strict=True))

    def _opened(self, raw: Any, shape: Shape) -> Any:
        """A Context as a mapping where it is read as a record; it may also be the one field itself."""
        if not isinstance(raw, Context) or shape in (Shape.BARE, Shape.VALUE):
            return raw
        return raw._asdict() if len(self._names) > 1 or all(name in raw for name in self._names) else raw

    def _verify(self, data: Any) -> None:
        if self._check:
            _, wrong = unpack(data, self._contract, check=True, deep=self._deep)
            if wrong is not None:
                raise self._violation(wrong, data)

    def recheck(self, data: Any) -> None:
        if isinstance(self._contract, Positional):
            wrong = None if self._never else check_value(data, self._contract.type, deep=self._deep)
        elif not isinstance(data, Context):
            wrong = f"expected a Context with {', '.join(self._names)}, found {type(data).__name__}"
        else:
            values = data._asdict()
            missing = [name for name in self._names if name not in values]
            wrong = f"it has no {', '.join(missing)}" if missing else None
            for name, tp in self._contract.fields.items():
                if wrong is None and tp is not None and not self._never:
                    wrong = check_value(values[name], tp, deep=self._deep, path=name)
        if wrong is not None:
            raise self._violation(wrong, data, " after its hooks")

    def leave(self, data: Any) -> Any:
        if isinstance(self._contract, Positional):
            return data
        if len(self._names) == 1:
            return getattr(data, self._names[0])
        return tuple(getattr(data, name) for name in self._names)

    def rejoin(self, value: Any) -> Any:
        if isinstance(self._contract, Positional):
            return value
        return Context(zip(self._names, (value,) if len(self._names) == 1 else value, strict=True))

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

    def substitute(self, raw: Any) -> Any:
        return raw

    def recheck(self, data: Any) -> None:
        return None

    def leave(self, data: Any) -> Any:
        return data

    def rejoin(self, value: Any) -> Any:
        return value


class ElementShaping(PlainShaping):
    """One result of a map: the list is checked as a whole, what stands in for an element on its own."""

    def __init__(self, stage: str, contract: Positional[Any] | Keyword[Any] | None) -> None:
        self._stage = stage
        self._type = element_type(contract, ORACLE)

    def substitute(self, raw: Any) -> Any:
        wrong = None if self._type is None else check_value(raw, self._type)
        if wrong is not None:
            raise ContractViolation(
                f'stage "{self._stage}" broke its contract for an element: {wrong}', stage=self._stage, data=raw
            )
        return raw


class NestedShaping:
    """What a nested pipeline without a contract gives: a tuple in the generated code, its final whole for the hooks.

    Args:
        stage: named by violations.
        end: the context at the end of the nested pipeline.
        names: what the tuple holds ("@value" is the value).
        leaving: those of them that are set in the context around it.
    """

    def __init__(self, stage: str, end: State[Any], names: Sequence[str], leaving: Sequence[str]) -> None:
        self._stage = stage
        self._end = end
        self.names: tuple[str, ...] = tuple(names)
        self._leaving = tuple(leaving)

    def enter(self, raw: Any) -> Any:
        return raw[self.names.index(VALUE)] if self._end.whole_is_value else _Carrier(self, raw)

    def substitute(self, raw: Any) -> Any:
        if not self._end.whole_is_value and isinstance(raw, dict):
            raw = Context(raw)
        self.recheck(raw)
        return raw

    def recheck(self, data: Any) -> None:
        wrong = self._misfit(data)
        if wrong is not None:
            raise ContractViolation(f'nested pipeline "{self._stage}": {wrong}', stage=self._stage, data=data)

    def _misfit(self, data: Any) -> str | None:
        end = self._end
        if end.unknown:
            return None
        if end.whole_is_value:
            return None if end.value is None else check_value(data, end.value)
        if not isinstance(data, Context):
            return f"expected a Context, found {type(data).__name__}"
        if VALUE in self._leaving and not self.is_carried(data):
            return "its context has a value, which only _replace keeps"
        for name in self._leaving:
            known = end.fields.get(name)
            if known is None:
                continue
            if name in data:
                wrong = None if known.type is None else check_value(getattr(data, name), known.type, path=name)
            else:
                wrong = f"it does not set {name}" if known.definite else None
            if wrong is not None:
                return wrong
        return None

    def is_carried(self, data: Any) -> bool:
        """Whether the data still knows the value behind the fields it shows."""
        return isinstance(data, _Carrier)

    def leave(self, data: Any) -> Any:
        if isinstance(data, _Carrier):
            return tuple(data.raw[self.names.index(name)] for name in self._leaving)
        if not self._end.whole_is_value:
            fields = data._asdict()
        elif isinstance(data, dict):
            fields = data  # a TypedDict
        else:
            fields = read_fields(data)
        return tuple(data if name == VALUE else fields.get(name, UNSET) for name in self._leaving)

    def rejoin(self, value: Any) -> Any:
        if self._end.whole_is_value and VALUE in self._leaving:
            return value[self._leaving.index(VALUE)]
        return view({n: v for n, v in zip(self._leaving, value, strict=True) if n != VALUE})

    def replaced(self, raw: tuple[Any, ...], changes: dict[str, Any]) -> tuple[Any, ...]:
        """The tuple with other fields, also in the value."""
        items = {**dict(zip(self.names, raw, strict=True)), **changes}
        own = {name: new for name, new in changes.items() if name in self._end.own}
        if own and VALUE in items:
            items[VALUE] = replace(items[VALUE], own)
        return tuple(items[name] for name in self.names)


class _Carrier(Context):
    """A Context that remembers the tuple it was made from, so that leaving loses nothing."""

    __slots__ = ("raw", "shaping")

    def __init__(self, shaping: NestedShaping, raw: tuple[Any, ...]) -> None:
        super().__init__((n, v) for n, v in zip(shaping.names, raw, strict=True) if n != VALUE and v is not UNSET)
        object.__setattr__(self, "raw", raw)
        object.__setattr__(self, "shaping", shaping)

    def _replace(self, **changes: Any) -> Context:
        super()._replace(**changes)  # an unknown name raises
        return _Carrier(self.shaping, self.shaping.replaced(self.raw, changes))
