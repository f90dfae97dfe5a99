"""Models of earlier tasks and of the present one, weighted; and one suggestion made with them."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from metta.sweep.errors import UsageError
from metta.sweep.goal import Objectives
from metta.sweep.optimizers.fidelity import threshold
from metta.sweep.optimizers.protein.candidates import Search, best_candidate
from metta.sweep.optimizers.protein.data import Array, Dataset, Fate, Outcome, Record, standardized
from metta.sweep.optimizers.protein.encoding import Encoding
from metta.sweep.optimizers.protein.gp import Factor, Kernel, Posterior, Prior
from metta.sweep.optimizers.protein.improving import power_transformed
from metta.sweep.optimizers.protein.search import Proposal
from metta.sweep.optimizers.protein.step import Step
from metta.sweep.optimizers.protein.surrogate import Points, Surrogate
from metta.sweep.optimizers.transfer.optimizer import PreviousTask
from metta.sweep.optimizers.transfer.weights import left_out, observed, ranking_weights, wrong_pairs

LEAST_RANKED = 2
"""With fewer observations the order of them says nothing."""

STARTS = 5
"""The best known points of each task from which candidates are sought."""


@dataclass(frozen=True, slots=True, eq=False)
class Task:
    """An earlier task as data of the present space.

    Attributes:
        name: of the task.
        data: its results at one resource, see `fidelity`.
        surrogate: of its scores; fitted once.
    """

    name: str
    data: Dataset
    surrogate: Surrogate

    def posterior(self, rng: np.random.Generator) -> Posterior:
        """The process of its standardized scores; several objectives are scalarized with weights from `rng`."""
        values = standardized(power_transformed(standardized(self.data.utilities(rng)).values)).values
        points = Points(self.data.ids, self.data.rows, values, self.data.resource)
        return self.surrogate.posterior(points, np.random.default_rng(0))


def fitted_tasks(
    previous: Mapping[str, PreviousTask],
    encoding: Encoding,
    objectives: Objectives,
    prior: Prior,
    max_points: int,
) -> tuple[Task, ...]:
    """The tasks with at least two results that fit into the space; a warning for each tells what did not."""
    tasks = []
    for name, task in previous.items():
        records = _records(name, task, encoding, objectives)
        data = Dataset.of(records, threshold(len(encoding.axes)), encoding.width)
        if len(data) < 2:
            warnings.warn(f"the previous task {name!r} is not used: it has no two results in this space", stacklevel=2)
            continue
        fitted = Task(name, data, Surrogate(encoding.groups, prior, max_points))
        # The hyperparameters are fitted now, so that they are the same whenever the first suggestion is made.
        fitted.posterior(np.random.default_rng(0))
        tasks.append(fitted)
    return tuple(tasks)


@dataclass(frozen=True, slots=True, eq=False)
class Ensemble:
    """The weighted mean of all models, and the uncertainty of the present task's own.

    The mean is that of Feurer et al. (2018); the standard deviation that of the own model alone, as Wistuba, Schilling
    and Schmidt-Thieme (2018) have it: what earlier tasks know well was not tried here yet.

    Attributes:
        models: of the earlier tasks.
        own: of the present task; None while nothing was observed or runs.
        weights: of the models, and of the own one as the last; shape (len(models) + 1,).
        kernel: of the own model before it has data.
    """

    models: tuple[Posterior, ...]
    own: Posterior | None
    weights: Array
    kernel: Kernel

    def mean(self, rows: Array) -> Array:
        """The expected values at rows, shape (len(rows),)."""
        models = self.models if self.own is None else (*self.models, self.own)
        mean = np.zeros(len(rows))
        for weight, model in zip(self.weights, models, strict=False):
            if weight > 0:
                mean += weight * model.mean(rows)
        return mean

    def mean_and_sd(self, rows: Array) -> tuple[Array, Array]:
        """Means and standard deviations at rows."""
        if self.own is None:
            return self.mean(rows), np.sqrt(self.kernel.variance(rows))
        return self.mean(rows), self.own.mean_and_sd(rows)[1]

    @property
    def noise_sd(self) -> float:
        """The standard deviation of the noise of the present task's results."""
        return math.sqrt(self.kernel.noise) if self.own is None else self.own.noise_sd


def ensemble(tasks: Sequence[Task], similarity: Mapping[str, float], step: Step, prior: Prior) -> Ensemble:
    """The ensemble for one suggestion.

    Args:
        tasks: at least one.
        similarity: task -> number; 1 for those that are not there.
        step: of the suggestion.
        prior: of the hyperparameters.
    """
    scalarization = int(step.rng.integers(2**32))
    models = tuple(task.posterior(np.random.default_rng(scalarization)) for task in tasks)
    lengths = int(step.encoding.groups.max()) + 1
    kernel = Kernel(prior.centre(lengths), step.encoding.groups)
    shares = np.array([*(similarity.get(task.name, 1.0) for task in tasks), 1.0])
    assumed = np.append(shares[:-1], 0.0) if shares[:-1].any() else shares
    weights = assumed / assumed.sum()
    data = step.data
    if not len(data):
        own = None
        if len(data.pending):
            own = Factor.of(kernel, data.pending, prior.jitter).posterior(np.zeros(len(data.pending)))
        return Ensemble(models, own, weights, kernel)
    goal = standardized(data.utilities(np.random.default_rng(scalarization)))
    points = step.points(standardized(power_transformed(goal.values)).values)
    surrogate = step.surrogates["score"]
    known = surrogate.posterior(points, step.rng)
    targets, rows = observed(known), known.factor.rows
    if len(targets) >= LEAST_RANKED:
        wrong = [wrong_pairs(model.mean(rows), targets) for model in models]
        weights = ranking_weights([*wrong, wrong_pairs(left_out(known), targets)], shares, step.rng)
    return Ensemble(models, surrogate.posterior(points, step.rng, data.pending), weights, kernel)


def propose(search: Search, step: Step, tasks: Sequence[Task], mixed: Ensemble) -> Proposal:
    """The next configuration.

    Raises:
        UsageError: no configuration met the constraints.
    """
    leaders = [
        task.data.rows[np.argsort(-model.mean(task.data.rows), kind="stable")[:STARTS]]
        for task, model in zip(tasks, mixed.models, strict=True)
    ]
    known = np.vstack(leaders) if mixed.own is None else mixed.own.factor.rows
    return best_candidate(search, step, mixed, known, np.vstack([known, *leaders]))


def _records(name: str, task: PreviousTask, encoding: Encoding, objectives: Objectives) -> list[Record]:
    """The results of a task fitted into the space; one warning tells what did not fit."""
    records: list[Record] = []
    dropped, filled, left_out = dict[str, None](), dict[str, None](), list[str]()
    for serial, seen in enumerate(task.results):
        try:
            adapted = encoding.space.adapt(seen.params)
        except UsageError as error:
            left_out.append(str(error))
            continue
        dropped |= dict.fromkeys(adapted.dropped)
        filled |= dict.fromkeys(adapted.filled)
        outcome = Outcome(objectives.losses(seen.score), None, serial)
        row = encoding.encode(adapted.params)
        records.append(Record(adapted.params, {}, row, {seen.resource: outcome}, Fate.ENDED))
    told = [
        f"dropped: {', '.join(dropped)}" if dropped else "",
        f"set to their defaults: {', '.join(filled)}" if filled else "",
        f"left out, {len(left_out)} of {len(task.results)} results ({left_out[0]})" if left_out else "",
    ]
    if any(told):
        message = f"the previous task {name!r} searched another space; {'; '.join(filter(None, told))}"
        warnings.warn(message, stacklevel=3)
    return records
