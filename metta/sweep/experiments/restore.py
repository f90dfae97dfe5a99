"""A sweep brought back from its journal: its ledger, and the optimizer and scheduler that go on with it.

The optimizer comes back (1) by its state in the last snapshot and a replay of what came after it, else (2) by a
replay of everything, else (3) as a fresh one that is told all results; see `Restored`. The scheduler comes back by
(1) or (2). The ledger needs neither: what was decided is recorded.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass

from metta.sweep.experiments.ledger import Ledger
from metta.sweep.experiments.ledger_json import ReadReports, load_ledger
from metta.sweep.experiments.replay import REPLAY_LIMIT_S, RecallingOptimizer, RecallingScheduler, Replay
from metta.sweep.experiments.sweep_facts import Facts, Start, facts_of, read_from, start_of
from metta.sweep.experiments.sweep_journal import reports_reader
from metta.sweep.goal import Objectives
from metta.sweep.optimizers.base import Optimizer, Restored
from metta.sweep.optimizers.params import ParamsCodec
from metta.sweep.report.events import SweepEvent
from metta.sweep.schedulers.base import Scheduler
from metta.sweep.store.entries import Snapshot
from metta.sweep.store.journal import Journal


@dataclass(slots=True)
class Restoration:
    """A sweep as its journal has it.

    Attributes:
        ledger: up to the last entry. Its optimizer and scheduler still are the recalling ones.
        facts: of the sweep.
        optimizer: in its state after the last entry; None where it could not be brought back exactly.
        scheduler: likewise.
        how: how the optimizer was brought back.
        differences: where what was computed again was not what is recorded.
        entries: how many were fed after the snapshot.
        seq: the number of the last one.
        replay: takes those that come after it.
    """

    ledger: Ledger
    facts: Facts
    optimizer: Optimizer | None
    scheduler: Scheduler | None
    how: Restored
    differences: list[str]
    entries: int
    seq: int
    replay: Replay


Parts = tuple[Optimizer, Scheduler]


def restore(
    journal: Journal,
    codec: ParamsCodec,
    fresh: Callable[[], Parts] | None = None,
    *,
    keep_optimizer: bool = True,
    keep_scheduler: bool = True,
    from_start: bool = False,
    limit: float = REPLAY_LIMIT_S,
    read: ReadReports | None = None,
) -> Restoration:
    """The sweep in a journal, up to its last entry.

    Args:
        journal: of the run.
        codec: for the parameters.
        fresh: makes a new optimizer and a new scheduler, bound; None to restore the ledger alone, by no code but ours.
        keep_optimizer, keep_scheduler: False where another one takes its place: it is not brought back.
        from_start: use no snapshot.
        limit: seconds that the optimizer may compute before it is given up.
        read: reads the reports of a trial up to a step; None for one that opens the journal again each time, which
            may be closed by then.

    Raises:
        DamagedError: an entry does not follow from those before it.
    """
    with read_from(journal.path, only_ours=fresh is None):
        return _restore(journal, codec, fresh, keep_optimizer, keep_scheduler, from_start, limit, read)


def _restore(
    journal: Journal,
    codec: ParamsCodec,
    fresh: Callable[[], Parts] | None,
    keep_optimizer: bool,
    keep_scheduler: bool,
    from_start: bool,
    limit: float,
    read: ReadReports | None,
) -> Restoration:
    start = start_of(journal)
    snapshot = None if from_start else journal.snapshot()
    after = 0 if snapshot is None else snapshot.seq
    facts = facts_of(journal, start, snapshot)
    optimizer, scheduler = (None, None) if fresh is None else fresh()
    # What was replaced later on cannot be compared with the one that took its place.
    optimizer = optimizer if keep_optimizer and facts.optimizer_from <= after else None
    scheduler = scheduler if keep_scheduler and facts.scheduler_from <= after else None
    how = Restored.REPLAY
    if snapshot is not None:
        try:
            how = _load_states(snapshot, optimizer, scheduler)
        except Exception as error:  # whatever a library or the user's class raises over a state it does not like
            logging.getLogger("metta.sweep").info("no usable snapshot, so everything is computed again: %s", error)
            return _restore(journal, codec, fresh, keep_optimizer, keep_scheduler, True, limit, read)
    recalling = (
        RecallingOptimizer(optimizer, codec, limit),
        RecallingScheduler(scheduler, facts.plan["scheduler"]["synchronous"], codec),
    )
    ledger = _ledger(start, *recalling)
    if snapshot is not None:
        load_ledger(ledger, journal.trials(), snapshot.data["ledger"], codec, read or reports_reader(journal.path))
    replay = Replay(
        ledger,
        *recalling,
        codec,
        start.facts.base if snapshot is None else snapshot.data["facts"]["base"],
        None if fresh is None or not keep_optimizer else lambda: fresh()[0],
        None if fresh is None or not keep_scheduler else lambda: fresh()[1],
        facts.optimizer_from,
        facts.scheduler_from,
    )
    entries = replay.feed_all(journal.entries(after))
    parts = [part.difference for part in recalling if part.difference]
    return Restoration(
        ledger,
        facts,
        recalling[0].inner,
        recalling[1].inner,
        how,
        [*replay.differences, *parts],
        entries,
        after + entries,
        replay,
    )


def _load_states(snapshot: Snapshot, optimizer: Optimizer | None, scheduler: Scheduler | None) -> Restored:
    """Load the states in a snapshot; how that brought the optimizer back.

    Raises:
        LookupError: there is no state.
        Exception: whatever they raise.
    """
    how = Restored.STATE
    for name, part in (("optimizer", optimizer), ("scheduler", scheduler)):
        if part is None:
            continue
        state = snapshot.data[name]
        if state is None:
            raise LookupError(f"{type(part).__name__} has no state of its own")
        found = part.load_state_dict(state)
        if isinstance(part, Optimizer):
            how = Restored(found or Restored.STATE)
    return how


def _ledger(start: Start, optimizer: Optimizer, scheduler: Scheduler) -> Ledger:
    objectives = start.facts.plan["objectives"]
    return Ledger(
        optimizer=optimizer,
        scheduler=scheduler,
        objectives=Objectives(tuple(objectives), tuple(objectives.values())),
        budget=start.budget,
        slots=start.slots,
        cost_key=start.facts.plan["cost_key"],
        tell=_silent,
        nested=start.facts.plan.get("nested", False),
    )


def _silent(event: SweepEvent) -> None:
    """What has happened before is told by whoever resumes the sweep."""
