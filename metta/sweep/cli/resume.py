"""`metta-sweep resume`: go on with a run. What its folder names is executed only where it cannot come from there."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from metta.sweep.cli.executors import PREFIX, choice_of, on_executor, split_options
from metta.sweep.cli.opening import SWEEP, sound
from metta.sweep.cli.origin import Origin, read_origin, recorded_file
from metta.sweep.cli.run import is_sweep
from metta.sweep.cli.running import drive
from metta.sweep.cli.targets import chosen, target_of
from metta.sweep.cli.told import Wish
from metta.sweep.compiler.load import split_spec
from metta.sweep.errors import UsageError
from metta.sweep.runtime.history import History
from metta.sweep.store.manifest import MANIFEST_FILE
from metta.sweep.store.nested import top_run
from metta.sweep.store.run import Run, RunInfo, RunStatus, read_json
from metta.sweep.store.runs import Store

if TYPE_CHECKING:
    from metta.sweep.cli.detach import Began

PIPELINE = "pipeline"


def resume_run(
    text: str,
    spec: str | None,
    *,
    store: str | None,
    overrides: Sequence[str],
    budget: int | None,
    executor: str | None,
    retry_failed: bool,
    allow_changed: bool,
    as_json: bool,
    began: Began | None = None,
) -> int:
    """Do what the command asks; the exit code.

    Args:
        executor: where to go on; None: where it was.
        began: is told which run it is as soon as it goes on.

    Raises:
        UsageError: there is no such run, or nothing says what to run.
        RefusedError: the run names a file that must not be executed unasked; or its plan has changed, or somebody
            drives it.
        DamagedError: the run is damaged.
    """
    info = sound(Store.at(store).find(text))
    place = _store_of(info)
    if info.kind == PIPELINE and (budget is not None or retry_failed):
        raise UsageError(f"run {info.id} is a pipeline's: --budget and --retry-failed are for sweeps")
    if info.kind == SWEEP and info.status is RunStatus.COMPLETED and budget is None and not retry_failed:
        raise UsageError(
            f"run {info.id} is finished: --budget N extends it to N trials in all, "
            "--retry-failed tries those again that have failed"
        )
    recorded = origin = read_origin(info.folder)
    if spec is None:
        if origin is None:
            raise UsageError(_how_else(info))
        spec = f"{recorded_file(origin, info.folder, place.folder)}:{origin.name}"
    if origin is not None and executor is not None:
        origin = _moved(origin, executor)
    given = [*(origin.overrides if origin is not None else ()), *overrides]
    executor = executor or (origin.executor if origin is not None else None)
    shown = "" if executor is None else f" --executor {shlex.quote(executor)}"
    shown += "".join(f" {shlex.quote(each)}" for each in given)
    click.echo(f"going on with {info.id} from {spec}{shown}", err=True)
    stored = _stored_inputs(info)
    _check_withheld(origin, stored, overrides, info)
    options, settings = split_options(given)
    choice = choice_of(executor, options)
    with chosen(spec) as found:
        target = target_of(found, settings, needs_inputs=False)
        if info.kind != (SWEEP if is_sweep(target) else PIPELINE):
            kind = SWEEP if is_sweep(target) else PIPELINE
            raise UsageError(f"run {info.id} is a {info.kind}'s, and {spec} is a {kind}")
        kept = Origin.of(split_spec(spec)[0], found.name, tuple(given), executor)
        wish = Wish(
            place,
            kept if kept != recorded else None,
            budget,
            resume=info.id,
            allow_changed=allow_changed,
            retry_failed=retry_failed,
            as_json=as_json,
            began=began,
        )
        with on_executor(target, choice) as placed:
            return drive(placed, wish)


def _store_of(info: RunInfo) -> Store:
    """The store that holds a run, which may have been named by its path.

    Raises:
        UsageError: the run is a part of another one, or lies elsewhere.
    """
    runs = info.folder.parent
    store = runs.parent
    if runs.name != "runs":
        raise UsageError(f"{info.folder} lies in no store (expected STORE/runs/{info.id}): move it into one")
    if (top := top_run(info.folder)) is not None:
        raise UsageError(f"run {info.id} is a part of run {top.name}: resume that one, and it goes on with it")
    return Store(store)


def _moved(origin: Origin, executor: str) -> Origin:
    """The origin for another executor: the options of the one before say nothing to it."""
    if executor == origin.executor:
        return origin
    withheld = tuple(name for name in origin.withheld if not name.startswith(PREFIX))
    return replace(origin, executor=executor, overrides=tuple(split_options(origin.overrides)[1]), withheld=withheld)


def _check_withheld(origin: Origin | None, stored: set[str], overrides: Sequence[str], info: RunInfo) -> None:
    known = _names(overrides) | stored
    missing = [name for name in (origin.withheld if origin is not None else ()) if name not in known]
    if missing:
        settings = " ".join(f"{shlex.quote(name)}=..." for name in missing)
        raise UsageError(f"secrets are not kept: give run {info.id} {settings} again")


def _names(overrides: Sequence[str]) -> set[str]:
    return {text.partition("=")[0].strip() for text in overrides}


def _stored_inputs(info: RunInfo) -> set[str]:
    """The inputs of a pipeline's run that its journal has."""
    if info.kind != PIPELINE:
        return set()
    with Run.open(info.folder, write=False) as run:
        return {name for name, value in History.of(run.journal.events()).inputs.items() if value.is_there}


def _how_else(info: RunInfo) -> str:
    """How to go on with a run that a script has started; its command is shown and never executed."""
    manifest = read_json(info.folder / MANIFEST_FILE)
    command, folder = manifest.get("command"), manifest.get("working_folder")
    words = [str(word) for word in command] if isinstance(command, list) else []
    by = f" by `{shlex.join(words)}` in {folder}" if words and shlex.join(words).isprintable() else ""
    call = f'run(resume="{info.id}")'
    script = next((Path(word).name for word in words[1:] if word.endswith(".py") and word.isprintable()), "FILE")
    return (
        f"run {info.id} was started{by}: go on with {call} there, or name what it is of, "
        f"metta-sweep resume {info.id} {shlex.quote(script)}:NAME"
    )
