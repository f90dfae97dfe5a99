"""What a run was started from: the file, the name in it, and the settings, kept in the run's folder for `resume`.

It is read as data from a folder that somebody else may have written. So it cannot make us execute a file that came
with the folder: `recorded_file` says when it may be used.
"""

from __future__ import annotations

import os
import shlex
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from metta.sweep.errors import DamagedError, RefusedError, UsageError
from metta.sweep.store.entries import to_text
from metta.sweep.store.files import write_file
from metta.sweep.store.redact import is_secret_name
from metta.sweep.store.run import read_json

ORIGIN_FILE: Final = "origin.json"


@dataclass(frozen=True, slots=True)
class Origin:
    """What `metta-sweep run` was given.

    Attributes:
        file: absolute.
        name: in the file.
        overrides: of `--set`; without the values of secrets.
        withheld: the names of those secrets: whoever resumes gives them again.
        executor: of `--executor`, if it was given.
    """

    file: str
    name: str
    overrides: tuple[str, ...] = ()
    withheld: tuple[str, ...] = ()
    executor: str | None = None

    @classmethod
    def of(cls, file: str, name: str, overrides: tuple[str, ...], executor: str | None) -> Origin:
        """What stands on the command line, without secrets."""
        names = [text.partition("=")[0].strip() for text in overrides]
        secret = tuple(dict.fromkeys(name for name in names if is_secret_name(name)))
        shown = tuple(text for text, name in zip(overrides, names, strict=True) if name not in secret)
        return cls(os.path.abspath(file), name, shown, secret, executor)

    @property
    def spec(self) -> str:
        """FILE:NAME."""
        return f"{self.file}:{self.name}"


def write_origin(origin: Origin, run: Path) -> None:
    """Keep it in the folder of a run.

    Raises:
        StorageError: the disk cannot take it.
    """
    data = {
        "format": 1,
        "file": origin.file,
        "name": origin.name,
        "overrides": list(origin.overrides),
        "withheld": list(origin.withheld),
        "executor": origin.executor,
    }
    write_file(run / ORIGIN_FILE, [to_text(data, "the origin of a run").encode("ascii"), b"\n"])


def read_origin(run: Path) -> Origin | None:
    """What was kept in the folder of a run; None where it was started by a script.

    Raises:
        DamagedError: it is not what `write_origin` writes.
    """
    path = run / ORIGIN_FILE
    if not os.path.lexists(path):
        return None
    data = read_json(path)
    executor = data.get("executor")
    texts = (data.get("file"), data.get("name"), *_list(data, "overrides"), *_list(data, "withheld"))
    if not all(isinstance(text, str) and text.isprintable() for text in texts) or not isinstance(executor, str | None):
        raise DamagedError(f"{path} is damaged: it does not say what was run", path=str(path))
    return Origin(data["file"], data["name"], tuple(data["overrides"]), tuple(data["withheld"]), executor)


def _list(data: dict[str, Any], name: str) -> list[Any]:
    value = data.get(name)
    return value if isinstance(value, list) else [None]


def recorded_file(origin: Origin, run: Path, store: Path) -> str:
    """The file that a run names, if it may be executed: a regular Python file outside of the run and of the store.

    Raises:
        UsageError: it is gone.
        RefusedError: it is none of these: then the user has to name the file.
    """
    real = Path(os.path.realpath(origin.file))
    command = f"metta-sweep resume {run.name} FILE:{shlex.quote(origin.name)}"
    give = f"if you trust it, name it: {command}"
    for folder in (run, store):
        for path in (Path(origin.file), real):
            if path.is_relative_to(folder) or path.is_relative_to(folder.resolve()):
                raise RefusedError(f"run {run.name} names {origin.file}, which lies in the store itself: {give}")
    if not os.path.isabs(origin.file) or real.suffix != ".py":
        raise RefusedError(f"run {run.name} names {origin.file}, which is no Python file: {give}")
    try:
        mode = os.stat(real).st_mode
    except OSError:
        raise UsageError(
            f"{origin.file}, from which run {run.name} was started, is not there any more: name the file, {command}"
        ) from None
    if not stat.S_ISREG(mode):
        raise RefusedError(f"run {run.name} names {origin.file}, which is no regular file: {give}")
    return origin.file
