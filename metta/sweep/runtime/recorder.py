"""The record of a durable run: what is known of each passage, and what is written down as it goes on.

The generated code is the same as without a store; what differs is that each stage is passed under a record. A passage
whose outcome is committed gives it back and runs nothing, so a resumed run walks through the same code, past
everything that is done, to the place where the last driver stopped.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from metta.sweep.contracts.storable import storable
from metta.sweep.executors.nest import NEST
from metta.sweep.runtime.history import KILLS, History, Passage, Stored
from metta.sweep.runtime.scope import SCOPE, Scope, here
from metta.sweep.store.codec import Unstorable
from metta.sweep.store.entries import Entry
from metta.sweep.store.failpoints import fail_point
from metta.sweep.trial import FailureReason

if TYPE_CHECKING:
    from metta.sweep.runtime.vault import Vault
    from metta.sweep.store.run import Run

_log = logging.getLogger("metta.sweep")

POISON_LIMIT = 3
"""So many attempts of one passage may kill their worker process before it is given up."""


class Recorder:
    """The one writer of a pipeline's run. Any thread may call it.

    Args:
        run: the run, held by this process.
        history: what its journal says so far.
        vault: where values are kept.
        fingerprints: node id -> digest.
        allow_changed: the run goes on although its plan has changed; nested ones do, too.
    """

    def __init__(
        self,
        run: Run,
        history: History,
        vault: Vault,
        fingerprints: Mapping[str, str],
        *,
        allow_changed: bool = False,
    ) -> None:
        self.run = run
        self.allow_changed = allow_changed
        self.fingerprints = fingerprints
        self.history = history
        self.vault = vault
        self._notes: list[Entry] = []
        self._noting = threading.Lock()
        self._told: set[str] = set()

    def note(self, kind: str, subject: str, data: Mapping[str, Any]) -> None:
        """Write an event down together with the next one that is committed: nothing hangs on it alone."""
        with self._noting:
            self._notes.append(Entry(kind, subject, data))

    def commit(self, kind: str, subject: str, data: Mapping[str, Any]) -> None:
        """Write an event down; returns when it is safe on disk.

        Raises:
            StorageError: it is not.
        """
        with self._noting:
            entries = [*self._notes, Entry(kind, subject, data)]
            self._notes.clear()
        self.run.journal.commit(entries)

    def condition(self, node: str, name: str, decide: Callable[[], bool]) -> bool:
        """What a condition said when it was first asked at this place of the run; only then is it asked."""
        key = here().key(node, name)
        known = self.history.conditions.get(key)
        if known is not None:
            return known
        holds = decide()
        self.note("condition", key, {"holds": holds})
        return holds

    def tell_once(self, message: str) -> None:
        """Warn, once in this run."""
        if message not in self._told:
            self._told.add(message)
            _log.warning("%s: %s", self.history.name, message)

    @contextmanager
    def scope(self, prefix: str = "") -> Iterator[None]:
        """Code in this block, and what it starts, is at a new place of the run."""
        token = SCOPE.set(Scope(self, prefix))
        try:
            yield
        finally:
            SCOPE.reset(token)


class NodeRecord:
    """How the passages of one node are recorded; made when the graph is linked.

    Args:
        recorder: of the run.
        node: its id.
        stage: its name, for messages.
        returns: the type of what leaves the membrane; None where it is not known.
        keeps: whether the outcome is committed as a value that a resumed run goes on with.
        fingerprint: of the node, for the cache.
        store_hooks: the hooks that need a store, and `serialize`; of local and global ones the one that counts.
    """

    def __init__(
        self,
        recorder: Recorder,
        node: str,
        stage: str,
        returns: Any,
        *,
        keeps: bool,
        fingerprint: str,
        store_hooks: Mapping[str, Any],
    ) -> None:
        self.recorder = recorder
        self.node = node
        self.stage = stage
        self.returns = returns
        self.fingerprint = fingerprint
        self.hooks = store_hooks
        self.asked: bool = bool(store_hooks.get("checkpoint"))
        self.keeps: bool = keeps and store_hooks.get("checkpoint") is not False
        if self.keeps and not self.asked and storable(returns) is False:
            self.keeps = False
            recorder.tell_once(f'what stage "{stage}" gives cannot be stored: a resumed run computes it again')

    def element(self, index: int) -> Visit:
        """The passage of one element of a map; the map's own is around it."""
        return Visit(self, here().element(self.node, index))

    def visit(self) -> Visit:
        """The next passage of the node at this place."""
        return Visit(self, here().key(self.node))


class Visit:
    """One passage of a node."""

    __slots__ = ("_began", "_cpu", "_record", "_seconds", "cache_entry", "key", "known")

    def __init__(self, record: NodeRecord, key: str) -> None:
        self._record = record
        self.key: str = key
        self.known: Passage = record.recorder.history.passages.get(key) or Passage()
        self.cache_entry: str | None = None
        self._began = 0.0
        self._seconds = 0.0
        self._cpu = 0.0

    # -- what is known --------------------------------------------------------------------------------------------

    @property
    def is_done(self) -> bool:
        """Whether the outcome can be read back."""
        return self.known.done and (self.known.skipped or self.known.output.is_there)

    def restore(self, skipped: object) -> Any:
        """The committed outcome; `skipped` where the stage was skipped without a value.

        Raises:
            StorageError: it is damaged.
        """
        nest = NEST.get()
        if nest is not None:
            nest.report_again(self.known.reports)
        if self.known.skipped:
            return skipped
        record = self._record
        return record.recorder.vault.read(self.known.output, record.returns, f'the output of stage "{record.stage}"')

    def would_poison(self, error: Exception) -> bool:
        """Whether this failure is one too many that has killed the worker."""
        return reason_of(error).value in KILLS and self.known.kills + 1 >= POISON_LIMIT

    # -- what happens -----------------------------------------------------------------------------------------------

    @contextmanager
    def inside(self) -> Iterator[None]:
        """What runs in this block runs inside the current attempt."""
        with self._record.recorder.scope(f"{self.key}~{self.known.attempt}/"):
            yield

    def started(self) -> int:
        """An attempt begins; how many have failed before, plus one."""
        self._apply("stage.started", {"attempt": self.known.attempt})
        fail_point("stage.started")
        self._began = time.monotonic()
        self._cpu = time.process_time()
        return self.known.failures + 1

    def succeeded(self) -> None:
        """The attempt has given its data; what is left is to keep them."""
        self._seconds = time.monotonic() - self._began
        self._cpu = time.process_time() - self._cpu

    def failed(self, error: BaseException, last: bool) -> None:
        """The attempt has failed; `last`: it is not tried again."""
        data = {
            "attempt": self.known.attempt,
            **failure_text(error),
            "seconds": time.monotonic() - self._began,
            "last": last,
        }
        self._apply("stage.failed", data)

    def keep(self, value: Any, *, archive: bool = False, cached: Stored | None = None) -> None:
        """Commit the outcome.

        Raises:
            Unstorable: the hook `checkpoint=True` asks for what cannot be done.
            StorageError: the disk cannot take it.
        """
        record = self._record
        fail_point("stage.called")
        stored = cached or Stored()
        if cached is None and record.keeps:
            stored = self._stored(value)
        data: dict[str, Any] = {**stored.to_json(), "seconds": self._seconds}
        if cached is not None:
            data["cached"] = True
        if archive:
            data["archive"] = True
        if record.hooks.get("profile"):
            data["profile"] = self._profile()
        nest = NEST.get()
        if nest is not None and (reports := nest.new_reports()):
            data["reports"] = reports
        self._apply("stage.done", data)
        fail_point("stage.committed")

    def skip(self, value: Any, skipped: object) -> None:
        """Commit that the stage was skipped: with a default in its place, or without a value."""
        stored = Stored() if value is skipped or not self._record.keeps else self._stored(value)
        self._apply("stage.done", {**stored.to_json(), "skipped": value is skipped})

    def archived(self) -> None:
        """The outcome has been archived."""
        self._apply("stage.archived", {})

    # -- across runs ------------------------------------------------------------------------------------------------

    def look_up(self, inputs: object) -> Stored | None:
        """The outcome of another run, if there is one.

        Args:
            inputs: what the `cache_key` hook gave, else the arguments of the stage.
        """
        record = self._record
        vault = record.recorder.vault
        try:
            self.cache_entry = vault.cache_key(record.fingerprint, inputs)
        except Unstorable as error:
            record.recorder.tell_once(f'stage "{record.stage}" is not cached: {error}')
            return None
        return vault.cached(self.cache_entry)

    def read(self, stored: Stored) -> Any:
        """A value that `look_up` has found."""
        return self._record.recorder.vault.read(stored, self._record.returns, f'the cache of "{self._record.stage}"')

    def remember(self, value: Any) -> None:
        """Put the outcome into the cache."""
        if self.cache_entry is not None:
            try:
                self._record.recorder.vault.remember(self.cache_entry, value, f'the output of "{self._record.stage}"')
            except Unstorable as error:
                self._record.recorder.tell_once(f'stage "{self._record.stage}" is not cached: {error}')

    def write_file(self, path: object, content: object, serialized: bool) -> None:
        """What `checkpoint_path` asks for."""
        record = self._record
        record.recorder.vault.write_file(path, content, f'stage "{record.stage}"', serialized=serialized)

    # -- inside -----------------------------------------------------------------------------------------------------

    def _stored(self, value: Any) -> Stored:
        record = self._record
        try:
            return record.recorder.vault.store(value, f'the output of stage "{record.stage}"')
        except Unstorable as error:
            if record.asked:
                raise
            record.recorder.tell_once(f"{error}: a resumed run computes it again")
            return Stored()

    def _profile(self) -> dict[str, float]:
        """Of the whole process: what ran beside the stage counts, too."""
        import resource

        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return {"wall_seconds": self._seconds, "cpu_seconds": self._cpu, "peak_kilobytes": float(peak)}

    def _apply(self, kind: str, data: Mapping[str, Any]) -> None:
        recorder = self._record.recorder
        recorder.commit(kind, self.key, data)
        recorder.history.apply(_Happened(kind, self.key, time.time(), data))
        self.known = recorder.history.passages[self.key]


class _Happened:
    """An event that this driver has just committed."""

    __slots__ = ("data", "kind", "subject", "time")

    def __init__(self, kind: str, subject: str, time: float, data: Mapping[str, Any]) -> None:
        self.kind, self.subject, self.time, self.data = kind, subject, time, data


def failure_text(error: BaseException) -> dict[str, str]:
    """Why something has failed, as it stands in an event; secrets are masked."""
    import os

    from metta.sweep.executors.serial import describe_error
    from metta.sweep.redaction import Redactor, secrets_in

    text = describe_error(error, error.__traceback__, Redactor(secrets_in(os.environ)))
    return {"reason": reason_of(error).value, "message": text.message, "traceback": text.traceback}


def reason_of(error: BaseException) -> FailureReason:
    """Why a stage failed, as far as its exception says."""
    from metta.sweep.errors import StageTimeout, WorkerDied
    from metta.sweep.executors.serial import reason_of as of_user

    if isinstance(error, StageTimeout):
        return FailureReason.TIMEOUT
    if isinstance(error, WorkerDied):
        return FailureReason(error.reason)
    return of_user(error)
