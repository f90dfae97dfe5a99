"""Signatures from signatures: what overloads have in common, what a partial leaves open."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from mypy.types import AnyType, Type, TypeOfAny, UnionType, remove_dups

from metta.sweep.contracts.signature import Kind, Parameter, Signature
from metta_mypy.wording import Argument


def common(signatures: Sequence[Signature[Type]]) -> Signature[Type]:
    """What holds whichever of the signatures a call means.

    A parameter takes the union of the types and is required where all of them require it; the result is known where
    they agree.
    """
    longest = max(signatures, key=lambda it: len(it.parameters))
    parameters = [_merged(it, index, signatures) for index, it in enumerate(longest.parameters)]
    known = {it.name for it in parameters}
    for signature in signatures:
        new = [it for it in signature.parameters if it.kind is Kind.KEYWORD_ONLY and it.name not in known]
        parameters += [replace(it, required=False) for it in new]
        known |= {it.name for it in new}
    agreed = all(it.returns == longest.returns for it in signatures)
    return Signature(
        longest.name,
        tuple(sorted(parameters, key=lambda it: it.kind)),
        longest.returns if agreed else AnyType(TypeOfAny.special_form),
        all(it.is_async for it in signatures),
    )


def _merged(parameter: Parameter[Type], index: int, signatures: Sequence[Signature[Type]]) -> Parameter[Type]:
    found = [it for signature in signatures if (it := _twin(parameter, index, signature)) is not None]
    types = [it.type for it in found if it.type is not None]
    return replace(
        parameter,
        type=UnionType.make_union(remove_dups(types)) if len(types) == len(found) else None,
        required=len(found) == len(signatures) and all(it.required for it in found),
    )


def _twin(parameter: Parameter[Type], index: int, signature: Signature[Type]) -> Parameter[Type] | None:
    """The parameter of another overload that takes the same argument."""
    if parameter.kind is Kind.POSITIONAL_ONLY:
        found = signature.parameters[index] if index < len(signature.parameters) else None
        return found if found is not None and found.kind <= Kind.POSITIONAL_OR_KEYWORD else None
    return next((it for it in signature.parameters if it.name == parameter.name), None)


def without_first(signature: Signature[Type]) -> Signature[Type]:
    """Without the parameter that takes the first positional argument; `*args` takes any number."""
    first = signature.parameters[:1]
    is_single = bool(first) and first[0].kind <= Kind.POSITIONAL_OR_KEYWORD
    return replace(signature, parameters=signature.parameters[1:]) if is_single else signature


def with_bound(signature: Signature[Type], bound: Mapping[str, Argument]) -> Signature[Type]:
    """Without the parameters that keywords have bound; behind one of them only the name reaches a parameter."""
    left: list[Parameter[Type]] = []
    after_bound = False
    for parameter in signature.parameters:
        if parameter.name in bound and parameter.kind in (Kind.POSITIONAL_OR_KEYWORD, Kind.KEYWORD_ONLY):
            after_bound = after_bound or parameter.kind is Kind.POSITIONAL_OR_KEYWORD
            continue
        if after_bound and parameter.kind is Kind.POSITIONAL_OR_KEYWORD:
            parameter = replace(parameter, kind=Kind.KEYWORD_ONLY)
        if not (after_bound and parameter.kind is Kind.VAR_POSITIONAL):
            left.append(parameter)
    return replace(signature, parameters=tuple(left), bound={**signature.bound, **bound}, overloads=())
