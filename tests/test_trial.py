import copy
import json
import math
import pickle
from datetime import timedelta
from typing import Any

import numpy as np
import pytest

from metta.sweep.errors import UsageError
from metta.sweep.trial import (
    Failure,
    FailureReason,
    MemoryChannel,
    Params,
    Report,
    Resources,
    Result,
    Trial,
    TrialState,
)

PARAMS = {"trainer.learning_rate": 0.1, "trainer.batch_size": 32, "agent.size": 4, "world.size": 5}


def test_the_last_segment_is_an_alias_where_it_is_unique() -> None:
    params = Params(PARAMS)
    assert params["learning_rate"] == params["trainer.learning_rate"] == 0.1
    assert dict(params) == PARAMS
    assert list(params) == list(PARAMS)
    assert "batch_size" in params
    assert "bach_size" not in params


def test_an_ambiguous_alias_lists_the_paths() -> None:
    with pytest.raises(KeyError, match=r"'size' is ambiguous: write one of agent\.size, world\.size"):
        Params(PARAMS)["size"]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("trainer.learning_rat", "did you mean 'trainer.learning_rate'"),
        ("lerning_rate", "did you mean 'trainer.learning_rate'"),
        ("zzz", "there is no parameter 'zzz': there is trainer.learning_rate, trainer.batch_size"),
    ],
)
def test_a_misspelt_path_is_a_key_error_with_the_nearest(name: str, message: str) -> None:
    with pytest.raises(KeyError, match=message):
        Params(PARAMS)[name]


def test_params_cannot_be_written() -> None:
    with pytest.raises(TypeError):
        Params(PARAMS)["agent.size"] = 1  # type: ignore[index]


def test_a_trial_by_hand() -> None:
    """A training function can be unit-tested with nothing but `Trial(params)`."""

    def train(trial: Trial) -> float:
        state = trial.load() or {"epoch": 0, "weight": 0.0}
        while state["epoch"] < 3 and not trial.should_stop():
            state["epoch"] += 1
            state["weight"] += trial.params["learning_rate"]
            trial.save(state)
            trial.report({"score": state["weight"]})
        return float(state["weight"])

    trial = Trial(PARAMS)
    assert train(trial) == pytest.approx(0.3)
    assert [report.step for report in trial.reports] == [1, 2, 3]
    assert trial.step == 3


def test_should_stop_asks_the_channel() -> None:
    assert Trial({}, channel=MemoryChannel(stop=True)).should_stop()
    assert not Trial({}).should_stop()


def test_steps_go_on_from_the_loaded_state() -> None:
    channel = MemoryChannel()
    first = Trial({}, channel=channel)
    first.save({"w": 1})
    first.report({"score": 1})
    first.save({"w": 2})
    first.report({"score": 2})
    first.save({"w": 3})  # never committed by a report

    second = Trial({}, channel=MemoryChannel(saved=channel.saved))
    second.reports = list(first.reports)
    assert second.load() == {"w": 3}
    second.report({"score": 1})  # step 1 again: known
    assert second.step == 2
    committed = Trial({}, channel=channel)
    committed.report({"score": 9})  # commits {"w": 3} with step 1 of this trial
    assert channel.saved is not None
    assert channel.saved.step == 1


def test_without_a_loaded_state_known_steps_are_ignored() -> None:
    trial = Trial({})
    trial.reports = [Report(1, {"score": 0.1}), Report(2, {"score": 0.2})]
    for score in (0.9, 0.8, 0.7):
        trial.report({"score": score})
    assert [(report.step, report.metrics["score"]) for report in trial.reports] == [(1, 0.1), (2, 0.2), (3, 0.7)]


def test_after_load_the_counter_starts_at_the_saved_step() -> None:
    channel = MemoryChannel()
    trial = Trial({}, channel=channel)
    trial.save("state")
    trial.report({"score": 0}, step=10)
    again = Trial({}, channel=channel)
    assert again.load() == "state"
    again.report({"score": 1})
    assert again.step == 11


def test_a_saved_state_is_a_copy() -> None:
    trial = Trial({})
    weights = [1.0]
    trial.save(weights)
    weights[0] = 2.0
    assert trial.load() == [1.0]
    assert Trial({}).load() is None


def test_explicit_steps_must_grow() -> None:
    trial = Trial({})
    trial.report({"score": 1}, step=5)
    trial.report({"score": 2}, step=4)
    trial.report({"score": 3})  # 5: known
    trial.report({"score": 4})
    assert [report.step for report in trial.reports] == [5, 6]
    for step in (0, -1, True, 1.5):
        with pytest.raises(UsageError, match="expected a whole number, at least 1"):
            trial.report({"score": 1}, step=step)  # type: ignore[arg-type]


def test_metrics_must_be_numbers_by_name() -> None:
    trial = Trial({})
    trial.report({"score": np.float32(0.5), "n": True, "k": 3})
    assert trial.reports[0].metrics == {"score": 0.5, "n": 1.0, "k": 3.0}
    with pytest.raises(UsageError, match="expected a mapping such as"):
        trial.report(0.5)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="'name' should be a number, found list"):
        trial.report({"name": []})  # type: ignore[dict-item]


def test_a_result_is_its_score() -> None:
    result = Result(0.5, cost=3.0)
    assert result > 0.4
    assert result == 0.5
    assert (result.score, result.cost, result.failure) == (0.5, 3.0, None)
    assert Result.of(result) is result
    assert Result.of(0.5).score == 0.5


@pytest.mark.parametrize(
    ("result", "usable"),
    [
        (Result(0.5), True),
        (Result({"a": 1.0, "b": 2.0}), True),
        (Result({"a": 1.0, "b": math.inf}), False),
        (Result(math.nan), False),
        (Result(-math.inf), False),
        (Result(), False),
        (Result(0.5, failure=FailureReason.OOM), False),
    ],
)
def test_failures_and_non_finite_scores_are_not_usable(result: Result, usable: bool) -> None:
    assert result.is_usable is usable


def test_a_failed_result_is_nan_and_keeps_its_reason() -> None:
    result = Result(failure=FailureReason.TIMEOUT)
    assert math.isnan(result)
    assert result.failure == Failure(FailureReason.TIMEOUT)


@pytest.mark.parametrize("clone", [copy.deepcopy, lambda value: pickle.loads(pickle.dumps(value))])
def test_results_and_trials_travel(clone: object) -> None:
    assert callable(clone)
    result = clone(Result({"a": 1.0}, 2.0))
    assert (result.score, result.cost) == ({"a": 1.0}, 2.0)
    trial = Trial(PARAMS, 7, tag={"k": 1})
    trial.report({"score": 1})
    assert clone(trial).to_json() == trial.to_json()


def test_a_trial_to_json_and_back() -> None:
    trial = Trial(PARAMS, 3, resource=30, parent=1, tag=[1, "x"])
    trial.reports = [Report(1, {"score": math.nan, "cost": math.inf})]
    trial.score, trial.cost = math.nan, 2.5
    trial.state = TrialState.FAILED
    trial.failure = Failure(FailureReason.USER_ERROR, "boom", "Traceback ...")
    text = json.dumps(trial.to_json(), allow_nan=False)
    again = Trial.from_json(json.loads(text))
    assert again.to_json() == trial.to_json()
    assert again.failure == trial.failure
    assert math.isnan(again.reports[0].metrics["score"])
    several = Trial({})
    several.score = {"a": 1.0, "b": -math.inf}
    assert Trial.from_json(several.to_json()).score == {"a": 1.0, "b": -math.inf}


def test_states_and_reasons() -> None:
    finished = {state for state in TrialState if state.is_finished}
    assert finished == {"completed", "pruned", "failed", "cancelled"}
    free = {reason for reason in FailureReason if not reason.uses_up_retries}
    assert free == {"preempted", "node_lost", "lost_contact"}


@pytest.mark.parametrize(
    ("memory", "expected"),
    [("8GB", 8_000_000_000), ("512 MiB", 512 * 2**20), ("2G", 2 * 2**30), ("1.5kb", 1500), (4096, 4096), (None, None)],
)
def test_memory(memory: int | str | None, expected: int | None) -> None:
    assert Resources(memory=memory).memory_bytes == expected


def test_resources() -> None:
    assert Resources(gpus=0.5, time_limit=timedelta(minutes=2)).time_limit_seconds == 120
    assert Resources(time_limit=30).time_limit_seconds == 30
    with pytest.raises(UsageError, match=r'memory=.8 parsecs.: expected bytes or text such as "8GB"'):
        Resources(memory="8 parsecs")
    with pytest.raises(UsageError, match=r"cpus=-1"):
        Resources(cpus=-1)
    with pytest.raises(UsageError, match="positive amount"):
        Resources(memory=0)


def test_reports_that_are_read_later() -> None:
    reads = []

    def read() -> list[Report]:
        reads.append(1)
        return [Report(1, {"score": 1.0}), Report(2, {"score": 2.0})]

    trial = Trial({"x": 1}, 3)
    trial.read_reports_later(2, read)
    assert (trial.step, reads) == (2, [])
    trial.add_report(Report(3, {"score": 3.0}))
    assert (trial.step, reads) == (3, [])
    assert [report.step for report in trial.reports] == [1, 2, 3]
    assert [report.step for report in trial.reports] == [1, 2, 3]
    assert reads == [1]


def test_a_copy_takes_its_reports_along_and_a_failed_reading_is_tried_again() -> None:
    answers: list[Any] = [OSError("gone"), [Report(1, {"score": 1.0})]]

    def read() -> list[Report]:
        answer = answers.pop(0)
        if isinstance(answer, OSError):
            raise answer
        return answer  # type: ignore[no-any-return]

    trial = Trial({"x": 1})
    trial.read_reports_later(1, read)
    with pytest.raises(OSError, match="gone"):
        _ = trial.reports
    again = pickle.loads(pickle.dumps(trial))
    assert again.reports == [Report(1, {"score": 1.0})]
    assert (again.step, again.params["x"]) == (1, 1)
    assert copy.copy(trial).reports == trial.reports
