"""PBTScheduler, call by call and in whole runs."""

from __future__ import annotations

import json
import math
import random
from collections import Counter
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metta.sweep.errors import UsageError
from metta.sweep.goal import Objectives
from metta.sweep.optimizers import RandomOptimizer
from metta.sweep.schedulers.base import Action, Decision, Done, Fork, Launch, Resume, Verdict, View, Wait
from metta.sweep.schedulers.pb2 import PB2Scheduler
from metta.sweep.schedulers.pbt import PBTScheduler
from metta.sweep.space import Choice, Integer, LogUniform, PowerOfTwo, SearchSpace, Uniform
from metta.sweep.testing import Simulation, simulate
from metta.sweep.trial import Params, Report, Trial, TrialState

SPACE = SearchSpace(
    {
        "x": Uniform(0.0, 1.0),
        "lr": LogUniform(1e-4, 1.0),
        "kind": Choice(["cnn", "mlp"]),
        "cnn.layers": Integer(3, 10),
        "mlp.width": PowerOfTwo(8, 64),
    }
)


class Book:
    """Drives a scheduler by hand: numbers the trials, and keeps what a view shows."""

    def __init__(self, scheduler: PBTScheduler, goal: Any = "maximize", space: SearchSpace | None = SPACE) -> None:
        self.scheduler = scheduler
        self.trials: list[Trial] = []
        self.remaining: int | None = scheduler.natural_budget
        scheduler.search_space = space
        scheduler.bind(objectives=Objectives.of(goal), seed=0)

    def next(self, free: int = 1, active: int = 1, exhausted: bool = False) -> Decision:
        decision = self.scheduler.next(View(self.trials, free, active, self.remaining, exhausted))
        if isinstance(decision, Launch | Fork):
            params = decision.params if isinstance(decision, Fork) else {"x": 0.5, "lr": 0.01, "kind": "a"}
            parent = decision.parent if isinstance(decision, Fork) else None
            count = decision.count if isinstance(decision, Launch) else 1
            new = [Trial(params or {}, len(self.trials) + index, parent=parent) for index in range(count)]
            self.trials += new
            if isinstance(decision, Launch) and self.remaining is not None:
                self.remaining -= count
            self.scheduler.on_launch(decision, new)
        return decision

    def report(self, number: int, step: int, score: float | dict[str, float]) -> Verdict:
        trial = self.trials[number]
        metrics = score if isinstance(score, dict) else {"score": score}
        trial.add_report(Report(step, metrics))
        return self.scheduler.on_report(trial, trial.reports[-1])

    def fill(self, scores: Sequence[float | dict[str, float]], step: int) -> None:
        """Launch the whole population; everybody reports at `step`."""
        assert self.next(free=len(scores)) == Launch(len(scores), self.scheduler.interval)
        for number, score in enumerate(scores):
            assert self.report(number, step, score).action is Action.PAUSE


# Arguments


def test_the_interval_and_the_end() -> None:
    assert PBTScheduler().interval == 1
    assert PBTScheduler().total == 50
    assert PBTScheduler().natural_budget == 20
    assert (PBTScheduler(max_resource=100).interval, PBTScheduler(max_t=100).total) == (2, 100)
    assert (PBTScheduler(max_epochs=120).interval, PBTScheduler(max_epochs=120).total) == (2, 100)
    # Ten units cannot have fifty ready checks.
    assert (PBTScheduler(max_resource=10).interval, PBTScheduler(max_resource=10).total) == (1, 10)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"population_size": 1}, "population_size=1: expected a whole number, at least 2"),
        ({"num_generations": 0}, "num_generations=0: expected a whole number"),
        ({"perturbation_factor": 1.2}, "perturbation_factor=1.2: expected a number above 0 and below 1"),
        ({"perturbation_factor": 0}, "perturbation_factor=0"),
        ({"quantile_fraction": 0.6}, "quantile_fraction=0.6: expected a number above 0 and at most 0.5"),
        ({"resample_probability": -0.1}, "expected a number at least 0 and at most 1"),
        ({"resample_probability": True}, "resample_probability=True"),
        ({"exploit_method": "truncate"}, "did you mean 'truncation'"),
        ({"explore_method": "purturb"}, "did you mean 'perturb'"),
        ({"max_resource": 10, "max_t": 20}, "are names for one argument"),
    ],
)
def test_bad_arguments(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        PBTScheduler(**arguments)


def test_what_cannot_run_is_refused_when_it_is_bound() -> None:
    with pytest.raises(UsageError, match=r"PBTScheduler explores the search space, and there is none"):
        Book(PBTScheduler(), space=None)
    Book(PBTScheduler(explore_method="optimizer"), space=None)
    with pytest.raises(UsageError, match="compares means of one objective"):
        Book(PBTScheduler(exploit_method="t_test"), {"a": "maximize", "b": "minimize"})


# Call by call


def test_a_member_pauses_when_it_is_ready_and_goes_on_if_it_is_not_at_the_bottom() -> None:
    book = Book(PBTScheduler(5, 10, max_resource=50))
    book.fill([0.1, 0.2, 0.3, 0.4, 0.5], 5)
    fork = book.next()
    assert isinstance(fork, Fork)
    assert (fork.parent, fork.replaces, fork.until) == (4, 0, 10)
    for number in (1, 2, 3, 4):
        assert book.next() == Resume(number, 10)
    assert book.next() == Wait()
    assert book.report(1, 9, 0.9) == Verdict()
    assert book.report(1, 10, 0.9) == Verdict(Action.PAUSE, 10)


def test_the_copy_has_the_parameters_of_its_donor_moved_by_a_fifth() -> None:
    book = Book(PBTScheduler(5, 10))
    book.next(free=5)
    for number in range(5):
        params = {"x": 0.1 * number, "lr": 10.0 ** -(number + 1), "kind": "mlp", "mlp.width": 16}
        book.trials[number].params = Params(params)
        book.report(number, 1, float(-number))
    for number in range(4):
        assert book.next() == Resume(number, 2)
    fork = book.next()
    assert isinstance(fork, Fork)
    assert (fork.parent, fork.replaces) == (0, 4)
    assert fork.params is not None
    assert fork.params["x"] in (0.0, 0.2)
    assert any(fork.params["lr"] == pytest.approx(0.1 * factor) for factor in (0.8, 1.2))
    assert SPACE.validate(fork.params)


def test_the_clock_of_a_fork_starts_at_the_fork() -> None:
    """A peer judges a fresh fork after one step."""
    book = Book(PBTScheduler(2, 10, max_resource=100))
    book.fill([0.0, 1.0], 10)
    assert isinstance(book.next(), Fork)
    assert book.next() == Resume(1, 20)
    for step in range(11, 20):
        assert book.report(2, step, -1.0) == Verdict()
    assert book.report(2, 20, -1.0) == Verdict(Action.PAUSE, 20)


def test_a_fork_of_a_donor_that_trains_starts_where_the_donor_is() -> None:
    book = Book(PBTScheduler(2, 10, max_resource=100))
    book.fill([1.0, 0.0], 10)
    assert book.next() == Resume(0, 20)
    book.report(0, 14, 2.0)
    fork = book.next()
    assert isinstance(fork, Fork)
    assert (fork.parent, fork.replaces, fork.until) == (0, 1, 24)
    assert book.report(2, 20, 5.0) == Verdict()
    assert book.report(2, 24, 5.0) == Verdict(Action.PAUSE, 24)


def test_a_fork_without_saved_state_is_not_judged_before_it_has_caught_up() -> None:
    book = Book(PBTScheduler(5, 10, max_resource=50))
    book.fill([0.5, 0.4, 0.3, 0.2, 0.1], 5)
    assert [type(book.next()) for _ in range(5)] == [Resume] * 4 + [Fork]
    fork = json.loads(json.dumps(book.scheduler.state_dict()))["population"]["members"][-1]
    for step in range(1, 6):
        assert book.report(5, step, math.nan) == Verdict()
    assert json.loads(json.dumps(book.scheduler.state_dict()))["population"]["members"][-1] == fork
    for step in range(6, 10):
        assert book.report(5, step, 0.9) == Verdict()
    assert book.report(5, 10, 0.9) == Verdict(Action.PAUSE, 10)
    assert book.next() == Resume(5, 15)


def test_a_fresh_fork_ranks_where_the_replaced_one_did_until_it_has_a_result() -> None:
    """Without it the next worst would be at the bottom, and so on: the first would replace everybody."""
    book = Book(PBTScheduler(5, 10))
    book.fill([0.5, 0.1, 0.2, 0.3, 0.4], 1)
    decisions = [book.next() for _ in range(5)]
    assert [type(decision) for decision in decisions] == [Resume, Fork, Resume, Resume, Resume]
    assert book.report(5, 2, 0.9) == Verdict(Action.PAUSE, 2)
    for number in (0, 2, 3, 4):
        book.report(number, 2, 0.5 + number / 100)
    assert isinstance(book.next(), Fork)  # 0 is the worst now


def test_members_are_compared_at_equal_resources() -> None:
    """With one slot the last of a round would else be compared with what the others have reached one interval later."""
    book = Book(PBTScheduler(5, 10))
    book.fill([0.10, 0.11, 0.12, 0.13, 0.14], 1)
    assert isinstance(book.next(), Fork)
    book.report(5, 2, 0.20)
    for number in (1, 2, 3, 4):
        assert book.next() == Resume(number, 2)
        book.report(number, 2, 0.20 + number / 100)
    assert isinstance(book.next(), Resume)


def test_who_has_finished_is_compared_but_not_copied() -> None:
    book = Book(PBTScheduler(5, 2))
    book.fill([0.3, 0.5, 0.1, 0.2, 0.4], 1)
    for number in (0, 1):
        assert book.next() == Resume(number, 2)
        assert book.report(number, 2, 0.9) == Verdict(Action.COMPLETE, 2)
    assert book.next() == Resume(2, 2)  # the bottom, but the top is 1, which has nothing left to train
    assert book.next() == Resume(3, 2)


def test_a_sparse_reporter_is_ready_when_it_reports() -> None:
    book = Book(PBTScheduler(2, 5, max_resource=50))
    book.next(free=2)
    assert book.report(0, 7, 0.1) == Verdict()
    assert book.report(0, 14, 0.1) == Verdict(Action.PAUSE, 10)
    assert book.next() == Resume(0, 24)


def test_the_member_that_has_trained_least_goes_on_first() -> None:
    """With fewer slots than members nobody runs ahead: a peer trains the first to the end before the last begins."""
    book = Book(PBTScheduler(3, 10))
    assert book.next() == Launch(1, 1)
    book.report(0, 1, 0.9)
    assert book.next() == Launch(1, 1)
    book.report(1, 1, 0.8)
    assert book.next() == Launch(1, 1)
    book.report(2, 1, 0.8)
    assert book.next() == Resume(0, 2)
    book.report(0, 2, 0.9)
    assert book.next() == Resume(1, 2)


def test_training_ends_after_the_last_interval() -> None:
    book = Book(PBTScheduler(2, 3, max_resource=30))
    book.fill([0.5, 0.5], 10)
    assert book.next() == Resume(0, 20)
    assert book.report(0, 30, 0.5) == Verdict(Action.COMPLETE, 30)
    # It is the worse one, but a copy of who has finished would have nothing to train.
    assert book.next() == Resume(1, 20)
    assert book.report(1, 20, 0.1) == Verdict(Action.PAUSE, 20)
    assert book.next() == Resume(1, 30)
    assert book.report(1, 30, 0.1) == Verdict(Action.COMPLETE, 30)
    assert book.next(active=0) == Done()


def test_the_last_grant_is_cut_to_the_end() -> None:
    book = Book(PBTScheduler(2, 3, max_resource=30))
    book.fill([0.5, 0.4], 10)
    assert book.next() == Resume(0, 20)
    book.report(0, 25, 0.5)
    fork = book.next()
    assert isinstance(fork, Fork)
    assert fork.until == 30


def test_nan_is_replaced_and_never_copied() -> None:
    book = Book(PBTScheduler(5, 10))
    book.fill([math.nan, 0.1, math.nan, 0.2, math.nan], 1)
    decisions = [book.next() for _ in range(5)]
    assert [type(decision) for decision in decisions] == [Resume, Resume, Resume, Resume, Fork]
    assert isinstance(decisions[4], Fork)
    assert (decisions[4].parent, decisions[4].replaces) == (3, 4)


def test_two_objectives_are_ranked_by_non_domination() -> None:
    book = Book(PBTScheduler(4, 10), {"accuracy": "maximize", "latency": "minimize"})
    pairs = [(0.9, 9.0), (0.8, 9.5), (0.5, 1.0), (0.7, 9.1)]
    book.fill([{"accuracy": accuracy, "latency": latency} for accuracy, latency in pairs], 1)
    decisions = [book.next() for _ in range(4)]
    assert [type(decision) for decision in decisions] == [Resume, Resume, Resume, Fork]
    assert isinstance(decisions[3], Fork)
    assert decisions[3].replaces == 3  # 1 and 3 are one front: the latter by number
    assert decisions[3].parent == 0


def test_t_test_needs_evidence() -> None:
    def decided(own: list[float], other: list[float]) -> Decision:
        book = Book(PBTScheduler(2, 10, max_resource=100, exploit_method="t_test"))
        book.next(free=2)
        for step, (one, two) in enumerate(zip(own, other, strict=True), 1):
            book.report(0, step, one)
            book.report(1, step, two)
        return book.next()

    noisy = [0.0, 9.0] * 5
    assert decided(noisy, [value + 1 for value in noisy]) == Resume(0, 20)
    assert isinstance(decided([0.1 * n for n in range(10)], [0.1 * n + 1 for n in range(10)]), Fork)
    assert decided([0.1 * n + 1 for n in range(10)], [0.1 * n for n in range(10)]) == Resume(0, 20)


def test_the_optimizer_proposes_what_to_explore() -> None:
    book = Book(PBTScheduler(2, 10, explore_method="optimizer"))
    book.fill([0.0, 1.0], 1)
    assert book.next() == Fork(1, None, 2, 0)
    book.report(2, 2, 0.5)
    assert book.next() == Resume(1, 2)
    # It has nothing more to suggest: the member goes on instead.
    book.report(1, 2, 1.0)
    assert book.next(exhausted=True) == Resume(1, 3)
    assert book.next(exhausted=True) == Resume(2, 3)


# The dead


def test_a_dead_member_is_replaced_by_a_fork_of_the_top() -> None:
    book = Book(PBTScheduler(5, 10))
    book.fill([0.1, 0.2, 0.3, 0.4, 0.5], 1)
    for _ in range(3):
        book.next()
    book.scheduler.on_failure(book.trials[2])
    decisions = [book.next() for _ in range(3)]
    assert decisions[:2] == [Resume(3, 2), Resume(4, 2)]
    assert isinstance(decisions[2], Fork)
    assert (decisions[2].parent, decisions[2].replaces) == (4, None)


def test_before_the_first_result_it_is_replaced_by_a_new_configuration() -> None:
    book = Book(PBTScheduler(3, 10))
    book.remaining = 4
    book.next(free=3)
    book.scheduler.on_failure(book.trials[1])
    assert book.next() == Launch(1, 1)
    book.scheduler.on_failure(book.trials[2])
    assert book.next(active=2) == Wait()  # the budget is spent
    book.report(0, 1, 0.5)
    fork = book.next()
    assert isinstance(fork, Fork)
    assert (fork.parent, fork.replaces) == (0, None)
    assert book.next() == Resume(0, 2)


def test_replacements_that_die_at_once_are_not_replaced_before_the_next_result() -> None:
    book = Book(PBTScheduler(3, 10))
    book.fill([0.1, 0.2, 0.3], 1)
    for _ in range(3):
        book.next()
    for _ in range(3):
        book.scheduler.on_failure(book.trials[-1])
        decision = book.next()
    assert decision == Wait()
    book.report(1, 2, 0.4)
    assert isinstance(book.next(), Fork)
    assert book.next() == Resume(1, 3)


def test_when_all_are_dead_it_is_over() -> None:
    book = Book(PBTScheduler(2, 10))
    book.fill([0.1, 0.2], 1)
    for _ in range(2):
        book.next()
    for number in (1, 2):
        book.scheduler.on_failure(book.trials[number])
    assert book.next(active=0) == Done()


def test_who_has_ended_by_itself_is_not_replaced() -> None:
    book = Book(PBTScheduler(2, 10))
    book.fill([0.1, 0.1], 1)
    book.next()
    book.scheduler.on_complete(book.trials[0])
    assert book.next() == Resume(1, 2)
    assert book.next() == Wait()


def test_a_trial_that_is_tried_again_after_its_place_was_taken_just_ends() -> None:
    book = Book(PBTScheduler(2, 5, max_resource=5))
    book.fill([0.1, 0.2], 1)
    book.scheduler.on_failure(book.trials[0])
    assert book.report(0, 2, 0.1) == Verdict()
    assert book.report(0, 5, 0.1) == Verdict(Action.COMPLETE, 5)


# Whole runs


def curve(params: Params, step: int) -> float:
    return float(params["x"]) * step + math.log10(params["lr"])


def lineage(trials: Sequence[Trial]) -> Counter[int]:
    """How many trials descend from each root; fails where the parents are no forest."""
    roots: Counter[int] = Counter()
    for trial in trials:
        node = trial
        while node.parent is not None:
            assert node.parent < node.id
            node = trials[node.parent]
        roots[node.id] += 1
    return roots


@settings(derandomize=True, max_examples=40, deadline=None)
@given(
    members=st.integers(2, 9),
    generations=st.integers(1, 8),
    max_resource=st.sampled_from([None, 5, 24]),
    workers=st.integers(1, 6),
    exploit=st.sampled_from(["truncation", "binary_tournament", "t_test"]),
    explore=st.sampled_from(["perturb", "resample", "optimizer"]),
    stride=st.sampled_from([1, 3]),
    seed=st.integers(0, 5),
    fails=st.booleans(),
)
def test_the_population_is_constant(
    members: int,
    generations: int,
    max_resource: int | None,
    workers: int,
    exploit: Any,
    explore: Any,
    stride: int,
    seed: int,
    fails: bool,
) -> None:
    def failing(params: Params, step: int) -> float:
        if fails and params["x"] > 0.8 and step > 2:
            raise RuntimeError("boom")
        return curve(params, step)

    scheduler = PBTScheduler(
        members, generations, exploit_method=exploit, explore_method=explore, max_resource=max_resource
    )
    run = simulate(RandomOptimizer(SPACE), scheduler, failing, None, workers, seed, steps=1000, stride=stride)
    roots = [trial for trial in run.trials if trial.parent is None]
    assert len(roots) == members
    assert set(lineage(run.trials)) == {trial.id for trial in roots}
    assert all(trial.state.is_finished for trial in run.trials)
    completed = [trial for trial in run.trials if trial.state is TrialState.COMPLETED]
    assert all(trial.resource == scheduler.total for trial in completed)
    for trial in run.trials:
        SPACE.validate(trial.params)
    if not fails:
        assert len(completed) == members


def test_a_thousand_steps_are_simulated_twice_alike() -> None:
    def run() -> Simulation:
        return simulate(RandomOptimizer(SPACE), PBTScheduler(20, 50), curve, None, 4, 3, steps=1000)

    first = run()
    assert 900 < sum(len(trial.reports) for trial in first.trials) <= 1100
    assert first.table() == run().table()
    best = max(first.trials, key=lambda trial: trial.score if isinstance(trial.score, float) else -math.inf)
    assert best.params["x"] > 0.9


def test_it_is_better_than_random_search_of_the_same_cost() -> None:
    """The best rate falls with the step: no constant one is good throughout."""

    def gain(params: Params, step: int) -> float:
        return -abs(math.log10(params["lr"]) - math.log10(0.5 / step))

    def drifting(seed: int) -> tuple[float, float]:
        """The mean gain along the best lineage, and that of the best constant rate among as many."""
        space = {"lr": LogUniform(1e-4, 1.0)}
        run = simulate(RandomOptimizer(space), PBTScheduler(10, 30), gain, None, 4, seed, steps=1000)
        last = [trial for trial in run.trials if trial.state is TrialState.COMPLETED]
        totals = [_sum_of_lineage(run.trials, trial) for trial in last]
        roots = [trial.params for trial in run.trials if trial.parent is None]
        return max(totals), max(sum(gain(params, step) for step in range(1, 31)) for params in roots)

    pairs = [drifting(seed) for seed in range(10)]
    assert sum(population for population, _ in pairs) > sum(constant for _, constant in pairs)


def _sum_of_lineage(trials: Sequence[Trial], trial: Trial) -> float:
    """The sum of the scores at each step, of the trial or of the ancestor that had done it."""
    total, node, before = 0.0, trial, 10**9
    while True:
        total += sum(report.metrics["score"] for report in node.reports if report.step < before)
        before = node.reports[0].step
        if node.parent is None:
            return total
        node = trials[node.parent]


@pytest.mark.parametrize("kind", [PBTScheduler, PB2Scheduler])
def test_state_survives_json_at_every_event(kind: type[PBTScheduler]) -> None:
    def fresh() -> Simulation:
        def failing(params: Params, step: int) -> float:
            if params["x"] > 0.9 and step == 3:
                raise RuntimeError("boom")
            return curve(params, step)

        return Simulation(RandomOptimizer(SPACE), kind(5, 5), failing, None, 2, 1, steps=1000)

    whole = fresh().run()
    assert any(trial.parent is not None for trial in whole.trials)
    broken = fresh()
    while broken.step():
        state = json.loads(json.dumps(broken.to_json()))
        broken = fresh().load_json(state)
        assert json.loads(json.dumps(broken.to_json())) == state
    assert broken.events == whole.events
    assert broken.table() == whole.table()


@pytest.mark.parametrize("kind", [PBTScheduler, PB2Scheduler])
def test_waiting_changes_nothing_and_seeds_matter(kind: type[PBTScheduler]) -> None:
    seen = []
    for seed in (1, 1, 2):
        scheduler = kind(4, 4, seed=seed)
        book = Book(scheduler)
        rng = random.Random(0)
        found: list[Decision] = []
        book.fill([rng.random() for _ in range(4)], 1)
        for step in (2, 3, 4):
            decisions = [book.next() for _ in range(4)]
            before = json.dumps(scheduler.state_dict())
            assert book.next() == Wait()
            assert json.dumps(scheduler.state_dict()) == before
            found += decisions
            for decision in decisions:
                number = decision.trial if isinstance(decision, Resume) else len(book.trials) - 1
                assert isinstance(decision, Resume | Fork)
                book.report(number, step, rng.random())
        seen.append(found)
    assert seen[0] == seen[1]
    assert seen[0] != seen[2]


def test_a_custom_scheduler_s_bind_still_works() -> None:
    class Own(PBTScheduler):
        def bind(self, *, objectives: Objectives, seed: int) -> None:
            super().bind(objectives=objectives, seed=seed + 1)

    run = simulate(RandomOptimizer(SPACE), Own(2, 2), curve, None, 1, 7, steps=10)
    assert run.scheduler.seed == 8
