from __future__ import annotations

import json
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metta.sweep.errors import UsageError
from metta.sweep.executors.cogweb.client import CogwebClient, TaskState
from metta.sweep.executors.cogweb.engine import FETCHES, CogwebEngine, command_line, status_of
from metta.sweep.executors.remote.engine import EngineRefused, EngineUnavailable, Job, JobStatus, Phase
from metta.sweep.trial import FailureReason, Resources
from tests.executors.cogweb_server import TOKEN, CogwebServer, Fault
from tests.golden import check_golden

GOLDEN = Path(__file__).parent / "golden"

JOB = Job(
    token="run/trial-3/attempt-1",
    name="train",
    folder=Path("/shared/runs/attempt 1"),
    command=("/usr/bin/python3", "-m", "metta.sweep.worker", "/shared/runs/attempt 1", "0f" * 32),
    work_folder=Path("/home/me/project"),
    paths=(Path("/home/me/project"), Path("/home/me/lib")),
    reads=(),
    writes=(),
    resources=Resources(cpus=2, gpus=1, memory="2 GiB", partition="big"),
    time_limit=3600.0,
    grace=10.0,
)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[CogwebServer]:
    with CogwebServer(tmp_path, workers=1) as server:
        yield server


@pytest.fixture
def waiting(tmp_path: Path) -> Iterator[CogwebServer]:
    """A server that lets its tasks wait."""
    with CogwebServer(tmp_path, workers=0) as server:
        yield server


def engine_for(server: CogwebServer, **options: Any) -> CogwebEngine:
    client = CogwebClient(server.address, TOKEN, attempts=2, backoff=0.001)
    return CogwebEngine(client, "mine", project="p", entity="e", **({"git_hash": "abc"} | options))


def job(folder: Path, code: str = "") -> Job:
    script = folder / "job.py"
    script.write_text(code)
    return replace(JOB, folder=folder, command=(sys.executable, "-I", str(script)), paths=())


def ended(engine: CogwebEngine, job_id: str) -> JobStatus:
    deadline = time.monotonic() + 20
    while (status := engine.status({job_id: "l"})[job_id]).phase is not Phase.ENDED:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return status


def test_the_request_of_a_job(waiting: CogwebServer) -> None:
    engine = engine_for(waiting, data_file="s3://b/f", attributes={"team": "a"})
    check_golden(GOLDEN / "cogweb_task.json", engine.describe(JOB, "ms-label") + "\n")
    assert engine.submit([JOB], "ms-label") == ["t-1"]
    [sent] = waiting.seen("POST /tasks")
    described = json.loads(engine.describe(JOB, "ms-label"))
    described["attributes"]["run_id"] = "mine.r.1"
    assert sent == described
    assert json.loads(json.dumps(sent)) == sent
    engine.close()


def test_the_sweep_is_registered_once_and_every_attempt_gets_a_run_id(waiting: CogwebServer) -> None:
    engine = engine_for(waiting)
    for number in range(3):
        engine.submit([JOB], f"label-{number}")
    assert waiting.seen("POST /sweeps/mine/create_sweep") == [{"project": "p", "entity": "e", "wandb_sweep_id": "mine"}]
    assert len(waiting.seen("GET /sweeps/mine")) == 1
    attributes = [body["attributes"] for body in waiting.seen("POST /tasks")]
    assert [given["run_id"] for given in attributes] == ["mine.r.1", "mine.r.2", "mine.r.3"]
    assert [given["label"] for given in attributes] == ["label-0", "label-1", "label-2"]
    engine.close()
    other = engine_for(waiting)
    other.submit([JOB], "label-3")
    assert len(waiting.seen("POST /sweeps/mine/create_sweep")) == 1
    assert waiting.seen("POST /tasks")[-1]["attributes"]["run_id"] == "mine.r.4"
    other.close()


def test_a_sweep_of_another_wandb_sweep_is_refused(waiting: CogwebServer) -> None:
    first = engine_for(waiting, wandb_sweep_id="w1")
    first.submit([JOB], "a")
    second = engine_for(waiting, wandb_sweep_id="w2")
    with pytest.raises(EngineRefused, match="belongs to the W&B sweep 'w1', not to 'w2'"):
        second.submit([JOB], "b")
    assert second.problems()
    assert not first.problems()
    for engine in (first, second):
        engine.close()


def test_a_job_waits_runs_and_ends(server: CogwebServer, tmp_path: Path) -> None:
    engine = engine_for(server)
    go = tmp_path / "go"
    code = f"import pathlib, time\nwhile not pathlib.Path({str(go)!r}).exists(): time.sleep(0.01)"
    first, second = (engine.submit([job(tmp_path, code)], label)[0] for label in ("a", "b"))
    jobs = {first: "a", second: "b", "t-99": "c"}
    deadline = time.monotonic() + 20
    while engine.status(jobs)[first].phase is Phase.QUEUED:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    found = engine.status(jobs)
    assert found == {
        first: JobStatus(Phase.RUNNING, worker="Cogweb task t-1"),
        second: JobStatus(Phase.QUEUED),
    }
    go.touch()
    assert ended(engine, second) == JobStatus(Phase.ENDED, None, "Cogweb task t-2: done", "Cogweb task t-2")
    engine.close()


def test_a_failed_task_says_what_it_printed_last(server: CogwebServer, tmp_path: Path) -> None:
    engine = engine_for(server)
    code = f"print('first\\n' * 9)\nprint('{TOKEN}')\nraise SystemExit('no such\\x1b[2J module')"
    [job_id] = engine.submit([job(tmp_path, code)], "a")
    status = ended(engine, job_id)
    assert status.reason is None
    assert status.message.startswith("Cogweb task t-1: error; its output ends with: ")
    assert status.message.endswith("| *** | no such [2J module")
    engine.close()


def test_a_log_that_cannot_be_read_does_not_hide_the_end(server: CogwebServer, tmp_path: Path) -> None:
    engine = engine_for(server)
    [job_id] = engine.submit([job(tmp_path, "raise SystemExit(1)")], "a")
    server.fail(Fault(f"GET /tasks/{job_id}/logs", times=9))
    assert "cannot read the log of task t-1" in ended(engine, job_id).message
    engine.close()


@pytest.mark.parametrize(
    ("state", "reason"),
    [("canceled", FailureReason.CANCELLED), ("system_error", FailureReason.NODE_LOST), ("error", None)],
)
def test_what_the_service_ends(server: CogwebServer, tmp_path: Path, state: str, reason: FailureReason | None) -> None:
    engine = engine_for(server)
    [job_id] = engine.submit([job(tmp_path, "import time; time.sleep(60)")], "a")
    server.end(job_id, state)
    assert ended(engine, job_id).reason is reason
    engine.close()


@pytest.mark.parametrize("state", TaskState)
def test_every_state_has_a_meaning(state: TaskState) -> None:
    status = status_of("t-1", state, "a\nb\n")
    assert (status.phase is Phase.ENDED) == (state not in (TaskState.UNPROCESSED, TaskState.RUNNING))
    assert ("a | b" in status.message) == (state in (TaskState.ERROR, TaskState.SYSTEM_ERROR))


def test_cancel_leaves_the_end_to_the_fence(waiting: CogwebServer) -> None:
    engine = engine_for(waiting)
    [job_id] = engine.submit([JOB], "a")
    sent = len(waiting.requests)
    engine.cancel({job_id: "a", "t-unknown": "b"})
    assert len(waiting.requests) == sent
    status = engine.status({job_id: "a"})[job_id]
    assert (status.phase, status.reason) == (Phase.ENDED, FailureReason.CANCELLED)
    waiting.tasks[job_id].status = "running"
    assert engine.status({job_id: "a"})[job_id].phase is Phase.RUNNING
    engine.forget({job_id: "a"})
    waiting.tasks[job_id].status = "unprocessed"
    assert engine.status({job_id: "a"})[job_id].phase is Phase.QUEUED
    engine.close()


def test_no_route_finds_a_submission(waiting: CogwebServer) -> None:
    engine = engine_for(waiting)
    engine.submit([JOB], "a")
    assert engine.find("a") is None
    engine.close()


def test_a_token_that_is_withdrawn_does_not_end_what_runs(waiting: CogwebServer) -> None:
    engine = engine_for(waiting)
    [job_id] = engine.submit([JOB], "a")
    waiting.fail(Fault("GET /tasks", 401))
    with pytest.raises(EngineUnavailable, match="does not accept the token"):
        engine.status({job_id: "a"})
    assert engine.status({job_id: "a"})
    engine.close()


def test_problems_name_what_keeps_jobs_from_running(
    waiting: CogwebServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    engine = engine_for(waiting, git_hash=None)
    assert [problem.split(": ")[-1] for problem in engine.problems()] == ["pass git_hash="]
    with pytest.raises(EngineRefused, match=r"is in no git repository.*pass git_hash="):
        engine.submit([replace(JOB, work_folder=tmp_path)], "a")
    assert not waiting.tasks
    engine.close()
    wrong = CogwebEngine(CogwebClient(waiting.address, "wrong"), "mine", project="p", entity="e", git_hash="a")
    [problem] = wrong.problems()
    assert "does not accept the token" in problem
    wrong.close()


def test_the_commit_is_the_one_that_is_checked_out_at_first(waiting: CogwebServer, tmp_path: Path) -> None:
    def git(*arguments: str) -> str:
        identity = ("-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false")
        command = ["git", "-C", str(tmp_path), *identity, *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    git("init", "-q")
    git("commit", "-q", "--allow-empty", "-m", "one")
    commit = git("rev-parse", "HEAD")
    engine = engine_for(waiting, git_hash=None)
    engine.submit([replace(JOB, work_folder=tmp_path)], "a")
    git("commit", "-q", "--allow-empty", "-m", "two")
    engine.submit([replace(JOB, work_folder=tmp_path)], "b")
    assert [body["git_hash"] for body in waiting.seen("POST /tasks")] == [commit, commit]
    engine.close()


@pytest.mark.parametrize(
    ("attributes", "message"),
    [({"run_id": 1}, "this name is taken"), ({"a": object()}, "JSON values"), ({"a": float("nan")}, "JSON values")],
)
def test_attributes_are_json(waiting: CogwebServer, attributes: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        engine_for(waiting, attributes=attributes)


# The shell line

HOSTILE = ["a\nb", "$(touch x)", "`id`", "a;b", "a'b", 'a"b', "a\0b", "a|b", "*", "~", "a\\b", "%j\t", "é", "a&b", ""]


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_paths_are_refused(text: str) -> None:
    with pytest.raises(EngineRefused, match="has characters that are not allowed"):
        command_line(replace(JOB, command=("python", text)))


@settings(derandomize=True, max_examples=200, deadline=None)
@given(words=st.lists(st.text(min_size=1, max_size=12), min_size=1, max_size=4), paths=st.booleans())
def test_a_shell_sees_the_words_or_nothing(words: list[str], paths: bool) -> None:
    given_job = replace(JOB, command=tuple(words), paths=JOB.paths if paths else ())
    try:
        line = command_line(given_job)
    except EngineRefused:
        return
    expected = ["env", "PYTHONPATH=/home/me/project:/home/me/lib", *words] if paths else words
    assert shlex.split(line) == expected
    assert not set(line) & set('\n\0$`;|&<>*?~\\"')


def test_bash_reads_the_line_as_the_words() -> None:
    words = ("printf", "%s,", "-m", "a b", "=", "--x=1", "@%+=:,./-")
    line = command_line(replace(JOB, command=words, paths=()))
    assert subprocess.run(["bash", "-c", line], capture_output=True, text=True, check=True).stdout == ",".join(
        [*words[2:], ""]
    )


# The fetcher


def test_a_fetcher_brings_the_folder_before_the_end_is_told(server: CogwebServer, tmp_path: Path) -> None:
    there, here = tmp_path / "there", tmp_path / "here"
    there.mkdir()
    here.mkdir()
    calls: list[tuple[str, Path]] = []

    def fetch(task_id: str, folder: Path) -> None:
        calls.append((task_id, folder))
        for file in there.glob("*.txt"):
            (folder / file.name).write_bytes(file.read_bytes())

    engine = engine_for(server, fetcher=fetch)
    code = f"import pathlib; pathlib.Path({str(there / 'done.txt')!r}).write_text('42')"
    [job_id] = engine.submit([replace(job(tmp_path, code), folder=here)], "a")
    assert job_id == f"t-1:{here}"
    restarted = engine_for(server, fetcher=fetch)  # knows the job by its id alone
    assert ended(restarted, job_id).message == "Cogweb task t-1: done"
    assert (here / "done.txt").read_text() == "42"
    assert set(calls) == {("t-1", here)}
    before = len(calls)
    assert ended(restarted, job_id).phase is Phase.ENDED
    assert len(calls) == before, "fetched again"
    for made in (engine, restarted):
        made.close()


def test_a_fetcher_that_fails_is_called_again(server: CogwebServer, tmp_path: Path) -> None:
    calls = 0

    def fetch(task_id: str, folder: Path) -> None:
        nonlocal calls
        calls += 1
        raise OSError("no route to host")

    engine = engine_for(server, fetcher=fetch)
    [job_id] = engine.submit([job(tmp_path, "import time; time.sleep(60)")], "a")
    deadline = time.monotonic() + 20
    while calls < 2 * FETCHES:  # as long as it runs, that is no more than a nuisance
        status = engine.status({job_id: "a"})[job_id]
        assert status.phase is not Phase.ENDED
        assert time.monotonic() < deadline
    assert "the fetcher failed for Cogweb task t-1: OSError: no route to host" in status.message
    server.end("t-1", "done")
    calls = 0
    status = ended(engine, job_id)
    assert (status.reason, calls) == (FailureReason.STORAGE, FETCHES)
    engine.close()
