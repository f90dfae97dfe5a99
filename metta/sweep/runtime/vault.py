"""Where a durable run keeps values: small ones in its events, large ones as artifacts, shared ones in the cache."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from metta.sweep.errors import DamagedError, UsageError
from metta.sweep.pipeline.context import Context
from metta.sweep.runtime.dynamic import ABSENT
from metta.sweep.runtime.history import Stored
from metta.sweep.runtime.shaping import UNSET
from metta.sweep.store import codec, files
from metta.sweep.store.artifacts import ArtifactStore
from metta.sweep.store.cache import Cache

if TYPE_CHECKING:
    from metta.sweep.store.run import Run
    from metta.sweep.store.runs import Store

INLINE_LIMIT: Final = 4_096
"""Bytes up to which a value without arrays stands in its event."""

codec.register(Context, "Context", Context._asdict, Context)
codec.register(type(UNSET), "unset", lambda _: None, lambda _: UNSET)
codec.register(type(ABSENT), "absent", lambda _: None, lambda _: ABSENT)


class Vault:
    """The values of one run.

    Args:
        run: whose they are.
        store: whose cache it shares.
    """

    def __init__(self, run: Run, store: Store) -> None:
        self.run = run
        self._artifacts = ArtifactStore(run.artifacts_folder)
        self._cache = Cache(store.cache_folder)

    def store(self, value: object, what: str) -> Stored:
        """Keep a value.

        Raises:
            Unstorable: it cannot be stored; the message says what of it.
            StorageError: the disk cannot take it.
        """
        encoded = codec.dumps(value, what)
        if encoded.nbytes <= INLINE_LIMIT and len(encoded.pieces) == 1:
            return Stored(value=bytes(encoded).decode())
        return Stored(artifact=self._artifacts.put(encoded))

    def read(self, stored: Stored, tp: Any, what: str) -> Any:
        """A value that was kept.

        Args:
            tp: its declared type; None where that is not known.

        Raises:
            DamagedError: it is not what was kept.
        """
        if stored.value is not None:
            return codec.loads(stored.value.encode(), tp, path=self.run.journal.path)
        if stored.artifact is None:
            raise DamagedError(f"{what} was not kept", path=str(self.run.journal.path))
        return codec.loads(self._artifacts.get(stored.artifact), tp, path=self._artifacts.path(stored.artifact))

    def cache_key(self, fingerprint: str, inputs: object) -> str:
        """The key of a stage's output in the cache: its code, settings and contract, and what it is given.

        Raises:
            Unstorable: the inputs cannot be told apart.
        """
        return codec.digest((fingerprint, inputs), "its inputs")

    def cached(self, key: str) -> Stored | None:
        """What another run has put into the cache; kept by this run, too."""
        found = self._cache.get(key)
        return None if found is None else Stored(artifact=self._artifacts.put([found]))

    def remember(self, key: str, value: object, what: str) -> None:
        """Put a value into the cache.

        Raises:
            Unstorable: it cannot be stored.
            StorageError: the disk cannot take it.
        """
        self._cache.put(key, codec.dumps(value, what))

    def write_file(self, path: object, content: object, what: str, *, serialized: bool) -> None:
        """Write the file of a `checkpoint_path` hook, inside the run's folder.

        Args:
            content: what is written.
            serialized: it is what a `serialize` hook gave: bytes, text or a JSON value; else it is written as an
                artifact would hold it.

        Raises:
            UsageError: the path is no text, or leads out of the folder; or the content is none of these.
            StorageError: the disk cannot take it.
        """
        if not isinstance(path, str):
            raise UsageError(f"{what}: checkpoint_path gave {type(path).__name__}; expected a relative path as text")
        pieces = [_bytes_of(content, what)] if serialized else codec.dumps(content, what)
        files.write_file(files.inside(self.run.files_folder, path), pieces)


def _bytes_of(content: object, what: str) -> files.Bytes:
    if isinstance(content, bytes | bytearray | memoryview):
        return content
    if isinstance(content, str):
        return content.encode()
    try:
        return json.dumps(content).encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise UsageError(f"{what}: serialize has to give bytes, text or a JSON value: {error}") from None
