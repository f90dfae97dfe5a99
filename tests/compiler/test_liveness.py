"""Liveness: which names a node writes for somebody, and what regions are given."""

from __future__ import annotations

from typing import Any, NamedTuple

from metta.sweep import Context, Pipeline
from metta.sweep.compiler.liveness import Liveness, liveness


class Record(NamedTuple):
    x: int
    y: int
    z: int = 0


def make(n: int) -> Record:
    return Record(n, n)


def use_x(x: int) -> int:
    return x


def use_record(record: Record) -> int:
    return record.x


def live(pipeline: Pipeline) -> Liveness:
    return liveness(pipeline.compile().graph)


def needed(pipeline: Pipeline, node: str) -> set[str]:
    return set(live(pipeline).needed[node])


made = Pipeline(n=int).stage("make", make)


def test_a_field_is_needed_where_somebody_reads_it() -> None:
    assert needed(made.stage("use", use_x), "make") == {"x"}
    assert needed(made.stage("use", use_record), "make") == {"@value"}
    assert needed(made, "make") == {"@value"}
    assert needed(made.stage("nothing", lambda: 1).through(int), "make") == set()


def test_a_view_needs_every_field() -> None:
    def of_context(ctx: Context) -> int:
        return int(ctx.x)

    assert needed(made.stage("use", of_context), "make") == {"x", "y", "z"}
    assert needed(made.stage("more", use_x).through(more=int), "make") == {"x", "y", "z"}


def test_a_condition_needs_the_whole() -> None:
    assert needed(made.conditional(lambda record: record.x > 1, use_x, use_x), "make") == {"@value", "x"}


def test_a_rebound_field_needs_the_value_it_is_rebound_in_only_if_that_is_read() -> None:
    rebound = made.stage("again", use_x).through(y=int)
    assert needed(rebound, "again") == {"@value"}
    assert needed(rebound, "make") == {"x", "@value"}
    assert needed(rebound.stage("use", use_x), "again") == set()
    assert needed(rebound.stage("use", use_x), "make") == {"x"}


def test_what_the_head_of_a_loop_reads_is_live_at_its_end() -> None:
    pipeline = (
        made.loop_while(lambda record: record.x < 3)
        .stage("more", lambda x: x + 1)
        .through(x=int)
        .end_loop()
        .stage("use", lambda y: y)
        .through(int)
    )
    assert needed(pipeline, "more") == {"@value", "x"}
    assert needed(pipeline, "make") == {"@value", "x", "y"}


def test_a_stage_that_may_be_skipped_ends_no_life() -> None:
    def again(record: Record) -> Record:
        return record

    skipped = made.stage("again", again).through(Record, skip_if=lambda record: record.x > 1).stage("use", use_x)
    assert needed(skipped, "make") == {"@value", "x"}
    always = made.stage("again", again).through(Record).stage("use", use_x)
    assert needed(always, "make") == {"@value"}


def test_an_arm_is_given_what_it_reads() -> None:
    closed: Any = Pipeline(a=int, b=int, c=int).parallel(
        [Pipeline().stage("a", lambda a: a).through(int), Pipeline().stage("b", lambda b: b).through(int)]
    )
    entry = live(closed).entry
    assert entry["parallel", "arm 0"] == {"a"}
    assert entry["parallel", "arm 1"] == {"b"}
