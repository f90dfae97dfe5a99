"""How a run that `metta-sweep run` or `resume` drove has ended: what is said of it, and the exit code."""

from __future__ import annotations

from typing import Any, Final, cast

import click

from metta.sweep.cli.output import show
from metta.sweep.cli.shown import jsonable, result_lines, show_json, terminal_width, user_traceback
from metta.sweep.cli.stopping import INTERRUPTED
from metta.sweep.cli.sweep_text import sweep_json
from metta.sweep.cli.told import Told, Wish
from metta.sweep.errors import ContractViolation, MettaSweepError, RefusedError, StorageError, UsageError
from metta.sweep.experiments.results import SweepResult
from metta.sweep.experiments.run import Run as Started
from metta.sweep.report.failed import failed_by_reason
from metta.sweep.report.pipeline_status import pipeline_status
from metta.sweep.report.text import harmless
from metta.sweep.runtime.durable import KEPT
from metta.sweep.runtime.recorder import failure_text
from metta.sweep.store.run import Run

FAILED: Final = 1


def tell_result(outcome: Any, told: Told, wish: Wish) -> int:
    """The result of a pipeline, or of an experiment with a `run` of its own."""
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


def tell_sweep(result: SweepResult, told: Told, wish: Wish) -> int:
    """The result of a sweep; the last trial that failed for the most frequent reason with its traceback."""
    failed = failed_by_reason(result.trials)
    if wish.as_json:
        show_json({**_where(told), "status": "completed", **sweep_json(result)})
    else:
        show(result.to_text(terminal_width()))
    if not failed:
        return 0
    if text := user_traceback(failed[0].failure.traceback):
        click.echo(f"\ntrial {failed[0].last.id} failed:\n{harmless(text.rstrip())}", err=True)
    if (command := told.resume_command) is not None:
        click.echo(f"try what failed again: {command} --retry-failed", err=True)
    return FAILED


def tell_interruption(told: Told, wish: Wish) -> int:
    """Ctrl-C has stopped it."""
    command = told.resume_command
    click.echo(f"stopped; go on with: {command}" if command else "stopped; nothing was kept", err=True)
    if wish.as_json:
        show_json({**_where(told), "status": "cancelled"})
    return INTERRUPTED


def tell_failure(error: Exception, told: Told, wish: Wish) -> int:
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
            click.echo(harmless(trace.rstrip()), err=True)
        where = f'stage "{stage}"' if stage else "the run"
        told_as = f"{where} failed ({text['reason']}): {text['message']}"
    click.echo(f"error: {harmless(told_as)}", err=True)
    if isinstance(error, ContractViolation):
        click.echo("what it means: metta-sweep explain contract-violation", err=True)
    if (command := told.resume_command) is not None and not isinstance(error, RefusedError | UsageError):
        after = "when there is room again, go on with" if isinstance(error, StorageError) else "go on with"
        click.echo(f"{after}: {command}", err=True)
    if wish.as_json:
        show_json({**_where(told), "status": "failed", "failure": {"stage": stage, **text}})
    return code


def _failed_stage(told: Told) -> str:
    if told.run is None or told.run.kind != "pipeline":
        return ""
    try:
        with Run.open(told.run.folder, write=False) as run:
            failure = pipeline_status(run).failure
    except MettaSweepError:
        return ""
    return failure.stage if failure is not None else ""


def _where(told: Told) -> dict[str, Any]:
    run = told.run
    return {} if run is None else cast("dict[str, Any]", jsonable({"run": run.id, "folder": run.folder}))
