"""Every single small mistake in a described pipeline: a renamed parameter, another type, a dropped contract, ..."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from types import NoneType
from typing import Any

from tests.pipeline.grammar import Branch, Break, Function, Loop, Parallel, Pipe, Rename, Stage, Step, ordered
from tests.pipeline.grammar_types import NATURAL, TYPES, Pair, digest

_EXTRAS: tuple[tuple[Any, Any], ...] = (
    (Pair, Pair),
    (list[int], list[int]),
    *((tp, {name: tp}) for name, tp in NATURAL.items()),
    (bytes, {"a": bytes}),
)
"""Return types and contracts of stages that are put in."""


def extensions(pipe: Pipe) -> list[Pipe]:
    """Every pipeline with one stage more, at any place: it replaces the context, or sets a field (again)."""
    return [replace(pipe, steps=steps) for steps in _extended(pipe.steps)]


def _extended(steps: tuple[Step, ...]) -> Iterator[tuple[Step, ...]]:
    for index in range(len(steps) + 1):
        before, behind = steps[:index], steps[index:]
        for returns, contract in _EXTRAS:
            yield (*before, Stage("extra", Function((), returns), contract), *behind)
    for index, step in enumerate(steps):
        for other in _extended_inside(step):
            yield (*steps[:index], other, *steps[index + 1 :])


def _extended_inside(step: Step) -> Iterator[Step]:
    if isinstance(step, Stage) and isinstance(step.call, Pipe):
        yield from (replace(step, call=inner) for inner in extensions(step.call))
    elif isinstance(step, Loop):
        yield from (replace(step, steps=steps) for steps in _extended(step.steps))
    elif isinstance(step, Branch):
        yield from (replace(step, then=then) for then in extensions(step.then))
        if step.otherwise is not None:
            yield from (replace(step, otherwise=otherwise) for otherwise in extensions(step.otherwise))
    elif isinstance(step, Parallel):
        for index, (key, arm) in enumerate(step.arms):
            for other in extensions(arm):
                yield replace(step, arms=(*step.arms[:index], (key, other), *step.arms[index + 1 :]))


def mutations(pipe: Pipe) -> list[Pipe]:
    """Every pipeline that differs from this one by one small mistake (or one harmless change)."""
    found = [replace(pipe, steps=steps) for steps in _mutated_steps(pipe.steps)]
    if isinstance(pipe.inputs, Mapping):
        found += [replace(pipe, inputs=inputs) for inputs in _mutated_fields(pipe.inputs)]
        found.append(replace(pipe, inputs=None))
    return found


def _mutated_steps(steps: tuple[Step, ...]) -> Iterator[tuple[Step, ...]]:
    for index, step in enumerate(steps):
        before, behind = steps[:index], steps[index + 1 :]
        yield (*before, *behind)
        if behind:
            yield (*before, behind[0], step, *behind[1:])
        for other in _mutated_step(step):
            yield (*before, other, *behind)
        names = [s.name for s in behind if isinstance(s, Stage)]
        if isinstance(step, Stage) and names:
            yield (*before, replace(step, name=names[0]), *behind)


def _mutated_step(step: Step) -> Iterator[Step]:
    if isinstance(step, Stage):
        if isinstance(step.call, Pipe):
            for inner in mutations(step.call):
                yield replace(step, call=inner)
        else:
            for function in _mutated_function(step.call):
                yield replace(step, call=function)
            yield replace(step, settings={**step.settings, "unheard": 1})
        for name in step.settings:
            yield replace(step, settings={n: v for n, v in step.settings.items() if n != name})
            yield replace(step, settings={**step.settings, name: Rename("q")})
        if step.over:
            yield replace(step, over="q")
        for contract in _mutated_contract(step.contract):
            yield replace(step, contract=contract)
    elif isinstance(step, Loop):
        for steps in _mutated_steps(step.steps):
            ends = step.condition or step.until or Break() in steps
            if ends and steps and isinstance(steps[0], Stage):
                yield replace(step, steps=steps)
        if not step.condition and (step.until or Break() in step.steps):
            yield replace(step, condition=True)
        if step.until:
            yield replace(step, condition=True, until=False)
    elif isinstance(step, Branch):
        for then in mutations(step.then):
            yield replace(step, then=then)
        if step.otherwise is not None:
            yield replace(step, otherwise=None)
            for otherwise in mutations(step.otherwise):
                yield replace(step, otherwise=otherwise)
    elif isinstance(step, Parallel):
        for index, (key, arm) in enumerate(step.arms):
            for other in mutations(arm):
                yield replace(step, arms=(*step.arms[:index], (key, other), *step.arms[index + 1 :]))
        for contract in _mutated_contract(step.contract):
            yield replace(step, contract=contract)


def _mutated_function(function: Function) -> Iterator[Function]:
    for index, param in enumerate(function.params):
        others = [p.name for p in function.params]
        changed = [param._replace(type=_other_type(param.type))]
        if "q" not in others:
            changed.append(param._replace(name="q"))
        if param.default:
            changed.append(param._replace(default=False, kind="*"))
        for other in changed:
            yield replace(function, params=ordered((*function.params[:index], other, *function.params[index + 1 :])))
        yield replace(function, params=(*function.params[:index], *function.params[index + 1 :]))
    yield replace(function, returns=_other_type(function.returns))
    yield replace(function, returns=NoneType)


def _other_type(tp: Any) -> Any:
    return TYPES[(TYPES.index(tp) + 1) % len(TYPES)] if tp in TYPES else TYPES[digest(str(tp)) % len(TYPES)]


def _mutated_contract(contract: Any) -> Iterator[Any]:
    if contract is None:
        yield from ({"x": int}, TYPES[6])
    elif isinstance(contract, Mapping):
        yield None
        yield from _mutated_fields(contract)
    else:
        yield from (None, _other_type(contract))


def _mutated_fields(fields: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    for name in fields:
        rest = {n: t for n, t in fields.items() if n != name}
        if rest:
            yield rest
        yield {n: _other_type(t) if n == name else t for n, t in fields.items()}
        yield {("q" if n == name else n): t for n, t in fields.items()}
        for new in sorted(NATURAL.keys() - fields.keys()):
            if digest(name, new) % 4 == 0:
                yield {(new if n == name else n): t for n, t in fields.items()}
