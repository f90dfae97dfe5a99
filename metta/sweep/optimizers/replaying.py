"""What the wrappers of ask-and-tell libraries share: records of all trials, and a log of calls to compute them again.

A library's own state is seldom JSON, but its suggestions are a function of its seed and of the calls that were made. So
the state of a wrapper is the log of the calls; to restore it they are made again, and compared with the record.
"""

from __future__ import annotations

import secrets
import time
import warnings
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from metta.sweep.errors import UsageError
from metta.sweep.goal import Goal
from metta.sweep.optimizers.base import Optimizer, Restored
from metta.sweep.optimizers.fidelity import chosen_resource, threshold
from metta.sweep.optimizers.foreign import adapt_foreign
from metta.sweep.optimizers.params import ParamsCodec
from metta.sweep.space import SearchSpace
from metta.sweep.trial import Params, Result, Trial, TrialState, number_to_json

MAX_REJECTED = 20
"""After so many suggestions in a row that break a constraint, each the cost of a model, a random one is taken."""

REPLAY_LIMIT_S = 60.0
"""A replay that would take longer is given up for the observations alone."""


@dataclass(slots=True)
class Record:
    """What is known of one trial.

    Attributes:
        params: the configuration in our terms.
        given: the parameters of the trial as it was observed; other than `params` if they are of another space.
        results: resource -> values, one per objective.
        finished: no more results will come.
        failed: it ended without a usable result.
    """

    params: Params
    given: dict[str, Any]
    results: dict[int, tuple[float, ...]] = field(default_factory=dict)
    finished: bool = False
    failed: bool = False


class Outcome(NamedTuple):
    """What a library should know of a trial: its values, or else whether any may still come."""

    values: tuple[float, ...] | None
    is_over: bool


class ReplayingOptimizer(Optimizer):
    """An optimizer around a library that is asked and told.

    Trials have numbers, from 0 without gaps, which are their tags. Under a scheduler with rungs the library sees the
    results of one resource at a time, see `fidelity`.

    Args:
        search_space, seed, goal: see `Optimizer`.
        initial_params: configurations to suggest first; what they leave out gets its default.
    """

    def __init__(
        self,
        search_space: SearchSpace | Mapping[str, object] | None = None,
        *,
        seed: int | None = None,
        goal: Goal | None = None,
        initial_params: Sequence[Mapping[str, Any]] = (),
    ) -> None:
        super().__init__(search_space, seed=seed, goal=goal)
        self.initial_params: tuple[Mapping[str, Any], ...] = tuple(initial_params)
        self._records: dict[int, Record] = {}
        """By number."""
        self._changed: dict[int, None] = {}
        """Numbers whose records the library does not know yet, in the order of their observation."""
        self._foreign: list[int] = []
        """Numbers of trials of others that the library does not know yet. It hears of them at the next suggestion:
        it may only be made when the run has said its seed and its goal."""
        self._resource: int | None = None
        """The resource whose results the library knows."""
        self._suggested = 0
        self._log: list[dict[str, Any]] = []
        """Every call, for `state_dict`."""

    # What a wrapper writes

    @abstractmethod
    def _ask(self, n: int) -> list[int]:
        """Ask for at most `n` new trials; enters each one with `_enter` and returns their numbers."""

    @abstractmethod
    def _tell(self, number: int) -> None:
        """Tell the library the outcome of a trial, if it is due and not yet told."""

    @abstractmethod
    def _adopt(self, number: int) -> None:
        """Make a trial known that the library did not suggest; `_tell` follows."""

    @abstractmethod
    def _rebuild(self) -> None:
        """Make the library's part anew from the records."""

    def _restart(self) -> None:
        """Make the library's part anew from records that were read: its own suggestions must not come again."""
        self._rebuild()

    @abstractmethod
    def _quiet(self) -> AbstractContextManager[None]:
        """Around every use of the library: keeps its chatter from the user."""

    # The protocol

    def suggest(self, n: int) -> list[Trial]:
        with self._quiet():
            self._show_results()
            numbers = self._ask(n)
        trials = [Trial(self._records[number].params, tag=number) for number in numbers]
        codec = ParamsCodec(self.search_space)
        self._log.append({"n": n, "suggest": [[trial.tag, codec.encode(trial.params)] for trial in trials]})
        return trials

    def observe(self, trial: Trial, result: float | Mapping[str, float] | Result) -> None:
        outcome = Result.of(result)
        values = None
        if outcome.is_usable and outcome.score is not None:
            values = self.objectives.values(outcome.score)
        finished = trial.state not in (TrialState.RUNNING, TrialState.PAUSED)
        number = self._number_of(trial)
        if number is None:
            number = trial.tag = self._add_foreign(trial)
        if number is None:
            return
        self._record(number, trial.resource, values, finished)
        logged = None if values is None else [number_to_json(value) for value in values]
        params = ParamsCodec(self.search_space).encode(trial.params)
        self._log.append({"observe": [number, params, trial.resource, logged, finished]})

    def state_dict(self) -> dict[str, Any]:
        return {"seed": self.seed, "log": list(self._log)}

    def load_state_dict(self, state: Mapping[str, Any]) -> Restored:
        """Compute every suggestion again; where one differs, or it takes too long, keep the observations only."""
        self.seed = state["seed"]
        deadline = time.monotonic() + REPLAY_LIMIT_S
        for event in state["log"]:
            if time.monotonic() > deadline or not self._replays(event):
                self._load_observations(state["log"])
                return Restored.OBSERVATIONS
        return Restored.REPLAY

    # For the wrappers

    def _drawn_seed(self) -> int:
        """The seed as libraries take it; one is drawn where none was given."""
        if self.seed is None:
            self.seed = secrets.randbits(32)
        return self.seed % 2**32

    def _require_tunable(self) -> SearchSpace:
        space = self.require_space()
        if not space.tunable:
            raise UsageError(f"{type(self).__name__} has nothing to search: every parameter of the space is fixed")
        return space

    def _enter(self, number: int, params: Params, *, rejected: bool = False) -> None:
        """Begin the record of a new trial; one that is `rejected` never reaches the driver."""
        self._records[number] = Record(params, dict(params), finished=rejected, failed=rejected)
        self._suggested += not rejected

    def _next_initial(self) -> Params | None:
        """The next of `initial_params` that was not suggested yet.

        Raises:
            UsageError: it is no configuration of the space.
        """
        if self._suggested >= len(self.initial_params):
            return None
        space = self.require_space()
        return space.validate(space.complete(self.initial_params[self._suggested]))

    def _random_params(self) -> Params:
        """A random configuration that meets the constraints, for when a library keeps suggesting what does not."""
        import numpy as np

        sequence = np.random.SeedSequence(self._drawn_seed(), spawn_key=(len(self._records),))
        return self.require_space().sample(np.random.default_rng(sequence))

    def _outcome(self, number: int) -> Outcome:
        """The outcome at the resource that is shown. A trial that waits below it is not over."""
        record = self._records[number]
        if self._resource in record.results:
            return Outcome(record.results[self._resource], True)
        return Outcome(None, record.finished)

    # Observing

    def _number_of(self, trial: Trial) -> int | None:
        """The number of a trial of ours. A tag of another sweep's optimizer does not fit its record."""
        record = self._records.get(trial.tag) if isinstance(trial.tag, int) else None
        return trial.tag if record is not None and record.given == dict(trial.params) else None

    def _add_foreign(self, trial: Trial) -> int | None:
        """Add a trial that this optimizer did not suggest; its number, or None if it lies outside the space."""
        params = adapt_foreign(self.require_space(), trial)
        if params is None:
            return None
        number = len(self._records)
        self._records[number] = Record(params, dict(trial.params))
        self._foreign.append(number)
        return number

    def _record(self, number: int, resource: int, values: tuple[float, ...] | None, finished: bool) -> None:
        record = self._records[number]
        if values is not None:
            record.results[resource] = values
        record.finished |= finished
        record.failed |= finished and values is None
        self._changed[number] = None

    def _show_results(self) -> None:
        """Bring the library up to date with the records."""
        shown, self._resource = self._resource, self._resource_to_show()
        for number in self._foreign:
            self._adopt(number)
        self._foreign.clear()
        if shown not in (None, self._resource):
            self._rebuild()
        else:
            for number in self._changed:
                self._tell(number)
        self._changed.clear()

    def _resource_to_show(self) -> int | None:
        reached = (record.results for record in self._records.values())
        return chosen_resource(reached, threshold(len(self.require_space().tunable)))

    # Restoring

    def _replays(self, event: Mapping[str, Any]) -> bool:
        """Do again what `event` records; False if a suggestion comes out differently."""
        codec = ParamsCodec(self.search_space)
        if "suggest" in event:
            recorded: list[list[Any]] = event["suggest"]
            return [[trial.tag, codec.encode(trial.params)] for trial in self.suggest(event["n"])] == recorded
        number, params, resource, values, finished = event["observe"]
        trial = Trial(codec.decode(params), resource=resource, tag=number)
        trial.state = TrialState.COMPLETED if finished else TrialState.PAUSED
        score = None if values is None else dict(zip(self.objectives.keys, map(float, values), strict=True))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what there was to say of a foreign trial was said when it was new
            self.observe(trial, Result(score))
        return True

    def _load_observations(self, log: Sequence[Mapping[str, Any]]) -> None:
        """Forget everything but the trials and results in `log`."""
        self._forget()
        self._log = [dict(event) for event in log]
        codec, space = ParamsCodec(self.search_space), self.require_space()
        for event in log:
            for number, encoded in event.get("suggest", ()):
                self._enter(number, Params(codec.decode(encoded)))
            if "observe" in event:
                number, encoded, resource, values, finished = event["observe"]
                given = codec.decode(encoded)
                if number not in self._records:
                    self._records[number] = Record(space.adapt(given).params, given)
                self._record(number, resource, None if values is None else tuple(map(float, values)), finished)
        # Numbers that are not in the log broke a constraint: nothing but that is known of them.
        for number in range(max(self._records, default=-1)):
            self._records.setdefault(number, Record(space.complete({}), {}, finished=True, failed=True))
        self._resource = self._resource_to_show()
        with self._quiet():
            self._restart()
        self._changed.clear()

    def _forget(self) -> None:
        """Back to the beginning, but for what the library knows."""
        self._records, self._changed, self._foreign, self._log = {}, {}, [], []
        self._resource, self._suggested = None, 0
