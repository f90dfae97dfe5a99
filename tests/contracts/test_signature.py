"""Signatures of every kind of callable."""

import asyncio
import functools
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Generator, Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, ForwardRef, Generic, NamedTuple, NotRequired, TypedDict, TypeVar, get_args

import attrs
import pydantic
import pytest
import torch

from metta.sweep.contracts.signature import Kind, Signature, code_of, signature_of, source_name
from tests.contracts import annotated_strings
from tests.contracts.annotated_strings import Box

T = TypeVar("T")


def types(fn: object) -> dict[str, Any]:
    """Parameter types by name."""
    return {p.name: p.type for p in read(fn).parameters}


def read(fn: object) -> Signature[Any]:
    found = signature_of(fn)
    assert found is not None
    return found


def plain(a: int, /, b: str, *rest: bytes, c: float = 0.5, **more: bool) -> list[int]:
    return []


async def in_async(a: int) -> str:
    return ""


class Trainer:
    def train(self, trials: list[int], *, rate: float = 0.1) -> dict[str, float]:
        return {}

    @classmethod
    def load(cls, path: str) -> "Trainer":
        return cls()

    @staticmethod
    def score(result: float) -> bool:
        return True

    async def fetch(self, key: str) -> bytes:
        return b""

    def __call__(self, batch: list[str]) -> int:
        return 0


class AsyncCallable:
    async def __call__(self, x: int) -> str:
        return ""


def test_plain_function_in_full() -> None:
    found = read(plain)
    assert [(p.name, p.kind, p.type, p.required) for p in found.parameters] == [
        ("a", Kind.POSITIONAL_ONLY, int, True),
        ("b", Kind.POSITIONAL_OR_KEYWORD, str, True),
        ("rest", Kind.VAR_POSITIONAL, bytes, False),
        ("c", Kind.KEYWORD_ONLY, float, False),
        ("more", Kind.VAR_KEYWORD, bool, False),
    ]
    assert (found.name, found.returns, found.is_async, found.bound) == ("plain", list[int], False, {})


def test_positional_defaults_belong_to_the_last_parameters() -> None:
    def f(a: int, b: int = 1, c: int = 2) -> None: ...

    assert [p.required for p in read(f).parameters] == [True, False, False]


def test_without_annotations() -> None:
    found = read(lambda a, b=1: a)
    assert [(p.type, p.required) for p in found.parameters] == [(None, True), (None, False)]
    assert found.returns is None


def test_none_is_a_type() -> None:
    def f(x: None) -> None: ...

    assert read(f).returns is type(None)
    assert types(f) == {"x": type(None)}


def test_methods_lose_self() -> None:
    trainer = Trainer()
    assert types(trainer.train) == {"trials": list[int], "rate": float}
    assert types(Trainer.load) == {"path": str}
    assert read(Trainer.load).returns is Trainer
    assert types(trainer.score) == {"result": float}
    assert types(Trainer.train)["self"] is Trainer
    assert types(Trainer.__dict__["score"]) == {"result": float}


def test_callable_object_and_async_one() -> None:
    found = read(Trainer())
    assert (types(Trainer()), found.returns, found.name) == ({"batch": list[str]}, int, "Trainer")
    assert read(AsyncCallable()).is_async
    assert read(AsyncCallable()).returns is str


@pytest.mark.parametrize(
    "fn", [in_async, Trainer().fetch, functools.partial(in_async, 1), functools.partial(Trainer().fetch)]
)
def test_async_is_seen_through(fn: object) -> None:
    found = read(fn)
    assert found.is_async
    assert found.returns in (str, bytes)


def test_declared_awaitables_are_awaited() -> None:
    def one() -> Awaitable[int]:
        raise AssertionError

    def two() -> Coroutine[Any, Any, list[str]]:
        raise AssertionError

    def three() -> "asyncio.Future[float]":
        raise AssertionError

    def four() -> AsyncIterator[int]:
        raise AssertionError

    assert [(read(f).returns, read(f).is_async) for f in (one, two, three)] == [
        (int, True),
        (list[str], True),
        (float, True),
    ]
    assert (read(four).returns, read(four).is_async) == (AsyncIterator[int], False)


def test_class_with_await() -> None:
    class Run(Generic[T]):
        def __await__(self) -> Generator[Any, None, T]:
            yield
            raise AssertionError

    class IntRun(Run[int]): ...

    def direct() -> Run[str]:
        return Run()

    def inherited() -> IntRun:
        return IntRun()

    assert (read(direct).returns, read(direct).is_async) == (str, True)
    assert (read(inherited).returns, read(inherited).is_async) == (int, True)


def test_async_generator_is_not_awaited() -> None:
    async def produce() -> AsyncIterator[int]:
        yield 1

    assert not read(produce).is_async


def test_partial_positional_and_keyword() -> None:
    def f(a: int, b: str, c: float, *, d: bytes) -> None: ...

    found = read(functools.partial(f, 1, d=b""))
    assert [p.name for p in found.parameters] == ["b", "c"]
    assert found.bound == {"d": b""}
    assert found.name.endswith("f")


def test_what_stands_behind_a_bound_keyword_needs_its_name() -> None:
    def f(a: int, b: str, c: float) -> None: ...

    found = read(functools.partial(f, b=""))
    assert [(p.name, p.kind) for p in found.parameters] == [
        ("a", Kind.POSITIONAL_OR_KEYWORD),
        ("c", Kind.KEYWORD_ONLY),
    ]
    nested = functools.partial(functools.partial(f, c=0.5), a=1)
    assert read(nested).bound == {"c": 0.5, "a": 1}


def test_partial_fills_var_positional() -> None:
    assert [p.name for p in read(functools.partial(plain, 1, "b", b"c", b"d")).parameters] == ["rest", "c", "more"]


def logged(fn: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(fn)
    def wrapper(*args: object, **kwargs: object) -> object:
        return fn(*args, **kwargs)

    return wrapper


def test_decorators_are_seen_through() -> None:
    decorated = logged(logged(plain))
    assert read(decorated).parameters == read(plain).parameters
    assert code_of(decorated) is plain.__code__
    assert read(logged(in_async)).is_async

    class Decorated:
        @logged
        def train(self, x: int) -> str:
            return ""

    assert types(Decorated().train) == {"x": int}


def test_async_wrapper_around_a_plain_function() -> None:
    def in_thread(fn: Callable[..., T]) -> Callable[..., Awaitable[T]]:
        @functools.wraps(fn)
        async def wrapper(*args: Any) -> T:
            return fn(*args)

        return wrapper

    def f(x: int) -> str:
        return ""

    assert (read(in_thread(f)).is_async, read(in_thread(f)).returns) == (True, str)


def test_decorator_class_with_update_wrapper() -> None:
    class Traced:
        def __init__(self, fn: Callable[..., Any]) -> None:
            functools.update_wrapper(self, fn)
            self.fn = fn

        def __call__(self, *args: object) -> object:
            return self.fn(*args)

    assert types(Traced(Trainer().train)) == {"trials": list[int], "rate": float}


def test_lru_cache_and_explicit_signature() -> None:
    assert types(functools.lru_cache(maxsize=2)(in_async)) == {"a": int}

    def shown(*args: object) -> None: ...

    import inspect

    shown.__signature__ = inspect.signature(plain)  # type: ignore[attr-defined]
    assert read(shown).parameters == read(plain).parameters


def test_generic_function_keeps_its_type_variables() -> None:
    def first(items: Sequence[T]) -> T:
        return items[0]

    (items,) = read(first).parameters
    assert get_args(items.type) == (T,)
    assert read(first).returns == T


def test_method_inherited_from_a_generic_base() -> None:
    class Base(Generic[T]):
        def run(self, item: T) -> list[T]:
            return [item]

    class Ints(Base[int]): ...

    assert types(Ints().run) == {"item": int}
    assert read(Ints().run).returns == list[int]


def test_classes_return_themselves() -> None:
    class Written:
        def __init__(self, x: int, y: str = "") -> None: ...

    class Empty: ...

    @dataclass
    class Data:
        a: int
        b: list[str] = field(default_factory=list)

    class Pair(NamedTuple):
        left: int
        right: str = ""

    @attrs.define
    class Attrs:
        _hidden: int
        shown: str = ""

    class Model(pydantic.BaseModel):
        x: int
        y: list[int] = []

    for cls, expected in (
        (Written, {"x": int, "y": str}),
        (Empty, {}),
        (Data, {"a": int, "b": list[str]}),
        (Pair, {"left": int, "right": str}),
        (Attrs, {"hidden": int, "shown": str}),
        (Model, {"x": int, "y": list[int]}),
    ):
        assert types(cls) == expected
        assert read(cls).returns is cls
        assert read(cls).name == cls.__name__
        assert [p.required for p in read(cls).parameters] == [True, False][: len(expected)]


def test_typed_dict_and_root_model() -> None:
    class Options(TypedDict):
        rate: float
        note: NotRequired[str]

    class Root(pydantic.RootModel[list[int]]):
        pass

    assert [(p.name, p.kind, p.type, p.required) for p in read(Options).parameters] == [
        ("rate", Kind.KEYWORD_ONLY, float, True),
        ("note", Kind.KEYWORD_ONLY, str, False),
    ]
    assert read(Options).returns is Options
    assert types(Root) == {"root": list[int]}


def test_generic_class_with_arguments() -> None:
    assert types(Box[int]) == {"content": int, "label": str}
    assert read(Box[int]).returns == Box[int]


def test_string_annotations() -> None:
    assert types(annotated_strings.train) == {"trial": annotated_strings.Trial, "rates": list[float] | None}
    assert read(annotated_strings.train).returns == dict[str, annotated_strings.Trial]


def test_one_unresolvable_name_does_not_spoil_the_others() -> None:
    found = types(annotated_strings.unresolvable)
    assert found == {"price": ForwardRef("Decimal"), "count": int}
    assert read(annotated_strings.unresolvable).returns == ForwardRef("list[Decimal]")


def test_names_of_the_class_body_and_of_enclosing_functions() -> None:
    runner = annotated_strings.Runner()
    assert types(runner.run) == {"setup": annotated_strings.Runner.Setup}
    assert types(annotated_strings.Runner.run)["setup"] is annotated_strings.Runner.Setup

    class Local: ...

    def f(x: "Local", y: "list[Local]", z: list["Local"]) -> "Local | None": ...

    assert types(f) == {"x": Local, "y": list[Local], "z": list[Local]}
    assert read(f).returns == Local | None


def test_an_annotation_that_is_no_expression() -> None:
    def f(x: "some prose"): ...  # type: ignore  # noqa: F722

    assert types(f) == {"x": Any}


def test_torch_module_binds_by_forward() -> None:
    class Net(torch.nn.Module):
        def forward(self, images: torch.Tensor, scale: float = 1.0) -> torch.Tensor:
            return images * scale

    net = Net()
    assert types(net) == {"images": torch.Tensor, "scale": float}
    assert (read(net).name, read(net).returns) == ("Net", torch.Tensor)
    assert code_of(net) is Net.forward.__code__
    assert types(torch.compile(net, backend="eager")) == types(net)


def test_torch_is_looked_up_and_not_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", SimpleNamespace())  # half-imported
    assert types(Trainer()) == {"batch": list[str]}


def test_builtins() -> None:
    assert [p.name for p in read(len).parameters] == ["obj"]
    assert signature_of(int) is None or read(int).returns is int
    assert signature_of(dict) is None
    assert signature_of(3) is None
    assert signature_of("train") is None


def test_code_of() -> None:
    trainer = Trainer()
    assert code_of(plain) is plain.__code__
    assert code_of(trainer.train) is Trainer.train.__code__
    assert code_of(functools.partial(trainer.train, [])) is Trainer.train.__code__
    assert code_of(trainer) is Trainer.__call__.__code__
    assert code_of(Box) is Box.__init__.__code__
    assert code_of(len) is None


def test_source_name() -> None:
    def local() -> None: ...

    nameless = lambda x: x  # noqa: E731
    line = nameless.__code__.co_firstlineno
    assert source_name(plain) == "plain"
    assert source_name(Trainer().train) == "Trainer.train"
    assert source_name(Trainer()) == "Trainer"
    assert source_name(Trainer) == "Trainer"
    assert source_name(local) == "local"
    assert source_name(functools.partial(plain, 1)) == "plain"
    assert source_name(nameless) == f"lambda at test_signature.py:{line}"
    assert source_name(len) == "len"
