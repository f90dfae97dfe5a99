"""The program that runs mypy for `metta-sweep check`, in a process of its own: mypy may crash, and holds much memory.

Standard input and output are one JSON object each: `{"named": [path], "found": [path]}` and `Answer`. The user's own
configuration of mypy holds. Only what the answer needs is set over it: our plugin, and how errors are written. Works
with mypy 1.12 and later; everything else of the package stays unimported.
"""

from __future__ import annotations

import ast
import contextlib
import io
import json
import os
import re
import sys
import tokenize
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Literal, TypedDict

if TYPE_CHECKING:
    from mypy.fscache import FileSystemCache
    from mypy.modulefinder import BuildSource
    from mypy.options import Options

_PLUGIN = "metta_mypy"
_OLDEST = (1, 12)
# That of mypy's own main program: a chain of calls is as deep a tree as it is long.
_RECURSION_LIMIT = 2**14


class Answer(TypedDict):
    """What comes back.

    Attributes:
        errors: mypy's own JSON objects: file, line, message, code, severity, and in "hint" the notes of the same place.
        warnings: what mypy said about its configuration before it went on.
        failure: in one line why there is no complete result; "" where there is.
        blame: who can mend it: the user ("usage"), or whoever maintains mypy or a plugin ("crash").
    """

    errors: list[dict[str, object]]
    warnings: list[str]
    failure: str
    blame: Literal["", "usage", "crash"]


class _Unusable(Exception):
    """mypy refuses to start; the sentence says why."""


def run(named: Sequence[str], found: Sequence[str]) -> Answer:
    """Check files with mypy; never raises.

    Args:
        named: paths that are always checked.
        found: paths that the configuration's `exclude` may leave out.
    """
    answer = Answer(errors=[], warnings=[], failure="", blame="")
    said = io.StringIO()
    try:
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
            _check(named, found, answer, said)
    except _Unusable as error:
        answer.update({"failure": str(error), "blame": "usage"})
    except (Exception, SystemExit) as error:
        reason = _first_error(said.getvalue()) or f"{type(error).__name__}: {error}"
        answer.update({"failure": reason, "blame": "crash"})
    return answer


def _check(named: Sequence[str], found: Sequence[str], answer: Answer, said: io.StringIO) -> None:
    from mypy.fscache import FileSystemCache
    from mypy.version import __version__

    if tuple(map(int, re.findall(r"\d+", __version__)[:2])) < _OLDEST:
        needed = ".".join(map(str, _OLDEST))
        raise _Unusable(f"mypy {__version__} is too old, {needed} is needed: pip install --upgrade mypy")
    # One file may be given in several ways.
    files = list({os.path.abspath(file): file for file in (*found, *named) if _can_be_checked(file)}.values())
    if not files:
        return
    cache = FileSystemCache()
    sources, options = _configured(files, cache, said)
    answer["warnings"] = said.getvalue().splitlines()
    said.seek(0)
    said.truncate()
    wanted = {*named, *(file for file in found if not _is_excluded(file, options.exclude))}
    paths = set(map(os.path.normpath, wanted))
    for group in _groups(source for source in sources if os.path.normpath(source.path or "") in paths):
        _build(group, options, cache, answer)


def _can_be_checked(file: str) -> bool:
    """Whether the file can be read and parsed; one that cannot be would stop mypy, and is reported when it is imported.

    An @ marks names that mypy makes up: on a module that has one in its name, it crashes.
    """
    if "@" in os.path.basename(file):
        return False
    try:
        with tokenize.open(file) as opened:
            ast.parse(opened.read())
    except (OSError, SyntaxError, ValueError):
        return False
    except (RecursionError, MemoryError):
        return True  # too deep for us: mypy is to say so
    return True


def _configured(files: Sequence[str], cache: FileSystemCache, said: io.StringIO) -> tuple[list[BuildSource], Options]:
    """The modules and the user's options, with our plugin."""
    from mypy.main import process_options

    # A leading @ would name a file of arguments.
    arguments = [os.path.join(os.curdir, file) if file.startswith("@") else file for file in files]
    try:
        sources, options = process_options(["--", *arguments], stdout=said, stderr=said, fscache=cache)
    except SystemExit:
        raise _Unusable(_first_error(said.getvalue()) or "mypy does not accept its configuration") from None
    if not any(_PLUGIN in plugin for plugin in options.plugins):
        options.plugins = [*options.plugins, _PLUGIN]
        # Other plugins make another cache: the two would invalidate each other at every turn.
        if options.cache_dir != os.devnull:
            options.cache_dir = os.path.join(options.cache_dir, "metta-sweep")
    if not options.config_file:
        options.config_file = os.devnull  # without any, mypy loads no plugins
    options.output = "json"
    options.report_dirs = {}
    if hasattr(options, "num_workers"):
        options.num_workers = 0  # needs options that belong to mypy's main program
    return sources, options


def _is_excluded(file: str, patterns: Iterable[str]) -> bool:
    """Whether mypy would have left the file out, had it searched the directories (its option `exclude`)."""
    parts = os.path.relpath(file).split(os.sep)
    paths = ["/".join(parts[:end]) + "/" * (end < len(parts)) for end in range(1, len(parts) + 1)]
    try:
        return any(re.search(pattern, path) for pattern in patterns for path in paths)
    except re.error as error:
        raise _Unusable(f"mypy's exclude is no regular expression: {error}") from None


def _groups(sources: Iterable[BuildSource]) -> Iterator[list[BuildSource]]:
    """Parts to check one by one: modules of one name, or that import by one name, would be mixed up in one build.

    Two scripts `a/train.py` and `b/train.py` are both `train`, and their `import helpers` means different files.
    """
    groups: list[tuple[set[str], list[BuildSource]]] = []
    by_folder: dict[str, list[BuildSource]] = {}
    for source in sources:
        by_folder.setdefault(os.path.abspath(source.base_dir or os.curdir), []).append(source)
    for folder, inside in by_folder.items():
        names = {source.module.partition(".")[0] for source in inside} | _importable(folder)
        for taken, group in groups:
            if not taken & names:
                taken |= names
                group += inside
                break
        else:
            groups.append((names, list(inside)))
    return (group for _, group in groups)


def _importable(folder: str) -> set[str]:
    with os.scandir(folder) as entries:
        return {
            os.path.splitext(entry.name)[0]
            for entry in entries
            if entry.name.endswith((".py", ".pyi")) or os.path.isfile(os.path.join(entry.path, "__init__.py"))
        }


def _build(sources: list[BuildSource], options: Options, cache: FileSystemCache, answer: Answer) -> None:
    from mypy.build import build
    from mypy.errors import CompileError

    last: list[str] = []

    def take(file: str | None, messages: list[str], _serious: bool) -> None:
        if messages:
            last[:] = messages
        for error in filter(None, map(_parsed, messages)):
            # A cached error has the path of the time: of a module with the same name and text in another folder.
            answer["errors"].append(error if file is None else {**error, "file": file})

    try:
        result = build(sources, options, None, take, cache)
    except CompileError:
        # Nothing behind it was checked: a broken import, or a plugin that cannot be loaded.
        if not answer["failure"]:
            reason = _sentence(last[0]) if last else "mypy stopped without a reason"
            answer.update({"failure": reason, "blame": "usage"})
        return
    close = getattr(result.manager.metastore, "close", None)  # since mypy 1.20
    if close is not None:
        close()


def _parsed(message: str) -> dict[str, object] | None:
    """The error, if the message is one; what mypy says about itself is text."""
    try:
        error = json.loads(message)
    except ValueError:
        return None
    return error if isinstance(error, dict) else None


def _sentence(message: str) -> str:
    error = _parsed(message)
    if error is not None:
        line = error["line"]
        place = f"{error['file']}:{line}" if isinstance(line, int) and line > 0 else error["file"]
        return f"{place}: {error['message']}"
    # Before mypy 1.20 these are text, whatever the format asked for.
    return re.sub(r"^(\S+): error: (.*?)(  \[[a-z-]+\])?$", r"\1: \2", message.splitlines()[0])


def _first_error(said: str) -> str:
    """The line that says what went wrong; usage and the errors so far may come before it."""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    for mark in ("INTERNAL ERROR", "error:", ""):
        for line in lines:
            if mark in line:
                return line
    return ""


def main() -> None:
    """Read the request, write the answer."""
    # Neighbours of the user's files must not stand in for libraries, but a plugin of his may lie beside them.
    sys.path.append(os.getcwd())
    sys.setrecursionlimit(_RECURSION_LIMIT)
    request = json.load(sys.stdin)
    json.dump(run(request["named"], request["found"]), sys.stdout)


if __name__ == "__main__":
    main()
