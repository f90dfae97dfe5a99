import builtins
import json
import logging
import math
from collections.abc import Callable, Mapping
from typing import Any

import optuna
import pytest

from metta.sweep.errors import MissingExtraError, UsageError
from metta.sweep.optimizers import OptunaOptimizer, Restored, replaying
from metta.sweep.space import Choice, Integer, LogitNormal, LogUniform, PowerOfTwo, SearchSpace, Uniform, divides
from metta.sweep.trial import FailureReason, Result, Trial, TrialState

SPACE = {
    "lr": LogUniform(1e-4, 1e-1),
    "width": Integer(4, 64),
    "act": Choice(["relu", "tanh"]),
    "drop": Uniform(0, 0.5),
}
CONDITIONAL = {"kind": Choice(["cnn", "mlp"]), "cnn.layers": Integer(1, 9), "mlp.width": Integer(8, 64), "fixed": 3}


def quality(params: Mapping[str, Any]) -> float:
    return float((math.log10(params["lr"]) + 2.5) ** 2 + abs(params["width"] - 32) / 16 + params["drop"])


def bare(trial: optuna.Trial) -> dict[str, Any]:
    return {
        "lr": trial.suggest_float("lr", 1e-4, 1e-1, log=True),
        "width": trial.suggest_int("width", 4, 64),
        "act": trial.suggest_categorical("act", ["relu", "tanh"]),
        "drop": trial.suggest_float("drop", 0, 0.5),
    }


BARE_SAMPLERS: dict[str, Callable[[int], optuna.samplers.BaseSampler]] = {
    "TPE": lambda seed: optuna.samplers.TPESampler(seed=seed),
    "NSGA-II": lambda seed: optuna.samplers.NSGAIISampler(seed=seed, population_size=8),
    "random": lambda seed: optuna.samplers.RandomSampler(seed=seed),
    "CMA-ES": lambda seed: optuna.samplers.CmaEsSampler(seed=seed),
    "GP": lambda seed: optuna.samplers.GPSampler(seed=seed),
    "QMC": lambda seed: optuna.samplers.QMCSampler(seed=seed, scramble=True),
}
ARGUMENTS: dict[str, dict[str, Any]] = {"NSGA-II": {"population_size": 8}, "QMC": {"scramble": True}}


@pytest.fixture(autouse=True)
def _bare_library_is_quiet() -> Any:
    level = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    yield
    optuna.logging.set_verbosity(level)


@pytest.mark.parametrize("sampler", BARE_SAMPLERS)
@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
def test_the_stream_is_the_bare_library_s(sampler: str) -> None:
    """30 trials in turn, with the model phase; every seventh fails."""
    trials = 14 if sampler == "GP" else 30
    study = optuna.create_study(sampler=BARE_SAMPLERS[sampler](5), direction="minimize")
    optimizer = OptunaOptimizer(SPACE, sampler=sampler, seed=5, goal="minimize", **ARGUMENTS.get(sampler, {}))
    for number in range(trials):
        theirs = study.ask()
        expected = bare(theirs)
        (ours,) = optimizer.suggest(1)
        assert dict(ours.params) == expected, f"trial {number}"
        if number % 7 == 6:
            study.tell(theirs, state=optuna.trial.TrialState.FAIL)
            optimizer.observe(ours, Result(failure=FailureReason.USER_ERROR))
        else:
            study.tell(theirs, quality(expected))
            optimizer.observe(ours, quality(ours.params))


def test_the_stream_is_the_bare_library_s_with_pending_trials() -> None:
    """Four at a time: what is pending is a running trial of the study."""
    study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=1, n_startup_trials=5), direction="maximize")
    optimizer = OptunaOptimizer(SPACE, seed=1, goal="maximize", n_startup_trials=5)
    for _ in range(8):
        theirs = []
        for _ in range(4):
            theirs.append((trial := study.ask(), bare(trial)))
        ours = optimizer.suggest(4)
        assert [dict(trial.params) for trial in ours] == [params for _, params in theirs]
        for (their_trial, params), our_trial in zip(theirs, ours, strict=True):
            study.tell(their_trial, -quality(params))
            optimizer.observe(our_trial, -quality(params))


def test_a_conditional_space_is_define_by_run() -> None:
    study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=2, n_startup_trials=5), direction="maximize")
    optimizer = OptunaOptimizer(CONDITIONAL, seed=2, n_startup_trials=5)
    for _ in range(30):
        theirs = study.ask()
        kind = theirs.suggest_categorical("kind", ["cnn", "mlp"])
        expected: dict[str, Any]
        if kind == "cnn":
            expected = {"kind": kind, "cnn.layers": theirs.suggest_int("cnn.layers", 1, 9), "fixed": 3}
        else:
            expected = {"kind": kind, "mlp.width": theirs.suggest_int("mlp.width", 8, 64), "fixed": 3}
        (ours,) = optimizer.suggest(1)
        assert dict(ours.params) == expected
        score = float(expected.get("cnn.layers", 0))
        study.tell(theirs, score)
        optimizer.observe(ours, score)


def test_a_flat_sampler_gets_the_whole_space_and_our_mask() -> None:
    optimizer = OptunaOptimizer(CONDITIONAL, sampler="CMA-ES", seed=2)
    for _ in range(12):
        (trial,) = optimizer.suggest(1)
        params = dict(trial.params)
        assert ("cnn.layers" in params) == (params["kind"] == "cnn") != ("mlp.width" in params)
        optimizer.observe(trial, 1.0)


def test_two_objectives_as_the_bare_library() -> None:
    sampler = optuna.samplers.NSGAIISampler(seed=3, population_size=6)
    study = optuna.create_study(sampler=sampler, directions=["minimize", "maximize"])
    optimizer = OptunaOptimizer(
        SPACE, sampler="nsgaii", seed=3, goal={"loss": "minimize", "speed": "maximize"}, population_size=6
    )
    for _ in range(30):
        theirs = study.ask()
        expected = bare(theirs)
        (ours,) = optimizer.suggest(1)
        assert dict(ours.params) == expected
        study.tell(theirs, [quality(expected), 1 / expected["width"]])
        optimizer.observe(ours, {"speed": 1 / expected["width"], "loss": quality(expected)})


def test_every_distribution_comes_back_in_its_own_terms() -> None:
    space = SearchSpace(
        {
            "p": PowerOfTwo(8, 256),
            "gamma": LogitNormal(0.9, 0.999),
            "odd": Choice([1, True, [64, 64]]),
            "log_int": Integer(1, 1000, log=True),
            "const": 7,
        }
    )
    optimizer = OptunaOptimizer(space, seed=0, n_startup_trials=3)
    for _ in range(15):
        (trial,) = optimizer.suggest(1)
        assert dict(space.validate(trial.params)) == dict(trial.params)
        optimizer.observe(trial, float(trial.params["p"]))


def rung_result(optimizer: OptunaOptimizer, trial: Trial, resource: int, score: float, state: TrialState) -> None:
    trial.resource, trial.state = resource, state
    optimizer.observe(trial, Result(score))


def shown(optimizer: OptunaOptimizer) -> list[tuple[str, float | None]]:
    """What the study says now, as (state, value)."""
    optimizer.suggest(1)
    trials = optimizer._open().study.get_trials(deepcopy=False)[:-1]
    return [(trial.state.name, trial.value) for trial in trials if trial.number < 12]


def test_the_sampler_sees_the_highest_rung_with_enough_results() -> None:
    optimizer = OptunaOptimizer(SPACE, seed=0, goal="maximize")
    trials = optimizer.suggest(12)
    for number, trial in enumerate(trials):
        rung_result(optimizer, trial, 10, float(number), TrialState.PAUSED)
    assert shown(optimizer) == [("COMPLETE", float(number)) for number in range(12)]
    for trial in trials[3:12]:
        rung_result(optimizer, trial, 30, 100.0, TrialState.PAUSED)
    # Nine results at 30 are not enough.
    assert shown(optimizer)[11] == ("COMPLETE", 11.0)
    rung_result(optimizer, trials[2], 30, 102.0, TrialState.PAUSED)
    rung_result(optimizer, trials[0], 10, 0.0, TrialState.PRUNED)
    states = shown(optimizer)
    assert states[0] == ("PRUNED", 0.0)
    assert states[1] == ("RUNNING", None)
    assert states[2] == ("COMPLETE", 102.0)
    assert states[3] == ("COMPLETE", 100.0)


@pytest.mark.parametrize("sampler", [name for name in BARE_SAMPLERS if name != "GP"])
def test_a_study_that_is_made_again_suggests_the_same(sampler: str) -> None:
    """When another rung is shown: the sampler, its notes in the study and its stream are the same."""
    arguments = ARGUMENTS.get(sampler, {})
    optimizer = OptunaOptimizer(SPACE, sampler=sampler, seed=4, **arguments)
    reference = OptunaOptimizer(SPACE, sampler=sampler, seed=4, **arguments)
    ours, theirs = [], []
    for number in range(30):
        ours += optimizer.suggest(1)
        theirs += reference.suggest(1)
        for each, trial in ((optimizer, ours[-1]), (reference, theirs[-1])):
            rung_result(each, trial, 10, quality(trial.params), TrialState.PAUSED)
        if number == 15:
            before = optimizer._open().study
            for trial in ours:
                rung_result(optimizer, trial, 30, quality(trial.params), TrialState.PAUSED)
        if number > 15:
            rung_result(optimizer, ours[-1], 30, quality(ours[-1].params), TrialState.PAUSED)
            assert optimizer._open().study is not before
    assert [dict(trial.params) for trial in ours] == [dict(trial.params) for trial in theirs]


def test_failures_are_told_as_failed_and_nan_is_a_failure() -> None:
    optimizer = OptunaOptimizer(SPACE, seed=0)
    first, second, third, fourth = optimizer.suggest(4)
    optimizer.observe(first, math.nan)
    optimizer.observe(second, Result(failure=FailureReason.OOM))
    optimizer.observe(third, math.inf)
    optimizer.observe(fourth, 0.5)
    assert shown(optimizer)[:4] == [("FAIL", None)] * 3 + [("COMPLETE", 0.5)]


def test_a_foreign_trial_is_added_and_heard() -> None:
    optimizer = OptunaOptimizer(SPACE, seed=0)
    foreign = Trial({"lr": 0.01, "width": 8, "act": "relu", "drop": 0.1})
    optimizer.observe(foreign, 0.75)
    (own,) = optimizer.suggest(1)
    assert own.tag != foreign.tag
    study = optimizer._open().study
    assert study.trials[0].value == 0.75
    assert study.trials[0].params == dict(foreign.params)


def test_warm_start_across_slightly_different_spaces() -> None:
    optimizer = OptunaOptimizer(SPACE, seed=0)
    with pytest.warns(UserWarning, match=r"dropped: momentum; set to their defaults: drop"):
        optimizer.observe(Trial({"lr": 0.01, "width": 8, "act": "relu", "momentum": 0.9}), 0.5)
    with pytest.warns(UserWarning, match=r"not used: the parameter 'lr': 5\.0 is not a value"):
        optimizer.observe(Trial({"lr": 5.0, "width": 8, "act": "relu", "drop": 0.1}), 0.5)
    optimizer.suggest(1)
    assert [trial.value for trial in optimizer._open().study.trials] == [0.5, None]


def test_a_stale_tag_does_not_credit_another_configuration() -> None:
    optimizer = OptunaOptimizer(SPACE, seed=0)
    (own,) = optimizer.suggest(1)
    stale = Trial({"lr": 0.01, "width": 8, "act": "relu", "drop": 0.1}, tag=own.tag)
    optimizer.observe(stale, 0.75)
    assert stale.tag != own.tag
    assert optimizer._open().study.trials[0].state.name == "RUNNING"


def test_a_copy_goes_its_own_way() -> None:
    optimizer = OptunaOptimizer(SPACE, seed=0, n_startup_trials=3)
    for trial in optimizer.suggest(6):
        optimizer.observe(trial, quality(trial.params))
    copy = optimizer.copy()
    expected = [dict(trial.params) for trial in copy.suggest(3)]
    assert [dict(trial.params) for trial in optimizer.suggest(3)] == expected


@pytest.mark.parametrize("sampler", ["TPE", "NSGA-II", "CMA-ES"])
def test_restored_by_replay(sampler: str) -> None:
    optimizer = OptunaOptimizer(SPACE, sampler=sampler, seed=0)
    for _ in range(14):
        for trial in optimizer.suggest(2):
            optimizer.observe(trial, quality(trial.params))
    state = json.loads(json.dumps(optimizer.state_dict(), allow_nan=False))
    again = OptunaOptimizer(SPACE, sampler=sampler)
    assert again.load_state_dict(state) is Restored.REPLAY
    assert again.state_dict() == optimizer.state_dict()
    assert [dict(t.params) for t in again.suggest(3)] == [dict(t.params) for t in optimizer.suggest(3)]


def recorded_run() -> tuple[OptunaOptimizer, dict[str, Any]]:
    optimizer = OptunaOptimizer(SPACE, seed=0)
    trials = optimizer.suggest(5)
    for trial in trials[:4]:
        optimizer.observe(trial, quality(trial.params))
    state: dict[str, Any] = json.loads(json.dumps(optimizer.state_dict()))
    return optimizer, state


def check_observations_only(state: dict[str, Any]) -> None:
    again = OptunaOptimizer(SPACE)
    assert again.load_state_dict(state) is Restored.OBSERVATIONS
    trials = again._open().study.trials
    assert [trial.state.name for trial in trials] == ["COMPLETE"] * 4 + ["RUNNING"]
    suggested = {tuple(dict(trial.params).values()) for trial in again.suggest(4)}
    assert not suggested & {tuple(trial.params.values()) for trial in trials}
    # The pending trial may still be observed under its old tag.
    tag, params = state["log"][0]["suggest"][4]
    pending = Trial(params, tag=tag)
    again.observe(pending, 0.5)
    again.suggest(1)
    assert again._open().study.trials[4].value == 0.5


def test_a_mismatch_leaves_the_observations() -> None:
    """As after an upgrade of the library: the record says something that the sampler does not suggest again."""
    _, state = recorded_run()
    state["log"][0]["suggest"][0][1]["lr"] = 0.05
    for event in state["log"]:
        if "observe" in event and event["observe"][0] == 0:
            event["observe"][1]["lr"] = 0.05
    check_observations_only(state)


def test_a_replay_that_takes_too_long_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    _, state = recorded_run()
    monkeypatch.setattr(replaying, "REPLAY_LIMIT_S", -1.0)
    check_observations_only(state)


@pytest.mark.parametrize("sampler", ["QMC", "TPE"])
def test_what_a_sampler_keeps_missing_is_drawn_at_random(sampler: str) -> None:
    space = SearchSpace({"x": Uniform(0, 1)}).require(lambda params: params["x"] > 0.98)
    optimizer = OptunaOptimizer(space, sampler=sampler, seed=0)
    trials = optimizer.suggest(6)
    assert all(trial.params["x"] > 0.98 for trial in trials)
    assert len(optimizer._records) <= 6 * (replaying.MAX_REJECTED + 1)
    impossible = OptunaOptimizer(SearchSpace({"x": Uniform(0, 1)}).require(lambda params: False), sampler=sampler)
    with pytest.raises(UsageError, match="no configuration met"):
        impossible.suggest(1)


def test_constraints_reject_and_never_reach_the_driver() -> None:
    space = SearchSpace({"minibatch": Integer(1, 16), "batch": PowerOfTwo(8, 64)}).require(
        divides("minibatch", "batch")
    )
    for sampler in ("TPE", "QMC"):
        optimizer = OptunaOptimizer(space, sampler=sampler, seed=0)
        for _ in range(12):
            (trial,) = optimizer.suggest(1)
            assert trial.params["batch"] % trial.params["minibatch"] == 0
            optimizer.observe(trial, 1.0)
        state = json.loads(json.dumps(optimizer.state_dict()))
        again = OptunaOptimizer(space, sampler=sampler)
        assert again.load_state_dict(state) is Restored.REPLAY
    state["log"][0]["suggest"][0][1]["minibatch"] = 1
    state["log"][1]["observe"][1]["minibatch"] = 1
    assert OptunaOptimizer(space, sampler="QMC").load_state_dict(state) is Restored.OBSERVATIONS


def test_initial_params_go_first_and_the_sampler_fills_the_rest() -> None:
    optimizer = OptunaOptimizer(SPACE, seed=0, initial_params=[{"learning_rate": 0.02, "width": 5}])
    with pytest.raises(KeyError, match="no parameter 'learning_rate'"):
        optimizer.suggest(1)
    optimizer = OptunaOptimizer(SPACE, seed=0, initial_params=[{"lr": 0.02, "width": 5}])
    first, second = optimizer.suggest(2)
    assert (first.params["lr"], first.params["width"]) == (0.02, 5)
    assert second.params["lr"] != 0.02
    flat = OptunaOptimizer(SPACE, sampler="QMC", seed=0, initial_params=[{"lr": 0.02}])
    assert flat.suggest(1)[0].params["lr"] == 0.02


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"sampler": "TPS"}, "no sampler 'TPS': did you mean 'TPE'"),
        ({"sampler": "zzz"}, "there is TPE, CMA-ES, GP, NSGA-II, QMC, random"),
        ({"n_startup_trial": 3}, "the sampler TPE has no argument 'n_startup_trial': did you mean 'n_startup_trials'"),
    ],
)
def test_bad_arguments(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        OptunaOptimizer(SPACE, **arguments)


def test_cma_es_takes_one_objective() -> None:
    optimizer = OptunaOptimizer(SPACE, sampler="CMA-ES", goal={"a": "maximize", "b": "maximize"})
    with pytest.raises(UsageError, match="the CMA-ES sampler takes one objective"):
        optimizer.suggest(1)


def test_the_missing_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    real_import = builtins.__import__

    def without_optuna(name: str, *arguments: Any, **keywords: Any) -> Any:
        if name == "optuna":
            raise ImportError(name)
        return real_import(name, *arguments, **keywords)

    monkeypatch.setattr(builtins, "__import__", without_optuna)
    with pytest.raises(MissingExtraError, match=r"metta-sweep\[optuna\]"):
        OptunaOptimizer(SPACE)


def test_optuna_s_chatter_is_silenced_and_its_level_left_alone(capfd: pytest.CaptureFixture[str]) -> None:
    optuna.logging.set_verbosity(optuna.logging.DEBUG)
    optimizer = OptunaOptimizer(CONDITIONAL, sampler="CMA-ES", seed=0)
    for _ in range(4):
        optimizer.observe(optimizer.suggest(1)[0], 1.0)
    assert logging.getLogger("optuna").level == logging.DEBUG
    assert "optuna" not in capfd.readouterr().err.lower()
