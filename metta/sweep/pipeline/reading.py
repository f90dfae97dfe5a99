"""The arguments of builder calls, read into steps: what is a stage, a contract, a hook, a setting."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from metta.sweep.contracts import flow
from metta.sweep.contracts.assignable import describe, is_type_form, normalize
from metta.sweep.contracts.diagnostics import Site
from metta.sweep.contracts.flow import HOOK_NAMES, Keyword, Positional, Problem, Setting, ValueKind, sort_keywords
from metta.sweep.contracts.signature import Kind, Signature, signature_of
from metta.sweep.contracts.summary import summarize
from metta.sweep.pipeline.hook_checks import hook_values
from metta.sweep.pipeline.hooks import FieldName
from metta.sweep.pipeline.replay import ORACLE
from metta.sweep.pipeline.reporting import POSITIONS, settle
from metta.sweep.pipeline.steps import Composite, Inputs, LoopStep, ParallelStep, StageStep, StageView, Through

if TYPE_CHECKING:
    from collections.abc import Iterator

    from metta.sweep.pipeline.builder import Pipeline

ABSENT: Any = type("Absent", (), {"__repr__": lambda self: "ABSENT", "__slots__": ()})()
"""No positional argument was given."""

# Shared, because 10,000 stages would otherwise have 20,000 empty dicts that the collector counts.
_NO_SETTINGS: Mapping[str, Setting] = {}
_NO_HOOKS: Mapping[str, Any] = {}


# -- inputs ---------------------------------------------------------------------------------------------------------


def declared_inputs(value: Any, fields: Mapping[str, Any], site: Site) -> Inputs | None:
    """`Pipeline(T)`, `Pipeline(x=int)`, or None for the open `Pipeline()`."""
    if value is ABSENT and not fields:
        return None
    contract: Positional[Any] | Keyword[Any]
    if value is not ABSENT:
        problems = [flow.mixed("Pipeline", next(iter(fields)))] if fields else []
        if not is_type_form(value):
            problems.append(_not_a_type("the input of the pipeline", value, 0))
            value = Any
        contract = Positional(normalize(value))
    else:
        problems = flow.input_problems(fields, _kind_of, _not_a_type)
        contract = Keyword({n: normalize(t) if _is_field_type(t) else Any for n, t in fields.items()})
    if problems:
        settle([(None, p) for p in problems], site)
    return Inputs(contract, site)


def _is_field_type(value: Any) -> bool:
    return value is None or isinstance(value, str) or is_type_form(value)


# -- stages ---------------------------------------------------------------------------------------------------------


def read_stage(
    name: str,
    target: Any,
    settings: Mapping[str, Any],
    site: Site,
    *,
    argument: flow.Where = 1,
    over: Any = None,
    max_parallel: int | None = None,
) -> StageStep:
    """The step of `.stage` or `.map`; where the target is no stage (reported), one that could be any.

    Args:
        argument: where `target` stands in the builder call.
    """
    given: object = name
    if not isinstance(given, str) or not name:
        settle([(None, flow.no_name(summarize(name, 60)))], site)
        if isinstance(target, str):
            return _any_stage(target, site)  # the two are in each other's place: one mistake
        name = str(name)
    if over is not None:
        _check_count("max_parallel", max_parallel, site)
        if not isinstance(over, str):
            settle([(None, flow.no_source(name, summarize(over, 60)))], site, name)
            over = str(over)
    view = _view(name, target, site, argument)
    if view is None:
        return _any_stage(name, site)
    read = {key: _setting(value, "stage") for key, value in settings.items()} if settings else _NO_SETTINGS
    if view.call is None:
        if over is not None:
            settle([(None, _not_a_stage(name, target, site, argument))], site, name)
            return _any_stage(name, site)
        return StageStep(name, None, None, view.pipeline, read, site)
    if isinstance(view.call, functools.partial):
        _check_bound(name, view.call, site, argument)
    call, signature = view.call, view.signature
    if signature is not None and signature.may_be_async:
        call = _settled(call)
    return StageStep(name, call, signature, view.pipeline, read, site, over, max_parallel, gives_whole=view.gives_whole)


def _any_stage(name: str, site: Site) -> StageStep:
    """In place of a stage that could not be read: what stands behind it is not blamed for it."""
    return StageStep(name, _any_stage, Signature(name, (), Any, False), None, _NO_SETTINGS, site)


def _settled(call: Callable[..., Any]) -> Callable[..., Any]:
    """What returns a result or an awaitable, as an async function: called in a thread, as it may start a loop there."""

    @functools.wraps(call)
    async def settled(*args: Any, **kwargs: Any) -> Any:
        from asyncio import to_thread
        from inspect import isawaitable

        result = await to_thread(call, *args, **kwargs)
        return await result if isawaitable(result) else result

    return settled


def read_loop(condition: Any, max_iterations: Any, site: Site) -> LoopStep:
    """The step of `.loop_while`."""
    _check_count("max_iterations", max_iterations, site)
    return LoopStep(condition, max_iterations, site)


def _check_count(name: str, value: object, site: Site) -> None:
    if value is None or (isinstance(value, int) and not isinstance(value, bool) and value >= 1):
        return
    settle([(None, flow.no_count(name, summarize(value, 60)))], site)


def _setting(value: Any, at: str) -> Setting:
    return Setting(value, value.name, at) if isinstance(value, FieldName) else Setting(value, None, at)


def _check_bound(stage: str, call: functools.partial[Any], site: Site, argument: flow.Where) -> None:
    """What a partial binds are settings too: checked against the parameters of what it wraps."""
    inside = signature_of(call.func)
    if inside is None:
        return
    bound = {
        p.name: v for p, v in zip(inside.parameters, call.args, strict=False) if p.kind <= Kind.POSITIONAL_OR_KEYWORD
    }
    settings = {name: Setting(value) for name, value in {**bound, **call.keywords}.items()}
    settle([(None, p) for p in flow.bound_problems(stage, inside, settings, argument, ORACLE)], site, stage)


_viewing: list[object] = []
"""The experiments whose graphs are being built right now, outermost first (definition is single-threaded)."""

_DEEPEST = 32


def _view(name: str, target: Any, site: Site, argument: flow.Where) -> StageView | None:
    # Looked up on the type: a class is a callable, whatever its instances are.
    if not hasattr(type(target), "__metta_stage__"):
        if not callable(target):
            settle([(None, _not_a_stage(name, target, site, argument))], site, name)
            return None
        return StageView(None, target, signature_of(target))
    with _guarded(target) as recursive:
        if recursive:
            kind = type(target).__name__
            settle(
                [
                    (
                        None,
                        Problem(
                            "recursive-pipeline",
                            f'stage "{name}" is a {kind} inside the pipeline of the same {kind}: it contains itself',
                            expected="a pipeline of finite depth",
                            found=kind,
                            remedy="build the inner experiment inside a stage, when it runs",
                            argument=argument,
                        ),
                    )
                ],
                site,
                name,
            )
            return None
        composite: Composite = target
        return composite.__metta_stage__()


@contextmanager
def _guarded(target: object) -> Iterator[bool]:
    same = any(seen is target for seen in _viewing)
    deep = sum(type(seen) is type(target) for seen in _viewing) >= _DEEPEST
    _viewing.append(target)
    try:
        yield same or deep
    finally:
        _viewing.pop()


def _not_a_stage(name: str, target: object, site: Site, argument: flow.Where) -> Problem:
    source = site.source(argument, POSITIONS.get(argument))
    called = ""
    if source is not None and source.endswith(")") and "(" in source and "lambda" not in source:
        called = source[: source.index("(")]
    return flow.not_a_stage(name, summarize(target, 60), argument, called=called)


# -- arms -----------------------------------------------------------------------------------------------------------


def read_arm(name: str, target: Any, site: Site, argument: flow.Where) -> Pipeline:
    """An arm: a pipeline as it is, anything else as a pipeline of one stage."""
    from metta.sweep.pipeline.builder import Pipeline

    if isinstance(target, Pipeline):
        return target
    return Pipeline._of_step(read_stage(_arm_name(name, target), target, {}, site, argument=argument), site)


def _arm_name(name: str, target: Any) -> str:
    own = getattr(target, "__name__", None)
    return own if isinstance(own, str) and own.isidentifier() else name


def read_parallel(arms: Sequence[Any] | Mapping[str, Any], site: Site) -> ParallelStep | StageStep:
    """The step of `.parallel`; where nothing can be run (reported), a stage that could be any."""
    keyed = isinstance(arms, Mapping)
    if (not keyed and (isinstance(arms, (str, bytes)) or not isinstance(arms, Sequence))) or not arms:
        settle([(None, flow.no_arms(type(arms).__name__ if arms else "nothing"))], site)
        return _any_stage("parallel", site)
    if isinstance(arms, Mapping):
        settle([(None, problem.on(0)) for name in arms if (problem := _key_problem(name)) is not None], site)
        targets = {str(name): arm for name, arm in arms.items()}
    else:
        targets = {f"arm {i}": arm for i, arm in enumerate(arms)}
    read = {name: read_arm(name, arm, site, (0, index)) for index, (name, arm) in enumerate(targets.items())}
    return ParallelStep("parallel", read, keyed, site)


def _key_problem(name: object) -> Problem | None:
    if not isinstance(name, str):
        return flow.no_key(summarize(name, 60))
    return None if flow.is_field_name(name) else flow.reserved(name, "a field")


# -- through --------------------------------------------------------------------------------------------------------


def read_through(step: StageStep | ParallelStep, contract: Any, keywords: Mapping[str, Any], site: Site) -> Through:
    """Sort the keywords of `.through`: hooks, fields of the contract, settings of the stage."""
    positional = contract is not ABSENT
    signature = None if isinstance(step, ParallelStep) else step.signature
    hooks, fields, given, problems = sort_keywords(keywords, _kind_of, signature, positional=positional)
    read: Positional[Any] | Keyword[Any] | None = None
    is_known = not positional or is_type_form(contract)
    if positional:
        if not is_known:
            problems.append(_not_a_type(f'the contract of stage "{step.name}"', contract, 0))
            contract = Any
        read = Positional(normalize(contract))
    elif fields:
        read = Keyword({name: normalize(tp) for name, tp in fields.items()})
    settings = _NO_SETTINGS
    if given and isinstance(step, ParallelStep):
        problems += flow.misplaced_settings(given)
    elif given:
        settings = {name: _setting(value, "through") for name, value in given.items()}
    if problems:
        settle([(None, p) for p in problems], site, step.name)
    return Through(read, settings, hooks or _NO_HOOKS, site, is_known)


def _kind_of(value: object) -> ValueKind:
    if is_type_form(value):
        return ValueKind.TYPE
    if value is None or isinstance(value, str):
        return ValueKind.TEXT
    return ValueKind.RENAME if isinstance(value, FieldName) else ValueKind.OTHER


def read_global_hooks(hooks: Mapping[str, Any], site: Site) -> Mapping[str, Any]:
    """The hooks of `with_global_hooks`, checked as far as they do not depend on a stage."""
    problems = flow.global_hook_problems(hook_values(hooks), ORACLE)
    if problems:
        settle([(None, p) for p in problems], site)
    return {name: value for name, value in hooks.items() if name in HOOK_NAMES}


# -- problems -------------------------------------------------------------------------------------------------------


def _not_a_type(what: str, value: object, argument: str | int) -> Problem:
    item = describe(value[0]) if isinstance(value, list) and len(value) == 1 and is_type_form(value[0]) else ""
    return flow.not_a_type(what, summarize(value, 60), argument, item=item, is_callable=callable(value))
