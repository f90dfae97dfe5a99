"""The house stands on its floors: a room imports only from floors below it, and stays small.

The table is that of the architecture: every module of the package belongs to one room.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "metta" / "sweep"

FLOORS: dict[int, tuple[str, ...]] = {
    1: ("errors", "space", "trial", "goal", "registry", "redaction", "tunable"),
    2: ("contracts", "store"),
    3: ("pipeline", "optimizers", "schedulers", "executors"),
    4: ("compiler", "worker"),
    5: ("runtime", "report"),
    6: ("experiments", "testing", "interop"),
    7: ("cli", "ui", "explain"),
}
"""`goal`, `registry`, `redaction` and `tunable` are values and tools that several rooms above share; `testing` puts
experiments together and stands beside them."""

# The facade names everything, and the seam is where `Pipeline.compile()` looks up the compiler above it.
EXCEPTIONS = {"__init__.py", "pipeline/seam.py"}

# Rooms of one floor may know one another, except these, each of them behind a protocol of its own.
STRANGERS = {"optimizers", "schedulers", "executors"}

LONGEST, MEDIAN = 700, 200


class Use(NamedTuple):
    """One import: which file, at which line, of which module of the package."""

    file: str
    line: int
    module: str

    @property
    def room(self) -> str:
        return _room(self.file)

    @property
    def target(self) -> str:
        return self.module.removeprefix("metta.sweep").lstrip(".").partition(".")[0]

    def __str__(self) -> str:
        return f"metta/sweep/{self.file}:{self.line} imports {self.module}"


def _room(file: str) -> str:
    return file.partition("/")[0].removesuffix(".py")


def _floor(room: str) -> int:
    return next(floor for floor, rooms in FLOORS.items() if room in rooms)


def files() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def uses(path: Path) -> Iterator[Use]:
    """The imports of our own modules in a file, inside functions too, without those for type checkers only."""
    yield from uses_in(path.read_text(encoding="utf-8"), path.relative_to(PACKAGE).as_posix())


def uses_in(text: str, file: str) -> Iterator[Use]:
    for node in _running(ast.parse(text)):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            package = ".".join(("metta.sweep." + file.replace("/", ".")).split(".")[: -1 - node.level])
            base = node.module or "" if node.level == 0 else ".".join(filter(None, (package, node.module)))
            # `from metta.sweep import compiler` names a room; `from metta.sweep.pipeline import seam` is in one.
            names = [f"{base}.{alias.name}" for alias in node.names] if base == "metta.sweep" else [base]
        elif isinstance(node, ast.Call) and _is_import_module(node.func):
            names = [arg.value for arg in node.args if isinstance(arg, ast.Constant) and isinstance(arg.value, str)]
        else:
            continue
        for name in names:
            if name == "metta.sweep" or name.startswith("metta.sweep."):
                yield Use(file, node.lineno, name)


def _running(node: ast.AST) -> Iterator[ast.AST]:
    """All nodes below, without the body of `if TYPE_CHECKING:`."""
    yield node
    if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
        children: Iterator[ast.AST] = iter(node.orelse)
    else:
        children = ast.iter_child_nodes(node)
    for child in children:
        yield from _running(child)


def _is_import_module(function: ast.expr) -> bool:
    name = function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")
    return name in ("import_module", "__import__")


def wrong(use: Use) -> bool:
    """Whether a room may not import this."""
    if use.target == use.room or use.file in EXCEPTIONS:
        return False
    if use.target not in {room for rooms in FLOORS.values() for room in rooms}:
        return use.target != "__version__"  # through the facade a room would reach every floor
    here, there = _floor(use.room), _floor(use.target)
    return there > here or (here == there and bool({use.room, use.target} & STRANGERS))


def test_every_module_belongs_to_a_room() -> None:
    known = {room for rooms in FLOORS.values() for room in rooms}
    found = {_room(path.relative_to(PACKAGE).as_posix()) for path in files()} - {"__init__"}
    assert found <= known


def test_imports_go_down() -> None:
    assert [str(use) for path in files() for use in uses(path) if wrong(use)] == []


def test_the_seam_is_still_needed() -> None:
    assert [use.target for use in uses(PACKAGE / "pipeline" / "seam.py")] == ["runtime"]


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("pipeline/builder.py", "from metta.sweep.compiler.graph import Graph"),
        ("pipeline/builder.py", "def f():\n    import metta.sweep.runtime.link"),
        ("pipeline/builder.py", "from ..compiler import graph"),
        ("pipeline/builder.py", "from metta.sweep import cli"),
        ("contracts/values.py", "from metta.sweep import Pipeline"),
        ("contracts/values.py", 'import_module("metta.sweep.pipeline.builder")'),
        ("optimizers/random.py", "from metta.sweep.schedulers.base import Scheduler"),
        ("errors.py", "if not TYPE_CHECKING:\n    import metta.sweep.contracts"),
    ],
)
def test_an_import_that_goes_up_or_to_a_stranger_is_found(file: str, text: str) -> None:
    assert [wrong(use) for use in uses_in(text, file)] == [True]


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("compiler/graph.py", "from metta.sweep.pipeline.plan import Plan"),
        ("compiler/graph.py", "from . import lower\nfrom .lower import VALUE"),
        ("pipeline/builder.py", "if TYPE_CHECKING:\n    from metta.sweep.compiler.graph import Graph"),
        ("cli/main.py", "from metta.sweep import __version__"),
        ("pipeline/builder.py", "import metta.other\nfrom pathlib import Path"),
    ],
)
def test_an_import_that_goes_down_is_not(file: str, text: str) -> None:
    assert not any(wrong(use) for use in uses_in(text, file))


def test_metta_is_a_namespace_that_others_share() -> None:
    assert not (ROOT / "metta" / "__init__.py").exists()
    assert (PACKAGE / "py.typed").exists()


def test_files_stay_small() -> None:
    texts = {path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8") for path in files()}
    lengths = {name: len(text.splitlines()) for name, text in texts.items()}
    assert {name: length for name, length in lengths.items() if length > LONGEST} == {}
    assert median(length for length in lengths.values() if length > 1) <= MEDIAN
