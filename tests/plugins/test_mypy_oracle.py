"""The two oracles about the same types, written once and read by run time and by mypy."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pytest
from mypy.types import AnyType, Instance, NoneType, Type, TypedDictType, get_proper_type
from mypy.version import __version__

from metta.sweep.contracts.flow import Field, PersistentMap, State
from metta.sweep.contracts.runtime_oracle import RuntimeOracle
from metta_mypy.oracle import Argument, MypyOracle, argument_of
from tests.contracts.assignable_cases import DISAGREED, GENERIC_PAIRS, PAIRS, UNKNOWN
from tests.contracts.mypy_verdicts import IMPORTS, evaluate
from tests.plugins.program import SHOW, Program, program

TEXTS = sorted({text for pair in (*PAIRS, *GENERIC_PAIRS) for text in pair})

# Parameters of functions that return list[T] -> the types of the arguments.
CALLS = {
    "T": ["int"],
    "T; T": ["int", "str"],
    "list[T]; T": ["list[int]", "str"],
    "Sequence[T]; T": ["tuple[int, str]", "bool"],
    "Mapping[str, T]": ["dict[str, int]"],
    "Callable[[int], T]": ["Callable[[int], str]"],
    "T | None": ["Optional[int]"],
    "T; int": ["Any", "int"],
}

# A view class for these tests, and what `accepts` is asked about.
REST = (
    SHOW
    + """
class View: ...
class Bare: ...
class Typed(typing.Generic[T, K]): ...
rates: list[float] = []
counts: list[int] = []
show([1])
show(counts)
show(3)
show("adam")
show({"a": 1})
show([1, "a"])
show(lambda x: x)
"""
)


@pytest.fixture(scope="module")
def checked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    functions = "".join(f"def f{index}(x: {text}) -> None: ...\n" for index, text in enumerate(TEXTS))
    # Older versions do not know closed TypedDicts.
    calls = ""
    for index, types in enumerate(CALLS):
        parameters = ", ".join(f"a{place}: {it}" for place, it in enumerate(types.split("; ")))
        calls += f"def call{index}({parameters}) -> list[T]: raise NotImplementedError\n"
    text = IMPORTS + functions + calls + REST
    with program(text, tmp_path_factory.mktemp("oracle"), allow=['"TypedDict"  [call-arg]']) as it:
        yield it


@pytest.fixture(scope="module")
def types(checked: Program) -> Mapping[str, Type]:
    return {text: checked.function(f"f{index}").arg_types[0] for index, text in enumerate(TEXTS)}


@pytest.fixture(scope="module")
def oracle(checked: Program) -> MypyOracle:
    return MypyOracle(checked.checker, "program.View")


RUNTIME = RuntimeOracle(type("View", (), {}))


# Pairs that mypy itself judged otherwise before a version.
OLDER = {
    (1, 16): [
        *(("KeysView[str]", "Reversible[str]"), ("collections.deque[int]", "Hashable")),
        *(("Movie", "ReadMaybe"), ("ClosedMovie", "ReadMaybe")),
    ],
    (2, 0): [
        *(("bytearray", "bytes"), ("memoryview", "bytes"), ("MaybeMovie", "ReadMovie")),
        *(("ClosedMovie", "ClosedMaybe"), ("Movie", "ClosedMovie"), ("ClosedMaybe", "ClosedMovie")),
    ],
}
VERSION = tuple(map(int, __version__.split(".")[:2]))


def test_is_assignable(oracle: MypyOracle, types: Mapping[str, Type]) -> None:
    left_out = {
        *UNKNOWN,
        *DISAGREED,
        *(pair for version, pairs in OLDER.items() if version > VERSION for pair in pairs),
    }
    pairs = [pair for pair in (*PAIRS, *GENERIC_PAIRS) if pair not in left_out]
    assert len(pairs) > 600
    found = {(a, b): oracle.is_assignable(types[a], types[b]) for a, b in pairs}
    wanted = {(a, b): RUNTIME.is_assignable(evaluate(a), evaluate(b)) for a, b in pairs}
    assert {pair: it for pair, it in found.items() if it is not wanted[pair]} == {}


# mypy forgets how these were written.
REWRITTEN = {
    "Callable[Concatenate[int, ...], str]": "Callable[..., str]",
    "Callable[Concatenate[str, ...], str]": "Callable[..., str]",
    "Defaulted": "Defaulted[int]",
    "LiteralString": "str",
    'Literal["a", None]': 'Literal["a"] | None',
    "Literal[True, False, None]": "Literal[True, False] | None",
    "NoReturn": "Never",
    "contextlib.AbstractContextManager[int]": "AbstractContextManager[int, bool | None]",
    "contextlib.AbstractContextManager[str]": "AbstractContextManager[str, bool | None]",
    "enum.EnumMeta": "EnumMeta",
    "memoryview": "memoryview[int]",
    "tuple[Unpack[tuple[int, ...]], str]": "tuple[*tuple[int, ...], str]",
    "tuple[int, Unpack[tuple[int, ...]]]": "tuple[int, *tuple[int, ...]]",
    "tuple[int, Unpack[tuple[object, ...]]]": "tuple[int, *tuple[object, ...]]",
    "tuple[int, Unpack[tuple[str, ...]]]": "tuple[int, *tuple[str, ...]]",
    "type[int | str]": "type[int] | type[str]",
    "types.FunctionType": "FunctionType",
    "types.MappingProxyType[str, int]": "MappingProxyType[str, int]",
}


def test_describe(oracle: MypyOracle, types: Mapping[str, Type]) -> None:
    found = {text: oracle.describe(it) for text, it in types.items()}
    assert found == {text: RUNTIME.describe(evaluate(text)) for text in TEXTS} | REWRITTEN


def words(oracle: Any, found: Any) -> Any:
    """An answer with its types in words."""
    if found is None or isinstance(found, bool):
        return found
    return [oracle.describe(it) for it in found] if isinstance(found, (list, tuple)) else oracle.describe(found)


# (question, type): the two differ here. EnumMeta iterates over whatever its instances are; TypedDicts and the bare
# `type` hide an Any that only one of the two looks for.
DIFFERENT = {("element_of", "enum.EnumMeta"), ("is_gradual", "AnyMovie"), ("is_gradual", "type")}


@pytest.mark.parametrize(
    "question",
    ["element_of", "mapping_value", "plain_tuple", "is_any", "is_gradual", "is_object", "is_none", "is_function"],
)
def test_questions_about_one_type(oracle: MypyOracle, types: Mapping[str, Type], question: str) -> None:
    asked = [text for text in TEXTS if (question, text) not in DIFFERENT]
    found = {text: words(oracle, getattr(oracle, question)(types[text])) for text in asked}
    wanted = {text: words(RUNTIME, getattr(RUNTIME, question)(evaluate(text))) for text in asked}
    assert found == wanted
    assert len(set(map(str, found.values()))) > 1


@pytest.mark.parametrize(
    "members",
    [
        ["int", "str"],
        ["int", "bool"],
        ["Dog", "Animal"],
        ["int | str", "str", "None"],
        ["int", "Any"],
        ["int", "int"],
        ["Literal[1]", "int"],
        [],
    ],
)
def test_join(oracle: MypyOracle, types: Mapping[str, Type], members: Sequence[str]) -> None:
    found = oracle.describe(oracle.join([types[it] for it in members]))
    assert found == RUNTIME.describe(RUNTIME.join([evaluate(it) for it in members]))


@pytest.mark.parametrize(("call", "arguments"), list(enumerate(CALLS.values())))
def test_resolve(
    checked: Program, oracle: MypyOracle, types: Mapping[str, Type], call: int, arguments: Sequence[str]
) -> None:
    function = checked.function(f"call{call}")
    found = oracle.resolve(
        function.ret_type, list(zip(function.arg_types, [types[it] for it in arguments], strict=True))
    )
    parameters = list(CALLS)[call]
    pairs = [(evaluate(a), evaluate(b)) for a, b in zip(parameters.split("; "), arguments, strict=True)]
    assert oracle.describe(found) == RUNTIME.describe(RUNTIME.resolve(evaluate("list[T]"), pairs))


def test_a_join_forgets_the_value_that_is_written(
    checked: Program, oracle: MypyOracle, types: Mapping[str, Type]
) -> None:
    three = argument_of(checked.shown[2], checked.checker)
    assert three.text == "int (3)"
    assert three.type != types["int"]
    assert oracle.join([three.type, types["int"]]) == types["int"]


def test_resolve_without_arguments(checked: Program, oracle: MypyOracle, types: Mapping[str, Type]) -> None:
    assert oracle.describe(oracle.resolve(checked.function("call0").ret_type, [])) == "list[Any]"
    assert oracle.resolve(types["int"], [(types["T"], types["str"])]) is types["int"]


def test_generic_types_and_lists(oracle: MypyOracle, types: Mapping[str, Type]) -> None:
    assert oracle.is_generic(types["list[T]"])
    assert not oracle.is_generic(types["dict[str, int]"])
    assert oracle.describe(oracle.list_of(types["int | str"])) == "list[int | str]"
    assert oracle.describe(oracle.list_of(None)) == "list[Any]"


def accepted(checked: Program, oracle: MypyOracle, types: Mapping[str, Type], target: str) -> list[str]:
    values = [argument_of(it, checked.checker) for it in checked.shown]
    return [it.text for it in values if oracle.accepts(it, types[target])]


@pytest.mark.parametrize(
    ("target", "wanted"),
    [
        ("list[int]", ["list of 1 (1)", "a value of type list[int]"]),
        ("list[float]", ["list of 1 (1)"]),
        ("float", ["int (3)"]),
        ("Sequence[float]", ["list of 1 (1)", "a value of type list[int]"]),
        ("dict[str, float]", ['dict of 1 ("a": 1)']),
        ("Literal[1, 2]", []),
        ("Callable[[int], int]", ["function <lambda>"]),
        ("list[T]", ["list of 1 (1)", "a value of type list[int]", 'list of 2 (1, "a")']),
    ],
)
def test_accepts_reads_what_is_written_in_place_with_the_parameter_in_mind(
    checked: Program, oracle: MypyOracle, types: Mapping[str, Type], target: str, wanted: list[str]
) -> None:
    assert accepted(checked, oracle, types, target) == wanted


def test_values_without_an_expression(oracle: MypyOracle, types: Mapping[str, Type]) -> None:
    argument = Argument(types["list[int]"], "some list")
    assert oracle.accepts(argument, types["list[float]"]) is False
    assert oracle.accepts(argument, types["Sequence[float]"]) is True
    assert oracle.accepts(3, types["int"]) is None
    assert oracle.describe_value(argument) == "some list"


def state_of(types: Mapping[str, Type]) -> State[Type]:
    fields = {"a": Field(types["int"]), "b": Field(types["str"], False, "a branch"), "c": Field[Type](None)}
    return State(PersistentMap.of(fields))


def test_view(checked: Program, types: Mapping[str, Type]) -> None:
    oracle = MypyOracle(checked.checker, "program.Typed")
    found = get_proper_type(oracle.view(state_of(types)))
    assert isinstance(found, Instance)
    fields, value = map(get_proper_type, found.args)
    assert isinstance(fields, TypedDictType)
    assert isinstance(value, NoneType)
    assert {name: oracle.describe(it) for name, it in fields.items.items()} == {"a": "int", "b": "str", "c": "Any"}
    assert fields.required_keys == {"a", "c"}
    assert oracle.is_context(found)

    with_value = get_proper_type(oracle.view(State(value=types["list[int]"], has_value=True)))
    assert isinstance(with_value, Instance)
    assert oracle.describe(with_value.args[1]) == "list[int]"
    unknown = get_proper_type(oracle.view(State(has_value=True)))
    assert isinstance(unknown, Instance)
    assert isinstance(get_proper_type(unknown.args[1]), AnyType)


def test_view_of_a_class_that_is_not_generic(oracle: MypyOracle, types: Mapping[str, Type]) -> None:
    assert oracle.describe(oracle.view(state_of(types))) == "View"
    assert not oracle.is_context(types["int"])
