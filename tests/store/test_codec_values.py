"""Values through the codec and back: equal, and of the same types."""

from __future__ import annotations

import datetime
import math
import pathlib
import sys
import uuid
import zoneinfo
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Callable
from decimal import Decimal
from types import MappingProxyType
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from metta.sweep.contracts.storable import storable
from metta.sweep.store.codec import Unstorable, dumps, loads
from metta.sweep.trial import Failure, FailureReason, Observation, Report, Resources, Result, Trial
from tests.store.kinds import Access, Color, Level, Mode

UTC = datetime.UTC
BERLIN = zoneinfo.ZoneInfo("Europe/Berlin")


def round_trip(value: object, tp: Any = None) -> Any:
    return loads(bytes(dumps(value)), tp)


def spell(value: object) -> str:
    """A value with its types (1 == 1.0 == True, 0.0 == -0.0, NaN != NaN)."""
    if isinstance(value, (set, frozenset)):
        return f"{type(value).__name__}({sorted(map(spell, value))})"
    if isinstance(value, (list, tuple, deque)):
        return f"{type(value).__name__}({[spell(item) for item in value]}, {getattr(value, 'maxlen', '')})"
    if isinstance(value, dict):
        return f"{type(value).__name__}({[(spell(key), spell(item)) for key, item in value.items()]})"
    if type(value) is int:
        return hex(value)  # without the limit on long decimal numbers
    fold = value.fold if isinstance(value, (datetime.datetime, datetime.time)) else ""
    return f"{type(value).__name__} {value!r} {fold}"


VALUES: list[Any] = [
    None, True, False, 0, -1, 2**63, 2**64, -(2**300), 2**20_000, 0.0, -0.0, 1e-320, math.inf, -math.inf, math.nan,
    1 + 2j, complex(-0.0, math.nan), "", "text", "ä 😀 \x00 \u2028", "half \udc80", "\ud83d\ude00", "$",
    b"", b"\x00\xff", bytes(range(256)) * 100,
    Decimal("1.10"), Decimal("-0"), Decimal("NaN"), Decimal("sNaN12"), Decimal("Infinity"), Decimal("1E+999999"),
    datetime.date(1, 1, 1), datetime.date.max, datetime.time(1, 2, 3, 4), datetime.time(1, 2, tzinfo=UTC),
    datetime.datetime(2026, 11, 22, 5, 15), datetime.datetime.max, datetime.datetime(2026, 1, 1, tzinfo=UTC),
    datetime.datetime(2026, 10, 25, 2, 30, fold=1, tzinfo=BERLIN), datetime.time(2, 30, fold=1, tzinfo=BERLIN),
    datetime.datetime(2026, 1, 1, tzinfo=datetime.timezone(datetime.timedelta(hours=-5, seconds=1), "here")),
    datetime.timedelta(days=-1, microseconds=1), datetime.timedelta.max,
    uuid.UUID(int=7), pathlib.Path("a/b"), pathlib.Path("/"), pathlib.Path("half \udc80"), pathlib.Path(),
    pathlib.PurePosixPath("/a"), pathlib.PureWindowsPath("c:\\a"),
    Color.RED, Color.BLUE, Level.HIGH, Mode.MIN, Access.READ, Access.READ | Access.WRITE, Access(0),
    [], [1, [2, [math.nan]]], (), (1, "a", (None,)), {1, 1.5, "a"}, frozenset({(1, 2), frozenset()}), {math.nan},
    {}, {"a": 1, "b": [2]}, {"$": 1}, {"$": {"$": 1}}, {1: "a", None: 2, (1, 2): {3}, Color.RED: {}}, {"\udc80": 1},
    {"__metadata__": bytes(5000)}, deque([1, 2], 3), deque(), OrderedDict(b=1, a=[2]),
    {Level.LOW: {frozenset({1}): deque([{"a": (1,)}])}},
]  # fmt: skip


@pytest.mark.parametrize("value", VALUES, ids=lambda value: type(value).__name__)
def test_round_trip(value: Any) -> None:
    assert spell(round_trip(value)) == spell(value)
    assert spell(round_trip([value, {"key": value}])) == spell([value, {"key": value}])
    assert bytes(dumps(value)) == bytes(dumps(value))


leaves = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.complex_numbers(), st.text(st.characters(), max_size=8),
    st.binary(max_size=20), st.decimals(), st.dates(), st.uuids(), st.timedeltas(),
    st.datetimes(timezones=st.none() | st.just(UTC) | st.timezones()), st.times(),
    st.sampled_from([Color.RED, Level.LOW, Access.READ | Access.WRITE]),
)  # fmt: skip
keys = st.one_of(
    st.text(st.characters(exclude_categories=()), max_size=4), st.integers(), st.sampled_from(["$", "a.b"])
)
hashables = st.one_of(st.integers(), st.text(max_size=3), st.binary(max_size=3), st.tuples(st.integers()))
trees = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.lists(inner, max_size=4).map(tuple),
        st.lists(inner, max_size=4).map(lambda items: deque(items, 7)),
        st.dictionaries(keys, inner, max_size=4),
        st.dictionaries(hashables, inner, max_size=3).map(OrderedDict),
        st.frozensets(hashables, max_size=3),
        st.sets(hashables, max_size=3),
    ),
    max_leaves=20,
)


@given(trees)
@settings(max_examples=200, derandomize=True, deadline=None)
def test_any_tree(tree: object) -> None:
    assert spell(round_trip(tree)) == spell(tree)


def test_equal_sets_are_equal_bytes() -> None:
    one, other = {0, 8}, {8, 0}  # in this order each, for they collide
    assert list(one) != list(other)
    assert bytes(dumps(one)) == bytes(dumps(other))
    assert bytes(dumps({math.nan, 1.0})).count(b"nan") == 1


def test_what_a_state_dict_keeps_beside_its_items() -> None:
    state = torch.nn.BatchNorm1d(2).state_dict()
    back = round_trip(state)
    assert type(back) is OrderedDict
    assert back._metadata == state._metadata  # type: ignore[attr-defined]


def test_our_own_values() -> None:
    trial = Trial({"lr": 0.1}, 3, tag="a")
    trial.reports = [Report(1, {"score": math.inf})]
    trial.failure = Failure(FailureReason.OOM, "full")
    values = [trial, Result(0.5, 2.0), Observation(trial, Result(failure=FailureReason.OOM)), Resources(memory="8GB")]
    back = round_trip(values)
    assert back[0].to_json() == trial.to_json()
    assert repr(back[1]) == repr(values[1])
    assert back[2].result.failure == Failure(FailureReason.OOM)
    assert back[3] == values[3]
    assert round_trip(trial, Trial).params == {"lr": 0.1}


def test_a_zone_without_a_name_keeps_its_offset() -> None:
    class Zone(datetime.tzinfo):
        def utcoffset(self, moment: datetime.datetime | None) -> datetime.timedelta | None:
            return None if moment is None else datetime.timedelta(hours=3)

        def dst(self, moment: datetime.datetime | None) -> None:
            return None

        def tzname(self, moment: datetime.datetime | None) -> str:
            return "its own"

    moment = datetime.datetime(2026, 1, 1, tzinfo=Zone())
    assert round_trip(moment) == moment
    with pytest.raises(Unstorable, match=r"the value has the time zone .*, which has no offset there"):
        dumps(datetime.time(1, tzinfo=Zone()))


class Text(str):
    __slots__ = ()


def nested(depth: int, wrap: Callable[[object], object]) -> object:
    value: object = 1
    for _ in range(depth):
        value = wrap(value)
    return value


@pytest.mark.parametrize("wrap", [lambda it: [it], lambda it: {"a": it}, lambda it: (it,), lambda it: {1: it}])
def test_deep_values(wrap: Callable[[object], object]) -> None:
    value = nested(90, wrap)
    assert round_trip(value) == value
    for depth in (150, 400, 100_000):
        with pytest.raises(Unstorable, match="contains itself, or is nested more than 100 levels deep"):
            dumps(nested(depth, wrap))


def test_cycles() -> None:
    items: list[Any] = [1]
    items.append({"again": items})
    with pytest.raises(Unstorable, match=r'^results\[1\]\["again"\]\[1\] contains itself'):
        dumps(items, "results")


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (lambda: 1, "results is a function, which cannot be stored; store a name"),
        ([1, {"model": torch.nn.Linear(1, 1)}], r'\[1\]\["model"\] is a .*, a torch.nn.Module, which .*state_dict'),
        (torch.Generator(), r"is a torch.*Generator, .*; store its get_state\(\)"),
        ([defaultdict(list)], r"results\[0\] is a collections.defaultdict, which .*; store dict\(...\) of it"),
        (Counter("a"), r"store dict\(...\)"),
        (MappingProxyType({}), r"store dict\(...\)"),
        (iter([1]), r"results is a list_iterator, which cannot be stored; store list\(...\)"),
        (range(3), r"store list\(...\)"),
        (torch.Size([1]), r"store tuple\(...\)"),
        (Text("a"), r"store str\(...\)"),
        (int, "results is a type"),
        (sys.stdout, "store its path"),
        ({(1, Text("a")): 1}, r"results\[\(1, 'a'\)\]\[1\] is a .*Text"),
        (object(), "is an object, which cannot be stored; store its fields as a dataclass"),
    ],
)  # fmt: skip
def test_what_cannot_be_stored(value: object, message: str) -> None:
    with pytest.raises(Unstorable, match=message) as caught:
        dumps(value, "results")
    assert caught.value.where.startswith("results")


def test_a_value_without_a_name() -> None:
    with pytest.raises(Unstorable, match=r"^\[0\] of the value is an object"):
        dumps([object()])


@pytest.mark.parametrize(
    "value",
    [value for value in VALUES if type(value) not in (list, tuple, set, dict, deque, OrderedDict, frozenset)],
    ids=lambda value: type(value).__name__,
)
def test_definition_time_agrees(value: Any) -> None:
    """What comes back has a type that a pipeline may checkpoint."""
    assert storable(type(value)) is True


@pytest.mark.parametrize("value", [range(3), Text("a"), Counter("a"), iter([1]), torch.Size([1])])
def test_definition_time_agrees_on_what_cannot(value: object) -> None:
    assert storable(type(value)) is False
