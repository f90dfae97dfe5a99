"""Which optimizers and schedulers can be brought back from their own state, and which only by a replay."""

from __future__ import annotations

from typing import Any

from metta.sweep.optimizers.base import Optimizer
from metta.sweep.schedulers.base import Scheduler

_OPTIMIZER_CALLS = ("suggest", "observe")
_SCHEDULER_CALLS = (
    "should_stop",
    "next",
    "on_launch",
    "on_report",
    "on_complete",
    "on_failure",
)
_OPTIMIZER_BASE = {"search_space", "seed", "goal"}
_SCHEDULER_BASE = {"max_resource", "max_parallel", "seed", "objectives"}


def state_of(part: Optimizer | Scheduler) -> dict[str, Any] | None:
    """Its `state_dict`; None where that cannot be all there is.

    A class that changes the behaviour of its base and not its `state_dict` may keep things that the state lacks,
    unless it has no attributes but those of `Optimizer` or `Scheduler`.
    """
    calls, base = (
        (_OPTIMIZER_CALLS, _OPTIMIZER_BASE) if isinstance(part, Optimizer) else (_SCHEDULER_CALLS, _SCHEDULER_BASE)
    )
    kind = type(part)
    depth = _depth(kind, "state_dict")
    if any(_depth(kind, name) < depth for name in calls) and not vars(part).keys() <= base:
        return None
    return part.state_dict()


def _depth(kind: type[Any], name: str) -> int:
    """How far up the class that defines `name` is: 0 for `kind` itself."""
    return next(index for index, cls in enumerate(kind.__mro__) if name in cls.__dict__)
