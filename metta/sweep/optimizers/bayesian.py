"""Bayesian optimization: the default optimizer of a sweep."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from metta.sweep.errors import UsageError
from metta.sweep.goal import Goal
from metta.sweep.optimizers.protein.search import ModelOptimizer, Proposal
from metta.sweep.optimizers.protein.settings import check_name
from metta.sweep.space import Choice, Distribution, Integer, SearchSpace, Uniform

if TYPE_CHECKING:
    from metta.sweep.optimizers.protein.gp import Prior
    from metta.sweep.optimizers.protein.step import Step

ACQUISITIONS = ("ei", "ucb")


class BayesianOptimizer(ModelOptimizer):
    """Bayesian optimization with a Gaussian process, whatever the trials cost.

    It starts with a scrambled Sobol sequence. Then a process (linear plus Matern-3/2 kernel with a length scale per
    parameter) is fitted to the scores, bent by a power transformation against long tails, and candidates from
    everywhere and, in rounds of shrinking steps, from near the best ones are compared:

    - "ei": expected improvement over the best expected score of a known configuration, by its logarithm (Ament et al.,
      2023);
    - "ucb": expected score + `exploration` standard deviations.

    The best candidate that meets the constraints and was not suggested before is taken; where the noise of the scores
    hides what is left to be learned, it also differs from all earlier ones by 2 % of the range in some parameter.
    Failures enter the model with the worst score; running trials, and those that a scheduler has stopped or paused
    before the resource that is modeled, with the score it expects of them, which leaves it nothing to learn there.
    Several objectives are scalarized with random weights (ParEGO, Knowles, 2006). Under a scheduler with rungs the
    model sees the results of one resource, see `fidelity`.

    Args:
        search_space, seed, goal: see `Optimizer`.
        acquisition: "ei" or "ucb".
        exploration: of "ei" the improvement that does not count, in standard deviations of the scores (default 0); of
            "ucb" the weight of the standard deviation (default 2).
        initial_samples: observations before the model is asked; None for 2 per parameter, but 5 to 10.
        gp_max_obs: the most observations of the model: the newest half, and a random half of the older ones.
        initial_params: configurations to suggest first; what they leave out gets its default.

    Raises:
        UsageError: an unknown acquisition function, or a number out of range.
    """

    def __init__(
        self,
        search_space: SearchSpace | Mapping[str, object] | None = None,
        acquisition: Literal["ei", "ucb"] = "ei",
        *,
        seed: int | None = None,
        goal: Goal | None = None,
        exploration: float | None = None,
        initial_samples: int | None = None,
        gp_max_obs: int = 750,
        initial_params: Sequence[Mapping[str, Any]] = (),
    ) -> None:
        check_name("acquisition", acquisition, ACQUISITIONS)
        if exploration is not None and not exploration >= 0:
            raise UsageError(f"exploration={exploration!r}: expected a number, at least 0")
        if initial_samples is not None and initial_samples < 1:
            raise UsageError(f"initial_samples={initial_samples!r}: expected at least 1")
        if gp_max_obs < 2:
            raise UsageError(f"gp_max_obs={gp_max_obs!r}: expected at least 2")
        super().__init__(search_space, seed=seed, goal=goal, initial_params=initial_params, max_points=gp_max_obs)
        self.acquisition = acquisition
        self.exploration: float = exploration if exploration is not None else 2.0 if acquisition == "ucb" else 0.0
        self.initial_samples = initial_samples

    def tunables(self) -> Mapping[str, Distribution[Any]]:
        return {
            "acquisition": Choice(ACQUISITIONS),
            "exploration": Uniform(0, 3),
            "initial_samples": Integer(2, 20),
        }

    def _prior(self) -> Prior:
        from metta.sweep.optimizers.protein.gp import Prior

        # Points lie further apart the more parameters there are, so length scales grow with their root, as in Hvarfner
        # et al., 2024. The numbers are those that did best on Hartmann-6, with and without noise, and BBOB.
        length = 0.8 * math.sqrt(len(self._encoding().axes))
        return Prior(noise=1e-3, noise_sd=1.5, length=length, length_sd=0.7, linear=0.1, jitter=1e-6)

    def _propose(self, step: Step) -> Proposal:
        from metta.sweep.optimizers.protein.candidates import Search
        from metta.sweep.optimizers.protein.improving import propose

        initial = self.initial_samples or min(max(2 * len(step.encoding.axes), 5), 10)
        return propose(Search(self.acquisition, self.exploration, initial), step)
