"""Full batches: the next one starts when the last one has ended."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from metta.sweep.schedulers.base import Decision, Done, Launch, Scheduler, View, Wait, positive, resource_argument
from metta.sweep.space import Distribution, Integer


class SynchronousBatchScheduler(Scheduler):
    """Suggests a whole batch at once, runs it, and starts the next when all of it has ended.

    The results of a batch reach the optimizer together, in the order of trial numbers: with a seed the trials do not
    depend on how fast each one runs. The last batch is as small as the budget leaves it.

    Args:
        batch_size: trials per batch.
        max_parallel: trials of a batch that may run at once; None for as many as the executor has slots.
        max_resource: units of resource after which a trial is complete; `max_epochs` and `max_t` are accepted too.
        seed: not used; accepted so that schedulers can be swapped.
    """

    synchronous: ClassVar[bool] = True
    forks: ClassVar[bool] = False

    def __init__(
        self,
        batch_size: int = 10,
        max_parallel: int | None = None,
        *,
        max_resource: int | None = None,
        max_epochs: int | None = None,
        max_t: int | None = None,
        seed: int | None = None,
    ) -> None:
        self.batch_size: int = positive("batch_size", batch_size)
        limit = resource_argument(None, max_resource=max_resource, max_epochs=max_epochs, max_t=max_t)
        super().__init__(max_resource=limit, max_parallel=max_parallel, seed=seed)

    def tunables(self) -> Mapping[str, Distribution[Any]]:
        return {"batch_size": Integer(1, 16)}

    def next(self, view: View) -> Decision:
        if view.active:
            return Wait()
        count = view.startable(self.batch_size)
        return Launch(count, self.max_resource) if count else Done()


BatchScheduler = SynchronousBatchScheduler
