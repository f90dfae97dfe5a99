"""Strategies: phases of a search as stages, what flows between them, and what they refuse."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from metta.sweep import Experiment, Pipeline, Trial, field
from metta.sweep.contracts.diagnostics import ContractError
from metta.sweep.errors import RunError, UsageError
from metta.sweep.executors import LocalExecutor
from metta.sweep.experiments import SweepExperiment, TrainingExperiment
from metta.sweep.experiments.strategies.hybrid import HybridSweepExperiment
from metta.sweep.experiments.strategies.known import ranking, trials_in
from metta.sweep.experiments.strategies.records import FittedModel, Found, Validation
from metta.sweep.experiments.strategies.searching import grid_space
from metta.sweep.pipeline.context import Context
from metta.sweep.space import Choice, Integer, SearchSpace, Uniform
from metta.sweep.store import codec
from metta.sweep.trial import Report, TrialState, UnknownParameter

SPACE = {"x": Uniform(0, 1), "y": Uniform(0, 1)}


@pytest.fixture(scope="module")
def executor() -> Iterator[LocalExecutor]:
    with LocalExecutor(max_workers=1) as workers:
        yield workers


def bowl(trial: Trial) -> float:
    """Best at (0.3, 0.6), where it is 1."""
    return float(1 - (trial.params["x"] - 0.3) ** 2 - (trial.params["y"] - 0.6) ** 2)


def noisy(trial: Trial) -> float:
    """The bowl with a little luck."""
    return bowl(trial) + 1e-6 * (trial.seed % 1000)


def epochs(trial: Trial) -> Iterator[Mapping[str, float]]:
    """A curve that rises to the bowl."""
    while True:
        done = trial.step + 1
        yield {"score": bowl(trial) * (1 - 0.5**done)}


def fail(trial: Trial) -> float:
    raise ValueError("no such luck")


class Search(Experiment[Any]):
    """Searches the bowl; the phases are given."""

    def __init__(self, executor: LocalExecutor | None, objective: Any = bowl, **attributes: Any) -> None:
        self.base_experiment = objective
        self.search_space: Mapping[str, object] = SPACE
        self.seed: int | None = 3
        self.executor = executor
        for name, value in attributes.items():
            setattr(self, name, value)


class FourPhases(Search):
    """The form of the full document: no contracts."""

    def pipeline(self) -> Pipeline:
        return (
            Pipeline()
            .stage("explore", self.random_search(n_trials=6))
            .stage("model", self.bayesian_optimize(n_trials=5, acquisition="UCB", beta=2.0))
            .stage("evolve", self.population_training(population_size=4, generations=2))
            .stage("validate", self.final_evaluation(n_seeds=2))
        )


class WithContracts(Search):
    """The form of the concise document: every phase has a name for what it finds."""

    def pipeline(self) -> Pipeline:
        return (
            Pipeline()
            .stage("explore", self.random_search)
            .through(exploration_results=list[Trial], n_trials=6, max_time_per_trial=60)
            .stage("model", self.bayesian_optimization)
            .through(modeled_results=list[Trial], n_trials=5, init_from=field("exploration_results"))
            .stage("refine", self.population_evolution)
            .through(final_results=list[Trial], population_size=4, generations=2)
            .stage("validate", self.intensive_evaluation)
            .through(validation_scores=dict, n_seeds=2, full_evaluation=True)
        )


class Parallel(Search):
    """Arms, what they have found together, and a model of it."""

    threshold = 0.5

    def pipeline(self) -> Pipeline:
        return (
            Pipeline()
            .parallel([self.random_search(n=4), self.grid_search(params=["x"], resolution=3), self.sobol_sequence(n=4)])
            .stage("merge", self.combine_observations)
            .stage("model", self.fit_gaussian_process)
            .conditional(
                lambda ctx: ctx.best_score > self.threshold,
                Pipeline().stage("exploit", self.bayesian_optimize(n=3)),
                Pipeline().stage("explore", self.random_search(n=2)),
            )
        )


def test_each_phase_knows_what_those_before_it_have_found(executor: LocalExecutor) -> None:
    validation = FourPhases(executor).run(store=None).value
    assert isinstance(validation, Validation)
    assert list(validation.validation_scores.values()) == sorted(validation.validation_scores.values(), reverse=True)
    assert validation.validation_scores.keys() == {"candidate 1", "candidate 2", "candidate 3"}
    assert validation.score == validation.best_score == max(validation.validation_scores.values())
    assert validation.best_params in validation.candidates.values()
    assert validation.best_score > 0.9


def test_phases_with_contracts_pass_their_trials_on_by_name(executor: LocalExecutor) -> None:
    result = WithContracts(executor).run(store=None).value
    assert isinstance(result, Context)
    assert [len(result.exploration_results), len(result.modeled_results)] == [6, 5]
    assert len(result.modeled_results.observed) == 11
    assert len(result.final_results) >= 4
    assert result.final_results.observed[:11] == result.modeled_results.observed
    # Half of the population begins as the best configurations that were known.
    best = ranking(result.modeled_results.observed, "maximize", None)[0]
    assert dict(best.params) in [dict(trial.params) for trial in result.final_results]
    assert len(result.validation_scores) == 3


def test_the_same_seed_finds_the_same(executor: LocalExecutor) -> None:
    first, second = (WithContracts(executor).run(store=None).value for _ in range(2))
    assert first.modeled_results.best_params == second.modeled_results.best_params
    assert first.validation_scores == second.validation_scores


@pytest.mark.parametrize(("threshold", "count"), [(0.5, 3), (2.0, 2)])
def test_parallel_arms_are_merged_and_modeled(threshold: float, count: int, executor: LocalExecutor) -> None:
    found = Parallel(executor, threshold=threshold).run(store=None).value
    assert isinstance(found, Found)
    assert len(found) == count
    assert len(found.observed) == 4 + 3 + 4 + count


def test_a_model_predicts_and_is_stored(executor: LocalExecutor) -> None:
    search = Search(executor)
    found = search.random_search(None, n=25).value
    fitted = search.fit_gaussian_process(found).value
    assert isinstance(fitted, FittedModel)
    assert math.dist(fitted.model.optimum.values(), (0.3, 0.6)) < 0.05
    near = fitted.model.predict({"x": 0.3, "y": 0.6})
    assert near.mean == pytest.approx(1, abs=0.02)
    known = fitted.model.predict(found[0].params)
    assert known.mean == pytest.approx(found[0].score, abs=0.02)
    assert known.sd < fitted.model.predict({"x": 1.0, "y": 0.0}).sd
    read = codec.loads(codec.dumps(fitted.model), type(fitted.model))
    assert read == fitted.model
    assert read.predict({"x": 0.1, "y": 0.2}) == fitted.model.predict({"x": 0.1, "y": 0.2})


def test_what_was_found_can_be_stored(executor: LocalExecutor) -> None:
    found = Search(executor).random_search(None, n=2).value
    read = codec.loads(codec.dumps(found), list[Trial])
    assert isinstance(read, Found)
    assert (read.best_score, read.best_params) == (found.best_score, found.best_params)
    assert [trial.score for trial in read] == [trial.score for trial in found]
    assert trials_in([read, found]) == read.observed  # the same trials on two ways


def test_a_model_starts_warm(executor: LocalExecutor) -> None:
    search = Search(executor)
    known = search.random_search(None, n=20).value
    (warm,) = search.bayesian_optimize(known, n=1, acquisition="UCB", beta=0.0).value
    (cold,) = search.bayesian_optimize(known, n=1, acquisition="UCB", beta=0.0, init_from=[]).value
    assert bowl(warm) > 0.99 > bowl(cold)


def test_settings_make_a_copy(executor: LocalExecutor) -> None:
    search = Search(executor)
    configured = search.random_search(n=4)
    assert configured.settings == {"n_trials": 4}
    assert search.random_search.settings == {}
    assert configured(resources_per_trial=1.0).settings == {"n_trials": 4, "resources_per_trial": 1.0}
    assert repr(configured) == "Search.random_search(n_trials=4)"
    assert len(configured.run(n_trials=2).value) == 2
    assert len(configured.run(n=3).value) == 3
    assert configured.with_params({"explore.n_trials": 5}).settings == {"n_trials": 5}


def test_a_stage_may_await_a_strategy(executor: LocalExecutor) -> None:
    class Twice(Search):
        async def both(self) -> float:
            first = await self.sobol_sequence(None, n=4)
            second = await self.random_search(first, n=2)
            return second.best_score if len(second.observed) == 6 else math.nan

        def pipeline(self) -> Pipeline:
            return Pipeline().stage("both", self.both).through(float)

    assert Twice(executor).run(store=None).value > 0.5


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"n_trials": 0}, "whole number, at least 1"),
        ({"n": 2, "n_trials": 2}, "give one of them"),
        ({"resources_per_trial": 1.5}, "at most 1"),
        ({"max_time_per_trial": 0.0}, "seconds, above 0"),
    ],
)
def test_values_out_of_range_are_refused_at_once(settings: dict[str, Any], said: str) -> None:
    search = Search(None)
    with pytest.raises(UsageError, match=said):
        search.random_search(**settings)
    with pytest.raises(UsageError, match=said):
        search.random_search(None, **settings)
    assert search.random_search(n=None).settings == {}
    assert search.grid_search(resolution={"x": 3}).settings == {"resolution": {"x": 3}}


def test_settings_of_a_stage_out_of_range_are_refused_when_it_runs(executor: LocalExecutor) -> None:
    search = Search(executor)
    for stage in (
        Pipeline().stage("explore", search.random_search, n=0),
        Pipeline().stage("explore", search.random_search, resources_per_trial=0.0),
        Pipeline().stage("evolve", search.population_training, population_size=0),
        Pipeline().stage("validate", search.final_evaluation, top=0),
        Pipeline().stage("explore", search.random_search(n=1)).stage("validate", search.final_evaluation, n_seeds=0),
    ):
        with pytest.raises(UsageError, match="0"):
            stage.compile().run()


def test_the_settings_of_a_strategy_may_be_searched() -> None:
    strategy = Search(None).random_search
    strategy.check_params(["explore.n_trials", "seed"])
    with pytest.raises(UsageError, match="did you mean 'n_trials'"):
        strategy.check_params(["explore.n_trails"])
    with pytest.raises(UsageError, match="it has n_trials"):
        strategy.check_params(["unlike"])


def test_a_misspelt_setting_is_an_error_of_definition_with_the_nearest_name() -> None:
    search: Any = Search(None)
    with pytest.raises(ContractError, match=r'no parameter "n_trails" \(did you mean "n_trials"\?\)') as raised:
        search.random_search(n_trails=3)
    assert raised.value.diagnostics[0].code == "unknown-setting"
    assert Path(raised.value.diagnostics[0].file).name == Path(__file__).name
    with pytest.raises(ContractError, match="is str"):
        search.random_search(n_trials="3")
    with pytest.raises(ContractError, match='did you mean "n_trials"') as raised:
        Pipeline().stage("explore", search.random_search).through(found=list[Trial], n_trails=3)
    assert raised.value.diagnostics[0].code == "unknown-hook"
    with pytest.raises(ContractError, match='did you mean "exploration_results"'):
        (
            Pipeline()
            .stage("explore", search.random_search)
            .through(exploration_results=list[Trial])
            .stage("model", search.bayesian_optimize)
            .through(found=list[Trial], init_from=field("exploration_result"))
            .compile()
        )


def test_an_experiment_without_a_base_has_nothing_to_search() -> None:
    class Lost(Experiment[Any]):
        def pipeline(self) -> Pipeline:
            return Pipeline().stage("explore", self.random_search)

    with pytest.raises(UsageError, match=r"Lost\.base_experiment, which is not set"):
        Lost().run(store=None)
    with pytest.raises(UsageError, match="which is not set"):
        Lost().random_search(None)
    with pytest.raises(UsageError, match="what may be tuned"):
        _ = Search(None, search_space=None).random_search(None).value
    with pytest.raises(UsageError, match="one objective"):
        _ = Search(None, goal={"a": "maximize", "b": "minimize"}).random_search(None).value
    with pytest.raises(UsageError, match="how much a full training is"):
        _ = Search(None).random_search(None, resources_per_trial=0.5).value
    with pytest.raises(UsageError, match="beta belongs"):
        _ = Search(None).bayesian_optimize(None, beta=1.0).value


def test_a_phase_without_any_score_fails_and_says_why(executor: LocalExecutor) -> None:
    with pytest.raises(RunError, match=r"no trial has a score, 2 are known \(ValueError: no such luck\)"):
        _ = Search(executor, fail).random_search(None, n=2).value
    with pytest.raises(RunError, match="nothing to validate"):
        _ = Search(executor).final_evaluation(None).value
    known = Search(executor).random_search(None, n=2).value
    # What was known before still counts.
    assert Search(executor, fail).random_search(known, n=2).value.best_score == known.best_score


def test_a_share_of_a_full_training(executor: LocalExecutor) -> None:
    search = Search(executor, epochs, max_resource=5)
    short = search.random_search(None, n=3, resources_per_trial=0.5).value
    assert {trial.step for trial in short} == {3}
    full = search.random_search(short, n=2).value
    assert {trial.step for trial in full} == {5}
    # What was trained shorter is no better, whatever its score is.
    assert full.best_score == max(trial.score for trial in full if isinstance(trial.score, float))
    population = search.population_training(full, population_size=2, generations=2).value
    assert max(trial.step for trial in population) == 6
    # More generations than a training has units do not make it longer.
    often = search.population_training(full, population_size=2, generations=9).value
    assert max(trial.step for trial in often) == 5
    again = search.final_evaluation(short, n_seeds=1, top=1, full_evaluation=False).value
    assert again.best_score == pytest.approx(short.best_score)


def test_a_trial_that_takes_too_long_is_stopped(executor: LocalExecutor) -> None:
    def endless(trial: Trial) -> float:
        while trial.params["x"] > 0.5:
            pass
        return 1.0

    search = Search(executor, endless)
    found = search.grid_search(None, params={"x": [0.2, 0.8]}, max_time_per_trial=0.3).value
    assert [trial.state for trial in found] == [TrialState.COMPLETED, TrialState.FAILED]


def test_every_seed_of_a_validation_is_another(executor: LocalExecutor) -> None:
    search = Search(executor, noisy)
    found = search.sobol_sequence(None, n=2).value
    validation = search.final_evaluation(found, n_seeds=4, top=2).value
    assert all(0 < spread < 1e-3 for spread in validation.spread.values())
    assert [validation.validation_scores[name] for name in validation.candidates] == sorted(
        validation.validation_scores.values(), reverse=True
    )


def test_a_grid_of_some_parameters_leaves_the_others_as_they_are_best() -> None:
    space = SearchSpace({"model": Choice(["cnn", "mlp"]), "cnn.layers": Integer(1, 3), "lr": Uniform(0, 1)})
    only = grid_space(space, ["lr"], {"model": "cnn", "cnn.layers": 2, "lr": 0.3, "unknown": 1})
    assert only.tunable == ("lr",)
    assert dict(only.complete({})) == {"model": "cnn", "cnn.layers": 2, "lr": 0.5}
    values = grid_space(space, {"layers": [3, 1], "model": ["cnn"]}, {})
    assert values["cnn.layers"] == Choice([3, 1])
    assert dict(grid_space(space, ["lr"], {"model": "mlp"}).complete({})) == {"model": "mlp", "lr": 0.5}
    with pytest.raises(UnknownParameter, match="did you mean 'lr'"):
        grid_space(space, ["lrr"], {})
    with pytest.raises(UsageError, match="expected a list of names"):
        grid_space(space, "lr", {})
    with pytest.raises(UsageError):
        grid_space(space, {"lr": [2.0]}, {})


def scored(score: float, step: int = 1, state: TrialState = TrialState.COMPLETED) -> Trial:
    trial = Trial({"x": score})
    trial.score, trial.state = score, state
    trial.add_report(Report(step, {"score": score}))
    return trial


def test_the_longest_training_ranks_first_then_the_score() -> None:
    trials = [scored(0.9, 2), scored(0.5, 4), scored(0.7, 6), scored(math.nan, 6), scored(1, 6, TrialState.FAILED)]
    assert [trial.score for trial in ranking(trials, "maximize", 4)] == [0.7, 0.5, 0.9]
    assert [trial.score for trial in ranking(trials, "minimize", 4)] == [0.5, 0.7, 0.9]
    assert [trial.score for trial in ranking(trials, "maximize", None)] == [0.9, 0.7, 0.5]


def test_trials_are_found_wherever_they_stand() -> None:
    a, b, c = scored(0.1), scored(0.2), scored(0.3)
    found = Found([b], [a, b], 0.2, {"x": 0.2})
    assert trials_in(Context(first=[a], second=found, third=None, text="trial")) == [a, b]
    assert trials_in([[a], {"arm": [c]}, found, scored(0.1)]) == [a, c, b]
    assert trials_in(None) == []


def test_less_is_better_where_the_goal_says_so(executor: LocalExecutor) -> None:
    def loss(trial: Trial) -> dict[str, float]:
        return {"loss": 1 - bowl(trial)}

    search = Search(executor, loss, goal="minimize", metric_key="loss")
    found = search.random_search(None, n=12).value
    assert found.best_score == min(trial.score for trial in found if isinstance(trial.score, float))
    fitted = search.fit_gaussian_process(found).value
    assert math.dist(fitted.model.optimum.values(), (0.3, 0.6)) < 0.2


def test_the_hybrid_experiment_trains_real_networks(executor: LocalExecutor, tmp_path: Path) -> None:
    hybrid = HybridSweepExperiment(
        TrainingExperiment(max_epochs=2),
        explore_trials=3,
        model_trials=2,
        population_size=2,
        generations=2,
        n_seeds=2,
        top=2,
        seed=0,
        executor=executor,
    )
    validation = hybrid.run(store=tmp_path).value
    assert validation.best_score > 0.5
    assert set(validation.best_params) == set(TrainingExperiment().tunables())


def test_what_a_hybrid_experiment_cannot_use_is_refused_before_it_runs() -> None:
    with pytest.raises(UsageError, match=r"'trainer\.learning_rat'"):
        HybridSweepExperiment(search_space={"trainer.learning_rat": Uniform(0, 1)})
    with pytest.raises(UsageError, match="maximize"):
        HybridSweepExperiment(goal="max")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="at most 1"):
        HybridSweepExperiment(explore_resources=2).run(store=None)
    graph = HybridSweepExperiment().pipeline().compile()
    assert [node.name for node in graph.graph.walk()] == ["explore", "model", "evolve", "validate"]


def test_a_sweep_tunes_a_hybrid_experiment(executor: LocalExecutor) -> None:
    hybrid = HybridSweepExperiment(
        bowl,
        search_space=SPACE,
        explore_trials=3,
        explore_resources=1.0,
        model_trials=2,
        population_size=2,
        generations=1,
        n_seeds=1,
        seed=0,
    )
    space = {"beta": hybrid.tunables()["beta"]}
    result = SweepExperiment(hybrid, search_space=space, seed=0, store=None, executor=executor).run(budget=2)
    assert len(result.trials) == 2
    assert result.best_score > 0.5
