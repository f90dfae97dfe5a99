"""How long a sweep goes on."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

from metta.sweep.errors import UsageError


@dataclass(frozen=True, slots=True)
class Spent:
    """What a sweep has used so far.

    Attributes:
        trials: configurations started.
        seconds: wall time.
        resource: units of resource over all trials, recomputed ones included, and one for each trial that has failed
            before its first report.
        cost: the sum over all trials.
        best: the best score, larger is better (negated when the goal is to minimize); None without one.
        since_best: results since the best score got better: trials that have ended, and rungs at which one was paused.
        failures: trials that have failed for good.
    """

    trials: int = 0
    seconds: float = 0.0
    resource: int = 0
    cost: float = 0.0
    best: float | None = None
    since_best: int = 0
    failures: int = 0


@dataclass(frozen=True, slots=True)
class Budget:
    """Limits of a sweep; the first one that is reached counts, None is no limit.

    `trials` and `patience` only end the launching: trials that were started still reach their natural end,
    promotions included. The others end the sweep: what runs then is cancelled, with the score it has.

    Args:
        trials: configurations started, failed ones included; promotions, retries and forks do not count.
        seconds: wall time of the sweep.
        target_score: stop as soon as a trial has reported a score at least this good.
        patience: stop after this many results in a row without a better best score: of trials that have ended, and at
            rungs where a trial was paused. The trial that holds the best score does not count.
        resource: units of resource (epochs, say) summed over all trials; one for a trial that fails before its first
            report.
        cost: cost summed over all trials, in the unit of the sweep's `cost_key` (default: seconds).
        failures: stop when this many trials have failed for good; 1 to fail fast. Without it a sweep goes on, whatever
            fails.

    Raises:
        UsageError: a limit is not positive, or is no number.
    """

    trials: int | None = None
    seconds: float | None = None
    target_score: float | None = None
    patience: int | None = None
    resource: int | None = None
    cost: float | None = None
    failures: int | None = None

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if value is None:
                continue
            whole = field.name in ("trials", "patience", "resource", "failures")
            right = isinstance(value, int) if whole else isinstance(value, int | float) and math.isfinite(value)
            if isinstance(value, bool) or not right or (value <= 0 and field.name != "target_score"):
                expected = "a whole number" if whole else "a number"
                sign = "" if field.name == "target_score" else " above 0"
                raise UsageError(f"Budget({field.name}={value!r}): expected {expected}{sign}")

    @classmethod
    def of(cls, budget: int | Budget | None) -> Budget:
        """`run(budget=...)`: a number of trials, a Budget, or None for no limit.

        Raises:
            UsageError: it is none of these, or not positive.
        """
        if budget is None:
            return cls()
        if isinstance(budget, Budget):
            return budget
        if isinstance(budget, bool) or not isinstance(budget, int) or budget <= 0:
            raise UsageError(f"budget={budget!r}: expected a number of trials above 0, or a Budget(...)")
        return cls(trials=budget)

    def remaining(self, spent: Spent) -> int | None:
        """How many more configurations may start; None for no limit."""
        if self.spent_up(spent) is not None:
            return 0
        return None if self.trials is None else self.trials - spent.trials

    def spent_up(self, spent: Spent) -> str | None:
        """Which limit ends the launching now, as a phrase; None while none does."""
        if self.patience is not None and spent.since_best >= self.patience:
            return f"{self.patience} results in a row were no better"
        if self.trials is not None and spent.trials >= self.trials:
            return "the budget of trials was used up"
        return None

    def end(self, spent: Spent, sign: int = 1) -> str | None:
        """Which limit ends the sweep now, as a phrase; None while none does.

        Args:
            spent: what was used.
            sign: -1 when the goal is to minimize: `spent.best` is then the negated score.
        """
        if self.target_score is not None and spent.best is not None and spent.best >= sign * self.target_score:
            return f"the target score {self.target_score:g} was reached"
        if self.seconds is not None and spent.seconds >= self.seconds:
            return f"the time budget of {self.seconds:g} s was used up"
        if self.resource is not None and spent.resource >= self.resource:
            return f"the resource budget of {self.resource} was used up"
        if self.cost is not None and spent.cost >= self.cost:
            return f"the cost budget of {self.cost:g} was used up"
        if self.failures is not None and spent.failures >= self.failures:
            return f"{spent.failures} trial{'s' if spent.failures > 1 else ''} failed"
        return None
