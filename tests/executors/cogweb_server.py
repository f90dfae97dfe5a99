"""A server with the routes of Cogweb, whose queue really runs the commands it is given, as shell lines.

Nothing of the real service is in it but its routes: that one is private. Faults are put in beforehand, and hit the next
requests whose method and path begin as they say.
"""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any

TOKEN = "cogweb-token-for-tests"


@dataclass(frozen=True)
class Fault:
    """What happens to the next request that begins with `request` ("GET /tasks").

    Attributes:
        status, headers, body: the answer. Status 0: none; the connection is cut.
        late: the request is served first; only its answer is lost.
        held: no answer until the server is closed.
        times: how many requests it hits.
    """

    request: str
    status: int = 0
    body: bytes = b"{}"
    headers: Mapping[str, str] = field(default_factory=dict)
    late: bool = False
    held: bool = False
    times: int = 1


@dataclass
class QueuedTask:
    """A task of the queue. Its process has a session of its own."""

    id: str
    body: dict[str, Any]
    status: str = "unprocessed"
    process: subprocess.Popen[bytes] | None = None


class _Http(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that did not wait for its answer is no mistake."""


class CogwebServer:
    """The server, in threads of this process.

    Args:
        folder: for the logs of the tasks, and their working folder.
        workers: how many tasks run at the same time; 0: all stay unprocessed.
    """

    def __init__(self, folder: Path, workers: int = 2) -> None:
        self.folder = folder
        self.sweeps: dict[str, dict[str, Any]] = {}
        self.tasks: dict[str, QueuedTask] = {}
        self.requests: list[tuple[str, str, Any]] = []
        """(method and path, token, body) of each."""
        self._faults: list[list[Any]] = []
        self._changed = threading.Condition()
        self._closed = threading.Event()
        self._http = _Http(("127.0.0.1", 0), self._handler())
        self.address = f"http://127.0.0.1:{self._http.server_address[1]}"
        self._threads: list[threading.Thread] = []
        self._start(lambda: self._http.serve_forever(0.02))
        self.add_workers(workers)

    def add_workers(self, number: int) -> None:
        """Let more tasks run at the same time."""
        for _ in range(number):
            self._start(self._work)

    def _start(self, target: Callable[[], None]) -> None:
        self._threads.append(threading.Thread(target=target))
        self._threads[-1].start()

    def __enter__(self) -> CogwebServer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, frames: TracebackType | None
    ) -> None:
        with self._changed:
            self._closed.set()
            self._changed.notify_all()
            for task in self.tasks.values():
                self._kill(task)
        self._http.shutdown()
        for thread in self._threads:
            thread.join()
        self._http.server_close()

    def fail(self, *faults: Fault) -> None:
        """Put faults in."""
        self._faults += [[fault, fault.times] for fault in faults]

    def seen(self, request: str) -> list[Any]:
        """The bodies of the requests that begin so."""
        return [body for line, _, body in self.requests if line.startswith(request)]

    def end(self, task_id: str, status: str) -> None:
        """The service ends a task itself."""
        with self._changed:
            task = self.tasks[task_id]
            task.status = status
            self._kill(task)

    # The queue

    def _kill(self, task: QueuedTask) -> None:
        if task.process is not None and task.process.poll() is None:
            with suppress(ProcessLookupError):
                os.killpg(task.process.pid, signal.SIGKILL)

    def log_file(self, task_id: str) -> Path:
        """Where the output of a task goes."""
        return self.folder / f"task-{task_id}.log"

    def _work(self) -> None:
        while True:
            with self._changed:
                while (task := self._next()) is None and not self._closed.is_set():
                    self._changed.wait()
                if task is None or self._closed.is_set():
                    return
                task.status = "running"
                with self.log_file(task.id).open("wb") as log:
                    process = task.process = subprocess.Popen(
                        ["/bin/sh", "-c", task.body["command"]],
                        cwd=self.folder,
                        stdin=subprocess.DEVNULL,
                        stdout=log,
                        stderr=log,
                        start_new_session=True,
                    )
            code = process.wait()
            with self._changed:
                if task.status == "running":
                    task.status = "error" if code else "done"

    def _next(self) -> QueuedTask | None:
        return next((task for task in self.tasks.values() if task.status == "unprocessed"), None)

    # The routes

    def _serve(self, method: str, path: str, body: Any) -> tuple[int, Any]:
        with self._changed:
            if found := re.fullmatch(r"/sweeps/([^/]+)/create_sweep", path):
                if method != "POST" or set(body) != {"project", "entity", "wandb_sweep_id"}:
                    return 422, {"detail": "project, entity, wandb_sweep_id"}
                created = found[1] not in self.sweeps
                sweep = self.sweeps.setdefault(found[1], {**body, "sweep_id": f"s-{len(self.sweeps)}", "runs": 0})
                return 200, {"created": created, "sweep_id": sweep["sweep_id"]}
            if method == "POST" and (found := re.fullmatch(r"/sweeps/([^/]+)/runs/next", path)):
                if found[1] not in self.sweeps:
                    return 404, {"detail": "no such sweep"}
                self.sweeps[found[1]]["runs"] += 1
                return 200, {"run_id": f"{found[1]}.r.{self.sweeps[found[1]]['runs']}"}
            if method == "GET" and (found := re.fullmatch(r"/sweeps/([^/]+)", path)):
                known = self.sweeps.get(found[1])
                return 200, {"exists": known is not None, "wandb_sweep_id": known["wandb_sweep_id"] if known else ""}
            if method == "POST" and path == "/tasks":
                if set(body) != {"command", "git_hash", "data_file", "attributes"}:
                    return 422, {"detail": "command, git_hash, data_file, attributes"}
                task = QueuedTask(f"t-{len(self.tasks) + 1}", body)
                self.tasks[task.id] = task
                self._changed.notify_all()
                return 200, {"id": task.id, "status": task.status}
            if method == "GET" and (found := re.fullmatch(r"/tasks/([^/]+)(/logs/output)?", path)):
                if found[1] not in self.tasks:
                    return 404, {"detail": "no such task"}
                if found[2]:
                    file = self.log_file(found[1])
                    return 200, file.read_bytes() if file.exists() else b""
                return 200, {"id": found[1], "status": self.tasks[found[1]].status}
            return 404, {"detail": "no such route"}

    def _fault_for(self, line: str) -> Fault | None:
        with self._changed:
            for entry in self._faults:
                if entry[1] and line.startswith(entry[0].request):
                    entry[1] -= 1
                    fault: Fault = entry[0]
                    return fault
            return None

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def _respond(self) -> None:
                content = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                line, token = f"{self.command} {self.path}", self.headers.get("X-Auth-Token", "")
                body = json.loads(content) if content else None
                server.requests.append((line, token, body))
                fault = server._fault_for(line)
                if fault is None or fault.late:
                    status, answer = (
                        server._serve(self.command, self.path, body)
                        if token == TOKEN
                        else (401, {"detail": f"no such token: {token}"})
                    )
                if fault is not None and fault.held:
                    server._closed.wait()
                if fault is not None and fault.status == 0:
                    self.connection.shutdown(socket.SHUT_RDWR)
                    self.close_connection = True
                    return
                data = answer if fault is None and isinstance(answer, bytes) else b""
                if fault is not None:
                    status, data = fault.status, fault.body
                elif not data and not isinstance(answer, bytes):
                    data = json.dumps(answer).encode()
                self.send_response(status)
                for name, value in (fault.headers if fault is not None else {}).items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            do_GET = do_POST = _respond

            def log_message(self, format: str, *args: Any) -> None:
                pass

        return Handler
