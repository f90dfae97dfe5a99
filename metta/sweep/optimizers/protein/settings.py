"""The settings of Protein, checked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, Literal

from metta.sweep.errors import UsageError

Acquisition = Literal["naive", "ei", "ucb"]
Design = Literal["center", "sobol"]
Scale = float | Literal["auto", "time"]

ACQUISITIONS: tuple[Acquisition, ...] = ("naive", "ei", "ucb")
DESIGNS: tuple[Design, ...] = ("center", "sobol")


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The arguments of `ProteinOptimizer`, which says what they mean.

    Raises:
        UsageError: an unknown name, or a number out of range.
    """

    acquisition_fn: Acquisition
    ucb_beta: float
    max_suggestion_cost: float
    resample_frequency: int
    expansion_rate: float
    randomize_acquisition: bool
    suggestions_per_pareto: int
    random_suggestions: int
    num_random_samples: int
    global_search_scale: float
    seed_with_search_center: bool
    prune_pareto: bool
    search_center: Mapping[str, Any]
    scale: Mapping[str, Scale]
    random_design: Design
    gp_max_obs: int

    def __post_init__(self) -> None:
        check_name("acquisition_fn", self.acquisition_fn, ACQUISITIONS)
        check_name("random_design", self.random_design, DESIGNS)
        for name in ("ucb_beta", "max_suggestion_cost", "global_search_scale"):
            if not getattr(self, name) > 0:
                raise UsageError(f"{name}={getattr(self, name)!r}: expected a number above 0")
        least = {"suggestions_per_pareto": 1, "random_suggestions": 1, "gp_max_obs": 2}
        for name in (*least, "resample_frequency", "expansion_rate", "num_random_samples"):
            if not getattr(self, name) >= least.get(name, 0):
                raise UsageError(f"{name}={getattr(self, name)!r}: expected at least {least.get(name, 0)}")
        for path, scale in self.scale.items():
            if scale not in ("auto", "time") and (isinstance(scale, str) or not scale > 0):
                raise UsageError(f'scale of {path!r}: expected "auto", "time" or a number above 0; found {scale!r}')


def check_name(argument: str, value: object, names: Sequence[str]) -> None:
    """Raise a `UsageError` that lists `names` if `value` is none of them."""
    if value not in names:
        near = get_close_matches(str(value).lower(), names, n=1)
        hint = f" (did you mean {near[0]!r}?)" if near else ""
        raise UsageError(f"{argument}={value!r}: expected {', '.join(map(repr, names))}{hint}")
