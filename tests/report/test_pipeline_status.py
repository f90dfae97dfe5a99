"""Where a pipeline's run stands, from its events."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from metta.sweep import Pipeline
from metta.sweep.cli.following import StageLines
from metta.sweep.report.pipeline_status import StageState, pipeline_status, stage_name, stages_of
from metta.sweep.runtime.history import History
from metta.sweep.store.run import RunStatus


class Happened(NamedTuple):
    kind: str
    subject: str
    data: Mapping[str, Any]
    time: float = 0.0


def started(key: str) -> Happened:
    return Happened("stage.started", key, {"attempt": 1})


def done(key: str, **data: Any) -> Happened:
    return Happened("stage.done", key, {"seconds": 2.0, **data})


def failed(key: str, *, last: bool = False) -> Happened:
    told = {"attempt": 1, "reason": "user_error", "message": f"ValueError: {key}", "traceback": "", "seconds": 1.0}
    return Happened("stage.failed", key, {**told, "last": last})


def test_names_of_keys() -> None:
    keys = ["train", "train#3", "sq~1/sq[12]", "nested~2/nested.inner#2", "a%2Fb"]
    assert [stage_name(key) for key in keys] == ["train", "train", "sq[]", "nested.inner", "a/b"]


EVENTS = [
    *(event for key in ("train", "train#2") for event in (started(key), done(key))),
    *(started(f"sq~1/sq[{index}]") for index in range(3)),
    done("sq~1/sq[0]", cached=True),
    failed("sq~1/sq[1]"),
    done("maybe", skipped=True),
    failed("judge"),
    failed("judge", last=True),
]


def test_stages_are_counted_by_state() -> None:
    history = History.of(EVENTS)
    expected: dict[RunStatus, dict[str, dict[str, int]]] = {
        RunStatus.RUNNING: {
            "train": {"done": 2},
            "sq[]": {"cached": 1, "retrying": 1, "running": 1},
            "maybe": {"skipped": 1},
            "judge": {"running": 1},
        },
        RunStatus.FAILED: {
            "train": {"done": 2},
            "sq[]": {"cached": 1, "stopped": 2},
            "maybe": {"skipped": 1},
            "judge": {"failed": 1},
        },
    }
    for status, wanted in expected.items():
        found = {stage.name: {s.value: n for s, n in stage.states.items()} for stage in stages_of(history, status)}
        assert found == wanted
    stages = {stage.name: stage for stage in stages_of(history, RunStatus.FAILED)}
    assert (stages["train"].seconds, stages["train"].passages) == (4.0, 2)
    assert (stages["judge"].failures, stages["judge"].last_error) == (2, "ValueError: judge")
    assert stages["sq[]"].failures == 1


def test_lines_tell_each_change_once() -> None:
    lines = StageLines()
    assert lines.of(EVENTS[:7]) == ["train done in 2 s", "train (pass 2) done in 2 s"]
    assert lines.summary() == "2 done, running: sq[]"
    assert lines.of(EVENTS[7:]) == [
        "sq[1] failed at attempt 1 (user_error): ValueError: sq~1/sq[1]",
        "maybe skipped",
        "judge failed at attempt 1 (user_error): ValueError: judge",
        "judge failed (user_error): ValueError: judge",
    ]
    assert lines.of([started("slow")]) == ["slow started"]
    assert lines.of([done("slow", cached=True)]) == ["slow taken from the cache"]


def inner(x: int) -> int:
    raise ValueError(f"no {x}")


def test_the_innermost_stage_is_blamed(tmp_path: Path) -> None:
    nested = Pipeline(x=int).stage("inner", inner).through(y=int)
    durable = Pipeline(x=int).stage("outer", nested).through(checkpoint=True).compile().with_store(tmp_path, "nest")
    try:
        durable.run(x=1)
    except ValueError:
        pass
    else:
        raise AssertionError("it should have failed")
    with durable.store.open("nest") as run:
        status = pipeline_status(run)
    assert (status.status, status.resumed) == (RunStatus.FAILED, 0)
    assert status.failure is not None
    assert (status.failure.stage, status.failure.message) == ("outer.inner", "ValueError: no 1")
    assert status.counts == {StageState.FAILED: 2}
