"""Digests: the same for equal values everywhere, different for all others."""

from __future__ import annotations

import datetime
import math
import subprocess
import sys
from collections import OrderedDict, deque
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings

from metta.sweep.store.codec import Unstorable, digest
from tests.store.kinds import Attrs, Color, Frozen, Level, Model, Plain, Point
from tests.store.test_codec_values import VALUES, spell, trees


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}),
        ({"a": Point(1.0), "b": Plain(2)}, {"b": Plain(2), "a": Point(1.0)}),
        ({1: "a", 2: "b", None: "c"}, {None: "c", 2: "b", 1: "a"}),
        ([{0, 8}], [{8, 0}]),
        (math.nan, float("nan")),
        (np.arange(6).reshape(2, 3), np.asfortranarray(np.arange(6).reshape(2, 3))),
        (np.arange(6)[::2], np.array([0, 2, 4])),
        ({"a": np.ones(2), "b": np.zeros(2)}, {"b": np.zeros(2), "a": np.ones(2)}),
        (torch.arange(6).reshape(2, 3).T.contiguous(), torch.arange(6).reshape(2, 3).T),
        (Model.model_validate({"a": 1, "other": "x"}), Model.model_validate({"other": "x", "a": 1})),
        (b"x" * 10_000, bytes(bytearray(b"x" * 10_000))),
    ],
)  # fmt: skip
def test_equal_values(one: object, other: object) -> None:
    assert digest(one) == digest(other)
    assert digest([one]) == digest([other])


def test_equal_arrays_in_one_value_count_as_two_do() -> None:
    array = np.ones(3)
    assert digest([array, array]) == digest([array, array.copy()]) != digest([array])
    weight = torch.ones(3)
    assert digest([weight, weight]) == digest([weight, weight.clone()])


def test_padding_does_not_matter() -> None:
    dtype = np.dtype("i1,f8", align=True)
    one, other = (np.frombuffer(bytearray(fill * 2 * dtype.itemsize), dtype) for fill in (b"\x00", b"\x01"))
    other["f0"], other["f1"] = one["f0"], one["f1"]
    assert one.tobytes() != other.tobytes()
    assert digest(one) == digest(other)


DIFFERENT: list[Any] = [
    0, 0.0, -0.0, False, None, "", b"", "0", [], (), {}, set(), frozenset(), deque(), deque(maxlen=1), OrderedDict(),
    1, 1.0, True, 1 + 0j, Decimal("1"), Decimal("1.0"), Level.LOW, np.float32(1), np.float64(1), np.int64(1),
    np.array(1), torch.tensor(1), [1], (1,), {1}, {1: 1}, {"1": 1}, [[1]], [1, [2]], [[1], 2], {"a": [1, 2]},
    {"a": [2, 1]},
    OrderedDict(a=1, b=2), OrderedDict(b=2, a=1), Point(1.0), Point(1), ("x", 1.0), Frozen("a"), Attrs(1),
    Color.RED, "RED",
    np.zeros(2), np.zeros((2, 1)), np.zeros((1, 2)), np.array([0.0, -0.0]), np.zeros(2, "f4"), np.zeros(2, "M8[s]"),
    np.zeros(2, "M8[ns]"), torch.zeros(2), torch.zeros(2, requires_grad=True), torch.nn.Parameter(torch.zeros(2)),
    datetime.datetime(2026, 1, 1), datetime.datetime(2026, 1, 1, fold=1), datetime.date(2026, 1, 1),
    datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC), Path("a"), "a", np.str_("a"),
]  # fmt: skip


def test_different_values() -> None:
    digests = [digest(value) for value in DIFFERENT]
    assert len(set(digests)) == len(digests)


@given(trees, trees)
@settings(max_examples=100, derandomize=True, deadline=None)
def test_any_trees(one: object, other: object) -> None:
    assert digest(one) == digest(one)
    if digest(one) == digest(other):
        assert ordered(one) == ordered(other)


def ordered(value: object) -> str:
    """`spell`, whatever the order of dicts and the bits of NaN."""
    return "".join(sorted(spell(value)))


def test_the_same_in_every_process() -> None:
    script = (
        "from metta.sweep.store.codec import digest\n"
        "from tests.store.kinds import *\n"
        "records = [Plain(1), Frozen('a', color=Color.BLUE)]\n"
        "print(digest({'a': {'x', 'y', 'z', 1.5}, 'b': records, 'c': {Color.RED: 1}}))"
    )
    found = set()
    for seed in ("1", "2"):
        environment = {"PYTHONHASHSEED": seed, "PATH": ""}
        done = subprocess.run(
            [sys.executable, "-c", script], capture_output=True, text=True, check=True, env=environment
        )
        found.add(done.stdout.strip())
    value = {"c": {Color.RED: 1}, "a": {"x", "y", "z", 1.5}, "b": [Plain(1), Frozen("a", color=Color.BLUE)]}
    assert found == {digest(value)}
    assert len(digest(value)) == 64


def test_digests_stay_what_they_are() -> None:
    """A change here empties everybody's cache: it wants a reason."""
    value = {"lr": 0.1, "layers": [64, 64], "kind": Color.RED, "start": Point(1.0), "w": np.arange(3, dtype="<f4")}
    assert digest(value) == "bff27678d4e91ea3b44b3d83daf2ae14ad565dc298daa74e775a2d52ebaac61e"


@pytest.mark.parametrize("value", VALUES, ids=lambda value: type(value).__name__)
def test_whatever_is_stored_has_a_digest(value: Any) -> None:
    assert len(digest(value)) == 64
    assert digest([value]) != digest(value)


def test_what_cannot_be_stored() -> None:
    with pytest.raises(Unstorable, match=r"cache_key\[0\] is a function"):
        digest([print, lambda: 1][1:], "cache_key")
