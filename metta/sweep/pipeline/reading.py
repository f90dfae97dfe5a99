"""The arguments of builder calls, read into steps: what is a stage, a contract, a hook, a setting."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from metta.sweep.contracts.assignable import is_type_form, normalize
from metta.sweep.contracts.diagnostics import Site
from metta.sweep.contracts.flow import HOOK_NAMES, Keyword, Positional, Problem, Setting, did_you_mean
from metta.sweep.contracts.signature import Kind, Signature, signature_of
from metta.sweep.pipeline.hook_checks import check_callables
from metta.sweep.pipeline.hooks import FieldName
from metta.sweep.pipeline.replay import ORACLE
from metta.sweep.pipeline.reporting import settle
from metta.sweep.pipeline.steps import Composite, Inputs, ParallelStep, StageStep, StageView, Through

if TYPE_CHECKING:
    from collections.abc import Iterator

    from metta.sweep.pipeline.builder import Pipeline

ABSENT: Any = type("Absent", (), {"__repr__": lambda self: "ABSENT", "__slots__": ()})()
"""No positional argument was given."""

_NO_SETTINGS: Mapping[str, Setting] = {}


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
    over: str | None = None,
    max_parallel: int | None = None,
) -> StageStep | None:
    """The step of `.stage` or `.map`; None (reported) where the target is no stage."""
    if not isinstance(name, str) or not name:
        settle([(None, _no_name(name))], site)
        name = str(name)
    view = _view(name, target, site)
    if view is None:
        return None
    read = {key: _setting(value, "stage") for key, value in settings.items()} if settings else _NO_SETTINGS
    if view.call is None:
        if over is not None:
            problem = _not_a_stage(name, target, site)
            settle([(None, problem)], site)
            return None
        return StageStep(name, None, None, view.pipeline, read, site)
    signature = view.signature
    if signature is not None and signature.bound:
        read = {**_bound(view.call, signature), **read}
    return StageStep(name, view.call, signature, view.pipeline, read, site, over, max_parallel)


def _setting(value: Any, at: str) -> Setting:
    return Setting(value, value.name, at) if isinstance(value, FieldName) else Setting(value, None, at)


def _bound(call: Any, signature: Signature[Any]) -> dict[str, Setting]:
    """Keywords of a partial: checked against the parameters of what it wraps, passed by the partial itself."""
    return {name: Setting(value, None, "") for name, value in signature.bound.items()}


def _no_name(name: object) -> Problem:
    return Problem(
        "not-a-stage",
        f"a stage begins with its name, a string; found {type(name).__name__}",
        expected="a non-empty string",
        found=repr(name)[:60],
        remedy='write .stage("name", function)',
        argument=0,
    )


_viewing: list[object] = []
"""The experiments whose graphs are being built right now, outermost first (definition is single-threaded)."""

_DEEPEST = 32


def _view(name: str, target: Any, site: Site) -> StageView | None:
    # Looked up on the type: a class is a callable, whatever its instances are.
    if not hasattr(type(target), "__metta_stage__"):
        if not callable(target):
            settle([(None, _not_a_stage(name, target, site))], site)
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
                            argument=1,
                        ),
                    )
                ],
                site,
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


def _not_a_stage(name: str, target: object, site: Site) -> Problem:
    source = site.source(1)
    hint = ""
    if source is not None and source.endswith(")") and "(" in source and "lambda" not in source:
        hint = f" (did you mean {source[: source.index('(')]}, without the call?)"
    found = type(target).__name__
    return Problem(
        "not-a-stage",
        f'stage "{name}" is given a {found}, which cannot be called{hint}',
        expected="a callable, a pipeline, a compiled graph or an experiment",
        found=found,
        remedy="pass the function itself; bind arguments as settings: .stage(name, fn, x=1)",
        argument=1,
    )


# -- arms -----------------------------------------------------------------------------------------------------------


def read_arm(name: str, target: Any, site: Site, argument: str | int) -> Pipeline | None:
    """An arm: a pipeline as it is, anything else as a pipeline of one stage."""
    from metta.sweep.pipeline.builder import Pipeline

    if isinstance(target, Pipeline):
        return target
    step = read_stage(_arm_name(name, target), target, {}, site)
    return None if step is None else Pipeline._of_step(step, site)


def _arm_name(name: str, target: Any) -> str:
    own = getattr(target, "__name__", None)
    return own if isinstance(own, str) and own.isidentifier() else name


def read_parallel(arms: Sequence[Any] | Mapping[str, Any], site: Site) -> ParallelStep | None:
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
        return None
    targets = dict(arms) if isinstance(arms, Mapping) else {f"arm {i}": arm for i, arm in enumerate(arms)}
    read = {name: read_arm(name, target, site, 0) for name, target in targets.items()}
    pipelines = {name: pipeline for name, pipeline in read.items() if pipeline is not None}
    if len(pipelines) < len(read):
        return None
    return ParallelStep("parallel", pipelines, keyed, site)


# -- through --------------------------------------------------------------------------------------------------------


def read_through(step: StageStep | ParallelStep, contract: Any, keywords: Mapping[str, Any], site: Site) -> Through:
    """Sort the keywords of `.through`: hooks, fields of the contract, settings of the stage."""
    problems: list[Problem] = []
    hooks: dict[str, Any] = {}
    fields: dict[str, Any] = {}
    settings: dict[str, Setting] = {}
    parameters = _parameter_names(step)
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
        elif is_type_form(value) or ((value is None or isinstance(value, str)) and name not in parameters):
            if name == "get" or name.startswith("_"):
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
        settle([(None, p) for p in problems], site)
    return Through(read, settings, hooks, site)


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
    found = repr(value)[:60]
    return Problem(
        "not-a-type",
        f"{what} is {found}, which is no type",
        expected="a type such as list[int] or a record class",
        found=found,
        remedy="pass the type itself, not a value of it" if not callable(value) else "pass a type, not a function",
        argument=argument,
    )
