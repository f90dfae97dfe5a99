"""The commands about runs: only what click needs to know; each imports what it does when it is called."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])

_AS_JSON = click.option("--json", "as_json", is_flag=True, help="One JSON document on standard output.")
_STORE = click.option(
    "--store", metavar="DIR", help="The store: by default METTA_SWEEP_HOME, else ./.metta-sweep in this folder."
)


def _complete_run(_context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[str]:
    from metta.sweep.cli.completion import run_ids

    return run_ids(incomplete)


def _run(name: str = "run", **settings: Any) -> Callable[[F], F]:
    """The argument RUN: an id, a name (the newest run of it), the beginning of an id, or a path.

    RUN/3 is the run that trial 3 of RUN has started, RUN/NAME one of that name.
    """
    return click.argument(name, metavar="RUN", shell_complete=_complete_run, **settings)


def _exit(code: int) -> None:
    if code:
        raise click.exceptions.Exit(code)


@click.command("run", short_help="Run a pipeline, an experiment or a sweep.")
@click.argument("target", metavar="FILE[:NAME]")
@click.option("--store", metavar="DIR", help="Where the run is kept; none: nowhere. Default: as for the others.")
@click.option(
    "--set",
    "overrides",
    metavar="PATH=VALUE",
    multiple=True,
    help="An input of a pipeline, a parameter of an experiment, or an option of the executor (executor.partition=gpu).",
)
@click.option("--budget", type=click.IntRange(min=1), metavar="N", help="Of a sweep: how many trials to start.")
@click.option("--executor", metavar="NAME", help="Of a sweep: where its trials run, such as local or slurm.")
@click.option("--dry-run", is_flag=True, help="Check everything; say what would run, and show its first job elsewhere.")
@_AS_JSON
@click.option(
    "--fail-fast/--keep-going", default=None, help="Of a sweep: stop at the first failed trial. Default: keep going."
)
def run_command(
    target: str,
    store: str | None,
    overrides: tuple[str, ...],
    budget: int | None,
    executor: str | None,
    dry_run: bool,
    as_json: bool,
    fail_fast: bool | None,
) -> None:
    """Run what FILE holds: a pipeline, an Experiment or a sweep; NAME picks one of several.

    Values are read as what they are declared to be: --set rate=1e-3 --set layers=64,64 --set scheduler.batch_size=4.
    The run is kept in a store; Ctrl-C stops it so that `metta-sweep resume` can go on with it. Exit codes: 1 where
    something has failed, 2 wrong usage or a broken contract, 3 storage or an executor that cannot run jobs, 4 refused,
    130 Ctrl-C.
    """
    from metta.sweep.cli.run import run_file

    _exit(
        run_file(
            target,
            store=store,
            overrides=overrides,
            budget=budget,
            executor=executor,
            dry_run=dry_run,
            as_json=as_json,
            fail_fast=fail_fast,
        )
    )


@click.command("resume", short_help="Go on with a run that was stopped, was killed or has failed.")
@_run()
@click.argument("target", metavar="[FILE[:NAME]]", required=False)
@_STORE
@click.option("--budget", type=click.IntRange(min=1), metavar="N", help="Of a sweep: the new total of trials.")
@click.option("--executor", metavar="NAME", help="Of a sweep: go on elsewhere. Default: where it was.")
@click.option("--retry-failed", is_flag=True, help="Of a sweep: try the failed trials again.")
@click.option("--allow-changed", is_flag=True, help="Go on although the code or the space has changed since.")
@click.option("--set", "overrides", metavar="PATH=VALUE", multiple=True, help="As for run: what was not kept, say.")
@_AS_JSON
def resume_command(
    run: str,
    target: str | None,
    store: str | None,
    budget: int | None,
    executor: str | None,
    retry_failed: bool,
    allow_changed: bool,
    overrides: tuple[str, ...],
    as_json: bool,
) -> None:
    """Go on with RUN: what is committed is not computed again.

    What ran is known from `metta-sweep run`; for a run that a script has started, name FILE[:NAME]. Where the code has
    changed since, it is refused with the list of what has changed (exit code 4).
    """
    from metta.sweep.cli.resume import resume_run

    _exit(
        resume_run(
            run,
            target,
            store=store,
            overrides=overrides,
            budget=budget,
            executor=executor,
            retry_failed=retry_failed,
            allow_changed=allow_changed,
            as_json=as_json,
        )
    )


@click.command("ls", short_help="List runs, the newest first.")
@_STORE
@click.option("-n", "--last", type=click.IntRange(min=1), default=20, show_default=True, help="How many.")
@click.option("--all", "every", is_flag=True, help="All of them.")
@_AS_JSON
def ls_command(store: str | None, last: int, every: bool, as_json: bool) -> None:
    """List the runs of the store: status, progress, best score and age. "interrupted" means that its driver died."""
    from metta.sweep.cli.listing import list_runs

    list_runs(store, last=None if every else last, as_json=as_json)


@click.command("status", short_help="Where a run stands, and why it failed.")
@_run()
@_STORE
@click.option("--watch", is_flag=True, help="Show it again whenever it has changed, until the run ends.")
@_AS_JSON
def status_command(run: str, store: str | None, watch: bool, as_json: bool) -> None:
    """Show the stages of a pipeline, or the trials of a sweep, and why what failed has failed."""
    from metta.sweep.cli.status import tell_status

    tell_status(run, store=store, watch=watch, as_json=as_json)


@click.command("tree", short_help="A run with all the runs that it has started.")
@_run()
@_STORE
@click.option("--format", "format", metavar="FORMAT", help="text (default), json, dot, mermaid, svg, png or pdf.")
@click.option(
    "-o",
    "--output",
    metavar="FILE",
    help="Where to write: by default text to standard output, a picture to <run>.<format>; - is standard output.",
)
def tree_command(run: str, store: str | None, format: str | None, output: str | None) -> None:
    """Draw RUN and what it has started: which stage or trial started what, how it stands, and what it has cost.

    Steps and time are summed over the leaves: the trials and stages that have done the work themselves.
    """
    from metta.sweep.cli.tree import show_tree

    show_tree(run, store=store, format=format, output=output)


@click.command("logs", short_help="What trials and stages have printed.")
@click.argument("run", metavar="RUN[/STAGE[/TRIAL]]", shell_complete=_complete_run)
@_STORE
@click.option("-f", "--follow", is_flag=True, help="Go on until the run ends.")
def logs_command(run: str, store: str | None, follow: bool) -> None:
    """Show the logs of RUN, or of a part of it: RUN/7 is trial 7, RUN/tune/7 that of the sweep in stage "tune"."""
    from metta.sweep.cli.logs import tell_logs

    tell_logs(run, store=store, follow=follow)


@click.command("cancel", short_help="Stop a run.")
@_run()
@_STORE
@_AS_JSON
def cancel_command(run: str, store: str | None, as_json: bool) -> None:
    """Stop RUN as Ctrl-C does, and wait up to 10 seconds; it can be resumed. Exit code 1 if it goes on."""
    from metta.sweep.cli.control import cancel_run

    _exit(cancel_run(run, store=store, as_json=as_json))


@click.command("rm", short_help="Remove runs.")
@_run("runs", nargs=-1, required=True)
@_STORE
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@_AS_JSON
def rm_command(runs: tuple[str, ...], store: str | None, yes: bool, as_json: bool) -> None:
    """Remove runs and everything of them. Refused while somebody drives one (exit code 4)."""
    from metta.sweep.cli.control import remove_runs

    remove_runs(runs, store=store, yes=yes, as_json=as_json)


def _span(_context: click.Context, _parameter: click.Parameter, text: str | None) -> float | None:
    from metta.sweep.cli.shown import seconds_of

    return None if text is None else seconds_of(text)


@click.command("gc", short_help="Remove what nobody needs.")
@_STORE
@click.option(
    "--older-than", metavar="SPAN", callback=_span, help="Remove runs, and cached results, older than that: 30d, 12h."
)
@click.option("--keep", type=click.IntRange(min=0), metavar="N", help="Of every name the newest N runs stay.")
@click.option("--dry-run", is_flag=True, help="Only say what would be removed, and how large it is.")
@_AS_JSON
def gc_command(store: str | None, older_than: float | None, keep: int | None, dry_run: bool, as_json: bool) -> None:
    """Remove what killed processes have left, artifacts that nothing names, and runs if you say which.

    With both options runs go that are older and not among the newest N of their name. Running and damaged ones stay.
    """
    from metta.sweep.cli.control import collect_garbage

    collect_garbage(store=store, older_than=older_than, keep=keep, dry_run=dry_run, as_json=as_json)


@click.command("doctor", short_help="Find damage in a run or a store, or what is wrong with an executor.")
@click.argument("what", metavar="[RUN|STORE|FILE]", required=False, shell_complete=_complete_run)
@_STORE
@click.option("--replay", is_flag=True, help="Also compare every decision of a sweep with what is decided now.")
@click.option("--executor", metavar="NAME", help="Examine an executor instead: start a small job there, and compare.")
@click.option("--set", "overrides", metavar="PATH=VALUE", multiple=True, help="Its options: executor.partition=gpu.")
@click.option(
    "--wait",
    type=click.FloatRange(min=0, min_open=True),
    metavar="SECONDS",
    default=300.0,
    show_default=True,
    help="For the job.",
)
@_AS_JSON
def doctor_command(
    what: str | None,
    store: str | None,
    replay: bool,
    executor: str | None,
    overrides: tuple[str, ...],
    wait: float,
    as_json: bool,
) -> None:
    """Read every file of a run or a store; say what is damaged and what to do. Exit code 3 where there is damage.

    With --executor: is its engine there, does a job run, and does it find the same Python, packages, working folder
    and store, and the modules of FILE? Exit code 3 where trials would fail.
    """
    from metta.sweep.cli.doctor import examine_all, examine_place

    if executor is None and not overrides:
        _exit(examine_all(what, store=store, replay=replay, as_json=as_json))
    else:
        _exit(
            examine_place(executor, what, store=store, replay=replay, overrides=overrides, wait=wait, as_json=as_json)
        )


COMMANDS: tuple[click.Command, ...] = (
    run_command,
    resume_command,
    ls_command,
    status_command,
    tree_command,
    logs_command,
    cancel_command,
    rm_command,
    gc_command,
    doctor_command,
)
