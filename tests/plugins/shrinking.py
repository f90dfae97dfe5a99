"""Making a case smaller while something about it stays as it is."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from tests.pipeline.grammar import Branch, Loop, Parallel, Pipe, Stage, Step
from tests.pipeline.grammar_mutations import mutations
from tests.plugins.differential import Case
from tests.plugins.rendering import Style, render

_ROUNDS = 12


def shrink(case: Case, still: Callable[[Sequence[Case]], Sequence[bool]]) -> Case:
    """The smallest case found, of which `still` says yes.

    Args:
        still: asked about many cases at once.
    """
    for _ in range(_ROUNDS):
        smaller = sorted(
            {_size(it): it for it in _smaller(case) if _size(it) < _size(case)}.items(), key=lambda it: it[0]
        )
        cases = [it for _, it in smaller]
        found = next((it for it, yes in zip(cases, still(cases), strict=True) if yes), None) if cases else None
        if found is None:
            break
        case = found
    return case


def _size(case: Case) -> tuple[int, str]:
    text = render(case.pipe, "p", case.style).text
    return len(text), text


def _smaller(case: Case) -> Iterator[Case]:
    pipe, style = case
    for other in (Style(), Style(layout="statements"), style._replace(seed=0), style._replace(in_function=False)):
        yield Case(pipe, other)
    for index, step in enumerate(pipe.steps):
        yield Case(replace(pipe, steps=pipe.steps[:index]), style)
        yield Case(replace(pipe, steps=pipe.steps[index + 1 :]), style)
        yield Case(replace(pipe, steps=(*pipe.steps[:index], *_unwrapped(step), *pipe.steps[index + 1 :])), style)
        if isinstance(step, (Stage, Parallel)) and step.hooked:
            yield Case(replace(pipe, steps=_with(pipe.steps, index, replace(step, hooked=False))), style)
    for other_pipe in mutations(pipe):
        yield Case(other_pipe, style)


def _with(steps: tuple[Step, ...], index: int, step: Step) -> tuple[Step, ...]:
    return (*steps[:index], step, *steps[index + 1 :])


def _unwrapped(step: Step) -> tuple[Step, ...]:
    """What stands inside, without what is around it."""
    if isinstance(step, Loop):
        return tuple(inner for inner in step.steps if isinstance(inner, (Stage, Branch, Parallel, Loop)))
    if isinstance(step, Branch):
        return step.then.steps
    if isinstance(step, Parallel):
        return step.arms[0][1].steps
    if isinstance(step, Stage) and isinstance(step.call, Pipe):
        return step.call.steps
    return (step,)
