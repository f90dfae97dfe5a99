"""Chains over several statements: `p = p.stage(...)`, a `.through` that comes later, loops and arms in pieces."""

from __future__ import annotations

from typing import NamedTuple

from metta.sweep import Context, Pipeline


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


def use_weight(weight: float) -> float:
    return weight


def use_text(weight: str) -> str:
    return weight


begun = Pipeline(size=int)
prepared = begun.stage("prepare", prepare)
items = prepared.through(items=list[float])
trained = items.stage("train", train, lr=0.2)
weighed = trained.through(
    weight=float,
    log=lambda data: data.weight,
)
evaluated = weighed.stage("evaluate", evaluate)
good = evaluated.through(Score).stage("use", use_label).through(text=str)

wrong_items = prepared.through(items=list[str])  # E: stage-output
wrong_train = wrong_items.stage("train", train)
wrong_use = weighed.stage("use", use_label)  # E: missing-field
wrong_late = wrong_use.through(text=str)
late_setting = Pipeline(items=list[float]).stage("train", train)
late_setting_two = late_setting.through(
    weight=float,
    log=lambda data: data.wieght,  # S: attr-defined
    lr="fast",  # E: setting-type
)
late_hook = Pipeline(items=list[float]).stage("train", train)
late_hook_two = late_hook.through(weight=float, retires=3)  # E: unknown-hook
late_hook_three = late_hook.through(weight=float, lr=0.1, retry=3)
twice = late_hook_three.through(weight=float)  # E: through-without-stage
shared_a = late_hook_three.stage("use", use_text).through(text=str)  # E: stage-input
shared_b = late_hook_three.stage("use", evaluate).through(Score)

in_pieces = Pipeline(weight=float)
loop = in_pieces.loop_while(lambda ctx: ctx.weight > 1, max_iterations=3)  # D: unclosed-loop
body = loop.stage("evaluate", evaluate).through(score=Score)
left = body.break_if(lambda ctx: ctx.score.accuracy > 1)
left_wrong = body.break_if(lambda ctx: ctx.score.acuracy > 1)  # S: attr-defined
done = left.end_loop(until=lambda ctx: ctx.score.label == "a")
behind = done.stage("maybe", lambda ctx: ctx.get("score"))  # DN: untyped-stage
maybe = done.stage(  # E: maybe-missing-field  # DN: untyped-stage
    "read",
    lambda score: score.label,
)
again = done.end_loop()  # E: end-loop-without-loop


def never_closed() -> None:
    open_loop = Pipeline(weight=float).loop_while(lambda ctx: ctx.weight > 1)  # S: unclosed-loop
    open_body = open_loop.stage("evaluate", evaluate).through(score=Score)
    open_body.compile()


arm = Pipeline().stage("evaluate", evaluate).through(score=Score)
other_arm = Pipeline().stage("use", use_text).through(text=str)  # E: stage-input
joined = Pipeline(weight=float).conditional(lambda ctx: ctx.weight > 1, arm)
joined_twice = Pipeline(weight=float).conditional(
    lambda ctx: ctx.weight > 1,
    arm,
    other_arm,
)
in_parallel = Pipeline(weight=float).parallel([arm, evaluate])
in_parallel_late = in_parallel.through(scores=list[Context | Score])
by_key = Pipeline(weight=float).parallel({"a": use_weight, "b": evaluate})
by_key_late = by_key.through(a=float, b=Score)
by_key_wrong = by_key.through(
    a=Score,  # E: stage-output
    b=Score,
)

annotated: Pipeline = Pipeline(size=int).stage("prepare", prepare).through(items=list[float])
annotated = annotated.stage("train", train).through(weight=float)
if len(__name__) > 3:
    branched = Pipeline(size=int).stage("prepare", prepare).through(items=list[float])
else:
    branched = Pipeline(size=int).stage("other", prepare).through(items=list[float])
after_a_branch = branched.stage("train", train).through(weight=float)
first, second = arm, Pipeline(size=int).stage("prepare", prepare).through(items=list[float])
unpacked = second.stage("use", use_label)  # E: missing-field
