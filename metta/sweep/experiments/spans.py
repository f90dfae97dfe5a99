"""When which attempt of a sweep ran where, folded from the events of its journal."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Final

from metta.sweep.experiments import records
from metta.sweep.report.snapshot import Span
from metta.sweep.schedulers.base import Action
from metta.sweep.store.entries import Event
from metta.sweep.store.run import RunStatus
from metta.sweep.trial import FailureReason

KINDS: Final = frozenset(
    {
        records.STARTED,
        records.DECIDED,
        records.RESUMED,
        records.BEGAN,
        records.JUDGED,
        records.RETURNED,
        records.FAILED,
    }
)
"""The events that say something of attempts."""

_ENDS: Final = {
    Action.PAUSE.value: "paused",
    Action.STOP.value: "pruned",
    Action.COMPLETE.value: "completed",
}
_LOST: Final = {FailureReason.NODE_LOST.value, FailureReason.LOST_CONTACT.value}


class Spans:
    """The attempts of a sweep, brought up to date event by event.

    An attempt begins when a worker has it and ends when its trial leaves the worker. One that runs when its driver dies
    ends with the last thing that was heard, unless the next driver adopts it.
    """

    def __init__(self) -> None:
        self._closed: list[Span] = []
        self._open: dict[int, Span] = {}
        self._base = 0.0
        self._now = 0.0

    def feed(self, event: Event) -> None:
        """Take one more event; those of other kinds than `KINDS` say nothing.

        Raises:
            DamagedError: it is none that a driver writes.
        """
        try:
            self._feed(event)
        except records.MISFITS as error:
            raise records.misfit(event.seq, error) from error

    def _feed(self, event: Event) -> None:
        data = event.data
        if event.kind in (records.STARTED, records.RESUMED):
            self._base = data["base"]
        self._now = event.time - self._base
        match event.kind:
            case records.RESUMED:
                adopted = set(data.get("adopted", ()))
                self._close([number for number in self._open if number not in adopted], "lost")
            case records.DECIDED if data["do"] == "halt":
                self._close(list(self._open), "cancelled", str(data["why"]))
            case records.BEGAN:
                trial = int(event.subject)
                attempt = int(data["attempt"])
                self._open[trial] = Span(trial, attempt, str(data["worker"] or ""), self._now, None, "running")
            case records.JUDGED if data["action"] in _ENDS:
                self._close([int(event.subject)], _ENDS[data["action"]])
            case records.RETURNED:
                self._close([int(event.subject)], "completed")
            case records.FAILED:
                reason = str(data["reason"])
                end = "preempted" if reason == FailureReason.PREEMPTED.value else "failed"
                message = f"{reason}: {data['message']}" if data["message"] else reason
                self._close([int(event.subject)], "lost" if reason in _LOST else end, message)

    def _close(self, trials: Iterable[int], end: str, reason: str = "") -> None:
        for number in trials:
            if (span := self._open.pop(number, None)) is not None:
                self._closed.append(replace(span, ended=self._now, end=end, reason=reason))

    def now(self, status: RunStatus, seconds: float) -> tuple[Span, ...]:
        """All of them, in the order in which they began.

        Args:
            status: of the run: what is open while nobody drives it has ended.
            seconds: how long the sweep has run.
        """
        still = list(self._open.values())
        if status is not RunStatus.RUNNING:
            end = "lost" if status is RunStatus.INTERRUPTED else "cancelled"
            still = [replace(span, ended=seconds, end=end) for span in still]
        return tuple(sorted([*self._closed, *still], key=lambda span: (span.began, span.trial)))
