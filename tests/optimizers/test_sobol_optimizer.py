import json
from typing import Any

import numpy as np
import pytest
from scipy.stats import qmc

from metta.sweep.errors import UsageError
from metta.sweep.optimizers import sobol
from metta.sweep.optimizers.base import Restored
from metta.sweep.optimizers.sobol import BLOCK, SobolOptimizer
from metta.sweep.space import Choice, Integer, LogUniform, PowerOfTwo, SearchSpace, Uniform, divides
from metta.sweep.trial import Params

PLAIN = {"x": Uniform(0, 1), "y": Uniform(-1, 3)}
CONDITIONAL = {"kind": Choice(["cnn", "mlp"]), "cnn.layers": Integer(1, 8), "lr": LogUniform(1e-4, 1), "seed": 7}


def stream(optimizer: SobolOptimizer, n: int) -> list[dict[str, Any]]:
    return [dict(trial.params) for trial in optimizer.suggest(n)]


def test_the_points_are_scipy_s() -> None:
    engine = qmc.Sobol(2, scramble=True, rng=np.random.default_rng(5))
    expected = engine.random(2 * BLOCK)[: BLOCK + 64]
    found = stream(SobolOptimizer(PLAIN, seed=5), BLOCK + 64)
    assert [params["x"] for params in found] == expected[:, 0].tolist()
    assert [params["y"] for params in found] == pytest.approx((-1 + 4 * expected[:, 1]).tolist())


def test_it_covers_the_space_evenly() -> None:
    """A scrambled net in base 2: every elementary interval of area 1 / 256 has one of the first 256 points."""
    points = [(params["x"], (params["y"] + 1) / 4) for params in stream(SobolOptimizer(PLAIN, seed=0), 256)]
    for columns in (1, 4, 16, 64, 256):
        rows = 256 // columns
        cells = {(int(x * columns), int(y * rows)) for x, y in points}
        assert len(cells) == 256


def test_the_stream_depends_on_the_seed_only() -> None:
    one_by_one, at_once = SobolOptimizer(PLAIN, seed=3), SobolOptimizer(PLAIN, seed=3)
    assert [stream(one_by_one, 1)[0] for _ in range(9)] == stream(at_once, 9)
    assert stream(SobolOptimizer(PLAIN, seed=4), 9) != stream(SobolOptimizer(PLAIN, seed=3), 9)
    assert stream(SobolOptimizer(PLAIN), 3) != stream(SobolOptimizer(PLAIN), 3)


def test_skip_leaves_out_the_first_points() -> None:
    whole = stream(SobolOptimizer(PLAIN, seed=3), BLOCK + 20)
    assert stream(SobolOptimizer(PLAIN, seed=3, skip=5), 10) == whole[5:15]
    assert stream(SobolOptimizer(PLAIN, seed=3, skip=BLOCK + 3), 10) == whole[BLOCK + 3 : BLOCK + 13]


def test_conditional_parameters_are_masked() -> None:
    found = stream(SobolOptimizer(CONDITIONAL, seed=1), 64)
    assert [params["kind"] for params in found].count("cnn") == 32
    for params in found:
        assert ("cnn.layers" in params) == (params["kind"] == "cnn")
        assert params["seed"] == 7


def test_constraints_reject_points() -> None:
    space = SearchSpace({"mini": Integer(1, 12), "batch": PowerOfTwo(8, 32)}).require(divides("mini", "batch"))
    free = [
        params for params in stream(SobolOptimizer(dict(space), seed=1), 200) if params["batch"] % params["mini"] == 0
    ]
    assert stream(SobolOptimizer(space, seed=1), 40) == free[:40]


def test_constraints_with_a_repair_keep_every_point() -> None:
    def add_up(params: Params) -> bool:
        return bool(params["x"] + params["y"] <= 1)

    def lower(params: Params) -> dict[str, float]:
        return {"y": max(-1.0, 1 - params["x"])}

    space = SearchSpace(PLAIN).require(add_up, repair=lower)
    free = stream(SobolOptimizer(PLAIN, seed=1), 50)
    expected = [{**params, "y": min(params["y"], 1 - params["x"])} for params in free]
    assert stream(SobolOptimizer(space, seed=1), 50) == expected != free


def test_impossible_constraints_are_a_clear_error() -> None:
    def never(params: Params) -> bool:
        return False

    with pytest.raises(UsageError, match="no configuration met never in 1000 tries"):
        SobolOptimizer(SearchSpace(PLAIN).require(never), seed=1).suggest(1)


def test_a_space_of_constants() -> None:
    assert stream(SobolOptimizer({"x": 3}, seed=1), 2) == [{"x": 3}, {"x": 3}]


def test_initial_params_go_first_and_use_no_points() -> None:
    optimizer = SobolOptimizer(CONDITIONAL, seed=1, initial_params=[{"lr": 0.5, "kind": "mlp"}])
    first, *others = stream(optimizer, 4)
    assert first == {"kind": "mlp", "lr": 0.5, "seed": 7}
    assert others == stream(SobolOptimizer(CONDITIONAL, seed=1), 3)


@pytest.mark.parametrize("done", [0, 1, 7, BLOCK - 1, BLOCK, BLOCK + 1])
def test_state_is_exact(done: int) -> None:
    space = SearchSpace(PLAIN).require(lambda params: params["x"] > 0.1)
    first = SobolOptimizer(space, seed=3, initial_params=[{"x": 0.5}])
    if done:
        first.suggest(done)
    state = json.loads(json.dumps(first.state_dict()))
    second = SobolOptimizer(space, seed=4, initial_params=[{"x": 0.5}])
    second.suggest(3)  # what it has drawn already is of no use
    assert second.load_state_dict(state) is Restored.STATE
    assert stream(first.copy(), 8) == stream(second, 8) == stream(first, 8)


@pytest.mark.parametrize("skip", [-1, 1.5, True, 2**30])
def test_a_bad_skip(skip: Any) -> None:
    with pytest.raises(UsageError, match="expected a whole number from 0 below"):
        SobolOptimizer(PLAIN, skip=skip)


def test_too_many_dimensions() -> None:
    space = {f"x{index}": Uniform(0, 1) for index in range(21_202)}
    with pytest.raises(UsageError, match="has 21201 dimensions; the space has 21202"):
        SobolOptimizer(space, seed=1).suggest(1)


def test_the_sequence_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    # The real end is 2**30 points away, some seconds of scipy's.
    monkeypatch.setattr(sobol, "LENGTH", 2 * BLOCK)
    optimizer = SobolOptimizer(PLAIN, seed=1, skip=2 * BLOCK - 1)
    assert len(optimizer.suggest(1)) == 1
    with pytest.raises(UsageError, match=r"no more than 2\*\*30 points"):
        optimizer.suggest(1)
