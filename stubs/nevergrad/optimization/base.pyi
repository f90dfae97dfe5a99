from collections.abc import Mapping

from nevergrad.parametrization.parameter import Parameter

class Optimizer:
    # Class attributes of those that say so.
    recast: bool
    no_parallelization: bool
    num_objectives: int
    # Set by __init__.
    parametrization: Parameter
    def __init__(self, parametrization: int | Parameter, budget: int | None = None, num_workers: int = 1) -> None: ...
    def ask(self) -> Parameter: ...
    def tell(
        self,
        candidate: Parameter,
        loss: float | list[float],
        constraint_violation: float | list[float] | None = None,
        penalty_style: list[float] | None = None,
    ) -> None: ...
    def suggest(self, *args: object, **kwargs: object) -> None: ...

class ConfiguredOptimizer:
    def __init__(
        self, OptimizerClass: type[Optimizer], config: Mapping[str, object], as_config: bool = False
    ) -> None: ...
    def __call__(
        self, parametrization: int | Parameter, budget: int | None = None, num_workers: int = 1
    ) -> Optimizer: ...
