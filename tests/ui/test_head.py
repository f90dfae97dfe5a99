"""The top of a run's page says what a terminal says."""

from __future__ import annotations

from dataclasses import replace

from metta.sweep.report.progress import progress_of
from metta.sweep.trial import TrialState
from metta.sweep.ui.head import share_done
from tests.report.snapshots import snapshot, trial


def test_a_paused_trial_has_used_its_part_of_the_budget_as_in_a_terminal() -> None:
    states = (TrialState.COMPLETED, TrialState.PAUSED, TrialState.PAUSED, TrialState.FAILED, TrialState.RUNNING)
    trials = [trial(number, 0.5, state=state) for number, state in enumerate(states)]
    sweep = replace(snapshot(*trials), budget_trials=8)
    assert share_done(sweep) == progress_of(sweep).fraction == 0.5
    assert share_done(replace(sweep, budget_trials=None)) is None
    assert share_done(replace(sweep, ended="cancelled")) == 1.0
