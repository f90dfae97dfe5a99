from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metta.sweep.errors import UsageError
from metta.sweep.executors.local import LocalExecutor
from metta.sweep.experiments import SweepExperiment
from metta.sweep.goal import Objectives
from metta.sweep.optimizers import RandomOptimizer
from metta.sweep.optimizers.base import Optimizer
from metta.sweep.schedulers.base import Action, Done, Launch, Prune, Resume, Scheduler, Verdict, View, Wait
from metta.sweep.schedulers.hyperband import HyperbandScheduler, plan_brackets
from metta.sweep.space import Uniform
from metta.sweep.testing import Simulation, simulate
from metta.sweep.trial import Params, Report, Trial, TrialState

SPACE = {"x": Uniform(0, 1)}
IDLE = View([], free_slots=4, active=0)


def curve(params: Params, step: int) -> float:
    return float(params["x"]) * (1 - 0.5**step)


def scheduler_with(**arguments: Any) -> HyperbandScheduler:
    scheduler = HyperbandScheduler(**arguments)
    scheduler.bind(objectives=Objectives(), seed=0)
    return scheduler


def launch(scheduler: HyperbandScheduler, view: View = IDLE, first: int = 0, got: int | None = None) -> list[Trial]:
    decision = scheduler.next(view)
    assert isinstance(decision, Launch)
    trials = [Trial({}, first + index) for index in range(decision.count if got is None else got)]
    scheduler.on_launch(decision, trials)
    return trials


def arrive(scheduler: HyperbandScheduler, number: int, step: int, score: float) -> Verdict:
    return scheduler.on_report(Trial({}, number), Report(step, {"score": score}))


def decisions(scheduler: HyperbandScheduler, view: View = IDLE) -> tuple[tuple[int, ...], list[Resume]]:
    """What is pruned and what goes on, up to the next decision that waits for the driver."""
    pruned: tuple[int, ...] = ()
    resumed: list[Resume] = []
    while True:
        decision = scheduler.next(View([], free_slots=4, active=1) if resumed else view)
        if isinstance(decision, Prune):
            pruned += decision.trials
        elif isinstance(decision, Resume):
            resumed.append(decision)
        else:
            return pruned, resumed


# The plan: Li et al., 2018, Algorithm 1 and Table 1


@pytest.mark.parametrize(
    ("rule", "table", "configurations", "work"),
    [
        (
            "algorithm1",
            "81@1 27@3 9@9 3@27 1@81 | 34@3 11@9 3@27 1@81 | 15@9 5@27 1@81 | 8@27 2@81 | 5@81",
            143,
            1581,
        ),
        (
            "table1",
            "81@1 27@3 9@9 3@27 1@81 | 27@3 9@9 3@27 1@81 | 9@9 3@27 1@81 | 6@27 2@81 | 5@81",
            128,
            1404,
        ),
    ],
)
def test_the_brackets_of_81_and_3_literally(rule: str, table: str, configurations: int, work: int) -> None:
    scheduler = HyperbandScheduler(max_resource=81, eta=3, rule=rule)  # type: ignore[arg-type]
    assert " | ".join(" ".join(f"{n}@{r}" for n, r in bracket) for bracket in scheduler.brackets()) == table
    assert scheduler.natural_budget == configurations
    run = simulate(RandomOptimizer(SPACE), scheduler, curve, workers=5, seed=1, steps=81)
    assert len(run.trials) == configurations
    assert sum(trial.step for trial in run.trials) == work
    reached = Counter((trial.step, trial.state) for trial in run.trials)
    assert reached[81, TrialState.COMPLETED] == sum(bracket[-1][0] for bracket in scheduler.brackets())


def test_the_paper_s_table_is_the_default() -> None:
    assert HyperbandScheduler().brackets() == HyperbandScheduler(max_resource=81, eta=3).brackets()
    assert HyperbandScheduler().rule == "algorithm1"


@pytest.mark.parametrize(
    ("max_resource", "eta", "count"),
    [(243, 3, 6), (729, 3, 7), (728, 3, 6), (1000, 10, 4), (125, 5, 4), (1, 3, 1), (2, 3, 1), (2**40, 2, 41)],
)
def test_the_number_of_brackets_is_computed_in_whole_numbers(max_resource: int, eta: int, count: int) -> None:
    """floor(log(243, 3)) is 4 in floating point, and so is floor(log(1000, 10)) 2: a bracket is lost."""
    assert len(plan_brackets(max_resource, eta)) == count


@settings(derandomize=True, max_examples=200)
@given(st.integers(1, 5000), st.integers(2, 7), st.sampled_from(["algorithm1", "table1"]))
def test_every_plan_is_sound(max_resource: int, eta: int, rule: Any) -> None:
    plan = plan_brackets(max_resource, eta, rule)
    assert [len(bracket) for bracket in plan] == list(range(len(plan), 0, -1))
    for bracket in plan:
        assert bracket[-1][1] == max_resource
        for (n, r), (next_n, next_r) in pairwise(bracket):
            assert 1 <= r < next_r
            assert next_n == max(1, n // eta)
            assert n > next_n


def test_the_plan_is_a_copy() -> None:
    scheduler = HyperbandScheduler()
    scheduler.brackets()[0].clear()
    assert len(scheduler.brackets()[0]) == 5


@pytest.mark.parametrize("name", ["max_resource", "max_epochs", "max_t"])
def test_the_names_of_max_resource(name: str) -> None:
    scheduler = HyperbandScheduler(**{name: 27})  # type: ignore[arg-type]
    assert scheduler.max_resource == 27
    assert len(scheduler.brackets()) == 4


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"max_resource": 0}, "max_resource=0: expected a whole number, at least 1"),
        ({"max_t": 27, "max_epochs": 9}, "are names for one argument"),
        ({"eta": 1}, "eta=1: expected a whole number, at least 2"),
        ({"eta": 3.0}, "eta=3.0: expected a whole number"),
        ({"rule": "table2"}, "expected one of 'algorithm1', 'table1'"),
    ],
)
def test_bad_arguments(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        HyperbandScheduler(**arguments)


# One bracket


def test_a_rung_waits_for_all_of_it_then_the_best_third_goes_on() -> None:
    scheduler = scheduler_with(max_resource=9)
    assert scheduler.brackets()[0] == [(9, 1), (3, 3), (1, 9)]
    launch(scheduler)
    for number in range(9):
        assert scheduler.next(View([], free_slots=4, active=1)) == Wait()
        assert arrive(scheduler, number, 1, float(number)) == Verdict(Action.PAUSE, 1)
    assert decisions(scheduler) == ((0, 1, 2, 3, 4, 5), [Resume(8, 3), Resume(7, 3), Resume(6, 3)])
    assert arrive(scheduler, 8, 2, 0.0) == Verdict()
    for number, score in ((8, 0.0), (7, 2.0), (6, 1.0)):
        arrive(scheduler, number, 3, score)
    assert decisions(scheduler) == ((6, 8), [Resume(7, 9)])
    assert arrive(scheduler, 7, 9, 1.0) == Verdict(Action.COMPLETE, 9)
    assert scheduler.next(IDLE) == Launch(5, 3)


def test_nan_is_the_worst_and_ties_break_by_number() -> None:
    scheduler = scheduler_with(max_resource=9)
    launch(scheduler, got=6)
    for number, score in enumerate([math.nan, 0.5, math.nan, 0.5, 0.5, math.nan]):
        arrive(scheduler, number, 1, score)
    assert decisions(scheduler) == ((0, 2, 4, 5), [Resume(1, 3), Resume(3, 3)])


def test_an_under_filled_bracket_halves_what_it_has() -> None:
    """Four of planned nine: Ray Tune keeps all four."""
    scheduler = scheduler_with(max_resource=9)
    launch(scheduler, View([], free_slots=4, active=0, remaining=4))
    for number in range(4):
        arrive(scheduler, number, 1, float(number))
    assert decisions(scheduler) == ((0, 1, 2), [Resume(3, 3)])


def test_the_dead_are_not_waited_for() -> None:
    scheduler = scheduler_with(max_resource=9)
    trials = launch(scheduler)
    for number in range(6):
        arrive(scheduler, number, 1, float(number))
    for trial in trials[6:]:
        scheduler.on_failure(trial)
    assert decisions(scheduler) == ((0, 1, 2, 3), [Resume(5, 3), Resume(4, 3)])
    # All that went on die: the bracket is over, and the next one starts.
    scheduler.on_failure(trials[5])
    scheduler.on_failure(trials[4])
    assert scheduler.next(IDLE) == Launch(5, 3)


def test_one_that_dies_while_it_is_paused_does_not_go_on() -> None:
    scheduler = scheduler_with(max_resource=9)
    trials = launch(scheduler)
    for number in range(9):
        arrive(scheduler, number, 1, float(number))
    scheduler.on_failure(trials[8])
    assert decisions(scheduler)[1] == [Resume(7, 3), Resume(6, 3)]


def test_an_objective_that_ends_below_its_rung_leaves_the_bracket() -> None:
    scheduler = scheduler_with(max_resource=9)
    trials = launch(scheduler, got=3)
    for number in range(2):
        arrive(scheduler, number, 1, float(number))
    scheduler.on_complete(trials[2])
    assert decisions(scheduler) == ((0,), [Resume(1, 3)])


def test_one_that_is_tried_again_too_late_is_pruned() -> None:
    scheduler = scheduler_with(max_resource=9)
    trials = launch(scheduler, got=3)
    scheduler.on_failure(trials[2])
    for number in range(2):
        arrive(scheduler, number, 1, float(number))
    assert decisions(scheduler) == ((0,), [Resume(1, 3)])
    assert arrive(scheduler, 2, 1, 9.0) == Verdict(Action.PAUSE, 1)
    arrive(scheduler, 1, 3, 1.0)
    assert decisions(scheduler) == ((2,), [Resume(1, 9)])


def test_results_at_different_rungs_are_not_compared() -> None:
    """A report of a late step counts for the highest rung at or below it; the rungs below get nothing."""
    scheduler = scheduler_with(max_resource=9)
    launch(scheduler, got=6)
    for number in range(3):
        arrive(scheduler, number, 1, float(number))
    for number in range(3, 6):
        assert arrive(scheduler, number, 5, 100.0 + number) == Verdict(Action.PAUSE, 3)
    assert decisions(scheduler) == ((0, 1), [Resume(2, 3)])
    arrive(scheduler, 2, 3, 1000.0)
    assert decisions(scheduler) == ((3, 4, 5), [Resume(2, 9)])


def test_a_rung_that_all_have_jumped_over_is_passed_over() -> None:
    run = simulate(RandomOptimizer(SPACE), HyperbandScheduler(max_resource=27), curve, budget=27, steps=27, stride=5)
    assert sorted(Counter(trial.resource for trial in run.trials).items()) == [(3, 18), (9, 6), (27, 3)]
    assert all(trial.state.is_finished for trial in run.trials)


def test_two_objectives_are_ranked_by_non_domination() -> None:
    scheduler = HyperbandScheduler(max_resource=3)
    scheduler.bind(objectives=Objectives.of({"accuracy": "maximize", "latency": "minimize"}), seed=0)
    launch(scheduler)
    for number, (accuracy, latency) in enumerate([(0.1, 9.5), (0.9, 9.0), (0.5, 1.0)]):
        scheduler.on_report(Trial({}, number), Report(1, {"accuracy": accuracy, "latency": latency}))
    assert decisions(scheduler) == ((0, 2), [Resume(1, 3)])


# Passes


def test_the_natural_end_is_one_pass_and_more_is_another() -> None:
    scheduler = HyperbandScheduler(max_resource=9)
    assert [bracket[0] for bracket in scheduler.brackets()] == [(9, 1), (5, 3), (3, 9)]
    run = simulate(RandomOptimizer(SPACE), scheduler, curve, budget=17 + 9 + 2, steps=9)
    starts = Counter(event.split(" ", 1)[1].split(" ", 2)[2] for event in run.events if " start " in event)
    assert starts == {"until 1": 18, "until 3": 5 + 2, "until 9": 3}
    assert sorted(trial.step for trial in run.trials[26:]) == [3, 9]


def test_less_cuts_the_last_bracket() -> None:
    run = simulate(RandomOptimizer(SPACE), HyperbandScheduler(max_resource=27), curve, budget=30, steps=27)
    assert len(run.trials) == 30
    assert sorted(trial.step for trial in run.trials[27:]) == [3, 3, 27]


class Stingy(RandomOptimizer):
    """Has three suggestions."""

    def suggest(self, n: int) -> list[Trial]:
        return super().suggest(min(n, max(0, 3 - self._suggested)))


def test_an_optimizer_that_runs_dry_ends_it() -> None:
    run = simulate(Stingy(SPACE), HyperbandScheduler(max_resource=9), curve, steps=9)
    assert sorted(trial.step for trial in run.trials) == [1, 1, 9]
    assert isinstance(run.scheduler.next(View([], free_slots=4, active=0, exhausted=True)), Done)


def test_a_launch_that_got_nothing_uses_up_no_bracket() -> None:
    scheduler = scheduler_with(max_resource=9)
    launch(scheduler, got=0)
    assert scheduler.next(IDLE) == Launch(9, 1)


def test_the_state_of_a_rung_that_half_goes_on() -> None:
    scheduler = scheduler_with(max_resource=9)
    launch(scheduler)
    for number in range(9):
        arrive(scheduler, number, 1, float(number))
    assert isinstance(scheduler.next(IDLE), Prune)
    assert scheduler.next(IDLE) == Resume(8, 3)
    twin = scheduler_with(max_resource=9)
    twin.load_state_dict(json.loads(json.dumps(scheduler.state_dict())))
    assert twin.state_dict() == scheduler.state_dict()
    assert decisions(twin, View([], free_slots=3, active=1)) == ((), [Resume(7, 3), Resume(6, 3)])


def test_trials_of_another_scheduler_run_to_the_end() -> None:
    scheduler = scheduler_with(max_resource=9)
    scheduler.on_launch(Launch(2, 9), [Trial({}, 0), Trial({}, 1)])
    assert scheduler.next(View([], free_slots=4, active=2)) == Wait()
    assert arrive(scheduler, 0, 3, 1.0) == Verdict()
    assert arrive(scheduler, 0, 9, 1.0) == Verdict(Action.COMPLETE, 9)
    assert scheduler.next(IDLE) == Launch(9, 1)


# Whole runs


def saving(trial: Trial) -> Iterator[float]:
    for step in range((trial.load() or 0) + 1, 10):
        trial.save(step)
        yield trial.params["x"] * step


def per_grant(trial: Trial) -> float:
    return float(trial.params["x"] * trial.resource)


def test_a_real_sweep_goes_on_from_checkpoints() -> None:
    tables = []
    with LocalExecutor(max_workers=2) as executor:
        for objective, parallel in ((saving, 1), (saving, 2), (per_grant, 2)):
            scheduler = HyperbandScheduler(max_resource=9, max_parallel=parallel)
            sweep = SweepExperiment(
                objective, optimizer=RandomOptimizer(SPACE), scheduler=scheduler, executor=executor, seed=5, store=None
            )
            result = sweep.run()
            tables.append([(dict(trial.params), trial.state, trial.resource, trial.score) for trial in result.trials])
            assert Counter(trial.resource for trial in result.trials) == {1: 6, 3: 2 + 4, 9: 1 + 1 + 3}
            # What saves nothing starts again when it goes on: three from 1, one from 3, and one from 3.
            assert result.recomputed == (3 * 1 + 1 * 3 + 1 * 3 if objective is per_grant else 0)
    assert tables[0] == tables[1] == tables[2]


def mortal(fails: float) -> Any:
    def train(params: Params, step: int) -> float:
        if (params["x"] * 1e4) % 1 < fails and step == 1 + int(params["x"] * 1e6) % 4:
            raise RuntimeError("boom")
        return curve(params, step)

    return train


@settings(derandomize=True, max_examples=40, deadline=None)
@given(
    budget=st.integers(1, 60),
    workers=st.integers(1, 7),
    stride=st.sampled_from([1, 2, 5]),
    seed=st.integers(0, 9),
    fails=st.sampled_from([0.0, 0.3, 0.9]),
)
def test_conservation(budget: int, workers: int, stride: int, seed: int, fails: float) -> None:
    """Whatever dies and in whichever order rungs are filled, every configuration ends once, in one rung."""
    scheduler = HyperbandScheduler(max_resource=9)
    run = simulate(RandomOptimizer(SPACE), scheduler, mortal(fails), budget, workers, seed, steps=9, stride=stride)
    assert len(run.trials) == budget
    for trial in run.trials:
        assert trial.state in (TrialState.COMPLETED, TrialState.PRUNED, TrialState.FAILED)
        if trial.state is TrialState.COMPLETED:
            assert trial.resource == 9
        elif trial.state is TrialState.PRUNED:
            assert trial.resource in (1, 3)
    if not fails and stride == 1 and budget >= 9:
        assert Counter(trial.resource for trial in run.trials[:9]) == {1: 6, 3: 2, 9: 1}
        best = max(run.trials[:9], key=lambda trial: trial.params["x"])
        assert best.state is TrialState.COMPLETED


class Impressionable(Optimizer):
    """Its suggestions depend on all that it has heard, and on the order."""

    def __init__(self) -> None:
        super().__init__(SPACE)
        self.state = 0.5

    def suggest(self, n: int) -> list[Trial]:
        return [Trial({"x": (self.state + index / math.e) % 1.0}) for index in range(n)]

    def observe(self, trial: Trial, result: Any) -> None:
        heard = 0.1 if math.isnan(result) else float(result)
        self.state = (self.state * 3.7 + heard + trial.id) % 1.0


def test_the_trials_do_not_depend_on_the_number_of_workers() -> None:
    def table(workers: int) -> list[Any]:
        run = simulate(Impressionable(), HyperbandScheduler(max_resource=27), mortal(0.2), 100, workers, steps=27)
        return [(dict(trial.params), trial.state, trial.step, trial.resource) for trial in run.trials]

    assert table(1) == table(3) == table(16)


def test_a_thousand_trials_resumed_at_every_five_hundredth_event_are_the_same() -> None:
    def fresh() -> Simulation:
        scheduler: Scheduler = HyperbandScheduler(max_resource=27)
        return Simulation(RandomOptimizer(SPACE), scheduler, mortal(0.1), 1000, 8, 4, steps=27)

    whole = fresh().run()
    broken, count = fresh(), 0
    while broken.step():
        count += 1
        if count % 500 == 0:
            broken = fresh().load_json(json.loads(json.dumps(broken.to_json())))
    assert len(whole.trials) == 1000
    assert broken.table() == whole.table()
    assert broken.events == whole.events
