"""Strategies: phases of a search with and without contracts, their settings, and what they hand on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, reveal_type

from metta.sweep import Experiment, Pipeline, Trial, field


class Search(Experiment[Any]):
    base_experiment = print

    def report(self, best_score: float, trials: list[Trial]) -> str:
        return f"{best_score:.3f} after {len(trials)}"

    def show(self, validation_scores: dict[str, float]) -> str:
        return ", ".join(validation_scores)

    def count(self, found: Sequence[list[Trial]]) -> int:
        return sum(map(len, found))

    def wrong(self, best: float) -> float:
        return best


search = Search()

# Without contracts: each phase gives its record to the next one.
four_phases = (
    Pipeline()
    .stage("explore", search.random_search(n_trials=50, resources_per_trial=0.5))
    .stage("model", search.bayesian_optimize(n_trials=100, acquisition="UCB", beta=2.0))
    .stage("evolve", search.population_training(population_size=20, generations=30))
    .stage("validate", search.final_evaluation(n_seeds=10))
    .stage("show", search.show)
)

# With contracts: each phase has a name for what it finds, and settings in `.through`.
with_contracts = (
    Pipeline()
    .stage("explore", search.random_search)
    .through(exploration_results=list[Trial], n_trials=50, max_time_per_trial=600)
    .stage("model", search.bayesian_optimization)
    .through(modeled_results=list[Trial], n_trials=100, init_from=field("exploration_results"))
    .stage("refine", search.population_evolution)
    .through(final_results=list[Trial], population_size=20, generations=30)
    .stage("validate", search.intensive_evaluation)
    .through(validation_scores=dict, n_seeds=10, full_evaluation=True)
)

fields = Pipeline().stage("explore", search.random_search(n=5)).stage("report", search.report).through(text=str)
stage_settings = Pipeline().stage("explore", search.random_search(n=5), n=6, resources_per_trial=0.5)

merged = (
    Pipeline()
    .parallel([search.random_search(n=20), search.grid_search(params=["x"]), search.sobol_sequence(n=20)])
    .stage("merge", search.combine_observations)
    .stage("model", search.fit_gaussian_process)
    .conditional(
        lambda ctx: ctx.best_score > ctx.model.predict({"x": 0.5}).mean,
        Pipeline().stage("exploit", search.bayesian_optimize(n=5)),
        Pipeline().stage("explore", search.random_search(n=5)),
    )
)
counted = (
    Pipeline().parallel([search.random_search(n=20), search.sobol_sequence]).stage("count", search.count).through(n=int)
)

# Misspelt and mistyped settings.
misspelt_call = Pipeline().stage("explore", search.random_search(n_trails=50))  # D: unknown-setting  # S: call-overload
mistyped_call = Pipeline().stage("explore", search.random_search(n_trials="50"))  # D: setting-type  # S: call-overload
misspelt_stage = Pipeline().stage("explore", search.random_search, n_trails=50)  # E: unknown-setting
mistyped_stage = Pipeline().stage("explore", search.random_search, n_trials="50")  # E: setting-type
of_another = Pipeline().stage("evolve", search.population_training, n_trials=50)  # E: unknown-setting
misspelt_through = (
    Pipeline()
    .stage("explore", search.random_search)
    .through(
        exploration_results=list[Trial],
        n_trails=50,  # E: unknown-hook
    )
)
no_acquisition = Pipeline().stage("model", search.bayesian_optimize, acquisition="PI")  # E: setting-type

# What they give, and what there is to start from.
wrong_field = (
    Pipeline()
    .stage("explore", search.random_search)
    .through(exploration_results=list[Trial])
    .stage("model", search.bayesian_optimize)
    .through(
        modeled_results=list[Trial],
        init_from=field("exploration_result"),  # E: missing-field
    )
)
wrong_start = (
    Pipeline(scores=dict[str, float])
    .stage("explore", search.random_search)
    .through(
        found=list[Trial],
        init_from=field("scores"),  # E: stage-input
    )
)
wrong_contract = (
    Pipeline()
    .stage("explore", search.random_search)
    .through(
        exploration_results=list[int],  # E: stage-output
    )
)
wrong_scores = (
    Pipeline(trials=list[Trial])
    .stage("validate", search.final_evaluation)
    .through(
        validation_scores=dict[str, str],  # E: stage-output
    )
)
wrong_reader = Pipeline().stage("explore", search.random_search(n=5)).stage("read", search.wrong)  # E: stage-input
not_known = (
    Pipeline()
    .stage("explore", search.random_search(n=5))
    .conditional(
        lambda ctx: ctx.best_scores > 0.5,  # S: attr-defined
        Pipeline().stage("again", search.random_search(n=5)),
    )
)


def called() -> Pipeline:
    """A strategy that is called with what is known runs while the pipeline is written."""
    return Pipeline().stage("explore", search.random_search(None, n=5))  # S: not-a-stage


if TYPE_CHECKING:
    reveal_type(search.random_search(n=5))  # R: Strategy
    reveal_type(search.random_search(None, n=5).value.best_score)  # R: float
    reveal_type(four_phases.compile().run())  # R: str
    reveal_type(fields.compile().run().text)  # R: str
