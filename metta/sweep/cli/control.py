"""`metta-sweep cancel`, `rm` and `gc`: stopping runs and removing them."""

from __future__ import annotations

import math
import os
import signal
import sys
import time
from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Final

import click

from metta.sweep.cli.output import show
from metta.sweep.cli.shown import show_json
from metta.sweep.errors import RefusedError, UsageError
from metta.sweep.store.lock import holder
from metta.sweep.store.nested import top_run
from metta.sweep.store.process import Process
from metta.sweep.store.removal import tree_size
from metta.sweep.store.run import RunInfo, RunStatus, read_info
from metta.sweep.store.runs import Store

PATIENCE: Final = 10.0
"""Seconds that `cancel` waits."""

_POLL: Final = 0.05


# cancel


def cancel_run(text: str, *, store: str | None, as_json: bool) -> int:
    """Do what the command asks; the exit code: 1 if the run goes on.

    Raises:
        UsageError: there is no such run.
        RefusedError: its driver is on another machine, or it is not ours to stop, or drives more than this run.
    """
    info = Store.at(store).find(text)
    told, code = _cancelled(info)
    if as_json:
        show_json({"run": info.id, "status": read_info(info.folder).status, "told": told})
    else:
        show(told)
    return code


def _cancelled(info: RunInfo) -> tuple[str, int]:
    held = holder(info.folder)
    if held is None or not held.alive:
        return f"run {info.id} is not running: it is {info.status.value}", 0
    if (top := top_run(info.folder)) is not None:
        raise RefusedError(f"run {info.id} is a part of run {top.name}, whose driver has it: cancel that one")
    process, here = held.process, Process.current()
    if process is None:
        raise RefusedError(f"run {info.id} is held by a process that did not sign its lock: stop it by hand")
    if process.host != here.host:
        raise RefusedError(
            f"run {info.id} is held by {process}: run `metta-sweep cancel {info.id}` on host {process.host}"
        )
    if (process.boot, process.namespace) != (here.boot, here.namespace):
        raise RefusedError(f"run {info.id} is held by {process}, in another container: cancel it there")
    try:
        _signal(process)
    except PermissionError:
        raise RefusedError(f"run {info.id} is held by {process}, a process of another user") from None
    end = time.monotonic() + PATIENCE
    while _still_drives(process, info):
        if time.monotonic() > end:
            pid = process.pid
            return f"run {info.id} goes on after {PATIENCE:g} s: pid {pid} does not stop (kill {pid})", 1
        time.sleep(_POLL)
    return f"run {info.id} was stopped; go on with: metta-sweep resume {info.id}", 0


def _still_drives(process: Process, info: RunInfo) -> bool:
    held = holder(info.folder)
    return held is not None and held.alive and held.process == process


def _signal(process: Process) -> None:
    """Send what Ctrl-C sends, to this process and to no other that has its number by now."""
    try:
        descriptor = os.pidfd_open(process.pid) if hasattr(os, "pidfd_open") else None
    except ProcessLookupError:
        return
    try:
        if process.is_gone():
            return
        number = signal.SIGTERM if _ignores_interrupts(process.pid) else signal.SIGINT
        if descriptor is not None:
            signal.pidfd_send_signal(descriptor, number)
        else:
            os.kill(process.pid, number)
    except ProcessLookupError:
        return
    finally:
        if descriptor is not None:
            os.close(descriptor)


def _ignores_interrupts(pid: int) -> bool:
    """Whether it ignores SIGINT, as the background jobs of a shell script do; `metta-sweep run` then hears SIGTERM."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return False
    masks = [int(line.split()[1], 16) for line in lines if line.startswith("SigIgn:")]
    return any(mask >> (signal.SIGINT - 1) & 1 for mask in masks)


# rm


def remove_runs(texts: Sequence[str], *, store: str | None, yes: bool, as_json: bool) -> None:
    """Do what the command asks.

    Raises:
        UsageError: there is no such run, or nobody can be asked.
        RefusedError: a run is held by its driver.
        click.Abort: the user said no.
    """
    place = Store.at(store)
    found = list({info.folder: info for info in map(place.find, texts)}.values())
    for info in found:
        if info.status is RunStatus.RUNNING:
            raise RefusedError(f"run {info.id} is running: `metta-sweep cancel {info.id}` stops it")
    if not yes:
        if not sys.stdin.isatty():
            raise UsageError("nobody can be asked here: add --yes to remove for good")
        click.confirm(f"remove {', '.join(info.id for info in found)} for good?", abort=True, err=True)
    for info in found:
        place.remove(str(info.folder) if info.folder.parent != place.runs_folder else info.id)
        if not as_json:
            show(f"removed {info.id}")
    if as_json:
        show_json({"removed": [info.id for info in found]})


# gc


def collect_garbage(
    *, store: str | None, older_than: float | None, keep: int | None, dry_run: bool, as_json: bool
) -> None:
    """Do what the command asks.

    Args:
        older_than: seconds; runs that were started before, and cached results not used since, go.
        keep: how many runs of each name stay, the newest.
        dry_run: only say what would go.

    Raises:
        StorageError: something cannot be removed.
    """
    place = Store.at(store)
    going = doomed(place.all(), time.time(), older_than, keep)
    cache_age = math.inf if older_than is None else older_than
    if dry_run:
        _tell_garbage(going, place, cache_age, as_json)
        return
    removed: list[str] = []
    for info in going:
        try:
            place.remove(info.id)
        except (RefusedError, UsageError):
            continue  # somebody has just taken it up, or removed it
        removed.append(info.id)
    freed = place.gc(cache_age=cache_age)
    if as_json:
        show_json({"dry_run": False, "runs": removed, "freed_bytes": freed})
        return
    for id in removed:
        show(f"removed {id}")
    show(f"freed {_amount(freed)} of leftovers")


def _tell_garbage(going: Sequence[RunInfo], place: Store, cache_age: float, as_json: bool) -> None:
    """Say what would go, and how large it is."""
    sizes = [tree_size(info.folder) for info in going]
    folders = [info.folder for info in going]
    found = place.leftovers(cache_age=cache_age)
    rest = [left for left in found if not any(map(left.path.is_relative_to, folders))]
    total = sum(sizes) + sum(left.bytes for left in rest)
    if as_json:
        leftovers = [left._asdict() for left in rest]
        ids = [info.id for info in going]
        show_json({"dry_run": True, "runs": ids, "leftovers": leftovers, "freed_bytes": 0, "would_free_bytes": total})
        return
    for info, size in zip(going, sizes, strict=True):
        show(f"would remove {info.id} ({info.status.value}, {_amount(size)})")
    for left in rest:
        show(f"would remove {left.path} ({left.what}, {_amount(left.bytes)})")
    show(f"nothing was removed (--dry-run): it would free {_amount(total)}")


def _amount(size: int) -> str:
    return f"{size / 1e6:.1f} MB" if size >= 100_000 else f"{size} bytes"


def doomed(runs: Sequence[RunInfo], now: float, older_than: float | None, keep: int | None) -> list[RunInfo]:
    """The runs that go: older than `older_than` seconds and not among the newest `keep` of their name.

    Those that somebody drives, and damaged ones, stay; where neither is given, all do.

    Args:
        runs: the newest first.
    """
    if older_than is None and keep is None:
        return []
    going: list[RunInfo] = []
    seen: Counter[str] = Counter()
    for info in runs:
        if info.status is RunStatus.DAMAGED:
            continue
        seen[info.name] += 1
        is_old = older_than is None or now - datetime.fromisoformat(info.created).timestamp() > older_than
        is_spare = keep is None or seen[info.name] > keep
        if is_old and is_spare and info.status is not RunStatus.RUNNING:
            going.append(info)
    return going
