"""The events of a running sweep, written to a sink as they come."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from typing import Final

from metta.sweep.interop.facts import SweepFacts, TrialFacts, failure_text, plain_params, scores_of
from metta.sweep.interop.sink import Mark, Sink, play
from metta.sweep.report.events import (
    SweepEnded,
    SweepEvent,
    SweepStarted,
    TrialEnded,
    TrialPaused,
    TrialReported,
    TrialStarted,
)
from metta.sweep.store.naming import slug
from metta.sweep.trial import Report

FLUSH_INTERVAL: Final = 2.0
"""Seconds between two flushes, at least."""


class Recording:
    """A listener for one run of a sweep.

    Where the sweep was resumed, the sink first gets from the run's journal what it does not have, and nothing that it
    has; so it lacks nothing, whatever was lost with an earlier driver.

    Args:
        name: of the logger, for messages.
        make: makes the sink when the sweep begins.
    """

    def __init__(self, name: str, make: Callable[[SweepFacts], Sink]) -> None:
        self.__name__ = name
        self._make = make
        self._sink: Sink | None = None
        self._sweep: SweepFacts | None = None
        self._trials: dict[int, TrialFacts] = {}
        self._flush_at = 0.0

    def __call__(self, event: SweepEvent) -> None:
        """Hear the next event."""
        try:
            self._hear(event)
        except BaseException:
            self._give_up()
            raise

    def idle(self) -> None:
        """Nothing more comes for some time: write what waits."""
        try:
            if self._sink is not None:
                self._sink.flush()
        except BaseException:
            self._give_up()
            raise

    def _give_up(self) -> None:
        sink, self._sink = self._sink, None
        if sink is not None:
            with contextlib.suppress(Exception):  # what is wrong is told by the first error
                sink.close("interrupted")

    def _hear(self, event: SweepEvent) -> None:
        if isinstance(event, SweepStarted):
            self._begin(event)
        sink, sweep = self._sink, self._sweep
        if sink is None or sweep is None:
            return
        match event:
            case TrialStarted():
                facts = self._trials.get(event.trial)
                if facts is None:
                    params, began = plain_params(event.params), self._at(event)
                    facts = TrialFacts(event.trial, params, "running", began=began, parent=event.parent)
                self._trials[event.trial] = replace(facts, state="running", ended=None, attempts=event.attempt)
                if event.trial not in sink.marks:
                    sink.start(self._trials[event.trial])
            case TrialReported() if event.trial in self._trials:
                scores = scores_of(sweep.objectives, event.score)
                facts = self._trials[event.trial] = replace(self._trials[event.trial], step=event.step, scores=scores)
                if event.step > sink.marks.get(event.trial, Mark()).step and event.metrics:
                    sink.start(facts)
                    sink.report(event.trial, Report(event.step, event.metrics), self._at(event))
            case TrialPaused() if event.trial in self._trials:
                facts = replace(self._trials[event.trial], state="paused", ended=self._at(event))
                known = sink.marks.get(event.trial, Mark(0, "running"))
                # The journal may have been ahead of what is heard: then this has passed.
                if known.step < facts.step or known == Mark(facts.step, "running"):
                    self._end(sink, facts)
            case TrialEnded() if event.trial in self._trials:  # one that never began was not started either
                self._end(sink, self._after(event, self._trials[event.trial], sweep))
            case SweepEnded():
                status = {None: "completed", "cancelled": "cancelled"}.get(event.error, "failed")
                self._sink = None
                sink.flush()
                sink.close(status)
                return
        if time.monotonic() >= self._flush_at:
            sink.flush()
            self._flush_at = time.monotonic() + FLUSH_INTERVAL

    def _begin(self, event: SweepStarted) -> None:
        began = time.time() - event.seconds
        # Without a store another run of the same sweep is another sweep elsewhere.
        key = event.run_id or f"{slug(event.name)}-{datetime.fromtimestamp(began):%Y%m%d-%H%M%S-%f}"
        self._sweep = SweepFacts(event.name, key, event.objectives, began)
        self._sink = self._make(self._sweep)
        if event.resumed and event.folder is not None:
            from metta.sweep.experiments.sweep_reading import snapshot_in

            play(snapshot_in(event.folder), self._sink, began)

    def _end(self, sink: Sink, facts: TrialFacts) -> None:
        self._trials[facts.number] = facts
        if sink.marks.get(facts.number) != Mark(facts.step, facts.state):  # else it is told again
            sink.start(facts)
            sink.end(facts)
        if facts.is_over:
            del self._trials[facts.number]

    def _after(self, event: TrialEnded, facts: TrialFacts, sweep: SweepFacts) -> TrialFacts:
        return replace(
            facts,
            state=event.state,
            step=event.step,
            scores=scores_of(sweep.objectives, event.score),
            cost=event.cost,
            failure=None if event.reason is None else failure_text(event.reason, event.message),
            ended=self._at(event),
        )

    def _at(self, event: SweepEvent) -> float:
        assert self._sweep is not None
        return self._sweep.began + event.seconds
