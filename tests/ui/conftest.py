"""A store with a run of each kind, the application on it, and a server."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest

pytest.importorskip("starlette", reason="needs metta-sweep[ui]")
pytest.importorskip("uvicorn", reason="needs metta-sweep[ui]")
pytest.importorskip("httpx", reason="starlette's test client needs it")

from starlette.testclient import TestClient

from metta.sweep.store.run import RunInfo
from metta.sweep.store.runs import Store
from metta.sweep.ui.app import make_app
from metta.sweep.ui.security import Access
from metta.sweep.ui.serve import listening, server
from tests.ui import stores

TOKEN = "a-token-of-the-tests"


class Runs(NamedTuple):
    """A store with a run of each kind, which no test may change."""

    folder: Path
    sweep: RunInfo
    pipeline: RunInfo
    damaged: RunInfo


class Site(NamedTuple):
    """A server that runs."""

    port: int
    access: Access

    @property
    def base(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def entry(self) -> str:
        """The address that is printed."""
        return f"{self.base}/?token={self.access.token}"


@pytest.fixture(scope="session")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Runs:
    folder = tmp_path_factory.mktemp("ui") / "store"
    sweep = stores.sweep(folder, name=f"small {stores.EVIL}")
    stores.log(sweep, f"line 1\n\x1b[31mred\x1b[0m {stores.EVIL}\n".encode())
    return Runs(folder, sweep, stores.failed_pipeline(folder), stores.damaged(folder))


@pytest.fixture(scope="session")
def access() -> Access:
    return Access("127.0.0.1", 80, TOKEN)


@pytest.fixture
def stranger(runs: Runs, access: Access) -> Iterator[TestClient]:
    """A client without the cookie, which follows no redirect."""
    app = make_app(Store.at(runs.folder), access)
    with TestClient(app, base_url="http://127.0.0.1", follow_redirects=False) as client:
        yield client


@pytest.fixture
def client(stranger: TestClient, access: Access) -> TestClient:
    """A client that has been let in."""
    stranger.cookies.set(access.cookie, access.session)
    return stranger


@contextmanager
def served(store: Path, access: Access | None = None) -> Iterator[Site]:
    """A real server in a thread; with the `access` of an earlier one it takes its place."""
    with listening("127.0.0.1", 0 if access is None else access.port) as listener:
        port = int(listener.getsockname()[1])
        access = access or Access("127.0.0.1", port, TOKEN)
        running = server(make_app(Store.at(store), access))
        thread = threading.Thread(target=running.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            yield Site(port, access)
        finally:
            running.should_exit = True
            thread.join(30)


@pytest.fixture(scope="session")
def site(runs: Runs) -> Iterator[Site]:
    with served(runs.folder) as found:
        yield found
