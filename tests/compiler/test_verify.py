"""The verifier finds what the rules would never build."""

from __future__ import annotations

from dataclasses import replace

import pytest

from metta.sweep import Pipeline
from metta.sweep.compiler.graph import Graph, Node, Region
from metta.sweep.compiler.verify import verify
from metta.sweep.errors import InternalError


def up(x: int) -> int:
    return x + 1


def give(x: int) -> str:
    return str(x)


def read(name: str) -> int:
    return len(name)


def graph() -> Graph:
    return (
        Pipeline(x=int)
        .loop_while(lambda ctx: ctx.x < 3)
        .stage("up", up)
        .through(x=int)
        .break_if(lambda ctx: ctx.x == 2)
        .end_loop()
        .stage("give", give)
        .through(name=str)
        .stage("read", read)
        .through(size=int)
        .compile()
        .graph
    )


def with_nodes(changed: Graph, *nodes: Node) -> Graph:
    body = changed.body
    return replace(changed, body=Region(body.label, nodes, body.start, body.end))


def test_what_the_rules_build_is_well_formed() -> None:
    verify(graph())


def test_a_read_before_its_field_is_set() -> None:
    whole = graph()
    loop, give_node, read_node = whole.body.nodes
    with pytest.raises(InternalError, match="read reads name, which is not set on every way"):
        verify(with_nodes(whole, loop, read_node, give_node))


def test_a_field_that_only_a_loop_sets() -> None:
    inner = graph()
    loop, give_node, read_node = inner.body.nodes
    (body,) = loop.regions
    moved = replace(loop, regions=(replace(body, nodes=(*body.nodes, give_node)),))
    with pytest.raises(InternalError, match="read reads name"):
        verify(with_nodes(inner, moved, read_node))


def test_a_break_outside_a_loop() -> None:
    whole = graph()
    loop, *rest = whole.body.nodes
    (body,) = loop.regions
    with pytest.raises(InternalError, match="break stands outside a loop"):
        verify(with_nodes(whole, body.nodes[0], body.nodes[1], *rest))


def test_an_id_that_stands_twice() -> None:
    whole = graph()
    loop, give_node, read_node = whole.body.nodes
    with pytest.raises(InternalError, match="id give stands twice"):
        verify(with_nodes(whole, loop, give_node, give_node, read_node))


def test_equal_names_on_different_levels_get_ids_of_their_own() -> None:
    inner = Pipeline(x=int).loop_while(lambda ctx: ctx.x < 3).stage("loop", up).through(x=int).end_loop()
    whole = (
        Pipeline(x=int)
        .loop_while(lambda ctx: ctx.x < 2)
        .loop_while(lambda ctx: ctx.x < 1)
        .stage("x", up)
        .through(x=int)
        .end_loop()
        .end_loop()
        .stage("loop", inner)
        .stage("loop.x", up)
        .through(x=int)
        .compile()
        .graph
    )
    verify(whole)
    assert [node.id for node in whole.walk()] == [
        "loop",
        "loop-2",
        "x",
        "loop-3",
        "loop-3.loop",
        "loop-3.loop-2",
        "loop.x",
    ]
