"""Progress while a sweep runs: one live region on a terminal, plain lines anywhere else.

with live_view() as view:
    sweep.run(budget=60, progress=view).value
"""

from __future__ import annotations

import sys
import threading
import time
from dataclasses import replace
from types import TracebackType
from typing import Final, Protocol, Self, TextIO

from metta.sweep.report import region
from metta.sweep.report.events import (
    SweepEnded,
    SweepEvent,
    SweepStarted,
    TrialEnded,
    TrialPaused,
    TrialReported,
    TrialStarted,
)
from metta.sweep.report.frames import Inner, no_inner, summary, sweep_frame
from metta.sweep.report.progress import Best, Progress, advance
from metta.sweep.report.region import Line, Paper, Region
from metta.sweep.report.text import clock, goal_text, one_line, scores_text, value_text

SUMMARY_SECONDS: Final = 60.0

MOST_LINES: Final = 300
"""Of a sweep that says more, changes of trials are no lines of their own any more: a log of 10,000 lines tells less."""


class View(Protocol):
    """A listener with an end."""

    def __call__(self, event: SweepEvent) -> None: ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


def live_view(stream: TextIO | None = None) -> View:
    """The view that suits `stream` (standard error by default): live on a terminal, lines elsewhere."""
    target = stream if stream is not None else sys.stderr
    return TerminalView(target) if region.can_redraw(target) else LineView(target)


class TerminalView:
    """One live region, at most 80 columns wide and not higher than the terminal.

    Where another region is shown already, lines appear above that.

    Args:
        stream: a terminal.

    Attributes:
        inner: what is said of the run that a trial has started; by default nothing.
    """

    def __init__(self, stream: TextIO) -> None:
        self.inner: Inner = no_inner
        self._stream = stream
        self._progress = Progress()
        self._shown: Region | LineView | None = None
        self._began = time.monotonic()

    def __call__(self, event: SweepEvent) -> None:
        """Take one more event. From any one thread at a time."""
        if isinstance(event, SweepStarted):
            self._stop()
        self._progress = advance(self._progress, event)
        if isinstance(event, SweepStarted):
            self._shown = self._begun(event)
        if isinstance(self._shown, LineView):
            self._shown(event)
        if isinstance(event, SweepEnded):
            self._stop()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()

    def _begun(self, event: SweepStarted) -> Region | LineView:
        if region.is_shown():
            return LineView(sys.stderr)
        self._began = time.monotonic() - event.seconds
        shown = Region(self._stream, self.frame)
        shown.start()
        return shown

    def _stop(self) -> None:
        if isinstance(self._shown, Region):
            self._shown.stop()
        elif self._shown is not None:
            self._shown.__exit__(None, None, None)
        self._shown = None

    def frame(self, paper: Paper) -> list[Line]:
        """The lines of the region as they are now."""
        progress = self._progress
        if progress.over:
            return sweep_frame(progress, paper)
        # The clock goes on between events.
        progress = replace(progress, seconds=max(progress.seconds, time.monotonic() - self._began))
        return sweep_frame(progress, paper, self.inner)


class LineView:
    """One line per change of a trial's state, and a summary every 60 seconds.

    A sweep of many trials has no line for each: after 300 lines only a new best score, a failure for a new reason and
    the summaries are told.

    Args:
        stream: where to write; None: nowhere. When it is closed, nothing more is said.
    """

    def __init__(
        self, stream: TextIO | None, summary_seconds: float = SUMMARY_SECONDS, most_lines: int = MOST_LINES
    ) -> None:
        self._stream = stream
        self._progress = Progress()
        self._over = threading.Event()
        self._summary_seconds = summary_seconds
        self._left = most_lines
        self._told_best: Best | None = None

    def __call__(self, event: SweepEvent) -> None:
        """Take one more event. From any one thread at a time."""
        before, self._progress = self._progress, advance(self._progress, event)
        text = line_of(event, self._progress)
        if text is not None:
            self._tell(event, text, before)
        if isinstance(event, SweepStarted):
            self._over.clear()
            # A sweep whose trials are long says something too, so the clock is not the events'.
            threading.Thread(target=self._tick, name="metta-sweep-summary", daemon=True).start()
        elif isinstance(event, SweepEnded):
            self._over.set()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()

    def _tell(self, event: SweepEvent, text: str, before: Progress) -> None:
        if isinstance(event, SweepStarted | SweepEnded):
            self._print(event.seconds, text)
            return
        self._left -= 1
        if self._left >= 0 or self._is_news(event, before):
            self._print(event.seconds, text)
        if self._left == 0:
            every = f"every {self._summary_seconds:g} s a summary, and what is new"
            self._print(event.seconds, f"many trials: from here on {every}")

    def _is_news(self, event: SweepEvent, before: Progress) -> bool:
        best = self._progress.best
        if isinstance(event, TrialEnded) and event.reason is not None:
            return event.reason not in before.failures
        if best is None or best == self._told_best or isinstance(event, TrialStarted) or best.trial != _trial_of(event):
            return False
        self._told_best = best
        return True

    def _tick(self) -> None:
        rounds = 0
        while not self._over.wait(self._summary_seconds):
            rounds += 1
            seconds = max(self._progress.seconds, rounds * self._summary_seconds)
            self._print(seconds, summary(self._progress))

    def _print(self, seconds: float, text: str) -> None:
        if self._stream is None:
            return
        line = f"[{clock(seconds)}] {one_line(text)}"
        try:
            print(line, file=self._stream, flush=True)
        except UnicodeEncodeError:
            print(line.encode("ascii", "backslashreplace").decode("ascii"), file=self._stream, flush=True)
        except (OSError, ValueError):  # nobody reads it any more, which is no reason to end the sweep
            self._stream = None


def line_of(event: SweepEvent, after: Progress) -> str | None:
    """The line for an event, None for events that change no state (reports).

    Args:
        after: the progress with the event.
    """
    match event:
        case SweepStarted():
            budget = f", {event.trials} trials" if event.trials is not None else ""
            return f'sweep "{event.name}" started: {goal_text(event.objectives)}{budget}'
        case TrialStarted():
            verb = f"resumed at {event.step}" if event.resumed else "started"
            until = f" until {event.until}" if event.until else ""
            params = ", ".join(f"{name}={value_text(value)}" for name, value in event.params.items())
            return f"trial {event.trial} {verb}{until}" + ("" if event.resumed else f": {params}")
        case TrialPaused(reason=str()):
            return f"trial {event.trial} is tried again from step {event.step} ({event.reason}): {event.message}"
        case TrialPaused():
            return f"trial {event.trial} paused at {event.step}, {scores_text(after.objectives, event.score)}"
        case TrialEnded(state="failed"):
            return f"trial {event.trial} failed ({event.reason}): {event.message}"
        case TrialEnded():
            score = scores_text(after.objectives, event.score)
            return f"trial {event.trial} {event.state} at {event.step}, {score}{_mark(after, event.trial)}"
        case SweepEnded():
            return f"sweep ended: {event.error}" if event.error else f"sweep finished: {summary(after)}"
        case TrialReported():
            return None


def _trial_of(event: SweepEvent) -> int | None:
    return None if isinstance(event, SweepStarted | SweepEnded) else event.trial


def _mark(progress: Progress, trial: int) -> str:
    if progress.best is not None and progress.best.trial == trial:
        return " (best)"
    return " (Pareto front)" if trial in progress.front.trials else ""
