"""The commands that take runs elsewhere, remove and repair them: only what click needs to know."""

from __future__ import annotations

import click

from metta.sweep.cli.options import (
    AS_JSON,
    STORE,
    Whole,
    complete_run,
    format_option,
    leave,
    output_option,
    run_argument,
    settings_argument,
)

EXPORTS = ("optuna", "csv", "parquet", "wandb", "mlflow", "tensorboard")


@click.command("export", short_help="Give a sweep to Optuna, W&B, MLflow, TensorBoard, or a table.")
@run_argument()
@settings_argument
@STORE
@format_option(EXPORTS, f"{', '.join(EXPORTS[:-1])} or {EXPORTS[-1]}.", "--to", required=True)
@output_option("A file, a folder or an address: see below.", metavar="PLACE")
@AS_JSON
def export_command(
    run: str, settings: tuple[str, ...], store: str | None, to: str, output: str | None, as_json: bool
) -> None:
    """Write the trials of RUN where another program reads them, and say how to open it there. Where, unless -o says it:

    \b
    optuna       optuna.log, a journal; or a file that ends in .db, or an address
    csv          trials.csv; also reports=FILE
    parquet      trials.parquet; also reports=FILE
    wandb        ./wandb, or the server that `wandb login` knows; project=NAME
    mlflow       MLflow's own default, or an address; experiment=NAME
    tensorboard  the folder tensorboard

    A second time the same place is brought up to date.
    """
    from metta.sweep.cli.export import export

    export(run, store=store, to=to, output=output, settings=settings, as_json=as_json)


@click.command("rm", short_help="Remove runs.")
@run_argument("runs", metavar="RUN...", nargs=-1, required=True)
@STORE
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@AS_JSON
def rm_command(runs: tuple[str, ...], store: str | None, yes: bool, as_json: bool) -> None:
    """Remove runs and everything of them. Refused while somebody drives one (exit code 4)."""
    from metta.sweep.cli.control import remove_runs

    remove_runs(runs, store=store, yes=yes, as_json=as_json)


def _span(_context: click.Context, _parameter: click.Parameter, text: str | None) -> float | None:
    from metta.sweep.cli.shown import seconds_of

    return None if text is None else seconds_of(text)


@click.command("gc", short_help="Remove what nobody needs.")
@STORE
@click.option(
    "--older-than", metavar="SPAN", callback=_span, help="Remove runs, and cached results, older than that: 30d, 12h."
)
@click.option("--keep", type=Whole(min=0), metavar="N", help="Of every name the newest N runs stay.")
@click.option("--dry-run", is_flag=True, help="Only say what would be removed, and how large it is.")
@AS_JSON
def gc_command(store: str | None, older_than: float | None, keep: int | None, dry_run: bool, as_json: bool) -> None:
    """Remove what killed processes have left, artifacts that nothing names, and runs if you say which.

    With both options runs go that are older and not among the newest N of their name. Running and damaged ones stay.
    """
    from metta.sweep.cli.control import collect_garbage

    collect_garbage(store=store, older_than=older_than, keep=keep, dry_run=dry_run, as_json=as_json)


@click.command("doctor", short_help="Find what is wrong with a run, a store or an executor.")
@click.argument("what", metavar="[RUN|STORE|FILE]", required=False, shell_complete=complete_run)
@settings_argument
@STORE
@click.option("--replay", is_flag=True, help="Also compare every decision of a sweep with what is decided now.")
@click.option("--executor", metavar="NAME", help="Examine an executor instead: start a small job there, and compare.")
@click.option("--set", "overrides", metavar="NAME=VALUE", multiple=True, help="Its options: executor.partition=gpu.")
@click.option(
    "--wait",
    type=click.FloatRange(min=0, min_open=True),
    metavar="SECONDS",
    default=300.0,
    show_default=True,
    help="For the job.",
)
@AS_JSON
def doctor_command(
    what: str | None,
    settings: tuple[str, ...],
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
    from metta.sweep.cli.options import split_settings

    given = (*overrides, *settings)
    if what is not None and not split_settings([what])[0]:
        given, what = (*given, what), None
    if executor is None and not given:
        leave(examine_all(what, store=store, replay=replay, as_json=as_json))
    else:
        leave(examine_place(executor, what, store=store, replay=replay, overrides=given, wait=wait, as_json=as_json))


COMMANDS: tuple[click.Command, ...] = (export_command, rm_command, gc_command, doctor_command)
