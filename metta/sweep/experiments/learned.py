"""Settings of an optimizer, learned from the sweeps of a store.

A finished sweep tells what its landscape is like: a Gaussian process fitted to its results stands for the training. On
such surrogates settings of an optimizer are compared by simulated searches, which cost no training (as surrogate
benchmarks do: Eggensperger, Hutter, Hoos and Leyton-Brown, 2015, "Efficient Benchmarking of Hyperparameter Optimizers
via Surrogates"). What did best on the landscapes of one's own sweeps is a good guess for the next.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean
from typing import TYPE_CHECKING, Any

from metta.sweep.errors import UsageError
from metta.sweep.experiments.places import DEFAULT, StoreLike, store_place
from metta.sweep.goal import Goal, Objectives
from metta.sweep.optimizers.base import Optimizer
from metta.sweep.schedulers.base import positive
from metta.sweep.trial import Params, Result, Trial, TrialState

if TYPE_CHECKING:
    from metta.sweep.optimizers.protein.data import Record
    from metta.sweep.optimizers.protein.encoding import Encoding
    from metta.sweep.space import SearchSpace
    from metta.sweep.store.run import RunInfo

LEAST_POINTS = 10
"""A sweep with fewer different configurations tells too little of its landscape."""

_EVERYWHERE = 4096
"""Random configurations among which the best of a landscape is sought."""


@dataclass(frozen=True, slots=True)
class ComparedSettings:
    """One setting of an optimizer, and how it did.

    Attributes:
        name: as given, or the settings as text.
        settings: the arguments it differs in from the optimizer whose settings were drawn; empty where it was given.
        regrets: sweep -> mean normalized regret there: 0 for the best configuration at once, 1 for a middling one.
        optimizer: a template: without search space, goal, seed and observations.
    """

    name: str
    settings: Mapping[str, Any]
    regrets: Mapping[str, float]
    optimizer: Optimizer = field(repr=False)

    @property
    def regret(self) -> float:
        """The mean over the sweeps."""
        return fmean(self.regrets.values())


@dataclass(frozen=True, slots=True)
class LearnedSettings:
    """What `learned_settings` found.

    Attributes:
        candidates: the best first; equal ones in the order they were given.
        sweeps: the ids of the runs that it learned from.
        held_out: the mean regret on each sweep of the candidate that is best on all the others: what to expect of the
            choice on a sweep that it has not seen. None with a single sweep.
    """

    candidates: tuple[ComparedSettings, ...]
    sweeps: tuple[str, ...]
    held_out: float | None

    @property
    def best(self) -> ComparedSettings:
        """The best candidate."""
        return self.candidates[0]

    @property
    def settings(self) -> Mapping[str, Any]:
        """The settings of the best candidate."""
        return self.best.settings

    def create(self, **arguments: Any) -> Optimizer:
        """A new optimizer with the best settings.

        Args:
            arguments: more of its constructor, such as `search_space=`.

        Raises:
            UsageError: the constructor has no such argument.
        """
        return self.best.optimizer.with_arguments(**arguments)

    def __str__(self) -> str:
        width = max(len(candidate.name) for candidate in self.candidates)
        lines = [f"{candidate.name:<{width}}  {candidate.regret:.4f}" for candidate in self.candidates]
        sweeps = f"{len(self.sweeps)} sweep{'s' if len(self.sweeps) > 1 else ''}"
        unseen = "" if self.held_out is None else f"; of the choice on a sweep left out: {self.held_out:.4f}"
        return "\n".join([*lines, f"mean normalized regret over {sweeps}{unseen}"])


def learned_settings(
    candidates: Optimizer | Sequence[Optimizer] | Mapping[str, Optimizer],
    *,
    store: StoreLike = DEFAULT,
    sweeps: Sequence[str] | None = None,
    draws: int = 12,
    trials: int = 20,
    repeats: int = 3,
    seed: int = 0,
) -> LearnedSettings:
    """Compare settings of an optimizer on the landscapes of earlier sweeps::

        learned = learned_settings(BayesianOptimizer())
        print(learned)
        SweepExperiment(train, optimizer=learned.create(search_space=space)).run()

    For each sweep a Gaussian process is fitted to the results at one resource, on a scale where they look most like a
    normal sample. Every candidate searches the process's mean with noise as large as the residuals, `repeats` times for
    `trials` trials one after another; all candidates under the same seeds. A search is judged by the configuration that
    it would have chosen after each trial: how far below the best of the landscape its expected score is, as a share of
    what a middling configuration is below it, on average over the trials.

    Args:
        candidates: an optimizer, to compare it with `draws` - 1 others whose settings are drawn from its `tunables()`;
            or the optimizers to compare, with their names in a mapping. Of each only the arguments of its constructor
            count, and of these neither search space nor goal nor seed.
        store: where the sweeps are; by default METTA_SWEEP_HOME, else `./.metta-sweep`.
        sweeps: ids or names of runs, as `load_observations` takes them; None for all sweeps of the store that were
            completed. What tells too little (fewer than 10 configurations), has several objectives or a search space
            that cannot be read back is left out, with a warning.
        draws: how many settings are compared, where one optimizer is given.
        trials: of each simulated search: about as many as the sweeps to come will have.
        repeats: searches of each candidate on each landscape.
        seed: of the draws and of the searches.

    Raises:
        UsageError: no sweep to learn from, nothing to compare, or a number out of range.
    """
    positive("trials", trials)
    positive("repeats", repeats)
    templates = _templates(candidates, positive("draws", draws), seed)
    landscapes = _landscapes(store, sweeps)
    if not landscapes:
        raise UsageError(
            "there is no sweep to learn from: run some SweepExperiments with this store first (with a single objective "
            f"and at least {LEAST_POINTS} different configurations), or name another store="
        )
    found = []
    for name, (settings, optimizer) in templates.items():
        regrets = {
            landscape.run: fmean(_regret(optimizer, landscape, trials, seed + number) for number in range(repeats))
            for landscape in landscapes
        }
        found.append(ComparedSettings(name, settings, regrets, optimizer))
    runs = tuple(landscape.run for landscape in landscapes)
    ranking = tuple(sorted(found, key=lambda candidate: candidate.regret))
    return LearnedSettings(ranking, runs, _held_out(found, runs))


@dataclass(frozen=True, slots=True)
class _Landscape:
    """What stands for a training.

    Attributes:
        run: the id of the sweep.
        space: what it searched.
        goal: of the sweep.
        sign: of a score whose utility is positive.
        expected: the expected utility of a configuration; larger is better.
        noise: the standard deviation of a result.
        best, middle: the utilities of the best and of a middling configuration.
    """

    run: str
    space: SearchSpace
    goal: Goal
    sign: int
    expected: Callable[[Params], float]
    noise: float
    best: float
    middle: float

    def regret(self, params: Params) -> float:
        """The normalized regret of a configuration; at least 0."""
        return max(0.0, self.best - self.expected(params)) / (self.best - self.middle)


def _regret(template: Optimizer, landscape: _Landscape, trials: int, seed: int) -> float:
    """The mean normalized regret of one simulated search."""
    import numpy as np

    optimizer = template.copy()
    optimizer.bind(search_space=landscape.space, goal=landscape.goal, seed=seed)
    noise = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(trials,)))
    regrets: list[float] = []
    chosen, highest = 1.0, -np.inf
    for number in range(trials):
        suggested = optimizer.suggest(1)
        if not suggested:
            # It has nothing more: its choice stays what it was.
            break
        (trial,) = suggested
        trial.id, trial.state = number, TrialState.COMPLETED
        utility = landscape.expected(trial.params) + landscape.noise * float(noise.normal())
        trial.score = landscape.sign * utility
        optimizer.observe(trial, Result(trial.score, 1.0))
        if utility > highest:
            chosen, highest = landscape.regret(trial.params), utility
        regrets.append(chosen)
    return fmean([*regrets, *[chosen] * (trials - len(regrets))])


def _held_out(found: Sequence[ComparedSettings], runs: Sequence[str]) -> float | None:
    if len(runs) < 2:
        return None
    regrets = []
    for left_out in runs:
        others = [run for run in runs if run != left_out]
        chosen = min(found, key=lambda candidate: fmean(candidate.regrets[run] for run in others))
        regrets.append(chosen.regrets[left_out])
    return fmean(regrets)


# Candidates

_Templates = dict[str, tuple[Mapping[str, Any], Optimizer]]


def _templates(
    candidates: Optimizer | Sequence[Optimizer] | Mapping[str, Optimizer], draws: int, seed: int
) -> _Templates:
    """By name: the settings and the template of each candidate."""
    if isinstance(candidates, Optimizer):
        return _drawn(candidates, draws, seed)
    if isinstance(candidates, Mapping):
        named = dict(candidates)
    else:
        kinds = [type(optimizer).__name__ for optimizer in candidates]
        names = [kind if kinds.count(kind) == 1 else f"{kind} {number}" for number, kind in enumerate(kinds)]
        named = dict(zip(names, candidates, strict=True))
    if not named:
        raise UsageError("there are no candidates to compare: give an optimizer, or several")
    for name, optimizer in named.items():
        if not isinstance(optimizer, Optimizer):
            raise UsageError(f"the candidate {name!r} is a {type(optimizer).__name__}: expected an Optimizer")
    return {name: ({}, _unbound(optimizer)) for name, optimizer in named.items()}


def _drawn(optimizer: Optimizer, draws: int, seed: int) -> _Templates:
    """The optimizer as it is, and others whose settings are drawn at random."""
    import numpy as np

    from metta.sweep.space import SearchSpace

    kind, tunables = type(optimizer).__name__, optimizer.tunables()
    if not tunables:
        raise UsageError(f"{kind} names no settings to draw (its tunables() are empty): give several optimizers")
    space, rng = SearchSpace(tunables), np.random.default_rng(seed)
    found: _Templates = {f"{kind} as given": ({}, _unbound(optimizer))}
    for _ in range(draws - 1):
        settings = dict(space.sample(rng))
        name = ", ".join(
            f"{path}={f'{value:.3g}' if isinstance(value, float) else value}" for path, value in settings.items()
        )
        found[name] = (settings, _unbound(optimizer.with_arguments(**settings)))
    return found


def _unbound(optimizer: Optimizer) -> Optimizer:
    """A fresh one with the same settings, for any space, goal and seed."""
    bound = [name for name in ("search_space", "goal", "seed") if getattr(optimizer, name) is not None]
    return optimizer.with_arguments(**dict.fromkeys(bound))


# Landscapes


def _landscapes(store: StoreLike, sweeps: Sequence[str] | None) -> list[_Landscape]:
    """Those of the runs; one warning tells which are left out, and why."""
    found, left_out = [], []
    for info in _runs(store, sweeps):
        landscape = _landscape(info)
        if isinstance(landscape, str):
            left_out.append(f"{info.id} ({landscape})")
        else:
            found.append(landscape)
    if left_out:
        warnings.warn(f"some sweeps are left out: {', '.join(left_out)}", stacklevel=3)
    return found


def _runs(store: StoreLike, sweeps: Sequence[str] | None) -> list[RunInfo]:
    """The runs to learn from, the oldest first."""
    from metta.sweep.store.run import RunStatus
    from metta.sweep.store.runs import Store

    place = store_place(store)
    if place is None:
        raise UsageError("store=None keeps no runs: name the store to learn from")
    opened = Store.at(place.folder)
    if sweeps is not None:
        return [opened.find(text) for text in dict.fromkeys(sweeps)]
    done = [info for info in opened.all() if info.kind == "sweep" and info.status is RunStatus.COMPLETED]
    return done[::-1]


def _landscape(info: RunInfo) -> _Landscape | str:
    """The landscape of a run, or why it is of no use."""
    from metta.sweep.experiments.restore import restore
    from metta.sweep.experiments.sweep_facts import recorded_space
    from metta.sweep.optimizers.params import ParamsCodec
    from metta.sweep.optimizers.protein.encoding import Encoding
    from metta.sweep.store.run import Run

    with Run.open(info.folder, write=False) as run:
        if run.kind != "sweep":
            return f"it is a {run.kind}"
        restoration = restore(run.journal, ParamsCodec(None))
        space = recorded_space(restoration.facts.plan, run.journal.path)
    objectives = restoration.ledger.objectives
    if not objectives.is_single:
        return "it has several objectives"
    if space is None:
        return "its search space cannot be read back"
    if not space.tunable:
        return "it searched nothing"
    encoding = Encoding(space)
    return _fitted(info.id, encoding, objectives, _records(restoration.ledger.trials, encoding, objectives))


def _records(trials: Sequence[Trial], encoding: Encoding, objectives: Objectives) -> list[Record]:
    from metta.sweep.optimizers.protein.data import Fate, Outcome, Record

    records = []
    for trial in trials:
        if trial.score is not None and Result(trial.score, failure=trial.failure).is_usable:
            params = encoding.space.complete(dict(trial.params))
            outcome = Outcome(objectives.losses(trial.score), trial.cost, trial.id)
            records.append(Record(params, {}, encoding.encode(params), {trial.resource: outcome}, Fate.ENDED))
    return records


def _fitted(run: str, encoding: Encoding, objectives: Objectives, records: Sequence[Record]) -> _Landscape | str:
    import numpy as np

    from metta.sweep.optimizers.fidelity import threshold
    from metta.sweep.optimizers.protein.data import Dataset, standardized
    from metta.sweep.optimizers.protein.gp import Prior
    from metta.sweep.optimizers.protein.improving import power_transformed
    from metta.sweep.optimizers.protein.surrogate import Points, Surrogate

    data = Dataset.of(records, threshold(len(encoding.axes)), encoding.width)
    if len(data) < LEAST_POINTS:
        return f"{len(data)} different configurations"
    rng = np.random.default_rng(0)
    values = standardized(power_transformed(standardized(data.utilities(rng)).values)).values
    if not values.any():
        return "all scores are equal"
    # Smoother and noisier than an optimizer takes a function to be: it asks again where it was wrong, and here nobody
    # does. What a process makes of noise is a landscape of peaks that are not there.
    prior = Prior(noise=0.1, noise_sd=1.5, length=math.sqrt(len(encoding.axes)), length_sd=0.5, linear=0.1, jitter=1e-6)
    points = Points(data.ids, data.rows, values, data.resource)
    process = Surrogate(encoding.groups, prior, max_points=750).posterior(points, rng)
    everywhere = encoding.uniform(rng.random((_EVERYWHERE, len(encoding.axes))))
    anywhere = process.mean(everywhere)
    best, middle = float(max(anywhere.max(), process.mean(data.rows).max())), float(np.median(anywhere))
    if not best - middle > 1e-9:
        return "its process is flat"

    def expected(params: Params) -> float:
        return float(process.mean(encoding.encode(params)[None])[0])

    direction = objectives.directions[0]
    noise = float(np.std(values - process.mean(data.rows)))
    sign = 1 if direction == "maximize" else -1
    return _Landscape(
        run,
        encoding.space,
        dict(zip(objectives.keys, objectives.directions, strict=True)),
        sign,
        expected,
        noise,
        best,
        middle,
    )
