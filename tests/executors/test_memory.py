"""The watch over the memory of process groups, where processes come and go while it looks."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from metta.sweep.executors import memory
from metta.sweep.executors.memory import MemoryWatch, Usage


def test_a_process_that_ended_meanwhile_uses_nothing() -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    both = Usage(resident=10**15, processes=[os.getpid(), ended.pid])
    assert 0 < both.bytes < 10**12, "not the sum that counts shared pages for each"


def test_one_look_that_finds_too_much_kills_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """While children end, those that are left take over what they shared, and a look may count it twice."""
    looks = iter([{7: Usage(400)}, {7: Usage(200)}, {7: Usage(400)}, {7: Usage(350)}])
    monkeypatch.setattr(memory, "usage_of", lambda groups: next(looks))
    watch = MemoryWatch()
    assert watch.exceeded({7: 300}) == {}
    assert watch.exceeded({7: 300}) == {7: 350}
