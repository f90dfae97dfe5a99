"""What stages print in worker processes is kept with the run: one log for each attempt."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from metta.sweep import Pipeline, RetryPolicy
from metta.sweep.experiments.base import Pipeline as AnyPipeline
from metta.sweep.trial import Resources

AT_ONCE = RetryPolicy(max_attempts=3, backoff=None)


def logs(pipeline: AnyPipeline, folder: Path, **inputs: Any) -> dict[str, str]:
    """Run it durably; the logs by their folders."""
    graph = pipeline.compile().with_store(folder, "run")
    graph.run(**inputs)
    found = graph.store.latest("run", unfinished=False)
    assert found is not None
    stages = found.folder / "stages"
    return {str(log.parent.relative_to(stages)): log.read_text() for log in sorted(stages.rglob("log.txt"))}


def speak(x: int) -> int:
    print(f"x is {x}")
    return x + 1


async def aspeak(x: int) -> int:
    return speak(x)


def keep(y: int) -> int:
    print("not in a worker")
    return y


@pytest.mark.parametrize("hooks", [{"timeout": 60}, {"executor": "local"}, {"resources": Resources(cpus=1)}])
def test_a_stage_in_a_worker_has_a_log(
    tmp_path: Path, hooks: dict[str, Any], capfd: pytest.CaptureFixture[str]
) -> None:
    pipeline = Pipeline(x=int).stage("speak", speak).through(y=int, **hooks).stage("keep", keep).through(z=int)
    assert logs(pipeline, tmp_path, x=3) == {"speak/attempt-1": "x is 3\n"}
    assert capfd.readouterr().out == "x is 3\nnot in a worker\n"
    (log,) = tmp_path.rglob("log.txt")
    assert (log.stat().st_mode & 0o777, log.parent.stat().st_mode & 0o777) == (0o600, 0o700)


def test_in_an_async_pipeline(tmp_path: Path) -> None:
    async def begin(start: int) -> int:
        return start

    pipeline = Pipeline(start=int).stage("begin", begin).through(x=int).stage("speak", speak).through(y=int, timeout=60)
    assert logs(pipeline, tmp_path, start=4) == {"speak/attempt-1": "x is 4\n"}


def test_each_attempt_has_its_own(tmp_path: Path) -> None:
    tries = tmp_path / "tries"
    tries.mkdir()

    def fails_twice(x: int) -> int:
        (tries / str(len(os.listdir(tries)))).touch()
        print(f"try {len(os.listdir(tries))}")
        if len(os.listdir(tries)) < 3:
            raise OSError("not yet")
        return x

    pipeline = Pipeline(x=int).stage("fails", fails_twice).through(y=int, timeout=60, retry=AT_ONCE)
    assert logs(pipeline, tmp_path / "store", x=0) == {
        f"fails/attempt-{number}": f"try {number}\n" for number in (1, 2, 3)
    }


def test_passes_elements_and_nested_stages_have_their_own(tmp_path: Path) -> None:
    inner = Pipeline(x=int).stage("speak", speak).through(x=int, timeout=60)
    pipeline = (
        Pipeline(x=int, xs=list[int])
        .loop_while(lambda now: now.x < 2)
        .stage("grow", speak)
        .through(x=int, timeout=60)
        .end_loop()
        .map("each", speak, over="xs", max_parallel=1)
        .through(ys=list[int], timeout=60)
        .stage("around", inner)
        .through(checkpoint=True)
    )
    found = logs(pipeline, tmp_path, x=0, xs=[7, 8])
    assert sorted(found.values()) == ["x is 0\n", "x is 1\n", "x is 2\n", "x is 7\n", "x is 8\n"]
    assert found["grow/attempt-1"] == "x is 0\n"
    assert found["around/attempt-1/around/speak/attempt-1"] == "x is 2\n"


def test_without_a_store_nothing_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert Pipeline(x=int).stage("speak", speak).through(y=int, timeout=60).compile().run(x=1).y == 2
    assert list(tmp_path.iterdir()) == []


def test_an_attempt_that_a_driver_left_is_gone_on_with_in_its_log(tmp_path: Path) -> None:
    ready = tmp_path / "ready"

    def needs(x: int) -> int:
        print("again" if ready.exists() else "first")
        if not ready.exists():
            raise OSError("not ready")
        return x

    graph = Pipeline(x=int).stage("needs", needs).through(y=int, timeout=60).compile().with_store(tmp_path / "s", "run")
    with pytest.raises(OSError, match="not ready"):
        graph.run(x=1)
    ready.touch()
    assert graph.resume().y == 1
    (log,) = tmp_path.rglob("log.txt")
    assert log.read_text() == "first\nagain\n"
