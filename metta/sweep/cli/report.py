"""`metta-sweep report` and `ui`: runs for a browser."""

from __future__ import annotations

import json

from metta.sweep.cli.opening import opened, sound
from metta.sweep.cli.output import show, write_file
from metta.sweep.store.runs import Store

STDOUT = "-"


def write_report(text: str, *, store: str | None, output: str | None, as_json: bool) -> None:
    """Do what the command asks.

    Args:
        output: a file; "-" for standard output; None for a file named after the run, or for JSON standard output.

    Raises:
        UsageError: there is no such run, or the file cannot be written.
        DamagedError: the run is damaged.
    """
    with opened(text, store) as run:
        from metta.sweep.ui.report_page import report_html, report_json

        id = run.id
        told = json.dumps(report_json(run), indent=2) + "\n" if as_json else report_html(run)
    if output is None:
        output = STDOUT if as_json else f"{id}.html"
    if output == STDOUT:
        show(told, end=False)
        return
    write_file(told.encode(), output)


def serve_store(text: str | None, *, store: str | None, port: int | None, host: str, open_browser: bool) -> int:
    """Do what `ui` asks, until Ctrl-C; the exit code.

    Args:
        text: the run that is shown first; None for the list.
        port: where to listen; None for what is free.

    Raises:
        UsageError: there is no such run, or the address cannot be had.
        MissingExtraError: the web server is not installed.
    """
    if text is not None:
        text = str(sound(Store.at(store).find(text)).folder)  # of a nested run the id would not say where it is
    from metta.sweep.ui.serve import serve

    return serve(store, text, host=host, port=port or 0, open_browser=open_browser)
