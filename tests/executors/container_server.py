"""A container engine's API on a socket, which answers as it is told: faults that real engines do not give on demand."""

from __future__ import annotations

import json
import re
import shutil
import socketserver
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

Reply = tuple[int, Any]
"""An HTTP status and JSON, or bytes as they are. Status 0: the connection is cut instead."""


CREATE, START, LIST, IMAGE = (
    "POST /containers/create",
    "POST /containers/c1/start",
    "GET /containers/json",
    "GET /images/.*",
)


@dataclass
class Server:
    """What it answers, and what it was asked.

    Attributes:
        url: where it listens.
        replies: "METHOD /path" as a pattern -> what it answers, the first that fits.
        requests: "METHOD /path?query" of each request, without the version of the API, and its body.
    """

    url: str
    replies: dict[str, Reply]
    requests: list[tuple[str, Any]] = field(default_factory=list)

    def asked(self) -> list[str]:
        """The requests but for those that every connection begins with."""
        return [request for request, _ in self.requests if not request.startswith(("GET /version", "GET /info"))]


USUAL: dict[str, Reply] = {
    "GET /version": (
        200,
        {"ApiVersion": "1.41", "Version": "20.10", "Components": [{"Name": "Engine", "Version": "20"}]},
    ),
    "GET /info": (200, {"SecurityOptions": ["name=seccomp,profile=default"]}),
    IMAGE: (200, {"Id": "sha256:1"}),
    CREATE: (201, {"Id": "c1", "Warnings": []}),
    START: (204, b""),
    "DELETE /containers/.*": (204, b""),
}


@contextmanager
def serving(replies: Mapping[str, Reply]) -> Iterator[Server]:
    """A server that answers `USUAL`, unless `replies` say otherwise."""
    folder = Path(tempfile.mkdtemp())  # a short path: that of a socket may have about 100 characters
    socket = folder / "engine.sock"
    server = Server(f"unix://{socket}", {**replies, **{name: USUAL[name] for name in USUAL if name not in replies}})

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def handle_any(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            body = self.rfile.read(length)
            request = f"{self.command} {re.sub(r'^/v[0-9.]+', '', self.path)}"
            server.requests.append((request, json.loads(body) if body else None))
            status, answer = next(
                (reply for pattern, reply in server.replies.items() if re.match(pattern, request)),
                (404, {"message": "page not found"}),
            )
            if not status:
                self.close_connection = True
                return
            data = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_POST = do_DELETE = handle_any

        def log_message(self, format: str, *arguments: Any) -> None:
            pass

        def address_string(self) -> str:
            return "socket"

    class Listener(socketserver.ThreadingUnixStreamServer):
        daemon_threads = True

    with Listener(str(socket), Handler) as listener:
        thread = threading.Thread(target=listener.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            listener.shutdown()
            thread.join()
            shutil.rmtree(folder)
