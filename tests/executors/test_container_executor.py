"""What a user may say to DockerExecutor, and what it makes of it."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest

from metta.sweep.errors import MissingExtraError, UsageError
from metta.sweep.executors.base import Task
from metta.sweep.executors.container.executor import DockerExecutor
from metta.sweep.executors.pool import usable_cores
from metta.sweep.trial import Resources
from tests.executors.remote_tasks import add

pytest.importorskip("docker")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"pull": "mising"}, "pull='mising'): expected 'missing' or 'never'; did you mean 'missing'?"),
        ({"pull": None}, "pull=None): expected 'missing' or 'never'"),
        ({"network": ""}, 'network=""): expected "none"'),
        ({"user": "ada"}, "user='ada'): expected numbers"),
        ({"user": -1}, "user=-1): expected numbers"),
        ({"gpus": "0,1"}, "gpus='0,1'): expected a list, such as gpus=['0', '1']"),
        ({"mounts": {"data": "/data"}}, "the path on this machine is 'data'"),
        ({"environment": {"A=B": "c"}}, "environment={'A=B': ...}): expected a name without '='"),
        ({"environment": {"A": 5}}, "environment={'A': ...})"),
        ({"environment": {"A": "b\0"}}, "environment={'A': ...})"),
        ({"max_jobs": 0}, "max_jobs=0): expected at least 1"),
    ],
)
def test_mistakes(arguments: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=re.escape(words)):
        DockerExecutor("python:3.11", **arguments)


def test_without_the_sdk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "docker", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'metta-sweep\[docker\]'"):
        DockerExecutor("python:3.11")


def test_one_container_per_core_by_default() -> None:
    with DockerExecutor("python:3.11") as executor:
        assert executor.capacity == usable_cores()


def test_describes_a_task_without_an_engine(tmp_path: Path) -> None:
    url = f"unix://{tmp_path}/nobody.sock"
    with DockerExecutor(
        "python:3.11", base_url=url, spool=tmp_path, environment={"MY_TOKEN": "hunter2hunter2"}
    ) as executor:
        task = Task("t", add, (1, 2), name="add", resources=Resources(image="other:1", gpus=0))
        described = json.loads(executor.describe(task))
    assert described["Image"] == "other:1"
    assert [*described["Entrypoint"], *described["Cmd"][:2]] == ["python3", "-m", "metta.sweep.worker"]
    assert "MY_TOKEN=***" in described["Env"]
    assert list(tmp_path.iterdir()) == []
