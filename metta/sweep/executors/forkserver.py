"""The fork server: a small process that forks workers, signals their process groups and reaps them.

Why it exists. Forking it takes a millisecond or two, a fresh interpreter fifty. It has one thread and no libraries, so
forking it is safe, which forking a user's driver is not. As the parent of all workers it can signal a process
group without any doubt that its number still means that group, it ends them all when the driver dies (its
connection closes, in whatever way the driver went), and nothing it started stays a zombie.
"""

from __future__ import annotations

import os
import pickle
import select
import signal
import socket
import sys
from collections import deque
from contextlib import suppress
from typing import NoReturn

from metta.sweep.executors.process import adopt_orphans, die_with_parent, kill_group, offer_to_oom
from metta.sweep.executors.wire import READ_SIZE, FrameBuffer, Kind, message
from metta.sweep.executors.worker import serve

BOOT = (
    "import sys; sys.path[:] = sys.argv[3:]; "
    "from metta.sweep.executors.forkserver import main; main(int(sys.argv[1]), int(sys.argv[2]))"
)
"""Run by `python -c` with the connection's descriptor, the driver's process id and the driver's `sys.path`."""


def main(descriptor: int, driver: int) -> NoReturn:
    """Serve the driver behind a connected socket until it is gone."""
    server = _Server(socket.socket(fileno=descriptor))
    die_with_parent(driver, signal.SIGTERM)
    adopt_orphans()
    try:
        server.run()
    finally:
        server.end_all()
        os._exit(0)


class _Server:
    def __init__(self, driver: socket.socket) -> None:
        self._driver = driver
        self._driver.setblocking(True)
        self._frames = FrameBuffer()
        self._descriptors: deque[int] = deque()
        self._workers: dict[int, int] = {}  # process id -> worker number
        self._stop = False
        self._wake_read, self._wake_write = os.pipe()
        os.set_blocking(self._wake_read, False)
        os.set_blocking(self._wake_write, False)
        signal.set_wakeup_fd(self._wake_write, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda number, frame: None)
        signal.signal(signal.SIGTERM, self._on_sigterm)
        signal.signal(signal.SIGINT, signal.SIG_IGN)

    def run(self) -> None:
        self._driver.sendall(message(Kind.READY))
        while not self._stop:
            readable: list[socket.socket | int] = [self._driver, self._wake_read]
            ready, _, _ = select.select(readable, [], [])
            if self._wake_read in ready:
                with suppress(BlockingIOError):
                    os.read(self._wake_read, READ_SIZE)
                self._reap()
            if self._driver in ready and not self._read():
                return

    def end_all(self) -> None:
        """Kill and reap every worker."""
        for worker in self._workers:
            kill_group(worker, signal.SIGKILL)
        for worker in self._workers:
            with suppress(ChildProcessError):
                os.waitpid(worker, 0)

    def _on_sigterm(self, number: int, frame: object) -> None:
        self._stop = True

    def _read(self) -> bool:
        """Handle what the driver sent; False when it is gone."""
        try:
            data, descriptors, _, _ = socket.recv_fds(self._driver, READ_SIZE, 64)
        except ConnectionError:
            return False
        for descriptor in descriptors:
            os.set_inheritable(descriptor, False)
        self._descriptors.extend(descriptors)
        for kind, payload in self._frames.feed(data):
            if kind is Kind.SPAWN:
                (number,) = pickle.loads(payload)
                self._spawn(number, self._descriptors.popleft(), self._descriptors.popleft())
            elif kind is Kind.SIGNAL:
                process, signal_number = pickle.loads(payload)
                if process in self._workers:  # else it is reaped: the number may be another's by now
                    kill_group(process, signal_number)
        return bool(data)

    def _spawn(self, number: int, connection: int, output: int) -> None:
        own = os.getpid()
        try:
            process = os.fork()
        except OSError as error:
            self._send(message(Kind.SPAWN_FAILED, number, str(error)))
        else:
            if process == 0:
                self._become_worker(own, connection, output)
            # Both sides set the group: whoever is first, a signal sent from now on finds it.
            with suppress(OSError):
                os.setpgid(process, process)
            self._workers[process] = number
            self._send(message(Kind.SPAWNED, number, process))
        os.close(connection)
        os.close(output)

    def _become_worker(self, server: int, connection: int, output: int) -> NoReturn:
        try:
            os.setpgid(0, 0)
            die_with_parent(server, signal.SIGKILL)
            offer_to_oom()
            signal.set_wakeup_fd(-1)
            for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT):
                signal.signal(number, signal.SIG_DFL)
            os.close(self._wake_read)
            os.close(self._wake_write)
            self._driver.close()
            os.dup2(output, 1)
            os.dup2(output, 2)
            os.close(output)
            serve(socket.socket(fileno=connection))
        finally:
            os._exit(1)

    def _reap(self) -> None:
        """Take leave of every child that ended: workers, and grandchildren that lost their parent."""
        while True:
            try:
                process, code = self._next_ended_child()
            except ChildProcessError:
                return
            if process == 0:
                return
            if process in self._workers:
                self._send(message(Kind.EXITED, self._workers.pop(process), code))

    def _next_ended_child(self) -> tuple[int, int]:
        """Reap one child, and end what is left of a worker's group: (process id, exit code), (0, 0) for none."""
        if sys.platform == "linux":
            ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            if ended is None:
                return 0, 0
            if ended.si_pid in self._workers:
                # Before it is reaped: until then no other process or group can get its number.
                kill_group(ended.si_pid, signal.SIGKILL)
            process, status = os.waitpid(ended.si_pid, 0)
        else:
            process, status = os.waitpid(-1, os.WNOHANG)
            if process in self._workers:
                kill_group(process, signal.SIGKILL)
        return process, os.waitstatus_to_exitcode(status)

    def _send(self, data: bytes) -> None:
        try:
            self._driver.sendall(data)
        except OSError:
            self._stop = True
