"""Why trials have failed is told in one way: by reason how many, and the last of them."""

from __future__ import annotations

from metta.sweep.report.events import SweepEvent, SweepStarted, TrialEnded, TrialStarted
from metta.sweep.report.failed import failed_by_reason, failed_text
from metta.sweep.report.frames import failure_lines, texts
from metta.sweep.report.progress import Progress, advance, progress_of
from metta.sweep.trial import Failure, FailureReason, Trial, TrialState
from tests.report.snapshots import snapshot, trial

REASONS = (None, FailureReason.TIMEOUT, FailureReason.OOM, FailureReason.TIMEOUT, FailureReason.OOM, FailureReason.OOM)
TOLD = ["3 failed (oom), last trial 5: message 5", "2 failed (timeout), last trial 3: message 3"]


def trials() -> list[Trial]:
    made = []
    for number, reason in enumerate(REASONS):
        made.append(trial(number, 0.5, state=TrialState.COMPLETED if reason is None else TrialState.FAILED))
        made[-1].failure = None if reason is None else Failure(reason, f"message {number}", f"traceback {number}")
    return made


def test_the_most_frequent_reason_comes_first_with_its_last_trial() -> None:
    found = failed_by_reason(trials())
    assert [(each.reason, each.count, each.last.id) for each in found] == [
        (FailureReason.OOM, 3, 5),
        (FailureReason.TIMEOUT, 2, 3),
    ]
    assert [each.failure.traceback for each in found] == ["traceback 5", "traceback 3"]
    assert [str(each) for each in found] == TOLD
    assert failed_by_reason(trials()[:1]) == ()


def test_one_failure_is_not_the_last_of_several() -> None:
    assert failed_text(1, "oom", 1, "no memory") == "1 failed (oom), trial 1: no memory"


def test_a_sweep_that_is_driven_here_and_one_that_is_read_say_the_same() -> None:
    sweep = snapshot(*trials())
    events: list[SweepEvent] = [SweepStarted(0.0, "sweep", sweep.objectives)]
    for each in sweep.trials:
        events.append(TrialStarted(1.0, each.id, {}))
        reason, message = (None, "") if each.failure is None else (each.failure.reason.value, each.failure.message)
        events.append(TrialEnded(2.0, each.id, each.state.value, 1, 0.5, reason, message))
    live = Progress()
    for event in events:
        live = advance(live, event)
    assert texts(failure_lines(live)) == texts(failure_lines(progress_of(sweep))) == TOLD
