"""`serve`: addresses, ports, the token, and how it ends."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from metta.sweep.errors import MissingExtraError, UsageError
from metta.sweep.store.runs import Store
from metta.sweep.ui.serve import _store_of, listening, serve
from tests.ui.conftest import Runs

PROGRAM = "import sys; from metta.sweep.ui.serve import serve; sys.exit(serve({!r}, {!r}, open_browser=False))"


def test_the_server_prints_its_address_and_ends_with_ctrl_c(runs: Runs) -> None:
    import httpx

    program = PROGRAM.format(str(runs.folder), runs.sweep.id)
    process = subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ}
    )
    try:
        assert process.stdout is not None
        lines = iter(process.stdout.readline, "")
        url = next(line.strip() for line in lines if "http://" in line)
        token = url.partition("token=")[2]
        assert re.fullmatch(r"[\w-]{43}", token)
        with httpx.Client(follow_redirects=True) as client:
            answer = client.get(url)
            assert answer.status_code == 200
            assert answer.url.path == f"/runs/{runs.sweep.id}"
            assert token not in str(answer.url) + answer.text
            with client.stream("GET", answer.url.copy_with(path=f"/runs/{runs.sweep.id}/events")) as events:
                told = events.iter_lines()  # kept: without it the connection is closed
                assert next(told) == "retry: 2000"
                process.send_signal(signal.SIGINT)  # while somebody listens
                assert process.wait(20) == 0
        assert process.stderr is not None
        assert process.stderr.read() == ""
    finally:
        process.kill()
        process.communicate()


def test_a_port_that_is_taken_is_said() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with (
            pytest.raises(UsageError, match=f"nothing can listen on 127.0.0.1 port {port}"),
            listening("127.0.0.1", port),
        ):
            pass


def test_without_a_port_a_free_one_is_found() -> None:
    with listening("127.0.0.1", 0) as one, listening("127.0.0.1", 0) as two:
        assert one.getsockname()[1] != two.getsockname()[1]
        assert one.getsockname()[0] == "127.0.0.1"


@pytest.mark.parametrize("host", ["no such host", "a..b", "192.0.2.7"])
def test_an_address_that_is_not_ours_is_said(host: str) -> None:
    with pytest.raises(UsageError, match=r"--host|nothing can listen"), listening(host, 0):
        pass


@pytest.mark.parametrize("token", ["", "short", "ä" * 20, "x" * 20 + "\n"])
def test_a_weak_token_is_refused(tmp_path: Path, token: str) -> None:
    with pytest.raises(UsageError, match="at least 16 characters"):
        serve(str(tmp_path), token=token, open_browser=False)


def test_a_run_that_is_not_there_is_said(runs: Runs) -> None:
    with pytest.raises(UsageError, match="there is no run"):
        serve(str(runs.folder), "nothing like it", open_browser=False)


def test_the_store_of_a_run_is_the_one_it_lies_in(tmp_path: Path, runs: Runs) -> None:
    store = Store.at(runs.folder)
    assert _store_of(store, None) == (store, None)
    assert _store_of(store, runs.sweep.folder) == (store, None)
    other, outside = _store_of(Store.at(tmp_path), runs.sweep.folder)
    assert (other.folder, outside) == (runs.folder, None)
    (child,) = runs.pipeline.folder.glob("children/*/runs/*")
    other, outside = _store_of(Store.at(tmp_path), child)
    assert (other.folder, outside) == (runs.folder, None)
    here = Store.at(tmp_path)
    assert _store_of(here, tmp_path / "copied") == (here, tmp_path / "copied")


def test_without_the_extra_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    with pytest.raises(MissingExtraError, match=re.escape("pip install 'metta-sweep[ui]'")):
        serve(str(tmp_path), open_browser=False)


def test_a_report_needs_no_server() -> None:
    program = (
        "import sys, metta.sweep.ui.report_page; print(sorted({'starlette', 'uvicorn', 'anyio'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
