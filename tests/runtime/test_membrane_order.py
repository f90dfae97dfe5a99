"""The order of the hooks (language.md, section 4), in all three ways a stage can run."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from pydantic import BaseModel, Field

from metta.sweep.errors import ContractViolation
from metta.sweep.pipeline.context import Context
from metta.sweep.pipeline.hooks import HookSet
from metta.sweep.runtime.membrane import SKIPPED
from tests.runtime.crossing import IntShaping, Recorder, Runner

Through = Callable[..., Runner]


def test_all_hooks_in_order(through: Through) -> None:
    seen = Recorder()
    hooks = {
        # Given in an order that is not the one in which they act.
        "after": seen.hook("after"),
        "monitor": seen.hook("monitor"),
        "debug": seen.hook("debug"),
        "metrics": seen.hook("metrics"),
        "log": seen.hook("log"),
        "enrich": seen.hook("enrich", lambda data: data + 1),
        "transform": seen.hook("transform", lambda data: data * 10),
        "filter": seen.hook("filter", lambda data: data + 4),
        "assert_fn": seen.hook("assert_fn"),
        "validate": seen.hook("validate", True),
        "before": seen.hook("before"),
        "skip_if": seen.hook("skip_if", False),
    }

    def train(step: int, rate: float) -> int:
        seen.calls.append(("train", step, rate))
        return 1

    run = through(train, hooks, shaping=IntShaping(seen))
    assert run("input", 3, rate=0.5) == "51"
    assert seen.calls == [
        ("skip_if", "input"),
        ("train", 3, 0.5),
        ("enter", 1),
        ("before", 1),
        ("validate", 1),
        ("assert_fn", 1),
        ("filter", 1),
        ("transform", 5),
        ("enrich", 50),
        ("recheck", 51),
        ("log", 51),
        ("metrics", 51),
        ("debug", 51),
        ("monitor", 51),
        ("after", 51),
        ("leave", 51),
    ]


def test_no_recheck_without_changers(through: Through) -> None:
    seen = Recorder()
    assert through(lambda: 1, {"log": seen.hook("log")}, shaping=IntShaping(seen))(None) == "1"
    assert seen.names == ["enter", "log", "leave"]


def test_global_hooks_take_the_name_and_come_after_the_local_ones(through: Through) -> None:
    seen = Recorder()
    names = ("before", "validate", "filter", "log", "after")

    def hooks(where: str) -> dict[str, Any]:
        return {
            name: seen.hook(f"{name} {where}", (lambda *data: data[-1] + 1) if name == "filter" else None)
            for name in names
        }

    def train() -> int:
        seen.calls.append(("train",))
        return 1

    assert through(train, hooks("local"), hooks("inner"), hooks("outer"))("input") == 4
    assert seen.calls == [
        ("before inner", "train", "input"),
        ("before outer", "train", "input"),
        ("train",),
        ("before local", 1),
        ("validate local", 1),
        ("validate inner", "train", 1),
        ("validate outer", "train", 1),
        ("filter local", 1),
        ("filter inner", "train", 2),
        ("filter outer", "train", 3),
        ("log local", 4),
        ("log inner", "train", 4),
        ("log outer", "train", 4),
        ("after local", 4),
        ("after inner", "train", 4),
        ("after outer", "train", 4),
    ]


def test_of_control_hooks_the_local_one_wins_then_the_innermost(through: Through) -> None:
    seen = Recorder()
    skipping = {"skip_if": seen.hook("inner", True), "default": 5}
    run = through(lambda: 1, {"skip_if": seen.hook("local", True)}, skipping, {"default": 6})
    assert run("input") == 5
    assert seen.calls == [("local", "input")]
    seen.calls.clear()
    assert through(lambda: 1, {}, skipping, {"skip_if": seen.hook("outer", False)})("input") == 5
    assert seen.calls == [("inner", "train", "input")]


def test_a_hook_set_is_a_set_of_hooks(through: Through) -> None:
    seen = Recorder()
    production = HookSet(log=seen.hook("log")) | HookSet(metrics=seen.hook("metrics"))
    through(lambda: 1, production)(None)
    assert seen.names == ["log", "metrics"]


@pytest.mark.parametrize("name", ["log", "metrics", "debug", "monitor"])
def test_an_observer_never_fails_the_stage(through: Through, name: str, caplog: pytest.LogCaptureFixture) -> None:
    def broken(data: int) -> None:
        raise ValueError("the disk is full")

    with caplog.at_level(logging.ERROR, "metta.sweep"):
        assert through(lambda: 1, {name: broken})(None) == 1
    (record,) = caplog.records
    assert record.getMessage() == f'hook "{name}" of stage "train" failed; the stage goes on'
    assert record.exc_info is not None
    assert str(record.exc_info[1]) == "the disk is full"


@pytest.mark.parametrize("name", ["before", "after"])
def test_before_and_after_fail_the_stage(through: Through, name: str) -> None:
    error = ValueError("no")

    def broken(data: int) -> None:
        raise error

    with pytest.raises(ValueError, match="no") as caught:
        through(lambda: 1, {name: broken})(None)
    assert caught.value is error


def test_a_failing_after_does_not_run_the_stage_again(through: Through) -> None:
    seen = Recorder()

    def broken(data: int) -> None:
        raise ValueError("no")

    hooks = {"after": broken, "retry": 3, "log": seen.hook("log"), "on_error": lambda error: 7}
    with pytest.raises(ValueError, match="no"):
        through(seen.hook("train", 1), hooks)(None)
    assert seen.names == ["train", "log"]


@pytest.mark.parametrize("name", ["validate", "assert_fn"])
@pytest.mark.parametrize("verdict", [False, 0, ""])
def test_a_falsy_verdict_is_a_violation(through: Through, name: str, verdict: object) -> None:
    with pytest.raises(ContractViolation) as caught:
        through(lambda: [1, 2], {name: lambda data: verdict})(None)
    assert str(caught.value) == f'stage "train": {name} rejects the output; found list of 2 (1, 2)'
    assert caught.value.stage == "train"
    assert caught.value.data == [1, 2]


@pytest.mark.parametrize("name", ["validate", "assert_fn"])
@pytest.mark.parametrize("verdict", [None, True, 1])
def test_none_and_true_accept(through: Through, name: str, verdict: object) -> None:
    assert through(lambda: 1, {name: lambda data: verdict})(None) == 1


@pytest.mark.parametrize("name", ["validate", "assert_fn"])
def test_an_assertion_error_is_a_violation(through: Through, name: str) -> None:
    failure = AssertionError("the loss\nmust be finite")

    def check(data: float) -> None:
        raise failure

    with pytest.raises(ContractViolation) as caught:
        through(lambda: 1.5, {name: check})(None)
    assert str(caught.value) == f'stage "train": {name} rejects the output: the loss must be finite; found float (1.5)'
    assert caught.value.__cause__ is failure


def test_an_assertion_of_the_stage_is_no_violation(through: Through) -> None:
    def train() -> int:
        raise AssertionError("mine")

    with pytest.raises(AssertionError, match="mine"):
        through(train, {"validate": lambda data: True})(None)


def test_changed_data_must_meet_the_contract(through: Through) -> None:
    with pytest.raises(ContractViolation, match="expected int, found 'one'"):
        through(lambda: 1, {"transform": lambda data: "one"}, shaping=IntShaping())(None)


class Metrics(BaseModel):
    loss: float = Field(ge=0)
    epoch: int = 0


@dataclass
class Output:
    loss: float
    epoch: int


@pytest.mark.parametrize(
    "data", [{"loss": 1}, Output(1.0, 2), Context(loss=1.0), Metrics(loss=1.0)], ids=["dict", "record", "view", "model"]
)
def test_schema_checks_and_does_not_replace(through: Through, data: object) -> None:
    assert through(lambda: data, {"schema": Metrics})(None) is data


def test_schema_violation(through: Through) -> None:
    with pytest.raises(ContractViolation) as caught:
        through(lambda: Output(-1, "x"), {"schema": Metrics})(None)  # type: ignore[arg-type]
    assert str(caught.value) == (
        'stage "train": schema Metrics rejects the output: loss: Input should be greater than or equal to 0 '
        '(and 1 more); found Output(loss=-1, epoch="x")'
    )
    assert caught.value.data == Output(-1, "x")  # type: ignore[arg-type]


class Exact(BaseModel, extra="forbid"):
    loss: float


def test_the_schema_sees_all_fields_of_the_context(through: Through) -> None:
    with pytest.raises(ContractViolation, match="epoch: Extra inputs are not permitted"):
        through(lambda: Context(loss=1.0, epoch=2), {"schema": Exact})(None)


def test_skip_without_a_default(through: Through) -> None:
    seen = Recorder()
    hooks = {"skip_if": lambda whole: whole == "input", "log": seen.hook("log")}
    run = through(seen.hook("train", 1), hooks, {"before": seen.hook("before")}, shaping=IntShaping(seen))
    assert run("input") is SKIPPED
    assert repr(SKIPPED) == "SKIPPED"
    assert seen.calls == []
    assert run("other") == "1"


@pytest.mark.parametrize("default", [7, True])
def test_skip_with_a_default(through: Through, default: int) -> None:
    seen = Recorder()
    hooks = {"skip_if": lambda whole: True, "default": default, "log": seen.hook("log")}
    assert through(seen.hook("train", 1), hooks, shaping=IntShaping(seen))(None) == str(default)
    assert seen.names == ["enter", "leave"]


def test_a_default_of_none_is_a_default(through: Through) -> None:
    assert through(lambda: 1, {"skip_if": lambda whole: True, "default": None})("input") is None


def test_a_default_must_meet_the_contract(through: Through) -> None:
    with pytest.raises(ContractViolation):
        through(lambda: 1, {"skip_if": lambda whole: True, "default": "x"}, shaping=IntShaping())(None)


def test_hooks_of_a_stage_that_keeps_the_context_see_its_input(through: Through) -> None:
    seen = Recorder()
    assert through(lambda: None, {"log": seen.hook("log")}, keeps=True)("input") == "input"
    assert seen.calls == [("log", "input")]


def test_a_value_of_on_error_lets_a_stage_that_keeps_the_context_go_on(through: Through) -> None:
    def train() -> None:
        raise OSError("gone")

    assert through(train, {"on_error": lambda error: True}, keeps=True)("input") == "input"
