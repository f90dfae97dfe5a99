"""From a user's file to the pipelines in it.

A file is run like a module (`__name__` is not "__main__", so a guarded main part does not run) under a name of its own,
with its folder on `sys.path`; a file inside a package is imported as part of it. What it prints goes to standard error.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import inspect
import os
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib.machinery import SourceFileLoader
from types import FunctionType, MethodType, ModuleType, TracebackType
from typing import Any, get_type_hints

from metta.sweep.contracts.call_site import display_path
from metta.sweep.contracts.diagnostics import ContractError, nearest
from metta.sweep.errors import InternalError, UsageError
from metta.sweep.pipeline.builder import Pipeline
from metta.sweep.pipeline.steps import BranchStep, ParallelStep, StageStep, Step

# An experiment that inherits this `pipeline` has none: it is a base class.
_EXPERIMENT_BASE = "metta.sweep.experiments.base"
_LONGEST_REASON = 300


class LoadError(UsageError):
    """The user's file, or something in it, cannot be used.

    Attributes:
        reason: the sentence without the place.
        file: relative to the working directory when below it.
        line: counted from 1; 1 where no line is to blame.
    """

    def __init__(self, reason: str, file: str, line: int = 1) -> None:
        super().__init__(f"{file}:{line}: {reason}")
        self.reason = reason
        self.file = file
        self.line = line


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
        with _blaming(self.file, f'building "{self.name}" failed'):
            made = self.target
            if isinstance(made, (type, FunctionType, MethodType)):
                made = made()
            view = made.__metta_stage__() if _is_composite(made) else None
        pipeline = None if view is None else view.pipeline
        if pipeline is None:
            raise UsageError(f'"{self.name}" in {self.file} is {_kind(made)}, not a pipeline')
        built: Pipeline = pipeline
        return built


def split_spec(spec: str) -> tuple[str, str | None]:
    """FILE or FILE:NAME -> (file, name or None); an existing file may have a colon in its name."""
    if os.path.exists(spec):
        return spec, None
    file, colon, name = spec.rpartition(":")
    if colon and file and all(part.isidentifier() for part in name.split(".")):
        return file, name
    return spec, None


@contextlib.contextmanager
def user_module(path: str) -> Iterator[ModuleType]:
    """Run the file and give its module; inside the block it can import its neighbours.

    Raises:
        UsageError: there is no such file, it is a directory or cannot be read.
        LoadError: it is no Python, or running it raised an exception.
        ContractError: a pipeline in it is wrong.
    """
    file = os.path.abspath(path)
    shown = display_path(file)
    _check_source(file, path)
    root, name = _place(file)
    arguments, search = sys.argv, list(sys.path)
    sys.argv = [file]
    sys.path.insert(0, root)
    try:
        # Standard output belongs to the command: a drawing, or JSON.
        with contextlib.redirect_stdout(sys.stderr):
            with _blaming(shown, f"{os.path.basename(file)} does not import"):
                module = _run(file, name)
            yield module
    finally:
        sys.argv = arguments
        sys.path[:] = search


def candidates(module: ModuleType) -> list[Candidate]:
    """What the module defines that is a pipeline or makes one, in the order of the file.

    Pipelines, compiled graphs and experiments in global variables; experiment classes of this file that are built
    without arguments, unless an instance of them is there; functions of this file that are annotated `-> Pipeline`
    and need no arguments.
    """
    file = _file_of(module)
    found: dict[int, Candidate] = {}
    for name, value in vars(module).items():
        if not name.startswith("__") and id(value) not in found and _is_target(value, module):
            found[id(value)] = Candidate(name, value, file)
    built = {type(each.target) for each in found.values()}
    return [each for each in found.values() if not (isinstance(each.target, type) and each.target in built)]


def pick(module: ModuleType, name: str) -> Candidate:
    """What `name` (dotted: an attribute of a class or an instance) stands for.

    Raises:
        UsageError: no such name, or it is no pipeline; the message says the nearest name.
    """
    file = _file_of(module)
    owner: Any = module
    for part in name.split("."):
        if _is_composite(owner) and isinstance(owner, type):
            owner = _made(owner, file)
        if not hasattr(owner, part):
            raise UsageError(_unknown(name, part, owner, module, file))
        owner = getattr(owner, part)
    if _is_composite(owner) or isinstance(owner, (FunctionType, MethodType)):
        if missing := _required(owner) if callable(owner) and not _is_instance(owner) else []:
            raise UsageError(_needs_arguments(name, missing, file))
        return Candidate(name, owner, file)
    raise UsageError(f'"{name}" in {file} is {_kind(owner)}, not a pipeline{_listed(module)}')


def outermost(found: Iterable[tuple[Candidate, Pipeline]]) -> list[tuple[Candidate, Pipeline]]:
    """Without the pipelines that another one continues or contains: they are a part of it.

    An open pipeline is meant for the places where it is used; standing alone it may lack what it finds there.
    """
    pairs = list(found)
    kept = []
    for candidate, pipeline in pairs:
        own = pipeline._steps()
        if own and not any(_is_part(candidate, own, other) for one, other in pairs if one is not candidate):
            kept.append((candidate, pipeline))
    return kept


def no_pipeline(module: ModuleType) -> str:
    """The sentence for a file without any."""
    return (
        f"{_file_of(module)} has no pipeline: expected a Pipeline or an experiment in a global variable, an Experiment "
        "class, or a function without parameters that is annotated -> Pipeline"
    )


# -- loading -------------------------------------------------------------------------------------------------------


def _check_source(file: str, given: str) -> None:
    if os.path.isdir(file):
        raise UsageError(f"{given} is a directory: name a Python file (metta-sweep check takes directories)")
    try:
        with open(file, "rb") as opened:
            source = opened.read()
    except FileNotFoundError:
        folder = os.path.dirname(file)
        beside = [n for n in os.listdir(folder) if n.endswith(".py")] if os.path.isdir(folder) else []
        near = nearest(os.path.basename(file), beside)
        hint = f' (did you mean "{os.path.join(os.path.dirname(given), near)}"?)' if near else ""
        raise UsageError(f"there is no file {given}{hint}") from None
    except OSError as error:
        raise UsageError(f"{given} cannot be read: {error.strerror or error}") from None
    if b"\0" in source:
        raise UsageError(f"{given} is no Python file: it holds binary data")


def _place(file: str) -> tuple[str, str]:
    """The folder to import from, and the module's name: dotted inside a package, else one that nothing else has."""
    folder, base = os.path.split(file)
    stem = os.path.splitext(base)[0]
    names = [] if stem == "__init__" else [stem]
    while os.path.isfile(os.path.join(folder, "__init__.py")) and os.path.basename(folder).isidentifier():
        folder, package = os.path.split(folder)
        names.insert(0, package)
    if len(names) > 1 or stem == "__init__":
        return folder, ".".join(names)
    return folder, f"_metta_sweep_file_{stem}_{hashlib.sha256(file.encode()).hexdigest()[:8]}"


def _run(file: str, name: str) -> ModuleType:
    if "." in name or os.path.basename(file) == "__init__.py":
        module = importlib.import_module(name)
        found = getattr(module, "__file__", None)
        if found is None or not os.path.samefile(found, file):
            raise ImportError(f"{name} is another module here, {found}")
        return module
    spec = importlib.util.spec_from_file_location(name, file, loader=SourceFileLoader(name, file))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # annotations and dataclasses look their module up there
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


@contextlib.contextmanager
def _blaming(file: str, what: str) -> Iterator[None]:
    """Turn an exception of the user's code into one sentence with the line in the user's file."""
    try:
        yield
    except (ContractError, InternalError, LoadError):
        raise
    except (Exception, SystemExit) as error:
        raise LoadError(f"{what}: {_reason(error, file)}", file, _line(error, file)) from error


def _reason(error: BaseException, file: str) -> str:
    if isinstance(error, SystemExit):
        return 'it exits while it is imported; put its main part under if __name__ == "__main__":'
    kind = type(error).__name__
    if isinstance(error, SyntaxError):
        where = "" if error.filename is None or display_path(error.filename) == file else f" in {error.filename}"
        return f"{kind}{where}: {error.msg}"
    text = " ".join(str(error).split())
    if len(text) > _LONGEST_REASON:
        text = text[: _LONGEST_REASON - 3] + "..."
    reason = f"{kind}: {text}" if text else kind
    if isinstance(error, ModuleNotFoundError):
        reason += " (is it installed in this environment?)"
    return reason


def _line(error: BaseException, file: str) -> int:
    if isinstance(error, SyntaxError) and error.filename is not None and display_path(error.filename) == file:
        return error.lineno or 1
    line = 1
    trace: TracebackType | None = error.__traceback__
    while trace is not None:
        if display_path(trace.tb_frame.f_code.co_filename) == file:
            line = trace.tb_lineno
        trace = trace.tb_next
    return line


# -- finding -------------------------------------------------------------------------------------------------------


def _is_composite(value: object) -> bool:
    return hasattr(value if isinstance(value, type) else type(value), "__metta_stage__")


def _is_instance(value: object) -> bool:
    return _is_composite(value) and not isinstance(value, type)


def _is_target(value: Any, module: ModuleType) -> bool:
    if _is_instance(value):
        return True
    if getattr(value, "__module__", None) != module.__name__:
        return False
    if isinstance(value, type):
        return _is_composite(value) and not _is_base(value) and not _required(value)
    if not isinstance(value, FunctionType) or inspect.iscoroutinefunction(value) or _required(value):
        return False
    try:
        return get_type_hints(value).get("return") is Pipeline
    except Exception:  # an annotation of another name that is imported for type checkers only
        return False


def _is_base(cls: type) -> bool:
    owner = next((base for base in cls.__mro__ if "pipeline" in vars(base)), None)
    return inspect.isabstract(cls) or (owner is not None and owner.__module__ == _EXPERIMENT_BASE)


def _required(function: Any) -> list[str]:
    """The parameters that a call must give."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):  # a builtin says nothing
        return []
    variadic = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return [p.name for p in parameters if p.default is p.empty and p.kind not in variadic]


def _made(cls: type, file: str) -> object:
    if missing := _required(cls):
        raise UsageError(_needs_arguments(cls.__name__, missing, file))
    with _blaming(file, f'building "{cls.__name__}" failed'):
        return cls()


def _needs_arguments(name: str, missing: list[str], file: str) -> str:
    return f'"{name}" in {file} needs arguments ({", ".join(missing)}): make it in a global variable and name that'


def _file_of(module: ModuleType) -> str:
    return display_path(module.__file__ or module.__name__)


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
        if isinstance(inner, StageStep):
            runner = getattr(inner.call, "__self__", None)
            if runner is not None and (runner is target or type(runner) is target):
                return True
            if inner.nested is not None and own[-1] in inner.nested._steps():
                return True
        elif any(own[-1] in arm._steps() for arm in _arms(inner)):
            return True
    return False


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
