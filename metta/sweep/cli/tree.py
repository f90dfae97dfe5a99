"""`metta-sweep tree`: a run with all the runs that it has started, as text, data or a picture."""

from __future__ import annotations

from metta.sweep.cli.output import show, write_file
from metta.sweep.experiments.tree.drawing import TEXT_FORMATS, checked_format, file_name, render
from metta.sweep.experiments.tree.run_tree import run_tree
from metta.sweep.store.runs import Store

STDOUT = "-"


def show_tree(text: str, *, store: str | None, format: str | None, output: str | None) -> None:
    """Do what the command asks.

    Args:
        format: of the drawing; None for what the name of the output says, else text.
        output: a file; "-" for standard output; None for that, and for pictures a file named after the run.

    Raises:
        UsageError: there is no such run or format, or the file cannot be written.
    """
    format = checked_format(format, None if output == STDOUT else output, default="text")
    tree = run_tree(text, store=Store.at(store))
    if output is None and format not in TEXT_FORMATS:
        output = file_name(tree, format)
    if output is None or output == STDOUT:
        show(render(tree, format), end=False)
        return
    write_file(render(tree, format), output)
