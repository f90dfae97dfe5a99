"""Records and stages of the positional cases, as a user would write them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple, TypedDict

import attrs
from pydantic import BaseModel


class Model(NamedTuple):
    loss: float
    steps: int


class Report(NamedTuple):
    text: str


@dataclass(frozen=True)
class Batch:
    rows: list[float]


@attrs.frozen
class Settings:
    rate: float


class Checked(BaseModel):
    loss: float


class Config(TypedDict):
    rate: float
    momentum: float


class Network:
    """A plain class: a value without fields."""

    def __init__(self, width: int = 1) -> None:
        self.width = width


class Wide(Network):
    """A network too."""


def to_float(x: int) -> float:
    return float(x)


def to_text(x: float) -> str:
    return str(x)


def text_length(text: str) -> int:
    return len(text)


def to_list(x: int) -> list[int]:
    return [x]


def to_dict(x: int) -> dict[str, float]:
    return {"x": float(x)}


def to_model(x: int) -> Model:
    return Model(float(x), x)


def to_report(x: float) -> Report:
    return Report(str(x))


def to_batch(x: int) -> Batch:
    return Batch([float(x)])


def to_checked(x: int) -> Checked:
    return Checked(loss=float(x))


def to_config(x: int) -> Config:
    return {"rate": float(x), "momentum": 0.0}


def to_network(x: int) -> Network:
    return Network(x)


def to_wide(x: int) -> Wide:
    return Wide(x)


def show(x: float) -> None:
    print(x)


def halve(x: float) -> float:
    return x / 2


def scale(x: float, factor: float) -> float:
    return x * factor


def by_name(*, x: float) -> float:
    return x


def read_fields(loss: float, steps: int) -> float:
    return loss * steps


def read_loss(loss: float) -> float:
    return loss


def read_rows(rows: list[float]) -> float:
    return sum(rows)


def read_rate(rate: float) -> float:
    return rate


def advance(model: Model) -> Model:
    return model._replace(steps=model.steps + 1)


async def slow(x: int) -> float:
    return float(x)


async def always(x: float) -> bool:
    return x > 0


def untyped(x):  # type: ignore[no-untyped-def]
    return x


anything: Any = to_float
