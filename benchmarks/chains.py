"""The chains that are measured: pipelines, and the functions that their authors would have written by hand."""

from __future__ import annotations
import __future__

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import ModuleType
from typing import Any, NamedTuple

from metta.sweep import Context, Pipeline

Stage = Callable[..., Any]
Stages = Sequence[Stage]


class Pair(NamedTuple):
    """A record of two fields."""

    a: int
    b: int


class Style(NamedTuple):
    """One way to write a chain.

    Attributes:
        stage: source of stage number {i}, called {name}.
        inputs: of the pipeline.
        contract: positional arguments of `.through`.
        fields: its keywords.
        parameters: of the hand-written function.
        line: source of one hand-written step, which calls {name}.
        result: source of what the hand-written function returns.
        arguments: what both are called with.
    """

    stage: str
    inputs: tuple[tuple[Any, ...], dict[str, Any]]
    contract: tuple[Any, ...]
    fields: dict[str, Any]
    parameters: str
    line: str
    result: str
    arguments: tuple[Any, ...]


_PLAIN = "def {name}(x: int) -> int:\n    return x + {i}\n"

KEYWORD = Style(_PLAIN, ((), {"x": int}), (), {"x": int}, "x", "x = {name}(x)", "Context(x=x)", (1,))
POSITIONAL = Style(_PLAIN, ((int,), {}), (int,), {}, "value", "value = {name}(value)", "value", (1,))
RECORD = Style(
    "def {name}(a: int, b: int) -> Pair:\n    return Pair(b, a + {i})\n",
    ((Pair,), {}),
    (Pair,),
    {},
    "pair",
    "pair = {name}(pair.a, pair.b)",
    "pair",
    (Pair(1, 2),),
)
ASYNC = KEYWORD._replace(stage="async " + _PLAIN, line="x = await {name}(x)")


def functions(style: Style, count: int, *, text: bool = False) -> list[Stage]:
    """Distinct functions: the stages of a chain.

    Args:
        text: their annotations are strings, as behind `from __future__ import annotations`.
    """
    source = "".join(style.stage.format(name=f"s{i}", i=i) for i in range(count))
    namespace: dict[str, Any] = {"Pair": Pair}
    flags = __future__.annotations.compiler_flag if text else 0
    exec(compile(source, "<benchmark>", "exec", flags, dont_inherit=True), namespace)
    return [namespace[f"s{i}"] for i in range(count)]


def by_hand(style: Style, stages: Stages, line: str = "", names: Mapping[str, Any] | None = None) -> Stage:
    """The function somebody would write without this package.

    Args:
        line: replaces the style's own step.
        names: what else it uses.
    """

    steps = [(line or style.line).format(name=f"s{i}").replace("\n", "\n    ") for i in range(len(stages))]
    head = "async def" if "await" in style.line else "def"
    body = "\n    ".join([f"{head} run({style.parameters}):", *steps, f"return {style.result}"])
    namespace: dict[str, Any] = {"Context": Context, **(names or {})}
    namespace.update((f"s{i}", stage) for i, stage in enumerate(stages))
    exec(body, namespace)
    run: Stage = namespace["run"]
    return run


def build(style: Style, stages: Stages, **hooks: Any) -> Pipeline:
    """The same chain as a pipeline; every stage is given the hooks."""
    args, fields = style.inputs
    pipeline = Pipeline(*args, **fields)
    through = {**style.fields, **hooks}
    for i, stage in enumerate(stages):
        pipeline = pipeline.stage(f"s{i}", stage).through(*style.contract, **through)
    return pipeline


def build_growing(stages: Stages) -> Pipeline:
    """Every stage adds a field of its own: the context grows to as many fields as there are stages."""
    pipeline = Pipeline(x=int)
    for i, stage in enumerate(stages):
        pipeline = pipeline.stage(f"s{i}", stage).through(**{f"y{i}": int})
    return pipeline


@contextmanager
def module_of(source: str) -> Iterator[ModuleType]:
    """A module made of text, for the library that takes its stages from modules."""
    module = ModuleType("benchmarks_generated")
    sys.modules[module.__name__] = module
    try:
        exec(source, module.__dict__)
        yield module
    finally:
        del sys.modules[module.__name__]


def drive(coroutine: Any) -> Any:
    """Run a coroutine that never waits, without an event loop."""
    try:
        coroutine.send(None)
    except StopIteration as stop:
        return stop.value
    raise AssertionError("a stage of the benchmark waited for something")
