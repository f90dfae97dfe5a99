"""The routes of a Cogweb server, as typed calls.

    POST /sweeps/{name}/create_sweep   {project, entity, wandb_sweep_id} -> {created, sweep_id}
    GET  /sweeps/{name}                -> {exists, wandb_sweep_id}
    POST /sweeps/{name}/runs/next      -> {run_id: "name.r.k"}
    POST /tasks                        {command, git_hash, data_file, attributes} -> {id, ...}
    GET  /tasks/{id}                   -> {status, ...}
    GET  /tasks/{id}/logs/output       -> text

The token travels in the header `X-Auth-Token`, and nowhere else: redirects are not followed, messages are masked.
"""

from __future__ import annotations

import os
import random
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from email.utils import parsedate_to_datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeVar
from urllib.parse import quote

from metta.sweep.errors import MissingExtraError
from metta.sweep.executors.remote.engine import EngineRefused, EngineUnavailable
from metta.sweep.executors.remote.messages import as_line
from metta.sweep.redaction import Redactor, secrets_in

if TYPE_CHECKING:
    import httpx

LONGEST_WAIT_S: Final = 2.0
"""Seconds between two attempts at most; a server that asks for more time is left alone by this call."""

LARGEST_ANSWER: Final = 2**20
"""Bytes of an answer that is no log."""

TAIL: Final = 2**14
"""Bytes of a log's end that are kept."""

LONGEST_LINE: Final = 300
"""Characters of an answer in a message."""

LARGEST_LOG: Final = 2**26
"""Bytes of a log that are read for its end."""

T = TypeVar("T")

_TASK_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,100}")


class TaskState(StrEnum):
    """How far a task of the queue is."""

    UNPROCESSED = "unprocessed"
    RUNNING = "running"
    DONE = "done"
    ERROR = "error"
    CANCELED = "canceled"
    SYSTEM_ERROR = "system_error"


class SweepInfo(NamedTuple):
    """What the server knows of a sweep; `wandb_sweep_id` is "" where it does not exist."""

    exists: bool
    wandb_sweep_id: str


class SweepCreated(NamedTuple):
    """`created` is False where the sweep was there before."""

    created: bool
    sweep_id: str


class CogwebClient:
    """Talks to one server. Its methods may be called from several threads at once.

    What a repetition cannot harm is tried again after a failure that may pass (429, 5xx, the network), after growing
    pauses or as the server's Retry-After asks. A task is handed in again only if the server cannot have taken it.

    Args:
        server: its address, without a slash at the end.
        token: for the header X-Auth-Token.
        timeout: seconds to connect, and between two pieces of an answer, which may take twice as long in all.
        attempts: how often a call is tried in all.
        backoff: seconds before the second attempt; doubled for each that follows.

    Raises:
        MissingExtraError: httpx is not installed.
    """

    def __init__(
        self, server: str, token: str, *, timeout: float = 5.0, attempts: int = 3, backoff: float = 0.25
    ) -> None:
        try:
            import httpx
        except ImportError:
            raise MissingExtraError("CogwebExecutor", "cogweb") from None
        self.server = server
        self._timeout = timeout
        self._attempts = attempts
        self._backoff = backoff
        self._redactor = Redactor({token} | secrets_in(os.environ))
        self._passing: tuple[type[httpx.HTTPError], ...] = (httpx.TransportError, httpx.DecodingError)
        self._never_arrived = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)
        self._http = httpx.Client(
            base_url=server, headers={"X-Auth-Token": token}, timeout=timeout, follow_redirects=False
        )

    def create_sweep(self, name: str, project: str, entity: str, wandb_sweep_id: str) -> SweepCreated:
        """Register a sweep; one that exists stays as it is.

        Raises:
            EngineUnavailable, EngineRefused: as for every call: the server cannot answer now, or will not.
        """
        body = {"project": project, "entity": entity, "wandb_sweep_id": wandb_sweep_id}
        answer = self._json("POST", f"/sweeps/{_part(name)}/create_sweep", body)
        return SweepCreated(self._field(answer, "created", bool), self._text(answer, "sweep_id"))

    def sweep(self, name: str) -> SweepInfo:
        """What the server knows of a sweep."""
        answer = self._json("GET", f"/sweeps/{_part(name)}")
        exists = self._field(answer, "exists", bool)
        return SweepInfo(exists, self._field(answer, "wandb_sweep_id", str) if exists else "")

    def next_run_id(self, name: str) -> str:
        """A run id that nobody else gets: "name.r.k". A repeated call may leave one unused."""
        answer = self._json("POST", f"/sweeps/{_part(name)}/runs/next")
        run_id = self._field(answer, "run_id", str)
        if re.fullmatch(rf"{re.escape(name)}\.r\.\d{{1,18}}", run_id) is None:
            raise EngineUnavailable(f'{self.server} gave out the run id {run_id[:100]!r}, expected "{name}.r.K"')
        return run_id

    def submit(
        self, command: str, *, git_hash: str, data_file: str | None = None, attributes: Mapping[str, Any] | None = None
    ) -> str:
        """Put a task into the queue; its id.

        Args:
            command: a shell line. It is for the caller to have quoted what stands in it.
            git_hash: the commit that it is to run with.
            data_file: what the queue passes on to the worker.
            attributes: JSON values.

        Raises:
            EngineUnavailable: the server cannot answer now. Unless it could not be reached at all, or asked to come
                back later, it may have taken the task nevertheless: there is no route that would tell.
            EngineRefused: it does not take the task.
        """
        body = {
            "command": command,
            "git_hash": git_hash,
            "data_file": data_file,
            "attributes": dict(attributes or {}),
        }
        return self._text(self._json("POST", "/tasks", body, repeat=False), "id")

    def task_state(self, task_id: str) -> TaskState | None:
        """How far a task is; None where the server knows of none."""
        answer = self._json("GET", f"/tasks/{_part(task_id)}", missing=True)
        if answer is None:
            return None
        state = self._field(answer, "status", str)
        try:
            return TaskState(state)
        except ValueError:
            expected = ", ".join(TaskState)
            raise EngineUnavailable(
                f"{self.server} says that task {task_id} is {state[:100]!r}, expected one of {expected}"
            ) from None

    def log_tail(self, task_id: str) -> str:
        """The end of what a task has printed, with secrets masked; "" where there is no log. Tried once."""
        tail, read = b"", 0
        try:
            with self._stream("GET", f"/tasks/{_part(task_id)}/logs/output", None) as response:
                if response.status_code != 200:
                    return ""
                for piece in self._pieces(response):
                    # Longer than what is shown: a secret that begins before the end's beginning is masked whole.
                    tail, read = (tail + piece)[-4 * TAIL :], read + len(piece)
                    if read > LARGEST_LOG:
                        break
        except self._passing as error:
            raise EngineUnavailable(f"cannot read the log of task {task_id}: {self._explained(error)}") from None
        return self._redactor.text(tail.decode(errors="replace"))[-TAIL:]

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    # One request

    def _json(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        *,
        repeat: bool = True,
        missing: bool = False,
    ) -> Any:
        """The JSON answer to a request; None for a 404, if `missing`."""
        what = f"{method} {self.server}{path}"
        for attempt in range(self._attempts):
            last = attempt + 1 == self._attempts
            try:
                status, headers, content = self._answer(method, path, body)
            except self._passing as error:
                if last or not (repeat or isinstance(error, self._never_arrived)):
                    raise EngineUnavailable(f"{what}: {self._explained(error)}") from None
                pause = self._pause(attempt)
            else:
                if status == 404 and missing:
                    return None
                if status == 429 or status >= 500:
                    wanted = _retry_after(headers.get("Retry-After"))
                    pause = self._pause(attempt) if wanted is None else wanted
                    if last or pause > LONGEST_WAIT_S or not (repeat or status == 429):
                        raise EngineUnavailable(f"{what}: answered {self._shown(status, content)}")
                elif status != 200 and status != 201:
                    raise EngineRefused(f"{what}: answered {self._shown(status, content)}{_advice(status)}")
                else:
                    return self._decoded(what, content)
            time.sleep(pause)
        raise AssertionError("the last attempt raises or returns")

    def _answer(self, method: str, path: str, body: Mapping[str, Any] | None) -> tuple[int, Mapping[str, str], bytes]:
        with self._stream(method, path, body) as response:
            content = b""
            for piece in self._pieces(response):
                content += piece
                if len(content) > LARGEST_ANSWER:
                    break
            return response.status_code, response.headers, content

    def _stream(self, method: str, path: str, body: Mapping[str, Any] | None) -> AbstractContextManager[httpx.Response]:
        return self._http.stream(method, path, json=None if body is None else dict(body))

    def _pieces(self, response: httpx.Response) -> Iterator[bytes]:
        """The body of an answer; its own limit, as a server that sends byte after byte never times out."""
        import httpx

        end = time.monotonic() + 2 * self._timeout
        for piece in response.iter_bytes():
            yield piece
            if time.monotonic() > end:
                raise httpx.ReadTimeout("the answer does not come to its end")

    def _pause(self, attempt: int) -> float:
        # Spread, so that drivers that failed together do not come back together.
        return min(LONGEST_WAIT_S, self._backoff * 2.0**attempt) * random.uniform(0.5, 1.0)

    # What an answer says

    def _decoded(self, what: str, content: bytes) -> dict[str, Any]:
        import json

        try:
            answer = json.loads(content)
        except (ValueError, RecursionError):
            answer = None
        if not isinstance(answer, dict):
            raise EngineUnavailable(f"{what}: expected a JSON object, found {self._line(content)!r}")
        return answer

    def _field(self, answer: Mapping[str, Any], name: str, kind: type[T]) -> T:
        value = answer.get(name)
        if isinstance(value, kind):
            return value
        found = self._line(repr(value).encode()) if name in answer else "nothing"
        raise EngineUnavailable(f"{self.server}: expected {name!r} as {kind.__name__} in its answer, found {found}")

    def _text(self, answer: Mapping[str, Any], name: str) -> str:
        """An id: text or a whole number, of harmless characters."""
        value = answer.get(name)
        found = str(value) if isinstance(value, str | int) and not isinstance(value, bool) else ""
        if _TASK_ID.fullmatch(found) is None:
            shown = self._line(repr(value).encode())
            raise EngineUnavailable(f"{self.server}: expected {name!r} as letters, digits, - and _, found {shown}")
        return found

    def _shown(self, status: int, content: bytes) -> str:
        line = self._line(content)
        return f"{status} ({line})" if line else str(status)

    def _explained(self, error: Exception) -> str:
        return f"{type(error).__name__}: {self._line(str(error).encode())}"

    def _line(self, content: bytes) -> str:
        """What a server says, masked."""
        return as_line(self._redactor.text(content[: 4 * LONGEST_LINE].decode(errors="replace")), LONGEST_LINE)


def _part(text: str) -> str:
    return quote(text, safe="")


def _advice(status: int) -> str:
    if status in (401, 403):
        return ": the server does not accept the token; is it for this server, and still valid?"
    return ""


def _retry_after(value: str | None) -> float | None:
    """Seconds that a server asks to wait (RFC 9110, section 10.2.3: a number, or a date)."""
    if value is None:
        return None
    if value.strip().isascii() and value.strip().isdigit():
        return float(value)
    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - time.time())
    except (ValueError, TypeError, OverflowError):
        return None
