"""`metta-sweep init`: a small typed project that checks, tests and runs as it is."""

from __future__ import annotations

import re
import shlex
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Final

from metta.sweep.cli.output import show
from metta.sweep.errors import RefusedError, StorageError, UsageError
from metta.sweep.store.naming import slug

FILES: Final = {
    "pyproject.toml": "pyproject.toml.txt",
    "pipeline.py": "pipeline.py.txt",
    "sweep.py": "sweep.py.txt",
    "tests/test_pipeline.py": "test_pipeline.py.txt",
    ".github/workflows/check.yml": "check.yml.txt",
    "README.md": "README.md.txt",
    ".gitignore": "gitignore.txt",
}
"""What is written, and the template of it in the folder `project` of this package."""

LONGEST_NAME: Final = 60

_NAME: Final = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_-]*[A-Za-z0-9])?")
_TAKEN: Final = ("metta-sweep", "metta-mypy")
"""A project of this name could not depend on metta-sweep."""


def make_project(folder: str, *, name: str | None, force: bool) -> int:
    """Write the project, and say what to do next; the exit code.

    Args:
        folder: made where it does not exist; "." is this one.
        name: of the project; None: that of the folder.
        force: write over files that are there.

    Raises:
        UsageError: the name is none of a Python package, or `folder` is a file.
        RefusedError: files are there already, or what no file can take the place of; nothing was written.
        StorageError: a file cannot be written.
    """
    place = Path(folder)
    called = checked_name(place.resolve().name if name is None else name)
    if place.exists() and not place.is_dir():
        raise UsageError(f"{folder} is no folder: name one that is new or empty")
    found = [file for file in FILES if (place / file).exists() or (place / file).is_symlink()]
    if found and not force:
        raise RefusedError(
            f"{folder} has {', '.join(found)} already, and nothing was written: "
            "name another folder, or add --force to write over them"
        )
    for file in FILES:
        _refuse_others(place, file)
    for file, text in project_texts(called).items():
        _write(place / file, text)
    show(f"{called} is in {folder}: {', '.join(FILES)}")
    show("\n".join(["next:", *(f"  {line}" for line in _next(folder))]))
    return 0


def checked_name(name: str) -> str:
    """The name, if a Python package may be called so.

    Raises:
        UsageError: it may not; the message has one that may.
    """
    fits = _NAME.fullmatch(name) is not None and len(name) <= LONGEST_NAME
    if fits and _canonical(name) not in _TAKEN:
        return name
    near = _canonical(slug(name, "project")).strip("-") or "project"
    near = f"my-{near}" if near in _TAKEN else near
    wrong = (
        "is taken by what the project depends on"
        if fits
        else f'is no name of a Python package (letters, digits, "-" and "_" in between, at most {LONGEST_NAME})'
    )
    raise UsageError(f'"{name[:100]}" {wrong}: add --name {near}')


def _canonical(name: str) -> str:
    """As package indexes compare names."""
    return re.sub(r"[-_]+", "-", name).lower()


def project_texts(name: str) -> dict[str, str]:
    """The files of a project, by path.

    Args:
        name: a checked one: nothing else gets into the templates.
    """
    templates = files("metta.sweep.cli") / "project"
    return {
        file: Template((templates / template).read_text(encoding="utf-8")).substitute(name=name)
        for file, template in FILES.items()
    }


def _refuse_others(place: Path, file: str) -> None:
    """Refuse what is no file (to open a pipe would wait for ever), and a link to a folder, which leads elsewhere."""
    path = place / file
    links = [place / folder for folder in Path(file).parents[:-1] if (place / folder).is_symlink()]
    if links or (path.exists() and not path.is_symlink() and not path.is_file()):
        what = "a link to another folder" if links else "no ordinary file"
        raise RefusedError(
            f"{links[0] if links else path} is {what}, and nothing was written: remove it, or name another folder"
        )


def _write(path: Path, text: str) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.is_symlink():  # the file is written here, not where the link leads
            path.unlink()
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise StorageError(f"{path} cannot be written: {error.strerror or error}", path=str(path)) from error


def _next(folder: str) -> list[str]:
    """The commands that a new project begins with."""
    return [
        *([] if Path(folder).resolve() == Path.cwd() else [f"cd {shlex.quote(folder)}"]),
        "pip install -e '.[dev]'",
        "metta-sweep check .",
        "metta-sweep run sweep.py:sweep",
        "mypy && pytest",
    ]
