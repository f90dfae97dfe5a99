"""What other tools are told of a sweep and its trials: one mapping for what is exported and what is logged live.

Everything here is plain: numbers, texts and booleans, without secrets.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from metta.sweep.goal import Objectives, Score
from metta.sweep.redaction import secrets_in
from metta.sweep.report.snapshot import Span, SweepSnapshot
from metta.sweep.store.redact import redact_text, redact_values
from metta.sweep.trial import Trial, TrialState

LONGEST: Final = 500
"""Characters of a text that stands for a parameter, or for a failure."""

LARGEST: Final = 10**300
"""A whole number that other tools need not take; there are floats up to 1.8e308."""

Plain = bool | int | float | str | None


@dataclass(frozen=True, slots=True)
class SweepFacts:
    """A sweep.

    Attributes:
        name: of the sweep.
        key: what tells it apart, in characters that any file system takes: the id of its run, where it has one.
        objectives: what is optimized.
        began: when, in seconds since the epoch.
    """

    name: str
    key: str
    objectives: Objectives
    began: float


@dataclass(frozen=True, slots=True)
class TrialFacts:
    """A trial. Its times are seconds since the epoch, as if no time had passed between two drivers of the sweep.

    Attributes:
        number: in its sweep, from 0.
        params: path -> plain value; texts that are secret by their names are masked.
        state: a `TrialState`.
        step: the last one reported.
        scores: objective -> number, of the last report; empty before the first.
        cost: so far, in the unit of the sweep's `cost_key` (default: seconds).
        failure: reason and message, where it failed.
        began: when a worker first had it; None before.
        ended: when it ended or was paused; None before.
        attempts: on workers; None where nobody counted.
        parent: the trial that it went on from, where it is a fork.
    """

    number: int
    params: Mapping[str, Plain]
    state: str
    step: int = 0
    scores: Mapping[str, float] | None = None
    cost: float | None = None
    failure: str | None = None
    began: float | None = None
    ended: float | None = None
    attempts: int | None = None
    parent: int | None = None

    @property
    def label(self) -> str:
        """What it is called elsewhere: "trial-0003"."""
        return label(self.number)

    @property
    def is_over(self) -> bool:
        """Whether it is in a final state."""
        return TrialState(self.state).is_finished

    def final(self) -> dict[str, float]:
        """Score and cost as metrics, under the keys that Metta's sweeps have in W&B."""
        scores = self.scores or {}
        named = dict(zip(score_keys(tuple(scores)), scores.values(), strict=True))
        return named if self.cost is None else {**named, "sweep/cost": self.cost}

    def notes(self) -> dict[str, Plain]:
        """What is neither a parameter nor a metric."""
        noted: dict[str, Plain] = {"sweep/trial": self.number, "sweep/state": self.state, "sweep/step": self.step}
        for name, value in (("failure", self.failure), ("attempts", self.attempts), ("parent", self.parent)):
            if value is not None:
                noted[f"sweep/{name}"] = value
        return noted


def label(number: int) -> str:
    """What a trial is called elsewhere."""
    return f"trial-{number:04d}"


def score_keys(objectives: tuple[str, ...]) -> tuple[str, ...]:
    """The name of the score elsewhere: "sweep/score", with several objectives "sweep/score/accuracy" and so on."""
    return ("sweep/score",) if len(objectives) == 1 else tuple(f"sweep/score/{key}" for key in objectives)


def facts_of(snapshot: SweepSnapshot, trial: Trial, spans: tuple[Span, ...], began: float) -> TrialFacts:
    """A trial of a snapshot.

    Args:
        snapshot: the sweep.
        trial: one of its trials.
        spans: those of the trial.
        began: when the sweep began, in seconds since the epoch.
    """
    ends = [span.ended for span in spans if span.ended is not None]
    failure = trial.failure
    return TrialFacts(
        number=trial.id,
        params=plain_params(trial.params),
        state=trial.state.value,
        step=trial.step,
        scores=scores_of(snapshot.objectives, trial.score),
        cost=trial.cost,
        failure=None if failure is None else failure_text(failure.reason.value, failure.message),
        began=began + spans[0].began if spans else None,
        ended=began + max(ends) if ends else None,
        attempts=len(spans) or None,
        parent=trial.parent,
    )


def scores_of(objectives: Objectives, score: Score | None) -> dict[str, float]:
    """The score by objective; empty where there is none."""
    return {} if score is None else dict(zip(objectives.keys, objectives.values(score), strict=True))


def failure_text(reason: str, message: str) -> str:
    """Why a trial failed, in one text without secrets."""
    text = f"{reason}: {message}" if message else reason
    return _encodable(redact_text(text, secrets_in(os.environ)))[:LONGEST]


def plain_params(params: Mapping[str, Any]) -> dict[str, Plain]:
    """Parameters as plain values, without secrets."""
    known = redact_values(dict(params), secrets_in(os.environ))
    return {_encodable(path): plain(value) for path, value in known.items()}


def plain(value: object) -> Plain:
    """A plain value as it is, numpy's as Python's; anything else as text: JSON, else its `repr`.

    A text is one that UTF-8 has, and a whole number one that a float comes near to; else it is a text too.
    """
    if isinstance(value, str):
        return _encodable(value)
    if value is None or isinstance(value, bool | int | float):
        return value if not isinstance(value, int) or abs(value) < LARGEST else repr(value)
    if type(value).__module__ == "numpy" and hasattr(value, "item"):
        return plain(value.item())
    try:
        return json.dumps(value, allow_nan=False)[:LONGEST]
    except (TypeError, ValueError):
        return _encodable(repr(value))[:LONGEST]


def _encodable(text: str) -> str:
    """A text without halves of characters, which the name of a file that is no UTF-8 has: as Python writes them."""
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode()


def finite(value: float) -> float | str:
    """A number for where only those of JSON are known; "nan", "inf" or "-inf" for another one."""
    return value if math.isfinite(value) else str(value)
