"""The pipelines in a module: by name, or all that there are."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from types import CodeType, FunctionType, MethodType, ModuleType
from typing import Any, get_type_hints

from metta.sweep.compiler.load import LoadError, file_of, user_code
from metta.sweep.contracts.diagnostics import nearest
from metta.sweep.errors import UsageError
from metta.sweep.pipeline.builder import Pipeline
from metta.sweep.pipeline.steps import BranchStep, ParallelStep, StageStep, Step

# An experiment that inherits this `pipeline` has none: it is a base class.
_EXPERIMENT_BASE = "metta.sweep.experiments.base"
_ABSENT = object()


@dataclass(frozen=True, slots=True)
class Candidate:
    """Something in a module that is a pipeline, or makes one.

    Attributes:
        name: of the variable, class or function.
        target: a Pipeline, a compiled graph, an experiment or its class, or a function `-> Pipeline`.
        file: where it was found, for messages.
    """

    name: str
    target: Any
    file: str

    def build(self) -> Pipeline:
        """The pipeline itself.

        Raises:
            LoadError: making it raised an exception, or what was made is no pipeline.
        """
        with user_code(self.file, f'building "{self.name}" failed'):
            made = self.target
            if isinstance(made, (type, FunctionType, MethodType)):
                made = made()
            view = made.__metta_stage__() if _is_instance(made) else None
        pipeline = None if view is None else view.pipeline
        if pipeline is None:
            raise UsageError(f'"{self.name}" in {self.file} is {_kind(made)}, not a pipeline')
        built: Pipeline = pipeline
        return built


def candidates(module: ModuleType) -> list[Candidate]:
    """What the module defines that is a pipeline or makes one, in the order of the file.

    Pipelines, compiled graphs and experiments in global variables; experiment classes of this file that are built
    without arguments, unless an instance of them is there; functions of this file that are annotated `-> Pipeline`
    and need no arguments.
    """
    file = file_of(module)
    found: dict[int, Candidate] = {}
    for name, value in vars(module).items():
        if not name.startswith("__") and id(value) not in found and _is_target(value, module):
            found[id(value)] = Candidate(name, value, file)
    built = {type(each.target) for each in found.values()}
    return [each for each in found.values() if not (isinstance(each.target, type) and each.target in built)]


@dataclass(frozen=True, slots=True)
class Unmade:
    """A class or a function that makes a pipeline, if it is given arguments: nothing is found in it.

    Attributes:
        name: of the class or function.
        missing: the parameters that a call must give.
        file: where it stands, as messages show it.
        line: of its first line, counted from 1.
        code: of what builds the pipeline: of the function, or of the class's `pipeline`.
    """

    name: str
    missing: tuple[str, ...]
    file: str
    line: int
    code: CodeType | None

    def __str__(self) -> str:
        return _needs_arguments(self.name, self.missing, self.file)


def unmade(module: ModuleType) -> list[Unmade]:
    """What would be a candidate if it needed no arguments."""
    file = file_of(module)
    makers = [value for value in vars(module).values() if _is_maker(value, module)]
    found = dict.fromkeys(maker for maker in makers if _required(maker))
    return [Unmade(each.__name__, tuple(_required(each)), file, _line(each), _builder(each)) for each in found]


def built_by(pipelines: Iterable[Pipeline]) -> set[CodeType]:
    """The code that built these pipelines and what is inside of them."""
    return {step.site.code for pipeline in pipelines for step in _inside(pipeline._steps())}


def names_inside(pipeline: Pipeline) -> set[str]:
    """The names that findings in this pipeline have for it and for its parts."""
    return {step.site.scope() for step in _inside(pipeline._steps())}


def pick(module: ModuleType, name: str) -> Candidate:
    """What `name` (dotted: an attribute of a class or an instance) stands for.

    Raises:
        UsageError: no such name, or it is no pipeline; the message says the nearest name.
    """
    file = file_of(module)
    owner: Any = module
    for part in name.split("."):
        if _is_composite(owner) and isinstance(owner, type):
            owner = _made(owner, file)
        with user_code(file, f'reading "{name}" failed'):
            found = getattr(owner, part, _ABSENT)
        if found is _ABSENT:
            raise UsageError(_unknown(name, part, owner, module, file))
        owner = found
    if _is_composite(owner) or isinstance(owner, (FunctionType, MethodType)):
        if missing := _required(owner) if callable(owner) and not _is_instance(owner) else []:
            raise UsageError(_needs_arguments(name, missing, file))
        return Candidate(name, owner, file)
    raise UsageError(f'"{name}" in {file} is {_kind(owner)}, not a pipeline{_listed(module)}')


def outermost(found: Iterable[tuple[Candidate, Pipeline]]) -> list[tuple[Candidate, Pipeline]]:
    """Without empty pipelines and those that another one continues or contains: they are a part of it.

    An open pipeline is meant for the places where it is used; standing alone it may lack what it finds there. Of a
    pipeline and its compiled graph the first is kept, and a function is left out whose result is among the others.
    """
    pairs = list(found)
    made = {_place(s) for one, other in pairs if not _is_function(one) for s in _inside(other._steps())}
    kept: dict[tuple[int, ...], tuple[Candidate, Pipeline]] = {}
    for candidate, pipeline in pairs:
        own = pipeline._steps()
        if not own or (_is_function(candidate) and _place(own[-1]) in made):
            continue
        if not any(_is_part(candidate, own, other) for one, other in pairs if one is not candidate):
            same = (id(own[-1]), *map(id, pipeline._global_hooks))
            kept.setdefault(same, (candidate, pipeline))
    return list(kept.values())


def no_pipeline(module: ModuleType) -> LoadError:
    """The error for a file without any."""
    if lacking := unmade(module):
        return LoadError(str(lacking[0]), file_of(module), lacking[0].line)
    return LoadError(
        "no pipeline here: expected a Pipeline or an experiment in a global variable, an Experiment class, or "
        "a function annotated -> Pipeline",
        file_of(module),
    )


def _is_composite(value: object) -> bool:
    return hasattr(value if isinstance(value, type) else type(value), "__metta_stage__")


def _is_instance(value: object) -> bool:
    return _is_composite(value) and not isinstance(value, type)


def _is_target(value: Any, module: ModuleType) -> bool:
    return _is_instance(value) or (_is_maker(value, module) and not _required(value))


def _is_maker(value: Any, module: ModuleType) -> bool:
    """Whether it is a class or a function of this file that makes a pipeline, given what it needs."""
    if getattr(value, "__module__", None) != module.__name__:
        return False
    if isinstance(value, type):
        return _is_composite(value) and not _is_base(value)
    if not isinstance(value, FunctionType) or inspect.iscoroutinefunction(value):
        return False
    try:
        return get_type_hints(value).get("return") is Pipeline
    except Exception:  # an annotation of another name that is imported for type checkers only
        return False


def _is_base(cls: type) -> bool:
    owner = next((base for base in cls.__mro__ if "pipeline" in vars(base)), None)
    protocol = getattr(cls, "_is_protocol", False)  # typing.is_protocol is of Python 3.13
    return protocol or inspect.isabstract(cls) or (owner is not None and owner.__module__ == _EXPERIMENT_BASE)


def _required(function: Any) -> list[str]:
    """The parameters that a call must give."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):  # a builtin says nothing
        return []
    variadic = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return [p.name for p in parameters if p.default is p.empty and p.kind not in variadic]


def _builder(maker: Any) -> CodeType | None:
    code = getattr(getattr(maker, "pipeline", maker), "__code__", None)
    return code if isinstance(code, CodeType) else None


def _line(maker: Any) -> int:
    if isinstance(maker, FunctionType):
        return maker.__code__.co_firstlineno
    try:
        return inspect.getsourcelines(maker)[1]
    except (OSError, TypeError):  # a class that was made by a call
        return 1


def _made(cls: type, file: str) -> object:
    if missing := _required(cls):
        raise UsageError(_needs_arguments(cls.__name__, missing, file))
    with user_code(file, f'building "{cls.__name__}" failed'):
        return cls()


def _needs_arguments(name: str, missing: Sequence[str], file: str) -> str:
    return f'"{name}" in {file} needs arguments ({", ".join(missing)}): make it in a global variable and name that'


def _kind(value: object) -> str:
    if isinstance(value, type):
        return f"the class {value.__name__}"
    name = type(value).__name__
    return f"{'an' if name[:1].lower() in 'aeiou' else 'a'} {name}"


def _unknown(name: str, part: str, owner: object, module: ModuleType, file: str) -> str:
    if owner is module:
        names = [each.name for each in candidates(module)]
        head, rest = "", names or [n for n in vars(module) if not n.startswith("_")]
    else:
        head = name[: name.index(part)] if part in name else ""
        rest = [n for n in dir(owner) if not n.startswith("_")]
    near = nearest(part, rest)
    if near is not None:
        return f'{file} has no "{name}" (did you mean "{head}{near}"?)'
    return f'{file} has no "{name}"{_listed(module)}'


def _listed(module: ModuleType) -> str:
    names = [each.name for each in candidates(module)]
    return f"; it has {', '.join(names)}" if names else "; there is no pipeline in it"


def _is_part(candidate: Candidate, own: list[Step], other: Pipeline) -> bool:
    """Whether `other` goes on from these steps, or has them (or the experiment they belong to) somewhere inside."""
    target = candidate.target
    steps = other._steps()
    if len(steps) > len(own) and own[-1] in steps:
        return True
    for inner in _inside(steps):
        if any(own[-1] in pipeline._steps() for pipeline in _arms(inner)):
            return True
        if isinstance(inner, StageStep) and inner.nested is not None and inner.call is not None:
            experiment = getattr(inner.call, "__self__", None)
            if experiment is target or type(experiment) is target:
                return True
    return False


def _is_function(candidate: Candidate) -> bool:
    return isinstance(candidate.target, FunctionType)


def _place(step: Step) -> tuple[CodeType, int]:
    return step.site.code, step.site.lasti


def _inside(steps: list[Step]) -> Iterator[Step]:
    for step in steps:
        yield step
        for pipeline in _arms(step):
            yield from _inside(pipeline._steps())


def _arms(step: Step) -> list[Pipeline]:
    if isinstance(step, StageStep):
        return [] if step.nested is None else [step.nested]
    if isinstance(step, ParallelStep):
        return list(step.arms.values())
    if isinstance(step, BranchStep):
        return [step.then] if step.otherwise is None else [step.then, step.otherwise]
    return []
