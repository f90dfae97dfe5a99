"""What a journal holds, as values; their JSON text; and the chain of digests that ties them together."""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping, Sequence
from hashlib import blake2b
from json import JSONDecoder, JSONEncoder
from typing import Any, Final, NamedTuple

from metta.sweep.errors import UsageError
from metta.sweep.trial import number_to_json

CHAIN_SIZE: Final = 16
"""Bytes of a link of the chain. It detects damage; it is no signature."""

CHAIN_START: Final = bytes(CHAIN_SIZE)


ARTIFACT: Final = "artifact:"
"""What stands before the digest of an artifact in the data of an event: `doctor` then wants it to be there."""


class Entry(NamedTuple):
    """An event to be written.

    Args:
        kind: what happened, such as "trial.started".
        subject: to whom, such as the key of a stage; empty for the run itself.
        data: JSON values. NaN and infinities become "nan", "inf" and "-inf", which `float` reads back.
        time: when, in seconds since the epoch; None for now.
    """

    kind: str
    subject: str = ""
    data: Any = None
    time: float | None = None


class ReportEntry(NamedTuple):
    """The metrics of one step of a trial, to be written. A trial reports a step once."""

    trial: int
    step: int
    metrics: Mapping[str, float]
    time: float | None = None


class Event(NamedTuple):
    """An event of the journal. `time` is in seconds since the epoch."""

    seq: int
    time: float
    kind: str
    subject: str
    data: Any


class StoredReport(NamedTuple):
    """A report of the journal."""

    seq: int
    time: float
    trial: int
    step: int
    metrics: dict[str, float]


class TrialRow(NamedTuple):
    """What is known of a trial by now: a cache of what the entries say.

    Args:
        id: the number of the trial.
        state: of the trial, such as "running".
        step: the last step reported.
        score: a number to order by; None where there is none (NaN counts as none).
        data: JSON values, the whole record.
    """

    id: int
    state: str
    step: int
    score: float | None
    data: Any


class Snapshot(NamedTuple):
    """The state of whoever wrote it after the entry `seq`: a cache that saves reading the entries up to there."""

    seq: int
    data: Any


_encoder: Final = JSONEncoder(allow_nan=False, separators=(",", ":"))
# NaN, Infinity and -Infinity are not JSON, and this module does not write them.
_decoder: Final = JSONDecoder(parse_constant=lambda token: _refuse(token))


def _refuse(token: str) -> Any:
    raise ValueError(f"{token} is not JSON")


def to_text(data: object, what: str) -> str:
    """The JSON text of `data`, in ASCII.

    Raises:
        UsageError: `data` are not JSON values; the message starts with `what`.
    """
    try:
        try:
            return _encoder.encode(data)
        except ValueError:  # NaN or an infinity, or a circle, which the copying then finds
            return _encoder.encode(_with_finite_numbers(data))
    except (TypeError, ValueError, RecursionError) as error:
        raise UsageError(f"{what} should be JSON values: {error}") from None


def _with_finite_numbers(data: object) -> object:
    if isinstance(data, float):
        return number_to_json(data)
    if isinstance(data, Mapping):
        return {key: _with_finite_numbers(value) for key, value in data.items()}
    if isinstance(data, Sequence) and not isinstance(data, str):
        return [_with_finite_numbers(value) for value in data]
    return data


def metrics_to_text(metrics: Mapping[str, float]) -> str:
    """The JSON text of metrics.

    Raises:
        UsageError: they are no mapping of names to numbers.
    """
    try:
        return _encoder.encode({name: value if math.isfinite(value) else str(value) for name, value in metrics.items()})
    except (TypeError, ValueError, OverflowError, AttributeError) as error:
        raise UsageError(f"the metrics of a report should be a mapping of names to numbers: {error}") from None


def from_text(text: bytes) -> Any:
    """The values of a JSON text.

    Raises:
        ValueError: it is no JSON, or too deeply nested.
    """
    try:
        return _decoder.decode(text.decode())
    except RecursionError:
        raise ValueError("too deeply nested") from None


def metrics_from_text(text: bytes) -> dict[str, float]:
    """The metrics that `metrics_to_text` wrote.

    Raises:
        ValueError: the text is something else.
    """
    metrics = from_text(text)
    if not isinstance(metrics, dict):
        raise ValueError("metrics should be a mapping")
    try:
        return {name: float(value) for name, value in metrics.items()}
    except (TypeError, OverflowError) as error:
        raise ValueError(str(error)) from None


# Lengths stand before texts, so that no two rows hash the same bytes.
StructError = struct.error

_EVENT: Final = struct.Struct("<cqdII")
_REPORT: Final = struct.Struct("<cqdqq")
_ROW: Final = struct.Struct("<qq?dI")


def event_link(previous: bytes, seq: int, time: float, kind: bytes, subject: bytes, data: bytes) -> bytes:
    """The chain after an event, given the chain before it (UTF-8 texts as they stand in the database)."""
    head = _EVENT.pack(b"E", seq, time, len(kind), len(subject))
    return blake2b(b"".join((previous, head, kind, subject, data)), digest_size=CHAIN_SIZE).digest()


def report_link(previous: bytes, seq: int, time: float, trial: int, step: int, metrics: bytes) -> bytes:
    """The chain after a report, given the chain before it."""
    head = _REPORT.pack(b"R", seq, time, trial, step)
    return blake2b(previous + head + metrics, digest_size=CHAIN_SIZE).digest()


def row_digest(id: int, state: bytes, step: int, score: float | None, data: bytes) -> bytes:
    """The digest of a trial's row."""
    head = _ROW.pack(id, step, score is not None, score or 0.0, len(state))
    return blake2b(head + state + data, digest_size=CHAIN_SIZE).digest()


def snapshot_digest(seq: int, chain: bytes, data: bytes) -> bytes:
    """The digest of a snapshot taken after the entry `seq`, where the chain was `chain`."""
    return blake2b(seq.to_bytes(8, "little") + chain + data, digest_size=CHAIN_SIZE).digest()


def toggled(total: bytes, digest: bytes) -> bytes:
    """A set of digests as their exclusive or: adds `digest` to `total`, or takes it out again."""
    return (int.from_bytes(total, "little") ^ int.from_bytes(digest, "little")).to_bytes(CHAIN_SIZE, "little")
