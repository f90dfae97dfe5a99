"""What a run tells of itself, for the tree that it stands in: read from its journal, which may be written meanwhile."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise
from typing import Any, NamedTuple

from metta.sweep.experiments import records
from metta.sweep.experiments.sweep_status import SweepStatus, sweep_status
from metta.sweep.goal import Score
from metta.sweep.report.pipeline_status import stage_name, stages_of
from metta.sweep.report.snapshot import state_text
from metta.sweep.runtime.history import History
from metta.sweep.runtime.scope import children_digest
from metta.sweep.schedulers.base import Action
from metta.sweep.store.entries import Event
from metta.sweep.store.nested import ChildRun
from metta.sweep.store.run import Run, RunStatus
from metta.sweep.trial import Params, Trial, TrialState, number_to_json


class StageStarter(NamedTuple):
    """The stage that has started a run.

    Attributes:
        stage: its name.
        attempt: which attempt of it, from 1.
    """

    stage: str
    attempt: int

    def to_json(self) -> dict[str, Any]:
        """As JSON values."""
        return self._asdict()


class TrialStarter(NamedTuple):
    """The trial that has started a run.

    Attributes:
        trial: its number.
        params: of the trial.
        state: None where the journal does not know the trial (yet).
        score: None without one.
    """

    trial: int
    params: Mapping[str, Any]
    state: TrialState | None
    score: Score | None

    def to_json(self) -> dict[str, Any]:
        """As JSON values; parameters that are none are given as texts."""
        return {
            "trial": self.trial,
            "params": {path: _value_to_json(value) for path, value in self.params.items()},
            "state": None if self.state is None else self.state.value,
            "score": _value_to_json(self.score),
        }


Starter = StageStarter | TrialStarter


@dataclass(frozen=True, slots=True)
class Spending:
    """What was used by whoever did the work himself: trials and stages that have started no runs.

    Attributes:
        trials: how many such trials there are.
        resource: units of resource that they were given, those computed again included.
        seconds: that they ran; of parallel ones the sum.
        costs: the sum for each `cost_key`; sweeps without one cost seconds, and those are told above.
    """

    trials: int = 0
    resource: int = 0
    seconds: float = 0.0
    costs: Mapping[str, float] = field(default_factory=dict)

    def __add__(self, other: Spending) -> Spending:
        costs = {key: self.costs.get(key, 0.0) + other.costs.get(key, 0.0) for key in {**self.costs, **other.costs}}
        return Spending(self.trials + other.trials, self.resource + other.resource, self.seconds + other.seconds, costs)

    @property
    def cost(self) -> float | None:
        """The cost in the one unit there is, seconds where no sweep has another; None where there are several."""
        if len(self.costs) > 1:
            return None
        return next(iter(self.costs.values()), self.seconds)

    def to_json(self) -> dict[str, Any]:
        """As JSON values."""
        return {
            "trials": self.trials,
            "resource": self.resource,
            "seconds": self.seconds,
            "costs": {key: number_to_json(cost) for key, cost in self.costs.items()},
        }


class Facts(NamedTuple):
    """What a run tells of itself: the attributes of its `RunTree`.

    Attributes:
        start: which of its trials or stages has started one of its children; None where it does not say.
    """

    status: RunStatus
    counts: Mapping[str, int]
    best: float | None
    wall_seconds: float
    own: Spending
    start: Callable[[ChildRun], Starter | None]


def nobody(child: ChildRun) -> None:
    """Who has started a run cannot be told."""


def sweep_facts(run: Run, children: Sequence[ChildRun]) -> Facts:
    """What the run of a sweep tells; these are its children.

    Raises:
        DamagedError: its journal is not what was written.
    """
    started = next(run.journal.events(kinds={records.STARTED}), None)
    if started is None:  # its driver has only just made it
        return Facts(run.info.status, {}, None, 0.0, Spending(), nobody)
    status = sweep_status(run)
    plan = started.data["plan"]
    best = status.best.score if status.best is not None else None
    return Facts(
        status=status.status,
        counts={state_text(state, status.status): number for state, number in status.counts.items()},
        best=best if isinstance(best, float) else None,
        wall_seconds=status.spent.seconds,
        own=Spending() if plan.get("nested", False) else _spent_by_leaves(run, status, plan["cost_key"], children),
        start=partial(_trial_of, status.trials),
    )


def _trial_of(trials: Sequence[Trial], child: ChildRun) -> TrialStarter | None:
    if child.trial is None:
        return None
    if child.trial >= len(trials):
        return TrialStarter(child.trial, Params({}), None, None)
    trial = trials[child.trial]
    return TrialStarter(trial.id, trial.params, trial.state, trial.score)


def _spent_by_leaves(run: Run, status: SweepStatus, cost_key: str | None, children: Sequence[ChildRun]) -> Spending:
    """What the trials have used that have started no runs: the work of the others is told by those."""
    starters = {child.trial for child in children}
    above = [trial for trial in status.trials if trial.id in starters]
    leaves = [trial for trial in status.trials if trial.id not in starters]
    begun = sum(trial.state is not TrialState.PENDING for trial in leaves)
    # The sum over all trials knows of the steps that were computed again, and a single trial does not.
    resource = status.spent.resource - _steps_done(run, above)
    cost = sum(trial.cost or 0.0 for trial in leaves)
    if cost_key is None:
        return Spending(begun, resource, cost)
    subjects = {str(trial.id) for trial in leaves}
    seconds = seconds_of_trials(event for event in run.journal.events() if event.subject in subjects)
    return Spending(begun, resource, seconds, {cost_key: cost})


def _steps_done(run: Run, trials: Sequence[Trial]) -> int:
    """The steps of these trials; a fork has not done those of its donor."""
    if not trials:
        return 0
    first: dict[str, int] = {}
    for event in run.journal.events(kinds={records.BEGAN}):
        first.setdefault(event.subject, event.data["saved_step"])
    return sum(max(0, trial.step - first.get(str(trial.id), 0)) for trial in trials)


def seconds_of_trials(events: Iterable[Event]) -> float:
    """Of all attempts that came to an end; of one that died with its driver nobody knows when."""
    began: dict[str, float] = {}
    seconds = 0.0
    for event in events:
        if event.kind == records.BEGAN:
            began[event.subject] = event.time
        elif event.kind in (records.RETURNED, records.FAILED) or _ends_attempt(event):
            seconds += event.time - began.pop(event.subject, event.time)
    return seconds


def _ends_attempt(event: Event) -> bool:
    return event.kind == records.JUDGED and event.data["action"] != Action.CONTINUE.value


def pipeline_facts(run: Run, children: Sequence[ChildRun]) -> Facts:
    """What the run of a pipeline tells; these are its children.

    Raises:
        DamagedError: its journal is not what was written.
    """
    events = list(run.journal.events())
    history = History.of(events)
    status = history.status
    if status is RunStatus.RUNNING and run.info.status is not RunStatus.RUNNING:
        status = RunStatus.INTERRUPTED
    starters = {
        children_digest(f"{event.subject}~{event.data['attempt']}/"): (event.subject, event.data["attempt"])
        for event in events
        if event.kind == "stage.started"
    }
    known = (starters.get(_digest_in(child.place)) for child in children)
    inner = {found[0] for found in known if found is not None}
    counts = sum((Counter(stage.states) for stage in stages_of(history, status)), Counter[Any]())
    return Facts(
        status=status,
        counts={state.value: number for state, number in counts.items()},
        best=None,
        wall_seconds=wall_seconds_of(events),
        own=Spending(seconds=seconds_of_stages(history, inner)),
        start=partial(_stage_of, starters),
    )


def _stage_of(starters: Mapping[str, tuple[str, int]], child: ChildRun) -> StageStarter | None:
    found = starters.get(_digest_in(child.place))
    return None if found is None else StageStarter(stage_name(found[0]), found[1])


def _digest_in(place: str) -> str:
    """The digest in the name of the folder where an attempt of a stage has its children, see `Scope.children`."""
    found = re.search(r"-([0-9a-f]{12})(?:-\d+)?$", place)
    return found[1] if found is not None else ""


def seconds_of_stages(history: History, inner: Collection[str]) -> float:
    """That the stages took which have started nothing: neither a run, nor (as a nested pipeline, a map) stages."""
    around = {*inner, *(above for key in history.passages for above in _stages_around(key))}
    return sum(passage.seconds for key, passage in history.passages.items() if not passage.cached and key not in around)


def _stages_around(key: str) -> Iterator[str]:
    """The keys of the passages in which the one with this key is: "a" and "a~1/b" for "a~1/b[3]"."""
    for mark in re.finditer(r"~\d+/|\[\d+\]$", key):
        yield key[: mark.start()]


def wall_seconds_of(events: Sequence[Event]) -> float:
    """From the first entry to the last, without the time between the drivers."""
    resumed = [place for place, event in enumerate(events) if event.kind == "run.resumed"]
    parts = pairwise([0, *resumed, len(events)])
    return sum(events[end - 1].time - events[begin].time for begin, end in parts if end > begin)


def _value_to_json(value: object) -> Any:
    if isinstance(value, float):
        return number_to_json(value)
    if isinstance(value, list | tuple):
        return [_value_to_json(item) for item in value]
    if isinstance(value, Mapping):
        return {str(name): _value_to_json(item) for name, item in value.items()}
    return value if value is None or isinstance(value, bool | int | str) else str(value)
