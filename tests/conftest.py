"""For all tests."""

from __future__ import annotations

from typing import Any

from hypothesis.internal.conjecture import providers


def pytest_configure() -> None:
    """What hypothesis draws depends on the seed alone.

    It also tries the constants of the project's modules that are loaded, and which those are differs from one worker
    of pytest-xdist to the next.
    """
    if hasattr(providers, "_get_local_constants"):
        nothing: Any = providers._local_constants
        providers._get_local_constants = lambda: nothing
