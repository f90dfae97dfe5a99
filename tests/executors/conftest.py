from __future__ import annotations

from collections.abc import Iterator

import pytest

from metta.sweep.executors import LocalExecutor


@pytest.fixture
def executor() -> Iterator[LocalExecutor]:
    with LocalExecutor(2, grace=0.2) as executor:
        yield executor
