"""A compiled graph inside a training loop: without hooks it is ordinary Python, which torch.compile can trace.

`graph(...)` calls the generated function itself (`graph.source`), without checking the inputs again. An `nn.Module` is
a stage: its `forward` says what it takes.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from metta.sweep import Pipeline


class Network(nn.Module):
    """Two layers."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(2, width), nn.Tanh(), nn.Linear(width, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Args: x of shape (batch, 2). Returns: shape (batch, 1)."""
        return self.layers(x)  # type: ignore[no-any-return]


def normalize(x: Tensor) -> Tensor:
    """Zero mean, unit variance over the batch."""
    return (x - x.mean(0)) / x.std(0)


def squared_error(prediction: Tensor, y: Tensor) -> Tensor:
    """The mean over the batch."""
    return ((prediction - y) ** 2).mean()


def loss_of(network: Network) -> Pipeline:
    """The forward pass as a pipeline; its result is the loss."""
    return (
        Pipeline(x=Tensor, y=Tensor)
        .stage("normalize", normalize)
        .through(x=Tensor)
        .stage("network", network)
        .through(prediction=Tensor)
        .stage("loss", squared_error)
        .through(Tensor)
    )


def main() -> None:
    """Train a few steps, with the graph as it is and traced by torch.compile."""
    torch.manual_seed(0)
    x = torch.randn(128, 2)
    y = x[:, :1] * x[:, 1:]
    network = Network(16)
    graph = loss_of(network).compile()
    print(graph.source)
    # fullgraph=True: an operation that cannot be traced would be an error. The "eager" backend needs no C++ compiler;
    # leave the argument out for the speed.
    traced = torch.compile(graph.function, fullgraph=True, backend="eager")
    optimizer = torch.optim.Adam(network.parameters(), lr=0.05)
    losses: list[float] = []
    for _ in range(60):
        optimizer.zero_grad()
        loss = graph(x=x, y=y)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    print("learns:", losses[-1] < losses[0] / 5)
    print("traced gives the same:", torch.allclose(traced(x=x, y=y), graph(x=x, y=y)))


if __name__ == "__main__":
    main()
