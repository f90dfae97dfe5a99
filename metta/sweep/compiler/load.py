"""From a user's file to a module.

A file is run like a module (`__name__` is not "__main__", so a guarded main part does not run) under a name of its own,
with its folder on `sys.path`; a file inside a package becomes a part of it. Where the file, or a neighbour that it
imports, would start a run, loading that one stops (compiler/loading.py). What it prints goes to standard error.
"""

from __future__ import annotations

import ast
import contextlib
import hashlib
import importlib.util
import io
import os
import sys
import tokenize
from collections.abc import Iterator, Sequence
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from types import ModuleType, TracebackType

from metta.sweep.compiler.fingerprint import LOADED_PREFIX
from metta.sweep.compiler.loading import RunReached, Stop, loading, note_stop
from metta.sweep.contracts.call_site import display_path
from metta.sweep.contracts.diagnostics import ContractError, nearest
from metta.sweep.errors import InternalError, MettaSweepError, UsageError

_LONGEST_REASON = 300


class LoadError(UsageError):
    """The user's file, or something in it, cannot be used.

    Attributes:
        reason: the sentence without the place.
        file: relative to the working directory when below it.
        line: counted from 1; 1 where no line is to blame.
    """

    def __init__(self, reason: str, file: str, line: int = 1) -> None:
        super().__init__(f"{file}:{line}: {reason}")
        self.reason = reason
        self.file = file
        self.line = line


def split_spec(spec: str) -> tuple[str, str | None]:
    """FILE or FILE:NAME -> (file, name or None); an existing file may have a colon in its name."""
    if os.path.exists(spec):
        return spec, None
    file, colon, name = spec.rpartition(":")
    if colon and file and all(part.isidentifier() for part in name.split(".")):
        return file, name
    return spec, None


@contextlib.contextmanager
def fresh_packages() -> Iterator[set[str]]:
    """Inside the block the files of a package share what they import; afterwards it is unloaded.

    Yields the folders to import from, for `user_module`.
    """
    roots: set[str] = set()
    imported = set(sys.modules)
    try:
        yield roots
    finally:
        for root in roots:
            _forget(root, imported)


@contextlib.contextmanager
def user_module(path: str, packages: set[str] | None = None) -> Iterator[ModuleType]:
    """Run the file up to its first run and give its module; inside the block it can import its neighbours.

    Behind the block the file and its neighbours are unloaded: the next file may have another `helpers` beside it.

    Args:
        packages: of `fresh_packages`; then a file inside a package is unloaded with all others, later.

    Raises:
        UsageError: there is no such file, it is a directory or cannot be read.
        LoadError: it is no Python, or running it raised an exception.
        ContractError: a pipeline in it is wrong.
    """
    file = os.path.abspath(path)
    shown = display_path(file)
    _check_source(file, path)
    root, name, package = _place(file)
    arguments, search, imported, neighbours = sys.argv, list(sys.path), set(sys.modules), _Neighbours(root)
    sys.argv = [file]
    sys.path.insert(0, root)
    sys.meta_path.insert(0, neighbours)
    try:
        with user_code(shown, f"{os.path.basename(file)} does not import"):
            module = _run(file, name, package)
        yield module
    finally:
        sys.argv = arguments
        sys.path[:] = search
        sys.meta_path.remove(neighbours)
        if packages is not None and package is not None:
            packages.add(root)
        else:
            _forget(root, imported)


def file_of(module: ModuleType) -> str:
    """The module's file, as messages show it."""
    return display_path(module.__file__ or module.__name__)


def _check_source(file: str, given: str) -> None:
    if os.path.isdir(file):
        raise UsageError(f"{given} is a directory: name a Python file (metta-sweep check takes directories)")
    try:
        with open(file, "rb") as opened:
            source = opened.read()
    except FileNotFoundError:
        folder, base = os.path.split(file)
        names = os.listdir(folder) if os.path.isdir(folder) else []
        near = nearest(os.path.splitext(base)[0], [name[:-3] for name in names if name.endswith(".py")])
        hint = "" if os.path.isabs(given) else f" in {os.getcwd()}"
        if near:
            hint = f' (did you mean "{os.path.join(os.path.dirname(given), near)}.py"?)'
        raise UsageError(f"there is no file {given}{hint}") from None
    except OSError as error:
        raise UsageError(f"{given} cannot be read: {error.strerror or error}") from None
    if b"\0" in source:
        raise UsageError(f"{given} is no Python file: it holds binary data")
    if file.endswith(".ipynb"):
        raise UsageError(f"{given} is a notebook: write it as a script first (jupyter nbconvert --to script {given})")
    _check_text(source, file)


def _check_text(source: bytes, file: str) -> None:
    """Importing overlooks in comments what running a file does not: a byte that its encoding does not have."""
    try:
        encoding, _ = tokenize.detect_encoding(io.BytesIO(source).readline)
        source.decode(encoding)
    except UnicodeDecodeError as error:
        line = source.count(b"\n", 0, error.start) + 1
        raise LoadError(
            f"{os.path.basename(file)} is no Python file: byte {source[error.start]:#x} is no {error.encoding}; "
            "save it as UTF-8, or name its encoding in the first line (# -*- coding: ... -*-)",
            display_path(file),
            line,
        ) from None
    except SyntaxError as error:
        raise LoadError(f"{os.path.basename(file)} is no Python file: {error}", display_path(file)) from None


def _place(file: str) -> tuple[str, str, str | None]:
    """The folder to import from, the module's name (one that nothing else has outside of packages), its package."""
    folder, base = os.path.split(file)
    stem = os.path.splitext(base)[0]
    names = [] if stem == "__init__" else [stem]
    while os.path.isfile(os.path.join(folder, "__init__.py")) and os.path.basename(folder).isidentifier():
        folder, package = os.path.split(folder)
        names.insert(0, package)
    name = ".".join(names)
    if stem == "__init__":
        return folder, name, name
    if len(names) > 1:
        return folder, name, name.rpartition(".")[0]
    return folder, f"{LOADED_PREFIX}{stem}_{hashlib.sha256(file.encode()).hexdigest()[:8]}", None


def _forget(root: str, kept: set[str]) -> None:
    """Unload what was imported from below the folder; not libraries that are installed there, nor ourselves."""
    for name in set(sys.modules) - kept:
        if _is_neighbour(name, getattr(sys.modules[name], "__file__", None) or "", root):
            del sys.modules[name]


def _is_neighbour(name: str, source: str, root: str) -> bool:
    """Whether a module is the user's, below the folder: no library that is installed there, and none of ours."""
    below, ours = source.startswith(os.path.join(root, "")), name.partition(".")[0] == "metta"
    return below and source.endswith(".py") and "site-packages" not in source and not ours


class _Neighbours:
    """Finds the modules below a folder, so that a run in one of them stops that one alone."""

    def __init__(self, root: str) -> None:
        self.root = root

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        spec = PathFinder.find_spec(name, path, target)
        if spec is None or type(spec.loader) is not SourceFileLoader:
            return None
        if not _is_neighbour(name, spec.loader.path, self.root):
            return None
        spec.loader = _UpToRun(name, spec.loader.path)
        return spec


class _UpToRun(SourceFileLoader):
    """What stands above a module's first run is what the module defines."""

    def exec_module(self, module: ModuleType) -> None:
        try:
            super().exec_module(module)
        except RunReached as reached:
            lines = list(_lines(reached, display_path(self.path)))
            if lines and not (len(lines) == 1 and _ends_with(self.path, lines[0])):
                note_stop(Stop(display_path(self.path), lines[0]))


def _ends_with(file: str, line: int) -> bool:
    """Whether the statement there is the last of the file, so that nothing behind its run is missed."""
    with open(file, "rb") as opened:
        last = ast.parse(opened.read()).body[-1]
    return last.lineno <= line and isinstance(last, (ast.Expr, ast.Assign, ast.AnnAssign))


def _run(file: str, name: str, package: str | None) -> ModuleType:
    known = None if package is None else _known(file, name)
    if known is not None:
        return known
    folders = [os.path.dirname(file)] if package == name else None
    spec = importlib.util.spec_from_file_location(
        name, file, loader=_UpToRun(name, file), submodule_search_locations=folders
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # annotations and dataclasses look their module up there
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _known(file: str, name: str) -> ModuleType | None:
    """The module, if it was imported already, by its package or by a file before it."""
    parent = name.rpartition(".")[0]
    if parent:
        importlib.import_module(parent)
    known = sys.modules.get(name)
    if known is None:
        return None
    found = getattr(known, "__file__", None)
    if found is None or not os.path.samefile(found, file):
        raise ImportError(f"{name} is another module here, {found}")
    return known


@contextlib.contextmanager
def user_code(file: str, what: str) -> Iterator[None]:
    """Run code of the user: no run starts, and an exception becomes one sentence with the line in the user's file."""
    try:
        # Standard output belongs to the command: a drawing, or JSON.
        with contextlib.redirect_stdout(sys.stderr), loading():
            yield
    except (ContractError, InternalError, LoadError):
        raise
    except RunReached as reached:
        raise LoadError(f"{what}: it starts a run", file, _line(reached, file)) from None
    except (Exception, SystemExit) as error:
        raise LoadError(f"{what}: {_reason(error, file)}", file, _line(error, file)) from error


def _reason(error: BaseException, file: str) -> str:
    if isinstance(error, SystemExit):
        return 'it exits; put its main part under if __name__ == "__main__":'
    kind = type(error).__name__
    if isinstance(error, SyntaxError):
        where = "" if error.filename is None or display_path(error.filename) == file else f" in {error.filename}"
        return f"{kind}{where}: {error.msg}"
    text = " ".join(str(error).split())
    if len(text) > _LONGEST_REASON:
        text = text[: _LONGEST_REASON - 3] + "..."
    if isinstance(error, MettaSweepError):
        return text
    reason = f"{kind}: {text}" if text else kind
    near = _near(error)
    if near is not None:
        reason += f' (did you mean "{near}"?)'
    if isinstance(error, ModuleNotFoundError):
        reason += " (is it installed in this environment?)"
    return reason


def _near(error: BaseException) -> str | None:
    """The attribute or name that was probably meant: what Python itself adds only where it prints the traceback."""
    if isinstance(error, AttributeError) and error.obj is not None and error.name:
        names = dir(error.obj)
    elif isinstance(error, NameError) and error.name:
        trace = error.__traceback__
        while trace is not None and trace.tb_next is not None:
            trace = trace.tb_next
        names = [] if trace is None else [*trace.tb_frame.f_locals, *trace.tb_frame.f_globals]
    else:
        return None
    return nearest(error.name, [name for name in names if not name.startswith("_")])


def _line(error: BaseException, file: str) -> int:
    if isinstance(error, SyntaxError) and error.filename is not None and display_path(error.filename) == file:
        return error.lineno or 1
    return next(reversed(list(_lines(error, file))), 1)


def _lines(error: BaseException, file: str) -> Iterator[int]:
    """The lines of the file that led to the error, the outermost first."""
    trace: TracebackType | None = error.__traceback__
    while trace is not None:
        if display_path(trace.tb_frame.f_code.co_filename) == file:
            yield trace.tb_lineno
        trace = trace.tb_next
