"""Names of executors, and what the package exports."""

from __future__ import annotations

import subprocess
import sys

import pytest

import metta.sweep.executors as package
from metta.sweep.errors import UsageError
from metta.sweep.executors import LocalExecutor, create_executor


@pytest.mark.parametrize("name", ["local", "Local", "LocalExecutor"])
def test_create_by_name(name: str) -> None:
    executor = create_executor(name, max_workers=1)
    assert isinstance(executor, LocalExecutor)
    assert executor.capacity == 1


def test_misspelt_name() -> None:
    with pytest.raises(UsageError, match="there is no executor 'locl': did you mean 'local'"):
        create_executor("locl")


def test_misspelt_argument() -> None:
    with pytest.raises(UsageError, match="did you mean 'max_workers'"):
        create_executor("local", max_worker=1)


def test_exports() -> None:
    for name in package.__all__:
        assert getattr(package, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'Lokal'"):
        _ = package.Lokal


def test_workers_start_light() -> None:
    """What the fork server loads, every worker has in memory."""
    program = (
        "import sys; import metta.sweep.executors.forkserver; "
        "print([name for name in ('numpy', 'torch', 'pydantic', 'networkx', 'asyncio') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
