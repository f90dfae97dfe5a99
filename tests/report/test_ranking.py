"""The order of trials."""

from __future__ import annotations

import random

import pytest

from metta.sweep.goal import Goal, Objectives, ranked
from metta.sweep.report.ranking import pareto_front, ranking
from metta.sweep.trial import TrialState
from tests.report.snapshots import TWO, trial


@pytest.mark.parametrize("wanted", ["maximize", "minimize", TWO])
def test_one_step_ranks_as_optimizers_rank(wanted: Goal) -> None:
    draw = random.Random(3)
    objectives = Objectives.of(wanted)
    scores = [[float(draw.randint(0, 9)) for _ in objectives.keys] for _ in range(40)]
    trials = [
        trial(number, score[0] if objectives.is_single else dict(zip(objectives.keys, score, strict=True)))
        for number, score in enumerate(scores)
    ]
    losses = [(one.id, objectives.losses(one.score)) for one in trials if one.score is not None]
    assert [one.id for one in ranking(trials, objectives)] == ranked(losses)


def test_who_went_further_comes_first_and_who_failed_not_at_all() -> None:
    trials = [
        trial(0, 0.9, step=1),
        trial(1, 0.1, step=9),
        trial(2, 0.2, step=9),
        trial(3, 1.0, step=9, state=TrialState.FAILED),
        trial(4, float("nan"), step=9),
        trial(5, float("inf"), step=9),
        trial(6),
    ]
    assert [one.id for one in ranking(trials, Objectives())] == [2, 1, 0]
    assert [one.id for one in pareto_front(trials, Objectives())] == [2]


def test_trials_are_known_by_number_not_by_place() -> None:
    assert [one.id for one in ranking([trial(7, 0.1), trial(5, 0.2)], Objectives())] == [5, 7]
    assert pareto_front([], Objectives.of(TWO)) == ()
