"""Population based bandits (Parker-Holder et al., "Provably Efficient Online Hyperparameter Optimization with
Population-Based Bandits", NeurIPS 2020)."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from metta.sweep.goal import Losses
from metta.sweep.schedulers.base import View
from metta.sweep.schedulers.exploit import is_finite
from metta.sweep.schedulers.explore import fitting, is_value
from metta.sweep.schedulers.pbt import PBTScheduler
from metta.sweep.schedulers.population import Member
from metta.sweep.space import Distribution, SearchSpace, Uniform
from metta.sweep.trial import Trial

if TYPE_CHECKING:
    import numpy as np

    from metta.sweep.schedulers.time_varying_gp import Array, Process

C1: Final = 0.2
C2: Final = 0.4
"""beta_t = c1 + max(0, log(c2 t)), the values of the paper's experiments."""

WINDOW: Final = 120
"""So many of the last changes are modelled: what is older has been forgotten by the kernel, and costs n^3."""

CANDIDATES: Final = 300
"""Configurations drawn in the whole space."""

ROUNDS: Final = (0.2, 0.07, 0.02)
"""After that the best are refined: standard deviations in the unit cube, round by round."""

REFINED, NEIGHBORS = 5, 10
"""In each round the best 5 get 10 neighbors each."""


@dataclass(frozen=True, slots=True)
class Change:
    """What one interval of training has changed.

    Attributes:
        time: intervals that the weights had been trained before.
        rewards: at the beginning, one per objective, larger is better.
        units: the parameters in the unit cube, in the order of `SearchSpace.tunable`.
        gains: of the rewards per interval.
    """

    time: float
    rewards: tuple[float, ...]
    units: tuple[float, ...]
    gains: tuple[float, ...]


class PB2Scheduler(PBTScheduler):
    """Population based training whose forks get the parameters that a bandit chooses, instead of random ones.

    Exploits by truncation, as `PBTScheduler` does. Then the fork's parameters are the maximum, inside the bounds, of
    mu + sqrt(beta_t) sigma of a Gaussian process on the change of the reward per interval, given time, reward and
    parameters. sigma is what it will be when the members that train now have their results (they are hallucinated),
    so forks that start together differ. beta_t = 0.2 + max(0, log(0.4 t)), t the number of changes in the model,
    which are the last 120.

    All parameters live in the unit interval of their distributions there, so logarithms, whole numbers and choices
    are seen by the model as they are spread; one that is not active is seen at 0.5. With several objectives the change
    is the mean of the standardized changes.

    Args:
        population_size, num_generations, quantile_fraction, max_resource, max_epochs, max_t, seed, max_parallel: see
            `PBTScheduler`.

    Raises:
        UsageError: an argument is out of range.
    """

    def __init__(
        self,
        population_size: int = 20,
        num_generations: int = 50,
        *,
        quantile_fraction: float = 0.2,
        max_resource: int | None = None,
        max_epochs: int | None = None,
        max_t: int | None = None,
        seed: int | None = None,
        max_parallel: int | None = None,
    ) -> None:
        super().__init__(
            population_size,
            num_generations,
            quantile_fraction=quantile_fraction,
            max_resource=max_resource,
            max_epochs=max_epochs,
            max_t=max_t,
            seed=seed,
            max_parallel=max_parallel,
        )
        self._changes: deque[Change] = deque(maxlen=WINDOW)

    def tunables(self) -> Mapping[str, Distribution[Any]]:
        return {**self._tunable_generations(), "quantile_fraction": Uniform(0.1, 0.5)}

    def on_ready(self, member: Member, trial: Trial) -> None:
        """Keep what the interval has changed."""
        if member.baseline is None or member.losses is None:
            return
        if not (is_finite(member.baseline) and is_finite(member.losses)):
            return
        intervals = (member.step - member.start) / self.interval
        gains = ((old - new) / intervals for old, new in zip(member.baseline, member.losses, strict=True))
        units = to_units(self._require_space(), trial.params)
        self._changes.append(Change(member.start / self.interval, _rewards(member.baseline), units, tuple(gains)))

    def explore(self, view: View, donor: Member) -> Mapping[str, Any]:
        """The parameters with the largest upper confidence bound of the change."""
        import numpy as np

        space, params = self._require_space(), view.trials[donor.trial].params
        assert donor.losses is not None  # nobody copies a member without a result
        rng = np.random.default_rng(self._generator().getrandbits(64))
        time, dimensions = donor.step / self.interval, len(space.tunable)
        context = _Context.of(self._changes, self._pending(view), time, donor.losses, dimensions)
        drawn = [*rng.random((CANDIDATES, dimensions)), np.array(to_units(space, params))]
        candidates = context.best([_candidate(space, params, units) for units in drawn])
        for deviation in ROUNDS:
            steps = deviation * rng.standard_normal((len(candidates), NEIGHBORS, dimensions))
            near = np.clip(np.array([center.units for center in candidates])[:, None] + steps, 0, 1)
            neighbors = [_candidate(space, params, units) for units in near.reshape(-1, dimensions)]
            candidates = context.best([*candidates, *neighbors])
        return candidates[0].params

    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), "changes": [astuple(change) for change in self._changes]}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        super().load_state_dict(state)
        changes = (
            Change(time, tuple(rewards), tuple(units), tuple(gains)) for time, rewards, units, gains in state["changes"]
        )
        self._changes = deque(changes, maxlen=WINDOW)

    def _pending(self, view: View) -> list[Change]:
        """The intervals that are being trained now; their gains are not known."""
        space = self._require_space()
        return [
            Change(
                member.start / self.interval,
                _rewards(member.baseline),
                to_units(space, view.trials[member.trial].params),
                (),
            )
            for member in self._population.members.values()
            if member.phase == "active" and member.baseline is not None and is_finite(member.baseline)
        ]


class _Candidate(NamedTuple):
    """A configuration, and where it lies in the unit cube."""

    units: tuple[float, ...]
    params: Mapping[str, Any]


@dataclass(frozen=True, slots=True, eq=False)
class _Context:
    """The model, and the time and the rewards at which a fork starts."""

    process: Process
    beta: float
    time: float
    rewards: Array
    pending_times: Array
    pending_features: Array

    @classmethod
    def of(
        cls, changes: Sequence[Change], pending: Sequence[Change], time: float, losses: Losses, dimensions: int
    ) -> _Context:
        import numpy as np

        from metta.sweep.schedulers.time_varying_gp import fit

        known = [*changes, *pending]
        rewards = np.array([*(change.rewards for change in known), _rewards(losses)])
        lowest, highest = rewards.min(axis=0), rewards.max(axis=0)
        rewards = (rewards - lowest) / np.where(highest > lowest, highest - lowest, 1.0)
        times = np.array([change.time for change in known], dtype=float)
        units = np.array([change.units for change in known], dtype=float).reshape(len(known), dimensions)
        features = np.hstack([rewards[:-1], units])
        count = len(changes)
        process = fit(times[:count], features[:count], _standardized([change.gains for change in changes]))
        beta = C1 + max(0.0, math.log(C2 * count)) if count else C1
        return cls(process, beta, time, rewards[-1], times[count:], features[count:])

    def best(self, candidates: Sequence[_Candidate]) -> list[_Candidate]:
        """The few with the largest mu + sqrt(beta_t) sigma, best first."""
        import numpy as np

        cube = np.array([candidate.units for candidate in candidates])
        times = np.full(len(cube), self.time)
        features = np.hstack([np.tile(self.rewards, (len(cube), 1)), cube])
        deviations = self.process.deviation(times, features, self.pending_times, self.pending_features)
        upper = self.process.mean(times, features) + math.sqrt(self.beta) * deviations
        return [candidates[index] for index in np.argsort(-upper, kind="stable")[:REFINED]]


def to_units(space: SearchSpace, params: Mapping[str, Any]) -> tuple[float, ...]:
    """Where `params` lie in the unit cube of the space's tunable parameters; 0.5 for what is not active."""
    return tuple(
        space[path].to_unit(params[path]) if path in params and is_value(space[path], params[path]) else 0.5
        for path in space.tunable
    )


def _candidate(space: SearchSpace, params: Mapping[str, Any], units: np.ndarray[Any, Any]) -> _Candidate:
    """The configuration at a point of the cube, and the point where it really lies: whole numbers are rounded."""
    place = dict(zip(space.tunable, units.tolist(), strict=True))
    found = fitting(space, params, lambda path, distribution: distribution.from_unit(place.get(path, 0.5)), tries=1)
    return _Candidate(to_units(space, found), found)


def _rewards(losses: Losses) -> tuple[float, ...]:
    return tuple(-loss for loss in losses)


def _standardized(gains: Sequence[tuple[float, ...]]) -> Array:
    """The gains [n] with mean 0 and standard deviation 1; the mean over several objectives."""
    import numpy as np

    if not gains:
        return np.empty(0)
    table = np.array(gains, dtype=float)
    spread = table.std(axis=0)
    standardized: Array = ((table - table.mean(axis=0)) / np.where(spread > 0, spread, 1.0)).mean(axis=1)
    return standardized
