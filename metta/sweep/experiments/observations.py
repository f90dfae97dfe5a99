"""What earlier sweeps have found out, for optimizers that start warm."""

from __future__ import annotations

import contextlib
import os
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from metta.sweep.errors import UsageError
from metta.sweep.experiments.places import DEFAULT, StoreLike, store_place
from metta.sweep.trial import Observation, Trial

if TYPE_CHECKING:
    from metta.sweep.experiments.results import SweepResult
    from metta.sweep.space import SearchSpace


def load_sweep(run: str | os.PathLike[str], *, store: StoreLike = DEFAULT) -> SweepResult:
    """The result of an earlier sweep, or of one that runs, as far as it has come.

    A parameter that was chosen among objects that are no JSON values (classes, say) is a text in it.

    Args:
        run: the run's id, the sweep's name (then the newest run of it), or the run's folder.
        store: where to look; by default METTA_SWEEP_HOME, else `./.metta-sweep`.

    Raises:
        UsageError: there is no such run, the run is no sweep, or `store` is None.
        DamagedError: the run is not what was written.
    """
    from metta.sweep.experiments.sweep_status import result_so_far
    from metta.sweep.store.run import Run

    with Run.open(_find(os.fspath(run), store), write=False) as opened:
        if opened.kind != "sweep":
            raise UsageError(f"the run {opened.id!r} is a {opened.kind}, not a sweep: it has no trials")
        return result_so_far(opened)


def load_observations(
    run: str | os.PathLike[str],
    *,
    store: StoreLike = DEFAULT,
    search_space: SearchSpace | Mapping[str, object] | None = None,
) -> list[Observation]:
    """The trials of an earlier sweep with their results, in the order they were started::

        for found in load_observations("previous_sweep"):
            optimizer.observe(found.trial, found.result)

    A sweep that has not ended gives what it has so far. Failed trials are among them, trials without any result are
    not. Their `tag` is gone: it means something to the optimizer that suggested them only.

    Args:
        run: the run's id, the sweep's name (then the newest run of it), or the run's folder.
        store: where to look; by default METTA_SWEEP_HOME, else `./.metta-sweep`.
        search_space: of the sweep to come. The configurations are then fitted into it: unknown parameters are dropped,
            missing ones get their defaults, and trials with a value outside of it are left out. One warning says so.

    Raises:
        UsageError: there is no such run, the run is no sweep, or `store` is None.
        DamagedError: the run is not what was written.
    """
    result = load_sweep(run, store=store)
    found = result.observations
    trials = [_copy(observation.trial, observation.trial.params) for observation in found]
    observations = [Observation(trial, known.result) for trial, known in zip(trials, found, strict=True)]
    if search_space is None:
        return observations
    from metta.sweep.space import SearchSpace

    return fitted(observations, SearchSpace.of(search_space), result.name)


def _find(run: str, store: StoreLike) -> Path:
    """The folder of the run. A stage of a durable run looks among the runs that it started itself first."""
    from metta.sweep.store.runs import Store

    place = store_place(store)
    if place is None:
        raise UsageError("store=None keeps no runs: name the store, or take `result.observations` of the sweep at hand")
    if place.is_nested:
        with contextlib.suppress(UsageError):
            return Store.at(place.folder).find(run).folder
        return Store.at().find(run).folder
    return Store.at(place.folder).find(run).folder


def _copy(trial: Trial, params: Mapping[str, Any]) -> Trial:
    """The same trial, with other parameters and without its tag."""
    copied = Trial(params, trial.id, resource=trial.resource, parent=trial.parent)
    copied.state, copied.score, copied.cost, copied.failure = trial.state, trial.score, trial.cost, trial.failure
    copied.read_reports_later(trial.step, lambda: trial.reports)
    return copied


def fitted(observations: list[Observation], space: SearchSpace, name: str) -> list[Observation]:
    """What fits into `space`; one warning tells what did not."""
    fitted: list[Observation] = []
    dropped, filled, left_out = dict[str, None](), dict[str, None](), list[str]()
    for observation in observations:
        trial = observation.trial
        try:
            adapted = space.adapt({path: _revived(space, path, value) for path, value in trial.params.items()})
        except UsageError as error:
            left_out.append(f"trial {trial.id}: {error}")
            continue
        dropped |= dict.fromkeys(adapted.dropped)
        filled |= dict.fromkeys(adapted.filled)
        fitted.append(Observation(_copy(trial, adapted.params), observation.result))
    told = [
        f"dropped: {', '.join(dropped)}" if dropped else "",
        f"set to their defaults: {', '.join(filled)}" if filled else "",
        f"left out, {len(left_out)} of {len(observations)} trials ({left_out[0]})" if left_out else "",
    ]
    if any(told):
        message = f"the sweep {name!r} searched another space; {'; '.join(filter(None, told))}"
        warnings.warn(message, stacklevel=3)
    return fitted


def _revived(space: SearchSpace, path: str, value: object) -> object:
    """A choice that JSON does not know (a class, say) is a text in the store: the one choice that has this text."""
    from metta.sweep.space import Choice

    distribution = space[path] if path in set(space) else None
    if not isinstance(value, str) or not isinstance(distribution, Choice) or value in distribution.values:
        return value
    alike = [choice for choice in distribution.values if f"{choice!r:.200}" == value]
    return alike[0] if len(alike) == 1 else value
