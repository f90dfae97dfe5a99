"""Bayesian optimization with a model of the results at all resources."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from metta.sweep.optimizers.bayesian import BayesianOptimizer

if TYPE_CHECKING:
    from metta.sweep.optimizers.protein.search import Proposal
    from metta.sweep.optimizers.protein.step import Step
    from metta.sweep.optimizers.protein.surrogate import Surrogate


class MultiFidelityOptimizer(BayesianOptimizer):
    """Bayesian optimization that learns from cheap results, too: it models every rung of a scheduler.

    `BayesianOptimizer` sees the results at one resource, as BOHB does (Falkner, Klein and Hutter, 2018):
    of 81 configurations that Hyperband starts it uses the 27 that came to the second rung. Here every rung has a
    Gaussian process, of what the rung below does not tell (Kennedy and O'Hagan, 2000), and the suggestion is the one
    with the best acquisition at the highest rung reached. So many results after an epoch say where to look, and few
    after many epochs say how far to believe them: where short trainings mislead, that is learned.

        SweepExperiment(TrainingExperiment, optimizer=MultiFidelityOptimizer(), scheduler=HyperbandScheduler(27))

    Without rungs it is the `BayesianOptimizer`. All arguments are those of `BayesianOptimizer`; `gp_max_obs` counts
    for every rung by itself. Of more than 8 rungs the highest are modeled.
    """

    def state_dict(self) -> dict[str, Any]:
        self._models()  # a surrogate for every resource: `load_state_dict` asks for as many
        return super().state_dict()

    def _models(self) -> dict[str, Surrogate]:
        from metta.sweep.optimizers.multi_fidelity.rungs import name_of
        from metta.sweep.optimizers.protein.surrogate import Surrogate

        for record in self._records:
            for resource in record.results:
                if name_of(resource) not in self._surrogates:
                    new = Surrogate(self._encoding().groups, self._prior(), self._max_points)
                    self._surrogates[name_of(resource)] = new
        return self._surrogates

    def _propose(self, step: Step) -> Proposal:
        from metta.sweep.optimizers.multi_fidelity.rungs import propose
        from metta.sweep.optimizers.protein.candidates import Search

        initial = self.initial_samples or min(max(2 * len(step.encoding.axes), 5), 10)
        return propose(Search(self.acquisition, self.exploration, initial), step)
