"""The stages of a sweep's pipeline; all they share is the session."""

from __future__ import annotations

from metta.sweep.executors.base import Event
from metta.sweep.experiments.moves import Halt, Move
from metta.sweep.experiments.results import SweepRecord
from metta.sweep.experiments.session import Session, Standing
from metta.sweep.schedulers.base import Wait
from metta.sweep.trial import Trial


def begin(session: Session) -> Standing:
    """Begin: nothing runs yet."""
    session.begin()
    return session.standing


def decide(session: Session) -> Move:
    """Ask the scheduler what to do next."""
    return session.decide()


def suggest(session: Session, move: Move) -> list[Trial]:
    """Ask the optimizer for the configurations that the move wants; the new trials."""
    return session.enact(move)


def launch(session: Session, move: Move) -> list[Trial]:
    """When all is decided: give the free slots to what is queued. A halt takes them all back. Those that got one."""
    if not isinstance(move, Wait) and not session.standing.over:
        return []
    launched = session.settle()
    if isinstance(move, Halt):
        session.halt()
    return launched


def wait(session: Session, move: Move) -> list[Event]:
    """Where the scheduler waits, wait for the workers. It blocks its thread: all stages run in one, off the loop."""
    return session.next_events() if isinstance(move, Wait) else []


def observe(session: Session, events: list[Event]) -> Standing:
    """Judge the reports, book the results."""
    for event in events:
        session.fold(event)
    return session.standing


def conclude(session: Session) -> SweepRecord:
    """What the sweep has found."""
    return session.conclude()
