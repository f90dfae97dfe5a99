"""Callables of every kind: what run time reads from the objects, and the plugin from mypy's types."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from metta.sweep.contracts import assignable
from metta.sweep.contracts import signature as runtime
from metta.sweep.contracts.signature import Kind, Signature
from metta_mypy.oracle import Argument
from metta_mypy.signatures import awaited, is_callable, signature_of
from metta_mypy.wording import describe
from tests.plugins.program import SHOW, Program, program

AGREED = [
    *("plain", "nothing", "defaults", "untyped", "partly", "no_result", "anything", "generic"),
    *("in_async", "untyped_async", "later", "coroutine", "numbers", "lines", "waits"),
    *("many", "decorated", "cached"),
    *("trainer.train", "Trainer.train", "Trainer.load", "trainer.load", "Trainer.score", "trainer.score"),
    *("trainer.fetch", "trainer", "trainer.pick", "Trainer.pick", "Trainer.Inner().work", "Child().train"),
    *("AsyncCallable()", "concrete.run", "Concrete().run"),
    *("Empty", "Trainer", "Net", "Net(3)", "net", "Counted", "Data", "Named", "Options", "Defined", "Model"),
    *("functools.partial(plain, 1)", "functools.partial(plain, 1, c=2.0)", "functools.partial(defaults, b=3)"),
    *("functools.partial(functools.partial(defaults, 1), c='')", "functools.partial(trainer.train, rate=0.5)"),
    *("functools.partial(Net, 3)", "functools.partial(Net, depth=3)", "functools.partial(in_async, 1)"),
    *("functools.partial(many, y=3)", "functools.partial(in_order, a=3)", "functools.partial(in_order, 3)"),
    "lambda a, b=1, *c, d, **e: a",
    *("3", "None", "'text'", "[1]"),
]
STATIC = [
    *("bound", "bound_keyword", "bound_method", "maker", "value", "functools.partial(value, 1)"),
    *("len", "sorted", "float", "sum", "range", "Base", "type(net)", "either", "one_of", "options", "made_of"),
]
MORE = """
either = plain if value else nothing
one_of: type[Data] | None = None
options: type[Options] = Options
def made_of(*args: *tuple[int, str], **more: Unpack[Options]) -> None: ...
"""
TEXT = (
    "import functools\nfrom typing import *\nfrom tests.plugins.callable_zoo import *\n"
    + MORE
    + SHOW
    + "".join(f"show({it})\n" for it in (*AGREED, *STATIC))
)


@pytest.fixture(scope="module", params=["cold", "warm"])
def checked(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    """With a warm cache the callables are not read from their source: types no longer know their definitions."""
    folder = tmp_path_factory.mktemp("signatures")
    if request.param == "warm":
        with program(TEXT, folder):
            pass
    with program(f"{TEXT}# {request.param}\n", folder) as it:
        yield it


def words(found: Signature[Any] | None, describe: Callable[[Any], str]) -> Any:
    """A signature with its types in words; names of positional-only parameters get lost in a cache."""
    if found is None:
        return None

    def shown(tp: Any) -> str | None:
        return None if tp is None else describe(tp)

    parameters = [
        ("" if it.kind is Kind.POSITIONAL_ONLY else it.name, it.kind.name, shown(it.type), it.required)
        for it in found.parameters
    ]
    if found.name == "Options":  # nor does a cache keep the order of the keys of a TypedDict
        parameters.sort()
    return found.name, parameters, shown(found.returns), found.is_async, sorted(found.bound)


def static(checked: Program, text: str) -> Signature[Any] | None:
    expression = checked.shown[[*AGREED, *STATIC].index(text)]
    return signature_of(checked.checker.lookup_type(expression), checked.checker, expression)


@pytest.mark.parametrize("text", AGREED)
def test_agreement(checked: Program, text: str) -> None:
    line = checked.shown[AGREED.index(text)].line
    value = eval(compile("\n" * (line - 1) + text, "program.py", "eval"), checked.names)
    wanted = words(runtime.signature_of(value), assignable.describe)
    assert words(static(checked, text), describe) == wanted


def keywords(found: Signature[Any] | None) -> dict[str, tuple[str | None, bool]]:
    assert found is not None
    return {it.name: (None if it.type is None else describe(it.type), it.required) for it in found.parameters}


def test_a_variable_that_holds_a_partial(checked: Program) -> None:
    """Its type does not tell keywords that are bound from those with a default: neither is checked."""
    found = static(checked, "bound")
    assert found is not None
    assert keywords(found)["b"] == ("int | None", False)
    assert keywords(found)["d"] == (None, False)
    assert "c" in found.bound or keywords(found)["c"] == (None, False)
    assert "a" not in keywords(found)
    bound = keywords(static(checked, "bound_keyword"))
    assert (bound["a"], bound["c"]) == (("int", True), ("str", True))
    assert keywords(static(checked, "bound_method")) == {"trials": ("list[int]", True), "rate": (None, False)}


def test_values_that_a_partial_has_bound(checked: Program) -> None:
    found = static(checked, "functools.partial(plain, 1, c=2.0)")
    assert found is not None
    value = found.bound["c"]
    assert isinstance(value, Argument)
    assert (value.text, describe(value.type)) == ("float (2.0)", "float")


def test_what_is_not_known(checked: Program) -> None:
    for text in ("value", "functools.partial(value, 1)", "one_of"):
        assert static(checked, text) is None


def test_overloads_of_a_stub_have_in_common_what_all_of_them_have(checked: Program) -> None:
    found = static(checked, "sorted")
    assert found is not None
    assert [(it.kind.name, it.required) for it in found.parameters] == [
        ("POSITIONAL_ONLY", True),
        ("KEYWORD_ONLY", False),
        ("KEYWORD_ONLY", False),
    ]
    assert found.returns is not None
    assert describe(found.returns) == "list[Any]"
    numbers = static(checked, "range")  # (stop) or (start, stop, step=1)
    assert numbers is not None
    assert [it.required for it in numbers.parameters] == [True, False, False]
    total = static(checked, "sum")
    assert total is not None
    assert total.returns is not None
    assert describe(total.returns) == "Any"


def test_what_only_the_type_is_known_of(checked: Program) -> None:
    assert words(static(checked, "maker"), describe) == (
        "Makes",
        [("", "POSITIONAL_ONLY", "int", True)],
        "str",
        False,
        [],
    )
    assert words(static(checked, "options"), describe)[1] == [
        ("note", "KEYWORD_ONLY", "str", False),
        ("rate", "KEYWORD_ONLY", "float", True),
    ]
    assert words(static(checked, "type(net)"), describe)[0] == "Net"
    packed = static(checked, "made_of")
    assert packed is not None
    assert [(it.kind.name, it.type) for it in packed.parameters] == [("VAR_POSITIONAL", None), ("VAR_KEYWORD", None)]


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        *(("plain", True), ("trainer", True), ("Net", True), ("Net(3)", True), ("maker", True), ("sorted", True)),
        *(("3", False), ("None", False), ("[1]", False), ("value", None), ("one_of", None), ("either", True)),
    ],
)
def test_is_callable(checked: Program, text: str, wanted: bool | None) -> None:
    expression = checked.shown[[*AGREED, *STATIC].index(text)]
    assert is_callable(checked.checker.lookup_type(expression)) is wanted


def test_awaited(checked: Program) -> None:
    function = static(checked, "waits")
    assert function is not None
    assert function.is_async
    assert function.returns is not None
    again, is_async = awaited(function.returns)
    assert (describe(again), is_async) == ("int", False)
