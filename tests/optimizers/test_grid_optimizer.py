import itertools
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metta.sweep.errors import UsageError
from metta.sweep.optimizers import grid
from metta.sweep.optimizers.base import Restored
from metta.sweep.optimizers.grid import GridOptimizer
from metta.sweep.space import Choice, Integer, LogitNormal, LogUniform, PowerOfTwo, SearchSpace, Uniform, divides
from metta.sweep.trial import Trial

SMALL = {"kind": Choice(["cnn", "mlp"]), "cnn.layers": Integer(1, 3), "lr": LogUniform(1e-4, 1e-2), "seed": 7}


def rest(optimizer: GridOptimizer, batch: int = 100) -> list[dict[str, Any]]:
    """What the optimizer still suggests, asked for in batches."""
    found: list[dict[str, Any]] = []
    while len(new := optimizer.suggest(batch)) == batch:
        found += [dict(trial.params) for trial in new]
    return found + [dict(trial.params) for trial in new]


def test_the_last_parameter_changes_fastest_as_in_scikit_learn() -> None:
    from sklearn.model_selection import ParameterGrid  # type: ignore[import-untyped]

    # Their names are in alphabetical order, because ParameterGrid sorts them.
    values: dict[str, list[Any]] = {"a": [3, 1, 2], "b": ["x", "y"], "c": [True, None]}
    ours = rest(GridOptimizer({name: Choice(choices) for name, choices in values.items()}))
    assert ours == list(ParameterGrid(values))


def test_axes() -> None:
    space = {"w": PowerOfTwo(2, 16), "n": Integer(-1, 2), "lr": LogUniform(1e-4, 1), "d": LogitNormal(0.9, 0.999)}
    found = rest(GridOptimizer(space, 3))
    assert len(found) == 4 * 4 * 3 * 3
    assert list(dict.fromkeys(params["w"] for params in found)) == [2, 4, 8, 16]
    assert list(dict.fromkeys(params["n"] for params in found)) == [-1, 0, 1, 2]
    assert list(dict.fromkeys(params["lr"] for params in found)) == [1e-4, pytest.approx(1e-2), 1]
    assert list(dict.fromkeys(params["d"] for params in found)) == [0.9, pytest.approx(0.99), 0.999]


def test_a_mapping_of_resolutions() -> None:
    space = {"net.lr": LogUniform(1e-4, 1e-2), "x": Uniform(0, 1), "n": Integer(0, 10), "w": PowerOfTwo(1, 1024)}
    found = rest(GridOptimizer(space, {"lr": 2, "n": 3, "w": 1}))
    assert len(found) == 2 * 5 * 3
    assert {params["net.lr"] for params in found} == {1e-4, 1e-2}
    assert [params["n"] for params in found[:3]] == [0, 5, 10]
    assert {params["w"] for params in found} == {32}
    # More values than there are whole numbers are those there are.
    assert [params["n"] for params in rest(GridOptimizer({"n": Integer(0, 3)}, {"n": 50}))] == [0, 1, 2, 3]


def test_conditional_parameters_are_loops_only_where_they_are_active() -> None:
    assert rest(GridOptimizer(SMALL, 2)) == [
        *(
            {"kind": "cnn", "cnn.layers": layers, "lr": lr, "seed": 7}
            for layers, lr in itertools.product((1, 2, 3), (1e-4, 1e-2))
        ),
        *({"kind": "mlp", "lr": lr, "seed": 7} for lr in (1e-4, 1e-2)),
    ]


@st.composite
def spaces(draw: st.DrawFn) -> SearchSpace:
    """A parameter may be active only for some values of an earlier one."""
    parameters: dict[str, Choice[int]] = {}
    for number in range(draw(st.integers(1, 5))):
        choice = Choice(list(range(draw(st.integers(1, 3)))))
        if draw(st.booleans()) and parameters:
            parent = draw(st.sampled_from(sorted(parameters)))
            values = draw(st.lists(st.sampled_from(parameters[parent].values), min_size=1, unique=True))
            choice = choice.when(parent, *values)
        parameters[f"p{number}"] = choice
    return SearchSpace(parameters)


@settings(derandomize=True, max_examples=60, deadline=None)
@given(space=spaces(), batch=st.integers(1, 7))
def test_every_configuration_comes_exactly_once(space: SearchSpace, batch: int) -> None:
    full = itertools.product(*(space[path].values for path in space))  # type: ignore[attr-defined]
    completed = [dict(space.complete(dict(zip(space, values, strict=True)))) for values in full]
    expected = [params for index, params in enumerate(completed) if params not in completed[:index]]
    assert rest(GridOptimizer(space), batch) == expected


def test_it_ends_for_good() -> None:
    optimizer = GridOptimizer({"x": Choice([1, 2, 3])})
    assert len(optimizer.suggest(2)) == 2
    assert len(optimizer.suggest(5)) == 1
    optimizer.observe(Trial({"x": 1}), 1.0)
    assert optimizer.suggest(1) == []


def test_constraints_filter() -> None:
    space = SearchSpace({"batch": PowerOfTwo(4, 16), "mini": Integer(1, 8)}).require(divides("mini", "batch"))
    found = rest(GridOptimizer(space))
    assert found == [
        {"batch": batch, "mini": mini} for batch in (4, 8, 16) for mini in range(1, 9) if batch % mini == 0
    ]


def test_constraints_that_nothing_meets() -> None:
    space = SearchSpace({"x": Integer(1, 10)}).require(lambda params: params["x"] > 10)
    with pytest.raises(UsageError, match="no configuration of the grid meets the constraints: raise the resolution"):
        GridOptimizer(space).suggest(1)
    wide = SearchSpace({"x": Integer(1, 1_000_000)}).require(lambda params: params["x"] > 500_000)
    with pytest.raises(UsageError, match=r"in a row break a constraint; the last was .* declare the parameters of the"):
        GridOptimizer(wide).suggest(1)


def test_only_rejections_in_a_row_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grid, "MAX_REJECTED", 3)
    space = SearchSpace({"x": Integer(1, 30)}).require(lambda params: params["x"] % 3 == 0)
    assert len(rest(GridOptimizer(space))) == 10


def test_initial_params_go_first_and_come_once() -> None:
    initial: list[dict[str, Any]] = [
        {"lr": 0.01, "kind": "mlp"},
        {"layers": 2, "lr": 0.0023},
        {"lr": 0.01, "kind": "mlp"},
    ]
    optimizer = GridOptimizer(SMALL, 2, initial_params=initial)
    found = rest(optimizer, 3)
    assert found[:2] == [
        {"kind": "mlp", "lr": 0.01, "seed": 7},
        {"kind": "cnn", "cnn.layers": 2, "lr": 0.0023, "seed": 7},
    ]
    plain = rest(GridOptimizer(SMALL, 2))
    assert found[2:] == [params for params in plain if params != found[0]]


def test_state_is_exact_between_any_two_suggestions() -> None:
    initial = [{"lr": 0.005}]
    whole = rest(GridOptimizer(SMALL, 3, initial_params=initial))
    for done in range(len(whole) + 1):
        first = GridOptimizer(SMALL, 3, initial_params=initial)
        if done:
            first.suggest(done)
        state = json.loads(json.dumps(first.state_dict()))
        second = GridOptimizer(SMALL, 3, initial_params=initial)
        assert second.load_state_dict(state) is Restored.STATE
        assert rest(first.copy()) == rest(first) == rest(second) == whole[done:]


@pytest.mark.parametrize(
    ("resolution", "message"),
    [
        (0, "the resolution is 0: expected a whole number, at least 1"),
        ({"lr": 2.5}, "the resolution of 'lr' is 2.5"),
        ({"lrr": 2}, "there is no parameter 'lrr': did you mean 'lr'"),
        ({"kind": 2}, r"'kind' is Choice\(\['cnn', 'mlp'\]\): it takes no resolution"),
    ],
)
def test_bad_resolutions(resolution: Any, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        GridOptimizer(SMALL, resolution)


def test_a_resolution_for_a_space_that_comes_later() -> None:
    optimizer = GridOptimizer(resolution={"lrr": 2})
    with pytest.raises(UsageError, match="did you mean 'lr'"):
        optimizer.bind(search_space=SMALL, seed=1, goal="maximize")


def test_a_wide_grid_is_not_written_out() -> None:
    space = {f"x{index}": Integer(1, 10**6) for index in range(6)}
    optimizer = GridOptimizer(space)
    assert [trial.params["x5"] for trial in optimizer.suggest(4)] == [1, 2, 3, 4]
