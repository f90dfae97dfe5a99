"""Running what a sweep searches over: a function, a generator or a coroutine of one trial."""

from __future__ import annotations

import copy
from collections.abc import AsyncGenerator, Callable, Coroutine, Generator, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from types import AsyncGeneratorType, CoroutineType, GeneratorType
from typing import Any

from metta.sweep.errors import UsageError
from metta.sweep.executors.base import Answer, ChannelSettings, Task
from metta.sweep.executors.channel import PipeChannel
from metta.sweep.executors.nest import NEST, Nest
from metta.sweep.trial import MemoryChannel, Resources, Trial

Objective = Callable[[Trial], Any]

IN_WORKER: ContextVar[bool] = ContextVar("IN_WORKER", default=False)
"""Whether this code runs in a worker, whose process group is its own."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one attempt of a trial ended.

    Attributes:
        metrics: what the objective returned, or a generator's last yield; None where there was neither.
        step: the last step reported by the trial, in this attempt or before; 0 for none.
        answer: CONTINUE: it ended by itself; PAUSE or STOP: it obeyed the scheduler.
        used: what the leaves below a trial in the driver have used, as metrics; None for one in a worker.
    """

    metrics: Mapping[str, float] | None
    step: int
    answer: Answer
    used: Mapping[str, float] | None = None


def trial_task(
    objective: Objective,
    trial: Trial,
    *,
    token: str,
    folder: Path,
    restore: Path | None = None,
    keep: int = 2,
    metric_key: str = "score",
    timeout: float | None = None,
    resources: Resources | None = None,
    seed: int = 0,
    run: Callable[..., Any] | None = None,
) -> Task:
    """The task that runs one attempt of a trial; its result is an `Outcome`.

    Args:
        objective: what to run.
        trial: as it stands now, `trial.reports` included: reports at steps it knows are not sent again.
        token: names the attempt.
        folder: for the trial's states and its `log.txt`.
        restore: the state that `trial.load()` returns: the path of a `StateSaved`, the trial's own or a donor's.
        keep: how many of the newest states stay in the folder.
        metric_key: the name of a bare number that the objective yields or returns.
        timeout: seconds for the attempt.
        resources: what it needs.
        seed: what the objective reads as `trial.seed`.
        run: what runs the objective: `run_objective`, or another function with its parameters.
    """
    travelling = copy.copy(trial)
    travelling.reports = list(trial.reports)  # in the driver's own process it adds to them itself
    travelling.channel = MemoryChannel()  # the driver's own may hold locks and sockets
    travelling.seed = seed
    return Task(
        token=token,
        fn=run or run_objective,
        args=(objective, travelling),
        kwargs={"metric_key": metric_key},
        name=f"trial {trial.id}",
        resources=resources or Resources(),
        timeout=timeout,
        log_folder=folder,
        channel=ChannelSettings(folder, restore, keep),
    )


def run_objective(objective: Objective, trial: Trial, *, channel: PipeChannel, metric_key: str = "score") -> Outcome:
    """Run one attempt of a trial in this process. Raises whatever the objective raises."""
    trial.channel = channel
    IN_WORKER.set(True)
    NEST.set(Nest(trial, channel.folder, slots=1))
    metrics = drive(objective, trial, metric_key)
    channel.finish(trial.step)
    return Outcome(metrics, trial.step, channel.answer)


def drive(objective: Objective, trial: Trial, metric_key: str) -> dict[str, float] | None:
    """Run an objective, of whatever form, to its end; what it returned or yielded last. Raises what it raises.

    A generator is asked for its next value only when the scheduler has judged the last one: each yield is one
    unit of resource, and between two yields the trial can be paused or stopped. It is then closed, so its
    `finally` blocks run.
    """
    produced = objective(trial)
    if isinstance(produced, GeneratorType):
        return _run_generator(produced, trial, metric_key)
    if isinstance(produced, AsyncGeneratorType):
        metrics: dict[str, float] | None = run_coroutine(_run_async_generator(produced, trial, metric_key))
        return metrics
    result = run_coroutine(produced) if isinstance(produced, CoroutineType) else produced
    return None if result is None else as_metrics(result, metric_key)


def run_coroutine(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """Run a coroutine to its end in a loop of its own."""
    import asyncio

    return asyncio.run(coroutine)


def as_metrics(value: object, metric_key: str) -> dict[str, float]:
    """What an objective returned or yielded, as metrics: a mapping as it is, a number under `metric_key`.

    Raises:
        UsageError: it is neither, or a value of the mapping is no number.
    """
    given: Mapping[object, Any] = value if isinstance(value, Mapping) else {metric_key: value}
    metrics: dict[str, float] = {}
    for name, number in given.items():
        try:
            metrics[str(name)] = float(number)
        except (TypeError, ValueError):
            if value is given:
                wrong = f"{name!r} is {type(number).__name__}; expected a number for every name"
            else:
                wrong = f'expected a number, or a mapping such as {{"{metric_key}": 0.9}}'
            raise UsageError(f"the objective gave {value!r:.200}: {wrong}") from None
    return metrics


def _run_generator(
    generator: Generator[object, None, object], trial: Trial, metric_key: str
) -> dict[str, float] | None:
    metrics: dict[str, float] | None = None
    try:
        while True:
            try:
                produced = next(generator)
            except StopIteration as end:
                return metrics if end.value is None else as_metrics(end.value, metric_key)
            metrics = as_metrics(produced, metric_key)
            trial.report(metrics)
            if trial.should_stop():
                return metrics
    finally:
        generator.close()


async def _run_async_generator(
    generator: AsyncGenerator[object, None], trial: Trial, metric_key: str
) -> dict[str, float] | None:
    metrics: dict[str, float] | None = None
    try:
        async for produced in generator:
            metrics = as_metrics(produced, metric_key)
            trial.report(metrics)
            if trial.should_stop():
                break
    finally:
        await generator.aclose()
    return metrics
