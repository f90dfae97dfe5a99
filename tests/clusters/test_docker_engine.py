"""The engine alone, on real Docker and real Podman: what containers may do, and how their ends are told."""

from __future__ import annotations

import json
import os
import shutil
import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from metta.sweep.executors.container.binds import parse_mounts
from metta.sweep.executors.container.client import Client
from metta.sweep.executors.container.engine import ContainerEngine, Options
from metta.sweep.executors.container.spec import container_body, container_name
from metta.sweep.executors.remote.engine import EngineRefused, EngineUnavailable, Job, JobStatus, Phase
from metta.sweep.trial import FailureReason, Resources
from tests.clusters.fixtures_docker import ContainerHost
from tests.executors.container_jobs import container_job, made

pytestmark = pytest.mark.cluster

PATIENCE = 75.0
"""Seconds: 5 times what is promised for noticing a dead container."""

SLEEP = ("sleep", "600")
STUBBORN = ("sh", "-c", "trap '' TERM; while true; do sleep 1; done")

MakeEngine = Callable[..., ContainerEngine]


@pytest.fixture
def client(container_host: ContainerHost) -> Iterator[Client]:
    client = Client(container_host.url)
    yield client
    client.close()


@pytest.fixture
def make_engine(container_host: ContainerHost, client: Client) -> Iterator[MakeEngine]:
    """Engines that are closed in the end; so are their containers."""
    engines: list[ContainerEngine] = []

    def make(pull: Any = "never", **options: Any) -> ContainerEngine:
        chosen = Options(**{"image": container_host.image, **options})
        engines.append(ContainerEngine(chosen, base_url=container_host.url, pull=pull))
        return engines[-1]

    yield make
    for engine in engines:
        engine.close()
    for entry in client.containers("metta-sweep.label"):
        client.remove(entry["Id"])


@pytest.fixture
def engine(make_engine: MakeEngine) -> ContainerEngine:
    return make_engine()


def new_label() -> str:
    return f"t{uuid4().hex[:12]}"


def until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.05)


def submit(engine: ContainerEngine, job: Job) -> dict[str, str]:
    label = new_label()
    return dict.fromkeys(engine.submit([made(job)], label), label)


def ended(engine: ContainerEngine, jobs: dict[str, str]) -> JobStatus:
    found: list[JobStatus] = []

    def is_over() -> bool:
        found[:] = engine.status(jobs).values()
        return bool(found) and found[0].phase is Phase.ENDED

    until(is_over)
    return found[0]


def test_runs_and_is_forgotten(engine: ContainerEngine, tmp_path: Path) -> None:
    jobs = submit(engine, container_job(tmp_path, "sh", "-c", f"echo done > {tmp_path}/work/attempt/out"))
    (container,) = jobs
    status = ended(engine, jobs)
    assert (status.phase, status.reason) == (Phase.ENDED, None)
    assert status.worker == f"container {container[:12]}"
    assert (tmp_path / "work/attempt/out").read_text() == "done\n"
    engine.forget(jobs)
    assert engine.status(jobs) == {}
    engine.forget(jobs)


PROBE = """
import json, os, pathlib, sys
def tried(path):
    try:
        pathlib.Path(path, "x").touch()
        return "written"
    except OSError as error:
        return type(error).__name__
work = pathlib.Path(sys.argv[1])
status = pathlib.Path("/proc/self/status").read_text()
found = {
    "user": [os.getuid(), os.getgid()],
    "capabilities": [line.split()[1] for line in status.splitlines() if line.startswith(("CapE", "CapB", "CapP"))],
    "no_new_privileges": "NoNewPrivs:\\t1" in status,
    "interfaces": sorted(os.listdir("/sys/class/net")),
    "folder": os.getcwd(),
    "work": tried(work), "path": tried(work.parent / "path"), "attempt": tried(work / "attempt"),
    "state": pathlib.Path(work.parent / "state").read_text(), "state written": tried(work.parent / "state"),
    "variables": {name: os.environ.get(name) for name in ("PYTHONPATH", "GIVEN", "SECRET_OF_DRIVER")},
    "home": tried(os.environ["HOME"]),
    "init": pathlib.Path("/proc/1/cmdline").read_text().split("\\0")[0],
}
(work / "attempt" / "found.json").write_text(json.dumps(found))
"""


def test_has_only_what_it_needs(make_engine: MakeEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET_OF_DRIVER", "hunter2hunter2")
    (tmp_path / "path").mkdir()
    (tmp_path / "state").write_text("weights")
    (tmp_path / "state").chmod(0o600)
    engine = make_engine(environment={"GIVEN": "a b\n'\"$(id)"})
    job = container_job(
        tmp_path,
        *("python3", "-c", PROBE, str(tmp_path / "work")),
        paths=(tmp_path / "path",),
        reads=(tmp_path / "state",),
    )
    status = ended(engine, submit(engine, job))
    assert status.reason is None, status.message
    found = json.loads((tmp_path / "work/attempt/found.json").read_text())
    own = [os.getuid(), os.getgid()] if os.getuid() else [65534, 65534]
    assert found["user"] == own
    assert set(found["capabilities"]) == {"0000000000000000"}
    assert found["no_new_privileges"]
    assert found["interfaces"] == ["lo"]
    assert found["folder"] == str(tmp_path / "work")
    assert (found["work"], found["path"], found["attempt"]) == ("OSError", "OSError", "written")
    assert (found["state"], found["state written"]) == ("weights", "NotADirectoryError")
    variables = {"PYTHONPATH": str(tmp_path / "path"), "GIVEN": "a b\n'\"$(id)", "SECRET_OF_DRIVER": None}
    assert found["variables"] == variables
    assert found["home"] == "written"
    assert "init" in found["init"]


def test_closed_store_in_the_working_folder(engine: ContainerEngine, tmp_path: Path) -> None:
    """As `.metta-sweep` is: the job gets to its own folder, and sees nothing of the others."""
    store = tmp_path / "work" / ".store"
    job = made(
        container_job(tmp_path, "sh", "-c", f"ls {store} > {store}/7/attempt/seen", folder=store / "7" / "attempt")
    )
    (store / "8").mkdir()
    store.chmod(0o700)
    status = ended(engine, submit(engine, job))
    assert status.reason is None, status.message
    assert status.message.endswith("(exit code 0)")
    seen = (store / "7/attempt/seen").read_text().split()
    assert seen == (["7"] if os.getuid() == 0 else ["7", "8"])
    assert store.stat().st_mode & 0o777 == 0o700


def test_writes_to_the_folders_it_may(make_engine: MakeEngine, tmp_path: Path) -> None:
    for name in ("cache", "data"):
        (tmp_path / name).mkdir()
        (tmp_path / name).chmod(0o777)
    mounts = {str(tmp_path / "data"): "/data", str(tmp_path / "cache"): "/cache:rw"}
    engine = make_engine(mounts=parse_mounts(mounts))
    children = tmp_path / "trial" / "children"
    script = f"echo 1 > {children}/a; echo 2 > /cache/b; echo 3 > /data/c"
    ended(engine, submit(engine, container_job(tmp_path, "sh", "-c", script, writes=(children,))))
    assert (children / "a").read_text() == "1\n"
    assert (tmp_path / "cache/b").read_text() == "2\n"
    assert list((tmp_path / "data").iterdir()) == []


def test_out_of_memory(engine: ContainerEngine, container_host: ContainerHost, tmp_path: Path) -> None:
    job = container_job(tmp_path, "python3", "-c", "x = bytearray(2**30)", resources=Resources(memory="64MiB"))
    status = ended(engine, submit(engine, job))
    assert "64 MiB" in status.message
    # Podman does not always hear of it.
    assert status.reason is FailureReason.OOM or (container_host.name, status.reason) == (
        "podman",
        FailureReason.KILLED,
    )


def test_killed_by_hand(engine: ContainerEngine, client: Client, tmp_path: Path) -> None:
    jobs = submit(engine, container_job(tmp_path, *SLEEP))
    (container,) = jobs
    assert engine.status(jobs)[container].phase is Phase.RUNNING
    os.kill(int(client.inspect(container)["State"]["Pid"]), signal.SIGKILL)
    status = ended(engine, jobs)
    assert status.reason is FailureReason.KILLED
    assert "SIGKILL" in status.message


def test_removed_by_hand(engine: ContainerEngine, client: Client, tmp_path: Path) -> None:
    jobs = submit(engine, container_job(tmp_path, *SLEEP))
    client.remove(*jobs)
    until(lambda: engine.status(jobs) == {})
    engine.cancel(jobs)


def test_program_that_fails_is_quoted(container_host: ContainerHost, engine: ContainerEngine, tmp_path: Path) -> None:
    jobs = submit(engine, container_job(tmp_path, "python3", "-c", "raise SystemExit('no such module')"))
    status = ended(engine, jobs)
    assert (status.reason, status.phase) == (None, Phase.ENDED)
    quoted = "(exit code 1: no such module)"
    if container_host.name == "docker":
        assert status.message.endswith(quoted)
    else:  # Podman may keep what a short program has printed later than its end, or not at all
        assert status.message.endswith((quoted, "(exit code 1)"))


def test_cancel_asks_first(engine: ContainerEngine, tmp_path: Path) -> None:
    script = "trap 'echo asked > attempt/out; exit 0' TERM; echo > attempt/up; while true; do sleep 0.1; done"
    jobs = submit(engine, container_job(tmp_path, "sh", "-c", script, grace=60.0))
    until((tmp_path / "work/attempt/up").exists)
    engine.cancel(jobs)
    assert ended(engine, jobs).reason is None
    assert (tmp_path / "work/attempt/out").exists()


def test_cancel_makes_it_end(engine: ContainerEngine, tmp_path: Path) -> None:
    jobs = submit(engine, container_job(tmp_path, *STUBBORN, grace=1.0))
    engine.cancel(jobs)
    engine.cancel(jobs)
    assert ended(engine, jobs).reason is FailureReason.KILLED


def test_a_label_of_others_protects_a_container(engine: ContainerEngine, tmp_path: Path) -> None:
    (container,) = jobs = submit(engine, container_job(tmp_path, *SLEEP))
    other = {container: "of-somebody-else"}
    assert engine.status(other) == {}
    engine.cancel(other)
    engine.forget(other)
    assert engine.status(jobs)[container].phase is Phase.RUNNING


def test_found_by_label(engine: ContainerEngine, make_engine: MakeEngine, tmp_path: Path) -> None:
    jobs = submit(engine, container_job(tmp_path, *SLEEP))
    ((container, label),) = jobs.items()
    later = make_engine()
    assert later.find(label) == [container]
    assert later.find(label[:-1]) is None
    # A second submission under the same label is not possible.
    with pytest.raises(EngineUnavailable, match="in use"):
        later.submit([container_job(tmp_path, *SLEEP)], label)


def test_one_that_was_never_started_is_not_found(engine: ContainerEngine, client: Client, tmp_path: Path) -> None:
    """The driver died between the two calls."""
    job, label = made(container_job(tmp_path, *SLEEP)), new_label()
    client.create(container_body(job, label, engine._placement(job)), container_name(job, label))
    assert engine.find(label) is None
    assert client.containers(f"metta-sweep.label={label}") == []
    engine.submit([job], label)


def test_hostile_names(engine: ContainerEngine, client: Client, tmp_path: Path) -> None:
    hostile = "-v /:/x\n\"'$(touch /tmp/no)%j\\ \u2603\0;rm"
    job = container_job(
        tmp_path, "sh", "-c", 'test "$1" = "$2"', "sh", hostile[:-4], hostile[:-4], name=hostile, token=hostile
    )
    jobs = submit(engine, job)
    assert ended(engine, jobs).message.endswith("(exit code 0)")
    details = client.inspect(*jobs)
    assert details["Config"]["Labels"]["metta-sweep.token"] == hostile.replace("\0", "?")


def test_missing_image(engine: ContainerEngine, make_engine: MakeEngine, tmp_path: Path) -> None:
    job = made(container_job(tmp_path, *SLEEP, resources=Resources(image="localhost:1/nobody/has:this")))
    with pytest.raises(EngineRefused, match=r"no image 'localhost:1/nobody/has:this': run `docker pull"):
        engine.submit([job], new_label())
    assert "no image" in make_engine(image="localhost:1/nobody/has:this").problems()[0]
    assert engine.problems() == []


def test_image_that_cannot_be_pulled(make_engine: MakeEngine, tmp_path: Path) -> None:
    engine = make_engine(pull="missing", image="localhost:1/nobody/has:this")
    job = made(container_job(tmp_path, *SLEEP))
    with pytest.raises(EngineUnavailable, match="being pulled"):
        engine.submit([job], new_label())
    said: list[str] = []

    def refused() -> bool:
        try:
            engine.submit([job], new_label())
        except EngineRefused as error:
            said.append(str(error))
        except EngineUnavailable:
            pass
        return bool(said)

    until(refused)
    assert "Pulling it has failed" in said[0]


def test_too_much_is_refused(
    engine: ContainerEngine, container_host: ContainerHost, client: Client, tmp_path: Path
) -> None:
    job = made(container_job(tmp_path, *SLEEP, resources=Resources(gpus=2)))
    with pytest.raises(EngineRefused, match="GPUs"):
        engine.submit([job], new_label())
    if container_host.name == "docker":  # Podman takes it, and gives what there is
        with pytest.raises(EngineRefused, match="CPUs"):
            engine.submit([replace(job, resources=Resources(cpus=4096))], new_label())
    assert not client.containers("metta-sweep.label")


def test_failed_start_leaves_nothing(make_engine: MakeEngine, client: Client, tmp_path: Path) -> None:
    job = made(container_job(tmp_path, "no-such-program"))
    with pytest.raises(EngineRefused, match="could not be started"):
        make_engine(init=False).submit([job], new_label())
    assert not client.containers("metta-sweep.label")


def test_network_that_is_not_there(make_engine: MakeEngine, tmp_path: Path) -> None:
    with pytest.raises(EngineRefused, match="no-such-network"):
        make_engine(network="no-such-network").submit([made(container_job(tmp_path, *SLEEP))], new_label())


@pytest.mark.skipif(os.getuid() != 0, reason="only root has others run as somebody else")
def test_code_that_is_closed_to_the_user(engine: ContainerEngine, tmp_path: Path) -> None:
    job = made(container_job(tmp_path, *SLEEP))
    job.work_folder.chmod(0o700)
    with pytest.raises(EngineRefused, match=r"may not enter .*work: open it"):
        engine.submit([job], new_label())


@pytest.fixture
def as_ada(container_host: ContainerHost, client: Client) -> Iterator[Path]:
    """This process as an ordinary user, who may use the engine; a folder of that user."""
    ada = 12345
    client.version()  # this user may not be able to import modules
    socket = Path(container_host.url.removeprefix("unix://"))
    socket.chmod(0o666)
    folder = Path(tempfile.mkdtemp())
    os.chown(folder, ada, ada)
    os.setegid(ada)
    os.seteuid(ada)
    yield folder
    os.seteuid(0)
    os.setegid(0)
    socket.chmod(0o600)
    shutil.rmtree(folder)


@pytest.mark.skipif(os.getuid() != 0, reason="only root can be somebody else")
def test_containers_of_an_ordinary_user(as_ada: Path, engine: ContainerEngine) -> None:
    """They run as that user, and what is closed to others is open to them."""
    job = made(container_job(as_ada, "sh", "-c", "echo 1 > attempt/out"))
    for folder in (job.work_folder, job.folder):
        folder.chmod(0o700)
    status = ended(engine, submit(engine, job))
    assert status.message.endswith("(exit code 0)")
    assert ((job.folder / "out").stat().st_uid, (job.folder / "out").stat().st_gid) == (12345, 12345)


def test_describes_what_it_hands_in(make_engine: MakeEngine, container_host: ContainerHost, tmp_path: Path) -> None:
    engine = make_engine(environment={"API_TOKEN": "hunter2hunter2", "SIZE": "3"})
    text = engine.describe(container_job(tmp_path, *SLEEP), "label")
    assert "hunter2" not in text
    described = json.loads(text)
    assert described["Image"] == container_host.image
    assert "SIZE=3" in described["Env"]
    assert not (tmp_path / "work").exists()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # the SDK leaves a socket open
def test_nobody_answers(tmp_path: Path) -> None:
    engine = ContainerEngine(Options(image="x"), base_url=f"unix://{tmp_path}/docker.sock")
    with pytest.raises(EngineUnavailable, match=r"docker.sock does not answer"):
        engine.submit([made(container_job(tmp_path, *SLEEP))], "label")
    for ask in (lambda: engine.find("label"), lambda: engine.status({"a": "b"}), lambda: engine.forget({"a": "b"})):
        with pytest.raises(EngineUnavailable):
            ask()
    (problem,) = engine.problems()
    assert "Start Docker" in problem
    engine.close()
