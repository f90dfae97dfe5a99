"""What a changed graph makes void: the changed stages, and those that read what these have written."""

from __future__ import annotations

from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metta.sweep import Pipeline, field
from metta.sweep.runtime.changes import changes_of, touched
from metta.sweep.runtime.scope import Scope, node_of


class Split(NamedTuple):
    train: int
    test: int


def one(x: int) -> int:
    return x


def add(a: int, b: int) -> int:
    return a + b


def split(x: int) -> Split:
    return Split(x, x)


def step(train: int) -> int:
    return train + 1


CHAIN = (
    Pipeline(x=int, z=int)
    .stage("a", one)
    .through(a=int)
    .stage("b", one, x=field("z"))
    .through(b=int)
    .stage("c", one, x=field("a"))
    .through(c=int)
    .stage("d", add)
    .through(d=int)
)

REPLACING = (
    Pipeline(x=int)
    .stage("split", split)
    .through(Split)
    .loop_while(lambda now: now.train < 3)
    .stage("step", step)
    .through(train=int)
    .end_loop()
    .stage("test", one, x=field("test"))
    .through(score=int)
    .stage("other", one, x=field("score"))
    .through(other=int)
)

BRANCHES = (
    Pipeline(x=int, y=int)
    .conditional(lambda now: now.x > 1, Pipeline().stage("then", one, x=field("y")).through(z=int))
    .stage("behind", lambda ctx: ctx.get("z", 0))
    .through(w=int)
    .parallel({"l": one, "r": Pipeline().stage("arm", one, x=field("y")).through(int)})
    .stage("last", one, x=field("l"))
    .through(last=int)
)

NESTED = (
    Pipeline(x=int, y=int)
    .stage("inner", Pipeline(x=int).stage("deep", one).through(p=int).stage("deeper", one, x=field("p")).through(q=int))
    .through(checkpoint=True)
    .stage("behind", one, x=field("q"))
    .through(r=int)
    .stage("apart", one, x=field("y"))
    .through(s=int)
)


def changed(pipeline: Pipeline, *nodes: str, inputs: frozenset[str] = frozenset()) -> set[str]:
    graph = pipeline.compile().graph
    now = {node.id: "0" for node in graph.walk()}
    assert now.keys() >= set(nodes)
    return set(touched(graph, {**now, **dict.fromkeys(nodes, "1")}, now, inputs))


@pytest.mark.parametrize(
    ("node", "expected"),
    [("a", {"a", "c", "d"}), ("b", {"b", "d"}), ("c", {"c"}), ("d", {"d"})],
)
def test_a_chain_is_followed_by_its_fields(node: str, expected: set[str]) -> None:
    assert changed(CHAIN, node) == expected


def test_a_changed_input_is_followed() -> None:
    assert changed(CHAIN, inputs=frozenset({"z"})) == {"b", "d"}


def test_a_loop_is_touched_as_a_whole_through_its_condition() -> None:
    assert changed(REPLACING, "step") == {"loop", "step"}
    assert changed(REPLACING, "test") == {"test", "other"}
    assert changed(REPLACING, "split") == {"split", "loop", "step", "test", "other"}


def test_a_condition_touches_its_arms() -> None:
    assert changed(BRANCHES, "conditional") >= {"conditional", "conditional.then.then", "behind"}
    assert "behind" in changed(BRANCHES, "conditional.then.then")
    assert "parallel.r.arm" not in changed(BRANCHES, "conditional.then.then")


def test_an_arm_touches_what_its_parallel_step_gives() -> None:
    found = changed(BRANCHES, "parallel.r.arm")
    assert {"parallel", "last"} <= found
    assert not found & {"conditional", "behind"}


def test_a_nested_pipeline_is_void_as_a_whole_with_any_of_its_stages() -> None:
    assert changed(NESTED, "inner.deeper") == {"inner", "inner.deeper", "behind"}
    assert changed(NESTED, "inner.deep") == {"inner", "inner.deep", "inner.deeper", "behind"}
    assert changed(NESTED, inputs=frozenset({"y"})) == {"apart"}


def test_the_differences_are_listed() -> None:
    before = {"load": "1", "train": "2", "tets": "3"}
    now = {"load": "1", "train": "9", "test": "3", "report": "4"}
    assert changes_of(before, now, frozenset({"@value"})) == [
        'the input "value" is another',
        'stage "train" has changed: its code, its settings or its contract',
        'stage "tets" is gone (is it "test" now?)',
        'stage "test" is new',
        'stage "report" is new',
    ]


@given(st.lists(st.text(min_size=1, max_size=8), min_size=1, max_size=4, unique=True), st.text(max_size=5))
def test_a_key_gives_back_its_node_whatever_its_name(nodes: list[str], attempt: str) -> None:
    scope = Scope(None, f"{'outer'}~2/")  # type: ignore[arg-type]
    keys: list[str] = []
    for node in nodes * 2:
        for key in (scope.key(node), scope.key(node, "while"), scope.element(node, len(keys))):
            assert node_of(key) == node
            keys.append(key)
    assert len(set(keys)) == len(keys)
