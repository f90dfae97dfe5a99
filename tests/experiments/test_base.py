"""Experiment: parameters by dot path, its result type, how it stands as a stage."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import pytest

from metta.sweep.errors import UsageError
from metta.sweep.experiments import Experiment, Pipeline
from metta.sweep.experiments.base import numbers_in
from metta.sweep.pipeline.context import Context
from metta.sweep.trial import Trial


class Network:
    def __init__(self, width: int) -> None:
        self.width = width


class Doubling(Experiment[float]):
    """Gives twice `factor * network.width`."""

    def __init__(self, factor: float = 1.0, network: Network | None = None) -> None:
        self.factor = factor
        self.network = network or Network(3)

    def pipeline(self) -> Pipeline:
        return Pipeline().stage("start", self.start).through(half=float).stage("double", self.double).through(float)

    def start(self) -> float:
        return self.factor * self.network.width

    def double(self, half: float) -> float:
        return 2 * half


class Scaled(Experiment[float]):
    def pipeline(self) -> Pipeline:
        return Pipeline(x=float, by=float).stage("scale", self.scale).through(float)

    def scale(self, x: float, by: float) -> float:
        return x * by


class Reporting(Experiment[float]):
    """Its pipeline takes the trial, so it can report."""

    scale: float = 1.0

    def pipeline(self) -> Pipeline:
        return Pipeline(trial=Trial).stage("train", self.train).through(float)

    def train(self, trial: Trial) -> float:
        for step in (1, 2, 3):
            trial.report({"score": self.scale * step})
        return self.scale * 3


@dataclass(frozen=True)
class Checked(Experiment[float]):
    width: int = 1

    def __post_init__(self) -> None:
        if self.width < 1:
            raise UsageError("width is below 1")


def test_run_gives_the_result_of_the_pipeline() -> None:
    assert Doubling(2.0).run().value == 12.0
    assert Scaled().run(x=2.0, by=4.0).value == 8.0


def test_params_go_by_dot_path_and_leave_the_original_alone() -> None:
    original = Doubling()
    changed = original.with_params({"trainer.factor": 5.0, "network.width": 7})
    assert (changed.factor, changed.network.width) == (5.0, 7)
    assert (original.factor, original.network.width) == (1.0, 3)


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("trainer.facter", r"Doubling has no parameter 'facter' \(for 'trainer.facter'\): did you mean 'factor'"),
        ("network.widht", "Network has no parameter 'widht' .*did you mean 'width'"),
        ("zzz", "it has factor, network"),
        ("netwrk.width", "did you mean 'network.width'"),
        ("netwrk.widht", "did you mean 'network.widht'"),
        ("networ.facter", "did you mean 'factor'"),
        ("_private", "has no parameter '_private'"),
    ],
)
def test_a_wrong_path_names_the_nearest(path: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Doubling().with_params({path: 1})
    with pytest.raises(UsageError, match=message):
        Doubling().check_params([path])


def test_a_value_of_the_class_is_a_parameter_and_its_methods_are_none() -> None:
    assert Reporting().with_params({"scale": 2.0}).scale == 2.0
    with pytest.raises(UsageError, match="did you mean 'scale'"):
        Reporting().with_params({"scael": 2.0})
    with pytest.raises(UsageError, match=r"it has scale, name$"):
        Reporting().with_params({"trian_": 2.0})


def test_a_dataclass_checks_its_values_again() -> None:
    assert Checked().with_params({"agent.width": 4}).width == 4
    with pytest.raises(UsageError, match="width is below 1"):
        Checked().with_params({"width": 0})


def test_the_name_is_the_class_unless_given() -> None:
    assert Doubling.name == "Doubling"

    class Named(Experiment[float]):
        name = "mine"

    assert Named().name == "mine"


def test_without_a_pipeline_it_says_what_to_write() -> None:
    class Empty(Experiment[float]):
        pass

    with pytest.raises(UsageError, match="Empty has no pipeline: write `def pipeline"):
        Empty().run()


def test_evaluate_applies_the_trials_params() -> None:
    assert Doubling().evaluate(Trial({"factor": 2.0, "network.width": 4})) == 16.0


def test_evaluate_gives_the_trial_to_a_pipeline_that_asks_for_it() -> None:
    trial = Trial({"scale": 0.5})
    assert Reporting().evaluate(trial) == 1.5
    assert [report.metrics["score"] for report in trial.reports] == [0.5, 1.0, 1.5]


class Pair(NamedTuple):
    score: float
    label: str


@pytest.mark.parametrize(
    ("outcome", "numbers"),
    [
        (0.5, 0.5),
        (3, 3.0),
        ({"score": 1, "name": "x"}, {"score": 1.0}),
        (Pair(0.25, "x"), {"score": 0.25}),
        (Context(score=2.0, model=object()), {"score": 2.0}),
        (Context(), None),
    ],
)
def test_numbers_in(outcome: Any, numbers: Any) -> None:
    assert numbers_in(outcome) == numbers


def test_an_experiment_is_a_stage_that_gives_what_its_run_gives() -> None:
    outer = (
        Pipeline(x=float, by=float)
        .stage("scale", Scaled())
        .through(scaled=float)
        .stage("shift", lambda scaled: scaled + 1)
        .through(float)
    )
    assert outer.compile().run(x=3.0, by=2.0) == 7.0
