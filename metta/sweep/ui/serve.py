"""`metta-sweep ui`: the server, from its address to Ctrl-C."""

from __future__ import annotations

import contextlib
import os
import socket
import sys
import tempfile
import threading
import webbrowser
from collections.abc import Iterator
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Final

from metta.sweep.errors import MissingExtraError, UsageError
from metta.sweep.store.nested import top_run
from metta.sweep.store.runs import Store

if TYPE_CHECKING:
    import uvicorn

    from metta.sweep.ui.security import Guard

USUAL_PORT: Final = 8265
SHORTEST_TOKEN: Final = 16


def serve(
    store: str | None = None,
    run: str | None = None,
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    token: str | None = None,
    open_browser: bool = True,
) -> int:
    """Serve the pages until Ctrl-C.

    Args:
        store: a folder; None for METTA_SWEEP_HOME or `./.metta-sweep`.
        run: the run whose page is opened, as `Store.find` takes it; None for the list.
        host: the address to listen on; anything but loopback is warned of.
        port: 0 for 8265, or a free one where that is taken.
        token: that a browser has to know, at least 16 characters; None for a random one.
        open_browser: whether a browser is opened.

    Returns:
        The exit code, 0.

    Raises:
        UsageError: there is no such run, the token is too short, or nothing can listen there.
        MissingExtraError: starlette or uvicorn is not installed.
    """
    try:
        import uvicorn  # noqa: F401

        from metta.sweep.ui.app import make_app
        from metta.sweep.ui.security import Access, is_loopback
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in ("uvicorn", "starlette", "anyio"):
            raise
        raise MissingExtraError("`metta-sweep ui`", "ui") from error
    if token is not None and (len(token) < SHORTEST_TOKEN or not (token.isascii() and token.isprintable())):
        raise UsageError(
            f"the token should have at least {SHORTEST_TOKEN} characters of ASCII: leave it out for a random one"
        )
    place = Store.at(store)
    folder = None if run is None else place.find(run).folder
    place, outside = _store_of(place, folder)
    with listening(host, port) as listener:
        real_port = listener.getsockname()[1]
        access = Access(host, real_port) if token is None else Access(host, real_port, token)
        app = make_app(place, access, outside=outside)
        path = "/" if folder is None else f"/runs/{_address(place, folder, outside)}"
        url = f"http://{_shown(host)}:{real_port}{path}?token={access.token}"
        _announce(place, url, is_local=is_loopback(host))
        with _browser(url) if open_browser else contextlib.nullcontext(), contextlib.suppress(KeyboardInterrupt):
            server(app).run(sockets=[listener])
    return 0


def server(app: Guard) -> uvicorn.Server:
    """The server for the pages; `run(sockets=[...])` serves them."""
    import uvicorn

    from metta.sweep.ui.connections import BoundedProtocol

    class Server(uvicorn.Server):
        async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
            app.end()  # it waits for the answers that go on
            await super().shutdown(sockets)

    config = uvicorn.Config(
        app,
        log_level="error",  # what strangers send is no news for the terminal
        access_log=False,  # addresses hold the token
        http=BoundedProtocol,
        ws="none",
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=1,
    )
    return Server(config)


@contextlib.contextmanager
def listening(host: str, port: int) -> Iterator[socket.socket]:
    """A socket that listens.

    Raises:
        UsageError: the address is taken, or is none of this machine.
    """
    try:
        family, _, _, _, where = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
    except (OSError, UnicodeError, OverflowError) as error:
        raise UsageError(
            f"{host!r} is no address of this machine ({error}): --host 127.0.0.1 is for this machine only"
        ) from None
    tries = [port] if port else [USUAL_PORT, 0]
    for place, each in enumerate(tries, 1):
        listener = socket.socket(family, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((where[0], each, *where[2:]))
            listener.listen(128)
        except OSError as error:
            listener.close()
            if place == len(tries):
                text = (
                    f"nothing can listen on {host} port {port}: {error.strerror or error}; give another --port, or none"
                )
                raise UsageError(text) from None
            continue
        with listener:
            yield listener
        return


def _store_of(store: Store, folder: Path | None) -> tuple[Store, Path | None]:
    """The store that holds a run, and the run itself where none does."""
    if folder is None:
        return store, None
    top = top_run(folder) or folder
    if top.parent == store.runs_folder:
        return store, None
    if top.parent.name == "runs":
        return Store(top.parent.parent), None
    return store, top


def _address(store: Store, folder: Path, outside: Path | None) -> str:
    from metta.sweep.ui.library import Library

    return Library(store, outside).address_of(folder)


def _shown(host: str) -> str:
    if host in ("0.0.0.0", "::", ""):
        return socket.gethostname()
    return f"[{host}]" if ":" in host else host


def _announce(store: Store, url: str, *, is_local: bool) -> None:
    print(f"runs of {store.folder} at\n\n    {url}\n\nCtrl-C ends it", flush=True)
    if not is_local:
        warning = (
            "warning: other machines can reach this address, and what is sent is not encrypted: whoever sees the token"
            " can read all runs. Safer: leave --host out and use `ssh -L`"
        )
        print(warning, file=sys.stderr, flush=True)


@contextlib.contextmanager
def _browser(url: str) -> Iterator[None]:
    """Open a browser. It is given a file of the user's that leads on: all users see what a program is called with."""
    with tempfile.TemporaryDirectory(prefix="metta-sweep-") as folder:
        page = Path(folder) / "open.html"
        descriptor = os.open(page, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            text = f'<!doctype html><meta charset="utf-8"><meta http-equiv="refresh" content="0;url={escape(url)}">'
            file.write(f"{text}<title>metta-sweep</title>")
        # In a thread: a browser in a terminal would hold up the server.
        threading.Thread(target=_open, args=(page.as_uri(),), name="browser", daemon=True).start()
        yield


def _open(address: str) -> None:
    with contextlib.suppress(webbrowser.Error, OSError):
        webbrowser.open(address)
