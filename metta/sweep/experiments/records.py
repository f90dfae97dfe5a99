"""What a sweep writes into its journal: the inputs of its ledger and the moves, in their order.

kind              data
sweep.started     base (the instant of second 0), plan (what R13 compares), budget, slots
sweep.decided     the move; for a launch or a fork also its new trials
sweep.resumed     base, budget, slots, retry, drop_paused, optimizer (how it was restored), informed (whether it is a
                  fresh one that was told all results), scheduler ("kept" or "restarted"), synchronous (of the
                  scheduler), plan where it has changed, lost (the trials whose attempts were lost), adopted (those
                  whose attempts went on without a driver), differences
sweep.stopped     why: a driver came to its end before the sweep did
sweep.ended       why
trial.granted     attempt, token: the intent to run it
trial.began       attempt, worker, saved_step
trial.judged      step and verdict; stands before the report that led to it, if that changed anything
trial.saved       step, path (in the run's folder)
trial.returned    attempt, used (by the leaves below it; only where it is nested)
trial.failed      attempt, reason, message, traceback, used (by the leaves below it; only where it is nested)
trial.stale       token, event: what an attempt did that is not the current one; nothing follows from it

Reports have a table of their own. The subject of an event "trial.*" is the trial's number.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from metta.sweep.errors import DamagedError, UsageError
from metta.sweep.experiments.ledger import Ledger, SavedState
from metta.sweep.experiments.ledger_json import budget_from_json, failure_from_json
from metta.sweep.experiments.moves import Move, move_from_json
from metta.sweep.optimizers.params import ParamsCodec
from metta.sweep.schedulers.base import Fork, Launch
from metta.sweep.store.entries import Event, StoredReport
from metta.sweep.trial import Report, Trial

STARTED: Final = "sweep.started"
DECIDED: Final = "sweep.decided"
RESUMED: Final = "sweep.resumed"
STOPPED: Final = "sweep.stopped"
ENDED: Final = "sweep.ended"
GRANTED: Final = "trial.granted"
BEGAN: Final = "trial.began"
JUDGED: Final = "trial.judged"
SAVED: Final = "trial.saved"
RETURNED: Final = "trial.returned"
FAILED: Final = "trial.failed"
STALE: Final = "trial.stale"

RESTARTED: Final = "restarted"
"""What `sweep.resumed` says of a scheduler whose place another one has taken; else "kept"."""

MISFITS: Final = (
    LookupError,
    TypeError,
    ValueError,
    AttributeError,
    StopIteration,
    AssertionError,
    OverflowError,
    UsageError,
)
"""What folding an entry raises that no driver writes; the last for a budget, say, that nobody could have given."""

Recorded = Event | StoredReport
"""An entry as it is read back."""


def new_trials_to_json(move: Move, trials: list[Trial], codec: ParamsCodec) -> dict[str, Any]:
    """The trials that a move has started, beside the move itself."""
    if _asks_optimizer(move):
        return {"new": [[trial.id, codec.encode(trial.params), trial.tag] for trial in trials]}
    if isinstance(move, Fork):
        return {"new": [[trial.id, None, None] for trial in trials]}  # its parameters stand in the move
    return {}


def new_trials_from_json(move: Move, data: Mapping[str, Any], codec: ParamsCodec) -> list[Trial]:
    """What the optimizer suggested for a recorded move: trials without a number, as it made them."""
    if not _asks_optimizer(move):
        return []
    return [Trial(codec.decode(params), tag=tag) for _, params, tag in data["new"]]


def _asks_optimizer(move: Move) -> bool:
    return isinstance(move, Launch) or (isinstance(move, Fork) and move.params is None)


def move_of(data: Mapping[str, Any], codec: ParamsCodec) -> Move:
    """The move of an event `sweep.decided`."""
    return move_from_json(data, codec)


def feed(ledger: Ledger, entry: Recorded) -> None:
    """Feed one input to the ledger: everything but `sweep.decided`, which needs a codec and is compared (replay.py).

    `ledger.now` is set already.

    Raises:
        DamagedError: the entry does not fit to the ledger.
    """
    try:
        if isinstance(entry, StoredReport):
            ledger.reported(entry.trial, Report(entry.step, entry.metrics))
        elif entry.kind.startswith("trial."):
            _feed_trial(ledger, int(entry.subject), entry)
        elif entry.kind == RESUMED:
            data = entry.data
            ledger.restart(
                slots=data["slots"],
                budget=budget_from_json(data["budget"]),
                retry=data["retry"],
                drop_paused=data["drop_paused"],
                adopted=data.get("adopted", ()),
            )
    except MISFITS as error:
        raise misfit(entry.seq, error) from error


def misfit(seq: int, error: Exception) -> DamagedError:
    """The error for an entry that has led to one of `MISFITS`."""
    what = f"{type(error).__name__}: {error!s:.200}".removesuffix(": ")
    return DamagedError(f"entry {seq} does not follow from those before it: {what}")


def _feed_trial(ledger: Ledger, number: int, event: Event) -> None:
    data = event.data
    match event.kind:
        case "trial.granted":
            ledger.grant(number)
        case "trial.began":
            ledger.began(number, data["saved_step"])
        case "trial.saved":
            ledger.saved(number, SavedState(data["step"], data["path"]))
        case "trial.returned":
            ledger.returned(number, data.get("used"))
        case "trial.failed":
            failure = failure_from_json([data["reason"], data["message"], data["traceback"]])
            ledger.failed(number, failure, data.get("used"))
