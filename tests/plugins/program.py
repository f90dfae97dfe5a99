"""A program text seen from both sides: run, and checked by mypy, so that the two oracles can be asked the same."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, chdir, contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from mypy.build import BuildSource, build
from mypy.checker import TypeChecker
from mypy.nodes import CallExpr, Expression, ExpressionStmt, FuncDef, MypyFile, NameExpr
from mypy.options import Options
from mypy.state import state
from mypy.types import CallableType

ROOT = Path(__file__).parents[2]

# So that a module of torch is known and the rest of torch need not be read.
_TORCH = """\
from typing import Any, Callable
class Module:
    forward: Callable[..., Any]
    def __call__(self, *args: Any, **kwargs: Any) -> Any: ...
"""


class Program:
    """A checked program.

    Attributes:
        names: what the names of the module are at run time.
        checker: mypy's, as the hooks of a plugin get it.
        shown: the arguments of the program's calls of `show`, in their order.
    """

    def __init__(self, names: dict[str, Any], tree: MypyFile, checker: TypeChecker) -> None:
        self.names = names
        self.checker = checker
        self._tree = tree
        self.shown: Sequence[Expression] = [
            it.expr.args[0]
            for it in tree.defs
            if isinstance(it, ExpressionStmt) and isinstance(it.expr, CallExpr) and _is_show(it.expr.callee)
        ]

    def function(self, name: str) -> CallableType:
        """The type of an annotated function of the module."""
        node = self._tree.names[name].node
        assert isinstance(node, FuncDef)
        assert isinstance(node.type, CallableType)
        return node.type


def _is_show(callee: Expression) -> bool:
    return isinstance(callee, NameExpr) and callee.name == "show"


SHOW = "def show(value: object) -> None: ...\n"


def programs(factory: pytest.TempPathFactory, changed: str = "") -> Path:
    """The folder for the programs of all tests in this process, so that libraries are read only once.

    Args:
        changed: a module whose cache is dropped: mypy will read its source.
    """
    folder = factory.getbasetemp() / "programs"
    folder.mkdir(exist_ok=True)
    for cached in (folder / "cache").rglob(f"{changed}.*") if changed else ():
        cached.unlink()
    return folder


@contextmanager
def program(text: str, folder: Path, *, allow: Sequence[str] = (), plugins: Sequence[str] = ()) -> Iterator[Program]:
    """Run and check a program text; while the context is open, mypy answers as during a run.

    Args:
        folder: for the program and the cache; used again, the cache is warm. See `programs`.
        allow: endings of errors that mypy may find; any other raises.
        plugins: of mypy.

    Raises:
        ValueError: mypy has found an error.
    """
    path = folder / "program.py"
    path.write_text(text)
    stubs = folder / "stubs" / "torch" / "nn"
    stubs.mkdir(parents=True, exist_ok=True)
    (stubs.parent / "__init__.pyi").write_text("")
    (stubs / "__init__.pyi").write_text("from torch.nn.modules.module import Module as Module\n")
    (stubs / "modules").mkdir(exist_ok=True)
    (stubs / "modules" / "__init__.pyi").write_text("")
    (stubs / "modules" / "module.pyi").write_text(_TORCH)
    options = Options()
    options.export_types = options.preserve_asts = options.namespace_packages = options.explicit_package_bases = True
    options.cache_dir, options.sqlite_cache = str(folder / "cache"), False
    options.plugins = list(plugins)
    options.config_file = str(folder / "mypy.ini")  # without one there are no plugins
    Path(options.config_file).write_text("")
    options.mypy_path = [str(stubs.parent.parent)]
    # Large libraries that the stubs of others name; to read them takes long, and no program here has to do with them.
    options.per_module_options = {f"{name}.*": {"follow_imports": "skip"} for name in ("matplotlib", "pandas", "PIL")}
    options.python_version, options.python_executable = sys.version_info[:2], sys.executable
    with chdir(ROOT):
        result = build([BuildSource(str(path), "program", None)], options)
    if wrong := [it for it in result.errors if not it.endswith(tuple(allow))]:
        raise ValueError("\n".join(wrong))
    module = result.graph["program"]
    checker = module.type_checker()
    checker.store_types(result.types)
    assert module.tree is not None
    running = ModuleType("program")
    with ExitStack() as stack:
        stack.enter_context(checker.binder.top_frame_context())
        # pydantic looks up the module a class is made in.
        before = sys.modules.get("program", running)
        sys.modules["program"] = running
        stack.callback(sys.modules.__setitem__, "program", before)
        exec(compile(text, str(path), "exec"), running.__dict__)
        stack.enter_context(state.strict_optional_set(True))
        try:  # newer versions look the checker up where they need it
            from mypy.checker_state import checker_state

            stack.enter_context(checker_state.set(checker))
        except ImportError:
            pass
        yield Program(running.__dict__, module.tree, checker)
