"""The executor of jobs elsewhere keeps the contract, over an engine whose jobs are processes of this machine."""

from __future__ import annotations

from pathlib import Path

import pytest

from metta.sweep.executors import Executor
from metta.sweep.testing.executor_conformance import ExecutorConformance
from tests.executors.process_engine import ProcessExecutor


@pytest.mark.slow
class TestProcesses(ExecutorConformance):
    crowd = 8
    time_limit = 3.0
    refuses_too_much = False  # it counts no cores

    def make(self, folder: Path) -> Executor:
        return ProcessExecutor(folder / "engine", spool=folder / "spool", grace=0.5)
