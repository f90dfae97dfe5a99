"""The progress views: what they fold, what they print, how wide they get."""

from __future__ import annotations

import io
import os
import threading

import pytest

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
from metta.sweep.report.frames import summary, sweep_frame, texts
from metta.sweep.report.live import LineView, TerminalView, live_view
from metta.sweep.report.progress import Best, Progress, advance, progress_of
from metta.sweep.report.region import Paper
from metta.sweep.report.snapshot import SweepSnapshot
from metta.sweep.report.text import cells, harmless, one_line, shorten
from metta.sweep.trial import Failure, FailureReason, Trial, TrialState

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
        "[0:10] sweep finished: 2/4 trials, best score 0.75 (trial 0), completed 1, failed 1, failed: user_error 1",
    ]


def test_an_attempt_that_is_lost_is_not_told_as_a_pause() -> None:
    stream = io.StringIO()
    with LineView(stream) as view:
        for event in [*STORY[:4], TrialPaused(2.5, 0, 1, 0.5, "oom", "its worker was killed"), STORY[8]]:
            view(event)
    assert stream.getvalue().splitlines()[-2:] == [
        "[0:02] trial 0 is tried again from step 1 (oom): its worker was killed",
        "[0:06] trial 0 resumed at 3 until 9",
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


SIZES = [(width, height) for width in (20, 40, 79) for height in (1, 2, 3, 5, 23)]


@pytest.mark.parametrize(("width", "height"), SIZES)
def test_a_frame_fits_whatever_there_is_to_tell(width: int, height: int) -> None:
    events: list[SweepEvent] = [SweepStarted(0.0, "a very long name " * 5, Objectives(("validation.score",)), trials=9)]
    events += [TrialStarted(1.0, number, PARAMS, until=100) for number in range(30)]
    events += [TrialEnded(2.0, n, "failed", 0, None, f"reason_{n}", "x" * 300) for n in range(10)]
    for progress in (fold(events), fold([*events, SweepEnded(3.0, "the disk is full")])):
        lines = sweep_frame(progress, Paper(width, height))
        assert len(lines) <= height
        assert cells(texts(lines[:1])[0]) <= max(width, 30)
    if height == 23:
        assert "  and 13 more" in texts(lines)


def test_a_frame_shows_what_matters() -> None:
    lines = texts(sweep_frame(fold(STORY[:10]), Paper(80, 24)))
    assert lines == [
        "digits  ━━━━━╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌  1/4 trials  0:07, about 0:21 left",
        "best score 0.75 (trial 0), running 1, failed 1",
        "  trial 0  step 9/9  score 0.75",
        "1 failed (user_error), trial 1: ValueError: loss is NaN",
    ]


def test_few_lines_have_what_matters_most() -> None:
    told = [texts(sweep_frame(fold(STORY[:10]), Paper(39, height)))[-1][:22] for height in (1, 2, 3, 4)]
    assert told == [
        "digits  ━━╌╌╌╌╌╌╌  1/4",
        "best score 0.75 (trial",
        "1 failed (user_error),",
        "1 failed (user_error),",
    ]


def test_what_is_no_text_for_a_terminal_is_written_out() -> None:
    assert harmless("a\x1b[31m\tb\n\x9b\x00") == "a\\x1b[31m\tb\n\\x9b\\x00"
    assert one_line("a\n b\r\x07\u202e\u200b") == "a b \\x07"


def test_wide_characters_count_twice() -> None:
    assert [cells("中文"), cells("ab")] == [4, 2]
    assert shorten("中文中文", 6) == "中文…"
    assert [shorten("abc", width) for width in (3, 2, 1, 0)] == ["abc", "a…", "…", ""]
    assert cells(shorten("\N{GRINNING FACE}" * 10**6, 20)) <= 20


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
        "[0:07] sweep finished: 3/5 trials, Pareto front: 2 trials, stopped 2, completed 3",
    ]
    before = summary(fold(TWO[:6]))
    assert "no score yet" in before


def test_the_frame_of_several_objectives() -> None:
    lines = texts(sweep_frame(fold(TWO), Paper(80, 24)))
    assert lines[1:3] == [
        "Pareto front: 2 trials, running 2, completed 3",
        "  trial 1  step 2  accuracy 0.75, latency 10",
    ]


def test_a_snapshot_is_the_same_progress() -> None:
    trials = [Trial({"x": number}, number) for number in range(4)]
    for trial, state, score in zip(
        trials, ("completed", "failed", "paused", "running"), (0.5, None, 0.75, 0.25), strict=True
    ):
        trial.state = TrialState(state)
        trial.score = score
    trials[1].failure = Failure(FailureReason.OOM, "too large")
    snapshot = SweepSnapshot("id", "digits", "running", Objectives(), tuple(trials), seconds=5.0, budget_trials=4)
    progress = progress_of(snapshot)
    assert texts(sweep_frame(progress, Paper(80, 24))) == [
        "digits  ━━━━━━━━━━━━━━━╌╌╌╌╌  3/4 trials  0:05, about 0:01 left",
        "best score 0.75 (trial 2), running 1, paused 1, completed 1, failed 1",
        "  trial 3  step 0  score 0.25",
        "1 failed (oom), trial 1: too large",
    ]


def test_many_trials_have_no_line_each() -> None:
    stream = io.StringIO()
    with LineView(stream, most_lines=4) as view:
        view(SweepStarted(0.0, "many", Objectives()))
        for number in range(1000):
            view(TrialStarted(1.0, number, {}))
            view(TrialReported(1.0, number, 1, min(number, 5) / 10))
            if number % 10 == 9:
                view(TrialEnded(2.0, number, "failed", 1, None, "oom" if number < 500 else "timeout", "no luck"))
            else:
                view(TrialEnded(2.0, number, "completed", 1, 0.0))
        view(SweepEnded(3.0))
    told = [line.partition("] ")[2] for line in stream.getvalue().splitlines()]
    assert told[4:] == [
        "trial 1 completed at 1, score 0 (best)",
        "many trials: from here on every 60 s a summary, and what is new",
        *(f"trial {number} completed at 1, score 0 (best)" for number in range(2, 6)),
        "trial 9 failed (oom): no luck",
        "trial 509 failed (timeout): no luck",
        "sweep finished: 1000 trials, best score 0.5 (trial 5), completed 900, failed 100, failed: oom 50, timeout 50",
    ]


def test_nobody_reading_ends_no_sweep() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    closed = os.fdopen(writer, "w")
    for stream in (None, closed):
        with LineView(stream) as view:
            for event in STORY:
                view(event)
    assert not isinstance(live_view(closed), TerminalView)
    with pytest.raises(BrokenPipeError):
        closed.close()


def test_what_a_stream_cannot_encode_is_written_out() -> None:
    written = io.BytesIO()
    stream = io.TextIOWrapper(written, encoding="ascii")
    with LineView(stream) as view:
        view(SweepStarted(0.0, "中\x1b文", Objectives()))
    stream.flush()
    assert written.getvalue() == rb'[0:00] sweep "\u4e2d\x1b\u6587" started: maximize score' + b"\n"
