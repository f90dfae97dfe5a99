"""The progress views: what they fold, what they print, how wide they get."""

from __future__ import annotations

import io
import threading

import pytest
from rich.console import Console

from metta.sweep.goal import Objectives
from metta.sweep.report.events import (
    SweepEnded,
    SweepEvent,
    SweepStarted,
    TrialEnded,
    TrialPaused,
    TrialReported,
    TrialStarted,
)
from metta.sweep.report.live import LineView, TerminalView, clock, live_view, region, summary
from metta.sweep.report.progress import Best, Progress, advance

PARAMS = {"trainer.learning_rate": 0.012345, "trainer.batch_size": 32}
STORY: list[SweepEvent] = [
    SweepStarted(0.0, "digits", Objectives(), trials=4),
    TrialStarted(1.0, 0, PARAMS, until=3),
    TrialStarted(1.0, 1, PARAMS, until=3),
    TrialReported(2.0, 0, 1, 0.5),
    TrialReported(3.0, 1, 1, 0.25),
    TrialReported(3.5, 1, 2, float("nan")),
    TrialPaused(4.0, 0, 3, 0.5),
    TrialEnded(5.0, 1, "failed", 2, None, "user_error", "ValueError: loss is NaN"),
    TrialStarted(6.0, 0, PARAMS, step=3, until=9, resumed=True),
    TrialReported(7.0, 0, 9, 0.75),
    TrialEnded(8.0, 0, "completed", 9, 0.75),
    SweepEnded(10.0),
]


def test_forks_are_more_trials_than_the_budget_counts() -> None:
    ends = [TrialEnded(3.0, number, "completed", 1, 0.5) for number in range(3)]
    begins = [TrialStarted(2.0, number, PARAMS) for number in range(3)]
    progress = fold([SweepStarted(0.0, "digits", Objectives(), trials=2), *begins, *ends])
    assert summary(progress).startswith("3 trials, ")


def fold(events: list[SweepEvent]) -> Progress:
    progress = Progress()
    for event in events:
        progress = advance(progress, event)
    return progress


def test_progress_counts_every_trial_once() -> None:
    end = fold(STORY)
    assert (end.started, end.paused, dict(end.running)) == (2, 0, {})
    assert end.ended == {"failed": 1, "completed": 1}
    assert end.failures == {"user_error": 1}
    assert end.best == Best(0.75, trial=0, step=9)
    assert end.over


def test_a_paused_trial_that_is_pruned_leaves_the_paused() -> None:
    paused = fold([*STORY[:7]])
    assert (paused.paused, sorted(paused.running)) == (1, [1])
    pruned = advance(paused, TrialEnded(9.0, 0, "pruned", 3, 0.5))
    assert (pruned.paused, sorted(pruned.running)) == (0, [1])


def test_minimizing_takes_the_lowest() -> None:
    start = SweepStarted(0.0, "digits", Objectives(("loss",), ("minimize",)))
    end = fold([start, TrialReported(1.0, 0, 1, 2.0), TrialReported(1.0, 1, 1, 1.0), TrialReported(1.0, 2, 1, 3.0)])
    assert end.best == Best(1.0, trial=1, step=1)


def test_time_left_goes_on_at_the_pace_so_far() -> None:
    start = fold(STORY[:3])
    assert (start.fraction, start.seconds_left) == (0.0, None)
    half = fold(STORY[:8])
    assert (half.fraction, half.seconds_left) == (0.5, 5.0)
    timed = fold([SweepStarted(0.0, "t", Objectives(), max_seconds=40), SweepEnded(10.0)])
    assert timed.fraction == 0.25


def test_lines_say_every_change_of_state_and_no_report() -> None:
    stream = io.StringIO()
    with LineView(stream) as view:
        for event in STORY:
            view(event)
    assert stream.getvalue().splitlines() == [
        '[0:00] sweep "digits" started: maximize score, 4 trials',
        "[0:01] trial 0 started until 3: trainer.learning_rate=0.01235, trainer.batch_size=32",
        "[0:01] trial 1 started until 3: trainer.learning_rate=0.01235, trainer.batch_size=32",
        "[0:04] trial 0 paused at 3, score 0.5",
        "[0:05] trial 1 failed (user_error): ValueError: loss is NaN",
        "[0:06] trial 0 resumed at 3 until 9",
        "[0:08] trial 0 completed at 9, score 0.75 (best)",
        "[0:10] sweep finished: 2/4 trials, best score 0.75 (trial 0), failed 1, completed 1, failed: user_error 1",
    ]


def test_a_silent_sweep_is_summarized_by_the_clock() -> None:
    printed = threading.Event()

    class Stream(io.StringIO):
        def write(self, text: str) -> int:
            if "no score yet" in text:
                printed.set()
            return super().write(text)

    with LineView(Stream(), summary_seconds=0.01) as view:
        view(STORY[0])
        assert printed.wait(30)


@pytest.mark.parametrize("width", [40, 80])
def test_the_region_is_bounded(width: int) -> None:
    events: list[SweepEvent] = [SweepStarted(0.0, "a very long name " * 5, Objectives(("validation.score",)))]
    events += [TrialStarted(1.0, number, PARAMS, until=100) for number in range(30)]
    events += [TrialEnded(2.0, n, "failed", 0, None, f"reason_{n}_{'x' * 30}") for n in range(10)]
    console = Console(file=io.StringIO(), width=width, record=True)
    console.print(region(fold(events), width))
    lines = console.export_text().splitlines()
    assert max(map(len, lines)) <= width
    assert len(lines) <= 13
    assert "and 12 more" in "\n".join(lines)


def test_the_region_shows_what_matters() -> None:
    console = Console(file=io.StringIO(), width=80, record=True)
    console.print(region(fold(STORY[:10]), 80))
    text = console.export_text()
    for part in ("digits", "1/4 trials", "best score 0.75 (trial 0)", "step 9/9", "failed: user_error 1", "left"):
        assert part in text


def test_the_terminal_view_draws_and_stops() -> None:
    stream = io.StringIO()
    console = Console(file=stream, width=80, force_terminal=True)
    with TerminalView(stream, console) as view:
        for event in STORY:
            view(event)
    assert "best score 0.75" in stream.getvalue()


def test_the_view_suits_the_stream() -> None:
    assert isinstance(live_view(io.StringIO()), LineView)


TWO: list[SweepEvent] = [
    SweepStarted(0.0, "nets", Objectives(("accuracy", "latency"), ("maximize", "minimize")), trials=5),
    *(TrialStarted(1.0, number, {"x": number}) for number in range(5)),
    TrialReported(2.0, 0, 1, {"accuracy": 0.99, "latency": 0.5}),  # at an earlier step than the others
    TrialReported(2.0, 0, 2, {"accuracy": 0.5, "latency": 10.0}),
    TrialEnded(2.0, 0, "completed", 2, {"accuracy": 0.5, "latency": 10.0}),
    TrialReported(3.0, 1, 2, {"accuracy": 0.75, "latency": 10.0}),  # beats trial 0
    TrialReported(3.0, 2, 2, {"accuracy": 0.625, "latency": 5.0}),
    TrialEnded(3.0, 2, "completed", 2, {"accuracy": 0.625, "latency": 5.0}),
    TrialReported(4.0, 3, 2, {"accuracy": 0.625, "latency": 20.0}),  # beaten
    TrialEnded(4.0, 3, "completed", 2, {"accuracy": 0.625, "latency": 20.0}),
    TrialReported(5.0, 4, 2, {"accuracy": float("nan"), "latency": 1.0}),
    TrialReported(6.0, 2, 2, {"accuracy": 0.625, "latency": 5.0}),  # told again
]


def test_several_objectives_have_a_front_and_no_best() -> None:
    end = fold(TWO)
    assert end.best is None
    assert sorted(end.front.trials) == [1, 2]
    assert (end.front.trials[1], end.front.step) == ((-0.75, 10.0), 2)


def test_lines_of_several_objectives_name_all_of_them() -> None:
    stream = io.StringIO()
    with LineView(stream) as view:
        for event in [*TWO, SweepEnded(7.0)]:
            view(event)
    lines = stream.getvalue().splitlines()
    assert lines[0] == '[0:00] sweep "nets" started: maximize accuracy, minimize latency, 5 trials'
    assert lines[7:] == [
        "[0:03] trial 2 completed at 2, accuracy 0.625, latency 5 (Pareto front)",
        "[0:04] trial 3 completed at 2, accuracy 0.625, latency 20",
        "[0:07] sweep finished: 3/5 trials, Pareto front: 2 trials, running 2, completed 3",
    ]
    before = summary(fold(TWO[:6]))
    assert "no score yet" in before


def test_the_region_of_several_objectives() -> None:
    console = Console(file=io.StringIO(), width=80, record=True)
    console.print(region(fold(TWO), 80))
    text = console.export_text()
    for part in ("Pareto front: 2 trials", "step 2         accuracy 0.75, latency 10", "accuracy nan, latency 1"):
        assert part in text


def test_clock() -> None:
    assert [clock(5), clock(65), clock(3725)] == ["0:05", "1:05", "1:02:05"]
