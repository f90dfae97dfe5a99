"""Pipelines as plain values, and the same as real `Pipeline` objects."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from metta.sweep import Pipeline
from metta.sweep import field as context_field
from tests.pipeline.grammar_types import conforms, digest, value_of


class Param(NamedTuple):
    """A parameter; `kind` is "" (either way), "*" (keyword only) or "/" (positional only)."""

    name: str
    type: Any
    default: bool = False
    kind: str = ""


@dataclass(frozen=True)
class Function:
    """A typed function: what it returns depends on all that it is given."""

    params: tuple[Param, ...]
    returns: Any
    is_async: bool = False


class Rename(NamedTuple):
    """`field("...")`."""

    name: str


@dataclass(frozen=True)
class Stage:
    """`.stage(name, call, **settings).through(contract)`; with `over`, a map.

    A contract is None, a mapping (keywords) or a type; `hooked` adds an `after` hook, which sees the data.
    """

    name: str
    call: Function | Pipe
    contract: Any = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    over: str = ""
    hooked: bool = False


@dataclass(frozen=True)
class Loop:
    """`.loop_while(...) ... .end_loop(...)`; a `Break` may stand among its steps."""

    steps: tuple[Step, ...]
    condition: bool
    until: bool


class Break(NamedTuple):
    """`.break_if(...)`."""


@dataclass(frozen=True)
class Branch:
    """`.conditional(...)`."""

    then: Pipe
    otherwise: Pipe | None


@dataclass(frozen=True)
class Parallel:
    """`.parallel(...)`, in the mapping form if `keyed`."""

    arms: tuple[tuple[str, Pipe], ...]
    keyed: bool
    contract: Any = None
    hooked: bool = False


Step = Stage | Loop | Break | Branch | Parallel


@dataclass(frozen=True)
class Pipe:
    """`Pipeline()` (inputs None), `Pipeline(x=int)` (a mapping) or `Pipeline(T)`, and its steps."""

    inputs: Any
    steps: tuple[Step, ...]


def ordered(params: tuple[Param, ...]) -> tuple[Param, ...]:
    """As Python wants them: positional only, required, with defaults, keyword only."""
    rank = {"/": 0, "": 1, "*": 3}
    return tuple(sorted(params, key=lambda p: rank[p.kind] + (p.default and p.kind == "")))


# -- real pipelines -------------------------------------------------------------------------------------------------


class Recorder:
    """What the stages and conditions of one run were given; and what the conditions answer.

    The answers of a condition are those of its script, then `last`: whatever ends the loop.
    """

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.wrong: list[str] = []
        self.script: tuple[bool, ...] = ()
        self._asked: dict[str, int] = {}

    def begin(self, script: tuple[bool, ...]) -> None:
        self.calls, self.wrong, self.script, self._asked = [], [], script, {}

    def call(self, name: str, function: Function, keys: tuple[str, ...], given: Mapping[str, Any]) -> Any:
        """The body of every stage."""
        for param in function.params:
            if not (param.default and given[param.name] is None) and not conforms(given[param.name], param.type):
                self.wrong.append(f"{name}: {param} is given {given[param.name]!r}")
        number = digest(name, dict(given))
        self.calls.append(f"{name} {number}")
        return value_of(function.returns, number, keys)

    def see(self, hook: str, data: Any) -> None:
        """The body of every hook."""
        self.calls.append(f"{hook} sees {digest(data)}")

    def ask(self, condition: str, last: bool, whole: Any) -> bool:
        """The body of every condition."""
        nth = self._asked[condition] = self._asked.get(condition, -1) + 1
        self.calls.append(f"{condition} {digest(whole)}")
        offset = digest(condition) % 7
        return self.script[(nth + offset) % len(self.script)] if nth < 2 else last


def python_function(name: str, function: Function, keys: tuple[str, ...], recorder: Recorder) -> Callable[..., Any]:
    """A real function with real annotations."""
    written: list[str] = []
    for index, param in enumerate(function.params):
        if param.kind == "*" and "*" not in written:
            written.append("*")
        written.append(param.name + (" = None" if param.default else ""))
        following = function.params[index + 1 :]
        if param.kind == "/" and not any(p.kind == "/" for p in following):
            written.append("/")
    body = f"{'async ' if function.is_async else ''}def {name}({', '.join(written)}): return body(dict(locals()))"
    namespace: dict[str, Any] = {"body": lambda given: recorder.call(name, function, keys, given)}
    exec(body, namespace)
    made: Callable[..., Any] = namespace[name]
    annotations = {p.name: p.type | None if p.default else p.type for p in function.params}
    made.__annotations__ = {**annotations, "return": function.returns}
    return made


def mapping_keys(stage: Stage) -> tuple[str, ...]:
    """The keys of the mapping that the stage returns, if it returns one."""
    return tuple(stage.contract) if isinstance(stage.contract, Mapping) else ("k",)


def real(pipe: Pipe, recorder: Recorder) -> Pipeline:
    """The Pipeline that the value describes.

    Raises:
        ContractError: as the builder finds it.
    """
    return _Builder(recorder).pipeline(pipe, "")


class _Builder:
    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder

    def pipeline(self, pipe: Pipe, path: str) -> Pipeline:
        if pipe.inputs is None:
            start = Pipeline()
        elif isinstance(pipe.inputs, Mapping):
            start = Pipeline(**pipe.inputs)
        else:
            start = Pipeline(pipe.inputs)
        return self._steps(start, pipe.steps, path)

    def _steps(self, built: Pipeline[Any, Any, Any], steps: tuple[Step, ...], path: str) -> Pipeline:
        for index, step in enumerate(steps):
            built = self._step(built, step, f"{path}{index}")
        return built

    def _step(self, built: Pipeline[Any, Any, Any], step: Step, at: str) -> Pipeline:
        if isinstance(step, Stage):
            if isinstance(step.call, Pipe):
                call: Any = self.pipeline(step.call, f"{at}.")
            else:
                call = python_function(step.name, step.call, mapping_keys(step), self._recorder)
            settings = {n: context_field(v.name) if isinstance(v, Rename) else v for n, v in step.settings.items()}
            if step.over:
                built = built.map(step.name, call, over=step.over, **settings)
            else:
                built = built.stage(step.name, call, **settings)
            return self._through(built, step, at)
        if isinstance(step, Loop):
            condition = self._condition(f"{at}while", False) if step.condition else None
            built = self._steps(built.loop_while(condition), step.steps, f"{at}.")
            return built.end_loop(self._condition(f"{at}until", True) if step.until else None)
        if isinstance(step, Break):
            return built.break_if(self._condition(f"{at}break", True))
        if isinstance(step, Branch):
            arms = [self.pipeline(step.then, f"{at}then.")]
            if step.otherwise is not None:
                arms.append(self.pipeline(step.otherwise, f"{at}otherwise."))
            return built.conditional(self._condition(f"{at}if", False), *arms)
        made = {key: self.pipeline(arm, f"{at}{key}.") for key, arm in step.arms}
        return self._through(built.parallel(made if step.keyed else list(made.values())), step, at)

    def _condition(self, name: str, last: bool) -> Callable[[Any], bool]:
        return lambda whole: self._recorder.ask(name, last, whole)

    def _through(self, built: Pipeline[Any, Any, Any], step: Stage | Parallel, at: str) -> Pipeline:
        hooks = {"after": lambda data: self._recorder.see(at, data)} if step.hooked else {}
        if step.contract is None:
            return built.through(**hooks) if hooks else built
        if isinstance(step.contract, Mapping):
            return built.through(**step.contract, **hooks)
        return built.through(step.contract, **hooks)
