"""Callbacks of a sweep: they hear everything, and none stops or slows it."""

from __future__ import annotations

import logging
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from metta.sweep.errors import UsageError
from metta.sweep.executors.local import LocalExecutor
from metta.sweep.experiments import SweepExperiment, callbacks
from metta.sweep.experiments.callbacks import Relay, told_too
from metta.sweep.optimizers import RandomOptimizer
from metta.sweep.report.events import (
    Listener,
    SweepEnded,
    SweepEvent,
    SweepStarted,
    TrialEnded,
    TrialReported,
    TrialStarted,
)
from metta.sweep.space import Uniform
from metta.sweep.trial import Trial
from tests.interop.sweeps import sweep


def objective(trial: Trial) -> float:
    return float(trial.params["x"])


def run(*heard: Any, times: int = 1) -> None:
    """Run a sweep of 3 trials with these callbacks to its end."""
    with LocalExecutor(max_workers=1) as executor:
        experiment = SweepExperiment(
            objective,
            search_space={"x": Uniform(0, 1)},
            optimizer=RandomOptimizer(),
            executor=executor,
            store=None,
            callbacks=heard,
        )
        for _ in range(times):
            assert len(experiment.run(3).trials) == 3


def test_a_callback_hears_all_there_is_to_know(tmp_path: Path) -> None:
    told: list[SweepEvent] = []
    result = sweep(tmp_path, told.append)
    assert len(result.trials) == 12
    started = told[0]
    assert isinstance(started, SweepStarted)
    assert (started.run_id, started.folder, started.resumed) == (result.run_id, result.folder, False)
    assert isinstance(told[-1], SweepEnded)
    reports = [(event.trial, event.step, event.metrics) for event in told if isinstance(event, TrialReported)]
    assert sorted(reports, key=lambda found: found[:2]) == [
        (trial.id, report.step, report.metrics) for trial in result.trials for report in trial.reports
    ]
    ends = {event.trial: event.cost for event in told if isinstance(event, TrialEnded)}
    assert ends == {trial.id: trial.cost for trial in result.trials}
    starts = [event for event in told if isinstance(event, TrialStarted)]
    assert {(event.attempt, event.resumed) for event in starts} >= {(1, False), (2, True)}


@pytest.mark.parametrize("kind", [ValueError, SystemExit])
def test_one_that_raises_is_switched_off_and_told_of_once(
    kind: type[BaseException], caplog: pytest.LogCaptureFixture
) -> None:
    heard: list[SweepEvent] = []
    others: list[SweepEvent] = []

    def broken(event: SweepEvent) -> None:
        heard.append(event)
        raise kind("no more room")

    with caplog.at_level(logging.WARNING, "metta.sweep"):
        run(broken, others.append)
    assert len(heard) == 1
    assert isinstance(others[-1], SweepEnded)
    assert caplog.messages == [
        f"the callback broken failed and is switched off, the sweep goes on: {kind.__name__}: no more room"
    ]


def test_one_that_hangs_is_left_behind(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(callbacks, "PATIENCE", 0.05)
    free = threading.Event()
    others: list[SweepEvent] = []

    def hanging(event: SweepEvent) -> None:
        free.wait(60)

    try:
        with caplog.at_level(logging.WARNING, "metta.sweep"):
            run(hanging, others.append)
        assert isinstance(others[-1], SweepEnded)
        assert caplog.messages == [
            "the callback hanging is not waited for any longer: it has not heard the whole sweep"
        ]
    finally:
        free.set()


def test_one_that_is_slow_hears_fewer_reports_and_every_end(caplog: pytest.LogCaptureFixture) -> None:
    free, heard = threading.Event(), list[SweepEvent]()

    def slow(event: SweepEvent) -> None:
        free.wait(60)
        heard.append(event)

    relay = Relay(slow, room=5)
    with caplog.at_level(logging.WARNING, "metta.sweep"):
        for step in range(1, 100):
            relay(TrialReported(0.0, 0, step, 0.5))
        relay(TrialEnded(0.0, 0, "completed", 99, 0.5))
        relay(SweepEnded(0.0))
        free.set()
        relay.finish(time.monotonic() + 60)
    reports = [event for event in heard if isinstance(event, TrialReported)]
    assert 5 <= len(reports) <= 6
    assert isinstance(heard[-2], TrialEnded)
    assert caplog.messages == [f"the callback slow was too slow: it has not heard {99 - len(reports)} reports"]


def test_one_that_holds_back_is_told_when_nothing_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(callbacks, "QUIET", 0.01)
    calls: list[str] = []
    idle = threading.Event()

    class Holding:
        def __call__(self, event: SweepEvent) -> None:
            calls.append(type(event).__name__)

        def idle(self) -> None:
            calls.append("idle")
            idle.set()

    relay = Relay(Holding())
    relay(TrialEnded(0.0, 0, "completed", 1, 0.5))
    assert idle.wait(60)
    relay(SweepEnded(1.0))
    relay.finish(time.monotonic() + 60)
    assert calls == ["TrialEnded", "idle", "SweepEnded"], "once is enough"


def test_a_logger_gives_each_run_a_listener_of_its_own() -> None:
    class Counting:
        def __init__(self) -> None:
            self.runs: list[list[SweepEvent]] = []

        def listen(self) -> Listener:
            self.runs.append([])
            return self.runs[-1].append

    counting = Counting()
    run(counting, times=2)
    assert [sum(isinstance(event, SweepStarted) for event in told) for told in counting.runs] == [1, 1]


def test_without_callbacks_there_is_no_thread() -> None:
    def progress(event: SweepEvent) -> None: ...

    assert told_too(progress, ()) is progress


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([3], r"callbacks=\[3\]: expected a function of an event, or a logger"),
        (print, r"callbacks=<built-in function print>: expected a list, such as callbacks=\[print\]"),
        ([Relay], r"callbacks=\[Relay\] is a class: write Relay\(\.\.\.\)"),
    ],
)
def test_what_is_none(given: Any, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        SweepExperiment(objective, callbacks=given)
