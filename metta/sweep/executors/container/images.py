"""Getting images that the engine does not have, beside the thread that asks for them."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Final, Literal, NoReturn, TypeAlias

from metta.sweep.errors import MettaSweepError
from metta.sweep.executors.container.client import Client, NotKnown
from metta.sweep.executors.remote.engine import EngineRefused, EngineUnavailable

PullPolicy: TypeAlias = Literal["missing", "never"]

FAILURE_COUNTS_S: Final = 60.0
"""Seconds in which an image that could not be pulled is not tried again."""


class Images:
    """Pulls images, each once, in threads: that can take minutes, which nothing else may have to wait for.

    Args:
        client: for the engine; each pull has a connection of its own.
        policy: "missing" pulls what the engine does not have, "never" nothing.
        clock: seconds that only grow.
    """

    def __init__(self, client: Client, policy: PullPolicy, clock: Callable[[], float] = time.monotonic) -> None:
        self._client = client
        self._policy = policy
        self._clock = clock
        self._lock = threading.Lock()
        self._pulling: set[str] = set()
        self._failed: dict[str, tuple[float, str]] = {}

    def fetch(self, image: str) -> NoReturn:
        """Have an image pulled that the engine does not have. Whoever wants it tries again later.

        Raises:
            EngineUnavailable: it is being pulled.
            EngineRefused: it may not be pulled, or could not be.
        """
        if self._policy == "never":
            raise EngineRefused(missing_image(image))
        with self._lock:
            since, why = self._failed.get(image, (0.0, ""))
            if why and self._clock() < since + FAILURE_COUNTS_S:
                raise EngineRefused(f"{missing_image(image)}. Pulling it has failed: {why}")
            self._failed.pop(image, None)
            if image not in self._pulling:
                self._pulling.add(image)
                threading.Thread(target=self._pull, args=(image,), name=f"pull {image}", daemon=True).start()
        raise EngineUnavailable(f"the image {image} is being pulled")

    def _pull(self, image: str) -> None:
        client = self._client.again()
        why = ""
        try:
            client.pull(image)
        except (MettaSweepError, NotKnown) as error:
            why = str(error)
        finally:
            client.close()
            with self._lock:
                self._pulling.discard(image)
                if why:
                    self._failed[image] = (self._clock(), why)


def missing_image(image: str) -> str:
    """For messages: what is missing, and what to do."""
    return (
        f"the container engine has no image {image!r}: run `docker pull {image}`, build it, or name another by image="
    )
