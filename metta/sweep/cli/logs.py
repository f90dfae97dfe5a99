"""`metta-sweep logs`: what trials and stages have printed."""

from __future__ import annotations

import codecs
import json
import re
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, TypeAlias

from metta.sweep.cli.output import show
from metta.sweep.cli.shown import show_json
from metta.sweep.contracts.diagnostics import nearest
from metta.sweep.errors import UsageError
from metta.sweep.store.files import inside, storage_errors, walk
from metta.sweep.store.naming import natural_order, slug, unique_slug
from metta.sweep.store.run import RunInfo, RunStatus, read_info
from metta.sweep.store.runs import Store

LOG: Final = "log.txt"
OLDER: Final = "log.1.txt"
"""What the file was called when it became too large for one."""

PLACES: Final = ("driver", "trials", "stages", "children")
"""The folders in that of a run that hold logs."""

POLL: Final = 0.5
PIECE: Final = 1 << 16


def tell_logs(text: str, *, store: str | None, follow: bool, as_json: bool = False) -> None:
    """Write the logs to standard output.

    Args:
        text: RUN, RUN/TRIAL or RUN/STAGE[/...].
        follow: go on until the run has ended.
        as_json: as one document; with `follow` as one per line, each with the next piece of a log.

    Raises:
        UsageError: there is no such run, or no such part of it.
    """
    place = Store.at(store)
    info, path = _found(place, text)
    logs = logs_of(info.folder, path)
    if not logs and not follow:
        raise UsageError(_nothing(info, path))
    tell: _Tell = _as_text(titled=len(logs) > 1 or not path)
    collected: dict[str, str] = {}
    if as_json:
        tell = _as_lines() if follow else _into(collected)
    reading = _Reading(info.folder, tell)
    for log in logs:
        reading.read(log)
    while follow:
        is_live = read_info(info.folder).status is RunStatus.RUNNING
        for log in logs_of(info.folder, path):
            reading.read(log)
        if not is_live:
            return
        time.sleep(POLL)
    if as_json:
        show_json([{"log": name, "text": told} for name, told in collected.items()])


def _found(store: Store, text: str) -> tuple[RunInfo, list[str]]:
    """A run and the path inside of it; a run may be named by a path itself."""
    whole = Path(text)
    if whole.is_dir() and (whole / "manifest.json").exists():
        return store.find(str(whole.absolute())), []
    run, *path = [part for part in text.split("/") if part]
    return store.find(run), path


def logs_of(run: Path, path: Sequence[str] = ()) -> list[Path]:
    """The logs of a run, or of the part of it that `path` names; links are not followed.

    Args:
        path: the number of a trial ("7", "trial-7"), or a stage and what is inside of it ("attempt-2", for one).
    """
    found = [Path(folder, LOG) for name in PLACES for folder, _, files in walk(run / name) if LOG in files]
    # A pipe in the place of a log would be read for ever.
    found = [log for log in found if log.is_file() and not log.is_symlink()]
    kept = [log for log in found if log.resolve().is_relative_to(run.resolve())]
    return sorted(
        (log for log in kept if _is_named(log.relative_to(run), path)), key=lambda log: natural_order(str(log))
    )


def _is_named(log: Path, path: Sequence[str]) -> bool:
    """Whether the names of the path stand in this order among the folders of the log."""
    rest = iter(log.parts[:-1])
    names = [part for name in path for part in name.split(".")]
    return all(any(_is_called(folder, name) for folder in rest) for name in names)


def _is_called(folder: str, name: str) -> bool:
    number = re.fullmatch(r"(?:trial-?)?(\d+)", name)
    if number is not None and (trial := re.fullmatch(r"trial-(\d+)", folder)) is not None:
        return int(trial[1]) == int(number[1])
    # "train-2-3f29ab10": of a later pass ("train#2"), of an element of a map, or of the runs in an attempt ("train~2").
    numbered = re.match(rf"{re.escape(slug(name, 'stage'))}-\d+-[0-9a-f]+$", folder) is not None
    return numbered or folder in (name, unique_slug(name, "stage"))


def _nothing(info: RunInfo, path: Sequence[str]) -> str:
    if not path:
        hint = "; only stages in worker processes have some (timeout=, resources=, executor=)"
        hint = hint if info.kind == "pipeline" else ""
        return f"run {info.id} has no logs{hint}"
    known = sorted({part for log in logs_of(info.folder) for part in log.relative_to(info.folder).parts[1:-1]})
    near = nearest(path[-1], known)
    hint = f'did you mean "{near}"?' if near else f"there is {', '.join(known[:10]) or 'none'}"
    return f"run {info.id} has no log of {'/'.join(path)}: {hint}"


_Tell: TypeAlias = Callable[[str, bytes], None]
"""Hears the next piece of a log: the folder of the log in that of the run, and what stands in it."""


def _as_text(*, titled: bool) -> _Tell:
    last = ""

    def tell(log: str, piece: bytes) -> None:
        nonlocal last
        if titled and log != last:
            show(f"==> {log} <==")
            last = log
        show(piece, end=False)

    return tell


def _as_lines() -> _Tell:
    decoded = _Decoding()
    return lambda log, piece: show(json.dumps({"log": log, "text": decoded(log, piece)}))


def _into(collected: dict[str, str]) -> _Tell:
    decoded = _Decoding()

    def tell(log: str, piece: bytes) -> None:
        collected[log] = collected.get(log, "") + decoded(log, piece)

    return tell


class _Decoding:
    """Texts from pieces of logs; a character may be cut in two."""

    def __init__(self) -> None:
        self._decoders: dict[str, codecs.IncrementalDecoder] = {}

    def __call__(self, log: str, piece: bytes) -> str:
        decoder = self._decoders.setdefault(log, codecs.getincrementaldecoder("utf-8")("replace"))
        return decoder.decode(piece)


class _Reading:
    """Remembers how much of each log was told.

    Args:
        run: the folder of the run.
        tell: hears what is new.
    """

    def __init__(self, run: Path, tell: _Tell) -> None:
        self._run = run
        self._tell = tell
        self._places: dict[Path, int] = {}

    def read(self, log: Path) -> None:
        """Tell what is new in it."""
        if log not in self._places:
            older = log.with_name(OLDER)
            if older.is_file() and not older.is_symlink():
                self._copy(older, 0)
        self._places[log] = self._copy(log, self._places.get(log, 0))

    def _copy(self, file: Path, start: int) -> int:
        name = str(file.parent.relative_to(self._run))
        file = inside(self._run, str(file.relative_to(self._run)))
        with storage_errors(file, "read"), open(file, "rb") as opened:
            if opened.seek(0, 2) < start:
                start = 0  # it was full, and a new one was begun
            opened.seek(start)
            while piece := opened.read(PIECE):
                self._tell(name, piece)
            return opened.tell()
