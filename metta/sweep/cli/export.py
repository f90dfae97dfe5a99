"""`metta-sweep export`: a sweep for another program."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from inspect import signature
from typing import Any

from metta.sweep.cli.opening import opened_sweep
from metta.sweep.cli.output import show
from metta.sweep.cli.overrides import parse, resolved, split_overrides
from metta.sweep.cli.shown import show_json
from metta.sweep.contracts.diagnostics import nearest
from metta.sweep.errors import UsageError
from metta.sweep.interop.export import EXPORTERS, export_run


def export(
    text: str, *, store: str | None, to: str, output: str | None, settings: Sequence[str], as_json: bool
) -> None:
    """Do what the command asks.

    Args:
        to: the name of an exporter.
        output: where to write; None for what the exporter takes by default.
        settings: its options, "project=mine".

    Raises:
        UsageError: there is no such run, exporter or option, or the run is no sweep's.
        MissingExtraError: a library is not installed.
        RefusedError: what is there already is of another sweep.
        StorageError: the place cannot be written.
    """
    with opened_sweep(text, store, "export") as run:
        options = options_of(EXPORTERS.find(to), to, output, settings)
        told = export_run(run, to, **options)
        if as_json:
            show_json({"run": run.id, "to": to, "told": told})
        else:
            show(told)


def options_of(exporter: Callable[..., Any], to: str, output: str | None, settings: Sequence[str]) -> dict[str, Any]:
    """The options of an exporter, each read as what it is declared to be.

    Raises:
        UsageError: it has no such option, or a value is none of its type.
    """
    known = [name for name in signature(exporter).parameters if name != "sweep"]
    options: dict[str, Any] = {}
    for name, text in split_overrides(settings).items():
        if name not in known:
            near = nearest(name, known)
            hint = f"did you mean {near}?" if near else f"it takes {', '.join(known)}"
            raise UsageError(f"{name}={text}: --to {to} has no option {name!r}: {hint}")
        options[name] = parse(name, text, resolved(exporter, name).get(name))
    if output is not None:
        options["path" if "path" in known else "uri"] = output
    return options
