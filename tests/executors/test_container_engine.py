"""The engine and its faults, with a server that answers as it is told."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from metta.sweep.errors import MissingExtraError
from metta.sweep.executors.container.engine import ContainerEngine, Options
from metta.sweep.executors.container.images import PullPolicy
from metta.sweep.executors.remote.containers import User
from metta.sweep.executors.remote.engine import EngineRefused, EngineUnavailable, Job, Phase
from metta.sweep.trial import FailureReason, Resources
from tests.executors.container_jobs import container_job, made
from tests.executors.container_server import CREATE, IMAGE, LIST, START, Reply, Server, serving

pytest.importorskip("docker")

LISTED = {"Id": "c1", "State": "running", "Status": "Up", "Labels": {"metta-sweep.label": "mine"}}


@contextmanager
def engine_on(
    replies: Mapping[str, Reply] | None = None, *, pull: PullPolicy = "never", options: Options | None = None
) -> Iterator[tuple[ContainerEngine, Server]]:
    with serving(replies or {}) as server:
        engine = ContainerEngine(options or Options(image="python:3.11"), base_url=server.url, pull=pull)
        try:
            yield engine, server
        finally:
            engine.close()


def said(message: str) -> dict[str, str]:
    return {"message": message}


def test_a_container_is_made_and_started(tmp_path: Path) -> None:
    with engine_on() as (engine, server):
        job = made(container_job(tmp_path, "python3", "-V"))
        assert engine.submit([job], "mine") == ("c1",)
        assert server.asked() == ["POST /containers/create?name=train-model-mine", "POST /containers/c1/start"]
        described = json.loads(engine.describe(job, "mine"))
        assert described.pop("name") == "train-model-mine"
        assert [body for request, body in server.requests if "create" in request] == [described]


@pytest.mark.parametrize(
    ("reply", "error", "words"),
    [
        ((400, said("only 2 CPUs")), EngineRefused, "only 2 CPUs"),
        ((500, said("no catatonit")), EngineRefused, "no catatonit"),
        ((409, said("name in use")), EngineUnavailable, "name in use"),
        ((500, said("the name is already in use")), EngineUnavailable, "already in use"),
        ((503, said("shutting down")), EngineUnavailable, "cannot do that now"),
        ((500, said("dial unix /run/containerd.sock: timeout")), EngineUnavailable, "cannot do that now"),
        ((500, b"\x00garbled"), EngineRefused, "garbled"),
        ((201, b"<html>"), EngineUnavailable, "does not answer"),
        ((0, b""), EngineUnavailable, "does not answer"),
        ((404, said("no such image: python:3.11")), EngineRefused, "no such image"),  # but the engine has it
        ((404, said("network x not found")), EngineRefused, "network x not found"),
    ],
)
def test_one_that_cannot_be_made(tmp_path: Path, reply: Reply, error: type[Exception], words: str) -> None:
    with engine_on({CREATE: reply}) as (engine, server):
        with pytest.raises(error, match=words):
            engine.submit([made(container_job(tmp_path, "x"))], "mine")
        assert not any("start" in request for request in server.asked())


def test_one_that_cannot_be_started_is_removed(tmp_path: Path) -> None:
    with engine_on({START: (500, said("chdir: permission denied"))}) as (engine, server):
        with pytest.raises(EngineRefused, match=r"could not be started: chdir.*the image may close a folder above"):
            engine.submit([made(container_job(tmp_path, "x"))], "mine")
        assert server.asked()[-1] == "DELETE /containers/c1?v=True&link=False&force=True"


def test_one_of_which_it_is_not_known_whether_it_started_is_left(tmp_path: Path) -> None:
    """`find` is asked next."""
    with engine_on({START: (0, b""), LIST: (200, [{**LISTED, "State": "created"}])}) as (engine, server):
        with pytest.raises(EngineUnavailable):
            engine.submit([made(container_job(tmp_path, "x"))], "mine")
        assert not any(request.startswith("DELETE") for request in server.asked())
        assert engine.find("mine") is None
        assert server.asked()[-1].startswith("DELETE /containers/c1")
        server.replies[LIST] = (200, [LISTED])
        assert engine.find("mine") == ["c1"]


def test_status_looks_closer_only_where_it_must() -> None:
    ends = {"c2": "Exited (0) now", "c3": "Exited (137) now", "c4": "Exited (1) now"}
    listing = [LISTED, *({**LISTED, "Id": name, "State": "exited", "Status": end} for name, end in ends.items())]
    inspected = {
        "Id": "c3",
        "State": {"ExitCode": 137, "OOMKilled": True},
        "Config": {"Tty": False},
        "HostConfig": {"Memory": 2**20},
    }
    replies: dict[str, Reply] = {
        LIST: (200, [*listing, {**LISTED, "Id": "c5", "Labels": None}]),
        "GET /containers/c3/json": (200, inspected),
        "GET /containers/c3/logs": (500, said("no logs")),
    }
    with engine_on(replies) as (engine, server):
        found = engine.status({**dict.fromkeys(("c1", "c2", "c3", "c4", "c5", "c6"), "mine")})
        assert {name: (status.phase, status.reason) for name, status in found.items()} == {
            "c1": (Phase.RUNNING, None),
            "c2": (Phase.ENDED, None),
            "c3": (Phase.ENDED, FailureReason.OOM),  # c4 has gone since it was listed
        }
        assert not any("/c1/" in request or "/c2/" in request for request in server.asked())
        server.requests.clear()
        assert engine.status({}) == {}
        engine.cancel({})
        engine.forget({})
        assert server.requests == []


def test_containers_of_others_are_let_alone() -> None:
    listing = [LISTED, {**LISTED, "Id": "c2", "Labels": {"metta-sweep.label": "theirs"}}, {"Id": "c3", "Labels": None}]
    with engine_on({LIST: (200, listing), "POST /containers/.*/stop": (204, b"")}) as (engine, server):
        jobs = dict.fromkeys(("c1", "c2", "c3", "c4"), "mine")
        engine.forget(jobs)
        engine.cancel(jobs)
        engine.close()
        asked = {request.partition("?")[0] for request in server.asked()}
        assert asked == {"GET /containers/json", "DELETE /containers/c1", "POST /containers/c1/stop"}


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_what_a_job_writes_and_goes_on_from_is_given_to_its_user(tmp_path: Path) -> None:
    state, code = tmp_path / "state", tmp_path / "code"
    state.write_text("")
    code.mkdir(mode=0o755)
    job = container_job(tmp_path, "x", reads=(state,), writes=(tmp_path / "new" / "children",), paths=(code,))
    with engine_on() as (engine, _):
        job.folder.mkdir(parents=True)
        engine.submit([job], "mine")
    owners = {path: path.stat().st_uid for path in (*job.reads, *job.writes, job.folder, code, job.work_folder)}
    assert list(owners.values()) == [65534, 65534, 65534, 0, 0]


@pytest.mark.parametrize("reply", [(500, said("database locked")), (200, b"{"), (0, b"")])
def test_questions_without_an_answer(reply: Reply) -> None:
    with engine_on({LIST: reply}) as (engine, _):
        asks: tuple[Callable[[], object], ...] = (
            lambda: engine.find("mine"),
            lambda: engine.status({"c1": "mine"}),
            lambda: engine.cancel({"c1": "mine"}),
            lambda: engine.forget({"c1": "mine"}),
        )
        for ask in asks:
            with pytest.raises(EngineUnavailable):
                ask()


def test_used_again_after_it_was_away() -> None:
    with engine_on({LIST: (0, b"")}) as (engine, server):
        with pytest.raises(EngineUnavailable):
            engine.find("mine")
        server.replies[LIST] = (200, [LISTED])
        assert engine.find("mine") == ["c1"]


def test_images_are_pulled_once_and_beside(tmp_path: Path) -> None:
    missing: Reply = (404, said("No such image: python:3.11"))
    progress = b'{"status": "Pulling"}\r\n{"error": "manifest unknown"}\r\n'
    replies: dict[str, Reply] = {"POST /images/create": (200, progress), IMAGE: missing, CREATE: missing}
    with engine_on(replies, pull="missing") as (engine, server):
        job = made(container_job(tmp_path, "x"))
        with pytest.raises(EngineUnavailable, match=r"python:3\.11 is being pulled"):
            engine.submit([job], "mine")
        with pytest.raises(EngineRefused, match=r"docker pull python:3\.11.*manifest unknown"):
            _until_pulled(engine, job)
        with pytest.raises(EngineRefused, match="manifest unknown"):  # not tried again so soon
            engine.submit([job], "mine")
        assert sum("images/create" in request for request in server.asked()) == 1
        server.replies[CREATE] = (201, {"Id": "c1"})
        assert engine.submit([job], "mine") == ("c1",)


def _until_pulled(engine: ContainerEngine, job: Job) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            engine.submit([job], "mine")
        except EngineUnavailable:
            time.sleep(0.01)


@pytest.mark.parametrize(
    ("podman", "ignores"), [("4.9.3", True), ("5.3.9", True), ("5.4.0", False), ("5.10-rc1", False)]
)
def test_podman_that_ignores_gpus_is_told_apart(tmp_path: Path, podman: str, ignores: bool) -> None:
    job = made(container_job(tmp_path, "x", resources=Resources(gpus=1)))
    busy = {**LISTED, "Labels": {"metta-sweep.gpus": "0"}}
    gone = {**LISTED, "State": "exited", "Status": "Exited (0) now", "Labels": {"metta-sweep.gpus": "1"}}
    replies: dict[str, Reply] = {
        "GET /version": (200, {"ApiVersion": "1.41", "Components": [{"Name": "Podman Engine", "Version": podman}]}),
        LIST: (200, [busy, gone]),
    }
    with engine_on(replies, options=Options(image="i", gpus=("0", "1"))) as (engine, server):
        if ignores:
            with pytest.raises(EngineRefused, match=r"needs Podman 5\.4"):
                engine.submit([job], "mine")
            return
        engine.submit([job], "mine")
        (body,) = [body for request, body in server.requests if "create" in request]
        assert body["HostConfig"]["DeviceRequests"] == [{"Driver": "cdi", "DeviceIDs": ["nvidia.com/gpu=1"]}]


def test_rootless_engines_run_as_their_root(tmp_path: Path) -> None:
    with engine_on({"GET /info": (200, {"SecurityOptions": ["name=rootless"]})}) as (engine, server):
        engine.submit([made(container_job(tmp_path, "x"))], "mine")
        (made_of,) = [body for request, body in server.requests if "create" in request]
        assert made_of["User"] == "0:0"
        assert (tmp_path / "work/attempt").stat().st_uid == User.here().uid


def test_what_a_job_needs_and_is_not_there(tmp_path: Path) -> None:
    with engine_on(options=Options()) as (engine, server):
        with pytest.raises(EngineRefused, match=r"train model has no image: say DockerExecutor\(image="):
            engine.submit([made(container_job(tmp_path, "x"))], "mine")
        job = made(container_job(tmp_path, "x", reads=(tmp_path / "state",), resources=Resources(image="i")))
        with pytest.raises(EngineRefused, match="state, from which train model was to go on, is not there"):
            engine.submit([job], "mine")
        assert server.asked() == []


def test_problems(monkeypatch: pytest.MonkeyPatch) -> None:
    with engine_on() as (engine, server):
        assert engine.problems() == []
        server.replies[IMAGE] = (404, said("no such image"))
        (problem,) = engine.problems()
        assert "no image 'python:3.11': run `docker pull python:3.11`" in problem
        monkeypatch.setitem(sys.modules, "docker", None)
        (problem,) = engine.problems()
        assert "pip install 'metta-sweep[docker]'" in problem
        with pytest.raises(MissingExtraError):
            engine.find("mine")
