"""Several runs of one configuration, each with a seed of its own, as one trial that runs in the driver.

Like `repeats`, for experiments that contain experiments: the repeats run one after another, each up to what the trial
was granted, and the trial reports when the last one has reached it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from metta.sweep.executors.nest import NEST
from metta.sweep.executors.objective import as_metrics
from metta.sweep.experiments.aggregation import Aggregator
from metta.sweep.experiments.base import Experiment
from metta.sweep.experiments.repeats import Repeated, seed_of
from metta.sweep.goal import Objectives
from metta.sweep.trial import MemoryChannel, Report, Saved, Trial


@dataclass(frozen=True, slots=True)
class RepeatedNested:
    """An objective that runs an experiment which `nests` several times; see `Repeated` for the attributes."""

    experiment: Experiment[Any]
    repeats: int
    aggregator: Aggregator
    objectives: Objectives
    cost_key: str | None

    async def __call__(self, trial: Trial) -> Mapping[str, float]:
        """Run the repeats up to the trial's grant; the aggregated metrics."""
        saved: list[Saved | None] = [None] * self.repeats
        state = trial.load()
        if state is not None:
            saved = [Saved(own, step) for own, step in state["all"]]
        channels = [MemoryChannel(saved=known) for known in saved]
        reports = [await self._repeat(index, trial, channel) for index, channel in enumerate(channels)]
        metrics = Repeated(
            self.experiment.evaluate, self.repeats, self.aggregator, self.objectives, self.cost_key
        ).aggregated(reports)
        states = [(channel.saved.state, channel.saved.step) for channel in channels if channel.saved is not None]
        if len(states) == self.repeats:
            trial.save({"all": states})
        return metrics

    async def _repeat(self, index: int, whole: Trial, channel: MemoryChannel) -> Report:
        own = Trial(whole.params, whole.id, resource=whole.resource, parent=whole.parent, channel=channel)
        own.seed = seed_of(whole.seed, index)
        nest = NEST.get()
        if nest is not None:
            NEST.set(nest.for_repeat(f"repeat-{index}-", own))
        try:
            experiment = _seeded(self.experiment, own.seed)
            result = await experiment.evaluate_nested(own)
        finally:
            NEST.set(nest)
        if own.reports:
            return own.reports[-1]
        metrics = {} if result is None else as_metrics(result, self.objectives.keys[0])
        return Report(whole.resource or whole.step + 1, metrics)


def _seeded(experiment: Experiment[Any], seed: int) -> Experiment[Any]:
    return experiment.with_params({"seed": seed}) if hasattr(experiment, "seed") else experiment
