from collections.abc import Mapping, MutableMapping

from nevergrad.optimization.base import ConfiguredOptimizer, Optimizer

registry: MutableMapping[str, type[Optimizer] | ConfiguredOptimizer]

class ParametrizedCMA(ConfiguredOptimizer):
    def __init__(
        self,
        *,
        scale: float = 1.0,
        elitist: bool = False,
        popsize: int | None = None,
        popsize_factor: float = 3.0,
        diagonal: bool = False,
        zero: bool = False,
        high_speed: bool = False,
        fcmaes: bool = False,
        random_init: bool = False,
        inopts: Mapping[str, object] | None = None,
        algorithm: str = "quad",
    ) -> None: ...

class ConfPSO(ConfiguredOptimizer):
    def __init__(
        self,
        transform: str = "identity",
        popsize: int | None = None,
        omega: float = ...,
        phip: float = ...,
        phig: float = ...,
        qo: bool = False,
        sqo: bool = False,
        so: bool = False,
    ) -> None: ...

class DifferentialEvolution(ConfiguredOptimizer):
    def __init__(
        self,
        *,
        initialization: str = "parametrization",
        scale: str | float = 1.0,
        recommendation: str = "optimistic",
        crossover: str | float = 0.5,
        F1: float = 0.8,
        F2: float = 0.8,
        popsize: str | int = "standard",
        propagate_heritage: bool = False,
        multiobjective_adaptation: bool = True,
        high_speed: bool = False,
    ) -> None: ...
