"""Where a pipeline's run stands, folded from its events one by one, and what the live region shows of it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

from metta.sweep.report.frames import head_line
from metta.sweep.report.pipeline_status import stage_name
from metta.sweep.report.region import Line, Paper, Piece
from metta.sweep.report.text import cells, clock, duration, padded, shorten
from metta.sweep.runtime.history import EventLike

MOST_STAGES: Final = 16
NAME_WIDTH: Final = 24


@dataclass(slots=True)
class StageProgress:
    """A stage with all its passages.

    Attributes:
        name: its id in the graph.
        is_map: its passages are elements, which run side by side; else passes of a loop, one after the other.
        running: when the passages that run began, by key, in seconds since 1970.
        passed: the keys of the passages that have ended well.
        cached, skipped: how many of them were taken from the cache, and skipped.
        seconds: that those took.
        attempt: the number of the attempt that runs, or has failed.
        error: of the attempt that has failed last; empty once it has ended well.
        has_failed: it will not be tried again.
        was_stopped: it was running when the run ended.
    """

    name: str
    is_map: bool
    running: dict[str, float] = field(default_factory=dict)
    passed: set[str] = field(default_factory=set)
    cached: int = 0
    skipped: int = 0
    seconds: float = 0.0
    attempt: int = 1
    error: str = ""
    has_failed: bool = False
    was_stopped: bool = False

    @property
    def done(self) -> int:
        """How many passages have ended well."""
        return len(self.passed)


class PipelineProgress:
    """The stages of a run in the order in which they were first entered.

    Args:
        name: of the run.
        total: how many stages there are; None where nobody knows. Not all of them need to be entered.
    """

    def __init__(self, name: str, total: int | None = None) -> None:
        self.name = name
        self.total = total
        self.stages: dict[str, StageProgress] = {}

    def feed(self, events: Iterable[EventLike]) -> None:
        """Take the next events of the journal."""
        for event in events:
            if event.kind.startswith("stage."):
                self._feed(event)
            elif event.kind == "run.resumed":  # what was running has died with its driver
                for stage in self.stages.values():
                    stage.running.clear()
                    stage.passed.difference_update(event.data["dropped"])
                    stage.has_failed, stage.error = False, ""
            elif event.kind in ("run.cancelled", "run.failed"):
                for stage in self.stages.values():
                    stage.was_stopped = bool(stage.running)
                    stage.running.clear()

    def _feed(self, event: EventLike) -> None:
        key, data = event.subject, event.data
        name = stage_name(key)
        is_map = name.endswith("[]")
        name = name.removesuffix("[]")
        stage = self.stages.setdefault(name, StageProgress(name, is_map))
        stage.is_map = stage.is_map or is_map
        is_whole_map = stage.is_map and not is_map
        match event.kind:
            case "stage.started":
                stage.running[key] = event.time
                stage.was_stopped = False
                stage.attempt = data.get("attempt", 1)
            case "stage.done":
                stage.running.pop(key, None)
                if is_whole_map:
                    return
                stage.passed.add(key)
                stage.cached += bool(data.get("cached"))
                stage.skipped += bool(data.get("skipped"))
                stage.seconds += data.get("seconds", 0.0)
                stage.error = ""
            case "stage.failed":
                stage.running.pop(key, None)
                stage.error = f"{data['reason']}: {data['message']}"
                stage.has_failed = data["last"]
                stage.attempt = data["attempt"]
            case _:
                pass

    @property
    def ended(self) -> int:
        """How many stages have been passed, and do not run now."""
        return sum(stage.done > 0 and not stage.running for stage in self.stages.values())


def pipeline_frame(
    progress: PipelineProgress, seconds: float, now: float, paper: Paper, below: Sequence[str] = ()
) -> list[Line]:
    """At most `paper.height` lines: those of stages that run or have failed first, then the newest others.

    Args:
        progress: where the run stands.
        seconds: since its driver began.
        now: in seconds since 1970.
        paper: what there is to draw on.
        below: a line for each run that a stage has started and that runs now.
    """
    total = progress.total
    done = f"{progress.ended}/{total} stages" if total else f"{progress.ended} done"
    fraction = min(1.0, progress.ended / total) if total else None
    head = head_line(progress.name, fraction, f"{done}  {clock(seconds)}", paper)
    below = below[: max(0, paper.height - 2)]
    room = min(MOST_STAGES, paper.height - 1 - len(below))
    stages = list(progress.stages.values())
    first = [stage for stage in stages if stage.running or stage.error or stage.was_stopped]
    others = [stage for stage in stages if stage not in first]
    room_for_others = max(0, room - len(first))
    kept = {stage.name for stage in [*first[-room:], *others[len(others) - room_for_others :]]} if room > 0 else set()
    width = min(NAME_WIDTH, max((cells(shorten(name, NAME_WIDTH)) for name in kept), default=0))
    rows = [_row(stage, width, now, paper) for stage in stages if stage.name in kept]
    return [head, *rows, *([Piece(f"  {text}")] for text in below)][: paper.height]


def _row(stage: StageProgress, width: int, now: float, paper: Paper) -> Line:
    name = shorten(stage.name, width, mark=paper.mark)
    told, style = _state(stage, now)
    return [Piece(f"  {padded(name, width)}  "), Piece(told, style)]


def _state(stage: StageProgress, now: float) -> tuple[str, str]:
    """A stage's state in words, and its style."""
    if stage.has_failed:
        return f"failed ({stage.error})", "red"
    if stage.is_map:
        return _map_state(stage, now)
    if stage.was_stopped:
        return "stopped" + (f" in pass {stage.done + 1}" if stage.done else ""), "dim"
    spent = duration(stage.seconds)
    if stage.running:
        since = clock(max(0.0, now - min(stage.running.values())))
        passes = f"pass {stage.done + 1}, " if stage.done else ""
        again = f", attempt {stage.attempt} ({stage.error})" if stage.error else ""
        return f"{passes}running {since}{again}", "blue"
    if stage.error:
        return f"waits for attempt {stage.attempt + 1} ({stage.error})", "red"
    if stage.skipped == stage.done:
        return "skipped", "dim"
    how = "from the cache" if stage.cached == stage.done else f"done, {spent}"
    return (f"{how}, {stage.done} passes" if stage.done > 1 else how), "green"


def _map_state(stage: StageProgress, now: float) -> tuple[str, str]:
    running = sum(key.endswith("]") for key in stage.running)
    parts = [f"{stage.done} done"]
    if running:
        parts.append(f"{running} running")
    if stage.was_stopped:
        parts.append("stopped")
    if stage.error:
        parts.append(f"the last failure: {stage.error}")
    if stage.running:
        return f"{', '.join(parts)}, {clock(max(0.0, now - min(stage.running.values())))}", "blue"
    return f"{', '.join(parts)}, {duration(stage.seconds)} of work", "red" if stage.error else "green"
