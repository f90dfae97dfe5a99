"""Protein: cost-aware Bayesian optimization with a Gaussian process of our own.

`optimizer` and `search` are light; the other modules load numpy, and are imported when a suggestion is asked for.
"""

from metta.sweep.optimizers.protein.optimizer import ProteinOptimizer as ProteinOptimizer
from metta.sweep.optimizers.protein.search import SuggestionInfo as SuggestionInfo

__all__ = ["ProteinOptimizer", "SuggestionInfo"]
