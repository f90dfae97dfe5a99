"""What the journal of a pipeline's run says: which stages have ended how, folded from its events.

    run.started     {"name", "fingerprints": {node id: digest}, "inputs": {name: stored value}}
    run.resumed     {"dropped": [key, ...]}           the outcomes that a changed plan has made void
    stage.started   subject: key; {"attempt"}
    stage.failed    subject: key; {"attempt", "reason", "message", "traceback", "seconds", "last"}
    stage.done      subject: key; {"seconds", "value" | "artifact" | neither, "skipped", "cached", "profile", "archive"}
    stage.archived  subject: key
    condition       subject: key; {"holds"}
    run.completed   {"value" | "artifact" | neither}
    run.failed      {"reason", "message", "traceback"}
    run.cancelled   {}

A *key* names one passage of one node: its id, "#2" for its second pass in a loop, "[3]" for the element of a map,
behind "<key>~2/" for what stands in the second attempt of a nested pipeline.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple, Protocol

from metta.sweep.errors import DamagedError
from metta.sweep.store.entries import ARTIFACT
from metta.sweep.store.run import RunStatus
from metta.sweep.trial import FailureReason


class EventLike(Protocol):
    """An event as the journal gives it."""

    @property
    def kind(self) -> str: ...
    @property
    def subject(self) -> str: ...
    @property
    def time(self) -> float: ...
    @property
    def data(self) -> Mapping[str, Any]: ...


class Stored(NamedTuple):
    """Where a value is: in the event itself, in an artifact, or nowhere because it cannot be stored."""

    value: str | None = None
    artifact: str | None = None

    @property
    def is_there(self) -> bool:
        """Whether it can be read back."""
        return self.value is not None or self.artifact is not None

    def to_json(self) -> dict[str, Any]:
        """As it stands in an event."""
        if self.artifact is not None:
            return {"artifact": ARTIFACT + self.artifact}
        return {} if self.value is None else {"value": self.value}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Stored:
        """What `to_json` wrote."""
        artifact = data.get("artifact")
        return cls(data.get("value"), None if artifact is None else artifact.removeprefix(ARTIFACT))


NOWHERE = Stored()


@dataclass(frozen=True, slots=True)
class Passage:
    """One passage of a node.

    Attributes:
        started: when its last attempt began, in seconds since 1970.
        attempt: the number of the current attempt, from 1: one that a driver's death has cut short, and one whose
            failure has ended the run, are gone on with under the same number.
        failures: how many attempts have failed since the run last began or failed.
        preemptions: how many have lost their machine since then, which is no failure of theirs.
        kills: how many of those have killed their worker.
        done: whether its outcome is committed.
        output: where that is.
        skipped: it was skipped without a value.
        cached: the outcome is that of another run.
        seconds: of the successful attempt.
        profile: what `profile=True` has measured of it.
        archive_pending: the outcome is committed and has not been archived yet.
        reports: what it has reported for the trial that the run belongs to: [step, metrics] each.
        reason, message, traceback: of its last failure.
    """

    started: float = 0.0
    attempt: int = 1
    failures: int = 0
    preemptions: int = 0
    kills: int = 0
    done: bool = False
    output: Stored = NOWHERE
    skipped: bool = False
    cached: bool = False
    seconds: float = 0.0
    profile: Mapping[str, float] | None = None
    archive_pending: bool = False
    reports: Sequence[Sequence[Any]] = ()
    reason: str = ""
    message: str = ""
    traceback: str = ""


KILLS = ("killed", "oom")
PREEMPTIONS = tuple(reason.value for reason in FailureReason if not reason.uses_up_retries)


@dataclass(slots=True)
class History:
    """The state of a run: what its events add up to."""

    name: str = ""
    fingerprints: Mapping[str, str] = field(default_factory=dict)
    inputs: Mapping[str, Stored] = field(default_factory=dict)
    status: RunStatus = RunStatus.RUNNING
    passages: dict[str, Passage] = field(default_factory=dict)
    conditions: dict[str, bool] = field(default_factory=dict)
    result: Stored = NOWHERE
    reason: str = ""
    message: str = ""
    traceback: str = ""
    resumed: int = 0
    starts: dict[str, int] = field(default_factory=dict)
    """How often an attempt of each passage was begun, over all drivers."""
    pending: dict[str, int] = field(default_factory=dict)
    """Of passages whose last attempt has not failed: the number of its first start. A driver that died may have left it
    running elsewhere."""

    @classmethod
    def of(cls, events: Iterable[EventLike]) -> History:
        """Fold the events of a journal."""
        history = cls()
        for event in events:
            history.apply(event)
        return history

    def apply(self, event: EventLike) -> None:
        """Take one event; depends on nothing but the state and the event.

        Raises:
            DamagedError: it is none that a driver writes.
        """
        try:
            self._apply(event)
        except (LookupError, TypeError, ValueError, AttributeError) as error:
            what = f'an event "{event.kind}" of {event.subject!r:.100}: {type(error).__name__}: {error!s:.200}'
            raise DamagedError(f"the journal is not what was written: {what}") from error

    def _apply(self, event: EventLike) -> None:
        data, key = event.data, event.subject
        match event.kind:
            case "run.started":
                self.name = str(data["name"])
                self.fingerprints = data["fingerprints"]
                self.inputs = {name: Stored.from_json(stored) for name, stored in data["inputs"].items()}
            case "run.resumed":
                self._resume(data)
            case "stage.started":
                self.passages[key] = replace(self.passages.get(key, _FRESH), started=event.time)
                self.starts[key] = self.starts.get(key, 0) + 1
                self.pending.setdefault(key, self.starts[key])
            case "stage.failed":
                self._fail(key, data)
            case "stage.done":
                self.passages[key] = replace(
                    self.passages.get(key, _FRESH),
                    done=True,
                    output=Stored.from_json(data),
                    skipped=data.get("skipped", False),
                    reports=data.get("reports", ()),
                    cached=data.get("cached", False),
                    seconds=float(data.get("seconds", 0.0)),
                    profile=data.get("profile"),
                    archive_pending=data.get("archive", False),
                )
            case "stage.archived":
                self.passages[key] = replace(self.passages[key], archive_pending=False)
            case "condition":
                self.conditions[key] = data["holds"]
            case "run.completed":
                self.status, self.result = RunStatus.COMPLETED, Stored.from_json(data)
            case "run.failed":
                self.status = RunStatus.FAILED
                self.reason, self.message, self.traceback = _texts(data, "reason", "message", "traceback")
            case "run.cancelled":
                self.status = RunStatus.CANCELLED
            case _:
                pass  # written by a later release, which says so by the version of the schema where it matters

    def _resume(self, data: Mapping[str, Any]) -> None:
        self.status = RunStatus.RUNNING
        self.resumed += 1
        self.reason = self.message = self.traceback = ""
        self.fingerprints = data.get("fingerprints", self.fingerprints)
        if "inputs" in data:
            self.inputs = {name: Stored.from_json(stored) for name, stored in data["inputs"].items()}
        for key in data["dropped"]:
            self.passages.pop(key, None)
            self.pending.pop(key, None)
            self.conditions.pop(key, None)

    def _fail(self, key: str, data: Mapping[str, Any]) -> None:
        before = self.passages.get(key, _FRESH)
        reason, message, traceback = _texts(data, "reason", "message", "traceback")
        last, preempted = bool(data["last"]), reason in PREEMPTIONS
        self.pending.pop(key, None)
        self.passages[key] = replace(
            before,
            attempt=before.attempt + (not last),
            # Whoever resumes a run that has failed for good wants its stage tried again, as often as it may be.
            failures=0 if last else before.failures + (not preempted),
            preemptions=0 if last else before.preemptions + preempted,
            kills=0 if last else before.kills + (reason in KILLS),
            reason=reason,
            message=message,
            traceback=traceback,
        )


def _texts(data: Mapping[str, Any], *names: str) -> tuple[str, ...]:
    return tuple(str(data[name]) for name in names)


_FRESH = Passage()
