"""What the journal of a sweep says of it as a whole: its name, its plan, its budget.

A journal whose digests are right may still tell what no driver writes. Whoever reads it then says that it is damaged,
whatever the parsing raises: a wrong budget there is no wrong argument of the user's.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from metta.sweep.errors import DamagedError
from metta.sweep.experiments import records
from metta.sweep.experiments.budget import Budget
from metta.sweep.experiments.ledger_json import budget_from_json
from metta.sweep.experiments.plan import Plan
from metta.sweep.goal import Objectives
from metta.sweep.optimizers.base import Restored
from metta.sweep.space import SearchSpace
from metta.sweep.store.connection import damaged
from metta.sweep.store.entries import Snapshot
from metta.sweep.store.journal import Journal


@dataclass(frozen=True, slots=True)
class Facts:
    """What the journal says of a sweep as a whole.

    Attributes:
        name, seed: of the sweep.
        plan: the newest one.
        base: the instant of second 0 by the clock of the last driver.
        optimizer_from, scheduler_from: the last entries at which the one was restored by observations, the other
            started again; 0 where there is none.
        restored: how the optimizer was brought back last, None if it never was.
    """

    name: str
    seed: int
    plan: Plan
    base: float
    optimizer_from: int = 0
    scheduler_from: int = 0
    restored: str | None = None

    def to_json(self) -> dict[str, Any]:
        """What stands in a snapshot."""
        return {name: getattr(self, name) for name in self.__slots__}


@dataclass(frozen=True, slots=True)
class Start:
    """The first event of a sweep."""

    facts: Facts
    budget: Budget
    slots: int


@contextmanager
def read_from(path: Path, *, only_ours: bool = True) -> Iterator[None]:
    """What the block raises over the content of the journal at `path` says that the file is not what was written.

    Args:
        path: of the journal.
        only_ours: whether no code but ours runs in the block; else it may be the user's that raises something.
    """
    try:
        yield
    except DamagedError as error:
        # Without a path it may say that a changed space no longer has a value: then the file is as it was written.
        if error.path or not (only_ours or isinstance(error.__cause__, records.MISFITS)):
            raise
        raise damaged(path, str(error)) from error
    except records.MISFITS as error:
        if not only_ours:
            raise
        raise damaged(path, f"it is no sweep's: {type(error).__name__}: {error!s:.200}") from error


def start_of(journal: Journal) -> Start:
    """The first event of a sweep.

    Raises:
        DamagedError: there is none, or it is none that a driver writes.
    """
    event = next(journal.events(kinds={records.STARTED}), None)
    if event is None:
        raise DamagedError(
            f"{journal.path} tells of no sweep: its driver ended before it began, or it is another run's",
            path=str(journal.path),
        )
    with read_from(journal.path):
        data = event.data
        facts = _checked(Facts(data["name"], data["seed"], data["plan"], data["base"]))
        _expect("slots", data["slots"], int)
        return Start(facts, budget_from_json(data["budget"]), data["slots"])


def facts_of(journal: Journal, start: Start, snapshot: Snapshot | None) -> Facts:
    """What the snapshot and the events after it say of the sweep.

    Raises:
        DamagedError: they say what no driver writes.
    """
    with read_from(journal.path):
        facts = start.facts if snapshot is None else _checked(Facts(**snapshot.data["facts"]))
        for event in journal.events(0 if snapshot is None else snapshot.seq, kinds={records.RESUMED}):
            facts = facts_after(facts, event.seq, event.data)
        return facts


def facts_after(facts: Facts, seq: int, resumed: dict[str, Any]) -> Facts:
    """The facts after an event `sweep.resumed` with the number `seq`.

    Raises:
        Exception: one of `records.MISFITS`, if no driver writes such an event.
    """
    after = Facts(
        facts.name,
        facts.seed,
        resumed["plan"] or facts.plan,
        resumed["base"],
        seq if resumed["informed"] else facts.optimizer_from,
        seq if resumed["scheduler"] == records.RESTARTED else facts.scheduler_from,
        resumed["optimizer"],
    )
    return _checked(after)


def recorded_space(plan: Plan, path: Path) -> SearchSpace | None:
    """The space of a plan; None where there is none, or where digests stand for functions and classes in it.

    Args:
        plan: as it was recorded.
        path: of the journal that has it.

    Raises:
        DamagedError: it is none that a driver writes.
    """
    data = plan["space"]
    with read_from(path):
        return None if data is None or data.get("is_digest") else SearchSpace.from_json(data)


def _checked(facts: Facts) -> Facts:
    """The same; what no driver writes raises one of `records.MISFITS`. Distributions are for who needs them."""
    plan = facts.plan
    _expect("name", facts.name, str)
    _expect("seed", facts.seed, int)
    _expect("base", facts.base, float, int)
    _expect("plan", plan, dict)
    for part in ("optimizer", "scheduler", "objectives"):
        _expect(part, plan[part], dict)
    Objectives.of(plan["objectives"])
    _expect("cost_key", plan["cost_key"], str, type(None))
    if plan["space"] is not None:
        _expect("space", plan["space"], dict)
        _expect("parameters", plan["space"]["parameters"], dict)
        for path, distribution in plan["space"]["parameters"].items():
            _expect(f"distribution of {path!r:.80}", distribution, dict)
    if facts.restored is not None:
        Restored(facts.restored)
    return facts


def _expect(what: str, value: object, *kinds: type[Any]) -> None:
    if not isinstance(value, kinds):
        raise TypeError(f"its {what} is {value!r:.80}")
