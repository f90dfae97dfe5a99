import json
import math
import random
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metta.sweep.errors import UsageError
from metta.sweep.goal import Objectives
from metta.sweep.optimizers import RandomOptimizer
from metta.sweep.schedulers import ASHAScheduler
from metta.sweep.schedulers.base import Action, Done, Launch, Prune, Resume, Verdict, View, Wait
from metta.sweep.space import Uniform
from metta.sweep.testing import Simulation, simulate
from metta.sweep.trial import Params, Report, Trial, TrialState

SPACE = {"x": Uniform(0, 1)}


def scheduler_with(**arguments: Any) -> ASHAScheduler:
    scheduler = ASHAScheduler(**arguments)
    scheduler.bind(objectives=Objectives(), seed=0)
    return scheduler


def arrive(scheduler: ASHAScheduler, number: int, step: int, score: float) -> Verdict:
    return scheduler.on_report(Trial({}, number), Report(step, {"score": score}))


def busy(free: int = 1, remaining: int | None = None) -> View:
    return View([], free_slots=free, active=1, remaining=remaining)


# Rungs


def test_the_rungs_of_the_defaults() -> None:
    scheduler = ASHAScheduler(max_t=100)
    assert scheduler.rung_resources == (10, 30, 90, 100)
    assert scheduler.get_next_rung(10) == 30
    assert scheduler.get_next_rung(30) == 90
    assert scheduler.get_next_rung(90) == 100
    assert scheduler.get_next_rung(100) is None
    assert scheduler.get_next_rung(0) == 10
    assert ASHAScheduler().rung_resources == (10, 30, 90, 100)


@pytest.mark.parametrize(
    ("arguments", "rungs"),
    [
        ({"max_epochs": 81, "grace_period": 1}, (1, 3, 9, 27, 81)),
        ({"max_epochs": 243, "grace_period": 1}, (1, 3, 9, 27, 81, 243)),
        ({"max_epochs": 9, "reduction_factor": 4, "grace_period": 2}, (2, 8, 9)),
        ({"max_epochs": 10}, (3, 9, 10)),
        ({"max_resource": 9}, (3, 9)),
        ({"max_resource": 1}, (1,)),
        ({"max_t": 11}, (10, 11)),
        ({"max_resource": 64, "reduction_factor": 2, "grace_period": 16}, (16, 32, 64)),
    ],
)
def test_rungs(arguments: dict[str, int], rungs: tuple[int, ...]) -> None:
    assert ASHAScheduler(**arguments).rung_resources == rungs  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"grace_period": 200}, "grace_period=200 is above max_epochs=100"),
        ({"grace_period": 10, "max_resource": 9}, "grace_period=10 is above max_resource=9"),
        ({"grace_period": 10, "max_t": 9}, "grace_period=10 is above max_t=9"),
        ({"max_t": 0}, "^max_t=0: expected a whole number, at least 1"),
        ({"max_resource": 2.5}, "^max_resource=2.5: expected a whole number"),
        ({"reduction_factor": 1}, "reduction_factor=1: expected a whole number, at least 2"),
        ({"brackets": 5}, "make at most 4 brackets"),
        ({"mode": "promote"}, "expected one of 'promotion', 'stopping'"),
        ({"max_epochs": 0}, "^max_epochs=0: expected"),
        ({"max_epochs": 10, "max_t": 20}, "are names for one argument"),
    ],
)
def test_bad_arguments(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        ASHAScheduler(**arguments)


# Promotion


def test_a_configuration_pauses_at_its_rung_and_the_best_third_goes_on() -> None:
    scheduler = scheduler_with()
    assert scheduler.next(View([], free_slots=1, active=0)) == Launch(1, until=10)
    assert arrive(scheduler, 0, 9, 0.9) == Verdict()
    assert arrive(scheduler, 0, 10, 0.1) == Verdict(Action.PAUSE, 10)
    arrive(scheduler, 1, 10, 0.3)
    assert scheduler.next(busy()) == Launch(1, until=10)  # two results: nobody is in the top floor(2 / 3)
    arrive(scheduler, 2, 10, 0.2)
    assert scheduler.next(busy()) == Resume(1, until=30)
    assert scheduler.next(busy()) == Launch(1, until=10)
    assert arrive(scheduler, 1, 30, 0.5) == Verdict(Action.PAUSE, 30)


def test_the_highest_rung_is_looked_at_first() -> None:
    scheduler = scheduler_with()
    for number in range(9):
        arrive(scheduler, number, 10, float(number))
    for expected in (8, 7, 6):
        assert scheduler.next(busy()) == Resume(expected, until=30)
        arrive(scheduler, expected, 30, float(expected))
    for number in range(9, 12):
        arrive(scheduler, number, 10, float(number))
    # Both rungs have somebody to promote now.
    assert scheduler.next(busy()) == Resume(8, until=90)
    assert scheduler.next(busy()) == Resume(11, until=30)


def test_the_last_rung_is_max_epochs_and_completes() -> None:
    scheduler = scheduler_with()
    for number in range(3):
        arrive(scheduler, number, 90, float(number))
    assert scheduler.next(busy()) == Resume(2, until=100)
    assert arrive(scheduler, 2, 100, 1.0) == Verdict(Action.COMPLETE, 100)


def test_when_the_budget_is_spent_promotions_drain_and_the_rest_is_pruned() -> None:
    scheduler = scheduler_with()
    for number in range(3):
        arrive(scheduler, number, 10, float(number))
    assert scheduler.next(busy(remaining=0)) == Resume(2, until=30)
    assert scheduler.next(busy(remaining=0)) == Wait()
    arrive(scheduler, 2, 30, 1.0)
    idle = View([], free_slots=1, active=0, remaining=0)
    assert scheduler.next(idle) == Prune((0, 1, 2))
    assert scheduler.next(idle) == Done()


def test_a_failed_configuration_keeps_its_result_but_is_not_promoted() -> None:
    scheduler = scheduler_with()
    for number in range(6):
        arrive(scheduler, number, 10, float(number))
    scheduler.on_failure(Trial({}, 5))
    assert scheduler.next(busy()) == Resume(4, until=30)
    assert scheduler.next(busy()) == Launch(1, until=10)  # the quota of six is two: 5, which failed, and 4


def test_nan_is_the_worst_and_ties_break_by_number() -> None:
    scheduler = scheduler_with()
    for number, score in enumerate([math.nan, 0.5, 0.5]):
        arrive(scheduler, number, 10, score)
    assert scheduler.next(busy()) == Resume(1, until=30)


def test_a_sparse_reporter_is_credited_at_the_highest_rung_only() -> None:
    """Peers enter its late result at the lower rungs too, and fresh trials are then stopped by it."""
    scheduler = scheduler_with()
    assert arrive(scheduler, 0, 35, 0.99) == Verdict(Action.PAUSE, 30)
    for number in range(1, 4):
        arrive(scheduler, number, 10, 0.1 * number)
    assert scheduler.population()[0] == [(10, (1, 2, 3)), (30, (0,)), (90, ()), (100, ())]
    assert scheduler.next(busy()) == Resume(3, until=30)

    stopping = scheduler_with(mode="stopping")
    arrive(stopping, 0, 35, 0.99)
    assert arrive(stopping, 1, 10, 0.1).action is Action.CONTINUE


def test_a_rung_counts_once_for_a_configuration() -> None:
    scheduler = scheduler_with()
    arrive(scheduler, 0, 12, 0.1)
    assert arrive(scheduler, 0, 17, 0.9) == Verdict()
    assert arrive(scheduler, 0, 31, 0.2) == Verdict(Action.PAUSE, 30)


def test_two_objectives_are_ranked_by_non_domination() -> None:
    scheduler = ASHAScheduler()
    scheduler.bind(objectives=Objectives.of({"accuracy": "maximize", "latency": "minimize"}), seed=0)
    for number, (accuracy, latency) in enumerate([(0.9, 9.0), (0.1, 9.5), (0.5, 1.0)]):
        scheduler.on_report(Trial({}, number), Report(10, {"accuracy": accuracy, "latency": latency}))
    assert scheduler.next(busy()) == Resume(0, until=30)


def shuffled(seed: int) -> list[float]:
    scores = [float(n) for n in range(27)]
    random.Random(seed).shuffle(scores)
    return scores


@pytest.mark.parametrize(
    ("scores", "promoted"),
    [
        # Each one that improves is the best when it comes, from the third on; else a third of 27.
        ([float(n) for n in range(27)], set(range(2, 27))),
        ([float(-n) for n in range(27)], set(range(9))),
        ([0.5] * 27, set(range(9))),
    ],
    ids=["improving", "worsening", "tied"],
)
def test_27_arrivals_in_promotion_mode(scores: list[float], promoted: set[int]) -> None:
    assert set(promotions(scores)) == promoted


@pytest.mark.parametrize("seed", range(5))
def test_27_arrivals_in_random_order_in_promotion_mode(seed: int) -> None:
    scores = shuffled(seed)
    order = promotions(scores)
    known: set[int] = set()
    for m, number in enumerate_promotions(scores):
        # By the definition: the best of the top floor(m / 3) that has not been promoted.
        top = sorted(range(m), key=lambda each: -scores[each])[: m // 3]
        assert number == next(each for each in top if each not in known)
        known.add(number)
    assert set(order) == known
    best = set(sorted(range(27), key=lambda each: -scores[each])[:9])
    assert best <= known
    assert len(known - best) <= math.sqrt(27)


def enumerate_promotions(scores: list[float]) -> list[tuple[int, int]]:
    """(results in the rung, who was promoted), in the order of the promotions."""
    scheduler = scheduler_with()
    found = []
    for number, score in enumerate(scores):
        arrive(scheduler, number, 10, score)
        while isinstance(decision := scheduler.next(busy()), Resume):
            assert decision.until == 30
            found.append((number + 1, decision.trial))
    return found


def promotions(scores: list[float]) -> list[int]:
    return [number for _, number in enumerate_promotions(scores)]


# Stopping


@pytest.mark.parametrize(
    ("scores", "going_on"),
    [
        # By the rule "go on iff in the top max(1, floor(m / 3)) of the m values, ties kept".
        ([float(n) for n in range(27)], 27),
        ([float(-n) for n in range(27)], 1),
        ([0.5] * 27, 27),
    ],
    ids=["improving", "worsening", "tied"],
)
def test_27_arrivals(scores: list[float], going_on: int) -> None:
    scheduler = scheduler_with(mode="stopping")
    verdicts = [arrive(scheduler, number, 10, score) for number, score in enumerate(scores)]
    assert sum(verdict.action is Action.CONTINUE for verdict in verdicts) == going_on
    for verdict in verdicts:
        assert verdict.milestone == 10
        assert verdict.until == (30 if verdict.action is Action.CONTINUE else None)


def test_27_arrivals_in_random_order_follow_the_rule_one_by_one() -> None:
    scores = [float(n) for n in range(27)]
    random.Random(3).shuffle(scores)
    scheduler = scheduler_with(mode="stopping")
    for m, score in enumerate(scores, start=1):
        top = sorted(scores[:m], reverse=True)[: max(1, m // 3)]
        verdict = arrive(scheduler, m - 1, 10, score)
        assert (verdict.action is Action.CONTINUE) == (score in top)
        assert scheduler.should_stop(Trial({}, m - 1)) == (score not in top)


def test_stopping_runs_to_the_end() -> None:
    scheduler = scheduler_with(mode="stopping")
    assert arrive(scheduler, 0, 10, 1.0) == Verdict(Action.CONTINUE, 10, until=30)
    assert arrive(scheduler, 0, 90, 1.0) == Verdict(Action.CONTINUE, 90, until=100)
    assert arrive(scheduler, 0, 100, 1.0) == Verdict(Action.COMPLETE, 100)


# Brackets


def test_brackets_start_higher_and_are_drawn_from_the_seed() -> None:
    def starts(seed: int) -> list[int | None]:
        scheduler = ASHAScheduler(brackets=3, seed=seed)
        found = []
        for number in range(60):
            launch = scheduler.next(busy())
            assert isinstance(launch, Launch)
            scheduler.on_launch(launch, [Trial({}, number)])
            found.append(launch.until)
        return found

    first = starts(1)
    assert set(first) == {10, 30, 90}
    assert first == starts(1)
    assert first != starts(2)
    assert first.count(10) > first.count(30) > first.count(90)


def test_brackets_do_not_mix() -> None:
    scheduler = scheduler_with(brackets=2)
    launches = {}
    for number in range(40):
        launch = scheduler.next(busy())
        assert isinstance(launch, Launch)
        scheduler.on_launch(launch, [Trial({}, number)])
        launches[number] = launch.until
    for number, until in launches.items():
        arrive(scheduler, number, until or 0, 0.0)
    low, high = scheduler.population()
    assert low[0] == (10, tuple(number for number, until in launches.items() if until == 10))
    assert high[0] == (30, tuple(number for number, until in launches.items() if until == 30))


# Whole runs


def curve(params: Params, step: int) -> float:
    return float(params["x"]) * (1 - 0.5**step)


@settings(derandomize=True, max_examples=25, deadline=None)
@given(
    budget=st.integers(1, 40),
    workers=st.integers(1, 6),
    brackets=st.integers(1, 3),
    mode=st.sampled_from(["promotion", "stopping"]),
    stride=st.sampled_from([1, 7, 25]),
    seed=st.integers(0, 5),
    fails=st.booleans(),
)
def test_conservation(budget: int, workers: int, brackets: int, mode: str, stride: int, seed: int, fails: bool) -> None:
    """Every configuration that reached a rung is in exactly one, and everybody ends in one final state."""

    def failing(params: Params, step: int) -> float:
        if fails and params["x"] > 0.8 and step > 12:
            raise RuntimeError("boom")
        return curve(params, step)

    scheduler = ASHAScheduler(brackets=brackets, mode=mode)  # type: ignore[arg-type]
    run = simulate(RandomOptimizer(SPACE), scheduler, failing, budget, workers, seed, stride=stride)
    assert len(run.trials) == budget
    assert all(trial.state.is_finished for trial in run.trials)
    ended = run.scheduler
    assert isinstance(ended, ASHAScheduler)
    members = [number for rungs in ended.population() for _, numbers in rungs for number in numbers]
    reached = [trial.id for trial in run.trials if trial.step >= 10 and trial.state is not TrialState.FAILED]
    assert len(members) == len(set(members))
    assert set(reached) <= set(members)
    for trial in run.trials:
        if trial.state is TrialState.COMPLETED:
            assert trial.step == trial.resource == 100


def test_promotions_stay_within_the_paper_s_bound() -> None:
    """A third of a rung is promoted, and by mistake of the order of sqrt(n) more (Li et al., 2020, section 3.3)."""
    run = simulate(RandomOptimizer(SPACE), ASHAScheduler(), curve, budget=243, workers=8, seed=2)
    counts = [sum(trial.step >= rung for trial in run.trials) for rung in (10, 30, 90, 100)]
    assert counts[0] == 243
    for lower, higher in pairwise(counts):
        assert lower // 3 <= higher <= lower / 3 + math.sqrt(lower)
    best = {trial.id for trial in sorted(run.trials, key=lambda trial: -trial.params["x"])[:81]}
    promoted = {trial.id for trial in run.trials if trial.step >= 30}
    assert len(promoted - best) <= math.sqrt(243)
    top = max(run.trials, key=lambda trial: trial.params["x"])
    assert top.state is TrialState.COMPLETED


def test_a_thousand_trials_resumed_at_every_thousandth_event_are_the_same() -> None:
    def fresh() -> Simulation:
        scheduler = ASHAScheduler(max_epochs=27, grace_period=1, seed=3)
        return Simulation(RandomOptimizer(SPACE), scheduler, curve, 1000, 16, 5, steps=27)

    whole = fresh().run()
    broken, count = fresh(), 0
    while broken.step():
        count += 1
        if count % 1000 == 0:
            broken = fresh().load_json(json.loads(json.dumps(broken.to_json())))
    assert broken.events == whole.events
    assert broken.table() == whole.table()
    rungs = [{trial.id for trial in whole.trials if trial.step >= rung} for rung in (1, 3, 9, 27)]
    assert len(rungs[0]) == 1000
    for lower, higher in pairwise(rungs):
        best = sorted(lower, key=lambda number: -whole.trials[number].params["x"])[: len(lower) // 3]
        assert set(best) <= higher
        assert len(higher) - len(best) <= math.sqrt(len(lower))


def test_state_survives_json_at_every_event() -> None:
    for mode in ("promotion", "stopping"):
        scheduler = scheduler_with(brackets=2, mode=mode)
        twin = scheduler_with(brackets=2, mode=mode)
        rng = random.Random(0)
        launched = 0
        for _ in range(120):
            decision = scheduler.next(busy(remaining=None))
            assert twin.next(busy(remaining=None)) == decision
            if isinstance(decision, Launch):
                until, number = decision.until, launched
                launched += 1
                for each in (scheduler, twin):
                    each.on_launch(decision, [Trial({}, number)])
            else:
                assert isinstance(decision, Resume)
                until, number = decision.until, decision.trial
            score = rng.random()
            assert arrive(twin, number, until or 0, score) == arrive(scheduler, number, until or 0, score)
            state = json.loads(json.dumps(scheduler.state_dict()))
            twin = scheduler_with(brackets=2, mode=mode)
            twin.load_state_dict(state)
            assert twin.state_dict() == scheduler.state_dict()
