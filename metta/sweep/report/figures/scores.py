"""The scores of trials as figures need them: one finite number, or none, for each objective."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from metta.sweep.goal import Objectives
from metta.sweep.report.drawing.words import brief
from metta.sweep.report.text import number_text
from metta.sweep.trial import Trial

MOST_NAMES: Final = 5
"""So many names stand in a sentence."""

Values = tuple[float | None, ...]
"""One entry per objective; None where there is no finite number."""


def values_of(trial: Trial, objectives: Objectives) -> Values:
    """The score of a trial."""
    if trial.score is None:
        return (None,) * len(objectives.keys)
    return tuple(map(finite, objectives.values(trial.score)))


def reported(metrics: Mapping[str, float], objectives: Objectives) -> Values:
    """The score in a report; an objective that it does not have is None."""
    return tuple(finite(metrics.get(key)) for key in objectives.keys)


def finite(value: float | None) -> float | None:
    """The number, if it is a finite one."""
    return value if value is not None and math.isfinite(value) else None


def values_text(values: Values, objectives: Objectives) -> str:
    """Scores with their names: "accuracy 0.91, latency 20"."""
    return ", ".join(f"{key} {number_text(value)}" for key, value in zip(objectives.keys, values, strict=True))


def trial_text(trial: Trial, values: Values, objectives: Objectives) -> str:
    """A trial as a tooltip: "trial 7: accuracy 0.91, pruned at step 9"."""
    reached = f" at step {trial.step}" if trial.step else ""
    why = f" ({trial.failure.reason.value}: {trial.failure.message})"[:200] if trial.failure is not None else ""
    return f"trial {trial.id}: {values_text(values, objectives)}, {trial.state.value}{reached}{why}"


def capitalized(sentence: str) -> str:
    """The sentence with a capital letter at its beginning, whatever name it begins with."""
    return sentence[:1].upper() + sentence[1:]


def listed(parts: Iterable[str]) -> str:
    """ "a", "a and b", "a, b and c"."""
    *first, last = [*parts] or [""]
    return f"{', '.join(first)} and {last}" if first else last


def listed_names(names: Sequence[str]) -> str:
    """Names for a sentence, which is never long: "a, b, c, d, e and 3 more"."""
    shown = [brief(name) for name in names[:MOST_NAMES]]
    return listed([*shown, f"{len(names) - MOST_NAMES} more"] if len(names) > MOST_NAMES else shown)


def states_text(trials: Iterable[Trial]) -> str:
    """How many trials are in each state: "90 completed, 27 pruned and 3 failed"."""
    found: dict[str, int] = {}
    for trial in trials:
        found[trial.state.value] = found.get(trial.state.value, 0) + 1
    return listed(f"{count} {state}" for state, count in sorted(found.items(), key=lambda item: (-item[1], item[0])))
