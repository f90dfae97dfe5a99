"""What the live region shows of a sweep: progress, standing, running trials, failures by reason."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from metta.sweep.report.failed import failed_text
from metta.sweep.report.progress import Progress, Running
from metta.sweep.report.region import Line, Paper, Piece
from metta.sweep.report.text import cells, clock, counts, scores_text, shorten, trials_text
from metta.sweep.trial import TrialState

MOST_TRIALS: Final = 8
MOST_REASONS: Final = 4
NAME_WIDTH: Final = 24
NARROWEST_NAME: Final = 8
BAR_WIDTH: Final = 20
NARROWEST_BAR: Final = 6

Inner = Callable[[int], str]
"""What is known of the run that a trial has started; empty where it has started none."""


def no_inner(_trial: int) -> str:
    """For trials that start no runs."""
    return ""


def sweep_frame(progress: Progress, paper: Paper, inner: Inner = no_inner) -> list[Line]:
    """At most `paper.height` lines; where they are few, what matters most has them.

    Args:
        progress: where the sweep stands.
        paper: what there is to draw on.
        inner: told for each trial that is shown.
    """
    done = f"{trials_done(progress)}  {clock(progress.seconds)}{time_left(progress)}"
    if cells(done) > paper.width - NARROWEST_NAME - 2:
        done = done.replace(" trials", "").replace("about ", "")
    head = head_line(progress.name, progress.fraction, done, paper)
    ends = [[Piece(f"ended: {progress.error}", "red")]] if progress.error else []
    reasons = failure_lines(progress)
    room = paper.height - 2 - len(ends)
    reasons = reasons[: max(1, min(MOST_REASONS, room // 3))]
    rows = _trial_lines(progress, min(MOST_TRIALS, room - len(reasons)), inner)
    return [head, [Piece(standing(progress))], *ends, *rows, *reasons][: paper.height]


def head_line(name: str, fraction: float | None, done: str, paper: Paper) -> Line:
    """A name, a bar where there is room for one, and how much is done.

    Args:
        fraction: of what is to be done; None where nobody knows.
    """
    room = paper.width - cells(done) - 2
    name = shorten(name, max(NARROWEST_NAME, min(NAME_WIDTH, room)), mark=paper.mark)
    width = min(BAR_WIDTH, room - cells(name) - 2)
    bar = bar_pieces(fraction, width, paper) if fraction is not None and width >= NARROWEST_BAR else []
    return [Piece(name, "bold"), *([Piece("  "), *bar] if bar else []), Piece("  "), Piece(done)]


def bar_pieces(fraction: float, width: int, paper: Paper) -> list[Piece]:
    """A bar of `width` columns; what is done differs in form, not in colour only."""
    done = round(width * fraction)
    full, empty = ("#", "-") if paper.ascii else ("━", "╌")
    return [Piece(full * done, "green"), Piece(empty * (width - done), "dim")]


def _trial_lines(progress: Progress, most: int, inner: Inner) -> list[Line]:
    rows = sorted(progress.running.items())
    if most < 1 or not rows:
        return []
    shown = rows if len(rows) <= most else rows[: most - 1]
    columns = [_trial_cells(progress, number, row) for number, row in shown]
    widths = [max(map(len, column)) for column in list(zip(*columns, strict=True))[:-1]] if columns else []
    lines: list[Line] = []
    for (number, _), row_cells in zip(shown, columns, strict=True):
        padded = [*(cell.ljust(width) for cell, width in zip(row_cells, widths, strict=False)), row_cells[-1]]
        told = inner(number)
        lines.append([Piece("  " + "  ".join([*padded, *([told] if told else [])]))])
    if len(shown) < len(rows):
        lines.append([Piece(f"  and {len(rows) - len(shown)} more", "dim")])
    return lines


def _trial_cells(progress: Progress, number: int, row: Running) -> list[str]:
    span = f"{row.step}/{row.until}" if row.until else str(row.step)
    return [f"trial {number}", f"step {span}", scores_text(progress.objectives, row.score)]


def failure_lines(progress: Progress) -> list[Line]:
    """A line for each reason, the most frequent first: how many trials, and what the last of them said."""
    by_count = sorted(progress.failures.items(), key=lambda pair: -pair[1])
    lines: list[Line] = []
    for reason, number in by_count:
        last = progress.last_failures[reason]
        lines.append([Piece(failed_text(number, reason, last.trial, last.message), "red")])
    return lines


def summary(progress: Progress) -> str:
    """One line: trials, standing, failures, time left."""
    parts = [trials_done(progress), standing(progress)]
    if progress.failures:
        parts.append(f"failed: {counts(progress.failures)}")
    return ", ".join(parts) + time_left(progress)


def trials_done(progress: Progress) -> str:
    """How many trials have left their workers, of how many."""
    done = progress.started - len(progress.running)
    # More than were to be started: some are forks, which no budget counts.
    return f"{done}/{progress.trials} trials" if progress.trials and done <= progress.trials else f"{done} trials"


def standing(progress: Progress) -> str:
    """The best score, or the size of the Pareto front, and how many trials are in which state."""
    best, front = progress.best, progress.front.trials
    told = "no score yet"
    if best is not None:
        told = f"best {scores_text(progress.objectives, best.score)} (trial {best.trial})"
    elif front:
        told = f"Pareto front: {trials_text(len(front))}"
    busy = "stopped" if progress.over else "running"
    ended = {state.value: progress.ended.get(state.value, 0) for state in TrialState if state.is_finished}
    states: Mapping[str, int] = {busy: len(progress.running), "paused": progress.paused, **ended}
    return f"{told}, {counts(states)}" if any(states.values()) else told


def time_left(progress: Progress) -> str:
    """An estimate as the end of a line; empty where there is none."""
    left = progress.seconds_left
    return f", about {clock(left)} left" if left is not None else ""


def texts(lines: Sequence[Line]) -> list[str]:
    """The lines without their styles."""
    return ["".join(piece.text for piece in line) for line in lines]
