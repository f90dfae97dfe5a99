"""A search space of one point, to train a configuration again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from metta.sweep.optimizers.grid import GridOptimizer
from metta.sweep.space import Constant


def fixed_at(params: Mapping[str, Any]) -> GridOptimizer:
    """An optimizer that suggests `params`, once: each value is taken as it is, also a tuple or a list."""
    return GridOptimizer({path: Constant(value) for path, value in params.items()})
