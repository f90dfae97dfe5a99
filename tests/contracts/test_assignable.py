"""`is_assignable` against mypy: a table, generic targets, and random pairs."""

# mypy: disable-error-code="valid-type, name-defined"

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import InitVar
from pathlib import Path
from typing import (
    Annotated,
    Any,
    Final,
    ForwardRef,
    Generic,
    Literal,
    NamedTuple,
    ParamSpec,
    Protocol,
    TypedDict,
    TypeGuard,
    TypeVarTuple,
    Union,
)

import pytest
from pydantic import BaseModel

from metta.sweep.contracts.assignable import (
    awaited,
    describe,
    element_of,
    is_assignable,
    is_type_form,
    mapping_value,
    plain_tuple,
    unify,
)
from tests.contracts import inferred_variance as inferred
from tests.contracts import type_zoo as zoo
from tests.contracts.assignable_cases import DISAGREED, GENERIC_PAIRS, PAIRS, UNKNOWN
from tests.contracts.mypy_verdicts import evaluate, mypy_call_verdicts, mypy_verdicts
from tests.contracts.random_types import Generator

Pair = tuple[str, str]


def ours(pair: Pair) -> bool | None:
    source, target = pair
    return is_assignable(evaluate(source), evaluate(target))


@pytest.fixture(scope="session")
def expected(tmp_path_factory: pytest.TempPathFactory) -> Mapping[Pair, bool]:
    return dict(zip(PAIRS, mypy_verdicts(PAIRS, tmp_path_factory.mktemp("table")), strict=True))


@pytest.fixture(scope="session")
def expected_in_calls(tmp_path_factory: pytest.TempPathFactory) -> Mapping[Pair, bool]:
    return dict(zip(GENERIC_PAIRS, mypy_call_verdicts(GENERIC_PAIRS, tmp_path_factory.mktemp("calls")), strict=True))


def test_the_table_says_what_mypy_says(expected: Mapping[Pair, bool]) -> None:
    assert len(expected) > 600
    wanted = {pair: None if pair in UNKNOWN else verdict for pair, verdict in expected.items()}
    for pair in DISAGREED:
        assert wanted.pop(pair) is not ours(pair), f"mypy has changed its mind on {pair}"
    found = {pair: ours(pair) for pair in wanted}
    assert {pair: it for pair, it in found.items() if it is not wanted[pair]} == {}


def test_the_table_has_both_answers(expected: Mapping[Pair, bool]) -> None:
    accepted = sum(expected.values())
    assert len(expected) / 4 < accepted < 3 * len(expected) / 4


def test_generic_targets_say_what_mypy_says_about_calls(expected_in_calls: Mapping[Pair, bool]) -> None:
    found = {pair: ours(pair) for pair in expected_in_calls}
    assert found == expected_in_calls


def check_random_pairs(seed: int, count: int, folder: Path) -> None:
    pairs = Generator(seed).pairs(count)
    verdicts = mypy_verdicts(pairs, folder)
    found = [ours(pair) for pair in pairs]
    wrong = [(pair, it) for pair, it, truth in zip(pairs, found, verdicts, strict=True) if it not in (truth, None)]
    assert wrong == []
    assert found.count(None) <= count / 50
    # Otherwise the pairs would not ask much.
    assert verdicts.count(True) > count / 4


def test_random_pairs_say_what_mypy_says(tmp_path: Path) -> None:
    check_random_pairs(seed=20, count=1000, folder=tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2, 3, 4])
def test_many_random_pairs_say_what_mypy_says(seed: int, tmp_path: Path) -> None:
    check_random_pairs(seed=seed, count=5000, folder=tmp_path)


def test_names_that_nothing_resolves_are_unknown() -> None:
    assert is_assignable("Missing", int) is None
    assert is_assignable(int, ForwardRef("Missing")) is None
    assert is_assignable(list["Missing"], list[int]) is None  # noqa: F821
    assert is_assignable(int | str, "Missing | None") is None
    # What is known is still said.
    assert is_assignable("Missing", "Missing") is True
    assert is_assignable("Missing", object) is True
    assert is_assignable("Missing", Any) is True
    assert is_assignable(list["Missing"], dict[str, int]) is False  # noqa: F821
    assert is_assignable(tuple["Missing", int], tuple[int, str]) is False  # noqa: F821


def test_types_that_are_not_hashable() -> None:
    assert is_assignable(Annotated[int, [1]], float) is True
    assert is_assignable(Annotated[int, [1]], str) is False


def test_none_is_its_own_type() -> None:
    assert is_assignable(None, None) is True
    assert is_assignable(None, type(None)) is True
    assert is_assignable(type(None), int | None) is True


class Colors:
    """Its annotations are strings; one of them names nothing."""

    x: int
    y: Missing  # noqa: F821

    def __iter__(self) -> Missing:  # noqa: F821
        raise NotImplementedError


def test_one_annotation_that_cannot_be_read_hides_no_other() -> None:
    assert is_assignable(Colors, zoo.HasX) is True
    assert is_assignable(Colors, evaluate("Iterable[int]")) is None
    assert is_assignable(Colors, zoo.Barks) is False


class Dynamic:
    def __getattr__(self, name: str) -> Any:
        return name


class Untyped(zoo.Unknown):  # type: ignore[misc]
    pass


def test_a_class_that_may_have_any_member_is_unknown() -> None:
    assert is_assignable(Dynamic, zoo.Barks) is None
    assert is_assignable(Dynamic, int) is False


def test_a_subclass_of_any_goes_everywhere_but_to_none() -> None:
    assert is_assignable(Untyped, int) is True
    assert is_assignable(Untyped, zoo.Barks) is True
    assert is_assignable(Untyped, None) is False


@pytest.mark.parametrize(
    ("cls", "wider", "narrower"),
    [
        (inferred.Producer, True, False),
        (inferred.Consumer, False, True),
        (inferred.Cell, False, False),
        (inferred.PrivateCell, True, False),
        (inferred.Chain, True, False),
        (inferred.Listed, False, False),
        # `self.item = item` is invisible at run time; mypy says invariant.
        (inferred.Hidden, None, None),
    ],
)
def test_inferred_variance(cls: Any, wider: bool | None, narrower: bool | None) -> None:
    """PEP 695 says what these are; mypy supports `infer_variance` in the new syntax only."""
    assert is_assignable(cls[int], cls[float]) is wider
    assert is_assignable(cls[float], cls[int]) is narrower
    assert is_assignable(cls[int], cls[str]) is False
    assert is_assignable(cls[int], cls[int]) is True


def test_numpy_arrays_are_covariant() -> None:
    numpy = pytest.importorskip("numpy")
    ints = numpy.ndarray[Any, numpy.dtype[numpy.int64]]
    anything = numpy.ndarray[Any, numpy.dtype[numpy.generic]]
    assert is_assignable(ints, anything) is True
    assert is_assignable(anything, ints) is False
    assert is_assignable(numpy.ndarray, ints) is True
    assert is_assignable(numpy.float64, float) is True
    assert is_assignable(numpy.float32, float) is False


class Model(BaseModel, Generic[zoo.T]):
    x: zoo.T


class IntModel(Model[int]):
    pass


def test_pydantic_models() -> None:
    assert is_assignable(Model[int], Model[int]) is True
    assert is_assignable(Model[int], Model[float]) is False
    assert is_assignable(Model[Any], Model[int]) is True
    assert is_assignable(Model[int], Model) is True
    assert is_assignable(IntModel, Model[int]) is True
    assert is_assignable(IntModel, Model[str]) is False
    assert is_assignable(Model[int], zoo.HasX) is True
    assert is_assignable(Model[str], zoo.HasX) is False
    assert is_assignable(IntModel, zoo.HasX) is True
    assert describe(Model[int]) == "Model[int]"


P = ParamSpec("P")
Ts = TypeVarTuple("Ts")


class Variadic(Generic[*Ts]):
    pass


class Parametric(Generic[P]):
    pass


ODD: list[Any] = [
    *(Union, Literal, Generic, Protocol, NamedTuple, TypedDict, Final, ..., 3, "x", [int], object(), print, len),
    *(
        TypeGuard[int],
        Callable[P, int],
        tuple[*Ts],
        Variadic,
        Variadic[int, str],
        Parametric[[int]],
        InitVar[int],
    ),
]


@pytest.mark.parametrize("odd", range(len(ODD)))
def test_no_value_makes_it_fail(odd: int) -> None:
    value = ODD[odd]
    assert is_assignable(value, value) is True
    for other in (*ODD, int, list[int], zoo.HasX, zoo.Movie, zoo.Point):
        assert is_assignable(value, other) in (True, False, None)
        assert is_assignable(other, value) in (True, False, None)
        assert isinstance(unify(value, other), dict)
    assert isinstance(describe(value), str)
    for function in (element_of, mapping_value, plain_tuple, awaited, is_type_form):
        function(value)


def test_a_type_variable_is_as_good_as_its_bound() -> None:
    assert is_assignable(zoo.B, zoo.Animal) is True
    assert is_assignable(zoo.B, int) is False
    assert is_assignable(zoo.C, int | str) is True
    assert is_assignable(zoo.C, int) is False
    assert is_assignable(zoo.T, int) is False
    assert is_assignable(list[zoo.B], list[zoo.Animal]) is False
    assert is_assignable(zoo.T, zoo.T) is True
    assert is_assignable(list[zoo.T], list[zoo.T]) is True
