"""A new trial whenever a slot is free."""

from __future__ import annotations

from typing import ClassVar

from metta.sweep.schedulers.base import Scheduler, resource_argument


class AsynchronousScheduler(Scheduler):
    """Launches a new trial whenever a slot is free; every trial runs to its end.

    Args:
        max_parallel: trials that may run at once; None for as many as the executor has slots.
        max_resource: units of resource after which a trial is complete; `max_epochs` and `max_t` are accepted too.
        seed: not used; accepted so that schedulers can be swapped.
    """

    forks: ClassVar[bool] = False

    def __init__(
        self,
        max_parallel: int | None = None,
        *,
        max_resource: int | None = None,
        max_epochs: int | None = None,
        max_t: int | None = None,
        seed: int | None = None,
    ) -> None:
        limit = resource_argument(None, max_resource=max_resource, max_epochs=max_epochs, max_t=max_t)
        super().__init__(max_resource=limit, max_parallel=max_parallel, seed=seed)
