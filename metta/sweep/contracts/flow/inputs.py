"""The inputs of a pipeline: the context they begin, the call they make of a nested one, and those of an open one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import TypeVar

from metta.sweep.contracts.flow.binding import Setting
from metta.sweep.contracts.flow.oracle import TypeOracle
from metta.sweep.contracts.flow.output import Keyword, Positional, replaced
from metta.sweep.contracts.flow.state import Field, PersistentMap, State
from metta.sweep.contracts.signature import Kind, Parameter, Signature

T = TypeVar("T")


def start_state(
    contract: Positional[T] | Keyword[T], optional: Mapping[str, T | None], oracle: TypeOracle[T]
) -> State[T]:
    """The context that a pipeline with these inputs begins with.

    Args:
        optional: inputs that only the first step may read (of inferred inputs).
    """
    if isinstance(contract, Positional):
        return replace(replaced("", contract.type, State(), oracle), replacements=0)
    fields = PersistentMap.of({name: Field(tp) for name, tp in contract.fields.items()})
    return State(fields, optional=dict(optional))


def input_signature(name: str, contract: Positional[T] | Keyword[T], optional: Mapping[str, T | None]) -> Signature[T]:
    """Declared inputs as the parameters of a call: a closed nested pipeline is bound like a stage."""
    parameters: tuple[Parameter[T], ...]
    if isinstance(contract, Positional):
        parameters = (Parameter("value", Kind.POSITIONAL_ONLY, contract.type, True),)
    else:
        parameters = tuple(Parameter(n, Kind.KEYWORD_ONLY, t, True) for n, t in contract.fields.items())
        parameters += tuple(Parameter(n, Kind.KEYWORD_ONLY, t, False) for n, t in optional.items())
    return Signature(name, parameters, None, False)


def inferred_inputs(
    asked: Iterable[Parameter[T] | Positional[T]],
) -> tuple[Positional[T] | Keyword[T], Mapping[str, T | None]]:
    """The inputs of an open pipeline standing alone: what its first step asks for.

    Args:
        asked: by the first step that is no `loop_while`: `asked_of_stage` of a callable, `asked_of_inputs` of a
            nested pipeline, those of all arms one after another. A map asks for nothing.

    Returns:
        The contract, required parameters as fields, and the optional inputs.
    """
    required: dict[str, T | None] = {}
    optional: dict[str, T | None] = {}
    for parameter in asked:
        if isinstance(parameter, Positional):
            return parameter, {}
        if parameter.required:
            required.setdefault(parameter.name, parameter.type)
        else:
            optional.setdefault(parameter.name, parameter.type)
    return Keyword(required), {name: tp for name, tp in optional.items() if name not in required}


def asked_of_inputs(
    contract: Positional[T] | Keyword[T], optional: Mapping[str, T | None]
) -> Iterator[Parameter[T] | Positional[T]]:
    """What a nested pipeline or an arm with these inputs (declared or inferred) asks for."""
    if isinstance(contract, Positional):
        yield contract
        return
    for name, tp in contract.fields.items():
        yield Parameter(name, Kind.KEYWORD_ONLY, tp, True)
    for name, tp in optional.items():
        yield Parameter(name, Kind.KEYWORD_ONLY, tp, False)


def asked_of_stage(
    signature: Signature[T] | None, settings: Mapping[str, Setting], oracle: TypeOracle[T]
) -> Iterator[Parameter[T] | Positional[T]]:
    """What a callable asks for beyond its settings.

    Args:
        settings: those of `.stage` and of its `.through`.
    """
    if signature is None:
        return
    parameters = [p for p in signature.parameters if p.kind is not Kind.VAR_POSITIONAL]
    left = [p for p in parameters if p.kind is not Kind.VAR_KEYWORD and p.name not in settings]
    required = [p for p in left if p.required]
    if len(required) == 1 and required[0].kind is Kind.POSITIONAL_ONLY and not _takes_view(required[0], oracle):
        tp = required[0].type
        yield Positional(oracle.any_type() if tp is None else tp)
        return
    for parameter in left:
        if parameter.kind is not Kind.POSITIONAL_ONLY and not _takes_view(parameter, oracle):
            yield parameter
    for name, setting in settings.items():
        if setting.rename is not None:
            tp = next((p.type for p in parameters if p.name == name), None)
            yield Parameter(setting.rename, Kind.KEYWORD_ONLY, tp, True)


def _takes_view(parameter: Parameter[T], oracle: TypeOracle[T]) -> bool:
    """A `Context` parameter gets the view of whatever there is: it asks for nothing."""
    return parameter.type is not None and oracle.is_context(parameter.type)
