"""Policies that share a fixed amount of resource out among a population of configurations, round by round.

They differ in `divide` only: who gets how much in the next round.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from metta.sweep.errors import UsageError
from metta.sweep.goal import Losses, ranked
from metta.sweep.schedulers.base import (
    CONTINUE,
    Action,
    Decision,
    Done,
    Fork,
    Launch,
    Prune,
    Resume,
    Scheduler,
    Verdict,
    View,
    Wait,
    positive,
)
from metta.sweep.schedulers.exploit import is_finite
from metta.sweep.space import Distribution, Integer, Uniform
from metta.sweep.trial import Report, Trial, number_to_json

Curve = Sequence[tuple[int, Losses]]
"""A learning curve: (step, losses) of every report, in ascending steps."""


@dataclass(slots=True)
class Member:
    """A configuration among those that share.

    Attributes:
        trial: its number.
        until: units of resource that it has been granted in all.
        waits: True while it is paused and may be granted more.
        curve: (step, losses) of its reports.
    """

    trial: int
    until: int
    waits: bool = False
    curve: list[tuple[int, Losses]] = field(default_factory=list)

    @property
    def step(self) -> int:
        """The last step reported; 0 before the first."""
        return self.curve[-1][0] if self.curve else 0

    @property
    def used(self) -> int:
        """Units that it has cost or may still cost: a training that reports rarely may go beyond its grant."""
        return max(self.until, self.step)

    def to_json(self) -> list[Any]:
        """The member as JSON values."""
        curve = [[step, list(map(number_to_json, losses))] for step, losses in self.curve]
        return [self.trial, self.until, self.waits, curve]

    @classmethod
    def from_json(cls, data: Sequence[Any]) -> Member:
        """The member that `to_json` wrote."""
        trial, until, waits, curve = data
        return cls(trial, until, waits, [(step, tuple(map(float, losses))) for step, losses in curve])


class AllocationPolicy(Scheduler, ABC):
    """The base of the policies: launches a population and shares resource out among its members in rounds.

    All members start on one `unit`. When all that run have used what they were granted, `divide` says who of those that
    wait goes on for how much, until `population * mean_resource` units are spent or nobody can use them; what a member
    leaves, because it fails or ends early, goes to the others. A member that has been granted the last of the resource,
    or `max_resource`, is then completed; those that were passed over are pruned. A larger budget shares the same again
    among another population, a smaller one makes the population, and what it shares, smaller.

    It is synchronous: the next round begins when the last member of this one is through, so with a seed the trials do
    not depend on how fast each one runs. NaN is the worst score.

    Args:
        population: configurations that share.
        max_resource: units of resource of a full training: the most that one may get.
        mean_resource: units per configuration that there are to share; by default a third of `max_resource`.
        unit: units of a grant; by default a ninth of `max_resource`. The smaller, the finer the shares, and the more
            often training is paused and taken up again.
        max_parallel: trials that may run at once; None for as many as the executor has slots.
        seed: not used; accepted so that schedulers can be swapped.

    Raises:
        UsageError: an argument is out of range.
    """

    synchronous: ClassVar[bool] = True
    forks: ClassVar[bool] = False

    def __init__(
        self,
        population: int = 9,
        max_resource: int = 27,
        mean_resource: int | None = None,
        unit: int | None = None,
        *,
        max_parallel: int | None = None,
        seed: int | None = None,
    ) -> None:
        super().__init__(max_resource=max_resource, max_parallel=max_parallel, seed=seed)
        self.population: int = positive("population", population)
        self._most = max_resource
        share = max(1, max_resource // 3) if mean_resource is None else positive("mean_resource", mean_resource)
        if share > max_resource:
            raise UsageError(f"mean_resource={share} is above max_resource={max_resource}: lower it")
        self.mean_resource: int = share
        self.unit: int = max(1, max_resource // 9) if unit is None else positive("unit", unit)
        self._members: dict[int, Member] = {}
        self._going_on: list[int] = []
        """Granted more in the round that begins, but not yet told to the driver."""
        self._is_launching = False

    @abstractmethod
    def divide(self, waiting: Mapping[int, Curve], left: int) -> Mapping[int, int]:
        """Who goes on in the next round, and for how much.

        Args:
            waiting: the curve of every trial that waits, by number; none has had `max_resource`.
            left: units of resource that are left, at least 1.

        Returns:
            Number -> units, handed out in this order while there are any left, and never beyond `max_resource`. Nobody:
            the sharing is over.
        """

    def tunables(self) -> Mapping[str, Distribution[Any]]:
        """How fine the shares are; how much is shared stays as it is."""
        return {"unit": Integer(1, self.mean_resource, log=True)} if self.mean_resource > 1 else {}

    @property
    def natural_budget(self) -> int:
        """One population."""
        return self.population

    def next(self, view: View) -> Decision:
        if not self._going_on and not view.active:
            self._begin_round()
        if self._going_on:
            number = self._going_on.pop(0)
            return Resume(number, self._members[number].until)
        if view.active:
            return Wait()
        passed_over = tuple(sorted(member.trial for member in self._members.values() if member.waits))
        self._members = {}
        if passed_over:
            return Prune(passed_over)
        count = view.startable(self.population)
        if count == 0:
            return Done()
        self._is_launching = True
        return Launch(count, min(self.unit, self.mean_resource))

    def on_launch(self, decision: Launch | Fork, trials: Sequence[Trial]) -> None:
        if not self._is_launching:
            return  # started by another scheduler, whose sweep this one has taken over: they have no share
        self._is_launching = False
        self._members = {trial.id: Member(trial.id, decision.until or self.unit) for trial in trials}

    def on_report(self, trial: Trial, report: Report) -> Verdict:
        member = self._members.get(trial.id)
        if member is None:  # of another scheduler, or tried again after its population was through
            return Verdict(Action.COMPLETE, report.step) if 0 < trial.resource <= report.step else CONTINUE
        member.curve.append((report.step, self.objectives.losses(self.objectives.score(report.metrics))))
        if report.step >= self._most or (report.step >= member.until and self.left <= 0):
            member.until = report.step
            return Verdict(Action.COMPLETE, report.step)
        if report.step < member.until:
            return CONTINUE
        member.waits = True
        return Verdict(Action.PAUSE, report.step)

    def on_complete(self, trial: Trial) -> None:
        self._leave(trial.id)

    def on_failure(self, trial: Trial) -> None:
        self._leave(trial.id)

    def state_dict(self) -> dict[str, Any]:
        return {
            "members": [member.to_json() for member in self._members.values()],
            "going_on": list(self._going_on),
            "is_launching": self._is_launching,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        members = map(Member.from_json, state["members"])
        self._members = {member.trial: member for member in members}
        self._going_on = list(state["going_on"])
        self._is_launching = state["is_launching"]

    def __repr__(self) -> str:
        shown = f"population={self.population}, max_resource={self._most}, mean_resource={self.mean_resource}"
        return f"{type(self).__name__}({shown}, unit={self.unit})"

    @property
    def left(self) -> int:
        """Units of resource that the population has been granted to nobody; negative where grants were overstepped."""
        return self.mean_resource * len(self._members) - sum(member.used for member in self._members.values())

    def _begin_round(self) -> None:
        waiting = {number: member.curve for number, member in self._members.items() if member.waits}
        if not waiting or self.left <= 0:
            return
        for number, units in self.divide(waiting, self.left).items():
            member = self._members[number]
            granted = min(units, self.left, self._most - member.used)
            if granted > 0:
                member.until, member.waits = member.used + granted, False
                self._going_on.append(number)

    def _leave(self, number: int) -> None:
        """It never goes on; what it has not used is the others'."""
        if (member := self._members.get(number)) is not None:
            member.until, member.waits = member.step, False


class EqualAllocation(AllocationPolicy):
    """Every configuration gets the same: one `unit` each, round by round. For the arguments see `AllocationPolicy`.

    What the other policies have to beat. It never takes one training for better than another, so it is right where
    early scores say nothing about late ones.
    """

    def tunables(self) -> Mapping[str, Distribution[Any]]:
        """None: in how many rounds all get the same makes no difference."""
        return {}

    def divide(self, waiting: Mapping[int, Curve], left: int) -> Mapping[int, int]:
        return dict.fromkeys(waiting, min(self.unit, left // len(waiting)))


class ProportionalToPromise(AllocationPolicy):
    """A configuration's share of a round is in proportion to its promise.

    In a round there are as many units as configurations that wait. The promise is exp(-q / temperature), where q goes
    evenly from 0 for the best to 1 for the worst of their last scores: exponential ranking (Blickle and Thiele, "A
    Comparison of Selection Schemes Used in Evolutionary Algorithms", 1996), which neither the scale of the scores nor
    one that has diverged can upset. Shares are rounded to whole units by largest remainder, so the worst often get
    none. Several objectives are ranked by non-domination, then by crowding distance.

    A configuration that has trained longer is compared by what it has reached, so a lead pays off; `AdaptiveBandit`
    looks ahead.

    Args:
        population, max_resource, mean_resource, unit, max_parallel, seed: see `AllocationPolicy`.
        temperature: the lower, the more the best get; with a high one it is `EqualAllocation`.

    Raises:
        UsageError: an argument is out of range.
    """

    def __init__(
        self,
        population: int = 9,
        max_resource: int = 27,
        mean_resource: int | None = None,
        unit: int | None = None,
        *,
        temperature: float = 0.25,
        max_parallel: int | None = None,
        seed: int | None = None,
    ) -> None:
        super().__init__(population, max_resource, mean_resource, unit, max_parallel=max_parallel, seed=seed)
        if not 0 < temperature < math.inf:
            raise UsageError(f"temperature={temperature!r}: expected a number above 0")
        self.temperature = temperature

    def tunables(self) -> Mapping[str, Distribution[Any]]:
        return {**super().tunables(), "temperature": Uniform(0.05, 1.0)}

    def divide(self, waiting: Mapping[int, Curve], left: int) -> Mapping[int, int]:
        order = ranked((number, curve[-1][1]) for number, curve in waiting.items())
        worst = max(1, len(order) - 1)
        promises = [math.exp(-place / worst / self.temperature) for place in range(len(order))]
        units = min(len(order), -(-left // self.unit))
        shares = apportioned(promises, units)
        return {number: share * self.unit for number, share in zip(order, shares, strict=True) if share}


class AdaptiveBandit(AllocationPolicy):
    """Each unit goes to the configuration with the largest optimistic forecast of its final score.

    A configuration is an arm of a rested rising bandit: its score grows, ever more slowly, with what it is given. So
    the tangent at the end of its learning curve is an upper bound on what it can still reach (Heidari, Kearns, Roth,
    "Tight Policy Regret Bounds for Improving and Decaying Bandits", IJCAI 2016). Against noise level and slope are
    those of the means of the last `window` of the reports and of as many before them (Metelli et al., "Stochastic
    Rising Bandits", ICML 2022, the estimator of R-ed-UCB). The forecast is for `max_resource`, or for less where less
    is left to give: towards the end the best of now counts more than what might become of others.

    A configuration with a single report is tried first; one whose last score is no finite number comes last. Several
    objectives are forecast one by one and ranked by non-domination, then by crowding distance.

    Args:
        population, max_resource, mean_resource, unit, max_parallel, seed: see `AllocationPolicy`.
        window: the part of a curve whose mean counts, above 0 and at most 0.5. A larger one bears more noise, and is
            more optimistic.
        batch_size: how many configurations, the best ones, get a unit at once: more of them keep more slots busy, and
            are chosen on older news.

    Raises:
        UsageError: an argument is out of range.
    """

    def __init__(
        self,
        population: int = 9,
        max_resource: int = 27,
        mean_resource: int | None = None,
        unit: int | None = None,
        *,
        window: float = 0.25,
        batch_size: int = 1,
        max_parallel: int | None = None,
        seed: int | None = None,
    ) -> None:
        super().__init__(population, max_resource, mean_resource, unit, max_parallel=max_parallel, seed=seed)
        if not 0 < window <= 0.5:
            raise UsageError(f"window={window!r}: expected a number above 0, at most 0.5")
        self.window = window
        self.batch_size: int = positive("batch_size", batch_size)

    def tunables(self) -> Mapping[str, Distribution[Any]]:
        return {**super().tunables(), "window": Uniform(0.05, 0.5), "batch_size": Integer(1, 16)}

    def divide(self, waiting: Mapping[int, Curve], left: int) -> Mapping[int, int]:
        forecasts = (
            (number, forecast(curve, min(self._most, curve[-1][0] + left), self.window))
            for number, curve in waiting.items()
        )
        return dict.fromkeys(ranked(forecasts)[: self.batch_size], self.unit)


def forecast(curve: Curve, step: int, window: float) -> Losses:
    """The losses that a configuration might have at `step`, if it goes on as well as now.

    Args:
        curve: its reports, at least one.
        step: at or after the last report.
        window: the part of the curve whose mean counts, at most 0.5.
    """
    last = curve[-1][1]
    if not is_finite(last):
        return tuple(math.inf for _ in last)
    size = max(1, math.floor(len(curve) * window))
    recent, earlier = curve[-size:], curve[-2 * size : -size]
    if len(earlier) < size or not all(is_finite(losses) for _, losses in (*recent, *earlier)):
        return tuple(-math.inf for _ in last)
    (late, now), (early, before) = _mean(recent), _mean(earlier)
    slopes = (min(0.0, (b - a) / (late - early)) for a, b in zip(before, now, strict=True))
    return tuple(level + slope * (step - late) for level, slope in zip(now, slopes, strict=True))


def _mean(curve: Curve) -> tuple[float, Losses]:
    """The mean step and the mean losses."""
    columns = zip(*(losses for _, losses in curve), strict=True)
    return sum(step for step, _ in curve) / len(curve), tuple(math.fsum(column) / len(curve) for column in columns)


def apportioned(weights: Sequence[float], units: int) -> list[int]:
    """`units` shared in proportion to `weights`, as whole numbers, by the method of largest remainders.

    Weights are not negative, and not all zero. Equal remainders go to the first.
    """
    total = math.fsum(weights)
    quotas = [units * weight / total for weight in weights]
    shares = [math.floor(quota) for quota in quotas]
    by_remainder = sorted(range(len(quotas)), key=lambda index: (shares[index] - quotas[index], index))
    for index in by_remainder[: units - sum(shares)]:
        shares[index] += 1
    return shares
