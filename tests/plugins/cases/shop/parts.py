"""Pipelines that another module goes on with."""

from __future__ import annotations

from typing import NamedTuple

from metta.sweep import HookSet, Pipeline
from metta.sweep.pipeline.hooks import Hooks


class Order(NamedTuple):
    items: list[str]
    customer: str


class Invoice(NamedTuple):
    total: float
    customer: str


def read(number: int) -> Order:
    return Order(["a"] * number, "b")


def price(items: list[str], customer: str, discount: float = 0.0) -> Invoice:
    return Invoice(len(items) * (1 - discount), customer)


def is_large(order: Order) -> bool:
    return len(order.items) > 3


read_order = Pipeline(number=int).stage("read", read).through(Order)
pricing = Pipeline(Order).stage("price", price).through(Invoice)
free = Pipeline().stage("price", price).through(invoice=Invoice)
waiting = Pipeline(Order).stage("price", price)
careful: Hooks = {"retry": 3}
quick = HookSet(retry=0)


class Unfinished:
    """Its loop is closed in the other module."""

    counting = Pipeline(number=int).loop_while(lambda ctx: ctx.number < 3, max_iterations=3)


def build(discount: float) -> Pipeline[Order, Invoice]:
    return Pipeline(Order).stage("price", price, discount=discount).through(Invoice)
