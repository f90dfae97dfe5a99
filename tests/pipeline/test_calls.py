"""Section 3 of the language: how a stage is called."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypedDict, TypeVar

import pytest

from metta.sweep import Context, Pipeline, field
from tests.pipeline.records import RECORDS, AsDataclass, AsNamedTuple, HasX, Loose
from tests.pipeline.running import fields, run, value

T = TypeVar("T")


def add(x: int, y: int) -> int:
    return x + y


async def aadd(x: int, y: int) -> int:
    await asyncio.sleep(0)
    return x + y


class Adder:
    """Its call, its methods and itself are stages."""

    def __init__(self, x: int = 0, y: int = 0) -> None:
        self.total = x + y

    def __call__(self, x: int, y: int) -> int:
        return self.total + x + y

    def method(self, x: int, y: int) -> int:
        return self.total + x + y

    async def amethod(self, x: int, y: int) -> int:
        return self.total + x + y

    @classmethod
    def of_class(cls, x: int, y: int) -> int:
        return x + y

    @staticmethod
    def of_static(x: int, y: int) -> int:
        return x + y

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Adder) and other.total == self.total

    __hash__ = None  # type: ignore[assignment]


class AsyncAdder:
    async def __call__(self, x: int, y: int) -> int:
        return x + y


def logged(fn: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(fn)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return fn(*args, **kwargs)

    return wrapper


def keyword_only(*, x: int, y: int) -> int:
    return x + y


def three(x: int, y: int, z: int) -> int:
    return x + y + z


@pytest.mark.parametrize(
    "fn",
    [
        add,
        aadd,
        keyword_only,
        Adder(),
        Adder().method,
        Adder().amethod,
        Adder.of_class,
        Adder().of_class,
        Adder.of_static,
        AsyncAdder(),
        logged(add),
        logged(aadd),
        logged(logged(Adder().method)),
        functools.partial(three, z=0),
        functools.partial(three, 0),
        functools.partial(functools.partial(three, z=0)),
    ],
)
def test_every_kind_of_callable_is_a_stage(fn: Any) -> None:
    names = ("y", "z") if isinstance(fn, functools.partial) and fn.args else ("x", "y")
    pipeline = Pipeline(**dict.fromkeys(names, int)).stage("add", fn).through(total=int)
    assert run(pipeline, **dict.fromkeys(names, 2)).total == 4


def test_a_class_is_a_stage_that_gives_its_instance() -> None:
    pipeline = Pipeline(x=int, y=int).stage("adder", Adder)
    assert run(pipeline, x=1, y=2) == Adder(1, 2)
    assert value(pipeline) == "Adder"


def test_a_lambda_is_a_stage() -> None:
    assert run(Pipeline(x=int).stage("lambda", lambda x: x + 1).through(y=int), x=1) == Context(x=1, y=2)


def test_a_module_is_called_with_what_its_forward_takes() -> None:
    torch = pytest.importorskip("torch")

    class Net(torch.nn.Module):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.linear = torch.nn.Linear(2, 1, bias=False)
            torch.nn.init.ones_(self.linear.weight)
            self.calls = 0
            self.register_forward_hook(self._count)

        def _count(self, *_: object) -> None:
            self.calls += 1

        def forward(self, batch: torch.Tensor, scale: float = 1.0) -> torch.Tensor:  # type: ignore[name-defined]
            return self.linear(batch) * scale

    net = Net()
    pipeline = Pipeline(batch=torch.Tensor).stage("net", net, scale=2.0).through(out=torch.Tensor)
    result = pipeline.compile().run(batch=torch.tensor([[1.0, 2.0]]))
    assert result.out.tolist() == [[6.0]]
    assert net.calls == 1, "called, so that its hooks run; not its forward alone"


# -- rule 1: settings ----------------------------------------------------------------------------------------------


def test_settings_of_stage_of_through_and_of_a_partial() -> None:
    pipeline = (
        Pipeline(x=int)
        .stage("stage", three, y=10, z=100)
        .through(a=int)
        .stage("through", three, y=10)
        .through(b=int, z=100)
        .stage("partial", functools.partial(three, z=100), y=10)
        .through(c=int)
    )
    assert run(pipeline, x=1) == Context(x=1, a=111, b=111, c=111)


def test_a_setting_goes_before_a_field_of_its_name() -> None:
    assert run(Pipeline(x=int, y=int).stage("add", add, y=10), x=1, y=2) == 11


def test_settings_of_every_value() -> None:
    def keep(x: int, **options: Any) -> dict[str, Any]:
        return options

    marker = object()
    options = {"a": None, "b": True, "c": 1.5, "d": "text", "e": [1], "f": add, "g": marker, "h": -3}
    assert run(Pipeline(x=int).stage("keep", keep, **options), x=1) == options


def test_a_value_that_is_no_type_is_a_setting_of_the_stage_before() -> None:
    def label(x: int, prefix: str = "", scale: float | None = 1.0) -> str:
        return f"{prefix}{x}{scale}"

    pipeline = Pipeline(x=int).stage("label", label).through(text=str, prefix="n", scale=None)
    assert fields(pipeline) == {"x": "int", "text": "str"}
    assert run(pipeline, x=1).text == "n1None"
    positional = Pipeline(x=int).stage("label", label).through(str, prefix="n", scale=2.0)
    assert run(positional, x=1) == "n12.0"


def test_strings_and_none_are_types_where_the_stage_has_no_such_parameter() -> None:
    pipeline = Pipeline(x=int).stage("lambda", lambda x: (x, None)).through(y="int", nothing=None)
    assert fields(pipeline) == {"x": "int", "y": "int", "nothing": "None"}
    assert run(pipeline, x=1) == Context(x=1, y=1, nothing=None)


def test_a_type_as_a_setting_goes_on_stage() -> None:
    def make(x: int, kind: type) -> object:
        return kind(x)

    assert run(Pipeline(x=int).stage("make", make, kind=float), x=1) == 1.0


def test_field_renames() -> None:
    renamed = Pipeline(a=int, b=int).stage("add", add, x=field("a")).through(total=int, y=field("b"))
    assert run(renamed, a=1, b=2) == Context(a=1, b=2, total=3)


def test_a_renamed_parameter_with_a_default_takes_a_maybe_set_field() -> None:
    def name_of(label: str = "none") -> str:
        return label

    pipeline = Pipeline(Loose).stage("name", name_of, label=field("name")).through(found=str)
    assert run(pipeline, {"x": 1}).found == "none"
    assert run(pipeline, {"x": 1, "name": "a"}).found == "a"


# -- rules 2 and 3: fields and the whole ------------------------------------------------------------------------------


def test_a_parameter_takes_the_field_of_its_name() -> None:
    assert run(Pipeline(y=int, x=int).stage("sub", lambda x, y: x - y).through(d=int), x=5, y=3) == Context(
        y=3, x=5, d=2
    )


def test_a_field_goes_before_the_value() -> None:
    def of_x(x: int) -> int:
        return x

    assert run(Pipeline(AsNamedTuple).stage("x", of_x), AsNamedTuple(3, "a")) == 3


def test_the_one_parameter_left_takes_the_value() -> None:
    def use(record: AsNamedTuple, scale: int) -> int:
        return record.x * scale

    assert run(Pipeline(AsNamedTuple).stage("use", use, scale=3), AsNamedTuple(2, "a")) == 6
    joined = Pipeline(AsNamedTuple).stage("scale", lambda x: 10).through(scale=int).stage("use", use)
    assert run(joined, AsNamedTuple(2, "a")) == 20


def test_the_value_is_given_also_where_it_is_no_record() -> None:
    def total(numbers: Sequence[float]) -> float:
        return sum(numbers)

    assert run(Pipeline(list[int]).stage("total", total), [1, 2]) == 3


def test_a_field_of_the_name_that_does_not_fit_leaves_the_parameter_to_the_value() -> None:
    class Named(NamedTuple):
        named: str

    def use(named: Named) -> str:
        return named.named

    assert run(Pipeline(Named).stage("use", use), Named("a")) == "a"


@pytest.mark.parametrize("kind", RECORDS, ids=lambda kind: kind.__name__)
def test_a_record_is_built_from_the_fields(kind: Any) -> None:
    def use(record: Any) -> Any:
        return record

    use.__annotations__.update(record=kind, **{"return": kind})
    pipeline = Pipeline(x=int, name=str, more=float).stage("use", use)
    assert run(pipeline, x=1, name="a", more=0.5) == kind(x=1, name="a")


def test_a_record_is_built_without_what_its_defaults_give() -> None:
    @dataclass
    class Config:
        lr: float
        steps: int = 7

    def use(config: Config) -> tuple[float, int]:
        return config.lr, config.steps

    assert run(Pipeline(lr=float).stage("use", use), lr=0.5) == (0.5, 7)
    assert run(Pipeline(lr=float, steps=int).stage("use", use), lr=0.5, steps=1) == (0.5, 1)


def test_a_typed_dict_is_built_without_a_key_that_may_be_missing() -> None:
    def use(record: Loose) -> Loose:
        return record

    assert run(Pipeline(x=int, other=str).stage("use", use), x=1, other="b") == {"x": 1}
    assert run(Pipeline(x=int, name=str).stage("use", use), x=1, name="b") == {"x": 1, "name": "b"}


def test_a_protocol_is_a_read_only_view_of_its_fields() -> None:
    seen: list[Any] = []

    def use(has: HasX) -> int:
        seen.append(has)
        return has.x

    assert run(Pipeline(x=int, y=int).stage("use", use), x=1, y=2) == 1
    assert seen[0] == Context(x=1)
    with pytest.raises(AttributeError, match="read-only"):
        seen[0].x = 3


def test_a_value_that_implements_the_protocol_is_given_itself() -> None:
    seen: list[Any] = []

    def use(has: HasX) -> int:
        seen.append(has)
        return has.x

    record = AsDataclass(1, "a")
    assert run(Pipeline(AsDataclass).stage("use", use), record) == 1
    assert all(it is record for it in seen)


def test_a_context_parameter_takes_the_view_whatever_the_whole_is() -> None:
    def use(ctx: Context, factor: int = 2) -> int:
        return int(ctx.x) * factor

    assert run(Pipeline(x=int).stage("use", use), x=1) == 2
    assert run(Pipeline(AsNamedTuple).stage("use", use), AsNamedTuple(1, "a")) == 2


def test_the_context_view_reads_what_may_be_missing() -> None:
    def use(ctx: Context) -> str:
        return f"{ctx.get('name', 'none')} {'name' in ctx}"

    pipeline = Pipeline(Loose).stage("use", use)
    assert run(pipeline, {"x": 1}) == "none False"
    assert run(pipeline, {"x": 1, "name": "a"}) == "a True"


def test_a_context_beside_other_parameters() -> None:
    def use(ctx: Context, x: int, scale: int) -> int:
        return int(ctx.x) + x + scale

    assert run(Pipeline(x=int).stage("use", use, scale=5), x=1) == 7


# -- rule 4 ---------------------------------------------------------------------------------------------------------


def test_defaults_stay_where_no_field_has_the_name() -> None:
    def use(x: int, y: int = 10, *, z: int = 100) -> int:
        return x + y + z

    assert run(Pipeline(x=int).stage("use", use), x=1) == 111
    assert run(Pipeline(x=int, z=int).stage("use", use), x=1, z=2) == 13
    assert run(Pipeline(x=int, y=int).stage("use", use), x=1, y=2) == 103


def test_a_positional_only_parameter_takes_the_whole() -> None:
    def use(whole: Any, /, x: int) -> str:
        return f"{type(whole).__name__} {x}"

    def of_list(numbers: list[int], /) -> int:
        return len(numbers)

    assert run(Pipeline(x=int).stage("use", use), x=1) == "Context 1"
    assert run(Pipeline(list[int]).stage("length", of_list), [1, 2]) == 2


def test_builtins_are_called_with_the_whole() -> None:
    assert run(Pipeline(list[int]).stage("sum", sum).through(int), [1, 2]) == 3
    assert run(Pipeline(list[int]).stage("sorted", sorted).through(list[int]), [2, 1]) == [1, 2]


def test_a_stage_of_stars_is_called_with_the_whole() -> None:
    def stars(*args: Any, **kwargs: Any) -> str:
        return f"{args!r} {kwargs!r}"

    assert run(Pipeline(x=int).stage("stars", stars), x=1) == "(Context(x=1),) {}"
    assert run(Pipeline(list[int]).stage("stars", stars), [1]) == "([1],) {}"


def test_keywords_alone_take_settings_only() -> None:
    def keywords(**options: object) -> str:
        return repr(options)

    assert run(Pipeline(x=int).stage("keywords", keywords), x=1) == "{}"
    assert run(Pipeline(x=int, y=int).stage("keywords", keywords, a=1, b=field("y")), x=1, y=2) == "{'a': 1, 'b': 2}"
    untyped = Pipeline().stage("untyped", lambda: Context(y=2)).stage("keywords", keywords, a=1, b=field("y"))
    assert run(untyped) == "{'a': 1, 'b': 2}"


def test_stars_and_settings() -> None:
    def stars(*args: Any, **kwargs: Any) -> str:
        return f"{len(args)} {kwargs!r}"

    assert run(Pipeline(x=int).stage("stars", stars, a=1), x=1) == "1 {'a': 1}"
    assert run(Pipeline().stage("untyped", lambda: 3).stage("stars", stars, a=1)) == "1 {'a': 1}"


def test_stars_behind_named_parameters_take_nothing() -> None:
    def use(x: int, *rest: int, **more: int) -> int:
        return x + len(rest) + len(more)

    assert run(Pipeline(x=int, y=int).stage("use", use), x=1, y=2) == 1


def test_a_stage_without_parameters_takes_nothing() -> None:
    assert run(Pipeline(x=int).stage("three", lambda: 3).through(y=int), x=1) == Context(x=1, y=3)


# -- generics ---------------------------------------------------------------------------------------------------------


def first(items: list[T]) -> T:
    return items[0]


def pair(left: T, right: T) -> tuple[T, T]:
    return left, right


def wrap(x: T) -> dict[str, T]:
    return {"wrapped": x}


def test_a_generic_stage_returns_what_its_arguments_say() -> None:
    pipeline = Pipeline(items=list[str]).stage("first", first).through(one=str)
    assert run(pipeline, items=["a"]) == Context(items=["a"], one="a")
    assert value(Pipeline(list[float]).stage("first", first)) == "float"
    assert value(Pipeline(x=int).stage("wrap", wrap)) == "dict[str, int]"
    with pytest.raises(Exception, match='stage "first" returns str; its contract is one: int'):
        Pipeline(items=list[str]).stage("first", first).through(one=int)  # type: ignore[stage-output]


def test_a_generic_stage_in_a_map_returns_what_its_elements_say() -> None:
    pipeline = Pipeline(xs=list[str]).map("wrap", wrap, over="xs")
    assert value(pipeline) == "list[dict[str, str]]"
    assert run(pipeline, xs=["a"]) == [{"wrapped": "a"}]


def test_a_generic_stage_of_settings_is_not_verified() -> None:
    pipeline = Pipeline(right=int).stage("pair", pair, left=1).through(a=int, b=int)
    assert run(pipeline, right=2) == Context(right=2, a=1, b=2)


class Options(TypedDict, total=False):
    verbose: bool


def test_field_names_that_are_keywords_or_ours() -> None:
    def use(**options: Any) -> int:
        return len(options)

    inputs = {"class": int, "run": int, "None": int, "lambda": int}
    pipeline = Pipeline(**inputs).stage("count", lambda ctx: len(ctx._asdict())).through(n=int)
    given = dict.fromkeys(inputs, 1)
    assert run(pipeline, **given) == Context(given, n=4)


def test_stage_names_that_are_like_our_own() -> None:
    pipeline = Pipeline(x=int)
    names = ["value", "result", "UNSET", "n1_x", "passes1", "_value", "", "42", "a b", "x", "run", "Context", "if", "ä"]
    for name in filter(None, names):
        inner = Pipeline(x=int).stage(name, lambda x: x + 1).through(x=int)
        pipeline = pipeline.stage(name, inner)
    assert run(pipeline, x=0) == Context(x=len(names) - 1)
