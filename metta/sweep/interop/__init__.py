"""Other tools: sweeps are exported to them, logged to them live, and taken from them.

Names are loaded when they are first used, and the libraries behind them when something is written.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from metta.sweep.interop.export import EXPORTERS as EXPORTERS
    from metta.sweep.interop.export import export_run as export_run
    from metta.sweep.interop.loggers import CSVLogger as CSVLogger
    from metta.sweep.interop.loggers import MLflowLogger as MLflowLogger
    from metta.sweep.interop.loggers import TensorBoardLogger as TensorBoardLogger
    from metta.sweep.interop.loggers import WandbLogger as WandbLogger
    from metta.sweep.interop.optuna_study import load_optuna_study as load_optuna_study

__all__ = [
    "EXPORTERS",
    "CSVLogger",
    "MLflowLogger",
    "TensorBoardLogger",
    "WandbLogger",
    "export_run",
    "load_optuna_study",
]

_HOMES = {
    "CSVLogger": "loggers",
    "EXPORTERS": "export",
    "MLflowLogger": "loggers",
    "TensorBoardLogger": "loggers",
    "WandbLogger": "loggers",
    "export_run": "export",
    "load_optuna_study": "optuna_study",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"metta.sweep.interop.{_HOMES[name]}"), name)
