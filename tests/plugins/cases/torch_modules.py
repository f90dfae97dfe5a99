"""A torch module as a stage: it binds by `forward`."""

from __future__ import annotations

import torch
from torch import nn

from metta.sweep import Pipeline


class Encoder(nn.Module):
    def __init__(self, width: int = 4) -> None:
        super().__init__()
        self.layer = nn.Linear(width, width)

    def forward(self, images: torch.Tensor, scale: float = 1.0) -> torch.Tensor:
        return images


class Head(nn.Module):
    def forward(self, encoded: torch.Tensor) -> float:
        return 0.0


def use(loss: float) -> float:
    return loss


encoder = Encoder()

good = (
    Pipeline(images=torch.Tensor)
    .stage("encode", encoder, scale=2.0)
    .through(encoded=torch.Tensor)
    .stage("head", Head())
    .through(loss=float)
    .stage("use", use)
)
not_there = Pipeline(pictures=torch.Tensor).stage("encode", encoder)  # E: missing-field
of_another_type = Pipeline(images=list[float]).stage("encode", encoder)  # E: stage-input
unknown = Pipeline(images=torch.Tensor).stage("encode", encoder, width=3)  # E: unknown-setting
setting = Pipeline(images=torch.Tensor).stage("encode", encoder, scale="2")  # E: setting-type
output = Pipeline(images=torch.Tensor).stage("encode", encoder).through(encoded=float)  # E: stage-output
linear = Pipeline(torch.Tensor).stage("linear", nn.Linear(3, 4)).through(torch.Tensor)
linear_output = Pipeline(torch.Tensor).stage("linear", nn.Linear(3, 4)).through(float)  # E: stage-output
