"""Types of all sorts in contracts and parameters: unions, literals, containers, aliases, callables, new types."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from enum import Enum
from typing import TYPE_CHECKING, Annotated, Any, Literal, NewType, Optional, TypeAlias, Union

from metta.sweep import Pipeline

if TYPE_CHECKING:
    from decimal import Decimal

UserId = NewType("UserId", int)
Scores: TypeAlias = dict[str, float]
Mode = Literal["train", "test"]
Positive = Annotated[int, "positive"]


class Color(Enum):
    RED = 1
    GREEN = 2


class Animal:
    legs = 4


class Dog(Animal):
    def bark(self) -> str:
        return "!"


def make_optional(seed: int) -> float | None:
    return float(seed) if seed else None


def make_scores(seed: int) -> Scores:
    return {"a": float(seed)}


def make_mode(seed: int) -> Mode:
    return "train" if seed else "test"


def make_user(seed: int) -> UserId:
    return UserId(seed)


def make_dogs(seed: int) -> list[Dog]:
    return [Dog()] * seed


def make_dog(seed: int) -> Dog:
    return Dog()


def make_color(seed: int) -> Color:
    return Color.RED if seed else Color.GREEN


def make_callback(seed: int) -> Callable[[int], str]:
    return lambda x: str(x + seed)


def make_type(seed: int) -> type[Dog]:
    return Dog


def make_tuple(seed: int) -> tuple[int, str]:
    return seed, "a"


def use_float(number: float) -> float:
    return number


def use_optional(number: float | None) -> float:
    return number or 0.0


def use_old_optional(number: Optional[float]) -> float:  # noqa: UP045
    return number or 0.0


def use_union(number: Union[int, str]) -> float:  # noqa: UP007
    return float(number)


def use_mode(mode: Literal["train", "test", "predict"]) -> str:
    return mode


def use_train(mode: Literal["train"]) -> str:
    return mode


def use_text(mode: str) -> str:
    return mode


def use_user(user: UserId) -> int:
    return user


def use_int(user: int) -> int:
    return user


def use_animals(animals: list[Animal]) -> int:
    return len(animals)


def use_any_animals(animals: Sequence[Animal]) -> int:
    return len(animals)


def use_animal(animals: Animal) -> int:
    return animals.legs


def use_dog(animals: Dog) -> str:
    return animals.bark()


def use_color(color: Color) -> str:
    return color.name


def use_callback(callback: Callable[[bool], object]) -> object:
    return callback(True)


def use_text_callback(callback: Callable[[str], str]) -> str:
    return callback("a")


def use_type(kind: type[Animal]) -> int:
    return kind.legs


def use_mapping(scores: Mapping[str, object]) -> int:
    return len(scores)


def use_int_scores(scores: dict[str, int]) -> int:
    return len(scores)


def use_items(items: Iterable[int]) -> int:
    return sum(items)


optional_good = Pipeline(seed=int).stage("o", make_optional).through(number=float | None).stage("u", use_optional)
optional_old = Pipeline(seed=int).stage("o", make_optional).through(number=Optional[float]).stage("u", use_old_optional)  # noqa: UP045
optional_bad = (
    Pipeline(seed=int).stage("o", make_optional).through(number=float | None).stage("u", use_float)  # E: stage-input
)
optional_contract = Pipeline(seed=int).stage("o", make_optional).through(number=float)  # E: stage-output
union_good = Pipeline(number=int).stage("u", use_union)
union_bad = Pipeline(number=int | bytes).stage("u", use_union)  # E: stage-input
promoted = Pipeline(number=int).stage("u", use_float)
not_promoted = Pipeline(user=float).stage("u", use_int)  # E: stage-input
literal_good = Pipeline(seed=int).stage("m", make_mode).through(mode=Mode).stage("u", use_mode)
literal_as_text = Pipeline(seed=int).stage("m", make_mode).through(mode=str).stage("u", use_text)
literal_bad = Pipeline(seed=int).stage("m", make_mode).through(mode=Mode).stage("u", use_train)  # E: stage-input
text_is_no_literal = Pipeline(mode=str).stage("u", use_mode)  # E: stage-input
new_type_good = Pipeline(seed=int).stage("m", make_user).through(user=UserId).stage("u", use_user)
new_type_as_int = Pipeline(seed=int).stage("m", make_user).through(user=int).stage("u", use_int)
new_type_bad = Pipeline(user=int).stage("u", use_user)  # E: stage-input
variance_good = Pipeline(seed=int).stage("m", make_dogs).through(animals=list[Dog]).stage("u", use_any_animals)
variance_bad = (
    Pipeline(seed=int).stage("m", make_dogs).through(animals=list[Dog]).stage("u", use_animals)  # E: stage-input
)
variance_contract = Pipeline(seed=int).stage("m", make_dogs).through(animals=list[Animal])  # E: stage-output
subclass_good = Pipeline(seed=int).stage("m", make_dog).through(animals=Dog).stage("u", use_animal)
subclass_bad = (
    Pipeline(seed=int).stage("m", make_dog).through(animals=Animal).stage("u", use_dog)  # E: stage-input
)
enum_good = Pipeline(seed=int).stage("m", make_color).through(color=Color).stage("u", use_color)
enum_bad = Pipeline(color=Literal[1]).stage("u", use_color)  # E: stage-input
callback_good = (
    Pipeline(seed=int).stage("m", make_callback).through(callback=Callable[[int], str]).stage("u", use_callback)
)
callback_bad = (
    Pipeline(seed=int)
    .stage("m", make_callback)
    .through(callback=Callable[[int], str])
    .stage("u", use_text_callback)  # E: stage-input
)
type_good = Pipeline(seed=int).stage("m", make_type).through(kind=type[Dog]).stage("u", use_type)
type_bad = Pipeline(kind=type[int]).stage("u", use_type)  # E: stage-input
alias_good = Pipeline(seed=int).stage("m", make_scores).through(scores=Scores).stage("u", use_mapping)
alias_bad = (
    Pipeline(seed=int).stage("m", make_scores).through(scores=Scores).stage("u", use_int_scores)  # E: stage-input
)
annotated_good = Pipeline(user=Positive).stage("u", use_int)
annotated_bad = Pipeline(mode=Positive).stage("u", use_text)  # E: stage-input
tuple_good = Pipeline(seed=int).stage("m", make_tuple).through(pair=tuple[int, str])
tuple_apart = Pipeline(seed=int).stage("m", make_tuple).through(user=int, mode=str).stage("u", use_text)
tuple_bad = Pipeline(seed=int).stage("m", make_tuple).through(pair=tuple[int, int])  # E: stage-output
tuple_open = Pipeline(items=tuple[int, ...]).stage("u", use_items)
tuple_items = Pipeline(items=tuple[int, str]).stage("u", use_items)  # E: stage-input
set_items = Pipeline(items=set[int]).stage("u", use_items)
text_items = Pipeline(items=str).stage("u", use_items)  # E: stage-input
any_items = Pipeline(items=Any).stage("u", use_items)
object_items = Pipeline(items=object).stage("u", use_items)  # E: stage-input
quoted = Pipeline(items="list[str]").stage("u", use_text)  # E: missing-field


def hidden_type(amount: Decimal) -> Decimal:
    return amount


of_a_hidden_type = Pipeline(amount=float).stage("hidden", hidden_type)  # S: stage-input  # DN: untyped-stage
