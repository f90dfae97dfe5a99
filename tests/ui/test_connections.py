"""Connections of strangers: none of them keeps the pages from anybody."""

from __future__ import annotations

import contextlib
import socket
import time

import pytest

from metta.sweep.ui.connections import BoundedProtocol
from tests.ui.conftest import Runs, served


def has_ended(connection: socket.socket) -> bool:
    """Whether the other side lets go of it, which may take some seconds."""
    connection.settimeout(10)
    try:
        return connection.recv(1) == b""
    except ConnectionResetError:
        return True
    except TimeoutError:
        return False


@pytest.mark.parametrize("said", [b"", b"GET / HTTP/1.1\r\nhost: 127.0.0.1\r\nx: "])
def test_who_sends_no_whole_request_is_let_go(runs: Runs, monkeypatch: pytest.MonkeyPatch, said: bytes) -> None:
    monkeypatch.setattr(BoundedProtocol, "patience", 0.2)
    with served(runs.folder) as site, socket.create_connection(("127.0.0.1", site.port)) as connection:
        connection.sendall(said)
        assert has_ended(connection)


def test_who_sends_a_byte_now_and_then_is_let_go(runs: Runs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(BoundedProtocol, "patience", 0.2)
    with served(runs.folder) as site, socket.create_connection(("127.0.0.1", site.port)) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nhost: 127.0.0.1\r\nx: ")
        with contextlib.suppress(ConnectionError):
            for _ in range(200):
                connection.sendall(b"x")
                time.sleep(0.05)
            pytest.fail("it was not let go")


def test_who_listens_is_not_let_go(runs: Runs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(BoundedProtocol, "patience", 0.1)
    with served(runs.folder) as site, socket.create_connection(("127.0.0.1", site.port), timeout=20) as connection:
        cookie = f"cookie: {site.access.cookie}={site.access.session}\r\n"
        connection.sendall(f"GET /events HTTP/1.1\r\nhost: 127.0.0.1\r\n{cookie}\r\n".encode())
        while b"retry:" not in connection.recv(65536):
            pass
        connection.settimeout(0.7)
        with contextlib.suppress(TimeoutError):
            while connection.recv(65536):
                pass
            pytest.fail("it was let go")


def test_of_too_many_the_silent_ones_make_room(runs: Runs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(BoundedProtocol, "most", 4)
    with served(runs.folder) as site, contextlib.ExitStack() as opened:
        first, *_, last = [opened.enter_context(socket.create_connection(("127.0.0.1", site.port))) for _ in range(5)]
        assert has_ended(first)
        last.sendall(b"GET / HTTP/1.0\r\nhost: 127.0.0.1\r\n\r\n")
        last.settimeout(20)
        assert last.recv(65536).startswith(b"HTTP/1.1 403")
