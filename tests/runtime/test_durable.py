"""Durable runs of pipelines in this process: what is kept, what is gone on with, what is refused."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from metta.sweep import Context, Experiment, Pipeline, RetryPolicy, field
from metta.sweep.errors import RefusedError, StorageError, UsageError, WorkerDied
from metta.sweep.experiments.base import Pipeline as AnyPipeline
from metta.sweep.runtime.durable import DurableGraph
from metta.sweep.runtime.history import History, Passage
from metta.sweep.store.codec import Unstorable
from metta.sweep.store.run import RunStatus


def at_once(attempts: int) -> RetryPolicy:
    """So many attempts, one right after the other."""
    return RetryPolicy(max_attempts=attempts, backoff=None)


class Model(NamedTuple):
    weights: list[float]


class Stages:
    """Counts its calls; `broken` makes the named one fail."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.broken: set[str] = set()

    def _call(self, name: str) -> None:
        self.calls.append(name)
        if name in self.broken:
            raise OSError(f"{name} is broken")

    def load(self, size: int) -> list[float]:
        self._call("load")
        return [1.0] * size

    def train(self, data: list[float]) -> Model:
        self._call("train")
        return Model([x / 2 for x in data])

    def judge(self, model: Model) -> float:
        self._call("judge")
        return sum(model.weights)

    def double(self, x: float) -> float:
        self._call(f"double {x}")
        return 2 * x

    def handle(self, data: list[float]) -> Callable[[], int]:
        self._call("handle")
        return lambda: len(data)

    def use(self, handle: Callable[[], int]) -> int:
        self._call("use")
        return handle()

    async def slow(self, data: list[float]) -> float:
        self._call("slow")
        await asyncio.sleep(60)
        return 0.0


@pytest.fixture
def stages() -> Stages:
    return Stages()


def chain(stages: Stages, **hooks: Any) -> Pipeline:
    return (
        Pipeline(size=int)
        .stage("load", stages.load)
        .through(data=list[float])
        .stage("train", stages.train)
        .through(model=Model, **hooks)
        .stage("judge", stages.judge)
        .through(score=float)
    )


def durable(pipeline: AnyPipeline, folder: Path, name: str = "run") -> DurableGraph[Any, Any]:
    return pipeline.compile().with_store(folder, name)


def history(graph: DurableGraph[Any, Any]) -> History:
    found = graph.store.latest(graph.name, unfinished=False)
    assert found is not None
    with graph.store.open(found.id) as run:
        return History.of(run.journal.events())


def passage(graph: DurableGraph[Any, Any], key: str) -> Passage:
    return history(graph).passages[key]


def fail(graph: DurableGraph[Any, Any], error: type[Exception] = OSError, **inputs: Any) -> None:
    with pytest.raises(error):
        graph.run(**inputs)


# -- what a resumed run does ------------------------------------------------------------------------------------------


def test_a_failed_run_goes_on_at_the_stage_that_failed(tmp_path: Path, stages: Stages) -> None:
    graph = durable(chain(stages), tmp_path)
    stages.broken = {"judge"}
    fail(graph, size=3)
    assert history(graph).status is RunStatus.FAILED
    assert history(graph).message == "OSError: judge is broken"
    stages.broken, stages.calls = set(), []
    assert graph.resume().score == 1.5
    assert stages.calls == ["judge"]
    assert history(graph).status is RunStatus.COMPLETED


def test_a_finished_run_gives_its_result_again(tmp_path: Path, stages: Stages) -> None:
    graph = durable(chain(stages), tmp_path)
    first = graph.run(size=2)
    stages.calls = []
    found = graph.store.latest("run", unfinished=False)
    assert found is not None
    assert graph.resume(found.id) == first == Context(size=2, data=[1.0, 1.0], model=Model([0.5, 0.5]), score=1.0)
    assert stages.calls == []


def test_there_is_nothing_to_resume(tmp_path: Path, stages: Stages) -> None:
    graph = durable(chain(stages), tmp_path)
    with pytest.raises(UsageError, match='no unfinished run of "run"'):
        graph.resume()
    graph.run(size=1)
    with pytest.raises(UsageError, match="no unfinished run"):
        graph.resume()


def test_each_run_is_a_new_one(tmp_path: Path, stages: Stages) -> None:
    graph = durable(chain(stages), tmp_path)
    graph.run(size=1)
    graph.run(size=1)
    assert stages.calls == ["load", "train", "judge"] * 2
    assert len(graph.store.all()) == 2


def test_the_tries_of_a_stage_go_on_where_they_were_and_begin_anew_after_the_last(
    tmp_path: Path, stages: Stages
) -> None:
    graph = durable(chain(stages, retry=at_once(3)), tmp_path)
    stages.broken = {"train"}
    fail(graph, size=1)
    assert stages.calls.count("train") == 3
    assert passage(graph, "train").reason == "user_error"
    with pytest.raises(OSError, match="train is broken"):
        graph.resume()
    assert stages.calls.count("train") == 6


def test_a_value_that_cannot_be_stored_is_computed_again(
    tmp_path: Path, stages: Stages, caplog: pytest.LogCaptureFixture
) -> None:
    pipeline = (
        Pipeline(size=int)
        .stage("load", stages.load)
        .through(data=list[float])
        .stage("handle", stages.handle)
        .through(handle=Callable[[], int])
        .stage("use", stages.use)
        .through(length=int)
        .stage("double", stages.double, x=field("length"))
        .through(score=float)
    )
    graph = durable(pipeline, tmp_path)
    stages.broken = {"double 4"}
    fail(graph, size=4)
    assert 'what stage "handle" gives cannot be stored: a resumed run computes it again' in caplog.text
    stages.broken, stages.calls = set(), []
    assert graph.resume().score == 8
    assert stages.calls == ["handle", "double 4"]


def test_what_must_be_kept_and_cannot_be_is_an_error(tmp_path: Path) -> None:
    def handle(x: int) -> object:
        return threading.Lock()

    graph = durable(Pipeline(x=int).stage("handle", handle).through(it=object, checkpoint=True), tmp_path)
    with pytest.raises(Unstorable, match=r'the output of stage "handle".*lock'):
        graph.run(x=1)


def test_checkpoint_false_keeps_nothing(tmp_path: Path, stages: Stages) -> None:
    graph = durable(chain(stages, checkpoint=False), tmp_path)
    stages.broken = {"judge"}
    fail(graph, size=1)
    stages.broken, stages.calls = set(), []
    graph.resume()
    assert stages.calls == ["train", "judge"]


# -- changes ----------------------------------------------------------------------------------------------------------


def test_a_changed_stage_is_refused_and_named(tmp_path: Path, stages: Stages) -> None:
    stages.broken = {"judge"}
    fail(durable(chain(stages), tmp_path), size=2)
    stages.broken, stages.calls = set(), []

    def train(data: list[float]) -> Model:
        stages.calls.append("new train")
        return Model([x * 10 for x in data])

    changed = (
        Pipeline(size=int)
        .stage("load", stages.load)
        .through(data=list[float])
        .stage("train", train)
        .through(model=Model)
        .stage("judge", stages.judge)
        .through(score=float)
    )
    graph = durable(changed, tmp_path)
    with pytest.raises(RefusedError, match='stage "train" has changed: its code') as refused:
        graph.resume()
    assert '"load"' not in str(refused.value)
    assert stages.calls == []
    assert graph.resume(allow_changed=True).score == 20.0
    assert stages.calls == ["new train", "judge"]


def test_another_input_is_a_change_and_the_same_is_none(tmp_path: Path, stages: Stages) -> None:
    graph = durable(chain(stages), tmp_path)
    stages.broken = {"judge"}
    fail(graph, size=2)
    stages.broken = set()
    with pytest.raises(RefusedError, match='the input "size" is another'):
        graph.resume(size=3)
    assert graph.resume(size=2).score == 1.0


def test_a_second_driver_is_refused(tmp_path: Path, stages: Stages) -> None:
    graph = durable(chain(stages), tmp_path)
    stages.broken = {"judge"}
    fail(graph, size=2)
    found = graph.store.latest("run")
    assert found is not None
    with graph.store.open(found.id, write=True), pytest.raises(RefusedError, match="held by"):
        graph.resume()
    stages.broken = set()
    assert graph.resume().score == 1.0


# -- hooks ------------------------------------------------------------------------------------------------------------


def test_hooks_see_an_outcome_once(tmp_path: Path, stages: Stages) -> None:
    seen: list[str] = []
    hooks: dict[str, Any] = {
        name: lambda data, name=name: seen.append(name) for name in ("before", "log", "after", "archive")
    }
    graph = durable(chain(stages, **hooks), tmp_path)
    stages.broken = {"judge"}
    fail(graph, size=1)
    assert seen == ["before", "log", "archive", "after"]
    stages.broken = set()
    graph.resume()
    assert seen == ["before", "log", "archive", "after"]


def test_a_sink_that_fails_is_tried_as_often_as_the_stage_and_holds_nothing_up(
    tmp_path: Path, stages: Stages, caplog: pytest.LogCaptureFixture
) -> None:
    tries: list[Any] = []

    def archive(data: Any) -> None:
        tries.append(data)
        raise OSError("no connection")

    graph = durable(chain(stages, archive=archive, retry=at_once(3)), tmp_path)
    assert graph.run(size=1).score == 0.5
    assert len(tries) == 3
    assert 'hook "archive" of stage "train" failed' in caplog.text


def test_the_cache_is_shared_by_runs_and_knows_code_settings_and_inputs(tmp_path: Path, stages: Stages) -> None:
    graph = durable(chain(stages, cache=True), tmp_path)
    first = graph.run(size=2)
    assert graph.run(size=2) == first
    assert stages.calls == ["load", "train", "judge", "load", "judge"]
    assert passage(graph, "train").cached
    graph.run(size=3)
    assert stages.calls[-3:] == ["load", "train", "judge"]


def test_a_cache_key_takes_the_place_of_the_inputs(tmp_path: Path, stages: Stages) -> None:
    graph = durable(chain(stages, cache=True, cache_key=lambda now: len(now.data) % 2), tmp_path)
    graph.run(size=2)
    assert graph.run(size=4).score == 1.0  # the model of the first run
    assert graph.run(size=3).score == 1.5


def test_a_file_is_written_inside_of_the_run(tmp_path: Path, stages: Stages) -> None:
    hooks = {"checkpoint_path": lambda now: f"models/{len(now.model.weights)}.json"}
    graph = durable(chain(stages, serialize=lambda now: now.model.weights, **hooks), tmp_path)
    graph.run(size=2)
    (written,) = tmp_path.glob("runs/*/files/models/2.json")
    assert written.read_text() == "[0.5, 0.5]"


@pytest.mark.parametrize("path", ["../out", "/etc/out", "a/../../out", ""])
def test_a_file_outside_of_the_run_is_refused(tmp_path: Path, stages: Stages, path: str) -> None:
    graph = durable(chain(stages, checkpoint_path=lambda now: path), tmp_path)
    with pytest.raises(UsageError, match="path"):
        graph.run(size=2)
    assert not list(tmp_path.rglob("out"))


def test_a_skipped_stage_stays_skipped(tmp_path: Path, stages: Stages) -> None:
    asked: list[bool] = []

    def skip(now: Any) -> bool:
        asked.append(True)
        return len(asked) == 1

    pipeline = chain(stages, skip_if=skip, default=Model([7.0]))
    graph = durable(pipeline, tmp_path)
    stages.broken = {"judge"}
    fail(graph, size=1)
    stages.broken = set()
    assert graph.resume().score == 7.0
    assert len(asked) == 1
    assert "train" not in stages.calls


def test_what_on_error_gives_is_an_outcome(tmp_path: Path, stages: Stages) -> None:
    graph = durable(chain(stages, on_error=lambda error: Model([4.0])), tmp_path)
    stages.broken = {"train", "judge"}
    fail(graph, size=1)
    stages.broken, stages.calls = set(), []
    assert graph.resume().score == 4.0
    assert stages.calls == ["judge"]


def test_profile_is_recorded(tmp_path: Path, stages: Stages) -> None:
    graph = durable(chain(stages, profile=True), tmp_path)
    graph.run(size=1)
    profile = passage(graph, "train").profile
    assert profile is not None
    assert profile.keys() == {"wall_seconds", "cpu_seconds", "peak_kilobytes"}
    assert profile["peak_kilobytes"] > 1_000
    assert passage(graph, "load").profile is None


def test_a_stage_that_kills_its_worker_three_times_is_given_up(tmp_path: Path, stages: Stages) -> None:
    def dies(data: list[float]) -> Model:
        stages.calls.append("dies")
        raise WorkerDied("killed by signal 9", reason="killed")

    pipeline = Pipeline(data=list[float]).stage("dies", dies).through(model=Model, retry=at_once(10))
    with pytest.raises(WorkerDied):
        durable(pipeline, tmp_path).run(data=[])
    assert len(stages.calls) == 3


# -- maps, nested pipelines, experiments ------------------------------------------------------------------------------


def test_the_elements_of_a_map_are_kept_one_by_one(tmp_path: Path, stages: Stages) -> None:
    pipeline = (
        Pipeline(data=list[float])
        .map("double", stages.double, over="data", max_parallel=1)
        .through(doubled=list[float])
    )
    graph = durable(pipeline, tmp_path)
    stages.broken = {"double 3.0"}
    fail(graph, data=[1.0, 2.0, 3.0])
    stages.broken, stages.calls = set(), []
    assert graph.resume().doubled == [2.0, 4.0, 6.0]
    assert stages.calls == ["double 3.0"]


def test_a_retried_nested_pipeline_runs_all_of_its_stages_again(tmp_path: Path, stages: Stages) -> None:
    inner = (
        Pipeline(data=list[float])
        .stage("train", stages.train)
        .through(model=Model)
        .stage("judge", stages.judge)
        .through(score=float)
    )
    graph = durable(Pipeline(data=list[float]).stage("inner", inner).through(retry=at_once(2)), tmp_path)
    stages.broken = {"judge"}
    fail(graph, data=[1.0])
    assert stages.calls == ["train", "judge"] * 2
    stages.broken, stages.calls = set(), []
    assert graph.resume().score == 0.5
    assert stages.calls == ["judge"]  # the attempt that has failed last is gone on with


class Inner(Experiment[float]):
    stages = Stages()

    def pipeline(self) -> AnyPipeline:
        return (
            Pipeline(data=list[float])
            .stage("train", self.stages.train)
            .through(model=Model)
            .stage("judge", self.stages.judge)
            .through(float)
        )


class Outer(Experiment[Context]):
    def pipeline(self) -> AnyPipeline:
        return (
            Pipeline(size=int)
            .stage("load", Inner.stages.load)
            .through(data=list[float])
            .stage("inner", Inner())
            .through(score=float)
        )


def test_an_experiment_inside_of_another_goes_on_in_its_own_run(tmp_path: Path) -> None:
    stages = Inner.stages
    stages.broken, stages.calls = {"judge"}, []
    with pytest.raises(OSError, match="judge is broken"):
        Outer().run(size=2, store=tmp_path).value  # noqa: B018
    stages.broken, stages.calls = set(), []
    assert Outer().run(store=tmp_path, resume=True).value.score == 1.0
    assert stages.calls == ["judge"]
    (child,) = tmp_path.glob("runs/*/children/*/runs/*")
    assert child.name.startswith("Inner-")


def test_an_experiment_keeps_its_runs_in_the_default_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("METTA_SWEEP_HOME", str(tmp_path / "home"))
    assert Inner().run(data=[2.0]).value == 1.0
    assert len(list((tmp_path / "home" / "runs").iterdir())) == 1
    assert Inner().run(data=[2.0], store=None).value == 1.0
    assert len(list((tmp_path / "home" / "runs").iterdir())) == 1
    with pytest.raises(UsageError, match="without a store"):
        Inner().run(store=None, resume=True)


# -- how a run ends ---------------------------------------------------------------------------------------------------


def test_a_cancelled_run_says_so_and_can_be_resumed(tmp_path: Path, stages: Stages) -> None:
    pipeline = (
        Pipeline(size=int)
        .stage("load", stages.load)
        .through(data=list[float])
        .stage("slow", stages.slow)
        .through(score=float)
    )
    graph = durable(pipeline, tmp_path)

    async def main() -> None:
        running = asyncio.ensure_future(graph.arun(size=1))
        while "slow" not in stages.calls:
            await asyncio.sleep(0.01)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running

    asyncio.run(main())
    assert history(graph).status is RunStatus.CANCELLED
    assert history(graph).passages["load"].done
    found = graph.store.latest("run")
    assert found is not None
    assert found.status is RunStatus.CANCELLED


def test_a_damaged_artifact_is_named(tmp_path: Path, stages: Stages) -> None:
    graph = durable(chain(stages), tmp_path)
    stages.broken = {"judge"}
    fail(graph, size=5_000)
    for artifact in tmp_path.glob("runs/*/artifacts/*/*"):
        content = bytearray(artifact.read_bytes())
        content[len(content) // 2] ^= 1
        artifact.write_bytes(content)
    with pytest.raises(StorageError, match="damaged"):
        graph.resume()


def test_an_input_that_cannot_be_stored_is_asked_for(tmp_path: Path, stages: Stages) -> None:
    def call(function: Callable[[], float]) -> float:
        return function()

    pipeline = (
        Pipeline(function=Callable[[], float])
        .stage("call", call)
        .through(x=float)
        .stage("double", stages.double)
        .through(y=float)
    )
    graph = durable(pipeline, tmp_path)
    stages.broken = {"double 3.0"}
    fail(graph, function=lambda: 3.0)
    stages.broken = set()
    with pytest.raises(UsageError, match=r'the input "function" .* could not be stored: give it'):
        graph.resume()
    assert graph.resume(function=lambda: 3.0).y == 6.0


def test_a_run_that_takes_a_value(tmp_path: Path, stages: Stages) -> None:
    graph = durable(Pipeline(Model).stage("judge", stages.judge).through(float), tmp_path)
    stages.broken = {"judge"}
    with pytest.raises(OSError, match="judge"):
        graph.run(Model([1.0]))
    stages.broken = set()
    assert graph.resume() == 1.0


def test_a_condition_says_again_what_it_has_said(tmp_path: Path, stages: Stages) -> None:
    answers = iter([True, False])
    pipeline = (
        Pipeline(data=list[float])
        .conditional(lambda now: next(answers), Pipeline().stage("train", stages.train).through(model=Model))
        .stage("double", stages.double, x=1.0)
        .through(y=float)
    )
    graph = durable(pipeline, tmp_path)
    stages.broken = {"double 1.0"}
    fail(graph, data=[1.0])
    stages.broken = set()
    assert graph.resume().model == Model([0.5])
    assert next(answers) is False
