"""Progress while a sweep runs: one live region on a terminal, plain lines anywhere else.

with live_view() as view:
    sweep.run(budget=60, progress=view).value
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import replace
from types import TracebackType
from typing import TYPE_CHECKING, Protocol, Self, TextIO

from metta.sweep.goal import Objectives, Score
from metta.sweep.report.events import (
    SweepEnded,
    SweepEvent,
    SweepStarted,
    TrialEnded,
    TrialPaused,
    TrialReported,
    TrialStarted,
)
from metta.sweep.report.progress import Progress, advance

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.live import Live

WIDTH = 80
MAX_ROWS = 8
SUMMARY_SECONDS = 60.0


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
    return TerminalView(target) if target.isatty() else LineView(target)


class TerminalView:
    """One live region, at most 80 columns wide and eight trials high."""

    def __init__(self, stream: TextIO, console: Console | None = None) -> None:
        from rich.console import Console

        self._console = console or Console(file=stream)
        self._progress = Progress()
        self._live: Live | None = None
        self._began = time.monotonic()

    def __call__(self, event: SweepEvent) -> None:
        """Take one more event. From any one thread at a time."""
        self._progress = advance(self._progress, event)
        if isinstance(event, SweepStarted):
            from rich.live import Live

            self._began = time.monotonic() - event.seconds
            self._live = Live(console=self._console, get_renderable=self._draw, refresh_per_second=4, transient=False)
            self._live.start()
        elif isinstance(event, SweepEnded):
            self._stop()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()

    def _stop(self) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None

    def _draw(self) -> RenderableType:
        progress = self._progress
        if not progress.over:  # the clock goes on between events
            progress = replace(progress, seconds=max(progress.seconds, time.monotonic() - self._began))
        return region(progress, min(WIDTH, self._console.width))


def region(progress: Progress, width: int = WIDTH) -> RenderableType:
    """What the live region shows: bar and time, best and counts, running trials, failures by reason.

    Args:
        progress: where the sweep stands.
        width: columns to use.
    """
    from rich.console import Group
    from rich.progress_bar import ProgressBar
    from rich.table import Table
    from rich.text import Text

    head = Table.grid(padding=(0, 1))
    head.add_row(
        Text(shorten(progress.name, 24), style="bold"),
        ProgressBar(
            total=1.0,
            completed=progress.fraction or 0.0,
            width=max(8, width // 4),
            pulse=progress.fraction is None,
        ),
        Text(f"{_trials(progress)}  {clock(progress.seconds)}{_left(progress)}"),
    )
    lines: list[RenderableType] = [head, Text(shorten(_standing(progress), width))]
    rows = sorted(progress.running.items())
    for number, row in rows[:MAX_ROWS]:
        span = f"{row.step}/{row.until}" if row.until else str(row.step)
        line = f"  trial {number:<5} step {span:<9} {scores_text(progress.objectives, row.score)}"
        lines.append(Text(shorten(line, width)))
    if len(rows) > MAX_ROWS:
        lines.append(Text(f"  and {len(rows) - MAX_ROWS} more"))
    if progress.failures:
        lines.append(Text(shorten(f"failed: {counts(progress.failures)}", width), style="red"))
    if progress.error:
        lines.append(Text(shorten(f"ended: {progress.error}", width), style="red"))
    return Group(*lines)


class LineView:
    """One line per change of a trial's state, and a summary every 60 seconds."""

    def __init__(self, stream: TextIO, summary_seconds: float = SUMMARY_SECONDS) -> None:
        self._stream = stream
        self._progress = Progress()
        self._over = threading.Event()
        self._ticker: threading.Thread | None = None
        self._summary_seconds = summary_seconds

    def __call__(self, event: SweepEvent) -> None:
        """Take one more event. From any one thread at a time."""
        before, self._progress = self._progress, advance(self._progress, event)
        text = line_of(event, before, self._progress)
        if text is not None:
            self._print(event.seconds, text)
        if isinstance(event, SweepStarted):
            self._over.clear()
            # A sweep whose trials are long says something too, so the clock is not the events'.
            self._ticker = threading.Thread(target=self._tick, name="metta-sweep-summary", daemon=True)
            self._ticker.start()
        elif isinstance(event, SweepEnded):
            self._over.set()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()

    def _tick(self) -> None:
        rounds = 0
        while not self._over.wait(self._summary_seconds):
            rounds += 1
            seconds = max(self._progress.seconds, rounds * self._summary_seconds)
            self._print(seconds, summary(self._progress))

    def _print(self, seconds: float, text: str) -> None:
        print(f"[{clock(seconds)}] {text}", file=self._stream, flush=True)


def line_of(event: SweepEvent, before: Progress, after: Progress) -> str | None:
    """The line for an event, None for events that change no state (reports)."""
    match event:
        case SweepStarted():
            budget = f", {event.trials} trials" if event.trials is not None else ""
            return f'sweep "{event.name}" started: {goal_text(event.objectives)}{budget}'
        case TrialStarted():
            verb = f"resumed at {event.step}" if event.resumed else "started"
            until = f" until {event.until}" if event.until else ""
            params = ", ".join(f"{name}={value_text(value)}" for name, value in event.params.items())
            return f"trial {event.trial} {verb}{until}" + ("" if event.resumed else f": {params}")
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


def summary(progress: Progress) -> str:
    """One line: trials, standing, failures, time left."""
    parts = [_trials(progress), _standing(progress)]
    if progress.failures:
        parts.append(f"failed: {counts(progress.failures)}")
    return ", ".join(parts) + _left(progress)


def _trials(progress: Progress) -> str:
    done = progress.started - len(progress.running)
    # More than were to be started: some are forks, which no budget counts.
    return f"{done}/{progress.trials} trials" if progress.trials and done <= progress.trials else f"{done} trials"


def _standing(progress: Progress) -> str:
    best, front = progress.best, progress.front.trials
    told = "no score yet"
    if best is not None:
        told = f"best {scores_text(progress.objectives, best.score)} (trial {best.trial})"
    elif front:
        told = f"Pareto front: {trials_text(len(front))}"
    states = {"running": len(progress.running), "paused": progress.paused, **progress.ended}
    return f"{told}, {counts(states)}" if any(states.values()) else told


def _mark(progress: Progress, trial: int) -> str:
    if progress.best is not None and progress.best.trial == trial:
        return " (best)"
    return " (Pareto front)" if trial in progress.front.trials else ""


def _left(progress: Progress) -> str:
    left = progress.seconds_left
    return f", about {clock(left)} left" if left is not None and not progress.over else ""


def counts(numbers: Mapping[str, int]) -> str:
    """`{"timeout": 2, "oom": 1}` as "timeout 2, oom 1"; zeros are left out."""
    return ", ".join(f"{name} {number}" for name, number in numbers.items() if number)


def clock(seconds: float) -> str:
    """Seconds as h:mm:ss, or m:ss below an hour."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def goal_text(objectives: Objectives) -> str:
    """What is optimized, as "maximize accuracy, minimize latency"."""
    pairs = zip(objectives.directions, objectives.keys, strict=True)
    return ", ".join(f"{direction} {key}" for direction, key in pairs)


def scores_text(objectives: Objectives, score: Score | None) -> str:
    """A score with its names, as "accuracy 0.91, latency 20"."""
    values = dict(score) if isinstance(score, Mapping) else dict.fromkeys(objectives.keys, score)
    return ", ".join(f"{key} {number_text(values.get(key))}" for key in objectives.keys)


def trials_text(count: int) -> str:
    """How many trials."""
    return f"{count} trial" if count == 1 else f"{count} trials"


def number_text(value: float | None) -> str:
    """A number with four significant digits; a dash for none."""
    return "-" if value is None else f"{value:.4g}"


def value_text(value: object) -> str:
    """A parameter's value: numbers short, everything else as it prints, bounded."""
    return number_text(value) if isinstance(value, float) else shorten(str(value), 40)


def shorten(text: str, width: int) -> str:
    """One line of at most `width` characters."""
    flat = " ".join(text.split()) if "\n" in text else text
    return flat if len(flat) <= width else flat[: width - 1] + "…"
