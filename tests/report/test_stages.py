"""The stages of a pipeline's run in a live region, from the events of its journal."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from metta.sweep.cli.following import StageLines
from metta.sweep.report.frames import texts
from metta.sweep.report.inner import FRESH_SECONDS, InnerRuns
from metta.sweep.report.region import Paper
from metta.sweep.report.stages import PipelineProgress, pipeline_frame
from metta.sweep.store.run import RunStatus
from metta.sweep.store.runs import Store

PAPER = Paper(79, 23)
NOW = 100.0


class Happened(NamedTuple):
    kind: str
    subject: str = ""
    data: Mapping[str, Any] = {}
    time: float = 95.0


def started(key: str, attempt: int = 1) -> Happened:
    return Happened("stage.started", key, {"attempt": attempt})


def done(key: str, **data: Any) -> Happened:
    return Happened("stage.done", key, {"seconds": 0.5, **data})


def failed(key: str, *, last: bool = False) -> Happened:
    told = {"attempt": 1, "reason": "oom", "message": "no memory", "traceback": "", "seconds": 1.0}
    return Happened("stage.failed", key, {**told, "last": last})


STORY = [
    started("load"),
    done("load"),
    *(event for key in ("train", "train#2") for event in (started(key), done(key))),
    started("train#3"),
    started("sq"),
    *(started(f"sq~1/sq[{index}]") for index in range(5)),
    done("sq~1/sq[0]"),
    failed("sq~1/sq[1]"),
    done("maybe", skipped=True),
    done("known", cached=True),
    started("judge"),
    failed("judge"),
]


def shown(*events: Happened, paper: Paper = PAPER, total: int | None = None, below: tuple[str, ...] = ()) -> list[str]:
    progress = PipelineProgress("digits", total)
    progress.feed(events)
    return texts(pipeline_frame(progress, 7.0, NOW, paper, below))


def test_each_stage_has_its_state_and_its_time() -> None:
    assert shown(*STORY, total=8) == [
        "digits  ━━━━━━━━╌╌╌╌╌╌╌╌╌╌╌╌  3/8 stages  0:07",
        "  load   done, 0.50 s",
        "  train  pass 3, running 0:05",
        "  sq     1 done, 3 running, the last failure: oom: no memory, 0:05",
        "  maybe  skipped",
        "  known  from the cache",
        "  judge  waits for attempt 2 (oom: no memory)",
    ]


def test_what_goes_on_after_a_failure_and_what_does_not() -> None:
    again = shown(*STORY, started("judge", 2), *(done(f"sq~1/sq[{index}]") for index in range(1, 5)), done("sq"))
    assert again[-1] == "  judge  running 0:05, attempt 2 (oom: no memory)"
    assert again[3] == "  sq     5 done, 2.50 s of work"
    assert shown(*STORY, failed("judge", last=True))[-1] == "  judge  failed (oom: no memory)"
    ended = shown(*STORY, done("train#3"), done("judge"))
    assert ended[2::4] == ["  train  done, 1.50 s, 3 passes", "  judge  done, 0.50 s"]


def test_a_resumed_run_forgets_what_was_dropped_and_what_was_running() -> None:
    told = shown(*STORY, failed("judge", last=True), Happened("run.resumed", data={"dropped": ["load"]}))
    assert "  train  done, 1 s, 2 passes" in told
    assert not [line for line in told if "running" in line or "failed" in line or "waits" in line]
    assert not any("load" in line and "done" in line for line in told)


@pytest.mark.parametrize("kind", ["run.cancelled", "run.failed"])
def test_what_was_running_at_the_end_was_stopped(kind: str) -> None:
    told = shown(*STORY, started("fit"), Happened(kind))
    assert told[2:4] == [
        "  train  stopped in pass 3",
        "  sq     1 done, stopped, the last failure: oom: no memory, 0.50 s of work",
    ]
    assert told[-1] == "  fit    stopped"
    assert shown(started("fit"), Happened(kind), Happened("run.resumed", data={"dropped": []}), started("fit"))[-1] == (
        "  fit  running 0:05"
    )


@pytest.mark.parametrize("height", [1, 2, 4, 8])
def test_where_there_is_little_room_what_runs_has_it(height: int) -> None:
    ends = [event for number in range(30) for event in (started(f"old{number}"), done(f"old{number}"))]
    told = shown(*ends, started("now"), paper=Paper(40, height), below=("tune: running 2",))
    assert len(told) == height
    wanted = ["digits  30 done  0:07", "  old29  done, 0.50 s", "  now    running 0:05", "  tune: running 2"]
    if height == 2:
        wanted[2] = "  now  running 0:05"
    assert told[0] == wanted[0]
    assert told[1:][-3:] == {1: [], 2: [wanted[2]], 4: wanted[1:], 8: wanted[1:]}[height]


def test_many_passes_have_no_line_each() -> None:
    lines = StageLines(most_lines=3)
    told = [line for number in range(2, 500) for line in lines.of([started(f"a#{number}"), done(f"a#{number}")])]
    assert told == [
        *(f"a (pass {number}) done in 0.50 s" for number in (2, 3, 4)),
        "many passages: from here on failures, and every 60 s a summary",
    ]
    assert lines.of([failed("a#500")]) == []
    assert lines.of([failed("a#500", last=True)]) == ["a (pass 500) failed (oom): no memory"]


def test_inner_runs_are_told_while_they_run(tmp_path: Path) -> None:
    now = [0.0]
    inner = InnerRuns(tmp_path, clock=lambda: now[0])
    assert (inner.of_trial(3), inner.of_stages()) == ("", [])
    now[0] += FRESH_SECONDS
    children = Store(tmp_path / "trials" / "trial-0003" / "children" / "sweep")
    with children.create("tune", "sweep") as run, Store(tmp_path / "children" / "stage").create("fit", "sweep"):
        run.publish(RunStatus.RUNNING, {"completed": 2, "running": 1}, 0.5)
        assert inner.of_trial(3) == "tune: completed 2, running 1, best 0.5"
        assert inner.of_stages() == ["fit: running"]
        run.publish(RunStatus.RUNNING, {"completed": 3}, 0.75)
        assert inner.of_trial(3) == "tune: completed 2, running 1, best 0.5"  # not read again so soon
        now[0] += FRESH_SECONDS
        assert inner.of_trial(3) == "tune: completed 3, best 0.75"
        run.publish(RunStatus.COMPLETED)
    now[0] += FRESH_SECONDS
    assert (inner.of_trial(3), inner.of_stages(), inner.of_trial(4)) == ("", [], "")
