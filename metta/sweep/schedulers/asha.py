"""Asynchronous successive halving (Li et al., "A System for Massively Parallel Hyperparameter Tuning", MLSys 2020)."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal, get_args

from metta.sweep.errors import UsageError
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
from metta.sweep.space import Choice, Distribution, Integer
from metta.sweep.trial import Report, Trial

Mode = Literal["promotion", "stopping"]

DEFAULT_GRACE_PERIOD = 10

LARGEST_TUNED_FACTOR = 6
"""The largest reduction factor that `tunables` offers; the theory's best is e, and 3 and 4 are usual."""


class ASHAScheduler(Scheduler):
    """Starts many configurations on little resource and gives more to the best, without waiting for anybody.

    Rungs lie at grace_period * reduction_factor^k up to `max_epochs`, and at `max_epochs` itself.

    - mode "promotion" (the paper's Algorithm 2): every configuration pauses at its rung. A free slot goes to the best
      not yet promoted configuration among the top 1 / reduction_factor of a rung, looked for from the rung below
      the top down; if there is none, to a new configuration. When the budget is spent, promotions go on until
      there are none; what is still paused then is pruned.
    - mode "stopping": a configuration that reaches a rung goes on if it is in the top
      max(1, floor(m / reduction_factor)) of the m results there, its own included, ties kept; else it is pruned.

    A report counts for the highest rung at or below its step only, and once per rung; results at different rungs
    are never compared. NaN is the worst value, ties break by trial number. Several objectives are ranked by
    non-domination, then by crowding distance. A configuration that fails keeps its earlier results and is never
    promoted.

    With `brackets` > 1 bracket s starts at grace_period * reduction_factor^s, and a new configuration is put into a
    bracket at random with the chances in proportion to Hyperband's numbers of configurations.

    Args:
        max_epochs: units of resource of a full training; `max_resource` and `max_t` are accepted too.
        reduction_factor: the top 1 / reduction_factor go on; at least 2.
        grace_period: units of resource at the first rung; None for 10, or for the last rung but the end of a training
            of at most 10.
        brackets: how many brackets.
        mode: "promotion" or "stopping".
        seed: draws the brackets; None to take the run's.
        max_parallel: trials that may run at once; None for as many as the executor has slots.

    Raises:
        UsageError: an argument is out of range.
    """

    forks: ClassVar[bool] = False

    def __init__(
        self,
        max_epochs: int | None = None,
        reduction_factor: int = 3,
        grace_period: int | None = None,
        brackets: int = 1,
        mode: Mode = "promotion",
        seed: int | None = None,
        *,
        max_resource: int | None = None,
        max_t: int | None = None,
        max_parallel: int | None = None,
    ) -> None:
        names = {"max_epochs": max_epochs, "max_resource": max_resource, "max_t": max_t}
        said = next((name for name, value in names.items() if value is not None), "max_epochs")
        limit = resource_argument(100, **names)
        assert limit is not None  # there is a default
        positive(said, limit)
        super().__init__(max_resource=limit, max_parallel=max_parallel, seed=seed)
        self.reduction_factor: int = positive("reduction_factor", reduction_factor, least=2)
        if grace_period is None:
            short = max(1, limit // self.reduction_factor)  # so that there is a rung before the end
            grace_period = DEFAULT_GRACE_PERIOD if limit > DEFAULT_GRACE_PERIOD else short
        self.grace_period: int = positive("grace_period", grace_period)
        if self.grace_period > limit:
            raise UsageError(f"grace_period={grace_period} is above {said}={limit}: lower it")
        self.brackets: int = positive("brackets", brackets)
        if mode not in get_args(Mode):
            raise UsageError(f"ASHAScheduler(mode={mode!r}): expected one of {', '.join(map(repr, get_args(Mode)))}")
        self.mode: Mode = mode
        resources = rung_resources(self.grace_period, self.reduction_factor, limit)
        if self.brackets > len(resources):
            raise UsageError(f"brackets={brackets}: rungs {resources} make at most {len(resources)} brackets")
        self.rung_resources = resources
        self._rungs = [[Rung(resource) for resource in resources[first:]] for first in range(self.brackets)]
        self._bracket_of: dict[int, int] = {}
        self._drawn = 0
        """Brackets drawn so far."""
        self._next_bracket: int | None = None
        """The bracket drawn for the launch that was decided last."""
        self._stopped: set[int] = set()

    def tunables(self) -> Mapping[str, Distribution[Any]]:
        """What makes a rung for each bracket; a grace period is over by the middle of a training."""
        found: dict[str, Distribution[Any]] = {"mode": Choice(get_args(Mode))}
        whole = self.rung_resources[-1]
        fitting = [
            factor
            for factor in range(2, LARGEST_TUNED_FACTOR + 1)
            if len(rung_resources(self.grace_period, factor, whole)) >= self.brackets
        ]
        if len(fitting) > 1:
            found["reduction_factor"] = Integer(2, fitting[-1])
        # The two are drawn together, and the last bracket starts at grace_period * factor^(brackets - 1) or at the end.
        largest = max(self.reduction_factor, *fitting)
        longest = min(whole // 2, (whole - 1) // int(largest ** max(self.brackets - 2, 0)))
        if longest > 1:
            found["grace_period"] = Integer(1, longest, log=True)
        return found

    def get_next_rung(self, resource: int) -> int | None:
        """The first rung above `resource`; None above the last."""
        return next((rung for rung in self.rung_resources if rung > resource), None)

    def population(self) -> list[list[tuple[int, tuple[int, ...]]]]:
        """For each bracket its rungs, as (resource, the configurations whose highest rung it is, by number)."""
        table = []
        for rungs in self._rungs:
            above: set[int] = set()
            levels = []
            for rung in reversed(rungs):
                levels.append((rung.resource, tuple(sorted(rung.results.keys() - above))))
                above |= rung.results.keys()
            table.append(levels[::-1])
        return table

    def should_stop(self, trial: Trial) -> bool:
        """True if the rule has stopped this trial."""
        return trial.id in self._stopped

    def next(self, view: View) -> Decision:
        if view.free_slots > 0:
            if (promotion := self._promotion()) is not None:
                return promotion
            if view.startable(1):
                self._next_bracket = self._draw_bracket()
                return Launch(1, self._rungs[self._next_bracket][0].resource)
        if view.active:
            return Wait()
        paused = sorted(number for rungs in self._rungs for rung in rungs for number in rung.waiting)
        if paused:
            for number in paused:
                self._withdraw(number)
            return Prune(tuple(paused))
        return Done()

    def on_launch(self, decision: Launch | Fork, trials: Sequence[Trial]) -> None:
        for trial in trials:
            self._bracket_of[trial.id] = self._next_bracket or 0
        self._next_bracket = None

    def on_report(self, trial: Trial, report: Report) -> Verdict:
        rungs = self._rungs[self._bracket_of.get(trial.id, 0)]
        reached = [rung for rung in rungs if rung.resource <= report.step]
        if not reached or trial.id in reached[-1].results:
            return CONTINUE
        rung = reached[-1]
        is_top = rung is rungs[-1]
        pauses = self.mode == "promotion" and not is_top
        rung.record(trial.id, self.objectives.losses(self.objectives.score(report.metrics)), waits=pauses)
        if is_top:
            return Verdict(Action.COMPLETE, rung.resource)
        if pauses:
            return Verdict(Action.PAUSE, rung.resource)
        if rung.survives(trial.id, self.reduction_factor):
            return Verdict(Action.CONTINUE, rung.resource, until=rungs[len(reached)].resource)
        self._stopped.add(trial.id)
        return Verdict(Action.STOP, rung.resource)

    def on_complete(self, trial: Trial) -> None:
        self._withdraw(trial.id)

    def on_failure(self, trial: Trial) -> None:
        self._withdraw(trial.id)

    def state_dict(self) -> dict[str, Any]:
        return {
            "brackets": [[rung.to_json() for rung in rungs] for rungs in self._rungs],
            "bracket_of": sorted(self._bracket_of.items()),
            "drawn": self._drawn,
            "next_bracket": self._next_bracket,
            "stopped": sorted(self._stopped),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._rungs = [[Rung.from_json(rung) for rung in rungs] for rungs in state["brackets"]]
        self._bracket_of = dict(map(tuple, state["bracket_of"]))
        self._drawn = state["drawn"]
        self._next_bracket = state["next_bracket"]
        self._stopped = set(state["stopped"])

    def _promotion(self) -> Resume | None:
        """Promote the best promotable configuration of the highest rung that has one."""
        for level in range(len(self.rung_resources) - 2, -1, -1):
            for rungs in self._rungs:
                # Bracket s lacks the s lowest rungs, so the same level lies s places lower in its list.
                index = level - (len(self.rung_resources) - len(rungs))
                if index < 0:
                    continue
                number = rungs[index].promotable(self.reduction_factor)
                if number is not None:
                    rungs[index].waiting.discard(number)
                    return Resume(number, rungs[index + 1].resource)
        return None

    def _withdraw(self, number: int) -> None:
        """It never goes on, though its results stay."""
        for rung in self._rungs[self._bracket_of.get(number, 0)]:
            rung.waiting.discard(number)

    def _draw_bracket(self) -> int:
        self._drawn += 1
        if self.brackets == 1:
            return 0
        # Each draw has its own generator, so the number of draws is all the state there is.
        generator = random.Random(f"{self.seed}/{self._drawn}")
        return generator.choices(range(self.brackets), weights=self._bracket_weights())[0]

    def _bracket_weights(self) -> list[float]:
        """Hyperband starts about eta^s / (s + 1) configurations in the bracket with s halvings."""
        halvings = [len(rungs) - 1 for rungs in self._rungs]
        return [self.reduction_factor**count / (count + 1) for count in halvings]


def rung_resources(grace_period: int, reduction_factor: int, max_resource: int) -> tuple[int, ...]:
    """grace_period * reduction_factor^k below `max_resource`, then `max_resource` itself."""
    rungs = []
    resource = grace_period
    while resource < max_resource:
        rungs.append(resource)
        resource *= reduction_factor
    return (*rungs, max_resource)
