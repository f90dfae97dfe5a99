"""Evolution strategies with a population of a given size."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from metta.sweep.errors import UsageError
from metta.sweep.goal import Goal
from metta.sweep.optimizers.nevergrad import NevergradOptimizer
from metta.sweep.space import Choice, Distribution, Integer, SearchSpace

if TYPE_CHECKING:
    import nevergrad as ng
    from nevergrad.optimization import Optimizer as Library

_FAMILIES = {
    "CMA": "ParametrizedCMA",
    "DE": "DifferentialEvolution",
    "PSO": "ConfPSO",
}
"""Algorithm -> Nevergrad's family of it, which takes the size of the population."""


class EvolutionaryStrategy(NevergradOptimizer):
    """Evolves a population of configurations: covariance matrix adaptation, if nothing else is said.

    A `NevergradOptimizer` with few choices, fit for small and noisy problems such as a search over whole sweeps.

    Args:
        search_space, seed, goal: see `Optimizer`.
        algorithm: "CMA" (Hansen and Ostermeier, 2001), "DE" (Storn and Price, 1997) or "PSO" (Kennedy and Eberhart,
            1995). One parameter alone has no covariance: "CMA" then is "DE".
        population_size: members of a generation, at least 2; None for the algorithm's own size, which grows with the
            number of parameters.
        budget, num_workers, initial_params: see `NevergradOptimizer`.

    Raises:
        UsageError: no such algorithm, or a population of less than 2.
        MissingExtraError: Nevergrad is not installed.
    """

    def __init__(
        self,
        search_space: SearchSpace | Mapping[str, object] | None = None,
        algorithm: str = "CMA",
        *,
        population_size: int | None = None,
        seed: int | None = None,
        goal: Goal | None = None,
        budget: int | None = None,
        num_workers: int = 1,
        initial_params: Sequence[Mapping[str, Any]] = (),
    ) -> None:
        keys = {known.lower(): known for known in _FAMILIES}
        known = keys.get(str(algorithm).lower().replace("-", "").removesuffix("es"))
        if known is None:
            near = get_close_matches(str(algorithm).lower(), list(keys), n=1)
            hint = f"did you mean {keys[near[0]]!r}?" if near else f"there is {', '.join(_FAMILIES)}"
            raise UsageError(f"there is no algorithm {algorithm!r}: {hint} (NevergradOptimizer has more)")
        if population_size is not None and (
            isinstance(population_size, bool) or not isinstance(population_size, int) or population_size < 2
        ):
            raise UsageError(f"population_size={population_size!r}: expected a whole number, at least 2")
        super().__init__(
            search_space,
            known,
            seed=seed,
            goal=goal,
            budget=budget,
            num_workers=num_workers,
            initial_params=initial_params,
        )
        self.population_size = population_size

    def tunables(self) -> Mapping[str, Distribution[Any]]:
        return {"algorithm": Choice(_FAMILIES), "population_size": Integer(4, 40, log=True)}

    def _make(self, parametrization: ng.p.Dict) -> Library:
        import nevergrad as ng

        alone = self.algorithm == "CMA" and parametrization.dimension == 1
        if self.population_size is None and not alone:
            return super()._make(parametrization)
        family = getattr(ng.optimizers, _FAMILIES["DE" if alone else self.algorithm])
        size = {} if self.population_size is None else {"popsize": self.population_size}
        made: Library = family(**size)(parametrization, self.budget, self.num_workers)
        return made
