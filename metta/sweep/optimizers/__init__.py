"""Optimizers: what to try next."""

from typing import Any

from metta.sweep.optimizers.ax import AxOptimizer as AxOptimizer
from metta.sweep.optimizers.base import Optimizer as Optimizer
from metta.sweep.optimizers.base import Restored as Restored
from metta.sweep.optimizers.bayesian import BayesianOptimizer as BayesianOptimizer
from metta.sweep.optimizers.evolution import EvolutionaryStrategy as EvolutionaryStrategy
from metta.sweep.optimizers.grid import GridOptimizer as GridOptimizer
from metta.sweep.optimizers.multi_fidelity.optimizer import MultiFidelityOptimizer as MultiFidelityOptimizer
from metta.sweep.optimizers.nevergrad import NevergradOptimizer as NevergradOptimizer
from metta.sweep.optimizers.optuna import OptunaOptimizer as OptunaOptimizer
from metta.sweep.optimizers.protein import ProteinOptimizer as ProteinOptimizer
from metta.sweep.optimizers.random import RandomOptimizer as RandomOptimizer
from metta.sweep.optimizers.sobol import SobolOptimizer as SobolOptimizer
from metta.sweep.optimizers.transfer.optimizer import TransferOptimizer as TransferOptimizer
from metta.sweep.registry import Registry

__all__ = [
    "OPTIMIZERS",
    "AxOptimizer",
    "BayesianOptimizer",
    "EvolutionaryStrategy",
    "GridOptimizer",
    "MultiFidelityOptimizer",
    "NevergradOptimizer",
    "Optimizer",
    "OptunaOptimizer",
    "ProteinOptimizer",
    "RandomOptimizer",
    "Restored",
    "SobolOptimizer",
    "TransferOptimizer",
    "create_optimizer",
]

OPTIMIZERS = Registry(
    "optimizer",
    {
        "ax": "metta.sweep.optimizers.ax:AxOptimizer",
        "bayesian": "metta.sweep.optimizers.bayesian:BayesianOptimizer",
        "evolutionary_strategy": "metta.sweep.optimizers.evolution:EvolutionaryStrategy",
        "grid": "metta.sweep.optimizers.grid:GridOptimizer",
        "multi_fidelity": "metta.sweep.optimizers.multi_fidelity.optimizer:MultiFidelityOptimizer",
        "nevergrad": "metta.sweep.optimizers.nevergrad:NevergradOptimizer",
        "optuna": "metta.sweep.optimizers.optuna:OptunaOptimizer",
        "protein": "metta.sweep.optimizers.protein:ProteinOptimizer",
        "random": "metta.sweep.optimizers.random:RandomOptimizer",
        "sobol": "metta.sweep.optimizers.sobol:SobolOptimizer",
        "transfer": "metta.sweep.optimizers.transfer.optimizer:TransferOptimizer",
    },
)


_BY_ACQUISITION = {
    "ei": ("bayesian", {"acquisition": "ei"}),
    "ucb": ("bayesian", {"acquisition": "ucb"}),
    "naive": ("protein", {"acquisition_fn": "naive"}),
}


def create_optimizer(name: str = "bayesian", **config: Any) -> Optimizer:
    """The optimizer registered as `name` ("random", "OptunaOptimizer", ...), made with `config`.

    An acquisition function is a name, too: "ei" and "ucb" stand for a BayesianOptimizer with it, "naive" for Protein.

    Raises:
        UsageError: no such name (the message names the nearest), or an argument it does not take.
    """
    known, implied = _BY_ACQUISITION.get(str(name).lower(), (name, {}))
    optimizer: Optimizer = OPTIMIZERS.create(known, implied | config)
    return optimizer
