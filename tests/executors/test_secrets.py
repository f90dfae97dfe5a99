"""A canary in the environment is in no log, no message and no traceback (promise S5)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from metta.sweep.executors import Failed, LocalExecutor, Logged
from tests.executors import tasks
from tests.executors.helpers import fail, last, read_to_end, start

CANARY = "c4n4ry-with-'quotes'-and-\\"


@pytest.fixture(autouse=True)
def canary(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CANARY_TOKEN", CANARY)


def everything(end: Failed, folder: Path) -> str:
    logs = "".join(path.read_text() for path in folder.iterdir()) if folder.exists() else ""
    return "\n".join((end.message, end.traceback, end.log, logs))


@pytest.mark.parametrize(
    "fn",
    [
        tasks.print_secret_and_fail,
        tasks.print_secret_in_pieces_and_fail,
        tasks.print_secret_in_a_child_and_fail,
        tasks.fail_with_secret_at_the_cut,
        tasks.fail_with_secret_in_a_cause,
        tasks.exit_with_secret,
        tasks.print_secret_and_die,
    ],
)
def test_no_canary(executor: LocalExecutor, tmp_path: Path, fn: Callable[[], Any]) -> None:
    end = fail(executor, fn, log_folder=tmp_path / "trial")
    shown = everything(end, tmp_path / "trial")
    assert "c4n4ry" not in shown
    assert "***" in shown


def test_secret_that_the_task_set_itself(executor: LocalExecutor) -> None:
    end = fail(executor, tasks.fail_with_own_secret, "0wn-s3cret-value")
    assert "0wn-s3cret" not in end.message + end.traceback


def test_secret_str(executor: LocalExecutor, tmp_path: Path) -> None:
    end = fail(executor, tasks.reveal, {"password": SecretStr("n0t-in-the-environment")}, log_folder=tmp_path / "t")
    shown = everything(end, tmp_path / "t")
    assert "n0t-in" not in shown
    assert "it is ***" in shown


def test_secrets_of_one_task_are_not_those_of_the_next(executor: LocalExecutor) -> None:
    fail(executor, tasks.reveal, {"password": SecretStr("n0t-in-the-environment")})
    assert last(start(executor, print, "n0t-in-the-environment")[1]).log == "n0t-in-the-environment\n"


def test_streamed_output(executor: LocalExecutor) -> None:
    events = read_to_end(start(executor, tasks.print_secret_in_pieces, stream_log=True)[1])
    assert "".join(event.text for event in events if isinstance(event, Logged)) == "***\nbye\n"


def test_argument_that_cannot_travel(executor: LocalExecutor) -> None:
    assert "c4n4ry" not in fail(executor, tasks.echo, tasks.RevealingPickle()).message


def test_result_that_explodes_in_the_driver(executor: LocalExecutor) -> None:
    end = fail(executor, tasks.RevealingResult)
    assert "c4n4ry" not in end.message + end.traceback
    assert "***" in end.message


def test_variable_that_changes(executor: LocalExecutor, monkeypatch: pytest.MonkeyPatch) -> None:
    assert last(start(executor, print, "an0ther-canary")[1]).log == "an0ther-canary\n"
    monkeypatch.setenv("CANARY_TOKEN", "an0ther-canary")
    assert last(start(executor, print, "an0ther-canary")[1]).log == "***\n"
