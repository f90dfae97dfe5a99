"""The values of hooks: retry policies, back-off, hook sets, and what `.through` accepts under each name."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeAlias, TypeVar, Unpack

from typing_extensions import TypedDict

from metta.sweep.contracts.assignable import is_type_form
from metta.sweep.contracts.flow import HOOK_NAMES, did_you_mean
from metta.sweep.contracts.summary import summarize
from metta.sweep.errors import UsageError

if TYPE_CHECKING:
    from metta.sweep.executors.base import Executor
    from metta.sweep.trial import Resources


@dataclass(frozen=True, slots=True)
class Backoff:
    """Exponential back-off: the pause before retry k (k = 1, 2, ...) is base * factor**(k - 1), at most `max`.

    Args:
        base: seconds before the first retry.
        factor: growth from one retry to the next.
        max: the longest pause in seconds.
        jitter: each pause is multiplied by a uniform number from [1 - jitter, 1 + jitter], so that many stages
            that failed together do not come back together.
    """

    base: float = 0.5
    factor: float = 2.0
    max: float = 60.0
    jitter: float = 0.1

    def __post_init__(self) -> None:
        if self.base < 0 or self.max < 0 or self.factor < 1 or not 0 <= self.jitter <= 1:
            raise UsageError(
                "a back-off takes base >= 0 and max >= 0 (seconds), factor >= 1 and a jitter from 0 to 1; "
                f"found base={self.base}, factor={self.factor}, max={self.max}, jitter={self.jitter}"
            )

    def __call__(
        self,
        base: float | None = None,
        factor: float | None = None,
        max: float | None = None,
        jitter: float | None = None,
    ) -> Backoff:
        """A copy with other numbers: `exponential(base=1, max=30)`."""
        return Backoff(
            self.base if base is None else base,
            self.factor if factor is None else factor,
            self.max if max is None else max,
            self.jitter if jitter is None else jitter,
        )

    def seconds(self, retry: int) -> float:
        """The pause before the given retry, counted from 1."""
        pause = min(self.max, self.base * self.factor ** (retry - 1))
        return pause * random.uniform(1 - self.jitter, 1 + self.jitter)


exponential: Backoff = Backoff()


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often a stage is tried.

    Args:
        max_attempts: all attempts, the first included.
        backoff: the pauses between them; None: none.
        on: the exceptions that are retried. A ContractViolation is retried only if it (or a subclass) is named.
    """

    max_attempts: int = 3
    backoff: Backoff | None = exponential
    on: tuple[type[BaseException], ...] = (Exception,)

    def __post_init__(self) -> None:
        if not isinstance(self.max_attempts, int) or isinstance(self.max_attempts, bool) or self.max_attempts < 1:
            raise UsageError(f"RetryPolicy counts attempts: max_attempts is an int >= 1, found {self.max_attempts!r}")
        if self.backoff is not None and not isinstance(self.backoff, Backoff):
            raise UsageError(
                f"RetryPolicy(backoff=...) takes a Backoff such as exponential(base=1), or None; found {self.backoff!r}"
            )
        if not isinstance(self.on, tuple) or not all(isinstance(e, type) for e in self.on):
            raise UsageError(f"RetryPolicy(on=...) takes a tuple of exception classes, found {self.on!r}")


Observer: TypeAlias = Callable[..., object]


class Hooks(TypedDict, total=False, closed=True):
    """Every hook of `.through`, for typed hook bags: `debug: Hooks = {...}`, then `.through(T, **debug)`."""

    before: Observer
    after: Observer
    log: Observer
    metrics: Observer
    debug: Observer
    monitor: Observer
    validate_type: Literal["auto", "deep"] | bool
    schema: type[Any]
    validate: Callable[..., object]
    assert_fn: Callable[..., object]
    transform: Callable[..., Any]
    filter: Callable[..., Any]
    enrich: Callable[..., Any]
    serialize: Callable[..., Any]
    retry: int | RetryPolicy
    timeout: float | timedelta
    on_error: Callable[..., Any]
    skip_if: Callable[..., object]
    default: object
    checkpoint: bool
    checkpoint_path: Callable[..., str]
    cache: bool
    cache_key: Callable[..., Any]
    archive: Callable[..., Any]
    profile: bool
    resources: Resources
    executor: str | Executor | Callable[[], Executor]


Data = TypeVar("Data")
Given = TypeVar("Given")


class DataHooks(TypedDict, Generic[Data, Given], total=False):
    """The hooks of one `.through`, for type checkers: `Data` is the data, `Given` the input of the stage before it."""

    before: Callable[[Data], object]
    after: Callable[[Data], object]
    log: Callable[[Data], object]
    metrics: Callable[[Data], object]
    debug: Callable[[Data], object]
    monitor: Callable[[Data], object]
    validate_type: Literal["auto", "deep"] | bool
    schema: type[Any]
    validate: Callable[[Data], object]
    assert_fn: Callable[[Data], object]
    transform: Callable[[Data], Data]
    filter: Callable[[Data], Data]
    enrich: Callable[[Data], Data]
    serialize: Callable[[Data], object]
    retry: int | RetryPolicy
    timeout: float | timedelta
    on_error: Callable[[Any], object] | Callable[[Any, Given], object]
    skip_if: Callable[[Given], object]
    default: Any
    checkpoint: bool
    checkpoint_path: Callable[[Data], str]
    cache: bool
    cache_key: Callable[[Given], object]
    archive: Callable[[Data], object]
    profile: bool
    resources: Resources
    executor: str | Executor | Callable[[], Executor]


class HookSet(Mapping[str, Any]):
    """A reusable set of hooks: `.through(T, **production)`; sets combine with `|`, the right one wins.

    Raises:
        UsageError: a name that is no hook.
    """

    __slots__ = ("_hooks",)

    def __init__(self, **hooks: Unpack[Hooks]) -> None:
        for name in hooks:
            if name not in HOOK_NAMES:
                raise UsageError(f'"{name}" is no hook' + did_you_mean(name, sorted(HOOK_NAMES)))
        self._hooks: dict[str, Any] = {**hooks}

    def __getitem__(self, name: str) -> Any:
        return self._hooks[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._hooks)

    def __len__(self) -> int:
        return len(self._hooks)

    def __or__(self, other: Mapping[str, Any]) -> HookSet:
        return HookSet(**{**self._hooks, **other})

    def __ror__(self, other: Mapping[str, Any]) -> HookSet:
        return HookSet(**{**other, **self._hooks})

    def __repr__(self) -> str:
        return f"HookSet({', '.join(f'{name}={value!r}' for name, value in self._hooks.items())})"


@dataclass(frozen=True, slots=True)
class FieldName:
    """What `field("name")` returns: a setting that reads a context field under another name."""

    name: str


def field(name: str) -> Any:
    """Bind a parameter to the context field `name`: `.stage("merge", merge, results=field("scores"))`."""
    if not isinstance(name, str) or not name:
        raise UsageError(f"field() takes the name of a context field, found {name!r}")
    return FieldName(name)


def hook_value_error(name: str, value: object) -> str | None:
    """Why a value cannot stand under a hook that takes no callable; None where it can."""
    match name:
        case "checkpoint" | "cache" | "profile":
            ok = isinstance(value, bool)
        case "validate_type":
            ok = isinstance(value, bool) or value in ("auto", "deep")
        case "retry":
            ok = isinstance(value, RetryPolicy) or (
                isinstance(value, int) and not isinstance(value, bool) and value >= 0
            )
        case "timeout":
            seconds = value.total_seconds() if isinstance(value, timedelta) else value
            ok = isinstance(seconds, (int, float)) and not isinstance(seconds, bool) and seconds > 0
        case "schema":
            ok = isinstance(value, type) and hasattr(value, "model_validate")
        case "resources":
            ok = type(value).__name__ == "Resources" and hasattr(value, "cpus")
        case "executor":
            ok = isinstance(value, str) or hasattr(value, "reattach") or (callable(value) and not is_type_form(value))
        case _:
            ok = True
    if ok:
        return None
    return summarize(value, 60)


def timeout_seconds(value: float | timedelta) -> float:
    """A time-out as seconds."""
    return value.total_seconds() if isinstance(value, timedelta) else float(value)


def retry_policy(value: int | RetryPolicy | None) -> RetryPolicy | None:
    """`retry=n` is up to n retries after the first failure."""
    if value is None or isinstance(value, RetryPolicy):
        return value
    return RetryPolicy(max_attempts=value + 1)
