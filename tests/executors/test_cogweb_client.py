from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from metta.sweep.errors import UsageError
from metta.sweep.executors.cogweb.client import CogwebClient, SweepCreated, SweepInfo, TaskState
from metta.sweep.executors.cogweb.credentials import find_server, find_token
from metta.sweep.executors.remote.engine import EngineRefused, EngineUnavailable
from tests.executors.cogweb_server import TOKEN, CogwebServer, Fault


@pytest.fixture
def server(tmp_path: Path) -> Iterator[CogwebServer]:
    with CogwebServer(tmp_path, workers=1) as server:
        yield server


@pytest.fixture
def client(server: CogwebServer) -> Iterator[CogwebClient]:
    client = CogwebClient(server.address, TOKEN, backoff=0.001)
    yield client
    client.close()


def submit(client: CogwebClient, command: str = "true") -> str:
    return client.submit(command, git_hash="abc", attributes={"a": 1})


def ended(client: CogwebClient, task_id: str) -> TaskState | None:
    deadline = time.monotonic() + 20
    while (state := client.task_state(task_id)) in (TaskState.UNPROCESSED, TaskState.RUNNING):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return state


def test_a_sweep_is_made_once(client: CogwebClient) -> None:
    assert client.sweep("mine") == SweepInfo(False, "")
    assert client.create_sweep("mine", "p", "e", "w") == SweepCreated(True, "s-0")
    assert client.create_sweep("mine", "p", "e", "other") == SweepCreated(False, "s-0")
    assert client.sweep("mine") == SweepInfo(True, "w")


def test_run_ids_are_counted_per_sweep(client: CogwebClient) -> None:
    client.create_sweep("mine", "p", "e", "w")
    assert [client.next_run_id("mine"), client.next_run_id("mine")] == ["mine.r.1", "mine.r.2"]


def test_a_task_runs_and_its_log_can_be_read(client: CogwebClient, server: CogwebServer) -> None:
    task_id = submit(client, "echo hello; exit 3")
    assert server.seen("POST /tasks") == [
        {"command": "echo hello; exit 3", "git_hash": "abc", "data_file": None, "attributes": {"a": 1}}
    ]
    assert ended(client, task_id) is TaskState.ERROR
    assert client.log_tail(task_id) == "hello\n"
    assert ended(client, submit(client)) is TaskState.DONE


def test_every_request_has_the_token_and_no_more_routes_are_used(client: CogwebClient, server: CogwebServer) -> None:
    client.create_sweep("mine", "p", "e", "w")
    client.sweep("mine")
    client.next_run_id("mine")
    task_id = submit(client)
    client.task_state(task_id)
    client.log_tail(task_id)
    assert [(line, token) for line, token, _ in server.requests] == [
        (line, TOKEN)
        for line in (
            "POST /sweeps/mine/create_sweep",
            "GET /sweeps/mine",
            "POST /sweeps/mine/runs/next",
            "POST /tasks",
            "GET /tasks/t-1",
            "GET /tasks/t-1/logs/output",
        )
    ]


def test_what_is_unknown_is_none(client: CogwebClient) -> None:
    assert client.task_state("t-77") is None
    assert client.log_tail("t-77") == ""


@pytest.mark.parametrize("fault", [Fault("GET", 500), Fault("GET", 429), Fault("GET", 503), Fault("GET")], ids=str)
def test_what_may_pass_is_tried_again(client: CogwebClient, server: CogwebServer, fault: Fault) -> None:
    task_id = submit(client)
    server.fail(fault, fault)
    assert client.task_state(task_id) is not None
    assert len(server.seen("GET /tasks")) == 3


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (Fault("GET", 500, b'{"detail": "out\x1b[2J of\nmemory"}', times=3), r"500 \(.*out \[2J of memory"),
        (Fault("GET", times=3), "RemoteProtocolError|ReadError"),
        (Fault("GET", 200, b"<html>log in</html>"), "expected a JSON object, found '<html>"),
        (Fault("GET", 200, b"[1]"), "expected a JSON object"),
        (Fault("GET", 200, b"[" * 500_000), "expected a JSON object"),
        (Fault("GET", 200, b'{"status": "paused"}'), "'paused', expected one of unprocessed, running"),
        (Fault("GET", 200, b'{"status": 7}'), "expected 'status' as str in its answer, found 7"),
        (Fault("GET", 200, b"{}"), "found nothing"),
        (Fault("GET", 200, b'{"status": "' + b"x" * 3_000_000), "expected a JSON object"),
        (Fault("GET", 200, b"\xff\xfe", {"Content-Encoding": "gzip"}, times=3), "DecodingError"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_server_that_cannot_answer_is_unavailable(
    client: CogwebClient, server: CogwebServer, fault: Fault, message: str
) -> None:
    server.fail(fault)
    with pytest.raises(EngineUnavailable, match=message):
        client.task_state("t-1")


def test_nobody_answers(tmp_path: Path) -> None:
    with CogwebServer(tmp_path) as server:
        pass
    client = CogwebClient(server.address, TOKEN, backoff=0.001)
    with pytest.raises(EngineUnavailable, match="ConnectError"):
        submit(client)
    client.close()


def test_a_server_that_hangs_times_out(server: CogwebServer) -> None:
    server.fail(Fault("GET", held=True, times=9))
    client = CogwebClient(server.address, TOKEN, timeout=0.05, backoff=0.001)
    with pytest.raises(EngineUnavailable, match="ReadTimeout"):
        client.task_state("t-1")
    client.close()
    assert len(server.seen("GET")) == 3


def test_a_server_that_asks_for_much_time_gets_it(client: CogwebClient, server: CogwebServer) -> None:
    server.fail(Fault("GET", 429, headers={"Retry-After": "3600"}))
    with pytest.raises(EngineUnavailable, match="429"):
        client.task_state("t-1")
    assert len(server.seen("GET")) == 1


@pytest.mark.parametrize("wait", ["0", "Thu, 01 Jan 1970 00:00:00 GMT", "soon", "²"])
def test_retry_after_is_a_number_or_a_date(client: CogwebClient, server: CogwebServer, wait: str) -> None:
    server.fail(Fault("GET", 429, headers={"Retry-After": wait.encode().decode("latin-1")}))
    assert client.task_state("t-1") is None


@pytest.mark.parametrize("fault", [Fault("POST", late=True), Fault("POST", 502), Fault("POST", 200, b"x")], ids=str)
def test_a_task_that_may_have_been_taken_is_not_handed_in_again(
    client: CogwebClient, server: CogwebServer, fault: Fault
) -> None:
    server.fail(fault)
    with pytest.raises(EngineUnavailable):
        submit(client)
    assert len(server.seen("POST")) == 1


def test_a_task_that_was_turned_away_is_handed_in_again(client: CogwebClient, server: CogwebServer) -> None:
    server.fail(Fault("POST", 429, headers={"Retry-After": "0"}, times=2))
    assert submit(client) == "t-1"


def test_a_wrong_token_is_refused_and_not_shown(server: CogwebServer) -> None:
    client = CogwebClient(server.address, "a-token-that-expired")
    with pytest.raises(EngineRefused, match=r"401 .*\*\*\*.*does not accept the token") as refused:
        client.sweep("mine")
    assert "expired" not in str(refused.value)
    assert len(server.requests) == 1
    client.close()


def test_a_redirect_does_not_get_the_token(client: CogwebClient, server: CogwebServer) -> None:
    server.fail(Fault("GET", 302, headers={"Location": f"{server.address}/elsewhere"}))
    with pytest.raises(EngineRefused, match="302"):
        client.sweep("mine")
    assert len(server.requests) == 1


@pytest.mark.parametrize("answer", [b'{"id": "../../etc"}', b'{"id": ""}', b'{"id": true}', b'{"id": "a b"}'])
def test_ids_are_harmless(client: CogwebClient, server: CogwebServer, answer: bytes) -> None:
    server.fail(Fault("POST", 200, answer))
    with pytest.raises(EngineUnavailable, match="letters, digits"):
        submit(client)


def test_whole_numbers_are_ids_too(client: CogwebClient, server: CogwebServer) -> None:
    server.fail(Fault("POST", 201, b'{"id": 12}'))
    assert submit(client) == "12"


def test_a_run_id_of_another_sweep_is_not_taken(client: CogwebClient, server: CogwebServer) -> None:
    server.fail(Fault("POST", 200, b'{"run_id": "other.r.1"}'))
    with pytest.raises(EngineUnavailable, match=r'expected "mine\.r\.K"'):
        client.next_run_id("mine")


def test_names_stay_in_their_part_of_the_path(client: CogwebClient, server: CogwebServer) -> None:
    client.sweep("../tasks?x#y")
    assert server.requests[0][0] == "GET /sweeps/..%2Ftasks%3Fx%23y"


def test_the_end_of_a_log_is_masked(client: CogwebClient, server: CogwebServer, monkeypatch: Any) -> None:
    monkeypatch.setenv("SOME_PASSWORD", "a-canary-of-mine")
    seeing = CogwebClient(server.address, TOKEN)
    task_id = submit(client, f"echo {'x' * 100_000}; echo {TOKEN}; echo a-canary-of-mine")
    ended(client, task_id)
    tail = seeing.log_tail(task_id)
    assert len(tail) < 20_000
    assert tail.endswith("x\n***\n***\n")
    seeing.close()


# Which server, which token


def config(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "config.yaml"
    path.write_text(text)
    return path


def test_the_token_comes_from_the_argument_the_environment_or_the_file(tmp_path: Path) -> None:
    path = config(tmp_path, "observatory_tokens:\n  https://a.example/: from-file\n")
    variable = {"COGWEB_TOKEN": "from-variable"}
    assert find_token("https://a.example", SecretStr("given"), variable, path) == "given"
    assert find_token("https://a.example", "given", variable, path) == "given"
    assert find_token("https://a.example", None, variable, path) == "from-variable"
    assert find_token("https://a.example", None, {}, path) == "from-file"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("observatory_tokens: {https://api.example: x}", r"there is one for https://api\.example\)"),
        ("", r"no token for https://apy\.example: pass token=.*COGWEB_TOKEN"),
        ("observatory_tokens: [the-secret]", "to map servers to tokens"),
        ("{the-secret", "is no valid YAML"),
        ('observatory_tokens: {https://apy.example: "the-secret\\n"}', "characters that no header can carry"),
        ("observatory_tokens: {https://apy.example: ''}", "is empty"),
    ],
)
def test_a_token_that_cannot_be_found(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message) as error:
        find_token("https://apy.example", None, {}, config(tmp_path, text))
    assert "the-secret" not in str(error.value)


@pytest.mark.parametrize("token", ["a\r\nX-Evil: 1", "é" * 9, " padded", ""])
def test_a_token_that_no_header_can_carry(tmp_path: Path, token: str) -> None:
    with pytest.raises(UsageError, match="empty, or has characters") as error:
        find_token("https://a.example", token, {}, tmp_path)
    assert not token or token not in str(error.value)


def test_a_token_is_text(tmp_path: Path) -> None:
    number: Any = 123456789
    with pytest.raises(UsageError, match="expected text or a SecretStr, found int"):
        find_token("https://a.example", number, {}, tmp_path)


def test_a_file_that_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot read"):
        find_token("https://a.example", None, {}, tmp_path)
    with pytest.raises(UsageError, match="no token"):
        find_token("https://a.example", None, {}, tmp_path / "none.yaml")


def test_the_server_comes_from_the_argument_or_the_environment() -> None:
    assert find_server("https://a.example/api/", {}) == "https://a.example/api"
    assert find_server(None, {"COGWEB_SERVER": "http://127.0.0.1:8000"}) == "http://127.0.0.1:8000"
    with pytest.raises(UsageError, match="COGWEB_SERVER"):
        find_server(None, {})


@pytest.mark.parametrize(
    "server", ["a.example", "ftp://a.example", "https://", "https://a:b", "https://a/?q", "https://a/ b", "http://[::1"]
)
def test_no_address(server: str) -> None:
    with pytest.raises(UsageError, match="expected an address"):
        find_server(server, {})


def test_an_address_with_a_password_is_not_shown() -> None:
    with pytest.raises(UsageError, match="holds a user name") as error:
        find_server("https://me:the-secret@a.example", {})
    assert "the-secret" not in str(error.value)


def test_httpx_is_an_extra(without: Callable[[str], None]) -> None:
    without("httpx")
    with pytest.raises(ImportError, match=r"pip install 'metta-sweep\[cogweb\]'"):
        CogwebClient("https://a.example", "token")


@pytest.fixture
def without(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    import sys

    return lambda name: monkeypatch.setitem(sys.modules, name, None)
