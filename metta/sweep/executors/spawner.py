"""The driver's side of the fork server: start it, have it fork and signal workers, end it."""

from __future__ import annotations

import os
import pickle
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from metta.sweep.errors import UsageError
from metta.sweep.executors.wire import READ_SIZE, FrameBuffer, Kind, message

_END_TIMEOUT: Final = 5.0


@dataclass(frozen=True, slots=True)
class Ready:
    """The server is up."""


@dataclass(frozen=True, slots=True)
class Spawned:
    """A worker lives."""

    number: int
    process: int


@dataclass(frozen=True, slots=True)
class SpawnFailed:
    """A worker could not be forked."""

    number: int
    why: str


@dataclass(frozen=True, slots=True)
class Exited:
    """A worker is gone, its process group too. A negative code is the signal that ended it."""

    number: int
    code: int


class ForkServer:
    """A running fork server. The thread that makes it must outlive it (see `process.die_with_parent`)."""

    def __init__(self) -> None:
        # Imported late: the server's program is the one module that the driver needs only the name of.
        from metta.sweep.executors.forkserver import BOOT

        if not sys.executable:
            raise UsageError("worker processes need a Python interpreter, but sys.executable is not set")
        self.connection: socket.socket
        self.connection, theirs = socket.socketpair()
        with theirs:
            descriptor = theirs.fileno()
            self._process = subprocess.Popen(
                [sys.executable, "-c", BOOT, str(descriptor), str(os.getpid()), *sys.path],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=(descriptor,),
                start_new_session=True,
            )
        self._frames = FrameBuffer()

    def spawn(self, number: int) -> tuple[socket.socket, int]:
        """Have worker `number` forked: our end of its connection, and the descriptor to read its output from.

        Raises:
            OSError: no descriptors are left, or the server is gone.
        """
        ours, theirs = socket.socketpair()
        output, their_output = os.pipe()
        ours.setblocking(False)
        os.set_blocking(output, False)
        try:
            socket.send_fds(self.connection, [message(Kind.SPAWN, number)], [theirs.fileno(), their_output])
        except OSError:
            ours.close()
            os.close(output)
            raise
        finally:
            theirs.close()
            os.close(their_output)
        return ours, output

    def signal(self, process: int, number: int) -> None:
        """Send a signal to the process group of a worker, if it lives."""
        self.connection.sendall(message(Kind.SIGNAL, process, number))

    def read(self) -> Iterator[Ready | Spawned | SpawnFailed | Exited]:
        """What the server has to tell; to be called when the connection is readable.

        Raises:
            ConnectionError: the server is gone.
        """
        data = self.connection.recv(READ_SIZE)
        if not data:
            raise ConnectionResetError("the fork server ended")
        for kind, payload in self._frames.feed(data):
            values = pickle.loads(payload)
            if kind is Kind.READY:
                yield Ready()
            elif kind is Kind.SPAWNED:
                yield Spawned(*values)
            elif kind is Kind.SPAWN_FAILED:
                yield SpawnFailed(*values)
            elif kind is Kind.EXITED:
                yield Exited(*values)

    def close(self) -> int:
        """End the server, and with it every worker that is left; its exit code."""
        self.connection.close()
        try:
            return self._process.wait(_END_TIMEOUT)
        except subprocess.TimeoutExpired:  # stopped, say, by a debugger
            self._process.kill()
            return self._process.wait()

    def forget(self) -> None:
        """In a fork of the driver: leave the server to the process that started it."""
        self.connection.close()
        self._process.returncode = 0  # keeps Popen from minding a child that is not this process's
