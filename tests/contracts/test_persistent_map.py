"""PersistentMap beside a dict that is copied at every step."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from metta.sweep.contracts.flow import EMPTY, PersistentMap

NAMES = [f"k{number}" for number in range(40)]

items = st.tuples(st.sampled_from(NAMES), st.integers())


@settings(derandomize=True, max_examples=60, deadline=None)
@given(start=st.dictionaries(st.sampled_from(NAMES), st.integers(), max_size=12), steps=st.lists(items, max_size=120))
def test_every_version_reads_like_a_dict_of_its_own(start: dict[str, int], steps: list[tuple[str, int]]) -> None:
    versions: list[tuple[PersistentMap[int], dict[str, int]]] = [(PersistentMap.of(start), dict(start))]
    for name, value in steps:
        before, expected = versions[-1]
        versions.append((before.set(name, value), {**expected, name: value}))
    for found, expected in versions:
        assert list(found.items()) == list(expected.items())
        assert (list(found), len(found)) == (list(expected), len(expected))
        assert [found.get(name) for name in NAMES] == [expected.get(name) for name in NAMES]
        assert [name in found for name in NAMES] == [name in expected for name in NAMES]


def test_the_empty_map_stays_empty() -> None:
    EMPTY.set("a", 1)
    assert dict(EMPTY.items()) == {}
    assert "a" not in EMPTY
