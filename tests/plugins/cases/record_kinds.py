"""The five kinds of records: read by field, rebuilt, replaced, seen by lambdas; inheritance and generics."""

from __future__ import annotations

from dataclasses import dataclass
from dataclasses import field as dataclass_field
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, NotRequired, Required, TypedDict, TypeVar, reveal_type

import attrs
from pydantic import BaseModel

from metta.sweep import Pipeline

T = TypeVar("T")


class AsTuple(NamedTuple):
    loss: float
    name: str = "tuple"


@dataclass(frozen=True)
class AsDataclass:
    loss: float
    name: str = "dataclass"


class AsDict(TypedDict):
    loss: float
    name: str


class AsModel(BaseModel):
    loss: float
    name: str = "model"


@attrs.frozen
class AsAttrs:
    loss: float
    name: str = "attrs"


def make_tuple(seed: int) -> AsTuple:
    return AsTuple(float(seed))


def make_dataclass(seed: int) -> AsDataclass:
    return AsDataclass(float(seed))


def make_dict(seed: int) -> AsDict:
    return {"loss": float(seed), "name": "dict"}


def make_model(seed: int) -> AsModel:
    return AsModel(loss=float(seed))


def make_attrs(seed: int) -> AsAttrs:
    return AsAttrs(float(seed))


def use(loss: float, name: str) -> float:
    return loss + len(name)


def use_wrong(loss: float, name: bytes) -> float:
    return loss + len(name)


def use_missing(loss: float, names: str) -> float:
    return loss + len(names)


def halve(loss: float) -> float:
    return loss / 2


def take_tuple(record: AsTuple) -> float:
    return record.loss


def take_dataclass(record: AsDataclass) -> float:
    return record.loss


def take_dict(record: AsDict) -> float:
    return record["loss"]


def take_model(record: AsModel) -> float:
    return record.loss


def take_attrs(record: AsAttrs) -> float:
    return record.loss


# -- read by field ----------------------------------------------------------------------------------------------------

tuple_good = Pipeline(seed=int).stage("make", make_tuple).stage("use", use).through(total=float)
tuple_wrong = Pipeline(seed=int).stage("make", make_tuple).stage("use", use_wrong)  # E: stage-input
tuple_missing = Pipeline(seed=int).stage("make", make_tuple).stage("use", use_missing)  # E: stage-input
dataclass_good = Pipeline(seed=int).stage("make", make_dataclass).stage("use", use).through(total=float)
dataclass_wrong = Pipeline(seed=int).stage("make", make_dataclass).stage("use", use_wrong)  # E: stage-input
dataclass_missing = Pipeline(seed=int).stage("make", make_dataclass).stage("use", use_missing)  # E: stage-input
dict_good = Pipeline(seed=int).stage("make", make_dict).stage("use", use).through(total=float)
dict_wrong = Pipeline(seed=int).stage("make", make_dict).stage("use", use_wrong)  # E: stage-input
dict_missing = Pipeline(seed=int).stage("make", make_dict).stage("use", use_missing)  # E: stage-input
model_good = Pipeline(seed=int).stage("make", make_model).stage("use", use).through(total=float)
model_wrong = Pipeline(seed=int).stage("make", make_model).stage("use", use_wrong)  # E: stage-input
model_missing = Pipeline(seed=int).stage("make", make_model).stage("use", use_missing)  # E: stage-input
attrs_good = Pipeline(seed=int).stage("make", make_attrs).stage("use", use).through(total=float)
attrs_wrong = Pipeline(seed=int).stage("make", make_attrs).stage("use", use_wrong)  # E: stage-input
attrs_missing = Pipeline(seed=int).stage("make", make_attrs).stage("use", use_missing)  # E: stage-input

# -- built from fields, rebuilt, replaced -----------------------------------------------------------------------------

built = (
    Pipeline(loss=float, name=str)
    .stage("tuple", take_tuple)
    .through(a=float)
    .stage("dataclass", take_dataclass)
    .through(b=float)
    .stage("dict", take_dict)
    .through(c=float)
    .stage("model", take_model)
    .through(d=float)
    .stage("attrs", take_attrs)
    .through(e=float)
)
built_without = Pipeline(name=str).stage("tuple", take_tuple)  # E: missing-field
built_without_name = Pipeline(loss=float).stage("dict", take_dict)  # E: missing-field
built_wrongly = Pipeline(loss=str, name=str).stage("model", take_model)  # E: stage-input
built_of_wrong_name = (
    Pipeline(loss=float, name=int)
    .stage("attrs", take_attrs)  # E: stage-input
    .through(total=float)
)
another_record = Pipeline(AsTuple).stage("dataclass", take_dataclass).through(total=float)
rebound = (
    Pipeline(seed=int)
    .stage("make", make_dataclass)
    .stage("halve", halve)
    .through(loss=float)
    .stage("take", take_dataclass)
    .through(total=float)
    .stage("again", make_model, seed=3)
    .stage("half", halve)
    .through(loss=float)
    .stage("model", take_model)
    .through(total=float)
)
rebound_wrongly = (
    Pipeline(seed=int).stage("make", make_attrs).stage("halve", halve).through(name=float)  # E: field-redefined
)
replaced = (
    Pipeline(seed=int)
    .stage("make", make_model)
    .stage("again", make_tuple)  # E: stage-input
    .through(AsTuple)
)
output_good = Pipeline(seed=int).stage("make", make_attrs).through(loss=float, name=str)
output_wrong = Pipeline(seed=int).stage("make", make_attrs).through(loss=float, name=bytes)  # E: stage-output
output_missing = Pipeline(seed=int).stage("make", make_model).through(loss=float, title=str)  # E: stage-output
output_of_another_kind = Pipeline(seed=int).stage("make", make_dict).through(AsTuple)  # E: stage-output
rebound_and_read = (
    Pipeline(seed=int)
    .stage("make", make_attrs)
    .through(
        AsAttrs,
        transform=lambda data: attrs.evolve(data, loss=1.0),
        log=lambda data: data.losss,  # S: attr-defined
    )
)


# -- inheritance and generics -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Longer(AsDataclass):
    steps: int = 0
    history: list[float] = dataclass_field(default_factory=list)


class LongerDict(AsDict, total=False):
    steps: Required[int]
    history: list[float]


class LongerModel(AsModel):
    steps: int


@dataclass
class Box(Generic[T]):
    item: T
    count: int


class Pair(NamedTuple, Generic[T]):
    left: T
    right: T


class BoxDict(TypedDict, Generic[T]):
    item: T
    note: NotRequired[str]


def make_longer(seed: int) -> Longer:
    return Longer(float(seed))


def make_longer_dict(seed: int) -> LongerDict:
    return {"loss": 1.0, "name": "a", "steps": seed}


def make_longer_model(seed: int) -> LongerModel:
    return LongerModel(loss=1.0, steps=seed)


def make_box(seed: int) -> Box[str]:
    return Box(str(seed), seed)


def make_pair(seed: int) -> Pair[float]:
    return Pair(float(seed), 1.0)


def make_box_dict(seed: int) -> BoxDict[bytes]:
    return {"item": bytes(seed)}


def use_history(history: list[float], steps: int, loss: float) -> float:
    return sum(history) + steps + loss


def use_text(item: str) -> str:
    return item


def use_bytes(item: bytes) -> bytes:
    return item


def use_left(left: float) -> float:
    return left


def use_note(note: str) -> str:
    return note


inherited = Pipeline(seed=int).stage("make", make_longer).stage("use", use_history).through(total=float)
inherited_as_base = Pipeline(seed=int).stage("make", make_longer).stage("take", take_dataclass).through(total=float)
inherited_contract = (
    Pipeline(seed=int).stage("make", make_longer).through(AsDataclass).stage("use", use_history)  # E: missing-field
)
base_is_no_longer = Pipeline(seed=int).stage("make", make_dataclass).through(Longer)  # E: stage-output
inherited_model = Pipeline(seed=int).stage("make", make_longer_model).stage("take", take_model).through(total=float)
inherited_dict = Pipeline(seed=int).stage("make", make_longer_dict).stage("use", use).through(total=float)
inherited_maybe = Pipeline(seed=int).stage("make", make_longer_dict).stage("h", use_history)  # E: maybe-missing-field
generic_good = Pipeline(seed=int).stage("make", make_box).stage("use", use_text).through(text=str)
generic_wrong = Pipeline(seed=int).stage("make", make_box).stage("use", use_bytes)  # E: stage-input
generic_contract = Pipeline(seed=int).stage("make", make_box).through(Box[str]).stage("use", use_text)
generic_contract_wrong = Pipeline(seed=int).stage("make", make_box).through(Box[int])  # E: stage-output
generic_pair = Pipeline(seed=int).stage("make", make_pair).stage("use", use_left).through(text=float)
generic_pair_wrong = Pipeline(seed=int).stage("make", make_pair).stage("use", use_text)  # E: stage-input
generic_dict = Pipeline(seed=int).stage("make", make_box_dict).stage("use", use_bytes).through(text=bytes)
generic_dict_wrong = Pipeline(seed=int).stage("make", make_box_dict).stage("use", use_text)  # E: stage-input
generic_dict_maybe = Pipeline(seed=int).stage("make", make_box_dict).stage("use", use_note)  # E: maybe-missing-field


def anything(seed: int) -> Any:
    return seed


of_any = Pipeline(seed=int).stage("any", anything).through(AsModel).stage("take", take_model).through(total=float)

if TYPE_CHECKING:
    reveal_type(generic_pair.compile().run(seed=1).left)  # R: float
    reveal_type(rebound.compile().run(seed=1).loss)  # R: float
    reveal_type(generic_contract.compile().run(seed=1))  # R: str
    reveal_type(Pipeline(seed=int).stage("make", make_model).compile().run(seed=1))  # R: AsModel
