from __future__ import annotations

import json
import math
import statistics
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metta.sweep.errors import UsageError
from metta.sweep.goal import Objectives
from metta.sweep.optimizers import RandomOptimizer
from metta.sweep.schedulers.base import CONTINUE, Action, Verdict
from metta.sweep.schedulers.median import MedianStoppingScheduler
from metta.sweep.space import Uniform
from metta.sweep.testing import Simulation, simulate
from metta.sweep.trial import Params, Report, Trial, TrialState

SPACE = {"x": Uniform(0, 1)}


def scheduler_with(**arguments: Any) -> MedianStoppingScheduler:
    scheduler = MedianStoppingScheduler(**arguments)
    scheduler.bind(objectives=Objectives(), seed=0)
    return scheduler


def report(scheduler: MedianStoppingScheduler, trial: Trial, score: float, step: int | None = None) -> Verdict:
    entry = Report(step or trial.step + 1, {"score": score})
    trial.reports.append(entry)
    trial.score = score
    return scheduler.on_report(trial, entry)


def completed(scheduler: MedianStoppingScheduler, number: int, scores: Sequence[float], stride: int = 1) -> Trial:
    trial = Trial({}, number)
    for index, score in enumerate(scores, 1):
        assert report(scheduler, trial, score, index * stride) == CONTINUE
    scheduler.on_complete(trial)
    return trial


def test_the_rule_of_the_paper_by_hand() -> None:
    scheduler = scheduler_with(min_trials=3)
    # The running averages up to step 2 are 1, 2 and 6; their median is 2.
    for number, scores in enumerate([[1, 1, 9], [1, 3, 9], [6, 6, 0]]):
        completed(scheduler, number, scores)
    good, tied, bad = Trial({}, 3), Trial({}, 4), Trial({}, 5)
    for trial, second in ((good, 2.1), (tied, 2.0), (bad, 1.9)):
        assert report(scheduler, trial, 1.5) == CONTINUE  # at step 1 the median of 1, 1, 6 is 1
        verdict = report(scheduler, trial, second)
        assert verdict == (Verdict(Action.STOP, 2) if trial is bad else CONTINUE)


def test_the_best_value_counts_not_the_last() -> None:
    scheduler = scheduler_with(min_trials=1)
    completed(scheduler, 0, [1, 1, 1])
    trial = Trial({}, 1)
    assert [report(scheduler, trial, score).action for score in (1.5, 0.0, 0.0)] == [Action.CONTINUE] * 3


def test_an_even_number_of_trials_has_the_middle_as_its_median() -> None:
    for score, action in ((1.4, Action.STOP), (1.5, Action.CONTINUE)):
        scheduler = scheduler_with(min_trials=2)
        completed(scheduler, 0, [1.0])
        completed(scheduler, 1, [2.0])
        assert report(scheduler, Trial({}, 2), score).action is action


def test_grace_period_and_min_trials() -> None:
    scheduler = scheduler_with(grace_period=3, min_trials=2)
    completed(scheduler, 0, [5] * 4)
    trial = Trial({}, 1)
    assert [report(scheduler, trial, 0).action for _ in range(4)] == [Action.CONTINUE] * 4  # one trial is not enough
    completed(scheduler, 2, [5] * 4)
    late = Trial({}, 3)
    assert [report(scheduler, late, 0).action for _ in range(3)] == [Action.CONTINUE, Action.CONTINUE, Action.STOP]
    assert MedianStoppingScheduler().grace_period == 1
    assert MedianStoppingScheduler().min_trials == 5


def test_only_completed_trials_count() -> None:
    scheduler = scheduler_with(min_trials=1)
    running, failed = Trial({}, 0), Trial({}, 1)
    for trial in (running, failed):
        report(scheduler, trial, 5)
    scheduler.on_failure(failed)
    assert report(scheduler, Trial({}, 2), 0) == CONTINUE
    completed(scheduler, 3, [5])
    stopped = Trial({}, 4)
    assert report(scheduler, stopped, 4).action is Action.STOP
    # Had the stopped one counted, the median would be 4.5.
    assert report(scheduler, Trial({}, 5), 4.9).action is Action.STOP


def test_a_trial_whose_last_score_is_not_finite_has_not_completed() -> None:
    scheduler = scheduler_with(min_trials=1)
    completed(scheduler, 0, [5, math.nan])
    assert report(scheduler, Trial({}, 1), 0) == CONTINUE


def test_reports_need_not_come_at_equal_steps() -> None:
    """A sparse reporter takes part where it has reported, with the average of what it had reported by then."""
    scheduler = scheduler_with(min_trials=2)
    completed(scheduler, 0, [1, 3, 5, 7], stride=10)  # averages 1, 2, 3, 4 from steps 10, 20, 30, 40
    completed(scheduler, 1, [4] * 40)
    trial = Trial({}, 2)
    assert report(scheduler, trial, 0.0, 5) == CONTINUE  # only one has reported by step 5
    assert report(scheduler, trial, 3.0, 29) == CONTINUE  # the median of 2 and 4
    assert report(scheduler, trial, 3.4, 45) == Verdict(Action.STOP, 45)  # of 4 and 4


def test_nan_is_the_worst() -> None:
    scheduler = scheduler_with(min_trials=1)
    completed(scheduler, 0, [1, 1])
    assert report(scheduler, Trial({}, 1), math.nan).action is Action.STOP
    nan_once = scheduler_with(min_trials=1)
    completed(nan_once, 0, [math.nan, 1.0])
    assert report(nan_once, Trial({}, 1), -1e9) == CONTINUE  # the average is the worst there is


def test_infinities_of_both_signs_do_not_disturb_the_order() -> None:
    scheduler = scheduler_with(min_trials=3)
    completed(scheduler, 0, [math.inf, -math.inf, 1.0])
    completed(scheduler, 1, [2.0, 2.0, 2.0])
    completed(scheduler, 2, [3.0, 3.0, 3.0])
    trial = Trial({}, 3)
    assert [report(scheduler, trial, score).action for score in (3.0, 1.0)] == [Action.CONTINUE] * 2
    other = Trial({}, 4)
    assert report(scheduler, other, 1.0).action is Action.STOP
    between = Trial({}, 5)
    assert [report(scheduler, between, score, step).action for step, score in ((2, 2.5), (3, 2.5))] == [
        Action.CONTINUE,  # the averages are 2, 3 and, as the worst, that of infinities
        Action.CONTINUE,
    ]


def test_minimize() -> None:
    scheduler = MedianStoppingScheduler(min_trials=1)
    scheduler.bind(objectives=Objectives.of("minimize"), seed=0)
    completed(scheduler, 0, [1.0])
    assert report(scheduler, Trial({}, 1), 0.9) == CONTINUE
    assert report(scheduler, Trial({}, 2), 1.1).action is Action.STOP


def test_with_several_objectives_it_has_to_be_worse_in_all() -> None:
    scheduler = MedianStoppingScheduler(min_trials=1)
    scheduler.bind(objectives=Objectives.of({"accuracy": "maximize", "latency": "minimize"}), seed=0)

    def at(number: int, accuracy: float, latency: float) -> Verdict:
        trial = Trial({}, number)
        entry = Report(1, {"accuracy": accuracy, "latency": latency})
        trial.reports.append(entry)
        trial.score = dict(entry.metrics)
        verdict = scheduler.on_report(trial, entry)
        if number == 0:
            scheduler.on_complete(trial)
        return verdict

    at(0, 0.5, 5.0)
    assert at(1, 0.9, 9.0) == CONTINUE
    assert at(2, 0.1, 1.0) == CONTINUE
    assert at(3, 0.1, 9.0).action is Action.STOP


def test_a_trial_that_is_tried_again_keeps_its_best() -> None:
    scheduler = scheduler_with(min_trials=1)
    completed(scheduler, 0, [1, 1])
    trial = Trial({}, 1)
    report(scheduler, trial, 5.0)
    scheduler.on_failure(trial)
    assert report(scheduler, trial, 0.0) == CONTINUE


def test_max_resource_completes_and_counts() -> None:
    scheduler = scheduler_with(min_trials=1, max_epochs=2)
    trial = Trial({}, 0)
    assert report(scheduler, trial, 5) == CONTINUE
    assert report(scheduler, trial, 5) == Verdict(Action.COMPLETE, 2)
    assert report(scheduler, Trial({}, 1), 4).action is Action.STOP
    assert MedianStoppingScheduler(max_t=4).max_resource == MedianStoppingScheduler(max_resource=4).max_resource == 4


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"grace_period": 0}, "grace_period=0: expected a whole number, at least 1"),
        ({"min_trials": 0}, "min_trials=0: expected a whole number, at least 1"),
        ({"max_t": 3, "max_resource": 4}, "are names for one argument"),
    ],
)
def test_bad_arguments(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        MedianStoppingScheduler(**arguments)


def wavy(params: Params, step: int) -> float:
    return float(params["x"]) + 0.3 * math.sin(7 * step * params["x"])


@settings(derandomize=True, max_examples=25, deadline=None)
@given(seed=st.integers(0, 99), workers=st.integers(1, 6), stride=st.sampled_from([1, 3]), grace=st.integers(1, 4))
def test_every_verdict_of_a_run_follows_the_rule_as_it_is_written(
    seed: int, workers: int, stride: int, grace: int
) -> None:
    class Checked(MedianStoppingScheduler):
        finished: list[Trial] = []  # noqa: RUF012
        stops = 0

        def on_report(self, trial: Trial, report: Report) -> Verdict:
            verdict = super().on_report(trial, report)
            step = report.step
            averages = [
                statistics.fmean(known)
                for other in self.finished
                if (known := [each.metrics["score"] for each in other.reports if each.step <= step])
            ]
            best = max(each.metrics["score"] for each in trial.reports)
            bad = step >= grace and len(averages) >= 5 and best < statistics.median(averages) - 1e-12
            assert (verdict.action is Action.STOP) == (bad and step < 12)
            self.stops += verdict.action is Action.STOP
            if verdict.action is Action.COMPLETE:
                self.finished = [*self.finished, trial]
            return verdict

    scheduler = Checked(grace_period=grace, max_resource=12)
    run = simulate(RandomOptimizer(SPACE), scheduler, wavy, 40, workers, seed, steps=12, stride=stride)
    assert isinstance(run.scheduler, Checked)
    assert run.scheduler.stops > 0
    assert all(trial.state in (TrialState.COMPLETED, TrialState.PRUNED) for trial in run.trials)


def test_a_thousand_trials_resumed_at_every_thousandth_event_are_the_same() -> None:
    def fresh() -> Simulation:
        return Simulation(RandomOptimizer(SPACE), MedianStoppingScheduler(max_resource=20), wavy, 1000, 8, 3, steps=20)

    whole = fresh().run()
    broken, count = fresh(), 0
    while broken.step():
        count += 1
        if count % 1000 == 0:
            broken = fresh().load_json(json.loads(json.dumps(broken.to_json())))
    assert broken.table() == whole.table()
    assert sum(trial.state is TrialState.PRUNED for trial in whole.trials) > 300
    kept = [trial.params["x"] for trial in whole.trials if trial.state is TrialState.COMPLETED]
    assert statistics.fmean(kept) > 0.55
