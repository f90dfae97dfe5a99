"""A compiled graph of tensor stages is traced as one graph: nothing of ours breaks it."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import pytest
import torch

from metta.sweep import CompiledGraph, Pipeline, field


class Hidden(NamedTuple):
    hidden: torch.Tensor
    scale: torch.Tensor


def center(x: torch.Tensor) -> torch.Tensor:
    return x - x.mean()


def widen(x: torch.Tensor) -> Hidden:
    return Hidden(torch.cat([x, -x], dim=-1), x.abs().max())


def activate(hidden: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
    return torch.relu(hidden) / (scale + 1)


def chain() -> CompiledGraph:
    torch.manual_seed(0)
    return (
        Pipeline(torch.Tensor)
        .stage("center", center)
        .stage("layer", torch.nn.Linear(4, 4))
        .stage("relu", torch.relu)
        .through(torch.Tensor)
        .compile()
    )


def fields() -> CompiledGraph:
    torch.manual_seed(0)
    return (
        Pipeline(x=torch.Tensor)
        .stage("center", center)
        .through(x=torch.Tensor)
        .stage("layer", torch.nn.Linear(4, 4), input=field("x"))
        .through(x=torch.Tensor)
        .stage("widen", widen)
        .through(Hidden)
        .stage("activate", activate)
        .through(y=torch.Tensor)
        .compile()
    )


@pytest.mark.filterwarnings("default")  # of torch's own tracing
@pytest.mark.parametrize("make", [chain, fields])
@pytest.mark.parametrize("bare", [False, True], ids=["graph", "function"])
def test_fullgraph(make: Callable[[], CompiledGraph], bare: bool) -> None:
    graph = make()
    traced: list[int] = []

    def count(module: torch.fx.GraphModule, inputs: object) -> object:
        traced.append(len(module.graph.nodes))
        return module.forward

    torch._dynamo.reset()
    compiled = torch.compile(graph.function if bare else graph, fullgraph=True, backend=count)
    x = torch.randn(3, 4)
    found, expected = compiled(x), graph(x)
    if make is fields:
        found, expected = found.y, expected.y
    assert torch.equal(found, expected)
    assert len(traced) == 1
