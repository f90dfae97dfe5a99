"""What optimizers with a model of their own share: the record of all trials, their order, and the state."""

from __future__ import annotations

import math
import secrets
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from metta.sweep.errors import UsageError
from metta.sweep.goal import Goal
from metta.sweep.optimizers.base import Optimizer, Restored
from metta.sweep.optimizers.fidelity import threshold
from metta.sweep.optimizers.foreign import adapt_foreign
from metta.sweep.optimizers.params import ParamsCodec
from metta.sweep.space import SearchSpace
from metta.sweep.trial import FailureReason, Params, Result, Trial, TrialState

if TYPE_CHECKING:
    from metta.sweep.optimizers.protein.data import Record
    from metta.sweep.optimizers.protein.encoding import Encoding
    from metta.sweep.optimizers.protein.gp import Prior
    from metta.sweep.optimizers.protein.step import Step
    from metta.sweep.optimizers.protein.surrogate import Surrogate

Source = Literal["initial", "center", "random", "resample", "model"]


@dataclass(frozen=True, slots=True)
class SuggestionInfo:
    """How a suggestion came about.

    Attributes:
        source: "initial" (of `initial_params`), "center", "random", "resample" (a Pareto point again) or "model".
        notes: what a reader should know, such as why the model was not asked.
        score: the score Protein's model expects; None without a model, and with several objectives.
        cost: the cost it expects, in the unit of the observed ones; None without a model of the cost.
        rating: the value of the acquisition function.
    """

    source: Source
    notes: tuple[str, ...] = ()
    score: float | None = None
    cost: float | None = None
    rating: float | None = None


class Proposal(NamedTuple):
    """A configuration, and how it came about."""

    params: Params
    info: SuggestionInfo


class ModelOptimizer(Optimizer):
    """An optimizer that proposes one configuration at a time from all it has heard.

    A subclass writes `_propose`. Every suggestion has its own random numbers, which depend on the seed and its place
    in the stream only, and trials without a result are part of the data, so that a batch is a sequence of single
    suggestions.

    Args:
        search_space, seed, goal: see `Optimizer`.
        initial_params: configurations to suggest first; what they leave out gets its default.
        max_points: the most observations of a process.
    """

    def __init__(
        self,
        search_space: SearchSpace | Mapping[str, object] | None,
        *,
        seed: int | None,
        goal: Goal | None,
        initial_params: Sequence[Mapping[str, Any]],
        max_points: int,
    ) -> None:
        super().__init__(search_space, seed=seed, goal=goal)
        self.initial_params: tuple[Mapping[str, Any], ...] = tuple(initial_params)
        self.last_info: SuggestionInfo | None = None
        """Of the newest suggestion; no part of the state."""
        self._max_points = max_points
        self._suggested = 0
        self._heard = 0
        self._records: list[Record] = []
        self._known_encoding: Encoding | None = None
        self._surrogates: dict[str, Surrogate] = {}

    @abstractmethod
    def _propose(self, step: Step) -> Proposal:
        """The next configuration."""

    @abstractmethod
    def _prior(self) -> Prior:
        """The prior of the hyperparameters."""

    def bind(
        self,
        *,
        search_space: SearchSpace | Mapping[str, object] | None = None,
        goal: Goal | None = None,
        seed: int | None = None,
    ) -> None:
        """As `Optimizer.bind`. What was observed before the goal was known is turned round where that is needed.

        Raises:
            UsageError: also if the goal has several objectives, and single scores were observed before.
        """
        assumed = self.objectives
        super().bind(search_space=search_space, goal=goal, seed=seed)
        if assumed.directions != self.objectives.directions and any(record.results for record in self._records):
            if not self.objectives.is_single:
                raise UsageError(
                    "scores were observed before the goal was known, and it has several objectives: write "
                    f"{type(self).__name__}(goal={self.goal!r})"
                )
            self._turn_round()

    def _turn_round(self) -> None:
        """The other direction is the better one."""
        self._surrogates = {}
        for record in self._records:
            for resource, outcome in record.results.items():
                record.results[resource] = outcome._replace(losses=tuple(-loss for loss in outcome.losses))

    def suggest(self, n: int) -> list[Trial]:
        space = self.require_space()
        trials = []
        for _ in range(n):
            if self._suggested < len(self.initial_params):
                params = space.complete(self.initial_params[self._suggested])
                proposal = Proposal(params, SuggestionInfo("initial"))
            elif not space.tunable:
                proposal = Proposal(_only(space), SuggestionInfo("center"))
            else:
                proposal = self._propose(self._step())
            self._suggested += 1
            self.last_info = proposal.info
            trials.append(Trial(proposal.params, tag=self._add(proposal.params, dict(proposal.params))))
        return trials

    def observe(self, trial: Trial, result: float | Mapping[str, float] | Result) -> None:
        from metta.sweep.optimizers.protein.data import Fate, Outcome

        outcome = Result.of(result)
        record = self._record_of(trial)
        if record is None:
            params = adapt_foreign(self.require_space(), trial)
            if params is None:
                return
            trial.tag = self._add(params, dict(trial.params))
            record = self._records[trial.tag]
        usable = outcome.is_usable and outcome.score is not None
        if usable:
            assert outcome.score is not None
            cost = outcome.cost if outcome.cost is not None and math.isfinite(outcome.cost) else None
            before = record.results.get(trial.resource)
            serial = self._heard if before is None else before.serial
            record.results[trial.resource] = Outcome(self.objectives.losses(outcome.score), cost, serial)
        match trial.state:
            case TrialState.PAUSED:
                record.fate = Fate.WAITING
            case TrialState.RUNNING:
                record.fate = Fate.PENDING
            case _ if usable or _was_cancelled(trial, outcome):
                record.fate = Fate.ENDED
            case _:
                record.fate, record.serial = Fate.FAILED, self._heard
        self._heard += 1

    def state_dict(self) -> dict[str, Any]:
        codec = ParamsCodec(self.search_space)
        return {
            "seed": self.seed,
            "suggested": self._suggested,
            "heard": self._heard,
            "records": [_record_to_json(record, codec) for record in self._records],
            "models": {name: surrogate.to_json() for name, surrogate in self._surrogates.items()},
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> Restored:
        from metta.sweep.optimizers.protein.data import Fate, Outcome

        codec = ParamsCodec(self.search_space)
        self.seed = state["seed"]
        self._suggested = state["suggested"]
        self._records, self._surrogates = [], {}
        for params, given, results, fate, serial in state["records"]:
            known = Params(codec.decode(params))
            record = self._records[self._add(known, dict(known) if given is None else codec.decode(given))]
            record.fate, record.serial = Fate(fate), serial
            record.results = {
                resource: Outcome(tuple(losses), cost, order) for resource, losses, cost, order in results
            }
        self._heard = state["heard"]
        if state["models"]:
            for name, model in self._models().items():
                model.load_json(state["models"][name])
        return Restored.STATE

    def _step(self) -> Step:
        """What the next suggestion is made from."""
        import numpy as np

        from metta.sweep.optimizers.protein.data import Dataset
        from metta.sweep.optimizers.protein.step import Step

        if self.seed is None:
            self.seed = secrets.randbits(32)
        encoding = self._encoding()
        return Step(
            number=self._suggested,
            seed=self.seed,
            encoding=encoding,
            data=Dataset.of(self._records, threshold(len(encoding.axes)), encoding.width),
            records=self._records,
            objectives=self.objectives,
            surrogates=self._models(),
            rng=np.random.default_rng(np.random.SeedSequence(self.seed, spawn_key=(self._suggested,))),
        )

    def _encoding(self) -> Encoding:
        from metta.sweep.optimizers.protein.encoding import Encoding

        if self._known_encoding is None:
            self._known_encoding = Encoding(self.require_space())
        return self._known_encoding

    def _models(self) -> dict[str, Surrogate]:
        from metta.sweep.optimizers.protein.surrogate import Surrogate

        if not self._surrogates:
            groups, prior = self._encoding().groups, self._prior()
            self._surrogates = {name: Surrogate(groups, prior, self._max_points) for name in ("score", "cost")}
        return self._surrogates

    # The record

    def _add(self, params: Params, given: dict[str, Any]) -> int:
        from metta.sweep.optimizers.protein.data import Record

        self._records.append(Record(params, given, self._encoding().encode(params)))
        return len(self._records) - 1

    def _record_of(self, trial: Trial) -> Record | None:
        """The record of a trial of ours. A tag of another sweep's optimizer does not fit its record."""
        tag = trial.tag
        if not isinstance(tag, int) or not 0 <= tag < len(self._records):
            return None
        return self._records[tag] if self._records[tag].given == dict(trial.params) else None


def _only(space: SearchSpace) -> Params:
    """The configuration of a space of constants.

    Raises:
        UsageError: it does not meet the constraints.
    """
    params = space.complete({})
    if space.broken(params) is not None:
        raise space.impossible(params)
    return params


def _was_cancelled(trial: Trial, result: Result) -> bool:
    """Nobody knows what would have become of it: that is no failure of its configuration."""
    if trial.state in (TrialState.CANCELLED, TrialState.PRUNED) and result.failure is None:
        return True
    return result.failure is not None and result.failure.reason is FailureReason.CANCELLED


def _record_to_json(record: Record, codec: ParamsCodec) -> list[Any]:
    params = dict(record.params)
    return [
        codec.encode(params),
        None if record.given == params else codec.encode(record.given),
        [[resource, list(o.losses), o.cost, o.serial] for resource, o in record.results.items()],
        record.fate.value,
        record.serial,
    ]
