"""What a fresh interpreter loads: building a pipeline stays light."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

HEAVY = {
    *("asyncio", "attrs", "beartype", "click", "cloudpickle", "executing", "graphviz", "hypothesis", "mypy"),
    *("networkx", "numpy", "optuna", "pydantic", "pytest", "rich", "scipy", "sklearn", "torch"),
}
ROOT = Path(__file__).parent.parent

_COMPILE = """
from metta.sweep import Pipeline

def double(x: int) -> int:
    return x * 2

def both(y: int) -> tuple[int, str]:
    return y, "done"

pipeline = (
    Pipeline(x=int)
    .stage("double", double).through(y=int)
    .stage("both", both).through(number=int, text=str)
    .conditional(lambda data: data.number > 1, Pipeline().stage("again", double).through(z=int))
)
graph = pipeline.compile()
assert "again" in graph.source
assert callable(graph.function)
"""


def loaded_by(program: str) -> set[str]:
    """Top-level names of the modules that a program loads in a fresh interpreter, beyond those that are there anyway.

    What the `.pth` files of site-packages import at start is none of ours.
    """
    head, tail = "import json, sys\nbefore = set(sys.modules)", "print(json.dumps([*set(sys.modules) - before]))"
    code = f"{head}\n{program}\n{tail}"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return {name.partition(".")[0] for name in json.loads(done.stdout.splitlines()[-1])}


def test_the_package_itself_loads_next_to_nothing() -> None:
    loaded = loaded_by("import metta.sweep")
    assert "metta" in loaded
    assert not loaded & (HEAVY | {"dataclasses", "inspect", "typing_extensions"})


@pytest.mark.parametrize("name", ["Pipeline", "Context", "HookSet", "RetryPolicy", "field", "ContractError"])
def test_what_a_pipeline_is_written_with_is_light(name: str) -> None:
    assert not loaded_by(f"from metta.sweep import {name}") & HEAVY


def test_building_and_compiling_plain_functions_is_light() -> None:
    assert not loaded_by(_COMPILE) & {"networkx", "numpy", "optuna", "pydantic", "rich", "torch", "click", "beartype"}


def test_the_help_of_the_command_line_is_light() -> None:
    loaded = loaded_by("from metta.sweep.cli.main import main\nassert main(['--help']) == 0")
    assert "click" in loaded
    assert not loaded & {"networkx", "numpy", "optuna", "pydantic", "rich", "torch", "beartype"}
