"""A sweep again from its journal: the recorded inputs are fed to a ledger whose optimizer and scheduler are compared.

Between the ledger and the real optimizer and scheduler stand two that recall what was recorded. They hand on every
call, compare the answers with the record, and give the recorded one: so the ledger becomes what it was in any case,
and the first difference, if there is one, is known.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from metta.sweep.experiments.ledger import Ledger, outcome_of
from metta.sweep.experiments.moves import Halt, Move, move_to_json, verdict_from_json
from metta.sweep.experiments.records import (
    DECIDED,
    JUDGED,
    MISFITS,
    RESTARTED,
    RESUMED,
    Recorded,
    feed,
    misfit,
    move_of,
    new_trials_from_json,
)
from metta.sweep.optimizers.base import Optimizer
from metta.sweep.optimizers.params import ParamsCodec
from metta.sweep.schedulers.base import CONTINUE, Decision, Fork, Launch, Scheduler, Verdict, View, Wait
from metta.sweep.store.entries import Event
from metta.sweep.trial import Report, Trial, TrialState

REPLAY_LIMIT_S: Final = 60.0
"""An optimizer that computes longer than this is given up for the observations alone."""


class RecallingOptimizer(Optimizer):
    """Gives the recorded suggestions, and compares those of `inner` with them until the first difference.

    Args:
        inner: the real one, in the state that it had here; None to compare nothing.
        codec: compares parameters as they are stored.
        limit: seconds that it may compute before it is given up.
    """

    def __init__(self, inner: Optimizer | None, codec: ParamsCodec, limit: float = REPLAY_LIMIT_S) -> None:
        super().__init__()
        self.inner = inner
        self._limit = limit
        self.difference: str = ""
        self.recorded: list[Trial] = []
        self._codec = codec
        self._seconds = 0.0

    def suggest(self, n: int) -> list[Trial]:
        recorded, self.recorded = self.recorded, []
        suggested = self._try("suggest", lambda inner: inner.suggest(n))
        if self.inner is None or suggested is None:
            return recorded
        told = [self._text(trial) for trial in recorded]
        found = [self._text(trial) for trial in suggested]
        if told == found:
            return list(suggested)  # its own objects: it may know them by their identity
        self._give_up(f"it was {'; '.join(told) or 'nothing'} and is {'; '.join(found) or 'nothing'}")
        return recorded

    def observe(self, trial: Trial, result: Any) -> None:
        self._try("observe", lambda inner: inner.observe(trial, result))

    def _try(self, name: str, call: Callable[[Optimizer], Any]) -> Any:
        if self.inner is None:
            return None
        began = time.monotonic()
        try:
            found = call(self.inner)
        except Exception as error:  # whatever a library or the user's class raises
            self._give_up(f"{type(self.inner).__name__}.{name} raised {type(error).__name__}: {error}")
            return None
        self._seconds += time.monotonic() - began
        if self._seconds > self._limit:
            self._give_up(f"it computes longer than {self._limit:g} s")
        return found

    def _give_up(self, why: str) -> None:
        self.inner, self.difference = None, why

    def _text(self, trial: Trial) -> str:
        # As they are read back, and a tuple like a list: a space that was stored knows lists only.
        params = self._codec.decode(self._codec.encode(trial.params))
        return json.dumps([params, trial.tag], sort_keys=True, default=repr)


class RecallingScheduler(Scheduler):
    """Gives the recorded decisions and verdicts, and compares those of `inner` with them until the first difference.

    Args:
        inner: the real one, in the state that it had here; None to compare nothing.
        synchronous: what the real one is.
        codec: compares decisions as they are stored.
    """

    def __init__(self, inner: Scheduler | None, synchronous: bool, codec: ParamsCodec) -> None:
        super().__init__()
        self.inner = inner
        self._codec = codec
        self.synchronous = synchronous  # type: ignore[misc]  # of the class there, of whoever is recalled here
        self.difference: str = ""
        self.decision: Decision = Wait()
        self.verdict: Verdict = CONTINUE

    def next(self, view: View) -> Decision:
        self._compare("decision", self._text(self.decision), lambda inner: self._text(inner.next(view)))
        return self.decision

    def on_report(self, trial: Trial, report: Report) -> Verdict:
        verdict, self.verdict = self.verdict, CONTINUE
        what = f"verdict on step {report.step} of trial {trial.id}"
        self._compare(what, verdict, lambda inner: inner.on_report(trial, report))
        return verdict

    def on_launch(self, decision: Launch | Fork, trials: Sequence[Trial]) -> None:
        self._compare("on_launch", None, lambda inner: inner.on_launch(decision, trials))

    def on_complete(self, trial: Trial) -> None:
        self._compare("on_complete", None, lambda inner: inner.on_complete(trial))

    def on_failure(self, trial: Trial) -> None:
        self._compare("on_failure", None, lambda inner: inner.on_failure(trial))

    def _text(self, move: Move) -> str:
        data = move_to_json(move, self._codec)
        return f"{data.pop('do')} {data}"

    def _compare(self, what: str, recorded: object, call: Callable[[Scheduler], object]) -> None:
        if self.inner is None:
            return
        try:
            found = call(self.inner)
        except Exception as error:  # whatever the user's class raises
            self.inner, self.difference = None, f"{what}: {type(error).__name__}: {error}"
            return
        if found != recorded:
            self.inner, self.difference = None, f"the {what} was {recorded} and is {found}"


@dataclass(slots=True)
class Replay:
    """Feeds the entries of a journal, in their order, to a ledger.

    Attributes:
        ledger: has the two recalling ones below as its optimizer and scheduler.
        optimizer, scheduler: see above.
        codec: for the parameters.
        base: the instant of second 0, until an entry says otherwise.
        fresh_optimizer: a new one, for places where the record says that it was restored by observations.
        fresh_scheduler: a new one, for places where the record says that it was started again.
        optimizer_from, scheduler_from: the numbers of the last such places: before them nothing can be compared.
        differences: what the ledger itself decided otherwise, by the numbers of the entries.
    """

    ledger: Ledger
    optimizer: RecallingOptimizer
    scheduler: RecallingScheduler
    codec: ParamsCodec
    base: float
    fresh_optimizer: Callable[[], Optimizer] | None = None
    fresh_scheduler: Callable[[], Scheduler] | None = None
    optimizer_from: int = 0
    scheduler_from: int = 0
    differences: list[str] = field(default_factory=list)

    def feed_all(self, entries: Iterable[Recorded]) -> int:
        """Feed them one by one; how many there were."""
        count = 0
        for count, entry in enumerate(entries, 1):  # noqa: B007
            self.feed(entry)
        return count

    def feed(self, entry: Recorded) -> None:
        """Feed one entry.

        Raises:
            DamagedError: it does not follow from those before it.
        """
        try:
            self._feed(entry)
        except MISFITS as error:
            raise misfit(entry.seq, error) from error
        if isinstance(entry, Event) and entry.kind == RESUMED:
            self._resume(entry)

    def _feed(self, entry: Recorded) -> None:
        if isinstance(entry, Event) and entry.kind == RESUMED:
            self.base = entry.data["base"]
        self.ledger.now = entry.time - self.base
        if not isinstance(entry, Event):
            feed(self.ledger, entry)
        elif entry.kind == DECIDED:
            self._decide(move_of(entry.data, self.codec), entry)
        elif entry.kind == JUDGED:
            self.scheduler.verdict = verdict_from_json(entry.data)
        else:
            feed(self.ledger, entry)

    def _decide(self, recorded: Move, entry: Event) -> None:
        if not isinstance(recorded, Halt):
            self.scheduler.decision = recorded
        move = self.ledger.decide()
        if isinstance(move, Halt) != isinstance(recorded, Halt):
            self.differences.append(f"entry {entry.seq}: it was {recorded} and is {move}")
        self.optimizer.recorded = new_trials_from_json(recorded, entry.data, self.codec)
        self.ledger.enact(recorded)

    def _resume(self, entry: Event) -> None:
        if entry.data["scheduler"] == RESTARTED:
            self.scheduler.inner = None
            self.scheduler.synchronous = entry.data["synchronous"]  # type: ignore[misc]
            if self.fresh_scheduler is not None and entry.seq == self.scheduler_from:
                self.scheduler.inner = self.fresh_scheduler()
                introduce(self.scheduler.inner, self.ledger)
        if entry.data["informed"]:
            self.optimizer.inner = None
            if self.fresh_optimizer is not None and entry.seq == self.optimizer_from:
                self.optimizer.inner = self.fresh_optimizer()
                inform(self.optimizer.inner, self.ledger)


def inform(optimizer: Optimizer, ledger: Ledger) -> None:
    """Tell a new optimizer of all results that there are.

    It draws from a seed of its own: with the old one it would suggest its first trials again.
    """
    if optimizer.seed is not None:
        optimizer.seed += len(ledger.trials)
    waiting = set(ledger.held)
    for trial in ledger.trials:
        ended = trial.state.is_finished and trial.state is not TrialState.CANCELLED
        if (ended or trial.state is TrialState.PAUSED) and trial.id not in waiting:
            if trial.score is not None or trial.failure is not None:
                optimizer.observe(trial, outcome_of(trial))


def introduce(scheduler: Scheduler, ledger: Ledger) -> None:
    """Tell a new scheduler of the trials that another one has started and that are not over."""
    active = [ledger.trials[number] for number in sorted({*ledger.running, *(grant.trial for grant in ledger.queue)})]
    if active:
        scheduler.on_launch(Launch(len(active), scheduler.max_resource), active)
