"""The arguments of builder calls, read into steps: what is a stage, a contract, a hook, a setting."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from metta.sweep.contracts.assignable import describe, is_type_form, normalize
from metta.sweep.contracts.diagnostics import Site
from metta.sweep.contracts.flow import HOOK_NAMES, Keyword, Positional, Problem, Setting, State, bind, did_you_mean
from metta.sweep.contracts.signature import Kind, Signature, signature_of
from metta.sweep.contracts.summary import summarize
from metta.sweep.pipeline.hook_checks import check_callables
from metta.sweep.pipeline.hooks import FieldName
from metta.sweep.pipeline.replay import ORACLE
from metta.sweep.pipeline.reporting import settle
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
    problems: list[Problem] = []
    contract: Positional[Any] | Keyword[Any]
    if value is not ABSENT:
        if fields:
            problems.append(_mixed("Pipeline", next(iter(fields))))
        if not is_type_form(value):
            problems.append(_not_a_type("the input of the pipeline", value, 0))
            value = Any
        contract = Positional(normalize(value))
    else:
        for name, tp in fields.items():
            if name in HOOK_NAMES or name == "get" or name.startswith("_"):
                problems.append(_reserved(name, "a declared input"))
            elif not _is_field_type(tp):
                problems.append(_not_a_type(f'the input "{name}"', tp, name))
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
    argument: int = 1,
    over: Any = None,
    max_parallel: int | None = None,
) -> StageStep:
    """The step of `.stage` or `.map`; where the target is no stage (reported), one that could be any.

    Args:
        argument: the position of `target` in the builder call.
    """
    if not isinstance(name, str) or not name:
        settle([(None, _no_name(name))], site)
        name = str(name)
    if over is not None:
        _check_count("max_parallel", max_parallel, site)
        if not isinstance(over, str):
            settle([(None, _no_source(name, over))], site, name)
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
    return StageStep(name, call, signature, view.pipeline, read, site, over, max_parallel, gives_whole=view.gives_whole)


def _no_source(name: str, over: object) -> Problem:
    found = summarize(over, 60)
    return Problem(
        "map-source",
        f'map "{name}" runs over the field that over= names; found {found}',
        expected="the name of a context field",
        found=found,
        remedy="let a stage before it give the values as a field, or declare an input, and name that",
        argument="over",
    )


def _any_stage(name: str, site: Site) -> StageStep:
    """In place of a stage that could not be read: what stands behind it is not blamed for it."""
    return StageStep(name, _any_stage, Signature(name, (), Any, False), None, _NO_SETTINGS, site)


def read_loop(condition: Any, max_iterations: Any, site: Site) -> LoopStep:
    """The step of `.loop_while`."""
    _check_count("max_iterations", max_iterations, site)
    return LoopStep(condition, max_iterations, site)


def _check_count(name: str, value: object, site: Site) -> None:
    if value is None or (isinstance(value, int) and not isinstance(value, bool) and value >= 1):
        return
    problem = Problem(
        "setting-type",
        f"{name} is {summarize(value, 60)}; it is a number, from 1 on",
        expected="an int >= 1, or None for no limit",
        found=summarize(value, 60),
        remedy=f"pass {name}=n with n >= 1, or leave it out",
        argument=name,
    )
    settle([(None, problem)], site)


def _setting(value: Any, at: str) -> Setting:
    return Setting(value, value.name, at) if isinstance(value, FieldName) else Setting(value, None, at)


def _check_bound(stage: str, call: functools.partial[Any], site: Site, argument: int) -> None:
    """What a partial binds are settings too: checked against the parameters of what it wraps."""
    inside = signature_of(call.func)
    if inside is None:
        return
    bound = {
        p.name: v for p, v in zip(inside.parameters, call.args, strict=False) if p.kind <= Kind.POSITIONAL_OR_KEYWORD
    }
    settings = {name: Setting(value) for name, value in {**bound, **call.keywords}.items()}
    # In an open context nothing else can be wrong.
    _, problems = bind(stage, inside, settings, State(open=True), ORACLE)
    found = [(None, problem.on(argument)) for problem in problems if problem.argument in settings]
    settle(found, site, stage)


def _no_name(name: object) -> Problem:
    return Problem(
        "not-a-stage",
        f"a stage begins with its name, a string; found {summarize(name, 60)}",
        expected="a non-empty string",
        found=summarize(name, 60),
        remedy='write .stage("name", function)',
        argument=0,
    )


_viewing: list[object] = []
"""The experiments whose graphs are being built right now, outermost first (definition is single-threaded)."""

_DEEPEST = 32


def _view(name: str, target: Any, site: Site, argument: int) -> StageView | None:
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


def _not_a_stage(name: str, target: object, site: Site, argument: int) -> Problem:
    source = site.source(argument)
    hint = ""
    if source is not None and source.endswith(")") and "(" in source and "lambda" not in source:
        hint = f" (did you mean {source[: source.index('(')]}, without the call?)"
    found = summarize(target, 60)
    return Problem(
        "not-a-stage",
        f'stage "{name}" is given {found}, which cannot be called{hint}',
        expected="a callable, a pipeline, a compiled graph or an experiment",
        found=found,
        remedy="pass the function itself; bind arguments as settings: .stage(name, fn, x=1)",
        argument=argument,
    )


# -- arms -----------------------------------------------------------------------------------------------------------


def read_arm(name: str, target: Any, site: Site, argument: int) -> Pipeline:
    """An arm: a pipeline as it is, anything else as a pipeline of one stage."""
    from metta.sweep.pipeline.builder import Pipeline

    if isinstance(target, Pipeline):
        return target
    return Pipeline._of_step(read_stage(_arm_name(name, target), target, {}, site, argument=argument), site)


def _arm_name(name: str, target: Any) -> str:
    own = getattr(target, "__name__", None)
    return own if isinstance(own, str) and own.isidentifier() else name


def read_parallel(arms: Sequence[Any] | Mapping[str, Any], site: Site) -> ParallelStep | StageStep:
    keyed = isinstance(arms, Mapping)
    if (not keyed and (isinstance(arms, (str, bytes)) or not isinstance(arms, Sequence))) or not arms:
        found = "nothing" if not arms else type(arms).__name__
        settle(
            [
                (
                    None,
                    Problem(
                        "not-a-stage",
                        f"parallel takes a list or a mapping of stages and pipelines; found {found}",
                        expected="[a, b, ...] or {name: a, ...}",
                        found=found,
                        remedy="write .parallel([a, b]) or .parallel({'x': a, 'y': b})",
                        argument=0,
                    ),
                )
            ],
            site,
        )
        return _any_stage("parallel", site)
    if isinstance(arms, Mapping):
        settle([(None, _no_key(name).on(0)) for name in arms if not _is_field_name(name)], site)
        targets = {str(name): arm for name, arm in arms.items()}
    else:
        targets = {f"arm {i}": arm for i, arm in enumerate(arms)}
    return ParallelStep("parallel", {name: read_arm(name, arm, site, 0) for name, arm in targets.items()}, keyed, site)


def _no_key(name: object) -> Problem:
    if isinstance(name, str):
        return _reserved(name, "a field")
    found = summarize(name, 60)
    return Problem(
        "reserved-name",
        f"the keys of a parallel mapping are the names of fields; found {found}",
        expected="a string",
        found=found,
        remedy="name each arm after the field it gives, or pass a list",
    )


def _is_field_name(name: object) -> bool:
    return isinstance(name, str) and name not in HOOK_NAMES and name != "get" and not name.startswith("_")


# -- through --------------------------------------------------------------------------------------------------------


def read_through(step: StageStep | ParallelStep, contract: Any, keywords: Mapping[str, Any], site: Site) -> Through:
    """Sort the keywords of `.through`: hooks, fields of the contract, settings of the stage."""
    problems: list[Problem] = []
    hooks: dict[str, Any] = {}
    fields: dict[str, Any] = {}
    settings: dict[str, Setting] = {}
    positional = contract is not ABSENT
    for name, value in keywords.items():
        if name in HOOK_NAMES:
            if name != "schema" and is_type_form(value):
                problems.append(_reserved(name, "a field"))
            else:
                hooks[name] = value
        elif isinstance(value, FieldName):
            settings[name] = _setting(value, "through")
        elif positional:
            if is_type_form(value):
                problems.append(_mixed("through", name))
            else:
                settings[name] = _setting(value, "through")
        elif is_type_form(value) or ((value is None or isinstance(value, str)) and name not in _parameter_names(step)):
            if not _is_field_name(name):
                problems.append(_reserved(name, "a field"))
            else:
                fields[name] = normalize(value)
        else:
            settings[name] = _setting(value, "through")
    read: Positional[Any] | Keyword[Any] | None = None
    if positional:
        if not is_type_form(contract):
            problems.append(_not_a_type(f'the contract of stage "{step.name}"', contract, 0))
            contract = Any
        read = Positional(normalize(contract))
    elif fields:
        read = Keyword(fields)
    if settings and (isinstance(step, ParallelStep)):
        problems += [_unknown_hook(step.name, name) for name in settings]
        settings = {}
    if problems:
        settle([(None, p) for p in problems], site, step.name)
    return Through(read, settings or _NO_SETTINGS, hooks or _NO_HOOKS, site)


def _parameter_names(step: StageStep | ParallelStep) -> frozenset[str]:
    if isinstance(step, ParallelStep) or step.signature is None:
        return frozenset()
    return frozenset(p.name for p in step.signature.parameters if p.kind is not Kind.VAR_POSITIONAL)


def _unknown_hook(stage: str, name: str) -> Problem:
    return Problem(
        "unknown-hook",
        f'"{name}" is no hook{did_you_mean(name, sorted(HOOK_NAMES))}',
        expected="a hook, or a type for a field",
        found=name,
        remedy="settings go on the stages inside the arms",
        argument=name,
    )


def read_global_hooks(hooks: Mapping[str, Any], site: Site) -> Mapping[str, Any]:
    """The hooks of `with_global_hooks`, checked as far as they do not depend on a stage."""
    problems: list[Problem] = []
    for name in hooks:
        if name not in HOOK_NAMES:
            problems.append(
                Problem(
                    "unknown-hook",
                    f'"{name}" is no hook{did_you_mean(name, sorted(HOOK_NAMES))}',
                    expected="a hook",
                    found=name,
                    remedy="see the table of hooks",
                    argument=name,
                )
            )
    known = {name: value for name, value in hooks.items() if name in HOOK_NAMES}
    check_callables("(every stage)", known, None, None, ORACLE, problems.append, is_global=True)
    if problems:
        settle([(None, p) for p in problems], site)
    return known


# -- problems -------------------------------------------------------------------------------------------------------


def _reserved(name: str, what: str) -> Problem:
    why = "the name of a hook" if name in HOOK_NAMES else "reserved"
    return Problem(
        "reserved-name",
        f'"{name}" cannot be {what}: it is {why}',
        expected="another name",
        found=name,
        remedy=f"rename it, or put it into a record class: class Output(NamedTuple): {name.lstrip('_')}: ...",
        argument=name,
    )


def _mixed(where: str, name: str) -> Problem:
    call = "Pipeline" if where == "Pipeline" else ".through"
    return Problem(
        "mixed-contract",
        f'{call} has a positional contract and the field "{name}"',
        expected="one contract form",
        found=f"a positional contract and {name}=",
        remedy=f'put "{name}" into the record class, or declare every field by keyword',
        argument=name,
    )


def _not_a_type(what: str, value: object, argument: str | int) -> Problem:
    found = summarize(value, 60)
    return Problem(
        "not-a-type",
        f"{what} is {found}, which is no type",
        expected="a type such as list[int] or a record class",
        found=found,
        remedy=_type_meant(value),
        argument=argument,
    )


def _type_meant(value: object) -> str:
    if isinstance(value, list) and len(value) == 1 and is_type_form(value[0]):
        return f"write list[{describe(value[0])}]"
    return "pass a type, not a function" if callable(value) else "pass the type itself, not a value of it"
