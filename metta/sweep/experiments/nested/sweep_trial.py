"""A whole sweep as one trial of another sweep. Its unit of resource is one inner trial.

The inner sweep is a child run in the trial's folder, one for all grants: a promotion or a resumed driver goes on with
it. After each inner trial it reports its best score so far, and saves what it has observed: a fork of population based
training copies the observations of its donor, and its own sweep starts warm from them.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from metta.sweep.errors import RunError
from metta.sweep.executors.nest import NEST
from metta.sweep.experiments.budget import Budget
from metta.sweep.experiments.ledger import Ledger, outcome_of
from metta.sweep.experiments.nested.executor import until_stopped
from metta.sweep.experiments.places import Place
from metta.sweep.goal import Objectives
from metta.sweep.optimizers.params import ParamsCodec
from metta.sweep.trial import Observation, Result, Trial

if TYPE_CHECKING:
    from metta.sweep.experiments.results import SweepResult
    from metta.sweep.space import SearchSpace

CHILD: Final = "sweep"
"""The name of the inner run's folder among the trial's children."""

SAVED_AGAIN: Final = 1.25
"""Between two savings in the middle of a grant the observations grow by this factor, so all of them cost as much as a
few. At its end, where population based training forks, they are saved in any case."""

Watch = Callable[[Ledger], None]
"""Hears, after every commit of a sweep, where it stands."""


@dataclass(frozen=True, slots=True)
class Inner:
    """The sweep that a trial runs, with the trial's parameters applied.

    Attributes:
        name: for messages.
        objectives: its one objective.
        space: what it searches.
        budget: of its own, where the trial was granted no number of inner trials.
        run: starts it, or goes on with it: with this budget, in this place, warm from these observations, watched.
    """

    name: str
    objectives: Objectives
    space: SearchSpace | None
    budget: int | Budget | None
    run: Callable[[int | Budget | None, Place | None, Sequence[Observation], Watch], SweepResult]


async def run_sweep_trial(inner: Inner, trial: Trial) -> dict[str, float]:
    """Run the inner sweep for all that the trial was granted; the metrics of its end.

    Raises:
        RunError: no inner trial has a score.
    """
    return await _SweepTrial(inner, trial).run()


class _SweepTrial:
    """One attempt of such a trial."""

    def __init__(self, inner: Inner, trial: Trial) -> None:
        self._inner = inner
        self._trial = trial
        self._codec = ParamsCodec(inner.space)
        state = trial.load()
        self._inherited = [] if state is None else self._inherited_from(state)
        self._granted: int | None = trial.resource or None
        self._save_at = 0.0

    async def run(self) -> dict[str, float]:
        nest = NEST.get()
        place = None if nest is None else Place(nest.child(CHILD), True, nest.allow_changed, nest.retry_failed)
        found = list(self._inherited)
        if self._granted is None or self._granted > len(found):
            result = self._inner.run(self._budget(), place, self._inherited, self._watch)
            if await until_stopped(_ended(result), self._trial, self._has_reported_all):
                found += result.observations
                if self._best(found) is None:
                    return self._metrics(result.best_score)  # raises, and says what has failed
        best = self._best(found)
        if best is None:
            raise RunError(f'the sweep "{self._inner.name}" has no trial with a score yet')
        return self._metrics(best)

    def _budget(self) -> int | Budget | None:
        if self._granted is None:
            return self._inner.budget
        left = self._granted - len(self._inherited)
        limits = Budget.of(self._inner.budget)
        return left if limits == Budget(trials=limits.trials) else replace(limits, trials=left)

    def _has_reported_all(self) -> bool:
        return self._granted is not None and self._trial.step >= self._granted

    def _watch(self, ledger: Ledger) -> None:
        """The inner sweep has committed something: report the trials that have ended since."""
        own = [Observation(trial, outcome_of(trial)) for trial in ledger.trials if trial.state.is_finished]
        found = [*self._inherited, *own]
        # One report for each of them: a driver that died may have left this run further than the trial's reports.
        for count in range(max(self._trial.step, len(self._inherited)) + 1, len(found) + 1):
            best = self._best(found if count == len(found) else found[:count])
            if best is None:
                continue
            if count == self._granted or count >= self._save_at:
                self._save_at = max(count + 1, count * SAVED_AGAIN)
                self._trial.save(self._state(own))
            self._trial.report(self._metrics(best), count)

    def _best(self, found: Sequence[Observation]) -> float | None:
        """The best score at the largest resource: a sweep's `best_score`."""
        sign = 1 if self._inner.objectives.directions[0] == "maximize" else -1
        scored = [
            (known.trial.step, sign * float(known.result))
            for known in found
            if known.result.is_usable and isinstance(known.result.score, float)
        ]
        return sign * max(scored)[1] if scored else None

    def _metrics(self, best: float) -> dict[str, float]:
        return {self._inner.objectives.keys[0]: best, "score": best}

    def _state(self, own: Sequence[Observation]) -> dict[str, Any]:
        return {"trial": self._trial.id, "inherited": self._to_json(self._inherited), "own": self._to_json(own)}

    def _to_json(self, observations: Sequence[Observation]) -> list[dict[str, Any]]:
        records = []
        for trial, result in ((known.trial, known.result) for known in observations):
            params = self._codec.encode(trial.params)
            plain = Trial(params, trial.id, resource=trial.resource)
            plain.state, plain.failure = trial.state, result.failure
            plain.score, plain.cost = result.score, result.cost
            records.append({**plain.to_json(), "step": trial.step})
        return records

    def _inherited_from(self, state: dict[str, Any]) -> list[Observation]:
        """What the donor has observed: all of it where the state is the donor's, else what this trial began with."""
        records = state["inherited"] if state["trial"] == self._trial.id else [*state["inherited"], *state["own"]]
        found = []
        for record in records:
            trial = Trial.from_json({**record, "params": self._codec.decode(record["params"])})
            trial.read_reports_later(record["step"], list)
            found.append(Observation(trial, Result(trial.score, trial.cost, trial.failure)))
        return found


async def _ended(result: Awaitable[Any]) -> bool:
    await result
    return True
