"""For all tests."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis.internal.conjecture import providers

# Before numpy is loaded: two processes of pytest-xdist, each with a thread per core, wait for one another.
for library in ("OMP", "OPENBLAS", "MKL"):
    os.environ.setdefault(f"{library}_NUM_THREADS", "1")


def pytest_configure() -> None:
    """Make the tests independent of how they are started and spread."""
    # A shell that starts them in the background has them ignore Ctrl-C, and all processes that they start.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    # What hypothesis draws depends on the seed alone: it also tries the constants of the project's modules that are
    # loaded, and which those are differs from one worker of pytest-xdist to the next.
    if hasattr(providers, "_get_local_constants"):
        nothing: Any = providers._local_constants
        providers._get_local_constants = lambda: nothing


@pytest.fixture(scope="session", autouse=True)
def store_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The default store of the tests, and of the processes they start: a temporary folder."""
    home = tmp_path_factory.mktemp("store")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("METTA_SWEEP_HOME", str(home))
        yield home
