"""Hyperband (Li et al., "Hyperband: A Novel Bandit-Based Approach to Hyperparameter Optimization", JMLR 2018)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal, get_args

from metta.sweep.errors import UsageError
from metta.sweep.goal import ranked
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
    resource_argument,
)
from metta.sweep.schedulers.rungs import Rung
from metta.sweep.space import Distribution, Integer
from metta.sweep.trial import Report, Trial

Rule = Literal["algorithm1", "table1"]
Bracket = list[tuple[int, int]]
"""The rungs of a bracket: (configurations, units of resource), from the lowest up."""


class HyperbandScheduler(Scheduler):
    """Runs brackets of successive halving that differ in how many configurations start on how little resource.

    A bracket starts its configurations at its lowest rung. When all of them have come to a rung the best 1 / eta of
    those that are there, at least one, go on to the next from their checkpoints and the others are pruned. Brackets
    run one after the other, the one with the most halvings first. The natural end is after one pass over all
    brackets; a larger budget starts another pass, a smaller one cuts the last bracket short, and a bracket that got
    fewer configurations halves those that it has. So does one in which configurations fail: nobody waits for them.

    A report counts for the highest rung at or below its step only, and results at different rungs are never
    compared. NaN is the worst value, ties break by trial number. Several objectives are ranked by non-domination,
    then by crowding distance.

    It is synchronous: a rung ends when its last configuration does, and the next suggestions know all results, so
    with a seed the trials do not depend on how fast each one runs. Slots are idle towards the end of a rung; where
    there are many of them, `ASHAScheduler` keeps them busy.

    Args:
        max_resource: R, the units of resource of a full training; 81 where it is not given. `max_epochs` and `max_t`
            are accepted too.
        eta: 1 / eta of a rung go on; a whole number, at least 2.
        rule: how many configurations a bracket starts, where the paper disagrees with itself: those of its Algorithm 1
            or those of its Table 1.
        max_parallel: trials that may run at once; None for as many as the executor has slots.
        seed: not used; accepted so that schedulers can be swapped.

    Raises:
        UsageError: an argument is out of range.
    """

    synchronous: ClassVar[bool] = True
    forks: ClassVar[bool] = False

    def __init__(
        self,
        max_resource: int | None = None,
        eta: int = 3,
        rule: Rule = "algorithm1",
        *,
        max_epochs: int | None = None,
        max_t: int | None = None,
        max_parallel: int | None = None,
        seed: int | None = None,
    ) -> None:
        limit = resource_argument(81, max_resource=max_resource, max_epochs=max_epochs, max_t=max_t)
        super().__init__(max_resource=limit, max_parallel=max_parallel, seed=seed)
        self.eta: int = positive("eta", eta, least=2)
        if rule not in get_args(Rule):
            raise UsageError(
                f"HyperbandScheduler(rule={rule!r}): expected one of {', '.join(map(repr, get_args(Rule)))}"
            )
        self.rule: Rule = rule
        self._plan = plan_brackets(limit or 81, self.eta, rule)
        self._started = 0
        """Brackets started so far, over all passes."""
        self._rungs: list[Rung] = []
        """Of the bracket that runs; none between two brackets."""
        self._level = 0
        """The rung of `_rungs` that is being filled."""
        self._members: set[int] = set()
        """The configurations of the bracket that runs."""
        self._going_on: list[int] = []
        """Decided to go on to the rung that is being filled, but not yet told to the driver."""
        self._is_launching = False

    def tunables(self) -> Mapping[str, Distribution[Any]]:
        return {"eta": Integer(2, 5)}

    def brackets(self) -> list[Bracket]:
        """The plan of one pass: for each bracket, in the order they run, its rungs as (configurations, resource)."""
        return [list(bracket) for bracket in self._plan]

    @property
    def natural_budget(self) -> int:
        """The configurations of one pass over all brackets."""
        return sum(bracket[0][0] for bracket in self._plan)

    def next(self, view: View) -> Decision:
        if self._going_on:
            return Resume(self._going_on.pop(0), self._rungs[self._level].resource)
        if view.active:
            return Wait()
        while self._rungs:
            if losers := self._halve():
                return Prune(losers)
            if self._going_on:
                return self.next(view)
        planned = self._plan[self._started % len(self._plan)]
        count = view.startable(planned[0][0])
        if count == 0:
            return Done()
        self._is_launching = True
        return Launch(count, planned[0][1])

    def on_launch(self, decision: Launch | Fork, trials: Sequence[Trial]) -> None:
        if not self._is_launching:
            return  # started by another scheduler, whose sweep this one has taken over: they belong to no bracket
        self._is_launching = False
        if trials:
            planned = self._plan[self._started % len(self._plan)]
            self._rungs = [Rung(resource) for _, resource in planned]
            self._level = 0
            self._members = {trial.id for trial in trials}
            self._started += 1

    def on_report(self, trial: Trial, report: Report) -> Verdict:
        if trial.id not in self._members:
            return super().on_report(trial, report)
        reached = [rung for rung in self._rungs if rung.resource <= report.step]
        if not reached or trial.id in reached[-1].results:
            return CONTINUE
        rung = reached[-1]
        is_top = rung is self._rungs[-1]
        rung.record(trial.id, self.objectives.losses(self.objectives.score(report.metrics)), waits=not is_top)
        return Verdict(Action.COMPLETE if is_top else Action.PAUSE, rung.resource)

    def on_complete(self, trial: Trial) -> None:
        self._withdraw(trial.id)

    def on_failure(self, trial: Trial) -> None:
        self._withdraw(trial.id)

    def state_dict(self) -> dict[str, Any]:
        return {
            "started": self._started,
            "rungs": [rung.to_json() for rung in self._rungs],
            "level": self._level,
            "members": sorted(self._members),
            "going_on": list(self._going_on),
            "is_launching": self._is_launching,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._started = state["started"]
        self._rungs = [Rung.from_json(rung) for rung in state["rungs"]]
        self._level = state["level"]
        self._members = set(state["members"])
        self._going_on = list(state["going_on"])
        self._is_launching = state["is_launching"]

    def _halve(self) -> tuple[int, ...]:
        """Nothing runs: choose who goes on from the rung that was filled; those who do not.

        A rung that nobody came to, because all reports were of later steps or everybody failed, is passed over. After
        the last rung the bracket is over.
        """
        rung = self._rungs[self._level]
        # Below are those that failed, were tried again, and came to their rung when it was decided.
        losers = sorted(number for passed in self._rungs[: self._level] for number in passed.waiting)
        if rung is self._rungs[-1]:
            self._rungs, self._members, self._level = [], set(), 0
            return tuple(losers)
        if rung.waiting:
            order = ranked((number, rung.results[number]) for number in rung.waiting)
            kept = max(1, len(order) // self.eta)
            self._going_on = order[:kept]
            losers = sorted([*losers, *order[kept:]])
        for passed in self._rungs[: self._level + 1]:
            passed.waiting.clear()
        self._level += 1
        return tuple(losers)

    def _withdraw(self, number: int) -> None:
        """It never goes on."""
        for rung in self._rungs:
            rung.waiting.discard(number)


def plan_brackets(max_resource: int, eta: int, rule: Rule = "algorithm1") -> list[Bracket]:
    """The brackets of one pass, from the one with the most halvings (s = s_max) to the one with none (s = 0).

    Li et al., 2018, Algorithm 1 (with n = ceil((B/R) eta^s / (s + 1)) configurations in bracket s) and Table 1 (with
    floor((B/R) / (s + 1)) eta^s), where B/R = s_max + 1. All in whole numbers: a logarithm in floating point loses the
    first bracket of, say, R = 243.

    Args:
        max_resource: R, in units of resource.
        eta: 1 / eta of a rung go on.
        rule: which of the two.
    """
    most_halvings = 0
    while eta ** (most_halvings + 1) <= max_resource:
        most_halvings += 1
    brackets = []
    for halvings in range(most_halvings, -1, -1):
        if rule == "algorithm1":
            count = -(-(most_halvings + 1) * eta**halvings // (halvings + 1))
        else:
            count = (most_halvings + 1) // (halvings + 1) * eta**halvings
        rungs = range(halvings + 1)
        brackets.append([(count // eta**rung, max_resource // eta ** (halvings - rung)) for rung in rungs])
    return brackets
