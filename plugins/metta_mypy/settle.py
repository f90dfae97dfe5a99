"""A stage is settled: its effect is computed, its problems are reported, and the chain moves on behind it."""

from __future__ import annotations

from dataclasses import replace

from metta.sweep.contracts.flow import Problem, duplicate_stage, unclosed_loop
from metta_mypy.calls import Call
from metta_mypy.chains import place
from metta_mypy.effects import Effect, effect_of, without_optional
from metta_mypy.point import Pending, Point
from metta_mypy.session import Session


def settle(session: Session, pending: Pending, call: Call) -> Point:
    """The chain behind a stage that no `.through` follows in the same expression; its problems are reported."""
    effect = effect_of(pending, None, {}, session.oracle)
    report(session, effect.problems, call)
    return behind(pending, effect, pending=replace(pending, before=effect.before, settled=True))


def behind(stage: Pending, effect: Effect, *, pending: Pending | None = None) -> Point:
    """The chain behind a stage with this effect; without `pending` its `.through` has come."""
    before = effect.before
    return before.behind(
        without_optional(effect.after),
        before.names.set(stage.name, True),
        before.first or stage.name,
        pending,
        "" if pending is not None else stage.name,
    )


def report(session: Session, problems: list[Problem], call: Call, through: Call | None = None) -> None:
    for problem in problems:
        session.reporter.of_call(problem, session.api, call, through)


def check_name(session: Session, before: Point, name: str, call: Call) -> None:
    """`duplicate-stage` on one level."""
    if name in before.names:
        report(session, [duplicate_stage(name)], call)


def check_closed(session: Session, point: Point, call: Call) -> Point:
    """Report every loop that is still open where the pipeline ends, at the line where it begins."""
    for loop in reversed(point.loops):
        if loop.module == session.api.tree.fullname:
            at = place(loop.line, loop.column)
        else:
            at = call.place_of(None)
        session.reporter.problem(unclosed_loop(), session.api, at)
    return replace(point, loops=())
