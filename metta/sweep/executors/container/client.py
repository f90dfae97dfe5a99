"""The container engine's API by the docker SDK, with its errors sorted: cannot be asked, refuses, does not know.

The SDK has no types; what it returns is JSON, and stays in here and in what reads it (state.py).
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from importlib import import_module
from typing import Any, Final

from metta.sweep.errors import MissingExtraError
from metta.sweep.executors.container.spec import Json
from metta.sweep.executors.remote.engine import EngineRefused, EngineUnavailable

TIMEOUT_S: Final = 20.0
"""Seconds that the engine has for an answer."""

STOP_TIMEOUT_S: Final = 600.0
"""Seconds for an answer that comes when a container has ended, after its grace."""

LAST_LINES: Final = 5

_PASSING: Final = (
    "already in use",  # how Podman says that there is a container of that name: `find` tells which
    "containerd.sock",
    "connection error: desc",
    "context canceled",
    "context deadline exceeded",
    "shutting down",
    "transport is closing",
)
"""In messages of errors that pass: what is below the engine is not there for now, or the engine is about to end."""


class NotKnown(Exception):
    """The engine knows no such container or image."""


class Client:
    """One connection, made when it is first needed, and anew after the engine was away.

    Args:
        base_url: where the engine listens, such as "unix:///run/podman/podman.sock"; None: DOCKER_HOST, else Docker's
            usual socket.
        timeout: seconds that it has for an answer.
    """

    def __init__(self, base_url: str | None, timeout: float = TIMEOUT_S) -> None:
        self._base_url = base_url
        self._timeout = timeout
        self._api: Any = None

    @property
    def address(self) -> str:
        """Where the engine listens, for messages."""
        return self._base_url or str(_settings().get("base_url") or "Docker's usual socket (DOCKER_HOST is not set)")

    def again(self, timeout: float = TIMEOUT_S) -> Client:
        """Another connection to the same engine, for another thread."""
        return Client(self._base_url, timeout)

    def close(self) -> None:
        """End the connection; the next call makes a new one."""
        api, self._api = self._api, None
        if api is not None:
            api.close()

    # Calls. All of them may raise EngineUnavailable.

    def version(self) -> Json:
        """What the engine says of itself and its components."""
        return dict(self._call(lambda api: api.version()))

    def info(self) -> Json:
        """What the engine says of its machine and settings."""
        return dict(self._call(lambda api: api.info()))

    def create(self, body: Json, name: str) -> str:
        """Make a container; its id.

        Raises:
            NotKnown: the engine does not have the image, or something else that is named.
            EngineRefused: it does not take this.
        """
        made = self._call(lambda api: api.create_container_from_config(body, name), refusable=True)
        return str(made["Id"])

    def start(self, container: str) -> None:
        """Start a container that was made.

        Raises:
            NotKnown: there is none any more, or no such network.
            EngineRefused: it cannot be started, now or later.
        """
        self._call(lambda api: api.start(container), refusable=True)

    def containers(self, label: str) -> list[Json]:
        """All containers with a label ("name" or "name=value"), those that have ended included."""
        return list(self._call(lambda api: api.containers(all=True, filters={"label": [label]})))

    def inspect(self, container: str) -> Json:
        """All about one container.

        Raises:
            NotKnown: there is none.
        """
        return dict(self._call(lambda api: api.inspect_container(container)))

    def output(self, container: str) -> str:
        """The last lines that a container printed; "" where the engine keeps none."""
        try:
            data = self._call(lambda api: api.logs(container, tail=LAST_LINES), refusable=True)
        except (EngineRefused, NotKnown):
            return ""
        return bytes(data).decode(errors="replace")

    def stop(self, container: str) -> None:
        """Have a container end by the signal and within the grace that it was made with; waits for that.

        Raises:
            NotKnown: there is none.
        """
        self._call(lambda api: api.stop(container))

    def remove(self, container: str) -> None:
        """End a container at once, and remove it and its anonymous volumes. One that is not there is no error."""
        with suppress(NotKnown):
            self._call(lambda api: api.remove_container(container, v=True, force=True))

    def has_image(self, image: str) -> bool:
        """Whether the engine has an image."""
        try:
            self._call(lambda api: api.inspect_image(image))
        except NotKnown:
            return False
        return True

    def pull(self, image: str) -> None:
        """Get an image from its registry; takes as long as that takes.

        Raises:
            NotKnown: there is none.
            EngineRefused: that failed.
        """
        told = self._call(lambda api: api.pull(image), refusable=True)
        if not self.has_image(image):  # what goes wrong after the beginning is told in the progress, one line each
            raise EngineRefused(str(told).strip().splitlines()[-1][:400])

    def _call(self, call: Callable[[Any], Any], *, refusable: bool = False) -> Any:
        docker: Any = import_docker()
        try:
            if self._api is None:
                settings = {**_settings(), **({"base_url": self._base_url} if self._base_url else {})}
                self._api = docker.APIClient(version="auto", timeout=self._timeout, **settings)
            return call(self._api)
        except docker.errors.APIError as error:
            said = str(error.explanation or error).strip()
            code = 500 if error.response is None else int(error.response.status_code)
            if code == 404 or (code == 500 and "no such image" in said.lower()):
                raise NotKnown(said) from error
            if refusable and code not in (409, 503) and not any(word in said.lower() for word in _PASSING):
                raise EngineRefused(said) from error
            raise EngineUnavailable(f"the container engine at {self.address} cannot do that now: {said}") from error
        except (docker.errors.DockerException, OSError) as error:  # those of requests are OSErrors
            self.close()
            raise EngineUnavailable(f"the container engine at {self.address} does not answer: {error}") from error


def import_docker() -> Any:
    """The SDK.

    Raises:
        MissingExtraError: it is not installed.
    """
    try:
        return import_module("docker")
    except ImportError as error:
        raise MissingExtraError("DockerExecutor", "docker") from error


def _settings() -> dict[str, Any]:
    """What DOCKER_HOST, DOCKER_TLS_VERIFY and DOCKER_CERT_PATH say."""
    return dict(import_docker().utils.kwargs_from_env())
