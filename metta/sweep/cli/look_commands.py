"""The commands that look at runs: only what click needs to know; each imports what it does when it is called."""

from __future__ import annotations

import click

from metta.sweep.cli.options import (
    AS_JSON,
    STORE,
    Whole,
    complete_run,
    drawing_output,
    format_option,
    leave,
    output_option,
    run_argument,
)


@click.command("ls", short_help="List runs, the newest first.")
@STORE
@click.option("-n", "--last", type=Whole(min=1), default=20, show_default=True, help="How many.")
@click.option("--all", "every", is_flag=True, help="All of them.")
@AS_JSON
def ls_command(store: str | None, last: int, every: bool, as_json: bool) -> None:
    """List the runs of the store: status, progress, best score and age. "interrupted" means that its driver died."""
    from metta.sweep.cli.listing import list_runs

    list_runs(store, last=None if every else last, as_json=as_json)


@click.command("status", short_help="Where a run stands, and why it failed.")
@run_argument()
@STORE
@click.option("--watch", is_flag=True, help="Show it again whenever it has changed, until the run ends.")
@AS_JSON
def status_command(run: str, store: str | None, watch: bool, as_json: bool) -> None:
    """Show the stages of a pipeline, or the trials of a sweep, and why what failed has failed."""
    from metta.sweep.cli.status import tell_status

    tell_status(run, store=store, watch=watch, as_json=as_json)


@click.command("best", short_help="The best trials of a sweep.")
@run_argument()
@STORE
@click.option("--top", type=Whole(min=1), default=5, show_default=True, metavar="N", help="How many.")
@AS_JSON
def best_command(run: str, store: str | None, top: int, as_json: bool) -> None:
    """Show the best trials of RUN, best first, with their parameters; it may be running.

    Those that came furthest count first, then the score. With several objectives the Pareto front comes first.
    """
    from metta.sweep.cli.best import tell_best

    tell_best(run, store=store, top=top, as_json=as_json)


@click.command("compare", short_help="What differs between runs.")
@run_argument("runs", metavar="RUN RUN...", nargs=-1, required=True)
@STORE
@AS_JSON
def compare_command(runs: tuple[str, ...], store: str | None, as_json: bool) -> None:
    """Put runs side by side: how they ended, what they have used, their best; and every setting that differs.

    Settings are the inputs of a pipeline, or the space, optimizer, scheduler and budget of a sweep; also the code, the
    machine, and the versions of Python and all packages.
    """
    from metta.sweep.cli.compare import compare_runs

    compare_runs(runs, store=store, as_json=as_json)


@click.command("logs", short_help="What trials and stages have printed.")
@click.argument("run", metavar="RUN[/STAGE[/TRIAL]]", shell_complete=complete_run)
@STORE
@click.option("-f", "--follow", is_flag=True, help="Go on until the run ends.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document; with --follow a line for each piece.")
def logs_command(run: str, store: str | None, follow: bool, as_json: bool) -> None:
    """Show the logs of RUN, or of a part of it: RUN/7 is trial 7, RUN/tune/7 that of the sweep in stage "tune".

    RUN/driver is what a run with --detach has said itself.
    """
    from metta.sweep.cli.logs import tell_logs

    tell_logs(run, store=store, follow=follow, as_json=as_json)


@click.command("tree", short_help="A run with all the runs that it has started.")
@run_argument()
@STORE
@format_option(
    ("text", "json", "dot", "mermaid", "svg", "png", "pdf"), "text (default), json, dot, mermaid, svg, png or pdf."
)
@drawing_output("run")
@click.option("--json", "as_json", is_flag=True, help="The same as --format json.")
def tree_command(run: str, store: str | None, format: str | None, output: str | None, as_json: bool) -> None:
    """Draw RUN and what it has started: which stage or trial started what, how it stands, and what it has cost.

    Steps and time are summed over the leaves: the trials and stages that have done the work themselves.
    """
    from metta.sweep.cli.shown import format_of
    from metta.sweep.cli.tree import show_tree

    show_tree(run, store=store, format=format_of(format, as_json), output=output)


@click.command("report", short_help="Write a run as one HTML file.")
@run_argument()
@STORE
@output_option("Where to write; - is standard output. Default: <run>.html.")
@click.option("--json", "as_json", is_flag=True, help="The same as JSON, by default to standard output.")
def report_command(run: str, store: str | None, output: str | None, as_json: bool) -> None:
    """Write figures, graph, tables and versions of RUN to one file that needs no network and no program but a browser.

    The run may be running: then the report says how it stands.
    """
    from metta.sweep.cli.report import write_report

    write_report(run, store=store, output=output, as_json=as_json)


@click.command("ui", short_help="Look at runs in a browser, live.")
@run_argument(required=False, metavar="[RUN]")
@STORE
@click.option("--port", type=Whole(0, 65535), metavar="N", help="Where to listen. Default: 8265, or a free one.")
@click.option("--host", metavar="ADDR", default="127.0.0.1", show_default=True, help="Where to listen.")
@click.option("--no-browser", is_flag=True, help="Only print the address.")
def ui_command(run: str | None, store: str | None, port: int | None, host: str, no_browser: bool) -> None:
    """Serve the store, or RUN, to a browser until Ctrl-C. Nothing can be changed there.

    The address that is printed holds a secret: who has it can read the runs. On another machine, listen there as by
    default and forward the port (ssh -L).
    """
    from metta.sweep.cli.report import serve_store

    leave(serve_store(run, store=store, port=port, host=host, open_browser=not no_browser))


COMMANDS: tuple[click.Command, ...] = (
    ls_command,
    status_command,
    best_command,
    compare_command,
    logs_command,
    tree_command,
    report_command,
    ui_command,
)
