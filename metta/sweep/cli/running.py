"""`metta-sweep run` and `resume` from the moment when it is known what is to run: start, look on, stop, tell."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import time
from collections.abc import Callable, Coroutine
from functools import partial
from inspect import signature
from typing import Any, Final, cast

import click

from metta.sweep.cli.ending import tell_failure, tell_interruption, tell_result, tell_sweep
from metta.sweep.cli.stopping import stopped_by_signals
from metta.sweep.cli.targets import ExperimentTarget, PipelineTarget, Target
from metta.sweep.cli.told import Told, ToldStore, Wish
from metta.sweep.compiler.recording import recorded
from metta.sweep.errors import ContractViolation, MettaSweepError, RunError, StorageError, UsageError
from metta.sweep.experiments.nested.executor import sharing
from metta.sweep.experiments.results import SweepResult
from metta.sweep.experiments.run import Run as Started
from metta.sweep.experiments.sweep import SweepExperiment
from metta.sweep.report.events import Listener, SweepEnded, SweepEvent, SweepStarted, TrialEnded
from metta.sweep.report.inner import InnerRuns
from metta.sweep.report.live import TerminalView, live_view
from metta.sweep.runtime.durable import VALUE, DurableGraph
from metta.sweep.store.lock import holder
from metta.sweep.store.naming import slug
from metta.sweep.store.process import Process
from metta.sweep.store.run import Run, RunInfo, read_info
from metta.sweep.store.runs import Store

LONGEST_PAUSE: Final = 0.1
"""Seconds after which a signal is noticed at the latest."""


def drive(target: Target, wish: Wish) -> int:
    """Run to the end, whatever it is, and say how it was; the exit code.

    Raises:
        MettaSweepError: nothing was run.
    """
    told = Told(wish, stages_of(target))
    outcome: Any = None
    failure: BaseException | None = None
    # Of what the user's code prints, nothing may get into the one document on standard output.
    with contextlib.redirect_stdout(sys.stderr) if wish.as_json else contextlib.nullcontext():
        try:
            with stopped_by_signals():
                outcome = _started(target, wish, told)
        except (KeyboardInterrupt, Exception) as error:
            failure = error
        told.stop()
    if isinstance(failure, KeyboardInterrupt):
        return tell_interruption(told, wish)
    if isinstance(failure, Exception):
        if told.run is None and isinstance(failure, MettaSweepError):
            raise failure
        return tell_failure(failure, told, wish)
    return tell_sweep(outcome, told, wish) if isinstance(outcome, SweepResult) else tell_result(outcome, told, wish)


def stages_of(target: Target) -> int | None:
    """How many stages a pipeline has that a run notes; None for what is no pipeline."""
    if not isinstance(target, PipelineTarget):
        return None
    return sum(node.recorded for node in recorded(target.graph.graph).walk())


def _started(target: Target, wish: Wish, told: Told) -> Any:
    """Start and wait."""
    if isinstance(target, PipelineTarget):
        return _result(_pipeline(target, wish, told))
    experiment = target.experiment
    if isinstance(experiment, SweepExperiment):
        return _sweep(experiment, wish, told)
    outcome = _other(target, wish)
    return _result(outcome, partial(_look_for, target.name, wish, told)) if isinstance(outcome, Started) else outcome


def _result(run: Started[Any], look: Callable[[], None] = lambda: None) -> Any:
    """Wait for the run, and look now and then; KeyboardInterrupt cancels it, and is raised again when it has stopped.

    The waiting is a row of short ones: of two signals at once the system may give both to another thread, and nothing
    would wake this one, in which Python handles them.
    """
    try:
        _wait(run, look)
    except KeyboardInterrupt:
        run.cancel()
        _wait(run, lambda: None)
        raise
    return run.value


def _wait(run: Started[Any], look: Callable[[], None]) -> None:
    pause = 0.001
    while not run.done:
        look()
        time.sleep(pause)
        pause = min(LONGEST_PAUSE, 1.2 * pause)


def _pipeline(target: PipelineTarget, wish: Wish, told: Told) -> Started[Any]:
    main: Callable[[], Coroutine[Any, Any, Any]]
    if wish.resume is None:
        _check_inputs(target)
    if wish.store is None:
        main = partial(target.graph.arun, *target.args, **target.inputs)
    else:
        durable = DurableGraph(target.graph, ToldStore(wish.store, told), target.name)
        if wish.resume is None:
            main = partial(durable.arun, *target.args, **target.inputs)
        else:
            given = {**dict(zip([VALUE], target.args, strict=False)), **target.inputs}
            main = partial(durable.aresume, wish.resume, allow_changed=wish.allow_changed, **given)
    if target.experiment is None:
        return Started.start(main(), target.name)
    executor = target.experiment._leaf_executor()
    return Started.start(sharing(executor, main, keeps=wish.store is not None), target.name)


def _check_inputs(target: PipelineTarget) -> None:
    try:
        target.graph.check_inputs(target.args, target.inputs)
    except ContractViolation as error:  # nothing has run: it is the command line that is wrong
        raise UsageError(str(error)) from None


def _other(target: ExperimentTarget, wish: Wish) -> Any:
    """An experiment with a `run` of its own, given what that takes."""
    run = target.experiment.run
    wanted: dict[str, Any] = {"store": None if wish.store is None else wish.store.folder}
    if wish.resume is not None:
        wanted |= {"resume": wish.resume, "allow_changed": wish.allow_changed}
    taken = signature(run).parameters
    if wish.resume is not None and "resume" not in taken:
        raise UsageError(f"{target.name}.run() takes no resume=: it cannot be gone on with")
    if "store" not in taken and wish.store is not None:
        click.echo(f"note: {target.name}.run() takes no store=: nothing of it is kept", err=True)
    return run(**{name: value for name, value in wanted.items() if name in taken})


def _look_for(name: str, wish: Wish, told: Told) -> None:
    """Show the run that an experiment keeps by a `run` of its own, as soon as there is one."""
    if told.run is not None or wish.store is None:
        return
    with contextlib.suppress(OSError, StorageError):  # there is no store yet, or it is told by who drives the run
        found = held_here(wish.store, name)
        if found is None:
            return
        told.began(found)
        if wish.resume is not None:
            told.keep()
        with Run.open(found.folder, write=False) as run:
            told.follow(run, 0 if wish.resume is None else run.journal.last_seq)


# Sweeps


def _sweep(experiment: SweepExperiment, wish: Wish, told: Told) -> SweepResult:
    watch = _Watch(experiment.name, wish, told)
    with watch.view:
        result = experiment.run(
            wish.budget,
            resume=wish.resume or False,
            store=None if wish.store is None else wish.store.folder,
            allow_changed=wish.allow_changed,
            retry_failed=wish.retry_failed,
            progress=watch,
        )
        watch.cancel = result.cancel
        watch.ready.set()
        try:
            _result(result)
        except RunError as error:
            if watch.first_failure is None:
                raise
            raise RunError(f"{watch.first_failure}; the sweep was stopped there (--fail-fast)") from error
        return result


class _Watch:
    """Listens to a sweep: shows it, notes where it is kept, and stops it at the first failure if that is wished."""

    def __init__(self, name: str, wish: Wish, told: Told) -> None:
        self._name = name
        self._wish = wish
        self._told = told
        self._past: list[SweepEvent] = []
        self._begun = False
        self.view = live_view()
        self.ready = threading.Event()
        self.cancel: Callable[[], None] = _nothing
        self.first_failure: str | None = None

    def __call__(self, event: SweepEvent) -> None:
        if isinstance(event, SweepStarted):
            self._begun = True
            self._say_where()
            if isinstance(self.view, TerminalView) and self._told.run is not None:
                self.view.inner = InnerRuns(self._told.run.folder).of_trial
        cast("Listener", self.view)(event)
        if isinstance(event, SweepEnded) or not self._begun or not self._wish.fail_fast:
            return
        if isinstance(event, TrialEnded) and event.state == "failed" and self.first_failure is None:
            self.first_failure = f"trial {event.trial} failed ({event.reason}): {event.message}"
            self.ready.wait()
            self.cancel()

    def _say_where(self) -> None:
        store = self._wish.store
        if store is None:
            return
        try:
            if self._wish.resume is not None:
                self._told.began(store.find(self._wish.resume))
                self._told.keep()
            elif (found := held_here(store, self._name)) is not None:
                self._told.began(found)
        except StorageError as error:
            click.echo(f"note: {error}: `resume` will need to be told the file", err=True)


def _nothing() -> None:
    """Before the sweep can be cancelled."""


def held_here(store: Store, name: str) -> RunInfo | None:
    """The run of this name that this process drives; None where there is none."""
    start, here = f"{slug(name)}-", Process.current()._replace(since=0.0)
    names = sorted((entry for entry in os.listdir(store.runs_folder) if entry.startswith(start)), reverse=True)
    for entry in names:  # the newest first: the id holds the time
        folder = store.runs_folder / entry
        held = holder(folder)
        if held is not None and held.alive and held.process is not None and held.process._replace(since=0.0) == here:
            return read_info(folder)
    return None
