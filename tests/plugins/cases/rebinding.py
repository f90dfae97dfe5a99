"""`p = p.stage(...)`: a name that is given one pipeline after the other."""

from __future__ import annotations

from typing import NamedTuple

from metta.sweep import Pipeline


class Score(NamedTuple):
    accuracy: float
    label: str


def prepare(size: int) -> list[float]:
    return [0.0] * size


def train(items: list[float], lr: float = 0.1) -> float:
    return sum(items) * lr


def evaluate(weight: float) -> Score:
    return Score(weight, "a")


def use_label(label: str) -> str:
    return label


def lower(loss: float) -> float:
    return loss / 2


p = Pipeline(size=int)
p = p.stage("prepare", prepare)
p = p.through(items=list[float])
p = p.stage("train", train, lr=0.2)
p = p.through(
    weight=float,
    log=lambda data: data.weight,
)
p = p.stage("evaluate", evaluate)
p = p.through(Score)
good = p.stage("use", use_label).through(text=str)

q = Pipeline(size=int)
q = q.stage("prepare", prepare)
q = q.through(
    items=list[str],  # E: stage-output
    log=lambda data: data.item,  # S: attr-defined
)
q = q.stage("train", train)
q = q.through(weight=float)
q = q.stage("use", use_label)  # E: missing-field
q = q.through(text=str)


def made() -> Pipeline:
    r = Pipeline(size=int)
    r = r.stage("prepare", prepare).through(items=list[float])
    r = r.stage("train", train, lr="0.2")  # S: setting-type
    r = r.through(weight=float)
    return r.stage("use", use_label)  # S: missing-field


def read_elsewhere() -> Pipeline:
    # What p is when this runs is not known.
    return p.stage("anything", lower)


if len(__name__) > 3:
    branched = Pipeline(size=int).stage("prepare", prepare).through(items=list[float])
else:
    branched = Pipeline(size=int).stage("other", prepare).through(items=list[float])
branched = branched.stage("train", train)
branched = branched.through(weight=float)

loop = Pipeline(loss=float)
loop = loop.loop_while(lambda ctx: ctx.loss > 1)
loop = loop.stage("lower", lower)
loop = loop.through(loss=float)
loop = loop.break_if(lambda ctx: ctx.los < 1)  # S: attr-defined
loop = loop.end_loop()
loop = loop.stage("use", use_label)  # E: missing-field

repeated = Pipeline(items=list[float])
for number in range(3):
    repeated = repeated.stage(f"train {number}", train, lr=0.1 * number)
    repeated = repeated.through(weight=float)
repeated = repeated.stage("evaluate", evaluate).through(Score)

arms = Pipeline(loss=float)
arms = arms.conditional(
    lambda ctx: ctx.loss > 1,
    Pipeline().stage("lower", lower).through(half=float),
)
arms = arms.parallel([lower, lower])
arms = arms.through(losses=list[float])
