"""`--executor NAME executor.option=value`: from the command line to an open executor, and what it would be given.

Options are recorded with the other settings of a run, so that `metta-sweep resume` has the same executor again.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from inspect import Parameter
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

from metta.sweep.cli.overrides import parse, resolved, split_overrides
from metta.sweep.cli.targets import ExperimentTarget, PipelineTarget, Target
from metta.sweep.contracts.diagnostics import nearest
from metta.sweep.errors import UsageError
from metta.sweep.executors.base import Executor, Task
from metta.sweep.experiments.base import Experiment
from metta.sweep.experiments.sweep import SweepExperiment

if TYPE_CHECKING:
    from metta.sweep.executors.objective import Objective

PREFIX: Final = "executor."
"""Begins the options of the executor among the settings."""

_COLLECTING: Final = (Parameter.VAR_POSITIONAL, Parameter.VAR_KEYWORD)


@dataclass(frozen=True, slots=True)
class ExecutorChoice:
    """An executor as the command line names it.

    Attributes:
        name: of `--executor`.
        make: its class.
        options: what that is called with.
    """

    name: str
    make: Callable[..., Executor]
    options: Mapping[str, Any]

    def open(self) -> Executor:
        """A new one.

        Raises:
            UserError: an option is out of range, or a library is missing.
        """
        return self.make(**self.options)


def split_options(overrides: Sequence[str]) -> tuple[list[str], list[str]]:
    """The settings of the executor, and the others."""
    options = [text for text in overrides if text.strip().startswith(PREFIX)]
    return options, [text for text in overrides if text not in options]


def choice_of(name: str | None, options: Sequence[str]) -> ExecutorChoice | None:
    """What `--executor` and its options mean; None without them.

    Args:
        name: of the executor; None where none was named.
        options: "executor.partition=gpu"; each value is read as what the class declares its parameter to be.

    Raises:
        UsageError: there is no such executor or option, a value is none of its type, or one that is needed is missing.
    """
    texts = split_overrides(options)
    if name is None:
        for path in texts:
            raise UsageError(f"{path}={texts[path]}: this is an option of an executor: add --executor NAME")
        return None
    from metta.sweep.executors.registry import EXECUTORS

    make = EXECUTORS.find(name)
    called = getattr(make, "__name__", name)
    parameters = inspect.signature(make).parameters
    named = [each for each, parameter in parameters.items() if parameter.kind not in _COLLECTING]
    takes_any = any(parameter.kind is Parameter.VAR_KEYWORD for parameter in parameters.values())
    hints = resolved(cast("Any", make).__init__ if isinstance(make, type) else make)
    found = {}
    for path, text in texts.items():
        option = path.removeprefix(PREFIX)
        if option not in named and (not takes_any or "." in option):
            raise UsageError(f"{path}={text}: {called} has no option {option!r}: {_near(option, named)}")
        found[option] = parse(path, text, hints.get(option))
    missing = [each for each in named if parameters[each].default is Parameter.empty and each not in found]
    if missing:
        settings = " ".join(f"{PREFIX}{each}=..." for each in missing)
        raise UsageError(f"--executor {name}: {called} needs {', '.join(missing)}: add {settings}")
    return ExecutorChoice(name, make, found)


def _near(option: str, named: Sequence[str]) -> str:
    head = option.partition(".")[0]
    if head != option and head in named:
        return f"it is one value, such as {PREFIX}{head}='{{\"{option.partition('.')[2]}\": ...}}'"
    near = nearest(option, list(named))
    return f"did you mean {near!r}?" if near else f"it takes {', '.join(named) or 'none'}"


@contextmanager
def on_executor(target: Target, choice: ExecutorChoice | None, *, checked: bool = True) -> Iterator[Target]:
    """The sweep with its trials on another executor, which is open inside of the block.

    Without a choice it is the target's own, opened if that is remote.

    Args:
        checked: ask the remote executors of the target whether jobs could run.

    Raises:
        UsageError: it is no sweep.
        ExecutorUnready: they could not.
    """
    from metta.sweep.executors.remote.probe import refuse_if_unready
    from metta.sweep.executors.shared import close_shared, is_executor

    if isinstance(target, PipelineTarget):
        if choice is not None:
            raise UsageError(
                "--executor is for sweeps: a stage of a pipeline names its own, as in "
                f'.through(..., executor="{choice.name}")'
            )
        try:
            for executor in {id(each): each for _, each in remote_stages(target)}.values() if checked else ():
                refuse_if_unready(executor)
            yield target
        finally:
            close_shared()
        return
    experiment = target.experiment
    if choice is not None and not hasattr(experiment, "executor"):
        raise UsageError(f"--executor is for sweeps: {target.name} starts none")
    source = choice.open if choice is not None else getattr(experiment, "executor", None)
    if choice is None and not _is_remote(source):
        yield target
        return
    given = is_executor(source)
    opened: Any = source if given else cast("Callable[[], Executor]", source)()
    try:
        if checked:
            refuse_if_unready(opened)
        yield ExperimentTarget(experiment.with_params({"executor": opened}))
    finally:
        if not given:
            opened.close()


def remote_stages(target: PipelineTarget) -> Iterator[tuple[Any, Any]]:
    """The nodes of a pipeline that run on a remote executor, each with that, opened."""
    from metta.sweep.executors.shared import shared_executor, source_of
    from metta.sweep.runtime.stage_hooks import arrange

    for node in target.graph.graph.walk():
        control = arrange(node.name, node.hooks, node.global_hooks).control
        source = source_of(control["executor"]) if "executor" in control else None
        if source is not None and _is_remote(source):
            yield node, shared_executor(source)


def _is_remote(source: Any) -> bool:
    """Whether it is, or makes, an executor of jobs elsewhere, as far as that can be seen without making one."""
    from metta.sweep.executors.remote.executor import RemoteExecutor

    made = getattr(source, "func", source)  # of a functools.partial
    return isinstance(made, RemoteExecutor) or (isinstance(made, type) and issubclass(made, RemoteExecutor))


# What would be submitted


def described_jobs(target: Target, folder: Path) -> dict[str, str]:
    """For `--dry-run`: the batch script or manifest of the first trial, or of each stage elsewhere, by its name.

    Ids, tokens and digests stand for those that a run would have.

    Args:
        folder: of the store.

    Raises:
        UnstorableError: the objective, or a stage, cannot be sent to another process.
    """
    runs = folder.absolute() / "runs" / "RUN"
    if isinstance(target, PipelineTarget):
        return {
            f"stage {node.name}": executor.describe(_of_stage(node, runs / "stages" / node.name / "attempt-1"))
            for node, executor in remote_stages(target)
        }
    executor, sweep = getattr(target.experiment, "executor", None), _innermost(target.experiment)
    if sweep is None or not _is_remote(executor):
        return {}
    described: str = cast("Any", executor).describe(_of_first_trial(sweep, runs))
    return {"trial 0" if sweep is target.experiment else f"trial 0 of {sweep.name}": described}


def _innermost(experiment: Experiment[Any]) -> SweepExperiment | None:
    """The sweep whose trials take the executor; those that are sweeps run in the driver. None where it is not known."""
    if not isinstance(experiment, SweepExperiment):
        return None
    base = experiment.base_experiment
    return _innermost(base) if isinstance(base, Experiment) and base.nests else experiment


def _of_stage(node: Any, folder: Path) -> Task:
    from metta.sweep.executors.child import stage_task
    from metta.sweep.runtime.attempts import time_limit
    from metta.sweep.runtime.stage_hooks import arrange

    control = arrange(node.name, node.hooks, node.global_hooks).control
    call = getattr(getattr(node.plan, "step", None), "call", None) or _body_of_a_nested_pipeline
    return stage_task(
        call,
        timeout=time_limit(control) or math.inf,
        name=node.name,
        resources=control.get("resources"),
        log_folder=folder,
        token=f"RUN-stage-{node.name}-1",
    )


def _body_of_a_nested_pipeline() -> None:
    """Stands for the function that is generated when a graph is linked."""


def _of_first_trial(sweep: SweepExperiment, runs: Path) -> Task:
    from metta.sweep.executors.objective import trial_task
    from metta.sweep.experiments.arguments import allocated, merged
    from metta.sweep.trial import Resources, Trial

    optimizer, scheduler = sweep._request(None, None, False, False, False).fresh(sweep.seed or 0)
    suggested = optimizer.suggest(1)
    trial = suggested[0] if suggested else Trial({})
    trial.id = 0
    resources = merged(sweep.resources or Resources(), allocated(scheduler, trial))
    return trial_task(
        cast("Objective", sweep.base_experiment),
        trial,
        token="RUN-trial-0-attempt-1",
        folder=runs / "trials" / "trial-0000",
        timeout=resources.time_limit_seconds,
        resources=resources,
    )
