"""The examples run, print what they promise, and are type-checked; the page about them names all of them."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.example_outputs import ELSEWHERE, LOGGED, NEEDS, OUTPUT, PARTS, SLOW

ROOT = Path(__file__).parents[1]
EXAMPLES = ROOT / "examples"

FULL = (
    "Architecture",
    "Classic Bayesian Optimization",
    "ASHA (Asynchronous Successive Halving)",
    "Population-Based Training (PBT)",
    "Hyperband",
    "Hybrid Multi-Phase Strategy",
    "Flexibility",
    "Clarity",
    "Extensibility",
    "Composability",
    "Testing",
    "Current Code",
    "New Code",
    "Basic Contract Declaration",
    "Fluent Contract Syntax",
    "Basic Hook Usage",
    "Types of Hooks: Observation",
    "Types of Hooks: Validation",
    "Types of Hooks: Transformation",
    "Types of Hooks: Control Flow",
    "Types of Hooks: Persistence",
    "Composable Hook Sets",
    "Global Pipeline Hooks",
    "Recursive Experiment Composition",
    "Warm-Starting",
    "Multi-Objective Optimization",
    "Conditional Search Spaces",
    "Resource-Aware Scheduling",
    "Levels of Optimization",
    "Optimizing Curriculum Learning",
    "Learning to Optimize",
    "Task Scheduling Strategies",
    "Pipeline Architecture",
    "Resource Allocation Policies",
    "Aggregation Strategies",
)
"""What the code blocks of the full design document stand under, in their order."""

CONCISE = (
    "Three Layers That Work Together",
    "Simple Example",
    "Meta-Learning",
    "Migration Path: current code",
    "Migration Path: new code",
    "Bayesian Optimization",
    "ASHA (Early Stopping)",
    "Population-Based Training",
    "Pipeline with Contracts and Hooks",
    "Recursive Experiments (Curriculum Learning)",
    "Meta-Optimization (Optimizing the Optimizer)",
    "Advanced Hook Patterns",
    "Composing Complex Strategies",
    "Custom Optimizers and Schedulers",
)
"""The same of the concise one."""


def run(command: list[str], home: Path) -> subprocess.CompletedProcess[str]:
    """A command as a user gives it, in the repository's folder; what it stores goes to `home`."""
    environment = {**os.environ, "METTA_SWEEP_HOME": str(home)}
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300)


def run_example(name: str, home: Path) -> subprocess.CompletedProcess[str]:
    return run([sys.executable, "-W", "error", f"examples/{name}.py"], home)


def skip_without(name: str) -> None:
    missing = [library for library in NEEDS.get(name, ()) if find_spec(library) is None]
    if missing:
        pytest.skip(f"needs {', '.join(missing)}")


CASES = [
    pytest.param(name, marks=[pytest.mark.slow] if name in SLOW else [])
    for name in sorted(OUTPUT.keys() | PARTS.keys())
]


@pytest.mark.parametrize("name", CASES)
def test_example(name: str, tmp_path: Path) -> None:
    skip_without(name)
    done = run_example(name, tmp_path)
    assert done.returncode == 0, done.stderr
    if name in OUTPUT:
        assert done.stdout == OUTPUT[name]
    for part in PARTS.get(name, ()):
        assert part in done.stdout
    for part in LOGGED.get(name, ()):
        assert part in done.stderr


def test_a_warning_about_the_missing_store_comes_once(tmp_path: Path) -> None:
    assert run_example("hooks_persistence", tmp_path).stderr.count("without a store") == 1


def test_the_components_are_tested_by_pytest(tmp_path: Path) -> None:
    skip_without("testing_components")
    command = [sys.executable, "-m", "pytest", "-q", "-n", "0", "-p", "no:cacheprovider"]
    done = run([*command, "examples/testing_components.py"], tmp_path)
    assert done.returncode == 0, done.stdout
    assert re.search(r"\d\d passed", done.stdout)  # the suite of the scheduler as well


def test_the_sweep_of_the_migration_runs_from_the_command_line(tmp_path: Path) -> None:
    """The commands of its docstring."""
    skip_without("migration")
    assert (
        "metta-sweep run examples/migration.py:experiment optimizer.ucb_beta=3.0 --budget 6"
        in (EXAMPLES / "migration.py").read_text()
    )
    command = [sys.executable, "-m", "metta.sweep.cli.main"]
    done = run(
        [*command, "run", "examples/migration.py:experiment", "--set", "optimizer.ucb_beta=3.0", "--budget", "2"],
        tmp_path,
    )
    assert done.returncode == 0, done.stderr
    assert "my_sweep" in run([*command, "ls"], tmp_path).stdout
    done = run([*command, "resume", "my_sweep", "--budget", "3"], tmp_path)
    assert done.returncode == 0, done.stderr
    assert "3 trials" in done.stdout


def test_every_example_is_tested() -> None:
    found = {path.stem for path in EXAMPLES.glob("*.py")}
    assert found == OUTPUT.keys() | PARTS.keys() | ELSEWHERE


def test_examples_are_type_checked() -> None:
    """In one run, with the settings of the project: strict."""
    command = [sys.executable, "-m", "mypy", "--no-error-summary", *sorted(map(str, EXAMPLES.glob("*.py")))]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600)
    assert (done.returncode, done.stdout) == (0, ""), done.stdout + done.stderr


def table(heading: str) -> list[list[str]]:
    """The rows of the table under a heading of docs/examples.md, without its head."""
    section = (ROOT / "docs" / "examples.md").read_text().split(f"\n## {heading}\n")[1].split("\n## ")[0]
    rows = [line.strip("|").split("|") for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in row] for row in rows[2:]]


def example_of(cell: str) -> str:
    """The example that a cell links to."""
    found = re.match(r"\[(\w+)\]\(\.\./examples/(\w+)\.py\)", cell)
    assert found is not None, cell
    assert found[1] == found[2]
    return found[1]


@pytest.mark.parametrize(
    ("heading", "blocks"), [("The full document", FULL), ("The concise document", CONCISE)], ids=["full", "concise"]
)
def test_every_block_of_the_design_has_an_example(heading: str, blocks: tuple[str, ...]) -> None:
    rows = table(heading)
    assert [(int(row[0]), row[1]) for row in rows] == list(enumerate(blocks, 1))
    assert all(row[3] for row in rows), "a row does not say what was corrected"


def test_the_page_names_the_examples_that_there_are() -> None:
    named = {example_of(row[2]) for heading in ("The full document", "The concise document") for row in table(heading)}
    more = {example_of(row[0]) for row in table("More examples")}
    assert not named & more
    assert named | more == {path.stem for path in EXAMPLES.glob("*.py")}
