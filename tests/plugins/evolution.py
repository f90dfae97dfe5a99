"""A project of some modules, and edits to it that must be seen in modules that were not edited.

`records` is read by `steps`, which `flows` builds pipelines of, and `use` goes on with these. No expression of `alone`
has a type that names the class in `pictures`.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

PROJECT = {
    "items": """\
class Item: ...
""",
    "pictures": """\
from items import Item


class Picture(Item): ...
""",
    "records": '''\
"""What flows through the pipelines."""

from dataclasses import dataclass
from typing import NamedTuple, Protocol, TypedDict

import attrs
from pictures import Picture
from pydantic import BaseModel


@dataclass(frozen=True)
class Sized:
    size: int


@dataclass(frozen=True)
class Batch(Sized):
    item: Picture


class Score(NamedTuple):
    loss: float
    steps: int


class Part(TypedDict):
    weight: float


class Query(BaseModel):
    limit: int


@attrs.define
class Answer:
    text: str


class HasLoss(Protocol):
    @property
    def loss(self) -> float: ...


class Scale:
    def __init__(self, factor: float) -> None:
        self.factor = factor

    def __call__(self, loss: float) -> float:
        return loss * self.factor

    def shrink(self, loss: float) -> float:
        return loss / self.factor


class Sum:
    def __init__(self, loss: float, steps: int) -> None: ...


class Row:
    def __iter__(self) -> "Row":
        return self

    def __next__(self) -> int:
        raise StopIteration
''',
    "steps": '''\
"""The stages."""

from typing import Any, overload

from items import Item
from pictures import Picture
from records import Answer, Batch, HasLoss, Part, Query, Row, Score


def load(path: str) -> Batch:
    return Batch(len(path), Picture())


def train(size: int, item: Item) -> Score:
    return Score(float(size), size)


def report(loss: float, steps: int) -> str:
    return f"{loss} {steps}"


def is_good(has: HasLoss) -> bool:
    return has.loss < 1


def weigh(path: str) -> Part:
    return {"weight": float(len(path))}


def ask(path: str) -> Query:
    return Query(limit=len(path))


def answer(path: str) -> Answer:
    return Answer(path)


def rows(path: str) -> Row:
    return Row()


def say(message: str) -> None:
    print(message)


@overload
def count(steps: int) -> int: ...
@overload
def count(steps: str) -> str: ...
def count(steps: int | str) -> int | str:
    return steps


def guess(steps: int) -> Any:
    return steps
''',
    "alone": """\
from metta.sweep import Pipeline
from records import Score
from steps import load, train

alone = Pipeline(path=str).stage("load", load).stage("train", train).through(Score)
""",
    "flows": '''\
"""Pipelines that the next module goes on with."""

from metta.sweep import Experiment, Pipeline

from records import Score
from steps import answer, ask, load, rows, train, weigh

loaded = Pipeline(path=str).stage("load", load)
trained = loaded.stage("train", train)
opened = Pipeline().stage("load", load)
looped = Pipeline(count=int).loop_while(lambda ctx: ctx.count < 3)
weighed = Pipeline(path=str).stage("weigh", weigh)
asked = Pipeline(path=str).stage("ask", ask)
answered = Pipeline(path=str).stage("answer", answer)
listed = Pipeline(path=str).stage("rows", rows).through(rows=object)
branched = Pipeline(path=str).conditional(
    lambda ctx: ctx.path != "",
    Pipeline().stage("length", lambda path: len(path)).through(length=int),
    Pipeline().stage("nothing", lambda: 0).through(length=int),
)


class Study(Experiment[Score]):
    def pipeline(self) -> Pipeline:
        return Pipeline(path=str, seed=int).stage("load", load).stage("train", train)
''',
    "use": '''\
"""What the other modules decide about."""

from flows import Study, answered, asked, branched, listed, loaded, looped, opened, trained, weighed
from metta.sweep import Pipeline
from records import Row, Scale, Score, Sum
from steps import count, guess, is_good, report, rows, say, train

scale = Scale(2.0)

reported = (
    trained
    .stage("report", report)
    .through(text=str)
    .stage("say", say, message="done")
)
pictures = loaded.stage("train", train).through(Score)
nested = (
    Pipeline(path=str)
    .stage("inner", trained)
    .conditional(is_good, Pipeline().stage("report", report))
)
called = Pipeline(loss=float).stage("scale", scale).through(loss=float)
shrunk = Pipeline(loss=float).stage("shrink", scale.shrink).through(loss=float)
summed = trained.stage("sum", Sum)
more = opened.stage("train", train)
closed = looped.stage("next", lambda count: count + 1).through(count=int).end_loop()
weight = weighed.stage("weight", lambda weight: weight + 1.0)
limit = asked.stage("limit", lambda limit: limit + 1)
text = answered.stage("text", lambda text: text.upper())
halved = branched.stage("half", lambda length: length / 2)
counted = trained.stage("count", count)
guessed = trained.stage("guess", guess)
mapped = Pipeline(row=Row).map("each", lambda item: item + 1, over="row")
studied = Pipeline(path=str, seed=int).stage("study", Study()).stage("report", report)


def run() -> str:
    Study().run(path="x", seed=1)
    graph = trained.stage("again", lambda loss: loss).through(float, log=lambda data: print(data.real)).compile()
    return str(graph.run(path="x").real)
''',
}

FILES = [f"{name}.py" for name in PROJECT]


class Edit(NamedTuple):
    """A change of one module, most often a mistake.

    Attributes:
        seen: module and code of errors that it leads to, those in the edited module aside.
    """

    what: str
    module: str
    old: str
    new: str
    seen: frozenset[str]


def _edit(what: str, module: str, old: str, new: str, *seen: str) -> Edit:
    assert PROJECT[module].count(old) == 1, what
    return Edit(what, module, old, new, frozenset(seen))


EDITS = (
    _edit("a parameter is renamed", "steps", "def report(loss: float", "def report(lost: float", "use stage-input"),
    _edit(
        "a parameter has another type",
        "steps",
        "def train(size: int",
        "def train(size: str",
        "alone stage-input",
        "flows stage-input",
        "use stage-input",
    ),
    _edit(
        "a setting's parameter is renamed",
        "steps",
        "def say(message: str",
        "def say(text: str, mesage: str",
        "use unknown-setting",
    ),
    _edit(
        "a stage returns another type",
        "steps",
        "def weigh(path: str) -> Part:",
        "def weigh(path: str) -> str:",
        "use operator",
    ),
    _edit("a stage has no annotations", "steps", "def rows(path: str) -> Row:", "def rows(path):  # type: ignore"),
    # A daemon that starts from a cache sees these two where it has checked "use" before, for an edit above.
    _edit(
        "the implementation of overloads",
        "steps",
        "def count(steps: int | str) -> int | str:",
        "def count(stops: int | str) -> int | str:",
        "use stage-input",
    ),
    _edit("a result that is Any has no annotation", "steps", ") -> Any:", "):  # type: ignore"),
    _edit(
        "a field of a base class is renamed",
        "records",
        "    size: int",
        "    count: int",
        "alone stage-input",
        "flows stage-input",
        "use stage-input",
    ),
    _edit(
        "a field of a base class has another type",
        "records",
        "    size: int",
        "    size: str",
        "alone stage-input",
        "flows stage-input",
        "steps arg-type",
        "use stage-input",
    ),
    _edit(
        "a field is removed",
        "records",
        "    item: Picture\n",
        "    ...\n",
        "alone stage-input",
        "flows stage-input",
        "steps call-arg",
        "use stage-input",
    ),
    _edit(
        "the class of a field has no base class",
        "pictures",
        "class Picture(Item): ...",
        "class Picture: ...",
        "alone stage-input",
        "flows stage-input",
        "use stage-input",
    ),
    _edit(
        "a field of a named tuple",
        "records",
        "    loss: float\n    steps: int",
        "    lost: float\n    steps: int",
        "use hook-signature",
        "use stage-input",
        "use stage-output",
    ),
    _edit(
        "a key of a TypedDict",
        "records",
        "    weight: float",
        "    weigth: float",
        "steps typeddict-item",
        "steps typeddict-unknown-key",
        "use operator",
    ),
    _edit(
        "a key of a TypedDict has another type",
        "records",
        "    weight: float",
        "    weight: str",
        "steps typeddict-item",
        "use operator",
    ),
    _edit(
        "a field of a pydantic model", "records", "    limit: int", "    limits: int", "steps call-arg", "use operator"
    ),
    _edit("a field of an attrs class", "records", "    text: str", "    texts: str", "use attr-defined"),
    _edit(
        "an attribute of a Protocol",
        "records",
        "    def loss(self) -> float: ...",
        "    def lost(self) -> float: ...",
        "steps attr-defined",
        "steps no-any-return",
        "use hook-signature",
    ),
    _edit(
        "the type of an attribute of a Protocol",
        "records",
        "    def loss(self) -> float: ...",
        "    def loss(self) -> str: ...",
        "steps no-any-return",
        "steps operator",
        "use hook-signature",
    ),
    _edit(
        "a callable object",
        "records",
        "def __call__(self, loss: float)",
        "def __call__(self, lost: float)",
        "use missing-field",
    ),
    _edit(
        "a bound method",
        "records",
        "def shrink(self, loss: float)",
        "def shrink(self, lost: float)",
        "use missing-field",
    ),
    _edit(
        "a class as a stage",
        "records",
        "def __init__(self, loss: float, steps",
        "def __init__(self, lost: float, steps",
        "use stage-input",
    ),
    _edit(
        "what iterating gives", "records", "def __next__(self) -> int:", "def __next__(self) -> str:", "use operator"
    ),
    _edit(
        "a stage is renamed",
        "flows",
        '.stage("load", load)\ntrained',
        '.stage("train", load)\ntrained',
        "use duplicate-stage",
    ),
    _edit(
        "another stage is renamed",
        "flows",
        'loaded.stage("train", train)',
        'loaded.stage("report", train)',
        "use duplicate-stage",
    ),
    _edit(
        "a stage is added",
        "flows",
        'loaded.stage("train", train)',
        'loaded.stage("train", train).stage("sum", lambda steps: steps)',
        "use duplicate-stage",
        "use hook-signature",
        "use missing-field",
    ),
    _edit(
        "a contract",
        "flows",
        'loaded.stage("train", train)',
        'loaded.stage("train", train).through(score=object)',
        "use hook-signature",
        "use missing-field",
        "use stage-input",
        "use stage-output",
    ),
    _edit("an input", "flows", "trained = loaded", "trained = Pipeline(path=int)", "use arg-type", "use stage-input"),
    _edit(
        "an input is added",
        "flows",
        "trained = loaded",
        "trained = Pipeline(path=str, other=int)",
        "use call-arg",
        "use missing-field",
    ),
    _edit(
        "an input of an experiment",
        "flows",
        "Pipeline(path=str, seed=int)",
        "Pipeline(path=str, seed=str, other=int)",
        "use arg-type",
        "use call-arg",
        "use missing-field",
        "use stage-input",
    ),
    _edit(
        "an experiment takes a value",
        "flows",
        'return Pipeline(path=str, seed=int).stage("load", load).stage("train", train)',
        "return Pipeline(dict[str, int])",
        "use call-arg",
    ),
    _edit(
        "a loop is closed",
        "flows",
        "lambda ctx: ctx.count < 3)",
        "lambda ctx: ctx.count < 3).end_loop()",
        "use end-loop-without-loop",
    ),
    _edit(
        "a loop carries another field", "flows", "Pipeline(count=int).loop", "Pipeline(number=int).loop", "use operator"
    ),
    _edit(
        "an arm sets another field",
        "flows",
        "lambda: 0).through(length=int)",
        "lambda: 0).through(size=int)",
        "use maybe-missing-field",
    ),
    _edit("a field in a lambda", "use", "print(data.real)", "print(data.reel)", "use attr-defined"),
    _edit("what a lambda takes", "use", "lambda count: count + 1", "lambda number: number + 1", "use operator"),
)


class Project:
    """The files in a folder. Each edit makes a file five seconds older than its last state: mypy trusts the clock."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._time = 2_000_000_000
        for name, text in PROJECT.items():
            self.write(name, text)

    def write(self, module: str, text: str) -> None:
        path = self._folder / f"{module}.py"
        path.write_text(text, encoding="utf-8")
        self._time += 5
        os.utime(path, (self._time, self._time))

    def make(self, edit: Edit) -> None:
        self.write(edit.module, PROJECT[edit.module].replace(edit.old, edit.new))

    def mend(self, edit: Edit) -> None:
        self.write(edit.module, PROJECT[edit.module])
