"""A described pipeline as the text of a program, in one of the ways its author could have written it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from textwrap import indent
from types import NoneType, UnionType
from typing import Any, NamedTuple, Union, get_args, get_origin

from tests.pipeline.grammar import (
    Branch,
    Break,
    Function,
    Loop,
    Parallel,
    Pipe,
    Rename,
    Stage,
    Step,
    mapping_keys,
)
from tests.pipeline.grammar_types import RECORDS
from tests.plugins.slips import Call, slipped

HEADER = """\
from collections.abc import Callable
from typing import Any

from metta.sweep import Context, Pipeline, field
from tests.pipeline.grammar_types import (
    Computed,
    HasA,
    HasBC,
    Measured,
    Modelled,
    Options,
    Pair,
    Sampled,
    Scored,
    Settled,
    Table,
)
from tests.plugins.functions import *

call: Callable[[str, dict[str, Any]], Any]
ask: Callable[[str, object], bool]
see: Callable[[str, object], None]
"""
"""The names behind `HEADER` are those of whoever runs the text: bodies of stages, of conditions and of hooks."""


class Style(NamedTuple):
    """How a pipeline is written; the rest is drawn with `seed`.

    Attributes:
        layout: "line" (a chain on one line), "lines", "statements" (one per step, each with a name of its own) or
            "rebound" (all with the same name).
        in_function: a function returns it; else a module-level variable holds it.
        names_closed: how many percent of the pipelines inside with declared inputs are variables of their own.
        names_open: the same for `Pipeline()`.
        lambdas: how many percent of the hooks and conditions are lambdas.
        slip: of which call there is a slip (see slips.py), counted through all calls of the text; None: of none.
    """

    seed: int = 0
    layout: str = "lines"
    in_function: bool = False
    names_closed: int = 0
    names_open: int = 0
    lambdas: int = 0
    slip: int | None = None


@dataclass
class Text:
    """A written pipeline: `name` is what it is called in the module.

    Attributes:
        stages: name of the body -> stage name, function and mapping keys, as `Recorder.call` takes them.
        conditions: name of the body -> its name and last answer, as `Recorder.ask` takes them.
        hooks: name of the body -> the place that `Recorder.see` takes.
    """

    name: str
    text: str = ""
    stages: dict[str, tuple[str, Function, tuple[str, ...]]] = field(default_factory=dict)
    conditions: dict[str, tuple[str, bool]] = field(default_factory=dict)
    hooks: dict[str, str] = field(default_factory=dict)


def render(pipe: Pipe, name: str, style: Style) -> Text:
    """The text of one pipeline; all names it defines begin with `name`."""
    writer = _Writer(name, style)
    text = writer.write(pipe)
    if style.slip is None:
        return text
    # The first writing has counted the calls.
    return _Writer(name, style, style.slip % writer.count).write(pipe)


class _Writer:
    """Attributes: `count` of the calls written so far."""

    def __init__(self, name: str, style: Style, slip: int | None = None) -> None:
        self.count = 0
        self._style = style
        self._slip = slip
        self._random = Random(style.seed)
        self._text = Text(name)
        self._functions: list[str] = []
        self._statements: list[str] = []

    def write(self, pipe: Pipe) -> Text:
        name, style = self._text.name, self._style
        if style.layout in ("statements", "rebound"):
            result = self._as_statements(self._chain(pipe, ""), name)
        else:
            result = self._parenthesized(self._chain(pipe, ""))
        if style.in_function:
            body = [*self._statements, f"result = {result}", "result.compile()", "return result"]
            main = f"def {name}() -> Pipeline[Any, Any, Any]:\n" + indent("\n".join(body), "    ")
        else:
            main = "\n".join([*self._statements, f"{name} = {result}", f"{name}.compile()"])
        self._text.text = "\n".join([*self._functions, main]) + "\n"
        return self._text

    def _chance(self, percent: int) -> bool:
        return self._random.randrange(100) < percent

    # -- layout ------------------------------------------------------------------------------------------------------

    def _as_statements(self, calls: Sequence[Call], name: str) -> str:
        """One statement per step: a `.through` mostly stands with its stage, sometimes alone."""
        groups: list[list[Call]] = []
        for call in calls:
            if groups and call.method == "through" and self._chance(70):
                groups[-1].append(call)
            else:
                groups.append([call])
        before = ""
        for index, group in enumerate(groups[:-1]):
            new = f"{name}_step" if self._style.layout == "rebound" else f"{name}_step{index}"
            self._statements.append(f"{new} = {before}{self._joined(group, is_first=not before)}")
            before = new
        return before + self._joined(groups[-1], is_first=not before)

    def _parenthesized(self, calls: Sequence[Call]) -> str:
        text = self._joined(calls, is_first=True)
        return f"(\n{indent(text, '    ')}\n)" if "\n" in text else text

    def _joined(self, calls: Sequence[Call], *, is_first: bool) -> str:
        is_long = self._style.layout == "lines" and len(calls) > 1
        parts = []
        for index, call in enumerate(calls):
            dot = "" if is_first and index == 0 else "."
            parts.append(f"{dot}{call.method}({self._arguments(call.arguments)})")
        return ("\n" if is_long else "").join(parts)

    def _arguments(self, arguments: Sequence[str]) -> str:
        is_long = self._style.layout != "line" and arguments and self._chance(40)
        if is_long or any("\n" in argument for argument in arguments):
            return "\n" + "".join(f"{indent(argument, '    ')},\n" for argument in arguments)
        return ", ".join(arguments)

    # -- the chain ---------------------------------------------------------------------------------------------------

    def _chain(self, pipe: Pipe, path: str) -> list[Call]:
        if pipe.inputs is None:
            given: list[str] = []
        elif isinstance(pipe.inputs, Mapping):
            given = [f"{name}={type_text(tp)}" for name, tp in pipe.inputs.items()]
        else:
            given = [type_text(pipe.inputs)]
        return [written for call in self._calls(pipe, given, path) for written in self._slipped(call)]

    def _calls(self, pipe: Pipe, given: Sequence[str], path: str) -> Iterator[Call]:
        yield Call("Pipeline", given)
        yield from self._steps(pipe.steps, path)

    def _slipped(self, call: Call) -> Sequence[Call]:
        self.count += 1
        if self._slip != self.count - 1:
            return [call]
        assert self._style.slip is not None
        return slipped(call, self._style.slip)

    def _steps(self, steps: tuple[Step, ...], path: str) -> Iterator[Call]:
        for index, step in enumerate(steps):
            yield from self._step(step, f"{path}{index}")

    def _step(self, step: Step, at: str) -> Iterator[Call]:
        if isinstance(step, Stage):
            yield self._stage(step, at)
            yield from self._through(step, at)
        elif isinstance(step, Loop):
            yield Call("loop_while", [self._condition(f"{at}while", False)] if step.condition else [])
            yield from self._steps(step.steps, f"{at}.")
            yield Call("end_loop", [self._condition(f"{at}until", True)] if step.until else [])
        elif isinstance(step, Break):
            yield Call("break_if", [self._condition(f"{at}break", True)])
        elif isinstance(step, Branch):
            arms = [self._inside(step.then, f"{at}then")]
            if step.otherwise is not None:
                arms.append(self._inside(step.otherwise, f"{at}otherwise"))
            yield Call("conditional", [self._condition(f"{at}if", False), *arms])
        else:
            yield Call("parallel", [self._arms(step, at)])
            yield from self._through(step, at)

    def _arms(self, step: Parallel, at: str) -> str:
        arms = {key: self._inside(arm, f"{at}{key}") for key, arm in step.arms}
        items = [f'"{key}": {arm}' for key, arm in arms.items()] if step.keyed else list(arms.values())
        begin, end = "{}" if step.keyed else "[]"
        return f"{begin}{self._arguments(items)}{end}"

    def _inside(self, pipe: Pipe, place: str) -> str:
        """A nested pipeline or an arm: a chain in place, or a variable defined before."""
        chain = self._chain(pipe, f"{place}.")
        if not self._chance(self._style.names_open if pipe.inputs is None else self._style.names_closed):
            return self._joined(chain, is_first=True)
        name = self._name(place)
        self._statements.append(f"{name} = {self._parenthesized(chain)}")
        return name

    def _stage(self, step: Stage, at: str) -> Call:
        if isinstance(step.call, Pipe):
            called = self._inside(step.call, at)
        else:
            called = self._function(step, step.call, at)
        settings = [f"{name}={_setting(value)}" for name, value in step.settings.items()]
        if step.over:
            return Call("map", [f'"{step.name}"', called, f'over="{step.over}"', *settings])
        return Call("stage", [f'"{step.name}"', called, *settings])

    def _through(self, step: Stage | Parallel, at: str) -> Iterator[Call]:
        arguments: list[str] = []
        if isinstance(step.contract, Mapping):
            arguments = [f"{name}={type_text(tp)}" for name, tp in step.contract.items()]
        elif step.contract is not None:
            arguments = [type_text(step.contract)]
        if step.hooked:
            arguments.append(f"after={self._hook(at)}")
        if arguments:
            yield Call("through", arguments)

    # -- functions ---------------------------------------------------------------------------------------------------

    def _name(self, place: str) -> str:
        return f"{self._text.name}_{place.replace('.', '_')}"

    def _function(self, step: Stage, function: Function, at: str) -> str:
        name = self._name(at)
        self._text.stages[name] = (step.name, function, mapping_keys(step))
        written: list[str] = []
        for index, param in enumerate(function.params):
            if param.kind == "*" and "*" not in written:
                written.append("*")
            tp = type_text(param.type)
            written.append(f"{param.name}: {tp} | None = None" if param.default else f"{param.name}: {tp}")
            if param.kind == "/" and not any(p.kind == "/" for p in function.params[index + 1 :]):
                written.append("/")
        head = f"{'async ' if function.is_async else ''}def {name}({', '.join(written)})"
        body = f'call("{name}", locals())'
        returned = body if function.returns is NoneType else f"return {body}"
        self._functions.append(f"{head} -> {type_text(function.returns)}:\n    {returned}\n")
        return name

    def _condition(self, place: str, last: bool) -> str:
        name = self._name(place)
        self._text.conditions[name] = (place, last)
        body = f'ask("{name}", whole)'
        if self._chance(self._style.lambdas):
            return f"lambda whole: {body}"
        self._functions.append(f"def {name}(whole: object) -> bool:\n    return {body}\n")
        return name

    def _hook(self, at: str) -> str:
        name = self._name(f"{at}after")
        self._text.hooks[name] = at
        body = f'see("{name}", data)'
        if self._chance(self._style.lambdas):
            return f"lambda data: {body}"
        self._functions.append(f"def {name}(data: object) -> None:\n    {body}\n")
        return name


# -- types and values -----------------------------------------------------------------------------------------------


def type_text(tp: Any) -> str:
    """A type as it is written."""
    if tp is None or tp is NoneType:
        return "None"
    origin = get_origin(tp)
    if origin in (Union, UnionType):
        return " | ".join(map(type_text, get_args(tp)))
    if origin is not None:
        return f"{origin.__name__}[{', '.join(map(type_text, get_args(tp)))}]"
    name: str = tp.__name__
    return name


def _setting(value: Any) -> str:
    return f'field("{value.name}")' if isinstance(value, Rename) else value_text(value)


def value_text(value: Any) -> str:
    """A value as it is written."""
    if type(value) not in RECORDS:
        return repr(value)
    given = [name for name, member in RECORDS[type(value)].items() if member.given is not None]
    return f"{type(value).__name__}({', '.join(f'{name}={value_text(getattr(value, name))}' for name in given)})"
