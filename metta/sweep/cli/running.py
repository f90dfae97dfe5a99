"""`metta-sweep run` and `resume` from the moment when it is known what is to run: start, look on, stop, tell."""

from __future__ import annotations

import contextlib
import os
import shlex
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from inspect import signature
from typing import Any, Final, cast

import click

from metta.sweep.cli.following import Follower
from metta.sweep.cli.origin import Origin, write_origin
from metta.sweep.cli.output import show
from metta.sweep.cli.shown import jsonable, result_lines, show_json, user_traceback
from metta.sweep.cli.stopping import INTERRUPTED, stopped_by_signals
from metta.sweep.cli.sweep_text import sweep_json
from metta.sweep.cli.targets import ExperimentTarget, PipelineTarget, Target
from metta.sweep.errors import ContractViolation, MettaSweepError, RefusedError, RunError, StorageError, UsageError
from metta.sweep.experiments.results import SweepResult
from metta.sweep.experiments.run import Run as Started
from metta.sweep.experiments.sweep import SweepExperiment
from metta.sweep.report.events import Listener, SweepEnded, SweepEvent, SweepStarted, TrialEnded
from metta.sweep.report.live import live_view
from metta.sweep.report.pipeline_status import pipeline_status
from metta.sweep.runtime.durable import KEPT, VALUE, DurableGraph
from metta.sweep.runtime.recorder import failure_text
from metta.sweep.store.lock import holder
from metta.sweep.store.naming import slug
from metta.sweep.store.process import Process
from metta.sweep.store.run import Run, RunInfo, read_info
from metta.sweep.store.runs import Store

FAILED: Final = 1

LONGEST_PAUSE: Final = 0.1
"""Seconds after which a signal is noticed at the latest."""


@dataclass(frozen=True, slots=True)
class Wish:
    """What the command line asks of a run.

    Attributes:
        store: where it is kept; None: nowhere.
        origin: what a later `resume` needs; None where nothing new is to be kept.
        budget: of a sweep.
        resume: the id of the run to go on with, None for a new one.
        allow_changed, retry_failed: of `resume`.
        fail_fast: a sweep stops at the first trial that fails.
        as_json: the outcome is one JSON document on standard output.
    """

    store: Store | None
    origin: Origin | None
    budget: int | None = None
    resume: str | None = None
    allow_changed: bool = False
    retry_failed: bool = False
    fail_fast: bool = False
    as_json: bool = False


class _Told:
    """What is said while a run goes on, on standard error, and what is known of it."""

    def __init__(self, wish: Wish) -> None:
        self._wish = wish
        self._follower: Follower | None = None
        self.run: RunInfo | None = None

    def began(self, run: RunInfo) -> None:
        """The run is there: keep what it was started from, and say where it is."""
        if self.run is not None:
            return
        self.run = run
        if self._wish.resume is None:
            self.keep()
        click.echo(f"run {run.id} in {run.folder}", err=True)

    def keep(self) -> None:
        """Keep what the run was started from; of a resumed run, when it goes on with it, which it may refuse."""
        if self._wish.origin is not None and self.run is not None:
            write_origin(self._wish.origin, self.run.folder)

    def follow(self, run: Run) -> None:
        """Say how the stages of a pipeline go."""
        self._follower = Follower(run.folder, run.journal.last_seq, partial(click.echo, err=True), self.keep)

    def stop(self) -> None:
        """Nothing more is said."""
        if self._follower is not None:
            self._follower.stop()

    @property
    def resume_command(self) -> str | None:
        """How to go on; None where nothing is kept."""
        if self.run is None:
            return None
        store = self._wish.store
        is_default = store is None or store.folder == Store.at().folder
        where = "" if is_default or store is None else f" --store {shlex.quote(str(store.folder))}"
        return f"metta-sweep resume {self.run.id}{where}"


class _ToldStore(Store):
    """A store that says which run a driver has opened in it."""

    def __init__(self, store: Store, told: _Told) -> None:
        super().__init__(store.folder)
        self._told = told

    def create(self, name: str, kind: str, details: Mapping[str, Any] | None = None) -> Run:
        return self._opened(super().create(name, kind, details))

    def open(self, text: str, *, write: bool = False) -> Run:
        run = super().open(text, write=write)
        return self._opened(run) if write else run

    def _opened(self, run: Run) -> Run:
        try:
            self._told.began(run.info)
            self._told.follow(run)
        except BaseException:
            run.close()
            raise
        return run


def drive(target: Target, wish: Wish) -> int:
    """Run to the end, whatever it is, and say how it was; the exit code.

    Raises:
        MettaSweepError: nothing was run.
    """
    told = _Told(wish)
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
        return _interrupted(told, wish)
    if isinstance(failure, Exception):
        if told.run is None and isinstance(failure, MettaSweepError):
            raise failure
        return _failed(failure, told, wish)
    return _sweep_ended(outcome, told, wish) if isinstance(outcome, SweepResult) else _ended(outcome, told, wish)


def _started(target: Target, wish: Wish, told: _Told) -> Any:
    """Start and wait."""
    if isinstance(target, PipelineTarget):
        return _result(_pipeline(target, wish, told))
    experiment = target.experiment
    if isinstance(experiment, SweepExperiment):
        return _sweep(experiment, wish, told)
    outcome = _other(target, wish)
    return _result(outcome) if isinstance(outcome, Started) else outcome


def _result(run: Started[Any]) -> Any:
    """Wait for the run; KeyboardInterrupt cancels it, and is raised again when it has stopped.

    The waiting is a row of short ones: of two signals at once the system may give both to another thread, and nothing
    would wake this one, in which Python handles them.
    """
    try:
        _wait(run)
    except KeyboardInterrupt:
        run.cancel()
        _wait(run)
        raise
    return run.value


def _wait(run: Started[Any]) -> None:
    pause = 0.001
    while not run.done:
        time.sleep(pause)
        pause = min(LONGEST_PAUSE, 1.2 * pause)


def _pipeline(target: PipelineTarget, wish: Wish, told: _Told) -> Started[Any]:
    if wish.store is None:
        _check_inputs(target)
        return Started.start(target.graph.arun(*target.args, **target.inputs), target.name)
    durable = DurableGraph(target.graph, _ToldStore(wish.store, told), target.name)
    if wish.resume is not None:
        given = {**dict(zip([VALUE], target.args, strict=False)), **target.inputs}
        main = durable.aresume(wish.resume, allow_changed=wish.allow_changed, **given)
        return Started.start(main, target.name)
    _check_inputs(target)
    return Started.start(durable.arun(*target.args, **target.inputs), target.name)


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


# Sweeps


def _sweep(experiment: SweepExperiment, wish: Wish, told: _Told) -> SweepResult:
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

    def __init__(self, name: str, wish: Wish, told: _Told) -> None:
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


# How it ended


def _ended(outcome: Any, told: _Told, wish: Wish) -> int:
    if wish.as_json:
        show_json({**_where(told), "status": "completed", "result": outcome})
    else:
        for line in _lines_of(outcome):
            show(line)
    return 0


def _lines_of(outcome: Any) -> list[str]:
    """A result with a text of its own says it; others are shown by field."""
    if isinstance(outcome, Started):
        return [str(outcome)]
    return result_lines(outcome)


def _sweep_ended(result: SweepResult, told: _Told, wish: Wish) -> int:
    failed = [trial for trials in result.failures.values() for trial in trials]
    if wish.as_json:
        show_json({**_where(told), "status": "completed", **sweep_json(result)})
    else:
        show(str(result))
    if not failed:
        return 0
    first = failed[0].failure
    if first is not None and (text := user_traceback(first.traceback)):
        click.echo(f"\ntrial {failed[0].id} failed:\n{text.rstrip()}", err=True)
    if (command := told.resume_command) is not None:
        click.echo(f"try what failed again: {command} --retry-failed", err=True)
    return FAILED


def _interrupted(told: _Told, wish: Wish) -> int:
    command = told.resume_command
    click.echo(f"stopped; go on with: {command}" if command else "stopped; nothing was kept", err=True)
    if wish.as_json:
        show_json({**_where(told), "status": "cancelled"})
    return INTERRUPTED


def _failed(error: Exception, told: _Told, wish: Wish) -> int:
    """Why: the user's traceback first, then one sentence, then what to do."""
    code = error.exit_code if isinstance(error, MettaSweepError) else FAILED
    if notes := getattr(error, "__notes__", None):
        error.__notes__ = [note for note in notes if not note.startswith(KEPT)]  # said below, with the store
    text = failure_text(error)
    stage = _failed_stage(told)
    if isinstance(error, MettaSweepError):
        told_as = str(error)
    else:
        if trace := user_traceback(text["traceback"]):
            click.echo(trace.rstrip(), err=True)
        where = f'stage "{stage}"' if stage else "the run"
        told_as = f"{where} failed ({text['reason']}): {text['message']}"
    click.echo(f"error: {told_as}", err=True)
    if (command := told.resume_command) is not None and not isinstance(error, RefusedError | UsageError):
        after = "when there is room again, go on with" if isinstance(error, StorageError) else "go on with"
        click.echo(f"{after}: {command}", err=True)
    if wish.as_json:
        show_json({**_where(told), "status": "failed", "failure": {"stage": stage, **text}})
    return code


def _failed_stage(told: _Told) -> str:
    if told.run is None or told.run.kind != "pipeline":
        return ""
    try:
        with Run.open(told.run.folder, write=False) as run:
            failure = pipeline_status(run).failure
    except MettaSweepError:
        return ""
    return failure.stage if failure is not None else ""


def _where(told: _Told) -> dict[str, Any]:
    run = told.run
    return {} if run is None else cast("dict[str, Any]", jsonable({"run": run.id, "folder": run.folder}))
