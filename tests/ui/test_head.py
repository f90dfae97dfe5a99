"""The top of a run's page says what a terminal says."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from metta.sweep.report.frames import failure_lines, texts
from metta.sweep.report.progress import progress_of
from metta.sweep.report.snapshot import SweepSnapshot
from metta.sweep.store.run import RunInfo, RunStatus
from metta.sweep.trial import Failure, FailureReason, TrialState
from metta.sweep.ui.head import head_of, share_done
from metta.sweep.ui.opened import RunData
from metta.sweep.ui.views import causes_of
from tests.report.snapshots import snapshot, trial


def data_of(sweep: SweepSnapshot, folder: Path) -> RunData:
    info = RunInfo("r", "sweep", "sweep", folder, "2026-01-01T00:00:00Z", RunStatus.RUNNING, 0, {}, "")
    return RunData(info, sweep=sweep)


def test_a_paused_trial_has_used_its_part_of_the_budget_as_in_a_terminal() -> None:
    states = (TrialState.COMPLETED, TrialState.PAUSED, TrialState.PAUSED, TrialState.FAILED, TrialState.RUNNING)
    trials = [trial(number, 0.5, state=state) for number, state in enumerate(states)]
    sweep = replace(snapshot(*trials), budget_trials=8)
    assert share_done(sweep) == progress_of(sweep).fraction == 0.5
    assert share_done(replace(sweep, budget_trials=None)) is None
    assert share_done(replace(sweep, ended="cancelled")) == 1.0


def test_the_time_that_is_left_is_that_of_a_terminal(tmp_path: Path) -> None:
    sweep = replace(snapshot(trial(0, 0.5), trial(1, 0.5, state=TrialState.RUNNING), seconds=90.0), budget_trials=4)
    facts = {fact.name: fact.text for fact in head_of(data_of(sweep, tmp_path)).facts}
    assert facts["Time"] == "1 min 30 s, about 4 min 30 s left"
    assert progress_of(sweep).seconds_left == 270.0
    all_started = replace(sweep, budget_trials=1)
    assert "Time" in {fact.name for fact in head_of(data_of(all_started, tmp_path)).facts if fact.text == "1 min 30 s"}
    assert progress_of(all_started).seconds_left is None


def test_the_last_trial_that_failed_for_a_reason_is_quoted_as_in_a_terminal(tmp_path: Path) -> None:
    trials = [trial(number, state=TrialState.FAILED) for number in range(3)]
    for number, failed in enumerate(trials):
        failed.failure = Failure(FailureReason.OOM, f"message {number}")
    sweep = snapshot(*trials)
    (cause,) = causes_of(data_of(sweep, tmp_path))
    assert (cause.reason, cause.count, cause.where, cause.message) == ("oom", 3, "trial 2", "message 2")
    assert texts(failure_lines(progress_of(sweep))) == ["3 failed (oom), last trial 2: message 2"]
