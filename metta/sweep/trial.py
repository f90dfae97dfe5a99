"""Trials: one configuration, what happened to it, and what a training function may ask of it.

A `Trial` is the one record of a configuration that optimizer, scheduler, executor and driver share. Only the driver
of a sweep changes its state; inside a training function the same class is the handle with `report`, `should_stop`,
`save` and `load`, which talk through `trial.channel`.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from difflib import get_close_matches
from enum import StrEnum
from typing import Any, Final, Protocol, SupportsFloat

from metta.sweep.errors import UsageError
from metta.sweep.goal import Score

UNNUMBERED: Final = -1
"""`Trial.id` before the driver numbers the trial."""


class TrialState(StrEnum):
    """The states of a trial. The last four are final."""

    PENDING = "pending"
    RUNNING = "running"
    PAUSED = "paused"
    COMPLETED = "completed"
    PRUNED = "pruned"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def is_finished(self) -> bool:
        """True for the final states."""
        return self in (TrialState.COMPLETED, TrialState.PRUNED, TrialState.FAILED, TrialState.CANCELLED)


class FailureReason(StrEnum):
    """Why a trial or a stage failed."""

    USER_ERROR = "user_error"
    CONTRACT = "contract"
    TIMEOUT = "timeout"
    OOM = "oom"
    KILLED = "killed"
    PREEMPTED = "preempted"
    NODE_LOST = "node_lost"
    STORAGE = "storage"
    LOST_CONTACT = "lost_contact"
    DEPENDENCY = "dependency"
    CANCELLED = "cancelled"

    @property
    def uses_up_retries(self) -> bool:
        """False where the machine, not the task, is to blame: such attempts count as preemptions."""
        return self not in (FailureReason.PREEMPTED, FailureReason.NODE_LOST, FailureReason.LOST_CONTACT)


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a trial failed: the reason, one line of text, and the user's traceback where there is one."""

    reason: FailureReason
    message: str = ""
    traceback: str = ""


@dataclass(frozen=True, slots=True)
class Report:
    """The metrics of one step. `step` counts units of resource from 1; `metrics` maps name -> number."""

    step: int
    metrics: Mapping[str, float]


class Result(float):
    """The outcome an optimizer observes.

    It is a float, equal to its score (NaN for a failure and for several objectives), so that a custom
    `observe(self, trial, result: float)` can use it as the number it is.

    Args:
        score: the score; for several objectives a mapping name -> number; None for a failure.
        cost: what the trial has cost so far, in the unit of `cost_key` (default: seconds).
        failure: why there is no score.
    """

    __slots__ = ("cost", "failure", "score")

    score: Score | None
    cost: float | None
    failure: Failure | None

    def __new__(
        cls,
        score: Score | None = None,
        cost: float | None = None,
        failure: Failure | FailureReason | None = None,
    ) -> Result:
        value = math.nan if score is None or isinstance(score, Mapping) or failure else float(score)
        result = super().__new__(cls, value)
        result.score = score
        result.cost = cost
        result.failure = Failure(failure) if isinstance(failure, FailureReason) else failure
        return result

    def __reduce__(self) -> tuple[Any, ...]:
        return Result, (self.score, self.cost, self.failure)

    def __repr__(self) -> str:
        return f"Result(score={self.score!r}, cost={self.cost!r}, failure={self.failure!r})"

    @classmethod
    def of(cls, value: float | Mapping[str, float] | Result) -> Result:
        """Whatever `observe` accepts, as a Result."""
        return value if isinstance(value, Result) else cls(value)

    @property
    def is_usable(self) -> bool:
        """True if there is a score and every number in it is finite: anything else counts as a failure."""
        if self.failure is not None or self.score is None:
            return False
        numbers = self.score.values() if isinstance(self.score, Mapping) else (self.score,)
        return all(math.isfinite(number) for number in numbers)


@dataclass(frozen=True, slots=True)
class Observation:
    """A trial and its outcome, as `load_observations` reads them: `optimizer.observe(obs.trial, obs.result)`."""

    trial: Trial
    result: Result


@dataclass(frozen=True, slots=True)
class Resources:
    """What a trial or a stage needs.

    Args:
        cpus: cores, may be a fraction.
        gpus: devices; a fraction shares one, 0 sees none.
        memory: bytes, or text such as "8GB" or "512 MiB"; None for no limit.
        time_limit: seconds or a timedelta; None for no limit.
        partition: the queue of a cluster.
        image: the container image.

    Raises:
        UsageError: a negative or unreadable quantity.
    """

    cpus: float = 1
    gpus: float = 0
    memory: int | str | None = None
    time_limit: float | timedelta | None = None
    partition: str | None = None
    image: str | None = None

    def __post_init__(self) -> None:
        for name, value in (
            ("cpus", self.cpus),
            ("gpus", self.gpus),
            ("time_limit", self.time_limit_seconds),
        ):
            if value is not None and not 0 <= value < math.inf:
                raise UsageError(f"Resources({name}={value!r}): expected a number that is not negative")
        if self.memory is not None and self.memory_bytes is not None and self.memory_bytes <= 0:
            raise UsageError(f"Resources(memory={self.memory!r}): expected a positive amount")

    @property
    def time_limit_seconds(self) -> float | None:
        """The time limit in seconds."""
        limit = self.time_limit
        return limit.total_seconds() if isinstance(limit, timedelta) else limit

    @property
    def memory_bytes(self) -> int | None:
        """The memory in bytes."""
        return _bytes_of(self.memory) if isinstance(self.memory, str) else self.memory


_UNITS: Final[Mapping[str, int]] = {
    **{f"{prefix}B": 1000**power for power, prefix in enumerate(("", "K", "M", "G", "T"))},
    **{f"{prefix}IB": 1024**power for power, prefix in enumerate(("", "K", "M", "G", "T")) if prefix},
    **{prefix: 1024**power for power, prefix in enumerate(("", "K", "M", "G", "T"))},
}


def _bytes_of(text: str) -> int:
    """Bytes in "8GB" (powers of 1000), "8GiB" or "8G" (powers of 1024)."""
    number = text.strip().rstrip("BbIiKkMmGgTt ")
    unit = text.strip()[len(number) :].strip().upper()
    try:
        return int(float(number) * _UNITS[unit])
    except (ValueError, KeyError):
        raise UsageError(f'memory={text!r}: expected bytes or text such as "8GB" or "512MiB"') from None


class UnknownParameter(UsageError, KeyError):
    """A parameter that a trial or a space does not have; the message names the nearest."""

    def __str__(self) -> str:
        return Exception.__str__(self)  # KeyError would show the repr of the message


def resolve_path(name: str, paths: Iterable[str]) -> str:
    """The one of `paths` that `name` means: itself, or the only one that ends in `.name`.

    Raises:
        UnknownParameter: there is none, or more than one.
    """
    known = list(paths)
    matches = [path for path in known if path == name] or [path for path in known if path.endswith(f".{name}")]
    if len(matches) == 1:
        return matches[0]
    if matches:
        raise UnknownParameter(f"the parameter {name!r} is ambiguous: write one of {', '.join(matches)}")
    by_end = {path.rpartition(".")[2]: path for path in known}
    near = get_close_matches(name, [*known, *by_end], n=1)
    if near:
        raise UnknownParameter(f"there is no parameter {name!r}: did you mean {by_end.get(near[0], near[0])!r}?")
    raise UnknownParameter(f"there is no parameter {name!r}: there is {', '.join(known) or 'none'}")


class Params(Mapping[str, Any]):
    """The parameters of a trial: dot path -> value, read-only.

    The end of a path is accepted as an alias where only one path ends so: `params["learning_rate"]` reads
    "trainer.learning_rate". Iteration, `len` and `dict(params)` know the full paths only.
    """

    __slots__ = ("_values",)

    def __init__(self, values: Mapping[str, Any]) -> None:
        self._values = dict(values)

    def __getitem__(self, name: str) -> Any:
        if name in self._values:
            return self._values[name]
        return self._values[resolve_path(name, self._values)]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __repr__(self) -> str:
        return repr(self._values)


@dataclass(frozen=True, slots=True)
class Saved:
    """A state that a training function saved, and the step whose report committed it.

    `step` is None for a state saved in this very process whose report has not come yet.
    """

    state: Any
    step: int | None


class TrialChannel(Protocol):
    """What `report`, `should_stop`, `save` and `load` of a trial talk to."""

    def report(self, report: Report) -> None:
        """Deliver a report whose step is new, and commit the state saved before it together with it.

        May block until the scheduler has judged the report; its verdict is what `should_stop` then says.
        """

    def should_stop(self) -> bool:
        """True once the scheduler wants the trial to end or to pause."""

    def save(self, state: object) -> None:
        """Keep `state` until the next report commits it. An earlier state is never damaged by this."""

    def load(self) -> Saved | None:
        """The newest state, or None where nothing was saved."""


@dataclass(slots=True)
class MemoryChannel:
    """A channel that keeps everything in memory, so that a training function can be called by hand."""

    stop: bool = False
    saved: Saved | None = None

    def report(self, report: Report) -> None:
        if self.saved is not None and self.saved.step is None:
            self.saved = Saved(self.saved.state, report.step)

    def should_stop(self) -> bool:
        return self.stop

    def save(self, state: object) -> None:
        # A copy: what training changes afterwards must not change what was saved.
        self.saved = Saved(copy.deepcopy(state), None)

    def load(self) -> Saved | None:
        return copy.deepcopy(self.saved)


class Trial:
    """One configuration of a sweep. `Trial(params)` is enough in a custom optimizer.

    Attributes:
        params: dot path -> value; inactive parameters of a conditional space are absent.
        id: the trial's number in its sweep, from 0; -1 until the driver numbers it.
        resource: units of resource (epochs, say) granted so far in all; 0 where the scheduler sets no limit.
        parent: the donor's id, for forks of population based training only (a promotion is the same trial).
        state: see `TrialState`.
        reports: one per step, in ascending steps; those of a trial that was read from a store are read when asked for.
        score: the last report's score at the largest resource; a mapping for several objectives.
        cost: the cost so far, in the unit of the sweep's `cost_key` (default: seconds).
        failure: why it failed, in state "failed".
        seed: for the objective's random choices: the same for all trials of a sweep, so that configurations are
            compared under the same luck; with `repeats` one for each repeat. 0 outside of a sweep.
        tag: the optimizer's own JSON handle. It travels with the trial into the store and back, and nobody but
            the optimizer that set it reads it.
        channel: where the four control methods go; not part of the record.
    """

    __slots__ = (
        "_reports",
        "_step",
        "_unread",
        "_unread_step",
        "channel",
        "cost",
        "failure",
        "id",
        "params",
        "parent",
        "resource",
        "score",
        "seed",
        "state",
        "tag",
    )

    def __init__(
        self,
        params: Mapping[str, Any],
        id: int = UNNUMBERED,
        *,
        resource: int = 0,
        parent: int | None = None,
        tag: Any = None,
        channel: TrialChannel | None = None,
    ) -> None:
        self.params: Params = params if isinstance(params, Params) else Params(params)
        self.id: int = id
        self.resource: int = resource
        self.parent: int | None = parent
        self.state: TrialState = TrialState.PENDING
        self._reports: list[Report] = []
        self._unread: Callable[[], Iterable[Report]] | None = None
        self._unread_step = 0
        self.score: Score | None = None
        self.cost: float | None = None
        self.failure: Failure | None = None
        self.seed: int = 0
        self.tag: Any = tag
        self.channel: TrialChannel = channel if channel is not None else MemoryChannel()
        self._step = 0

    def __repr__(self) -> str:
        return f"Trial(id={self.id}, {self.state.value}, params={self.params!r}, score={self.score!r})"

    def __getstate__(self) -> tuple[None, dict[str, Any]]:
        """A copy has its reports: where it goes, the store may not be."""
        self._read()
        return None, {name: getattr(self, name) for name in self.__slots__}

    def copy_unread(self) -> Trial:
        """A copy that later reports do not change; those that are still to be read stay so, unlike in `copy.copy`."""
        copied = object.__new__(type(self))
        for name in self.__slots__:
            setattr(copied, name, getattr(self, name))
        copied._reports = list(self._reports)
        return copied

    @property
    def reports(self) -> list[Report]:
        """The reports, in ascending steps."""
        self._read()
        return self._reports

    @reports.setter
    def reports(self, reports: list[Report]) -> None:
        self._reports, self._unread, self._unread_step = reports, None, 0

    @property
    def step(self) -> int:
        """The last step reported, 0 before the first."""
        return self._reports[-1].step if self._reports else self._unread_step

    def add_report(self, report: Report) -> None:
        """Append a report whose step is new, without reading the earlier ones."""
        self._reports.append(report)

    def read_reports_later(self, step: int, read: Callable[[], Iterable[Report]]) -> None:
        """Take the reports up to `step`, the last one, from `read()` when somebody asks for them."""
        self._reports, self._unread, self._unread_step = [], read, step

    def _read(self) -> None:
        if self._unread is not None:
            # Kept until it has succeeded: a store that cannot be read now may be read later.
            self._reports[:0] = self._unread()
            self._unread = None

    @property
    def reached(self) -> int:
        """The step that this attempt has come to, counted as `report` counts; later ones may be known already."""
        return self._step

    def report(self, metrics: Mapping[str, SupportsFloat], step: int | None = None) -> None:
        """Report the metrics of one step (one unit of resource).

        Without `step` the steps count up from 1, or from the step of the state that `load` returned. A report at a
        step already known is ignored: that is how a trial that had to start again catches up.

        Args:
            metrics: name -> number (numpy and torch scalars are numbers).
            step: units of resource used so far, at least 1.

        Raises:
            UsageError: metrics are no mapping of names to numbers, or the step is below 1.
        """
        self._step = _checked_step(step) if step is not None else self._step + 1
        report = Report(self._step, _checked_metrics(metrics))
        if report.step > self.step:
            self.add_report(report)
            self.channel.report(report)

    def should_stop(self) -> bool:
        """True once the scheduler wants this trial to end or to pause: save what you need and return."""
        return self.channel.should_stop()

    def save(self, state: object) -> None:
        """Save `state` (tensors, arrays, numbers, text, lists, dicts); the next report commits it."""
        self.channel.save(state)

    def load(self) -> Any:
        """The state saved last, or None at a first start. The step counter goes on from its step."""
        saved = self.channel.load()
        if saved is None:
            return None
        if saved.step is not None:
            self._step = saved.step
        return saved.state

    def to_json(self) -> dict[str, Any]:
        """The record as JSON values; numbers that JSON does not know become "nan", "inf", "-inf"."""
        failure = self.failure
        return {
            "id": self.id,
            "params": dict(self.params),
            "resource": self.resource,
            "parent": self.parent,
            "state": self.state.value,
            "reports": [[report.step, _numbers_to_json(report.metrics)] for report in self.reports],
            "score": _score_to_json(self.score),
            "cost": None if self.cost is None else number_to_json(self.cost),
            "failure": failure and [failure.reason.value, failure.message, failure.traceback],
            "tag": self.tag,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Trial:
        """The trial that `to_json` wrote, with a fresh channel in memory."""
        trial = cls(data["params"], data["id"], resource=data["resource"], parent=data["parent"], tag=data["tag"])
        trial.state = TrialState(data["state"])
        for step, metrics in data["reports"]:
            trial.add_report(Report(step, _numbers_from_json(metrics)))
        score = data["score"]
        if score is not None:
            trial.score = _numbers_from_json(score) if isinstance(score, Mapping) else float(score)
        trial.cost = None if data["cost"] is None else float(data["cost"])
        if data["failure"]:
            reason, message, traceback = data["failure"]
            trial.failure = Failure(FailureReason(reason), message, traceback)
        return trial


def _checked_step(step: int) -> int:
    if isinstance(step, bool) or not isinstance(step, int) or step < 1:
        raise UsageError(f"report(step={step!r}): expected a whole number, at least 1")
    return step


def _checked_metrics(metrics: object) -> dict[str, float]:
    if not isinstance(metrics, Mapping):
        raise UsageError(f'report({metrics!r}): expected a mapping such as {{"score": 0.9}}')
    checked: dict[str, float] = {}
    for name, value in metrics.items():
        try:
            checked[str(name)] = float(value)
        except (TypeError, ValueError):
            raise UsageError(f"report: the metric {name!r} should be a number, found {type(value).__name__}") from None
    return checked


def number_to_json(value: float) -> float | str:
    """A JSON value that `float` reads back, also for NaN and infinities."""
    return value if math.isfinite(value) else str(value)


def _numbers_to_json(values: Mapping[str, float]) -> dict[str, float | str]:
    return {name: number_to_json(value) for name, value in values.items()}


def _numbers_from_json(values: Mapping[str, float | str]) -> dict[str, float]:
    return {name: float(value) for name, value in values.items()}


def _score_to_json(score: Score | None) -> Any:
    if score is None:
        return None
    return _numbers_to_json(score) if isinstance(score, Mapping) else number_to_json(score)
