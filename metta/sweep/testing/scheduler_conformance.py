"""The contract of a scheduler as a suite of tests: subclass it, say how to make one, and let pytest find it."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any, ClassVar

from metta.sweep.goal import Goal
from metta.sweep.optimizers.base import Optimizer, Restored
from metta.sweep.schedulers.base import (
    Action,
    Decision,
    Done,
    Fork,
    Launch,
    Prune,
    Resume,
    Scheduler,
    Verdict,
    View,
    Wait,
)
from metta.sweep.space import Choice, Integer, LogUniform, SearchSpace, Uniform
from metta.sweep.testing.curves import bowl, crossing, failing, noisy, power_law
from metta.sweep.testing.simulate import Curve, Simulation
from metta.sweep.trial import Params, Report, Result, Trial, TrialState

SPACE = SearchSpace(
    {
        "lr": LogUniform(1e-4, 1e-1),
        "momentum": Uniform(0, 1),
        "kind": Choice(["cnn", "mlp"]),
        "cnn.layers": Integer(1, 5),
    }
)
QUALITY = bowl(SPACE)
LEARNING = power_law(QUALITY)

MAX_STEPS = 50_000
"""Training steps after which a sweep of the suite has no end."""

MAX_DECISIONS = 5_000
"""Decisions in a row, without an event between them, after which there is no end to them."""

WATCHED_CLOSELY = 200
"""Decisions of a sweep around which its state is looked at each time; of later ones every tenth."""


class _Climber(Optimizer):
    """Every other configuration is near the best so far: the order of the results is seen in what it suggests."""

    def __init__(self, most: int | None = None) -> None:
        super().__init__(SPACE)
        self.most = most
        self.count = 0
        self.best: list[Any] = [-math.inf, {}]

    def suggest(self, n: int) -> list[Trial]:
        wanted = n if self.most is None else min(n, self.most - self.count)
        return [self._new() for _ in range(wanted)]

    def _new(self) -> Trial:
        import numpy as np

        self.count += 1
        params = dict(SPACE.sample(np.random.default_rng([self.seed or 0, self.count])))
        if self.count % 2 == 0 and self.best[1]:
            params = {**self.best[1], "momentum": params["momentum"]}
        return Trial(params)

    def observe(self, trial: Trial, result: Any) -> None:
        outcome = Result.of(result)
        if outcome.is_usable and outcome.score is not None:
            score = self.objectives.values(outcome.score)[0]
            if score >= self.best[0]:
                self.best = [score, dict(trial.params)]

    def state_dict(self) -> dict[str, Any]:
        return {"count": self.count, "best": self.best if self.best[1] else None}

    def load_state_dict(self, state: Mapping[str, Any]) -> Restored:
        self.count, self.best = state["count"], state["best"] or self.best
        return Restored.STATE


class SchedulerConformance:
    """Tests that hold for every scheduler. For one of your own::

        class TestMine(SchedulerConformance):
            def make(self) -> Scheduler:
                return MyScheduler(max_resource=27)

    They run simulated sweeps of a learning optimizer, with an umpire that checks every decision and every verdict. The
    suite needs no pytest: the tests are plain methods with plain asserts.

    Attributes:
        budget: configurations of a sweep.
        steps: units of resource after which training ends by itself; give `make` a scheduler that fits.
        restores: how many times, evenly spread over a sweep, the state is brought back.
    """

    budget: ClassVar[int] = 20
    steps: ClassVar[int] = 27
    restores: ClassVar[int] = 5

    def make(self) -> Scheduler:
        """A new scheduler, the same one each time, not bound."""
        raise TypeError(f"{type(self).__name__} has to say how a scheduler is made: write make(self)")

    # Every trial comes to its end

    def test_every_trial_runs_and_ends(self) -> None:
        """Whatever the learning curves are like, and however many workers there are."""
        self._run(LEARNING, workers=1)
        self._run(crossing(QUALITY), workers=3)
        self._run(noisy(LEARNING, 0.3), workers=2 * self.budget)

    def test_the_budget_is_kept(self) -> None:
        """No more configurations are started than it allows; without one there is an end too."""
        for budget in (1, 2, 7):
            self._run(LEARNING, budget=budget)
        natural = self.make().natural_budget
        assert natural is None or natural >= 1, f"natural_budget is {natural!r}: expected None, or 1 or more"
        self._run(LEARNING, budget=None, steps=min(self.steps, 9))

    def test_trials_that_die_never_block_the_others(self) -> None:
        """Some, all at once, all sooner or later."""
        for share, by_step in ((0.4, 9), (1.0, 1), (1.0, 9)):
            run = self._run(failing(LEARNING, share, by_step=by_step))
            if share == 1.0 and by_step == 1:
                assert all(trial.state is TrialState.FAILED for trial in run.trials), "a trial that died is not failed"

    def test_scores_that_are_no_numbers_never_block(self) -> None:
        """Trainings that diverge report NaN from then on."""
        for share in (0.4, 1.0):
            self._run(failing(LEARNING, share, by_step=9, nan=True))

    def test_equal_scores_never_block(self) -> None:
        """Ties everywhere."""
        self._run(lambda params, step: 1.0)

    def test_sparse_reports(self) -> None:
        """A training that reports every fourth step only."""
        self._run(LEARNING, stride=4)

    def test_trainings_that_end_by_themselves_early(self) -> None:
        """Before they have used the resource they were granted."""
        for steps in (1, 5):
            self._run(LEARNING, steps=steps)

    def test_an_optimizer_that_has_no_more_ends_the_sweep(self) -> None:
        """After five configurations."""
        run = self._run(LEARNING, optimizer=_Climber(most=5))
        started = [trial for trial in run.trials if trial.parent is None]
        assert 1 <= len(started) <= 5, f"{len(started)} configurations of 5"

    def test_several_objectives(self) -> None:
        """Scores are mappings."""

        def two(params: Params, step: int) -> Mapping[str, float]:
            return {"accuracy": LEARNING(params, step), "latency": float(params["momentum"])}  # type: ignore[dict-item]

        self._run(two, goal={"accuracy": "maximize", "latency": "minimize"})

    # A function of the calls, and of nothing else

    def test_the_same_sweep_again(self) -> None:
        """The same seed and the same events: the same decisions."""
        first, second = self._run(noisy(LEARNING, 0.3)), self._run(noisy(LEARNING, 0.3))
        _equal(second, first, "the same sweep with the same seed went differently")

    def test_a_copy_is_independent(self) -> None:
        """A run works on a copy; what happens there is not felt here."""
        original = self.make()
        before = _state(original)
        first = self._simulation(LEARNING, scheduler=original.copy()).run()
        assert _state(original) == before, "what happened to a copy was felt by the original"
        _equal(self._simulation(LEARNING, scheduler=original).run(), first, "a copy decided differently")

    def test_the_state_is_exact_between_any_two_events(self) -> None:
        """Through JSON into a fresh scheduler, which goes on as if nothing had happened."""
        for curve in (noisy(LEARNING, 0.3), failing(crossing(QUALITY), 0.3, by_step=9)):
            whole, steps = self._simulation(curve), 0
            while whole.step():
                steps += 1
            chosen = {(number + 1) * steps // (self.restores + 1) for number in range(self.restores)}
            run, states = self._simulation(curve), dict[int, str]()
            for at in range(steps):
                _state(run.scheduler)
                if at in chosen:
                    states[at] = json.dumps(run.to_json())
                run.step()
            _equal(run.run(), whole, "asking for its state changed the scheduler")
            for at, text in states.items():
                again = self._simulation(curve).load_json(json.loads(text)).run()
                _equal(again, whole, f"brought back after event {at} of {steps}, it went on differently")

    def test_a_synchronous_one_does_not_depend_on_the_pace(self) -> None:
        """`synchronous` promises the same trials whichever of them was faster."""
        if self.make().synchronous:
            alone, together = (self._run(LEARNING, workers=workers) for workers in (1, 4))
            first, second = ([dict(trial.params) for trial in run.trials] for run in (alone, together))
            assert first == second, "with four workers the trials are others than with one"

    def _run(
        self,
        curve: Curve,
        *,
        budget: int | None = -1,
        workers: int = 3,
        steps: int | None = None,
        stride: int = 1,
        goal: Goal = "maximize",
        optimizer: Optimizer | None = None,
    ) -> Simulation:
        """A sweep to its end, under the umpire's eyes."""
        run = Simulation(
            optimizer or _Climber(),
            self.make(),
            curve,
            self.budget if budget == -1 else budget,
            workers,
            seed=3,
            goal=goal,
            steps=steps or self.steps,
            stride=stride,
        )
        _watch(run)
        for _ in range(MAX_STEPS):
            if not run.step():
                break
        else:
            raise AssertionError(f"the sweep has no end: {MAX_STEPS} training steps so far")
        _check_ended(run)
        return run

    def _simulation(self, curve: Curve, scheduler: Scheduler | None = None) -> Simulation:
        return Simulation(_Climber(), scheduler or self.make(), curve, self.budget, 3, seed=3, steps=self.steps)


def _check_ended(run: Simulation) -> None:
    assert run.trials, "no trial was started"
    for number, trial in enumerate(run.trials):
        assert trial.id == number, f"trial {trial.id} is at place {number}"
        assert trial.state.is_finished, f"trial {number} is {trial.state.value} at the end of the sweep"
        assert trial.reports or trial.failure, f"trial {number} was started and never ran"
        assert trial.parent is None or 0 <= trial.parent < number, f"trial {number} is a fork of {trial.parent}"
    started = sum(trial.parent is None for trial in run.trials)
    assert run.budget is None or started <= run.budget, f"{started} configurations of {run.budget}"


def _watch(run: Simulation) -> None:
    """Let an umpire check every decision and every verdict of the run's scheduler."""
    scheduler = run.scheduler
    decide, judge = scheduler.next, scheduler.on_report
    in_a_row = decisions = 0

    def next_decision(view: View) -> Decision:
        nonlocal in_a_row, decisions
        in_a_row += 1
        decisions += 1
        assert in_a_row <= MAX_DECISIONS, f"{MAX_DECISIONS} decisions in a row, and still no Wait or Done"
        closely = decisions <= WATCHED_CLOSELY or decisions % 10 == 0
        before = _state(scheduler) if closely else ""
        decision = decide(view)
        _check_decision(decision, view, scheduler)
        if isinstance(decision, Wait | Done):
            in_a_row = 0
        if isinstance(decision, Wait) and closely:
            assert _state(scheduler) == before, "an answer `Wait` changed the scheduler"
            again = decide(view)
            assert again == decision, f"asked again with the same view it decided {again!r} instead of Wait()"
        return decision

    def on_report(trial: Trial, report: Report) -> Verdict:
        granted = trial.resource
        verdict = judge(trial, report)
        _check_verdict(verdict, trial, report, granted if report.step < run.steps else 0)
        return verdict

    scheduler.next = next_decision  # type: ignore[method-assign]
    scheduler.on_report = on_report  # type: ignore[method-assign]


def _check_decision(decision: Decision, view: View, scheduler: Scheduler) -> None:
    states = {trial.id: trial.state for trial in view.trials}

    def is_paused(number: int) -> None:
        state = states.get(number)
        found = "there is no such trial" if state is None else f"it is {state.value}"
        assert state is TrialState.PAUSED, f"{decision!r}: expected the number of a paused trial, but {found}"

    match decision:
        case Launch(count, until):
            assert count >= 1, f"{decision!r} starts nothing"
            assert view.startable(1), f"{decision!r}, although the budget or the optimizer has nothing left"
            assert until is None or until >= 1, f"{decision!r} grants nothing"
        case Resume(number, until):
            is_paused(number)
            step = view.trials[number].step
            assert until is None or until > step, f"{decision!r} grants nothing: the trial is at step {step}"
        case Fork(parent, _, until, replaces):
            assert scheduler.forks, f"{decision!r}: with `forks = False` the donor's state may be gone"
            assert parent in states, f"{decision!r}: there is no trial {parent}"
            step = view.trials[parent].step
            assert until is None or until > step, f"{decision!r} grants nothing: the donor is at step {step}"
            if replaces is not None:
                is_paused(replaces)
        case Prune(numbers):
            assert numbers, f"{decision!r} prunes nothing"
            for number in numbers:
                is_paused(number)
        case Wait():
            assert view.active, "Wait(), although nothing is active that could happen"
        case Done():
            left = [number for number, state in states.items() if not state.is_finished]
            assert not left, f"Done(), although these trials have not ended: {left}"
        case _:
            raise AssertionError(f"{decision!r} is no decision: expected Launch, Resume, Fork, Prune, Wait or Done")


def _check_verdict(verdict: Verdict, trial: Trial, report: Report, granted: int) -> None:
    where = f"{verdict!r} for trial {trial.id} at step {report.step}"
    assert isinstance(verdict, Verdict), f"{where}: expected a Verdict"
    assert verdict.milestone is None or 1 <= verdict.milestone <= report.step, f"{where}: its milestone lies ahead"
    if verdict.until is not None:
        assert verdict.action is Action.CONTINUE, f"{where}: a grant for a trial that stops"
        assert verdict.until > report.step, f"{where}: it grants nothing"
    elif verdict.action is Action.CONTINUE and granted:
        assert report.step < granted, f"{where}: its grant of {granted} is used up, and it gets neither more nor an end"


def _state(scheduler: Scheduler) -> str:
    try:
        return json.dumps(scheduler.state_dict(), allow_nan=False)
    except (TypeError, ValueError) as error:
        raise AssertionError(f"state_dict has to be of JSON values, without NaN: {error}") from error


def _equal(found: Simulation, expected: Simulation, what: str) -> None:
    for one, other in zip(found.events, expected.events, strict=False):
        assert one == other, f"{what}: {one!r} instead of {other!r}"
    assert json.dumps(found.table()) == json.dumps(expected.table()), what
