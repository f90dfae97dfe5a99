"""The Python files below a folder in which there may be pipelines, found without running any."""

from __future__ import annotations

import ast
import os
import re
import sys
import tokenize
from collections.abc import Iterator

_SKIPPED = frozenset({"__pycache__", "node_modules", "site-packages", "build", "dist", "venv"})
# What a file that has `Pipeline` from a module of its project writes, if it makes a pipeline.
_BUILDS = re.compile(
    r"\b(Pipeline|Experiment)\b|\bdef pipeline\b|\bover\s*=|\.(stage|through|parallel|conditional|loop_while)\s*\("
)


def python_files(folder: str) -> Iterator[str]:
    """Python files below the folder that may hold pipelines, sorted; not in hidden folders, caches, environments.

    Those are the files that import metta.sweep, and those that look as if they made a pipeline and import a module of
    the project that does, itself or by way of another one.
    """
    reached = _Reached()
    for root, folders, files in os.walk(folder):
        folders[:] = sorted(
            name
            for name in folders
            if not name.startswith(".")
            and name not in _SKIPPED
            and not os.path.exists(os.path.join(root, name, "pyvenv.cfg"))
        )
        for name in sorted(files):
            path = os.path.join(root, name)
            if name.endswith(".py") and not name.startswith(".") and reached.may_build(path):
                yield path


class _Reached:
    """Which files reach metta.sweep by their imports; each is read once."""

    def __init__(self) -> None:
        self._known: dict[str, bool] = {}

    def may_build(self, path: str) -> bool:
        """Whether there may be a pipeline in the file; what mentions metta and is no Python is taken, to report it."""
        try:
            with open(path, "rb") as opened:
                source = opened.read()
        except OSError:
            return False
        tree = _parsed(path)
        if tree is None:
            return b"metta" in source
        if _imports_us(tree):
            return True
        return bool(_BUILDS.search(source.decode(errors="replace"))) and self._reaches(os.path.abspath(path))

    def _reaches(self, file: str) -> bool:
        if file not in self._known:
            self._known[file] = False  # a circle of imports reaches nothing by itself
            tree = _parsed(file)
            if tree is not None:
                # A library may offer ours; what the library itself imports is not searched.
                is_library = "site-packages" in file
                self._known[file] = _imports_us(tree) or (
                    not is_library and any(self._reaches(it) for it in _imported(tree, file))
                )
        return self._known[file]


def _parsed(file: str) -> ast.Module | None:
    try:
        with tokenize.open(file) as opened:
            return ast.parse(opened.read())
    except (OSError, SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def _imports_us(tree: ast.Module) -> bool:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            if any(name.name.partition(".")[0] == "metta" for name in node.names):
                return True
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module is not None:
            if node.module.partition(".")[0] == "metta":
                return True
    return False


def _imported(tree: ast.Module, file: str) -> Iterator[str]:
    """The files that a file imports, as far as they are found in folders."""
    package = os.path.dirname(file)
    root = package
    while os.path.isfile(os.path.join(root, "__init__.py")):
        root = os.path.dirname(root)
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for name in node.names:
                yield from _found(name.name, root)
        elif isinstance(node, ast.ImportFrom):
            start = package
            for _ in range(node.level - 1):
                start = os.path.dirname(start)
            inside = [f"{node.module}.{name.name}" if node.module else name.name for name in node.names]
            for module in ([node.module] if node.module else []) + inside:
                yield from _found(module, start if node.level else root, is_relative=node.level > 0)


def _found(module: str, root: str, *, is_relative: bool = False) -> Iterator[str]:
    """The file of a module: below the folder, or where programs are searched for."""
    parts = module.split(".")
    if not is_relative and parts[0] in sys.stdlib_module_names:
        return
    for folder in [root] if is_relative else [root, *sys.path]:
        path = os.path.join(folder, *parts)
        for file in (f"{path}.py", os.path.join(path, "__init__.py")):
            if os.path.isfile(file):
                yield os.path.abspath(file)
                return
