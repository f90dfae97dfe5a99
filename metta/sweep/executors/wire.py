"""The frames that the driver and a worker exchange over their private socket.

A frame is a little-endian header (payload length: 8 bytes, kind: 1 byte) and the payload. Control payloads
are pickled tuples of plain values: the socket is an inherited descriptor of our own child, no file and no
network port, so whoever could write to it can already run code as this user.
"""

from __future__ import annotations

import enum
import pickle
import struct
from collections.abc import Iterator
from typing import BinaryIO

HEADER = struct.Struct("<QB")
READ_SIZE = 1 << 18


class Kind(enum.IntEnum):
    """What a frame is; the comment gives its payload."""

    # driver -> worker
    SETUP = 1  # Surroundings, as a tuple
    RUN = 2  # (name, ChannelSettings | None, secrets, bytes of (fn, args, kwargs))
    ANSWER = 3  # (sequence number of the report, Answer value)
    # worker -> driver
    REPORT = 16  # (sequence number, step, metrics)
    SAVED = 17  # (step, path)
    RESULT = 18  # bytes of the pickled result, for the consumer to unpickle
    ERROR = 19  # ErrorText, as a tuple
    # fork server
    READY = 32  # ()
    SPAWN = 33  # worker number; two descriptors travel with it
    SPAWNED = 34  # (worker number, process id)
    SPAWN_FAILED = 35  # (worker number, text)
    SIGNAL = 36  # (process id, signal number): to its whole process group
    EXITED = 37  # (worker number, wait status as os.waitstatus_to_exitcode gives it)


def frame(kind: Kind, payload: bytes) -> bytes:
    """One frame, ready to be sent."""
    return HEADER.pack(len(payload), kind) + payload


def message(kind: Kind, *values: object) -> bytes:
    """A frame whose payload is a tuple of plain values."""
    return frame(kind, pickle.dumps(values, protocol=5))


class FrameBuffer:
    """Cuts a byte stream that arrives in pieces into frames."""

    def __init__(self) -> None:
        self._data = bytearray()

    def feed(self, data: bytes) -> Iterator[tuple[Kind, bytes]]:
        """Add what arrived; yield every frame that is complete now."""
        self._data += data
        start = 0
        try:
            while len(self._data) - start >= HEADER.size:
                length, kind = HEADER.unpack_from(self._data, start)
                end = start + HEADER.size + length
                if len(self._data) < end:
                    break
                with memoryview(self._data) as view:
                    payload = bytes(view[start + HEADER.size : end])
                start = end
                yield Kind(kind), payload
        finally:
            del self._data[:start]


def read_frame(stream: BinaryIO) -> tuple[Kind, bytes] | None:
    """The next frame of a blocking stream; None at its end (also in the middle of a frame)."""
    header = stream.read(HEADER.size)
    if len(header) < HEADER.size:
        return None
    length, kind = HEADER.unpack(header)
    payload = stream.read(length)
    return (Kind(kind), payload) if len(payload) == length else None
