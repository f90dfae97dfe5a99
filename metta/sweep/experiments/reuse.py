"""Results of configurations that a sweep has had before."""

from __future__ import annotations

import json
from collections.abc import Iterable

from metta.sweep.errors import UsageError
from metta.sweep.executors.base import Answer, Event, Finished, Reported, Started
from metta.sweep.executors.nest import LEAF_COST, LEAF_RESOURCE
from metta.sweep.executors.objective import Outcome
from metta.sweep.optimizers.params import ParamsCodec
from metta.sweep.trial import Report, Trial, TrialState


class KnownResults:
    """The completed trials of a sweep by their configuration.

    Only completed ones: their reports go to the end, whatever the scheduler decides about the next trial like them. A
    fork is none: it went on from another trial's state.

    Args:
        codec: tells which parameters are equal.
        trials: those that there are.
    """

    def __init__(self, codec: ParamsCodec, trials: Iterable[Trial]) -> None:
        self._codec = codec
        self._found: dict[str, int] = {}
        for trial in trials:
            self.remember(trial)

    def remember(self, trial: Trial) -> None:
        """A trial has ended; if it is completed its result is known from now on."""
        if trial.state is TrialState.COMPLETED and trial.parent is None and (key := self._key(trial)) is not None:
            self._found.setdefault(key, trial.id)

    def find(self, trial: Trial) -> int | None:
        """The trial whose result `trial` would have; None where there is none."""
        key = None if trial.parent is not None else self._key(trial)
        return None if key is None else self._found.get(key)

    def _key(self, trial: Trial) -> str | None:
        try:
            return json.dumps(self._codec.encode(trial.params), sort_keys=True)
        except UsageError:  # a value that cannot be stored: nothing tells whether it is the same
            return None


def told_by(source: Trial, token: str, step: int) -> list[Event]:
    """What a worker would tell of a trial that is like `source`, from the report after `step` on.

    Args:
        source: a completed trial.
        token: of the attempt.
        step: the last step that is known.
    """
    reports = [report for report in source.reports if report.step > step]
    return [
        Started(token, f"trial-{source.id}"),
        *(Reported(token, sequence, _free(report)) for sequence, report in enumerate(reports, 1)),
        Finished(token, Outcome(None, source.step, Answer.CONTINUE)),
    ]


def _free(report: Report) -> Report:
    """The report of a nested trial, without what the leaves below the other trial have used."""
    free = dict.fromkeys(report.metrics.keys() & {LEAF_RESOURCE, LEAF_COST}, 0.0)
    return Report(report.step, {**report.metrics, **free})
