"""Hostile and damaged bytes: an error that says so, never a crash, never code that runs, never much memory."""

from __future__ import annotations

import contextlib
import json
import pickle
import struct
import tracemalloc
import zlib
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from metta.sweep.errors import DamagedError, MettaSweepError, RefusedError, UsageError
from metta.sweep.store.codec import dumps, loads
from metta.sweep.store.container import Part, pack, unpack
from tests.store.kinds import Access, Attrs, Color, Model, Plain, Point

SAMPLES: list[Any] = [
    {"a": [1, 2.5, None], "b": (Point(1.0), Plain(2), Model(a=1), Attrs(3), Color.RED, Access.READ | Access.WRITE)},
    {"t": torch.arange(3), "n": np.arange(4)[::-1], "s": np.zeros(2, "i4,f8"), "x": np.float32(2), 3: b"x" * 5000},
]


def wrap(body: str) -> bytes:
    """A file with a right checksum around any content."""
    return b'{"metta_value":1,"crc32":"%08x","content":%b}' % (zlib.crc32(body.encode()), body.encode())


def node(tree: object, classes: object = (), parts: dict[str, Part] | None = None) -> bytes:
    return bytes(pack(json.dumps({"tree": tree, "classes": classes}).encode(), parts or {}))


def test_wrap_is_what_is_written() -> None:
    assert wrap('{"tree":[1]}') == bytes(dumps([1]))
    assert loads(node([1])) == [1]


@pytest.mark.parametrize("value", SAMPLES, ids=["plain", "arrays"])
def test_every_cut_and_every_flipped_byte_is_noticed(value: Any) -> None:
    good = bytes(dumps(value))
    step = max(1, len(good) // 1500)
    damaged = [good[:length] for length in range(0, len(good), step)] + [good + b" ", good + good, b"\0" * len(good)]
    damaged += [
        good[:position] + bytes([good[position] ^ flipped]) + good[position + 1 :]
        for position in range(0, len(good), step)
        for flipped in (0x01, 0x80, 0xFF)
    ]
    for data in damaged:
        with pytest.raises((DamagedError, RefusedError)):  # refused: the version of the format was hit
            loads(data)


class Bomb:
    def __reduce__(self) -> Any:
        return (pytest.fail, ("code of the file was run",))


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(pickle.dumps(Bomb(), protocol), id=f"pickle {protocol}") for protocol in range(6)
    ] + [
        b"", b"{", b"\x80", b"{}", b"null", b"\xff" * 100, b"PK\x03\x04" * 10, b"\x93NUMPY" + b"\0" * 100,
        struct.pack("<Q", 2**63) + b"{}", struct.pack("<Q", 2) + b"{}", struct.pack("<Q", 2) + b"[]",
        struct.pack("<Q", 20) + b'{"__metadata__":null}',
    ],
)  # fmt: skip
def test_what_is_no_stored_value(data: bytes) -> None:
    with pytest.raises(DamagedError, match=r"^the stored value is damaged: "):
        loads(data)
    with pytest.raises(DamagedError, match=r"^some/file is damaged: ") as caught:
        loads(data, path="some/file")
    assert caught.value.path == "some/file"


@pytest.mark.parametrize(
    "body",
    [
        "{}", "[]", "null", '{"classes":[]}', '{"tree":1,"tree":2}', '{"tree":{"a":1,"a":1}}', '{"tree":NaN}',
        '{"tree":-Infinity}', '{"tree":' + "[" * 100_000 + "]" * 100_000 + "}", '{"tree":' + "9" * 100_000 + "}",
        '{"tree":' + '{"a":' * 900 + "1" + "}" * 901, '{"tree":' + '{"$":"tuple","items":[' * 500 + "]}" * 500 + "}",
    ],
    ids=range(12),
)  # fmt: skip
def test_contents_that_are_none(body: str) -> None:
    with pytest.raises(DamagedError):
        loads(wrap(body))


def test_a_content_that_is_no_utf_8() -> None:
    body = b'{"tree":"\xed\xa0\x80"}'
    with pytest.raises(DamagedError, match="utf-8"):
        loads(b'{"metta_value":1,"crc32":"%08x","content":%b}' % (zlib.crc32(body), body))


PLAIN = {"name": "tests.store.kinds:Plain", "fields": ["a", "b"]}
BYTES = {"p": Part("U8", (8,), b"\x02" * 8)}


@pytest.mark.parametrize(
    ("tree", "classes", "parts"),
    [
        ({"$": "nothing"}, (), None),
        ({"$": ["list"]}, (), None),
        ({"$": "tuple"}, (), None),
        ({"$": "tuple", "items": {"a": 1}}, (), None),
        ({"$": "tuple", "items": {"$": "tuple", "items": []}}, (), None),
        ({"$": "set", "items": [[]]}, (), None),
        ({"$": "dict", "items": [[1, 2], [1, 3]]}, (), None),
        ({"$": "dict", "items": [[[], 2]]}, (), None),
        ({"$": "dict", "items": [[1]]}, (), None),
        ({"$": "deque", "items": [], "maxlen": -1}, (), None),
        ({"$": "deque", "items": [], "maxlen": 10**30}, (), None),
        ({"$": "bytes", "value": "no base 64!"}, (), None),
        ({"$": "bytes", "part": "q"}, (), BYTES),
        ({"$": "int", "value": "0xg"}, (), None),
        ({"$": "float", "value": "one"}, (), None),
        ({"$": "float", "value": []}, (), None),
        ({"$": "decimal", "value": "one"}, (), None),
        ({"$": "date", "value": "2026-13-01"}, (), None),
        ({"$": "timedelta", "value": [10**12, 0, 0]}, (), None),
        ({"$": "time", "value": ["01:00", {"key": "../../../etc/passwd"}, 0]}, (), None),
        ({"$": "time", "value": ["01:00", {"key": "/etc/passwd"}, 0]}, (), None),
        ({"$": "time", "value": ["01:00", {"offset": 10**15}, 0]}, (), None),
        ({"$": "path", "value": ["Path", 3]}, (), None),
        ({"$": "path", "value": ["os.system", "ls"]}, (), None),
        ({"$": "uuid", "value": "x"}, (), None),
        ({"$": "str", "value": "/w=="}, (), None),
        ({"$": "record", "class": 0, "values": [1, []]}, (), None),
        ({"$": "record", "class": -1, "values": [1, []]}, [PLAIN], None),
        ({"$": "record", "class": "0", "values": [1, []]}, [PLAIN], None),
        ({"$": "record", "class": 0, "values": [1]}, [PLAIN], None),
        ({"$": "record", "class": 0, "values": [1, []], "rest": {"__class__": []}}, ["Plain"], None),
        ({"$": "record", "class": 0, "values": [1, []]}, [{"name": "tests.store.kinds:Color", "fields": ["a"]}], None),
        ({"$": "enum", "class": 0, "name": "RED"}, [PLAIN], None),
        ({"$": "enum", "class": 0, "flags": "0x40"}, [{"name": "tests.store.kinds:Access"}], None),
        ({"$": "enum", "class": 0}, [{"name": "tests.store.kinds:Access"}], None),
        ({"$": "registered", "name": "Trial", "value": 3}, (), None),
        ({"$": "registered", "name": ["Trial"], "value": 3}, (), None),
        ({"$": "array", "part": "q"}, (), BYTES),
        ({"$": "array", "part": "p", "dtype": "|O", "shape": [1]}, (), BYTES),
        ({"$": "array", "part": "p", "dtype": "O", "shape": [1]}, (), BYTES),
        ({"$": "array", "part": "p", "dtype": "<f8", "shape": [2]}, (), BYTES),
        ({"$": "array", "part": "p", "dtype": "<f8", "shape": [-1]}, (), BYTES),
        ({"$": "array", "part": "p", "dtype": "<f8", "shape": [10**20]}, (), BYTES),
        ({"$": "array", "part": "p", "dtype": "<f8,<f8", "shape": [1]}, (), BYTES),
        ({"$": "array", "part": "p", "dtype": "|V0", "shape": [10**9, 10**9, 10**9]}, (), BYTES),
        ({"$": "array", "part": "p", "dtype": {"base": "<f8", "shape": [10**18]}, "shape": [1]}, (), BYTES),
        ([{"$": "array", "part": "p"}, {"$": "tensor", "part": "p"}], (), BYTES),
        ([{"$": "array", "part": "p"}, {"$": "array", "part": "p", "order": "F"}], (), BYTES),
        ({"$": "tensor", "part": "p", "dtype": "load", "shape": [1]}, (), BYTES),
        ({"$": "tensor", "part": "p", "dtype": "__class__", "shape": [1]}, (), BYTES),
        ({"$": "tensor", "part": "p", "dtype": "float64", "shape": [2]}, (), BYTES),
        ({"$": "tensor", "part": "p", "grad": True}, (), BYTES),
        ({"$": "scalar", "dtype": "<f8", "value": "00"}, (), None),
        ({"$": "scalar", "dtype": "|V99999999999", "value": "00"}, (), None),
        ({"$": "scalar", "dtype": "|O", "value": "00" * 8}, (), None),
    ],
)  # fmt: skip
def test_nodes_that_do_not_fit(tree: object, classes: object, parts: dict[str, Part] | None) -> None:
    with pytest.raises(DamagedError):
        loads(node(tree, classes, parts))


def test_attributes_do_not_reach_the_class() -> None:
    rest = {"__class__": 1, "__dict__": {"a": 5}, "method": 3}
    value = loads(node({"$": "record", "class": 0, "values": [1, []], "rest": rest}, [PLAIN]))
    assert type(value) is Plain
    assert value.a == 1


@pytest.mark.parametrize("zone", ["Mars/Olympus", "America"])
def test_zones_that_this_machine_does_not_know(zone: str) -> None:
    with pytest.raises(UsageError, match=f"has the zone '{zone}', which this machine does not know"):
        loads(node({"$": "time", "value": ["01:00", {"key": zone}, 0]}))


def test_names_that_nobody_registered() -> None:
    with pytest.raises(UsageError, match="the stored value is a 'Unheard', which nothing here has registered"):
        loads(node({"$": "registered", "name": "Unheard", "value": 1}))


def test_a_newer_format_is_refused() -> None:
    for value in SAMPLES:
        data = bytes(dumps(value)).replace(b'"metta_value":1', b'"metta_value":2').replace(
            b'"metta_value":"1"', b'"metta_value":"2"')  # fmt: skip
        with pytest.raises(RefusedError, match=r"format 2, and this release of metta-sweep reads up to 1: upgrade"):
            loads(data)


HEADERS: list[Any] = [
    {"a": {"dtype": "U8", "shape": [8], "data_offsets": [0, 9]}},
    {"a": {"dtype": "U8", "shape": [8], "data_offsets": [-8, 0]}},
    {"a": {"dtype": "U8", "shape": [4], "data_offsets": [0, 4]}},
    {"a": {"dtype": "U8", "shape": [4], "data_offsets": [4, 8]}},
    {name: {"dtype": "U8", "shape": [8], "data_offsets": [0, 8]} for name in "ab"},
    {"a": {"dtype": "U8", "shape": [2**62, 4], "data_offsets": [0, 8]}},
    {"a": {"dtype": "U8", "shape": [-8], "data_offsets": [0, 8]}},
    {"a": {"dtype": "U8", "shape": [8.0], "data_offsets": [0, 8]}},
    {"a": {"dtype": "X8", "shape": [8], "data_offsets": [0, 8]}},
    {"a": {"dtype": "F32", "shape": [8], "data_offsets": [0, 8]}},
    {"a": {"dtype": "U8", "shape": [1] * 65 + [8], "data_offsets": [0, 8]}},
    {"a": {"dtype": "U8", "shape": [8], "data_offsets": ["0", "8"]}},
    {"a": {"dtype": "U8", "shape": [8]}},
    {"a": 3},
]  # fmt: skip


@pytest.mark.parametrize("entries", HEADERS, ids=range(len(HEADERS)))
def test_tensors_at_wrong_places(entries: dict[str, Any]) -> None:
    content, data = '{"tree":1}', b"\0" * 8
    checksum = zlib.crc32(data, zlib.crc32(json.dumps(entries, sort_keys=True).encode(), zlib.crc32(content.encode())))
    metadata = {"metta_value": "1", "crc32": f"{checksum:08x}", "content": content}
    header = json.dumps({"__metadata__": metadata, **entries}).encode()
    with pytest.raises(DamagedError, match=r"tensor|behind|no stored value") as caught:
        unpack(struct.pack("<Q", len(header)) + header + data)
    assert "checksum" not in str(caught.value)


def test_a_small_file_never_takes_much_memory() -> None:
    files = [
        node([{"$": "array", "part": "p"}] * 1000, (), {"p": Part("U8", (100_000,), bytes(100_000))}),
        node([{"$": "tensor", "part": "p", "grad": index % 2 == 0} for index in range(1000)], (),
             {"p": Part("F32", (25_000,), bytes(100_000))}),
        node({"$": "deque", "items": [], "maxlen": 10**15}),
        node({"$": "decimal", "value": "1E+999999999"}),
    ]  # fmt: skip
    tracemalloc.start()
    for data in files:
        loads(data)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 5_000_000


KEYS = [
    "$", "items", "value", "class", "values", "name", "part", "dtype", "shape", "order", "rest", "flags", "fields",
    "attributes", "maxlen", "text", "bytes", "key", "offset", "base", "parameter", "grad",
]  # fmt: skip
TAGS = [
    "dict", "ordered", "tuple", "set", "deque", "enum", "record", "registered", "array", "tensor", "scalar", "bytes",
    "time", "datetime", "path", "complex", "timedelta", "int", "str", "unset",
]  # fmt: skip
json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.sampled_from(["p", "RED", "<f8", "U8", "float32", "tuple", "2026-01-01"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=4),
    max_leaves=12,
)


@given(st.sampled_from(TAGS), st.dictionaries(st.sampled_from(KEYS[1:]), json_values, max_size=5))
@settings(max_examples=200, derandomize=True, deadline=None)
def test_any_node_gives_a_value_or_an_error_of_ours(tag: str, fields: dict[str, Any]) -> None:
    classes = [PLAIN, {"name": "tests.store.kinds:Color"}]
    with contextlib.suppress(MettaSweepError):
        loads(node({"$": tag, **fields}, classes, BYTES))


@given(st.binary(max_size=200))
@settings(max_examples=200, derandomize=True, deadline=None)
def test_any_bytes(data: bytes) -> None:
    for start in (b"", b'{"metta_value":1,"crc32":"', struct.pack("<Q", len(data))):
        with pytest.raises(MettaSweepError):
            loads(start + data)
