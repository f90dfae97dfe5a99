"""`metta-sweep run`: start what a file holds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from inspect import signature
from typing import TYPE_CHECKING, Any

from metta.sweep.cli.executors import choice_of, described_jobs, on_executor, split_options
from metta.sweep.cli.origin import Origin
from metta.sweep.cli.output import show
from metta.sweep.cli.running import drive
from metta.sweep.cli.shown import show_json
from metta.sweep.cli.targets import ExperimentTarget, PipelineTarget, Target, chosen, target_of
from metta.sweep.cli.told import Wish
from metta.sweep.compiler.load import split_spec
from metta.sweep.errors import UsageError
from metta.sweep.experiments.base import Experiment
from metta.sweep.experiments.sweep import SweepExperiment
from metta.sweep.store.runs import Store

if TYPE_CHECKING:
    from metta.sweep.cli.detach import Began


def store_of(text: str | None) -> Store | None:
    """`--store`: a folder, "none" for none, by default METTA_SWEEP_HOME or `./.metta-sweep`."""
    return None if text == "none" else Store.at(text)


def run_file(
    spec: str,
    *,
    store: str | None,
    overrides: Sequence[str],
    budget: int | None,
    executor: str | None,
    dry_run: bool,
    as_json: bool,
    fail_fast: bool | None,
    began: Began | None = None,
) -> int:
    """Do what the command asks; the exit code.

    Args:
        fail_fast: None where neither that nor the opposite was asked for.
        began: is told which run it is as soon as that is there.

    Raises:
        MettaSweepError: nothing was run.
    """
    file, _ = split_spec(spec)
    options, settings = split_options(overrides)
    choice = choice_of(executor, options)
    with chosen(spec) as found:
        target = target_of(found, settings)
        if fail_fast is not None and not is_sweep(target):
            raise UsageError("--fail-fast and --keep-going are for sweeps: a stage that fails ends its pipeline")
        if budget is not None and not is_sweep(target):
            raise UsageError("--budget is for sweeps: this is none")
        if began is not None and isinstance(target, ExperimentTarget) and not _is_kept(target):
            raise UsageError(f"--detach is for runs that are kept: {target.name}.run() takes no store=, start it here")
        place = store_of(store)
        if dry_run:
            with on_executor(target, choice, checked=False) as placed:
                _tell_plan(placed, place, budget, as_json)
            return 0
        origin = Origin.of(file, found.name, tuple(overrides), executor)
        wish = Wish(
            place,
            None if place is None else origin,
            budget,
            fail_fast=bool(fail_fast),
            as_json=as_json,
            began=began,
        )
        with on_executor(target, choice) as placed:
            return drive(placed, wish)


def is_sweep(target: Target) -> bool:
    """Whether it has trials and a budget of them."""
    return isinstance(target, ExperimentTarget) and isinstance(target.experiment, SweepExperiment)


def _is_kept(target: ExperimentTarget) -> bool:
    return "store" in signature(target.experiment.run).parameters


def _tell_plan(target: Target, store: Store | None, budget: int | None, as_json: bool) -> None:
    plan = {
        "kind": "pipeline" if isinstance(target, PipelineTarget) else "sweep" if is_sweep(target) else "experiment",
        "name": target.name,
        "store": "none" if store is None else str(store.folder),
        **(_of_pipeline(target) if isinstance(target, PipelineTarget) else _of_experiment(target, budget)),
    }
    jobs = described_jobs(target, Store.at().folder if store is None else store.folder)
    if as_json:
        show_json({**plan, "dry_run": True, **({"jobs": jobs} if jobs else {})})
        return
    for name, value in plan.items():
        if isinstance(value, Mapping):
            value = ", ".join(f"{path}={item!r}" for path, item in value.items()) or "none"
        show(f"{name}: {', '.join(value) if isinstance(value, list) else value}")
    for name, text in jobs.items():
        show(f"\nthe job of {name}:\n\n{text.rstrip()}\n")
    show("nothing was run (--dry-run)")


def _of_pipeline(target: PipelineTarget) -> dict[str, Any]:
    inputs = dict(target.inputs) if not target.args else {"value": target.args[0]}
    return {"inputs": inputs, "stages": [node.name for node in target.graph.graph.walk()]}


def _of_experiment(target: ExperimentTarget, budget: int | None) -> dict[str, Any]:
    sweep = target.experiment
    if not isinstance(sweep, SweepExperiment):
        return {"class": type(sweep).__name__}
    base = sweep.base_experiment
    space = sweep.search_space or sweep.optimizer.search_space
    if space is None and isinstance(base, Experiment):
        known: Mapping[str, Any] = base.tunables()
    else:
        known = space or {}
    return {
        "objective": base.name if isinstance(base, Experiment) else getattr(base, "__name__", type(base).__name__),
        "goal": dict(zip(sweep.objectives.keys, sweep.objectives.directions, strict=True)),
        "space": {path: repr(distribution) for path, distribution in known.items()},
        "optimizer": type(sweep.optimizer).__name__,
        "scheduler": type(sweep.scheduler).__name__,
        "executor": _executor_name(sweep.executor),
        "budget": str(budget or sweep.budget or sweep.scheduler.natural_budget or "the default"),
    }


def _executor_name(executor: object) -> str:
    """What `--dry-run` calls it; without one at the top it is the local one."""
    return "LocalExecutor" if executor is None else str(getattr(executor, "__name__", type(executor).__name__))
