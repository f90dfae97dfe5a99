import json

import pytest

from metta.sweep.errors import UsageError
from metta.sweep.optimizers import RandomOptimizer, Restored
from metta.sweep.space import Choice, Integer, Uniform

SPACE = {"x": Uniform(0, 1), "kind": Choice(["a", "b"]), "a.n": Integer(1, 3), "fixed": "v"}


def params(optimizer: RandomOptimizer, n: int) -> list[dict[str, object]]:
    return [dict(trial.params) for trial in optimizer.suggest(n)]


def test_the_stream_depends_on_the_seed_only() -> None:
    one_by_one, at_once = RandomOptimizer(SPACE, seed=3), RandomOptimizer(SPACE, seed=3)
    assert [params(one_by_one, 1)[0] for _ in range(8)] == params(at_once, 8)
    assert len({trial.params["x"] for trial in RandomOptimizer(SPACE, seed=3).suggest(8)}) == 8
    assert params(RandomOptimizer(SPACE, seed=4), 8) != params(RandomOptimizer(SPACE, seed=3), 8)
    assert params(RandomOptimizer(SPACE), 3) != params(RandomOptimizer(SPACE), 3)


def test_state_and_copy() -> None:
    optimizer = RandomOptimizer(SPACE, seed=3)
    optimizer.suggest(5)
    state = json.loads(json.dumps(optimizer.state_dict()))
    again = RandomOptimizer(SPACE)
    assert again.load_state_dict(state) is Restored.STATE
    expected = params(optimizer.copy(), 4)
    assert params(again, 4) == expected
    assert params(optimizer, 4) == expected


def test_initial_params_go_first() -> None:
    optimizer = RandomOptimizer(SPACE, seed=3, initial_params=[{"x": 0.25, "kind": "b"}, {"kind": "a", "n": 2}])
    first, second, third = params(optimizer, 3)
    assert first == {"x": 0.25, "kind": "b", "fixed": "v"}
    assert second == {"x": 0.5, "kind": "a", "a.n": 2, "fixed": "v"}
    assert third == params(RandomOptimizer(SPACE, seed=3), 3)[2]


def test_bind_fills_in_what_was_left_open() -> None:
    optimizer = RandomOptimizer()
    with pytest.raises(UsageError, match=r"RandomOptimizer has no search space: write RandomOptimizer\(search_space="):
        optimizer.suggest(1)
    optimizer.bind(search_space=SPACE, goal="minimize", seed=3)
    assert params(optimizer, 2) == params(RandomOptimizer(SPACE, seed=3), 2)
    assert optimizer.objectives.directions == ("minimize",)
    optimizer.bind(search_space={"y": 1}, goal="minimize", seed=9)
    assert optimizer.seed == 3
    with pytest.raises(UsageError, match="was given goal='minimize' and the experiment goal='maximize'"):
        optimizer.bind(goal="maximize")


def test_a_wrong_goal_or_space_is_an_error_at_once() -> None:
    with pytest.raises(UsageError, match="did you mean 'maximize'"):
        RandomOptimizer(SPACE, goal="max")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="the search space is empty"):
        RandomOptimizer({})
