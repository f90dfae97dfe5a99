"""The contract of an optimizer as a suite of tests: subclass it, say how to make one, and let pytest find it."""

from __future__ import annotations

import json
import random
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, ClassVar

from metta.sweep.errors import UsageError
from metta.sweep.goal import Goal, Score
from metta.sweep.optimizers.base import Optimizer, Restored
from metta.sweep.schedulers.asha import ASHAScheduler
from metta.sweep.space import Choice, Integer, LogUniform, PowerOfTwo, SearchSpace, Uniform, divides
from metta.sweep.testing.curves import bowl, power_law
from metta.sweep.testing.simulate import Simulation
from metta.sweep.trial import Failure, FailureReason, Report, Result, Trial, TrialState

PLAIN = SearchSpace(
    {
        "lr": LogUniform(1e-4, 1e-1),
        "dropout": Uniform(0, 0.5),
        "width": Integer(4, 64),
        "batch": PowerOfTwo(8, 128),
        "activation": Choice(["relu", "tanh", "gelu"]),
    }
)
CONDITIONAL = SearchSpace(
    {
        "kind": Choice(["cnn", "mlp"]),
        "cnn.layers": Integer(1, 5),
        "cnn.norm": Choice(["batch", "none"]),
        "momentum": Uniform(0, 1).when("cnn.norm", "batch"),
        "mlp.width": PowerOfTwo(8, 64),
        "lr": LogUniform(1e-4, 1e-1),
        "epochs": 7,
    }
)
CONSTRAINED = SearchSpace({"x": Uniform(0, 1), "y": Uniform(0, 1), "mini": Integer(1, 4), "batch": PowerOfTwo(2, 8)})
CONSTRAINED = CONSTRAINED.require(divides("mini", "batch"), lambda params: params["x"] + params["y"] <= 1.5)
TWO_OBJECTIVES: Goal = {"accuracy": "maximize", "latency": "minimize"}


@dataclass(frozen=True, slots=True)
class _Ask:
    """suggest(count)."""

    count: int


@dataclass(frozen=True, slots=True)
class _Tell:
    """observe(trial, result): what became of a trial at a resource (0: to the end)."""

    trial: int
    outcome: str
    state: TrialState
    resource: int = 0


_Event = _Ask | _Tell


class _Search:
    """One search, event by event, as a driver makes the calls."""

    def __init__(self, optimizer: Optimizer, trials: Sequence[Trial] = ()) -> None:
        self.optimizer = optimizer
        self.space = optimizer.require_space()
        self.quality = bowl(self.space)
        self.trials = list(trials)

    def play(self, events: Sequence[_Event]) -> list[dict[str, Any]]:
        """The configurations of all trials after these events."""
        for event in events:
            if isinstance(event, _Ask):
                self.ask(event.count)
            elif event.trial < len(self.trials):
                self.tell(event)
        return [dict(trial.params) for trial in self.trials]

    def ask(self, count: int) -> list[Trial]:
        new = self.optimizer.suggest(count)
        who = f"{type(self.optimizer).__name__}.suggest({count})"
        assert isinstance(new, list), f"{who} returned {type(new).__name__}: expected a list"
        assert len(new) <= count, f"{who} returned {len(new)} trials"
        for trial in new:
            assert isinstance(trial, Trial), f"{who} returned {trial!r}: expected Trial({{...}})"
            assert not any(trial is other for other in self.trials), f"{who} returned the same Trial object twice"
            try:
                self.space.validate(trial.params)
            except UsageError as error:
                raise AssertionError(f"{who}: {dict(trial.params)!r} is not of the search space: {error}") from error
            trial.id = len(self.trials)
            self.trials.append(trial)
        return new

    def tell(self, event: _Tell) -> None:
        trial = self.trials[event.trial]
        trial.state, trial.resource = event.state, event.resource
        failure = Failure(FailureReason.USER_ERROR, "boom") if event.outcome == "failed" else None
        if failure is None:
            trial.score = self.score(trial, event)
            if event.resource > trial.step:
                values = trial.score if isinstance(trial.score, Mapping) else {"score": trial.score}
                trial.add_report(Report(event.resource, values))
        trial.failure, trial.cost = failure, 1.0 + event.resource
        self.optimizer.observe(trial, Result(None if failure else trial.score, trial.cost, failure))

    def score(self, trial: Trial, event: _Tell) -> Score:
        quality = float(event.outcome) if event.outcome in ("nan", "inf", "-inf") else self.quality(trial.params)
        quality -= 1 / (1 + event.resource)
        if self.optimizer.objectives.is_single:
            return quality
        return {"accuracy": quality, "latency": abs(self.quality(trial.params) - 0.5)}


def _to_the_end(number: int) -> list[_Tell]:
    """What is told of a trial that a scheduler lets run: most are good, some fail, some diverge."""
    outcomes = ("good", "good", "failed", "good", "nan", "good", "inf")
    outcome = outcomes[number % len(outcomes)]
    return [_Tell(number, outcome, TrialState.FAILED if outcome == "failed" else TrialState.COMPLETED)]


def _by_rungs(number: int) -> list[_Tell]:
    """What is told of a trial under a scheduler with rungs at 1, 3 and 9."""
    paused = [_Tell(number, "good", TrialState.PAUSED, resource) for resource in (1, 3)]
    match number % 4:
        case 0:
            return [*paused, _Tell(number, "good", TrialState.COMPLETED, 9)]
        case 1:  # it stays where it is until the sweep is over: its last result once more
            return [paused[0], _Tell(number, "good", TrialState.PRUNED, 1)]
        case 2:
            return [paused[0], _Tell(number, "failed", TrialState.FAILED, 1)]
    return [_Tell(number, "nan", TrialState.PRUNED, 1)]


def _events(trials: int, rungs: bool = False) -> list[_Event]:
    """A search of `trials` trials in batches of up to three; results come late and out of order."""
    tells = _by_rungs if rungs else _to_the_end
    events: list[_Event] = [_Ask(1), *tells(0)]
    late: list[_Tell] = []
    for first in range(1, trials, 3):
        batch = range(first, min(first + 3, trials))
        events += [_Ask(len(batch)), *late]
        late = tells(batch[0])
        events += [told for number in reversed(batch[1:]) for told in tells(number)]
    return [*events, *late, _Ask(1)]


class OptimizerConformance:
    """Tests that hold for every optimizer. For one of your own::

        class TestMine(OptimizerConformance):
            def make(self) -> Optimizer:
                return MyOptimizer(population=10)

    The suite binds a search space, a goal and a seed, so `make` leaves them open. It needs no pytest: the tests are
    plain methods with plain asserts.

    Attributes:
        trials: of a search. Fewer for an optimizer that computes long; more to reach the model of one that starts with
            random configurations.
        restore_every: the state is brought back after every so many events; raise it for an optimizer whose
            `load_state_dict` computes long.
        several_objectives: set it to False for one that takes a single objective only.
        conditional: set it to False for one that cannot search a space with conditions.
        constraints: set it to False for one that cannot search a space with constraints.
    """

    trials: ClassVar[int] = 12
    restore_every: ClassVar[int] = 1
    several_objectives: ClassVar[bool] = True
    conditional: ClassVar[bool] = True
    constraints: ClassVar[bool] = True

    def make(self) -> Optimizer:
        """A new optimizer, the same one each time, without search space, goal and seed."""
        raise TypeError(f"{type(self).__name__} has to say how an optimizer is made: write make(self)")

    # Suggestions

    def test_it_suggests_configurations_of_the_space(self) -> None:
        """Complete, inside their bounds, without inactive parameters, and within the constraints."""
        for space in (PLAIN, *self._constrained(), *self._conditional()):
            search = _Search(self._bound(space))
            search.play(_events(self.trials))
            assert search.trials, "it suggested nothing at all"

    def test_the_same_seed_and_calls_give_the_same_suggestions(self) -> None:
        """Whatever the state of the global generators is."""
        for space in self._conditional() or [PLAIN]:
            events = _events(self.trials)
            with _global_generators(1):
                first = _Search(self._bound(space)).play(events)
            with _global_generators(2):
                second = _Search(self._bound(space)).play(events)
            _same(second, first, "the same calls with the same seed were answered differently")

    def test_several_objectives(self) -> None:
        """Scores are mappings; a NaN in one of them makes the result unusable."""
        if self.several_objectives:
            search = _Search(self._bound(PLAIN, goal=TWO_OBJECTIVES))
            first = search.play(_events(self.trials))
            again = _Search(self._bound(PLAIN, goal=TWO_OBJECTIVES)).play(_events(self.trials))
            _same(again, first, "the same calls with the same seed were answered differently")

    def test_it_ends_cleanly_where_nothing_is_left(self) -> None:
        """A space of two configurations, asked for many more: fewer than asked means none at the next call."""
        search = _Search(self._bound(SearchSpace({"kind": Choice(["a", "b"]), "fixed": 1})))
        for number in range(self.trials):
            if not search.ask(1):
                assert search.optimizer.suggest(2) == [], "it suggested nothing, and then something, unasked"
                break
            search.tell(_Tell(number, "good", TrialState.COMPLETED))
        assert search.trials, "it suggested nothing at all"

    def test_without_a_space_it_says_so(self) -> None:
        """As a UsageError, before anything runs."""
        optimizer = self.make()
        if optimizer.search_space is None:
            optimizer.bind(goal="maximize", seed=1)
            try:
                optimizer.suggest(1)
            except UsageError:
                return
            raise AssertionError("without a search space `suggest` should raise a UsageError: call require_space()")

    # Results

    def test_a_search_where_everything_fails_goes_on(self) -> None:
        """Every trial fails, diverges, or is worse than any number."""
        for outcome, state in (
            ("failed", TrialState.FAILED),
            ("nan", TrialState.COMPLETED),
            ("-inf", TrialState.PRUNED),
        ):
            search = _Search(self._bound(PLAIN))
            for number in range(self.trials):
                if search.ask(1):
                    search.tell(_Tell(number, outcome, state))

    def test_equal_scores(self) -> None:
        """Nothing to learn, and nothing to divide by."""
        optimizer = self._bound(PLAIN)
        search = _Search(optimizer)
        for _ in range(self.trials):
            for trial in search.ask(1):
                trial.state = TrialState.COMPLETED
                optimizer.observe(trial, Result(1.0, 1.0))

    def test_a_number_is_as_good_as_a_result(self) -> None:
        """`observe(trial, 0.9)` is `observe(trial, Result(0.9))`."""
        found = []
        for wrap in (float, Result):
            optimizer = self._bound(PLAIN)
            search = _Search(optimizer)
            for _ in range(self.trials):
                for trial in search.ask(1):
                    trial.state = TrialState.COMPLETED
                    optimizer.observe(trial, wrap(search.quality(trial.params)))
            found.append([dict(trial.params) for trial in search.trials])
        _same(found[1], found[0], "a number and a Result of it led to different suggestions")

    def test_trials_of_somebody_else(self) -> None:
        """Those of an earlier sweep: its tags mean nothing here, and its space may have been another."""
        default = dict(PLAIN.complete({}))
        less = {name: value for name, value in default.items() if name != "width"}
        others: list[tuple[dict[str, Any], Any]] = [
            (default, 0),  # our own first trial may have this tag
            ({**default, "lr": 1e-3}, None),  # a scheduler's fork
            ({**less, "unheard_of": 1}, "theirs"),
            ({**default, "lr": 1e9}, {"of": "another"}),
            (default, 10**6),
        ]
        for prepared in (0, 4):
            search = _Search(self._bound(PLAIN))
            search.play(_events(prepared) if prepared else [])
            for number, (params, tag) in enumerate(others):
                foreign = Trial(params, 70 + number, tag=tag)
                foreign.state, foreign.score = TrialState.COMPLETED, 0.1 * number
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")  # it may say what it did not use
                    search.optimizer.observe(foreign, Result(foreign.score, 1.0))
            for _ in range(3):
                search.ask(1)

    # Copies and states

    def test_a_copy_is_independent(self) -> None:
        """A run works on a copy; what happens there is not felt here."""
        events = _events(self.trials)
        middle = len(events) // 2
        whole = _Search(self._bound(PLAIN)).play(events)
        original = _Search(self._bound(PLAIN))
        original.play(events[:middle])
        copied = _Search(original.optimizer.copy(), _copies(original.trials))
        _same(copied.play(events[middle:]), whole, "a copy went on differently from the original")
        _same(original.play(events[middle:]), whole, "what happened to a copy was felt by the original")

    def test_the_state_is_exact_between_any_two_events(self) -> None:
        """Through JSON into a fresh optimizer, which goes on as if nothing had happened.

        Where `load_state_dict` answers OBSERVATIONS other suggestions are allowed, of the same space.
        """
        self._check_states(PLAIN, _events(self.trials))
        for space in self._conditional() or self._constrained() or [PLAIN]:
            self._check_states(space, _events(self.trials, rungs=True))

    def test_a_sweep_goes_on_from_json(self) -> None:
        """A simulated sweep under ASHA, stopped in the middle and brought back."""
        whole = self._simulation().run()
        first = self._simulation()
        for _ in range(len(whole.events) // 2):
            first.step()
        state = json.loads(json.dumps(first.to_json(), allow_nan=False))
        second = self._simulation()
        exact = second.optimizer.copy().load_state_dict(state["optimizer"]) is not Restored.OBSERVATIONS
        second.load_json(state).run()
        assert all(trial.state.is_finished for trial in second.trials), "some trials never ended"
        if exact:
            assert second.table() == whole.table(), "a sweep that was brought back differs from one that ran through"

    def _check_states(self, space: SearchSpace, events: Sequence[_Event]) -> None:
        search = _Search(self._bound(space))
        states = [_state(search)]
        for event in events:
            search.play([event])
            states.append(_state(search))
        whole = [dict(trial.params) for trial in search.trials]
        _same(whole, _Search(self._bound(space)).play(events), "asking for its state changed the optimizer")
        for done in range(len(events), -1, -self.restore_every):
            text, trials = states[done]
            optimizer = self._bound(space)
            restored = optimizer.load_state_dict(json.loads(text))
            assert isinstance(restored, Restored), f"load_state_dict returned {restored!r}: expected one of Restored"
            found = _Search(optimizer, [Trial.from_json(json.loads(trial)) for trial in trials]).play(events[done:])
            if restored is not Restored.OBSERVATIONS:
                _same(
                    found,
                    whole,
                    f"brought back after event {done} of {len(events)} ({restored}), it went on differently",
                )

    def _simulation(self) -> Simulation:
        quality = bowl(PLAIN)
        scheduler = ASHAScheduler(max_epochs=9, grace_period=1)
        return Simulation(self._bound(PLAIN), scheduler, power_law(quality), self.trials, workers=3, seed=3, steps=9)

    def _constrained(self) -> list[SearchSpace]:
        return [CONSTRAINED] if self.constraints else []

    def _conditional(self) -> list[SearchSpace]:
        return [CONDITIONAL] if self.conditional else []

    def _bound(self, space: SearchSpace, goal: Goal = "maximize") -> Optimizer:
        optimizer = self.make()
        optimizer.bind(search_space=space, goal=goal, seed=3)
        return optimizer


def _state(search: _Search) -> tuple[str, list[str]]:
    """The states of the optimizer and of the trials as JSON texts."""
    try:
        text = json.dumps(search.optimizer.state_dict(), allow_nan=False)
    except (TypeError, ValueError) as error:
        raise AssertionError(f"state_dict has to be of JSON values, without NaN: {error}") from error
    return text, [json.dumps(trial.to_json()) for trial in search.trials]


def _copies(trials: Sequence[Trial]) -> list[Trial]:
    return [Trial.from_json(trial.to_json()) for trial in trials]


def _same(found: Sequence[Mapping[str, Any]], expected: Sequence[Mapping[str, Any]], what: str) -> None:
    for number, (one, other) in enumerate(zip(found, expected, strict=False)):
        assert one == other, f"{what}: trial {number} is {one!r} instead of {other!r}"
    assert len(found) == len(expected), f"{what}: {len(found)} trials instead of {len(expected)}"


@contextmanager
def _global_generators(seed: int) -> Iterator[None]:
    """Another state of the global generators of `random` and numpy, put back afterwards."""
    import numpy as np

    python, numpy = random.getstate(), np.random.get_state()
    random.seed(seed)
    np.random.seed(seed)
    try:
        yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)
