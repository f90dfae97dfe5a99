"""Optimizers: what to try next."""

from typing import Any

from metta.sweep.optimizers.base import Optimizer as Optimizer
from metta.sweep.optimizers.base import Restored as Restored
from metta.sweep.optimizers.optuna import OptunaOptimizer as OptunaOptimizer
from metta.sweep.optimizers.random import RandomOptimizer as RandomOptimizer
from metta.sweep.registry import Registry

__all__ = [
    "OPTIMIZERS",
    "Optimizer",
    "OptunaOptimizer",
    "RandomOptimizer",
    "Restored",
    "create_optimizer",
]

OPTIMIZERS = Registry(
    "optimizer",
    {
        "optuna": "metta.sweep.optimizers.optuna:OptunaOptimizer",
        "random": "metta.sweep.optimizers.random:RandomOptimizer",
    },
)


def create_optimizer(name: str, **config: Any) -> Optimizer:
    """The optimizer registered as `name` ("random", "OptunaOptimizer", ...), made with `config`.

    Raises:
        UsageError: no such name (the message names the nearest), or an argument it does not take.
    """
    optimizer: Optimizer = OPTIMIZERS.create(name, config)
    return optimizer
