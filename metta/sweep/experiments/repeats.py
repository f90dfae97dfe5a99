"""Several trainings of one configuration, each with a seed of its own, as one trial.

The repeats run one after another in the worker that has the trial, each up to what the trial was granted. So one
network is in memory at a time, and every form of objective can be repeated. A step is reported, with the
aggregated metrics, when the last repeat reaches it. A scheduler that grants resource rung by rung (ASHA, Hyperband,
population based training) stops all repeats at a rung; one that grants everything at once saves the rest of the last
repeat only.
"""

from __future__ import annotations

import math
import random
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from metta.sweep.executors.objective import Objective, drive
from metta.sweep.experiments.aggregation import Aggregator
from metta.sweep.experiments.base import Experiment
from metta.sweep.goal import Objectives
from metta.sweep.trial import MemoryChannel, Report, Saved, Trial


class _GrantUsedUp(BaseException):
    """An objective reports beyond its grant: it does not ask `should_stop()`, so it is ended here."""


@dataclass(frozen=True, slots=True)
class Repeated:
    """An objective that runs another one several times; see the module.

    The trial reports, for each objective, the aggregate and its standard deviation ("score_std"), for the cost the sum,
    and for other metrics the mean.

    Attributes:
        objective: what is repeated.
        repeats: how often.
        aggregator: makes one score of several.
        objectives: the metrics to optimize.
        cost_key: the metric that holds the cost; None where there is none.
    """

    objective: Objective
    repeats: int
    aggregator: Aggregator
    objectives: Objectives
    cost_key: str | None

    def __call__(self, trial: Trial) -> None:
        """Run the repeats up to the trial's grant."""
        _Attempt(self, trial).run()

    def aggregated(self, reports: Sequence[Report]) -> dict[str, float]:
        """The metrics of a step, from one report of each repeat."""
        names = [name for name in reports[0].metrics if all(name in report.metrics for report in reports)]
        found: dict[str, float] = {}
        for name in names:
            values = [report.metrics[name] for report in reports]
            if not all(map(math.isfinite, values)):
                found[name] = math.nan  # one repeat that diverges is a failure of the configuration
            elif name in self.objectives.keys:
                maximize = self.objectives.directions[self.objectives.keys.index(name)] == "maximize"
                found[name] = float(self.aggregator.aggregate(values, maximize=maximize))
                found.setdefault(f"{name}_std", statistics.stdev(values) if len(values) > 1 else 0.0)
            else:
                found[name] = math.fsum(values) if name == self.cost_key else statistics.fmean(values)
        return found


@dataclass(slots=True)
class _Channel(MemoryChannel):
    """What one repeat talks to: its state stays in memory until all repeats have reached the end of the grant.

    Attributes:
        limit: the grant; 0 for none.
        last: the report made last, in this attempt or before.
        reports: those of this attempt.
        hear: hears every report; True when the trial has to end.
    """

    limit: int = 0
    last: Report | None = None
    reports: list[Report] = field(default_factory=list)
    hear: Callable[[Report], bool] | None = None

    def report(self, report: Report) -> None:
        if self.stop:
            raise _GrantUsedUp
        MemoryChannel.report(self, report)
        self.reports.append(report)
        self.last = report
        self.stop = 0 < self.limit <= report.step
        if self.hear is not None and self.hear(report):
            self.stop = True

    def up_to(self, step: int) -> Report | None:
        """The last report at `step` or before."""
        earlier = next((report for report in reversed(self.reports) if report.step <= step), None)
        if earlier is None and self.last is not None and self.last.step <= step:
            return self.last
        return earlier


class _Attempt:
    """One attempt of a repeated trial."""

    def __init__(self, plan: Repeated, trial: Trial) -> None:
        state = trial.load()
        limit = trial.resource
        self._plan = plan
        self._trial = trial
        self._channels = (
            [_Channel(limit=limit) for _ in range(plan.repeats)]
            if state is None
            else [_Channel(saved=Saved(own, step), limit=limit, last=Report(*last)) for own, step, last in state["all"]]
        )
        self._channels[-1].hear = self._hear
        self._kept = [channel.saved for channel in self._channels]

    def run(self) -> None:
        for index, channel in enumerate(self._channels):
            self._repeat(index, channel)
            if channel.last is None:
                return  # it reported nothing and returned None: the sweep says so
        ends = [channel.last for channel in self._channels if channel.last is not None]
        if not self._trial.should_stop():
            self._report(max(report.step for report in ends), ends)
        self._save()

    def _repeat(self, index: int, channel: _Channel) -> None:
        whole, plan = self._trial, self._plan
        own = Trial(whole.params, whole.id, resource=whole.resource, parent=whole.parent, channel=channel)
        own.seed = seed_of(whole.seed, index)
        try:
            metrics = drive(plan.objective, own, plan.objectives.keys[0])
        except _GrantUsedUp:
            return
        if metrics is not None and not channel.reports:
            # What a plain function returns stands for all that was granted.
            channel.report(Report(whole.resource or whole.step + 1, metrics))

    def _hear(self, report: Report) -> bool:
        """The last repeat reports. One that has ended before it counts with its last report."""
        others = [channel.up_to(report.step) for channel in self._channels[:-1]]
        reports = [other for other in others if other is not None]
        if len(reports) == len(others):
            if 0 < self._trial.resource <= report.step:
                self._save()
            self._report(report.step, [*reports, report])
        return self._trial.should_stop()

    def _report(self, step: int, reports: Sequence[Report]) -> None:
        if step > self._trial.step:
            self._trial.report(self._plan.aggregated(reports), step)

    def _save(self) -> None:
        """All states as one. Where a repeat has saved none, the trial starts again in any case."""
        saved = [channel.saved for channel in self._channels]
        states = [
            (channel.saved.state, channel.saved.step, (channel.last.step, dict(channel.last.metrics)))
            for channel in self._channels
            if channel.saved is not None and channel.last is not None
        ]
        if len(states) == len(saved) and any(now is not kept for now, kept in zip(saved, self._kept, strict=True)):
            self._kept = saved
            self._trial.save({"all": states})


@dataclass(frozen=True, slots=True)
class SeededExperiment:
    """An experiment with an attribute `seed`, which every repeat sets to its own."""

    experiment: Experiment[Any]

    def __call__(self, trial: Trial) -> Any:
        """Evaluate the experiment with the trial's seed."""
        return self.experiment.with_params({"seed": trial.seed}).evaluate(trial)


def seed_of(seed: int, index: int = 0) -> int:
    """The seed number `index` that follows from `seed`; below 2**31, as every library takes it."""
    return random.Random(f"{seed}/{index}").getrandbits(31)
