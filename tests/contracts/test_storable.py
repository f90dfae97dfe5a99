"""Which types a typed codec can write down."""

import datetime
import enum
import pathlib
import threading
import uuid
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import IO, Annotated, Any, ForwardRef, Literal, NamedTuple, NewType, Optional, Protocol, TypeVar

import numpy as np
import numpy.typing as npt
import pytest
import torch

from metta.sweep.contracts.storable import storable
from tests.contracts.annotated_strings import Box


class Color(enum.Enum):
    RED = 1


class Point(NamedTuple):
    x: float
    y: float


@dataclass
class Node:
    value: int
    next: Optional["Node"] = None


@dataclass
class WithHook:
    value: int
    hook: Callable[[], None]


class Plain:
    pass


class Text(str):
    pass


class HasLoss(Protocol):
    loss: float


Meters = NewType("Meters", float)


@pytest.mark.parametrize(
    "tp",
    [
        None, bool, int, float, complex, str, bytes, Decimal, datetime.datetime, datetime.date, datetime.timedelta,
        uuid.UUID, pathlib.Path, pathlib.PurePosixPath, Color, Point, Node, Meters, Literal["a", 1],
        list[int], tuple[int, ...], tuple[int, str], tuple[()], set[str], frozenset[int], dict[str, list[Point]],
        deque[int], OrderedDict[str, int], int | None, Node | None, Annotated[int, []], Box[int],
        np.ndarray, npt.NDArray[np.float32], np.float64, np.bool_, torch.Tensor, dict[str, torch.Tensor],
    ],
)  # fmt: skip
def test_storable(tp: Any) -> None:
    assert storable(tp) is True


@pytest.mark.parametrize(
    "tp",
    [
        Callable[[int], int], Iterator[int], type(threading.Lock()), IO[str], Plain, list[Plain],
        dict[str, Any | Plain],
        WithHook, Node | Callable[[], None], type[int], torch.nn.Module, npt.NDArray[np.object_], Text, Box[Plain],
        Sequence[Plain], type(pathlib),
    ],
)  # fmt: skip
def test_not_storable(tp: Any) -> None:
    assert storable(tp) is False


@pytest.mark.parametrize(
    "tp",
    [Any, object, list, list[Any], dict[str, object], HasLoss, TypeVar("T"), ForwardRef("X"), Mapping[str, int], Box],
)
def test_the_type_does_not_say(tp: Any) -> None:
    assert storable(tp) is None
