"""Goes on with the pipelines of the other module."""

from __future__ import annotations

from typing import TYPE_CHECKING, reveal_type

from metta.sweep import Pipeline
from tests.plugins.cases.shop import parts
from tests.plugins.cases.shop.parts import (
    Invoice,
    Order,
    Unfinished,
    build,
    careful,
    free,
    is_large,
    pricing,
    quick,
    waiting,
)
from tests.plugins.cases.shop.parts import read_order as reading


def send(total: float, customer: str) -> str:
    return f"{customer}: {total}"


def send_to(total: float, address: str) -> str:
    return f"{address}: {total}"


def count(number: int) -> int:
    return number + 1


continued = (
    reading.stage("price", parts.price, discount=0.1)
    .through(Invoice, **careful)
    .stage("send", send)
    .through(text=str, **quick)
)
continued_wrong = (
    parts.read_order.stage("price", parts.price, discount="0.1")  # E: setting-type
    .through(Invoice)
    .stage("send", send_to)  # E: stage-input
    .through(text=str)
)
continued_lambda = reading.stage("price", parts.price).through(
    Invoice,
    log=lambda data: data.totals,  # S: attr-defined
)
late = waiting.through(Invoice, discount=0.1)
late_wrong = waiting.through(Order)  # E: stage-output
closed = Unfinished.counting.stage("count", count).through(number=int).end_loop()
nested = (
    Pipeline(number=int)
    .stage("read", reading)
    .conditional(is_large, free)
    .stage("price", pricing)
    .stage("send", send)
    .through(text=str)
)
nested_wrong = Pipeline(number=str).stage("read", reading)  # E: stage-input
nested_maybe = (
    Pipeline(Order)
    .conditional(is_large, free)
    .stage("send", lambda invoice: invoice.total)  # E: maybe-missing-field  # DN: untyped-stage
    .through(total=float)
)
from_a_function = build(0.1).stage("send", send).through(text=str)
from_a_function_wrong = build(0.1).stage("send", send_to).through(text=str)  # E: stage-input
duplicate = reading.stage("read", parts.price)  # E: duplicate-stage
graph = parts.read_order.compile()


def run() -> None:
    graph.run(number=3)
    graph.run(number="3")  # S: arg-type
    print(graph.run(number=3).customers)  # S: attr-defined


if TYPE_CHECKING:
    sent = continued.compile().run(number=3)
    reveal_type(sent)  # R: Context[TypedDict({'total': float, 'customer': str, 'text': str}),
    reveal_type(graph.run(number=3).items)  # R: list[str]
