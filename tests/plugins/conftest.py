"""Fixtures of the tests that run mypy in a process of its own."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests import environments


@pytest.fixture(scope="session")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of an environment with mypy, this package in place, and few other libraries."""
    return environments.create(tmp_path_factory.mktemp("environment") / "venv")
