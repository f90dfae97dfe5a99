"""Why trials have failed: by reason how many, and the last of them. Everything that is shown says it so."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from metta.sweep.trial import Failure, FailureReason, Trial


@dataclass(frozen=True, slots=True)
class Failed:
    """The trials that have failed for one reason.

    Attributes:
        reason: why.
        count: how many.
        last: the one with the highest number.
        failure: why that one has.
    """

    reason: FailureReason
    count: int
    last: Trial
    failure: Failure

    def __str__(self) -> str:
        return failed_text(self.count, self.reason.value, self.last.id, self.failure.message)


def failed_by_reason(trials: Iterable[Trial]) -> tuple[Failed, ...]:
    """The trials that have failed, the most frequent reason first.

    Args:
        trials: by number; those that have not failed are left out.
    """
    failed = [(trial, trial.failure) for trial in trials if trial.failure is not None]
    last = {failure.reason: (trial, failure) for trial, failure in failed}
    return tuple(
        Failed(reason, count, *last[reason])
        for reason, count in Counter(failure.reason for _, failure in failed).most_common()
    )


def failed_text(count: int, reason: str, trial: int, message: str) -> str:
    """ "3 failed (oom), last trial 7: no memory".

    Args:
        trial: the number of the last of them.
        message: of that one.
    """
    return f"{count} failed ({reason}), {'last ' if count > 1 else ''}trial {trial}: {message}"
