"""For the tests of the command line."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.commands import Commands


@pytest.fixture
def command(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Commands:
    """`metta-sweep` in a store of its own."""
    commands = Commands(tmp_path, capsys)
    monkeypatch.setenv("METTA_SWEEP_HOME", str(commands.store))
    monkeypatch.setenv("NOTES", str(commands.notes))
    return commands
