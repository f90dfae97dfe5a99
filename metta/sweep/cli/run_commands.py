"""The commands that drive runs: only what click needs to know; each imports what it does when it is called."""

from __future__ import annotations

import click

from metta.sweep.cli.options import (
    AS_JSON,
    STORE,
    Whole,
    file_argument,
    leave,
    refuse_word,
    run_argument,
    settings_argument,
    split_settings,
)

_DETACH = click.option("--detach", is_flag=True, help="Go on in the background; closing the terminal does not end it.")


@click.command("run", short_help="Run a pipeline, an experiment or a sweep.")
@file_argument()
@settings_argument
@click.option("--store", metavar="DIR", help="Where the run is kept; none: nowhere. Default: as for the others.")
@click.option("--set", "overrides", metavar="NAME=VALUE", multiple=True, help="The same as NAME=VALUE without it.")
@click.option("--budget", type=Whole(min=1), metavar="N", help="Of a sweep: how many trials to start.")
@click.option("--executor", metavar="NAME", help="Of a sweep: where its trials run, such as local or slurm.")
@click.option("--dry-run", is_flag=True, help="Check everything; say what would run, and show its first job elsewhere.")
@_DETACH
@AS_JSON
@click.option(
    "--fail-fast/--keep-going", default=None, help="Of a sweep: stop at the first failed trial. Default: keep going."
)
def run_command(
    target: str,
    settings: tuple[str, ...],
    store: str | None,
    overrides: tuple[str, ...],
    budget: int | None,
    executor: str | None,
    dry_run: bool,
    detach: bool,
    as_json: bool,
    fail_fast: bool | None,
) -> None:
    """Run what FILE holds: a pipeline, an Experiment or a sweep; NAME picks one of several.

    A setting is an input of a pipeline, a parameter of an experiment, or an option of the executor. Its value is read
    as what it is declared to be: rate=1e-3 layers=64,64 scheduler.batch_size=4 executor.partition=gpu.

    The run is kept in a store; Ctrl-C stops it so that `metta-sweep resume` can go on with it. Exit codes: 1 where
    something has failed, 2 wrong usage or a broken contract, 3 storage or an executor that cannot run jobs, 4 refused,
    130 Ctrl-C.
    """
    from metta.sweep.cli.run import run_file

    began = None
    if detach:
        from metta.sweep.cli.detach import go_to_background

        began = go_to_background(store, dry_run=dry_run, as_json=as_json)
    leave(
        run_file(
            target,
            store=store,
            overrides=(*overrides, *settings),
            budget=budget,
            executor=executor,
            dry_run=dry_run,
            as_json=as_json,
            fail_fast=fail_fast,
            began=began,
        )
    )


@click.command("resume", short_help="Go on with a run that was stopped, was killed or has failed.")
@run_argument()
@click.argument("words", metavar="[FILE[:NAME]] [NAME=VALUE]...", nargs=-1)
@STORE
@click.option("--budget", type=Whole(min=1), metavar="N", help="Of a sweep: the new total of trials.")
@click.option("--executor", metavar="NAME", help="Of a sweep: go on elsewhere. Default: where it was.")
@click.option("--retry-failed", is_flag=True, help="Of a sweep: try the failed trials again.")
@click.option("--allow-changed", is_flag=True, help="Go on although the code or the space has changed since.")
@click.option("--set", "overrides", metavar="NAME=VALUE", multiple=True, help="As for run: what was not kept, say.")
@_DETACH
@AS_JSON
@click.pass_context
def resume_command(
    context: click.Context,
    run: str,
    words: tuple[str, ...],
    store: str | None,
    budget: int | None,
    executor: str | None,
    retry_failed: bool,
    allow_changed: bool,
    overrides: tuple[str, ...],
    detach: bool,
    as_json: bool,
) -> None:
    """Go on with RUN: what is committed is not computed again.

    What ran is known from `metta-sweep run`; for a run that a script has started, name FILE[:NAME]. Where the code has
    changed since, it is refused with the list of what has changed (exit code 4).
    """
    from metta.sweep.cli.resume import resume_run

    targets, settings = split_settings(words)
    if len(targets) > 1:
        refuse_word(context, *targets[1:])
    began = None
    if detach:
        from metta.sweep.cli.detach import go_to_background

        began = go_to_background(store, as_json=as_json)
    leave(
        resume_run(
            run,
            targets[0] if targets else None,
            store=store,
            overrides=(*overrides, *settings),
            budget=budget,
            executor=executor,
            retry_failed=retry_failed,
            allow_changed=allow_changed,
            as_json=as_json,
            began=began,
        )
    )


@click.command("cancel", short_help="Stop a run.")
@run_argument()
@STORE
@AS_JSON
def cancel_command(run: str, store: str | None, as_json: bool) -> None:
    """Stop RUN as Ctrl-C does, and wait up to 10 seconds; it can be resumed. Exit code 1 if it goes on."""
    from metta.sweep.cli.control import cancel_run

    leave(cancel_run(run, store=store, as_json=as_json))


COMMANDS: tuple[click.Command, ...] = (run_command, resume_command, cancel_command)
