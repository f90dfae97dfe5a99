"""The API server, by lightkube: the only place that knows this library. Objects come and go as plain dicts."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from metta.sweep.errors import MissingExtraError
from metta.sweep.executors.remote.engine import EngineRefused, EngineUnavailable

if TYPE_CHECKING:
    from lightkube import Client

T = TypeVar("T")

_TIMEOUT = 15.0
"""Seconds for one request."""
_TRANSIENT = frozenset({401, 408, 410, 425, 429})
"""Answers that another time may be others. 401: a token that has expired, and is read anew; 410: a list that went stale
while it was read."""


class NotFound(EngineRefused):
    """There is no such object."""


class AlreadyThere(EngineRefused):
    """There is an object of this name."""


def require_lightkube() -> None:
    """Check that the library is installed.

    Raises:
        MissingExtraError: it is not.
    """
    try:
        import lightkube  # noqa: F401
    except ImportError:
        raise MissingExtraError("KubernetesExecutor", "kubernetes") from None


def as_yaml(manifest: Mapping[str, Any]) -> str:
    """The manifest of a Job as text for `kubectl create -f`."""
    from lightkube.codecs import dump_all_yaml
    from lightkube.resources.batch_v1 import Job

    job: Any = Job.from_dict(dict(manifest))
    return dump_all_yaml([job]) or ""


class ClusterAPI:
    """Jobs and pods of one namespace.

    Args:
        namespace: None: the one of the context.
        context: of the kubeconfig file; None: its current one, or the service account of the pod that this runs in.

    Every method raises `EngineUnavailable` where the server cannot be asked now, and `EngineRefused` with the server's
    words where it will not do what it is asked.
    """

    def __init__(self, namespace: str | None = None, context: str | None = None) -> None:
        self._namespace = namespace
        self._context = context
        self._client: Client | None = None

    @property
    def namespace(self) -> str:
        """The namespace that is used."""
        return self._ask(lambda client: str(client.namespace))

    def create_job(self, manifest: Mapping[str, Any]) -> None:
        """Create a Job.

        Raises:
            AlreadyThere: one of this name exists.
        """
        from lightkube.resources.batch_v1 import Job

        job: Any = Job.from_dict(dict(manifest))
        self._ask(lambda client: _shown(client.create(job)))

    def job(self, name: str) -> dict[str, Any]:
        """A Job.

        Raises:
            NotFound: there is none of this name.
        """
        from lightkube.resources.batch_v1 import Job

        return self._ask(lambda client: _shown(client.get(Job, name)))

    def jobs(self, label: str, values: Sequence[str]) -> list[dict[str, Any]]:
        """The Jobs whose label has one of the values."""
        from lightkube.resources.batch_v1 import Job

        return self._ask(lambda client: _all(client.list(Job, labels={label: list(values)})))

    def pods(self, label: str, values: Sequence[str]) -> list[dict[str, Any]]:
        """The pods whose label has one of the values."""
        from lightkube.resources.core_v1 import Pod

        return self._ask(lambda client: _all(client.list(Pod, labels={label: list(values)})))

    def delete_job(self, name: str, *, wait_for_pods: bool) -> None:
        """Delete a Job and its pods, which are asked to end first. The Job stays until they have, if it should wait.

        Raises:
            NotFound: there is none of this name.
        """
        from lightkube.resources.batch_v1 import Job
        from lightkube.types import CascadeType

        cascade = CascadeType.FOREGROUND if wait_for_pods else CascadeType.BACKGROUND
        self._ask(lambda client: client.delete(Job, name, cascade=cascade))

    def may(self, verb: str, resource: str, group: str = "") -> bool:
        """Whether the user of this context may do something in the namespace."""
        from lightkube.models.authorization_v1 import ResourceAttributes, SelfSubjectAccessReviewSpec
        from lightkube.resources.authorization_v1 import SelfSubjectAccessReview

        def ask(client: Client) -> bool:
            attributes = ResourceAttributes(namespace=client.namespace, verb=verb, resource=resource, group=group)
            review = SelfSubjectAccessReview(spec=SelfSubjectAccessReviewSpec(resourceAttributes=attributes))
            status = client.create(review).status
            return bool(status and status.allowed)

        return self._ask(ask)

    def close(self) -> None:
        """Close the connections; the next request opens new ones."""
        client, self._client = self._client, None
        if client is not None:
            client.close()

    def _ask(self, request: Callable[[Client], T]) -> T:
        with _translated(self.close):
            if self._client is None:
                self._client = self._connect()
            return request(self._client)

    def _connect(self) -> Client:
        import httpx2
        from lightkube import Client, KubeConfig

        try:
            config = KubeConfig.from_env().get(self._context)
            return Client(config, namespace=self._namespace, timeout=httpx2.Timeout(_TIMEOUT))
        except Exception as error:  # a file of another form leads to whatever it happens to
            raise EngineRefused(
                f"the Kubernetes configuration cannot be used: {error}. Set KUBECONFIG, or write ~/.kube/config "
                "(`kubectl config get-contexts` shows what there is)"
            ) from None


def _shown(item: Any) -> dict[str, Any]:
    """An object as a plain dict; it has a name."""
    shown: dict[str, Any] = item.to_dict()
    if not shown.get("metadata", {}).get("name"):
        raise ValueError("an object without a name")
    return shown


def _all(items: Iterable[Any]) -> list[dict[str, Any]]:
    return [_shown(item) for item in items]


@contextmanager
def _translated(disconnect: Callable[[], None]) -> Iterator[None]:
    """What can go wrong in a request, as our exceptions."""
    import httpx2
    import msgspec
    from lightkube.core.exceptions import ConfigError

    try:
        yield
    except httpx2.HTTPStatusError as error:
        code, words, reason = error.response.status_code, _words(error), _reason(error)
        if code == 404 and reason != "NotFound":  # something before the server, which does not know what there is
            raise EngineUnavailable(f"what answers is no Kubernetes API server ({code}): {words}") from None
        if code == 404:
            raise NotFound(f"Kubernetes refuses ({code}): {words}") from None
        if reason == "AlreadyExists":
            raise AlreadyThere(f"Kubernetes refuses ({code}): {words}") from None
        if code == 401:
            disconnect()
        # A quota is full until other jobs are over; everything else that is 403 stays so. 409: somebody was faster.
        if code >= 500 or code in _TRANSIENT or code == 409 or (code == 403 and "exceeded quota" in words):
            raise EngineUnavailable(f"Kubernetes cannot be asked now ({code}): {words}") from None
        raise EngineRefused(f"Kubernetes refuses ({code}): {words}") from None
    except (httpx2.HTTPError, httpx2.StreamError, OSError) as error:
        disconnect()  # a connection that hangs is not tried again
        raise EngineUnavailable(f"Kubernetes cannot be reached: {error or type(error).__name__}") from None
    except ConfigError as error:  # of the program that a kubeconfig file may name for them
        raise EngineUnavailable(f"there are no credentials for Kubernetes now: {error}") from None
    except (msgspec.MsgspecError, KeyError, ValueError) as error:  # a proxy's page, or an answer that was cut off
        raise EngineUnavailable(f"what answers is no Kubernetes API server: {error}") from None


def _reason(error: Any) -> str:
    """What kind of refusal it is, in the server's own word: "NotFound"."""
    return getattr(getattr(error, "status", None), "reason", None) or ""


def _words(error: Any) -> str:
    """What the server says, without the address, which may hold names of people."""
    status = getattr(error, "status", None)
    message = getattr(status, "message", None)
    return str(message or error.response.reason_phrase)
