"""Trials that an optimizer did not suggest: those of an earlier sweep, of a scheduler's fork."""

from __future__ import annotations

import warnings

from metta.sweep.errors import UsageError
from metta.sweep.space import SearchSpace
from metta.sweep.trial import Params, Trial


def adapt_foreign(space: SearchSpace, trial: Trial, *, stacklevel: int = 4) -> Params | None:
    """The parameters of a foreign trial fitted into `space`; None if they lie outside it.

    What does not fit is told in a warning: parameters that were dropped or filled in, or why the trial is of no use.

    Args:
        space: the optimizer's space.
        trial: the trial as it was observed.
        stacklevel: of the warnings; 4 points at the caller of `observe` when a helper of `observe` calls this.
    """
    try:
        adapted = space.adapt(trial.params)
    except UsageError as error:
        warnings.warn(f"a trial of another search space was observed and not used: {error}", stacklevel=stacklevel)
        return None
    if adapted.dropped or adapted.filled:
        warnings.warn(
            f"a trial of another search space was observed; dropped: {', '.join(adapted.dropped) or 'nothing'}; "
            f"set to their defaults: {', '.join(adapted.filled) or 'none'}",
            stacklevel=stacklevel,
        )
    return adapted.params
