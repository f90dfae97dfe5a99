"""A job as what the engine's API is given."""

from __future__ import annotations

import json
import math
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metta.sweep.errors import UsageError
from metta.sweep.executors.container.access import NOBODY
from metta.sweep.executors.container.binds import Bind, closed_folders, job_binds, parse_mounts
from metta.sweep.executors.container.spec import Placement, choose_gpus, container_body, container_name
from metta.sweep.executors.remote.engine import EngineRefused, Job
from metta.sweep.trial import Resources
from tests.executors.container_jobs import container_job
from tests.golden import check_golden

GOLDEN = Path(__file__).parent / "golden"
ROOT = Path("/home/ada")


def body_of(job: Job, *, mounts: tuple[Bind, ...] = (), **placement: Any) -> dict[str, Any]:
    binds = job_binds(job, mounts)
    return container_body(job, "run-7f3a", replace(Placement("python:3.11", NOBODY, binds), **placement))


def checked(name: str, body: dict[str, Any]) -> None:
    check_golden(GOLDEN / f"container_{name}.json", json.dumps(body, indent=2, ensure_ascii=False) + "\n")


def test_plain_job() -> None:
    checked(
        "plain", body_of(container_job(ROOT, "python3", "-m", "metta.sweep.worker", "/home/ada/work/attempt", "0af3"))
    )


def test_job_with_everything() -> None:
    job = container_job(
        ROOT,
        "python3",
        paths=(ROOT / "library", ROOT / "work"),
        reads=(ROOT / "work/.store/3/state",),
        writes=(ROOT / "work/.store/3/children",),
        folder=ROOT / "work/.store/3/attempt",
        resources=Resources(cpus=1.5, gpus=1.5, memory="8GiB"),
        grace=7.2,
    )
    closed = closed_folders(job_binds(job, ()), [ROOT / "work/.store", ROOT / "work/.store/3", ROOT])
    body = body_of(
        job,
        mounts=(Bind("/srv/data", "/data"), Bind("/srv/cache", "/cache", writable=True)),
        closed=closed,
        gpus=("GPU-1f", "3"),
        network="bridge",
        environment={"PYTHONPATH": "/opt/more", "GREETING": 'a "b"\n$(c)'},
        init=False,
    )
    checked("everything", body)


def test_podman_names_devices_by_its_own_interface() -> None:
    host = body_of(container_job(ROOT, "x"), gpus=("0", "GPU-1f"), cdi=True)["HostConfig"]
    assert host["DeviceRequests"] == [{"Driver": "cdi", "DeviceIDs": ["nvidia.com/gpu=0", "nvidia.com/gpu=GPU-1f"]}]


def test_limits_that_nobody_asked_for_are_left_out() -> None:
    host = body_of(container_job(ROOT, "x", resources=Resources(cpus=0)))["HostConfig"]
    assert not {"NanoCpus", "Memory", "MemorySwap", "DeviceRequests"} & set(host)


HOSTILE = st.text(min_size=1)


@settings(derandomize=True, max_examples=60, deadline=None)
@given(name=HOSTILE, token=HOSTILE, argument=HOSTILE)
def test_hostile_names_stay_data(name: str, token: str, argument: str) -> None:
    job = container_job(ROOT, "python3", argument, name=name, token=token)
    assert re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9-]{0,91}", container_name(job, "l" * 50))
    body = body_of(job)
    assert body["Cmd"] == [argument]
    assert body["Labels"]["metta-sweep.token"] == token.replace("\0", "?")
    clean = body_of(replace(job, name="n", token="t", command=("python3", "a")))
    assert {key: value for key, value in body.items() if key not in ("Cmd", "Labels")} == {
        key: value for key, value in clean.items() if key not in ("Cmd", "Labels")
    }


def test_a_path_that_pythonpath_cannot_hold() -> None:
    with pytest.raises(EngineRefused, match=r"/home/ada/a:b is on sys.path.*rename it"):
        body_of(container_job(ROOT, "x", paths=(ROOT / "a:b",)))


def test_binds_are_the_outermost_first() -> None:
    job = container_job(ROOT, "x", reads=(ROOT / "work/a/b/c",))
    assert [bind.target for bind in job_binds(job, (Bind("/x", "/d"),))] == [
        "/d",
        "/home/ada/work",
        "/home/ada/work/attempt",
        "/home/ada/work/a/b/c",
    ]


def test_mounts_of_the_user_may_cover_code_but_not_results() -> None:
    job = container_job(ROOT, "x")
    assert Bind("/x", "/home/ada/work") in job_binds(job, (Bind("/x", "/home/ada/work"),))
    with pytest.raises(EngineRefused, match=r"mounts= covers /home/ada/work/attempt"):
        job_binds(job, (Bind("/x", "/home/ada/work/attempt"),))


def test_the_root_is_no_working_folder() -> None:
    with pytest.raises(EngineRefused, match="start from the folder of your code"):
        job_binds(container_job(ROOT, "x", work_folder=Path("/")), ())


@pytest.mark.parametrize(
    ("closed", "expected"),
    [
        (["/home/ada"], []),  # above everything: the container has its own
        (["/home/ada/work"], []),  # seen as it is: refused before
        (["/home/ada/work/s"], ["/home/ada/work/s"]),
        (["/home/ada/work/s/7", "/home/ada/work/s"], ["/home/ada/work/s"]),
        (["/home/ada/work/s/7/attempt"], []),  # given to the user
        (["/home/ada/work/other"], []),
    ],
)
def test_which_closed_folders_are_covered(closed: list[str], expected: list[str]) -> None:
    job = container_job(ROOT, "x", folder=ROOT / "work/s/7/attempt")
    assert list(closed_folders(job_binds(job, ()), map(Path, closed))) == expected


def test_mounts(tmp_path: Path) -> None:
    given = {str(tmp_path): "/data", f"{tmp_path}/": "/cache/:rw"}
    assert parse_mounts(given) == (Bind(str(tmp_path), "/data"), Bind(str(tmp_path), "/cache", writable=True))


@pytest.mark.parametrize(
    ("source", "target", "words"),
    [
        ("data", "/data", "on this machine is 'data'; expected an absolute one"),
        ("{tmp}", "data", "in the container is 'data'; expected an absolute one"),
        ("{tmp}/none", "/data", "none on this machine: make it first"),
        ("{tmp}", "/", "root cannot be covered"),
        ("{tmp}", "/../:rw", "root cannot be covered"),
        ("{tmp}", 5, "expected the path in the container as text"),
        ("{tmp}", "/first/.", "is to be seen at /first already"),
    ],
)
def test_mounts_that_cannot_be(tmp_path: Path, source: str, target: Any, words: str) -> None:
    (tmp_path / "first").mkdir()
    mounts = {str(tmp_path / "first"): "/first", source.format(tmp=tmp_path): target}
    with pytest.raises(UsageError, match=re.escape(words)):
        parse_mounts(mounts)


@pytest.mark.parametrize(
    ("wanted", "in_use", "expected"),
    [
        (1, [], ("0",)),
        (1, ["0"], ("1",)),
        (0.5, ["0", "1", "2"], ("0",)),
        (1.5, ["1"], ("0", "2")),
        (3, ["0", "0", "1"], ("0", "1", "2")),
        (1, ["0", "0", "1", "2", "2"], ("1",)),
    ],
)
def test_gpus_go_to_those_that_have_least(wanted: float, in_use: list[str], expected: tuple[str, ...]) -> None:
    chosen = choose_gpus(wanted, ("0", "1", "2"), in_use)
    assert chosen == expected
    assert len(chosen) == math.ceil(wanted)


def test_more_gpus_than_there_are() -> None:
    with pytest.raises(EngineRefused, match=r"wants 2 GPUs, but this machine has 1 \(GPU-a\)"):
        choose_gpus(2, ("GPU-a",), ())
    with pytest.raises(EngineRefused, match="none that can be seen"):
        choose_gpus(0.5, (), ())
