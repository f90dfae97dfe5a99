"""A scheduler that learns what trials cost, and runs those first that promise most for it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar, Literal, NamedTuple, get_args

from metta.sweep.errors import UsageError
from metta.sweep.schedulers.base import (
    Action,
    Decision,
    Done,
    Fork,
    Launch,
    Scheduler,
    Verdict,
    View,
    Wait,
    positive,
    resource_argument,
)
from metta.sweep.schedulers.regression import Guess, LinearModel, features_of
from metta.sweep.space import Choice, Distribution, Integer
from metta.sweep.trial import Report, Result, Trial

Priority = Literal["performance_per_cost", "performance", "cost"]


class _Forecast(NamedTuple):
    """What is expected of a trial: its cost in all, None before anything is known, and how soon it should start."""

    cost: float | None
    priority: float


class ResourceAwareScheduler(Scheduler):
    """Learns the cost of a configuration, starts the most promising one per cost, and packs under a limit.

    It asks the optimizer for `queue_size` more configurations than there are slots, and when a slot is free it starts
    the one of them that comes first by `prioritize_by`:

    - "performance_per_cost": expected improvement over the best score so far, divided by the cost;
    - "performance": expected improvement alone;
    - "cost": the cheapest first.

    Both are predicted from the trials that were trained to their end, by least squares on the parameters in the unit
    interval: the score as it is, the cost by its logarithm. As long as there are not more of these than coefficients,
    the mean is predicted, and before the first of them configurations start in the order of their numbers. With
    several objectives the improvements are added, each in units of what its predictions are off by.

    With a `resource_limit` a trial is started only where its predicted cost fits beside those of the trials that run;
    one that fits nowhere runs alone. Nothing can be predicted before the first trial has ended, so that one runs alone.

    Where costs are measured seconds, which configuration is next depends on them: no seed repeats such a sweep exactly.

    No configuration waits for ever: after `max_wait` trials have ended since it was suggested it comes before all
    that are not waiting as long, and nothing else starts until it fits.

    Args:
        resource_attr: the metric that holds what a trial has used so far; its last report counts. Where it is not
            given, or not reported, the trial's cost: seconds, or what the sweep's `cost_key` holds.
        max_concurrent_trials: trials that may run at once; None for as many as the executor has slots. `max_parallel`
            is accepted too.
        prioritize_by: see above.
        resource_limit: what the trials that run may use together, in the unit of `resource_attr`; None for no limit.
        queue_size: configurations that wait to be chosen from. They count in the budget, and all of them will run.
        max_wait: trials that may end while a configuration waits, before it is the next one.
        max_resource: units of resource (epochs, say) after which a trial is complete; None where trials end by
            themselves. `max_epochs` and `max_t` are accepted too.
        max_parallel: see `max_concurrent_trials`.
        seed: not used; accepted so that schedulers can be swapped.

    Raises:
        UsageError: an argument is out of range.
    """

    forks: ClassVar[bool] = False

    def __init__(
        self,
        resource_attr: str | None = None,
        max_concurrent_trials: int | None = None,
        prioritize_by: Priority = "performance_per_cost",
        *,
        resource_limit: float | None = None,
        queue_size: int = 5,
        max_wait: int = 20,
        max_resource: int | None = None,
        max_epochs: int | None = None,
        max_t: int | None = None,
        max_parallel: int | None = None,
        seed: int | None = None,
    ) -> None:
        limit = resource_argument(None, max_resource=max_resource, max_epochs=max_epochs, max_t=max_t)
        parallel = resource_argument(None, max_concurrent_trials=max_concurrent_trials, max_parallel=max_parallel)
        if parallel is not None:
            positive("max_concurrent_trials", parallel)
        super().__init__(max_resource=limit, max_parallel=parallel, seed=seed)
        if prioritize_by not in get_args(Priority):
            known = ", ".join(map(repr, get_args(Priority)))
            raise UsageError(f"ResourceAwareScheduler(prioritize_by={prioritize_by!r}): expected one of {known}")
        if resource_limit is not None and not 0 < resource_limit < math.inf:
            raise UsageError(f"resource_limit={resource_limit!r}: expected a number above 0, or None for no limit")
        self.resource_attr = resource_attr
        self.prioritize_by: Priority = prioritize_by
        self.resource_limit = resource_limit
        self.queue_size: int = positive("queue_size", queue_size)
        self.max_wait: int = positive("max_wait", max_wait)
        self._costs = LinearModel()
        """Of the logarithm of the cost."""
        self._losses: list[LinearModel] = []
        """One per objective, once a trial has ended."""
        self._best: list[float] = []
        """The smallest loss per objective."""
        self._ended = 0
        self._suggested_at: dict[int, int] = {}
        """For every trial that is not over, how many had ended when it was suggested."""
        self._used: dict[int, float] = {}
        """For every trial that is not over, what it has used by its last report."""
        self._forecasts: dict[int, _Forecast] = {}
        """Those made since the last trial has ended; they follow from the rest."""

    def tunables(self) -> Mapping[str, Distribution[Any]]:
        return {
            "prioritize_by": Choice(get_args(Priority)),
            "queue_size": Integer(1, 20, log=True),
            "max_wait": Integer(5, 50, log=True),
        }

    def expected_cost(self, trial: Trial) -> float | None:
        """What the trial is going to cost in all, in the unit of `resource_attr`; None before anything is known."""
        guess = self._costs.predict(features_of(trial.params, self.search_space))
        return None if guess is None else _exp(guess.mean)

    def next(self, view: View) -> Decision:
        count = view.startable(view.free_slots + self.queue_size)
        if count > 0:
            return Launch(count, self.max_resource)
        return Wait() if view.active else Done()

    def next_start(self, waiting: Iterable[Trial], running: Iterable[Trial]) -> int | None:
        queue = list(waiting)
        overdue = [trial for trial in queue if self._waited(trial) >= self.max_wait]
        # The sort is stable: those that promise the same start in the order of the queue.
        candidates = overdue[:1] or sorted(queue, key=lambda trial: self._forecast(trial).priority, reverse=True)
        room = self._room(list(running))
        return next((trial.id for trial in candidates if self._need(trial) <= room), None)

    def on_launch(self, decision: Launch | Fork, trials: Sequence[Trial]) -> None:
        for trial in trials:
            self._suggested_at[trial.id] = self._ended

    def on_report(self, trial: Trial, report: Report) -> Verdict:
        used = trial.cost if self.resource_attr is None else report.metrics.get(self.resource_attr, trial.cost)
        if used is not None and math.isfinite(used):
            self._used[trial.id] = used
        verdict = super().on_report(trial, report)
        if verdict.action is Action.COMPLETE:
            self.on_complete(trial)
        elif verdict.action is Action.STOP:
            self._leave(trial)
        return verdict

    def on_complete(self, trial: Trial) -> None:
        features = features_of(trial.params, self.search_space)
        used = self._used.get(trial.id, 0.0)
        if used > 0:
            self._costs.add(features, math.log(used))
        if trial.score is not None and Result(trial.score).is_usable:
            losses = self.objectives.losses(trial.score)
            self._losses = self._losses or [LinearModel() for _ in losses]
            self._best = list(map(min, losses, self._best or losses))
            for model, loss in zip(self._losses, losses, strict=True):
                model.add(features, loss)
        self._leave(trial)

    def on_failure(self, trial: Trial) -> None:
        self._leave(trial)

    def state_dict(self) -> dict[str, Any]:
        return {
            "costs": self._costs.to_json(),
            "losses": [model.to_json() for model in self._losses],
            "best": list(self._best),
            "ended": self._ended,
            "suggested_at": sorted(self._suggested_at.items()),
            "used": sorted(self._used.items()),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._costs = LinearModel.from_json(state["costs"])
        self._losses = [LinearModel.from_json(model) for model in state["losses"]]
        self._best = list(state["best"])
        self._ended = state["ended"]
        self._suggested_at = dict(map(tuple, state["suggested_at"]))
        self._used = dict(map(tuple, state["used"]))
        self._forecasts = {}

    def _waited(self, trial: Trial) -> int:
        return self._ended - self._suggested_at.get(trial.id, 0)

    def _forecast(self, trial: Trial) -> _Forecast:
        if trial.id not in self._forecasts:
            features = features_of(trial.params, self.search_space)
            cost = self._costs.predict(features)
            self._forecasts[trial.id] = _Forecast(
                None if cost is None else _exp(cost.mean), self._priority(features, 0.0 if cost is None else cost.mean)
            )
        return self._forecasts[trial.id]

    def _priority(self, features: Sequence[float], log_cost: float) -> float:
        """The larger the sooner."""
        if self.prioritize_by == "cost":
            return -log_cost
        guesses = [model.predict(features) for model in self._losses]
        promises = [_log_improvement(guess, best) for guess, best in zip(guesses, self._best, strict=True) if guess]
        promise = _log_sum(promises) if promises else 0.0
        return promise if self.prioritize_by == "performance" else promise - log_cost

    def _room(self, running: Sequence[Trial]) -> float:
        """What the limit leaves beside the trials that run."""
        if self.resource_limit is None or not running:
            return math.inf
        return self.resource_limit - sum(self._need(trial) for trial in running)

    def _need(self, trial: Trial) -> float:
        """What the trial counts for under the limit: what is predicted, or more if it has used more."""
        if self.resource_limit is None:
            return 0.0
        expected = self._forecast(trial).cost
        return math.inf if expected is None else max(expected, self._used.get(trial.id, 0.0))

    def _leave(self, trial: Trial) -> None:
        self._ended += 1
        self._suggested_at.pop(trial.id, None)
        self._used.pop(trial.id, None)
        self._forecasts.clear()


def _log_improvement(guess: Guess, best: float) -> float:
    """Logarithm of the expected improvement of a loss over `best`, in standard deviations of its normal distribution.

    In logarithms, so that candidates that all promise next to nothing still have an order.
    """
    z = (best - guess.mean) / max(guess.spread, 1e-9 * max(1.0, abs(best)))
    log_density = -0.5 * z * z - 0.5 * math.log(2 * math.pi)
    if z < -20:  # the first terms of the expansion, where the difference below is lost to rounding
        return log_density - 2 * math.log(-z) + math.log1p(-3 / (z * z))
    return math.log(z * 0.5 * math.erfc(-z / math.sqrt(2)) + math.exp(log_density))


def _log_sum(logarithms: Sequence[float]) -> float:
    """log(sum(exp(...)))."""
    largest = max(logarithms)
    return largest + math.log(sum(math.exp(each - largest) for each in logarithms))


def _exp(logarithm: float) -> float:
    """A regression may extrapolate beyond every float."""
    return math.exp(min(max(logarithm, -700.0), 700.0))
