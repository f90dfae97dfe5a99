"""Recording a constructor's arguments: with classes that do not know of it."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Mapping
from typing import Any, Self

import pytest

from metta.sweep.errors import UsageError
from metta.sweep.optimizers import BayesianOptimizer, Optimizer, RandomOptimizer
from metta.sweep.schedulers import ASHAScheduler, Scheduler
from metta.sweep.space import SearchSpace, Uniform
from metta.sweep.trial import Trial
from metta.sweep.tunable import Tunable

SPACE = {"x": Uniform(0, 1)}


class Plain(Scheduler):
    """Does not call the constructor of its base, and has a required positional argument."""

    def __init__(self, first: int, /, second: int = 2, *rest: int, third: int = 3, **more: int) -> None:
        self.seen = (first, second, rest, third, more)


class Forgetful(Scheduler):
    """Chooses what is pickled; the record is not in it."""

    def __init__(self, width: int, depth: int = 1) -> None:
        self.width, self.depth = width, depth

    def __getstate__(self) -> dict[str, Any]:
        return {"width": self.width}

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        self.width, self.depth = state["width"], 0


class Updating(Scheduler):
    """Expects its attributes as the usual state is: a dictionary."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.width = width

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        vars(self).update(state)


class Slotted(Scheduler):
    __slots__ = ("width",)

    def __init__(self, width: int) -> None:
        super().__init__(max_parallel=width)
        self.width = width


class Reduced(Scheduler):
    def __init__(self, width: int, depth: int = 1) -> None:
        self.width, self.depth = width, depth

    def __reduce__(self) -> tuple[Any, ...]:
        return Reduced, (self.width,)


class Passing(Scheduler):
    """Has a `__new__` of its own."""

    made = 0

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        cls.made += 1
        return super().__new__(cls, *args, **kwargs)

    def __init__(self, width: int) -> None:
        self.width = width


class Wrapping(Optimizer):
    """Asks another optimizer; one it has to copy itself, if at all."""

    def __init__(self, inner: Optimizer, data: object = None) -> None:
        super().__init__(inner.search_space)
        self.inner = inner
        self.size = 0

    def suggest(self, n: int) -> list[Trial]:
        return self.inner.suggest(n)

    def observe(self, trial: Trial, result: Any) -> None:
        self.inner.observe(trial, result)


def copies(original: Any) -> list[Any]:
    return [original, copy.copy(original), copy.deepcopy(original), pickle.loads(pickle.dumps(original))]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, (1, 2, (), 3, {})),
        ({"first": 9}, (9, 2, (), 3, {})),
        ({"second": 8, "third": 7}, (1, 8, (), 7, {})),
        ({"other": 6}, (1, 2, (), 3, {"other": 6})),
    ],
)
def test_arguments_change_by_name_whatever_their_kind(changes: dict[str, int], expected: tuple[Any, ...]) -> None:
    for scheduler in copies(Plain(1)):
        assert scheduler.with_arguments(**changes).seen == expected


def test_arguments_given_by_position_and_in_excess_stay() -> None:
    for scheduler in copies(Plain(1, 5, 6, 7, third=8, a=9)):
        assert scheduler.with_arguments().seen == (1, 5, (6, 7), 8, {"a": 9})
        assert scheduler.with_arguments(second=0, b=1).seen == (1, 0, (6, 7), 8, {"a": 9, "b": 1})
        assert scheduler.with_arguments(a=1, rest=2).seen == (1, 5, (6, 7), 8, {"a": 1, "rest": 2})


@pytest.mark.parametrize(
    ("scheduler", "expected"),
    [
        (Updating(3), {"width": 3}),
        (Slotted(3), {"width": 3, "max_parallel": 3}),
        (Passing(3), {"width": 3}),
    ],
)
def test_copies_and_pickles_are_made_as_before_and_know_their_arguments(
    scheduler: Scheduler, expected: dict[str, int]
) -> None:
    for made in copies(scheduler):
        for again in (made, made.with_arguments()):
            assert {name: getattr(again, name) for name in expected} == expected
        assert made.with_arguments(width=4).width == 4
        assert not [name for name in vars(made) if "arguments" in name]


def test_the_record_does_not_depend_on_what_a_class_pickles() -> None:
    for made in copies(Forgetful(3, depth=5))[1:]:
        assert (made.width, made.depth) == (3, 0)
        assert (made.with_arguments().width, made.with_arguments().depth) == (3, 5)


def test_a_class_that_is_made_by_its_constructor_is_recorded_again() -> None:
    again = pickle.loads(pickle.dumps(Reduced(3, depth=5)))
    assert (again.depth, again.with_arguments(width=4).width, again.with_arguments().depth) == (1, 4, 1)


def test_changes_can_be_changed_again() -> None:
    first = BayesianOptimizer(SPACE, "ucb", exploration=1.0)
    second = first.with_arguments(acquisition="ei").with_arguments(initial_samples=3)
    assert (second.acquisition, second.exploration, second.initial_samples) == ("ei", 1.0, 3)
    assert second.search_space == first.search_space
    assert (first.acquisition, first.initial_samples) == ("ucb", None)


def test_what_was_observed_bound_or_set_stays_behind() -> None:
    optimizer = BayesianOptimizer(SPACE, goal="minimize", initial_samples=1)
    optimizer.bind(seed=5)
    for trial in optimizer.suggest(3):
        optimizer.observe(trial, 1.0)
    optimizer.acquisition = "ucb"
    again = optimizer.with_arguments()
    assert (again.seed, again.goal, again.acquisition) == (None, "minimize", "ei")
    fresh = BayesianOptimizer(SPACE, goal="minimize", initial_samples=1)
    assert again.state_dict() == fresh.state_dict() != optimizer.state_dict()


def test_an_optimizer_among_the_arguments_is_made_anew() -> None:
    inner = RandomOptimizer(SPACE, seed=1)
    first = inner.suggest(1)
    again = Wrapping(inner).with_arguments()
    assert again.inner is not inner
    assert [trial.params for trial in again.suggest(1)] == [trial.params for trial in first]


class Big:
    def __deepcopy__(self, memo: dict[int, Any]) -> Big:
        raise AssertionError("copied")


def test_a_copy_shares_what_the_constructor_was_given() -> None:
    data = Big()
    made = Wrapping(RandomOptimizer(SPACE), data).copy()
    assert made.with_arguments(inner=RandomOptimizer(SPACE, seed=3)).inner.seed == 3


@pytest.mark.parametrize(
    ("part", "name", "message"),
    [
        (BayesianOptimizer(SPACE), "aquisition", "BayesianOptimizer has no argument 'aquisition': did you mean 'acqu"),
        (Scheduler(), "zzz", "Scheduler has no argument 'zzz': it takes max_resource, max_parallel, seed"),
    ],
)
def test_an_unknown_argument_is_an_error_that_names_the_nearest(part: Tunable, name: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        part.with_arguments(**{name: 1})


def test_a_name_can_be_checked_without_a_value() -> None:
    assert BayesianOptimizer(SPACE).check_argument("acquisition") is None
    assert Plain(1).check_argument("first") is None
    assert Plain(1).check_argument("other") == Plain(1).check_argument("rest") == "more"
    with pytest.raises(UsageError, match="did you mean 'seed'"):
        Scheduler().check_argument("sede")


def test_the_constructor_checks_what_is_changed() -> None:
    with pytest.raises(UsageError, match="max_resource=0: expected a whole number"):
        Scheduler().with_arguments(max_resource=0)


def test_an_abstract_class_stays_abstract() -> None:
    with pytest.raises(TypeError, match="abstract"):
        Optimizer()  # type: ignore[abstract]


def test_nothing_is_tunable_unless_a_class_says_so() -> None:
    assert Plain(1).tunables() == {}


class Unprintable:
    def __repr__(self) -> str:
        raise RuntimeError("no text")


LONG_SPACE = {f"t.p{number}": Uniform(0, 1) for number in range(9)}


@pytest.mark.parametrize(
    ("part", "text"),
    [
        (Scheduler(), "Scheduler()"),
        (ASHAScheduler(max_resource=9), "ASHAScheduler(max_resource=9)"),
        (ASHAScheduler(9).with_arguments(mode="stopping"), "ASHAScheduler(max_epochs=9, mode='stopping')"),
        (RandomOptimizer(SPACE, seed=0, goal=None), "RandomOptimizer(search_space={'x': Uniform(0, 1)}, seed=0)"),
        (
            RandomOptimizer(SearchSpace(LONG_SPACE)),
            "RandomOptimizer(search_space=SearchSpace({'t.p0': ..., 't.p1': ..., 't.p2': ..., 't.p3': ..., ...}))",
        ),
        (Plain(1, third=5, other=6), "Plain(1, third=5, other=6)"),
        (
            Wrapping(RandomOptimizer(SPACE), data=len),
            "Wrapping(inner=RandomOptimizer(se...x': Uniform(0, 1)}), data=<built-in function len>)",
        ),
        (
            Wrapping(RandomOptimizer(SPACE), data=copies),
            "Wrapping(inner=RandomOptimizer(se...x': Uniform(0, 1)}), data=copies)",
        ),
    ],
)
def test_it_prints_as_the_call_that_makes_it(part: Tunable, text: str) -> None:
    assert [repr(each) for each in copies(part)] == [text] * 4


def test_printing_never_fails_and_stays_short() -> None:
    assert "Unprintable" in repr(Wrapping(RandomOptimizer(SPACE), data=Unprintable()))
    assert len(repr(Wrapping(RandomOptimizer(SPACE), data={"rows": [["x" * 1000] * 1000] * 1000}))) < 250
    assert "RandomOptimizer" in repr(object.__new__(RandomOptimizer))
