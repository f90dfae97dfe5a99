"""Protein: cost-aware Bayesian optimization with a Gaussian process."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from metta.sweep.goal import Goal
from metta.sweep.optimizers.protein.search import ModelOptimizer, Proposal
from metta.sweep.optimizers.protein.settings import ACQUISITIONS, DESIGNS, Acquisition, Design, Scale, Settings
from metta.sweep.space import Choice, Distribution, Integer, LogUniform, SearchSpace, Uniform

if TYPE_CHECKING:
    from metta.sweep.optimizers.protein.gp import Prior
    from metta.sweep.optimizers.protein.step import Step


class ProteinOptimizer(ModelOptimizer):
    """Bayesian optimization that looks for good scores at every cost, after PufferLib's Protein and CARBS.

    One Gaussian process predicts the score, another the logarithm of the cost (the results' `cost`); where the cost is
    constant there is none. Candidates are drawn round the points of the Pareto front of score against cost, and the
    one with the highest acquisition value that meets the constraints and was not suggested before is taken:

    - "naive": the predicted score, weighted by how near the predicted cost is to a random target;
    - "ei": expected improvement over the best score;
    - "ucb": predicted score + `ucb_beta` standard deviations.

    Failures enter the model with the worst score, and running trials with the score it expects of them, which leaves it
    nothing to learn there, so that the suggestions of a batch differ. Several objectives are scalarized with random
    weights (ParEGO, Knowles, 2006). Under a scheduler with rungs the model sees the results of one resource, see
    `fidelity`.

    Sources: Fetterman et al., 2023, "Tune As You Scale: Hyperparameter Optimization For Compute Efficient Training".

    Args:
        search_space, seed, goal: see `Optimizer`.
        acquisition_fn: "naive", "ei" or "ucb".
        ucb_beta: of "ucb", above 0.
        max_suggestion_cost: candidates predicted to cost this or more are left out, in the unit of the costs.
        resample_frequency: every how many suggestions a random Pareto point is suggested again; 0 for never.
        expansion_rate: how far beyond the highest cost the target of "naive" may go, as a share of the observed range
            of log cost.
        randomize_acquisition: draw `ucb_beta` anew for each suggestion, exponentially with `ucb_beta` as its mean.
        suggestions_per_pareto: candidates per Pareto point; 2,048 in all are always drawn.
        random_suggestions: random candidates of a suggestion without a model, from which one allowed is taken.
        num_random_samples: observations before the model is asked.
        global_search_scale: multiplies the scale of all parameters.
        seed_with_search_center: suggest the search center first.
        prune_pareto: drop the dear end of the Pareto front where the score hardly grows, see `pareto.pruned_front`.
        search_center: parameters of the center other than the middle of their range.
        scale: parameter -> how far candidates lie from a center, in half ranges: a number, "time" (one doubling) or
            "auto" (0.5), which is also meant where a parameter is missing.
        random_design: the suggestions without a model: random ones round the "center", or "sobol", a scrambled Sobol
            sequence over the whole space.
        gp_max_obs: the most observations of a model: the newest half, and a random half of the older ones.
        initial_params: configurations to suggest first; what they leave out gets its default.

    Raises:
        UsageError: an unknown acquisition function, or a number out of range.
    """

    def __init__(
        self,
        search_space: SearchSpace | Mapping[str, object] | None = None,
        acquisition_fn: Acquisition = "naive",
        *,
        seed: int | None = None,
        goal: Goal | None = None,
        ucb_beta: float = 2.0,
        max_suggestion_cost: float = 3600.0,
        resample_frequency: int = 0,
        expansion_rate: float = 0.25,
        randomize_acquisition: bool = False,
        suggestions_per_pareto: int = 256,
        random_suggestions: int = 1024,
        num_random_samples: int = 50,
        global_search_scale: float = 1.0,
        seed_with_search_center: bool = True,
        prune_pareto: bool = False,
        search_center: Mapping[str, Any] | None = None,
        scale: Mapping[str, Scale] | None = None,
        random_design: Design = "center",
        gp_max_obs: int = 750,
        initial_params: Sequence[Mapping[str, Any]] = (),
    ) -> None:
        super().__init__(search_space, seed=seed, goal=goal, initial_params=initial_params, max_points=gp_max_obs)
        self.settings: Settings = Settings(
            acquisition_fn=acquisition_fn,
            ucb_beta=ucb_beta,
            max_suggestion_cost=max_suggestion_cost,
            resample_frequency=resample_frequency,
            expansion_rate=expansion_rate,
            randomize_acquisition=randomize_acquisition,
            suggestions_per_pareto=suggestions_per_pareto,
            random_suggestions=random_suggestions,
            num_random_samples=num_random_samples,
            global_search_scale=global_search_scale,
            seed_with_search_center=seed_with_search_center,
            prune_pareto=prune_pareto,
            search_center=dict(search_center or {}),
            scale=dict(scale or {}),
            random_design=random_design,
            gp_max_obs=gp_max_obs,
        )

    def tunables(self) -> Mapping[str, Distribution[Any]]:
        return {
            "acquisition_fn": Choice(ACQUISITIONS),
            "ucb_beta": LogUniform(0.2, 5),
            "expansion_rate": Uniform(0, 1),
            "randomize_acquisition": Choice([False, True]),
            "num_random_samples": Integer(2, 50, log=True),
            "global_search_scale": LogUniform(0.3, 3),
            "random_design": Choice(DESIGNS),
        }

    def _prior(self) -> Prior:
        from metta.sweep.optimizers.protein.gp import Prior

        return Prior()

    def _propose(self, step: Step) -> Proposal:
        from metta.sweep.optimizers.protein.proposing import propose

        return propose(self.settings, step)
