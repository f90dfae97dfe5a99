import json
import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest

from metta.sweep.errors import UsageError
from metta.sweep.optimizers import Restored
from metta.sweep.optimizers.bayesian import BayesianOptimizer
from metta.sweep.optimizers.protein import ProteinOptimizer
from metta.sweep.optimizers.protein.search import ModelOptimizer
from metta.sweep.space import Choice, Integer, LogUniform, PowerOfTwo, SearchSpace, Uniform, divides
from metta.sweep.trial import FailureReason, Result, Trial, TrialState

SPACE = {
    "lr": LogUniform(1e-4, 1e-1),
    "width": Integer(4, 64),
    "act": Choice(["relu", "tanh", "gelu"]),
    "drop": Uniform(0, 0.5),
    "fixed": 7,
}
CONDITIONAL = {"kind": Choice(["cnn", "mlp"]), "cnn.layers": Integer(1, 9), "mlp.width": Integer(8, 64), "fixed": 3}

Make = Callable[..., ModelOptimizer]


def quality(params: Mapping[str, Any]) -> float:
    """At most 0; the best learning rate is 10 ** -2.5."""
    misfit = (math.log10(params["lr"]) + 2.5) ** 2 + abs(params["width"] - 32) / 16 + params["drop"]
    return -float(misfit) - float(params["act"] != "tanh")


def protein(*arguments: Any, **keywords: Any) -> ModelOptimizer:
    return ProteinOptimizer(*arguments, **{"num_random_samples": 5, **keywords})


def expected_improvement(*arguments: Any, **keywords: Any) -> ModelOptimizer:
    return ProteinOptimizer(*arguments, **{"num_random_samples": 5, "acquisition_fn": "ei", **keywords})


def ucb(*arguments: Any, **keywords: Any) -> ModelOptimizer:
    keywords = {"num_random_samples": 5, "acquisition_fn": "ucb", "randomize_acquisition": True, **keywords}
    return ProteinOptimizer(*arguments, **keywords)


def bayesian(*arguments: Any, **keywords: Any) -> ModelOptimizer:
    return BayesianOptimizer(*arguments, **{"initial_samples": 5, **keywords})


def bayesian_ucb(*arguments: Any, **keywords: Any) -> ModelOptimizer:
    return BayesianOptimizer(*arguments, **{"initial_samples": 5, "acquisition": "ucb", **keywords})


EVERY = pytest.mark.parametrize("make", [protein, expected_improvement, ucb, bayesian, bayesian_ucb])
THREE = pytest.mark.parametrize("make", [protein, expected_improvement, bayesian])
BOTH = pytest.mark.parametrize("make", [protein, bayesian])


def run(
    optimizer: ModelOptimizer,
    trials: int,
    score: Callable[[Mapping[str, Any]], Any] = quality,
    cost: Callable[[Mapping[str, Any]], float] | None = None,
) -> list[Trial]:
    """One trial after the other; a score of None is a failure."""
    done = []
    for _ in range(trials):
        (trial,) = optimizer.suggest(1)
        found = score(trial.params)
        trial.state = TrialState.FAILED if found is None else TrialState.COMPLETED
        failure = FailureReason.USER_ERROR if found is None else None
        optimizer.observe(trial, Result(found, cost(trial.params) if cost else None, failure))
        done.append(trial)
    return done


def params(trials: list[Trial]) -> list[dict[str, Any]]:
    return [dict(trial.params) for trial in trials]


@EVERY
def test_same_seed_same_stream(make: Make) -> None:
    first, second = (params(run(make(SPACE, seed=3), 14)) for _ in range(2))
    assert first == second
    assert first[2:] != params(run(make(SPACE, seed=4), 14))[2:]
    assert params(make(SPACE).suggest(3)) != params(make(SPACE).suggest(3))


@EVERY
def test_it_finds_a_good_configuration(make: Make) -> None:
    done = run(make(SPACE, seed=0), 35)
    assert max(quality(trial.params) for trial in done) > -0.6
    mirrored = run(make(SPACE, seed=0, goal="minimize"), 14, lambda params: -quality(params))
    assert params(mirrored) == params(done[:14]), "minimizing is maximizing turned round"


@EVERY
def test_a_state_in_the_middle_of_a_run_gives_the_same_rest(make: Make) -> None:
    def cost(params: Mapping[str, Any]) -> float:
        return float(params["width"] ** 2)

    def score(params: Mapping[str, Any]) -> float | None:
        return None if params["width"] % 4 == 0 else quality(params)

    for before in (3, 13):
        optimizer = make(SPACE, seed=1)
        run(optimizer, before, score, cost)
        pending = optimizer.suggest(2)
        state = json.loads(json.dumps(optimizer.state_dict()))
        restored = make(SPACE)
        assert restored.load_state_dict(state) is Restored.STATE
        assert restored.state_dict() == optimizer.state_dict()
        copied = optimizer.copy()
        streams = []
        for each in (optimizer, restored, copied):
            for trial in pending:
                each.observe(Trial(trial.params, tag=trial.tag), Result(quality(trial.params), 1.0))
            streams.append(params(run(each, 5, score, cost)))
        assert streams[0] == streams[1] == streams[2]


@EVERY
def test_the_suggestions_of_a_batch_differ(make: Make) -> None:
    optimizer = make(SPACE, seed=0)
    for _ in range(3):
        batch = optimizer.suggest(6)
        assert len({repr(dict(trial.params)) for trial in batch}) == 6
        for trial in batch:
            optimizer.observe(trial, quality(trial.params))
    assert optimizer.last_info is not None
    assert optimizer.last_info.source == "model"


@THREE
def test_conditional_and_constrained_spaces(make: Make) -> None:
    optimizer = make(CONDITIONAL, seed=2)
    done = run(optimizer, 25, lambda params: float(dict(params).get("cnn.layers", 0)))
    for trial in done:
        assert ("cnn.layers" in dict(trial.params)) == (trial.params["kind"] == "cnn")
        assert trial.params["fixed"] == 3
    assert max(dict(trial.params).get("cnn.layers", 0) for trial in done) == 9

    space = SearchSpace({"batch": PowerOfTwo(16, 512), "minibatch": Integer(1, 64)}).require(
        divides("minibatch", "batch")
    )
    for trial in run(make(space, seed=2), 14, lambda params: float(params["minibatch"])):
        assert trial.params["batch"] % trial.params["minibatch"] == 0
    impossible = SearchSpace({"x": Uniform(0, 1)}).require(lambda params: False)
    with pytest.raises(UsageError, match="no configuration met"):
        make(impossible, seed=0).suggest(1)


@BOTH
def test_a_small_space_is_exhausted_before_anything_is_repeated(make: Make) -> None:
    space = {"a": Choice(["x", "y", "z"]), "b": Integer(0, 3), "c": Choice([True, False])}
    done = run(make(space, seed=0), 30, lambda params: float(params["b"]))
    assert len({repr(sorted(dict(trial.params).items())) for trial in done[:20]}) >= 18
    assert len({repr(sorted(dict(trial.params).items())) for trial in done}) == 24


@BOTH
def test_failures_are_learned_from_and_never_the_best(make: Make) -> None:
    def score(params: Mapping[str, Any]) -> float | None:
        return None if params["drop"] > 0.2 else quality(params) + 5 * params["drop"]

    done = run(make(SPACE, seed=0), 36, score)
    failed = [trial.state is TrialState.FAILED for trial in done]
    assert sum(failed[18:]) <= sum(failed[:18])
    everything_fails = run(make(SPACE, seed=0), 15, lambda params: None)
    assert len({repr(dict(trial.params)) for trial in everything_fails}) == 15
    optimizer = make(SPACE, seed=0)
    run(optimizer, 12, score)
    step = optimizer._step()
    points = step.points(-np.arange(float(len(step.data))))
    assert len(points.ids) == 12
    assert (np.diff(points.ids) > 0).all(), "in the order of arrival, failures among the others"
    assert sum(points.targets == points.targets.min()) > 1
    nan = run(make(SPACE, seed=0), 15, lambda params: math.nan)
    assert params(nan) == params(everything_fails), "a score that is no number is a failure"


@THREE
@pytest.mark.parametrize(
    "scores",
    [
        pytest.param(lambda x: 0.0, id="all equal"),
        pytest.param(lambda x: 1e308 * (x - 0.5), id="huge"),
        pytest.param(lambda x: 1e-300 * x, id="tiny"),
        pytest.param(lambda x: 1e12 + 1e-3 * x, id="far from zero"),
        pytest.param(lambda x: -math.exp(200 * x), id="a long tail"),
    ],
)
def test_scores_of_any_scale(make: Make, scores: Callable[[float], float]) -> None:
    space = {"x": Uniform(0, 1), "y": Uniform(0, 1)}
    done = run(make(space, seed=0), 16, lambda params: scores(params["x"]))
    assert len({repr(dict(trial.params)) for trial in done}) == 16


@BOTH
def test_thirty_parameters(make: Make) -> None:
    space = {f"x{number}": Uniform(-1, 1) for number in range(30)}

    def sphere(params: Mapping[str, Any]) -> float:
        return -float(sum((value - 0.3) ** 2 for value in dict(params).values()))

    done = run(make(space, seed=0), 45, sphere)
    rng = np.random.default_rng(0)
    draws = [-float(((row - 0.3) ** 2).sum()) for row in rng.uniform(-1, 1, size=(45, 30))]
    assert max(sphere(trial.params) for trial in done) > max(draws) + 1


@BOTH
def test_the_same_results_for_the_same_point_are_one_point(make: Make) -> None:
    optimizer = make(SPACE, seed=0)
    for _ in range(4):
        for lr, score in ((1e-2, 1.0), (1e-2 * (1 + 1e-9), 3.0), (2e-2, 5.0)):
            given = {"lr": lr, "width": 8, "act": "relu", "drop": 0.1, "fixed": 7}
            optimizer.observe(Trial(given), Result(score, 2.0))
    data = optimizer._step().data
    assert len(data) == 2
    assert data.losses[:, 0].tolist() == [-2.0, -5.0]
    assert data.costs.tolist() == [2.0, 2.0]
    first = Trial({"lr": 1e-2, "width": 9, "act": "relu", "drop": 0.1, "fixed": 7})
    optimizer.observe(first, 1.0)
    optimizer.observe(Trial({"lr": 1e-3, "width": 9, "act": "relu", "drop": 0.1, "fixed": 7}), 2.0)
    before = optimizer._step().data.ids.tolist()
    optimizer.observe(first, 7.0)
    data = optimizer._step().data
    assert data.ids.tolist() == before, "a corrected result keeps its place"
    assert data.losses[:, 0].tolist() == [-2.0, -5.0, -7.0, -2.0]


@BOTH
def test_two_objectives(make: Make) -> None:
    space = {"x": Uniform(-2, 2), "y": Uniform(0, 1)}
    optimizer = make(space, seed=0, goal={"near_0": "minimize", "far_from_1": "maximize"})
    done = run(
        optimizer,
        40,
        lambda p: {"near_0": p["x"] ** 2 + p["y"], "far_from_1": -((p["x"] - 1) ** 2) - p["y"]},
    )
    # The Pareto set is x in [0, 1] and y = 0.
    late = [trial.params for trial in done[15:]]
    near = [params["x"] for params in late if -0.2 < params["x"] < 1.2 and params["y"] < 0.3]
    assert len(near) > len(late) / 2
    assert max(near) - min(near) > 0.5, "all of it, not one end"


def heard(optimizer: ModelOptimizer, trial: Trial, resource: int, score: float, state: TrialState) -> None:
    trial.resource, trial.state = resource, state
    optimizer.observe(trial, Result(score))


@BOTH
def test_the_model_sees_the_highest_rung_with_enough_results(make: Make) -> None:
    optimizer = make(SPACE, seed=0)
    trials = optimizer.suggest(14)
    for number, trial in enumerate(trials[:13]):
        heard(optimizer, trial, 10, float(number), TrialState.PAUSED)
    data = optimizer._step().data
    assert (data.resource, len(data), len(data.pending)) == (10, 13, 1)
    for trial in trials[3:13]:
        heard(optimizer, trial, 30, 100.0, TrialState.PAUSED)
    heard(optimizer, trials[0], 10, 0.0, TrialState.PRUNED)
    data = optimizer._step().data
    assert (data.resource, len(data)) == (30, 10)
    # Those below are known as places that were tried; the one that runs is the newest of them.
    encode = optimizer._encoding().encode
    assert data.pending.tolist() == [encode(trials[number].params).tolist() for number in (0, 1, 2, 13)]
    assert len(data.failed) == 0
    optimizer.suggest(1)
    assert optimizer.last_info is not None
    assert optimizer.last_info.source == "model"


@BOTH
def test_cancelled_trials_are_neither_pending_nor_failed(make: Make) -> None:
    optimizer = make(SPACE, seed=0)
    cancelled, failed, _ = optimizer.suggest(3)
    cancelled.state, failed.state = TrialState.CANCELLED, TrialState.FAILED
    optimizer.observe(cancelled, Result(failure=FailureReason.CANCELLED))
    optimizer.observe(failed, Result(failure=FailureReason.OOM))
    data = optimizer._step().data
    assert (len(data.pending), len(data.failed), len(data)) == (1, 1, 0)


@BOTH
def test_trials_of_other_sweeps_warm_start(make: Make) -> None:
    optimizer = make(SPACE, seed=0)
    known = {"lr": 0.01, "width": 8, "act": "relu", "drop": 0.1, "fixed": 7}
    optimizer.observe(Trial(known, tag=0), 1.0)
    with pytest.warns(UserWarning, match="dropped: old; set to their defaults: drop"):
        optimizer.observe(Trial({"lr": 0.02, "width": 8, "act": "relu", "old": 1}), 2.0)
    with pytest.warns(UserWarning, match="of another search space was observed and not used"):
        optimizer.observe(Trial({**known, "lr": 99.0}), 3.0)
    assert optimizer._step().data.losses[:, 0].tolist() == [-1.0, -2.0]
    state = json.loads(json.dumps(optimizer.state_dict()))
    again = make(SPACE)
    again.load_state_dict(state)
    assert again.state_dict() == optimizer.state_dict()
    assert params(again.suggest(3)) == params(optimizer.suggest(3))


@BOTH
def test_initial_params_go_first(make: Make) -> None:
    optimizer = make(SPACE, seed=0, initial_params=[{"lr": 0.02, "width": 5}, {"drop": 0.1}])
    first, second, third = optimizer.suggest(3)
    assert (first.params["lr"], first.params["width"], second.params["drop"]) == (0.02, 5, 0.1)
    assert optimizer.last_info is not None
    assert optimizer.last_info.source == "random"
    assert dict(third.params) != dict(first.params)


@BOTH
def test_a_space_of_constants(make: Make) -> None:
    optimizer = make({"a": 1, "b": "x"}, seed=0)
    assert params(run(optimizer, 3, lambda params: 1.0)) == [{"a": 1, "b": "x"}] * 3


def test_the_center_goes_first_once() -> None:
    optimizer = protein(SPACE, seed=0, search_center={"width": 16})
    first, second = optimizer.suggest(2)
    assert dict(first.params) == dict(SearchSpace(SPACE).complete({"width": 16}))
    assert dict(second.params) != dict(first.params)
    optimizer = protein(SPACE, seed=0, seed_with_search_center=False)
    assert dict(optimizer.suggest(1)[0].params) != dict(first.params)
    with pytest.raises(KeyError, match="no parameter 'widht'"):
        protein(SPACE, seed=0, search_center={"widht": 16}).suggest(1)


def test_random_suggestions_lie_round_the_center_or_everywhere() -> None:
    space = {"x": Uniform(-1, 1), "y": LogUniform(1, 1024)}
    near = protein(space, seed=0, num_random_samples=1000, scale={"y": "time"}).suggest(60)
    assert max(abs(trial.params["x"]) for trial in near) <= 0.5
    assert all(2**4.5 - 1e-6 <= trial.params["y"] <= 2**5.5 + 1e-6 for trial in near)
    wide = protein(space, seed=0, random_design="sobol").suggest(64)
    assert max(abs(trial.params["x"]) for trial in wide) > 0.9
    # A scrambled Sobol sequence has one point in each of 32 slices; the first 2 of 64 are center and number 1.
    slices = {math.floor((trial.params["x"] + 1) * 16) for trial in wide[32:64]}
    assert len(slices) == 32


def test_with_fewer_than_ten_observations_the_info_says_why() -> None:
    optimizer = protein(SPACE, seed=0, num_random_samples=0)
    run(optimizer, 8)
    optimizer.suggest(1)
    info = optimizer.last_info
    assert info is not None
    assert info.source == "random"
    assert info.notes == ("8 observations are too few for a model: it takes 10",)


def test_resampling_suggests_a_pareto_point_again() -> None:
    optimizer = protein(SPACE, seed=0, resample_frequency=6)
    done = run(optimizer, 18)
    assert params(done[6:7])[0] in params(done[:6])
    best = max(params(done[:12]), key=quality)
    assert params(done[12:13]) == [best], "without costs the front is the best point"
    (after,) = optimizer.suggest(1)
    assert optimizer.last_info is not None
    assert optimizer.last_info.source == "resample"
    assert dict(after.params) in params(done)


def cost_of(params: Mapping[str, Any]) -> float:
    return float(10 ** params["size"])


COSTLY = {"size": Uniform(0, 4), "x": Uniform(-1, 1)}


def gain(params: Mapping[str, Any]) -> float:
    """More with a larger size, which costs; the best x is 0.3."""
    return float(0.25 * params["size"] - (params["x"] - 0.3) ** 2)


def test_costs_are_predicted_and_the_whole_range_is_searched() -> None:
    optimizer = protein(COSTLY, seed=0, max_suggestion_cost=1e6)
    done = run(optimizer, 45, gain, cost_of)
    (trial,) = optimizer.suggest(1)
    info = optimizer.last_info
    assert info is not None
    assert info.cost == pytest.approx(cost_of(trial.params), rel=0.5)
    assert info.score == pytest.approx(gain(trial.params), abs=0.5)
    sizes = [trial.params["size"] for trial in done[20:]]
    assert min(sizes) < 2 < 3 < max(sizes)


@pytest.mark.parametrize("acquisition", ["naive", "ei", "ucb"])
def test_what_costs_too_much_is_left_out(acquisition: str) -> None:
    optimizer = protein(COSTLY, seed=0, acquisition_fn=acquisition, max_suggestion_cost=200.0)
    done = run(optimizer, 40, gain, cost_of)
    assert max(cost_of(trial.params) for trial in done[20:]) < 300


def test_a_masked_candidate_is_not_taken_for_want_of_others() -> None:
    space = {"size": Integer(0, 40), "x": Choice(["a", "b"])}
    optimizer = protein(space, seed=0, max_suggestion_cost=1.0)
    for size in range(40):
        for x in "ab":
            if (size, x) != (38, "a"):
                optimizer.observe(Trial({"size": size, "x": x}), Result(float(size), 0.05 * size))
    assert params(optimizer.suggest(1))[0]["size"] in (38, 40)
    assert optimizer.last_info is not None
    assert optimizer.last_info.source == "random"


def test_a_mask_without_exception_is_lifted_and_said() -> None:
    optimizer = protein(COSTLY, seed=0, max_suggestion_cost=1e-3)
    run(optimizer, 15, gain, cost_of)
    optimizer.suggest(1)
    assert optimizer.last_info is not None
    assert optimizer.last_info.notes == ("all candidates are predicted to cost 0.001 or more",)


def test_costs_of_zero_and_unknown_ones() -> None:
    optimizer = protein(COSTLY, seed=0)
    for number, trial in enumerate(run(optimizer, 12, gain, lambda params: 0.0)):
        if number % 3 == 0:
            optimizer.observe(trial, Result(1.0, 5.0))
        elif number % 3 == 1:
            optimizer.observe(trial, Result(1.0, None))
    data = optimizer._step().data
    assert set(data.costs[~np.isnan(data.costs)]) == {1e-12, 5.0}
    assert np.isfinite(data.log_costs).all()
    assert len(optimizer.suggest(2)) == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"acquisition_fn": "UCB"}, r"acquisition_fn='UCB': expected 'naive', 'ei', 'ucb' \(did you mean 'ucb'\?\)"),
        ({"random_design": "x"}, "random_design='x': expected 'center', 'sobol'"),
        ({"ucb_beta": 0.0}, "ucb_beta=0.0: expected a number above 0"),
        ({"ucb_beta": math.nan}, "ucb_beta=nan: expected a number above 0"),
        ({"max_suggestion_cost": -1}, "max_suggestion_cost=-1: expected a number above 0"),
        ({"num_random_samples": -1}, "num_random_samples=-1: expected at least 0"),
        ({"suggestions_per_pareto": 0}, "suggestions_per_pareto=0: expected at least 1"),
        ({"scale": {"lr": "tiem"}}, "scale of 'lr'"),
        ({"scale": {"lr": 0}}, "scale of 'lr'"),
    ],
)
def test_bad_arguments(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        ProteinOptimizer(SPACE, **arguments)
