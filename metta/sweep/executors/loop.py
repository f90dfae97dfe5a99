"""The thread that looks after the workers of one pool.

All their state belongs to it: it waits for frames, output, exits and time-outs, and hands out tasks. Other threads post
commands. It runs no code of the user's: calls were pickled by the thread that submitted them, and results are
unpickled by the thread that reads the event stream, so one slow `__setstate__` cannot hold up another task's time-out.
"""

from __future__ import annotations

import math
import os
import pickle
import selectors
import signal
import socket
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Final

from metta.sweep.errors import InternalError
from metta.sweep.executors import outcome
from metta.sweep.executors.base import Event, EventStream, Failed, Logged, Reported, Started, StateSaved, Task
from metta.sweep.executors.process import kill_group, oom_kills
from metta.sweep.executors.spawner import Exited, ForkServer, Ready, Spawned, SpawnFailed
from metta.sweep.executors.tasklog import TaskLog
from metta.sweep.executors.wire import READ_SIZE, FrameBuffer, Kind, frame, message
from metta.sweep.executors.worker import Surroundings, setup_message
from metta.sweep.trial import FailureReason, Report

_DRAIN_LIMIT: Final = 64
"""Reads at most when emptying a pipe: a grandchild may fill it as fast as we read."""


@dataclass(eq=False, slots=True)
class Job:
    """A task that was submitted and is not over."""

    task: Task
    events: EventStream
    call: bytes
    surroundings: Surroundings

    @property
    def slots(self) -> int:
        """How many slots it takes: its cores, rounded up, at least one."""
        return max(1, math.ceil(self.task.resources.cpus))

    @property
    def time_limit(self) -> float:
        """Seconds it may run, infinity for no limit."""
        limits = (self.task.timeout, self.task.resources.time_limit_seconds)
        return min((limit for limit in limits if limit is not None), default=math.inf)


@dataclass(eq=False, slots=True)
class _Running:
    """A job that a worker has."""

    job: Job
    log: TaskLog
    started: float
    deadline: float
    oom_kills: int
    stopping: FailureReason | None = None


@dataclass(eq=False, slots=True)
class _Worker:
    number: int
    connection: socket.socket
    output: int
    process: int = 0
    frames: FrameBuffer = field(default_factory=FrameBuffer)
    outgoing: bytearray = field(default_factory=bytearray)
    running: _Running | None = None
    surroundings: Surroundings | None = None
    ending: bool = False
    kill_at: float = math.inf

    @property
    def is_idle(self) -> bool:
        return self.process != 0 and self.running is None and not self.ending


class Loop:
    """Runs in one thread (`run`); `post` is the only method for others, who post the commands below it.

    Args:
        slots: how many tasks of one core run at once; also the largest number of worker processes.
        grace: seconds between SIGTERM and SIGKILL.
        over: called with the token of each task that is over, before its last event is put.
    """

    def __init__(self, slots: int, grace: float, over: Callable[[str], None]) -> None:
        self._slots = slots
        self._grace = grace
        self._over = over
        self._lock = threading.Lock()
        self._commands: deque[Callable[[], None]] = deque()
        self._released = False
        self._wake_read, self._wake_write = os.pipe()
        os.set_blocking(self._wake_read, False)
        os.set_blocking(self._wake_write, False)
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._wake_read, selectors.EVENT_READ, self._on_wake)
        self._server: ForkServer | None = None
        self._server_is_up = False
        self._next_number = 0
        self._workers: dict[int, _Worker] = {}
        self._waiting: deque[Job] = deque()
        self._closing = False
        self._close_by = math.inf

    def post(self, command: Callable[[], None]) -> bool:
        """Have a command called in the loop's thread. False: it has ended, nothing is called any more."""
        with self._lock:
            if self._released:
                return False
            if not self._commands:
                with suppress(BlockingIOError):
                    os.write(self._wake_write, b"!")
            self._commands.append(command)
            return True

    # --- commands

    def submit(self, job: Job) -> None:
        """Queue a job."""
        self._waiting.append(job)

    def answer(self, token: str, sequence: int, answer: str) -> None:
        """Pass an answer on to the worker that has the task."""
        worker = self._worker_of(token)
        if worker is not None:
            self._send(worker, message(Kind.ANSWER, sequence, answer))

    def cancel(self, token: str) -> None:
        """Take a job from the queue, or stop its worker."""
        waiting = next((job for job in self._waiting if job.task.token == token), None)
        if waiting is not None:
            self._waiting.remove(waiting)
            self._conclude(waiting, Failed(token, FailureReason.CANCELLED, "cancelled before it started"))
        elif (worker := self._worker_of(token)) is not None:
            self._stop(worker, FailureReason.CANCELLED)

    def close(self) -> None:
        """Cancel everything; `run` returns when every worker is gone."""
        self._closing = True
        self._close_by = time.monotonic() + 2 * self._grace + 1
        for job in list(self._waiting):
            self.cancel(job.task.token)
        for worker in self._workers.values():
            if worker.running is not None:
                self._stop(worker, FailureReason.CANCELLED)
            else:
                with suppress(OSError):
                    worker.connection.shutdown(socket.SHUT_WR)  # it reads the end, and goes
                worker.ending = True
                worker.kill_at = time.monotonic() + self._grace

    # --- the thread

    def run(self) -> None:
        """Work until `close` was posted and everything has ended."""
        why = "the executor was closed"
        try:
            while not self._closing or (self._workers and time.monotonic() < self._close_by):
                for key, ready in self._selector.select(self._seconds_to_next_limit()):
                    # An earlier callback of this round may have closed this descriptor.
                    if self._selector.get_map().get(key.fd) is key:
                        key.data(ready)
                self._enforce_limits()
                self._hand_out()
        except Exception as error:
            why = str(InternalError(f"the executor's thread failed with {type(error).__name__}: {error}"))
            raise
        finally:
            self._closing = True
            self._lose_server(why)
            self._run_commands()
            self._fail_waiting(why)
            self._release()

    def forget(self) -> None:
        """In a fork of this process: let go of every descriptor, so that only the real driver holds them."""
        self._lock = threading.Lock()  # another thread may have held it when the process forked
        if self._released:
            return
        for worker in self._workers.values():
            worker.connection.close()
            with suppress(OSError):  # the thread, which is not in the fork, may just have closed it
                os.close(worker.output)
        if self._server is not None:
            self._server.forget()
        self._release()

    def _release(self) -> None:
        with self._lock:
            self._released = True
            self._selector.close()
            os.close(self._wake_read)
            os.close(self._wake_write)

    def _on_wake(self, ready: int) -> None:
        os.read(self._wake_read, READ_SIZE)
        self._run_commands()

    def _run_commands(self) -> None:
        with self._lock:
            commands, self._commands = self._commands, deque()
        for command in commands:
            command()

    # --- time

    def _seconds_to_next_limit(self) -> float | None:
        limits = [self._close_by]
        for worker in self._workers.values():
            limits.append(worker.kill_at)
            if worker.running is not None and not worker.ending:
                limits.append(worker.running.deadline)
        first = min(limits)
        return None if first == math.inf else max(0.0, first - time.monotonic())

    def _enforce_limits(self) -> None:
        now = time.monotonic()
        for worker in list(self._workers.values()):
            if worker.running is not None and now >= worker.running.deadline:
                self._stop(worker, FailureReason.TIMEOUT)
            if now >= worker.kill_at and worker.process:
                worker.kill_at = math.inf
                self._signal(worker, signal.SIGKILL)

    def _stop(self, worker: _Worker, reason: FailureReason) -> None:
        """SIGTERM to the whole process group; SIGKILL follows after the grace."""
        if worker.ending or worker.running is None:
            return
        worker.running.stopping = reason
        worker.ending = True
        worker.kill_at = time.monotonic() + self._grace
        self._signal(worker, signal.SIGTERM)

    def _signal(self, worker: _Worker, number: signal.Signals) -> None:
        if self._server is not None:
            with suppress(OSError):  # the server is gone: reading from it will say so
                self._server.signal(worker.process, number)

    # --- handing out

    def _hand_out(self) -> None:
        """Give waiting jobs to idle workers, first come first served; fork workers that are missing."""
        if self._closing:
            return
        free = self._slots - sum(worker.running.job.slots for worker in self._workers.values() if worker.running)
        idle = [worker for worker in self._workers.values() if worker.is_idle]
        while self._waiting and idle and self._waiting[0].slots <= free:
            job = self._waiting.popleft()
            free -= job.slots
            self._start(idle.pop(), job)
        wanted = 0
        for job in self._waiting:
            free -= job.slots
            if free < 0:
                break
            wanted += 1
        if wanted:
            self._ensure_server()
        coming = sum(not worker.process for worker in self._workers.values())
        for _ in range(wanted - coming):
            self._spawn()

    def _start(self, worker: _Worker, job: Job) -> None:
        task = job.task
        self._read_output(worker)  # what came after the last task belongs to nobody
        now = time.monotonic()
        worker.running = _Running(job, TaskLog(task.log_folder), now, now + job.time_limit, oom_kills())
        job.events.put(Started(task.token, str(worker.process)))
        if job.surroundings != worker.surroundings:
            worker.surroundings = job.surroundings
            self._send(worker, setup_message(job.surroundings))
        run = pickle.dumps((task.name, task.channel, job.call), protocol=5)
        self._send(worker, frame(Kind.RUN, run))

    def _ensure_server(self) -> None:
        if self._server is None:
            self._server = ForkServer()
            self._server_is_up = False
            self._selector.register(self._server.connection, selectors.EVENT_READ, self._on_server)

    def _spawn(self) -> None:
        if self._server is None:
            return
        self._next_number += 1
        number = self._next_number
        try:
            connection, output = self._server.spawn(number)
        except OSError as error:  # no descriptors left, or the server is gone
            self._fail_to_spawn(str(error))
            return
        worker = _Worker(number, connection, output)
        self._workers[number] = worker
        self._selector.register(connection, selectors.EVENT_READ, partial(self._on_connection, worker))
        self._selector.register(output, selectors.EVENT_READ, partial(self._on_output, worker))

    def _fail_to_spawn(self, why: str) -> None:
        """Without any worker nothing would ever come of the oldest job; with one it waits for that."""
        if self._waiting and not self._workers:
            job = self._waiting.popleft()
            text = f"no worker process could be started: {why}"
            self._conclude(job, Failed(job.task.token, FailureReason.KILLED, text))

    # --- the fork server

    def _on_server(self, ready: int) -> None:
        assert self._server is not None
        try:
            for event in self._server.read():
                match event:
                    case Ready():
                        self._server_is_up = True
                    case Spawned(number, process):
                        self._workers[number].process = process
                    case SpawnFailed(number, why):
                        self._drop(self._workers[number])
                        self._fail_to_spawn(why)
                    case Exited(number, code):
                        self._on_exit(self._workers[number], code)
        except ConnectionError:
            self._lose_server("the fork server ended; its own message, if any, is on stderr")

    def _lose_server(self, why: str) -> None:
        """End the server and everything it started; running jobs fail, waiting ones only if it never came up."""
        if self._server is None:
            return
        self._selector.unregister(self._server.connection)
        code = self._server.close()
        self._server = None
        for worker in list(self._workers.values()):
            if worker.process:
                kill_group(worker.process, signal.SIGKILL)
            self._on_exit(worker, -signal.SIGKILL)
        if not self._server_is_up:
            self._fail_waiting(f"no worker process could be started: {why} (exit code {code})")

    def _fail_waiting(self, why: str) -> None:
        while self._waiting:
            job = self._waiting.popleft()
            self._conclude(job, Failed(job.task.token, FailureReason.KILLED, why))

    # --- one worker

    def _worker_of(self, token: str) -> _Worker | None:
        for worker in self._workers.values():
            if worker.running is not None and worker.running.job.task.token == token:
                return worker
        return None

    def _send(self, worker: _Worker, data: bytes) -> None:
        worker.outgoing += data
        self._flush(worker)

    def _flush(self, worker: _Worker) -> None:
        waits = selectors.EVENT_READ
        try:
            while worker.outgoing:
                del worker.outgoing[: worker.connection.send(worker.outgoing)]
        except BlockingIOError:
            waits |= selectors.EVENT_WRITE
        except OSError:  # the worker is gone; its exit is on its way
            worker.outgoing.clear()
        key = self._selector.get_map().get(worker.connection)
        if key is not None and key.events != waits:
            self._selector.modify(worker.connection, waits, key.data)

    def _on_connection(self, worker: _Worker, ready: int) -> None:
        if ready & selectors.EVENT_WRITE:
            self._flush(worker)
        if ready & selectors.EVENT_READ and not self._read_frames(worker):
            # It ended, or the task closed descriptors that are not its own: no worker to go on with.
            self._selector.unregister(worker.connection)
            worker.ending = True
            worker.kill_at = min(worker.kill_at, time.monotonic() + self._grace)

    def _read_frames(self, worker: _Worker) -> bool:
        """Handle what has arrived; False at the end of the connection."""
        try:
            data = worker.connection.recv(READ_SIZE)
        except BlockingIOError:
            return True
        except OSError:
            return False
        for kind, payload in worker.frames.feed(data):
            if worker.running is not None:
                self._on_frame(worker, worker.running, kind, payload)
        return bool(data)

    def _on_frame(self, worker: _Worker, running: _Running, kind: Kind, payload: bytes) -> None:
        token, put = running.job.task.token, running.job.events.put
        if kind is Kind.REPORT:
            sequence, step, metrics = pickle.loads(payload)
            put(Reported(token, sequence, Report(step, metrics)))
        elif kind is Kind.SAVED:
            step, path = pickle.loads(payload)
            put(StateSaved(token, step, Path(path)))
        elif running.stopping is None:  # else it was too late: its exit ends the task
            decode = outcome.from_result if kind is Kind.RESULT else outcome.from_error
            self._read_output(worker)
            worker.running = None
            log, seconds = running.log.close(), time.monotonic() - running.started
            self._conclude(running.job, partial(decode, token, payload, log, seconds))

    def _on_output(self, worker: _Worker, ready: int) -> None:
        if not self._read_output(worker, limit=1):
            self._selector.unregister(worker.output)

    def _read_output(self, worker: _Worker, limit: int = _DRAIN_LIMIT) -> bool:
        """Take over the output that is there; False at its end."""
        for _ in range(limit):
            try:
                data = os.read(worker.output, READ_SIZE)
            except BlockingIOError:
                return True
            if not data:
                return False
            if worker.running is not None:
                text = worker.running.log.feed(data)
                if worker.running.job.task.stream_log:
                    worker.running.job.events.put(Logged(worker.running.job.task.token, text))
        return True

    def _on_exit(self, worker: _Worker, code: int) -> None:
        """A worker is gone: what it sent before still counts, then its job fails and another takes its place."""
        while self._has_more(worker) and self._read_frames(worker):
            pass
        self._read_output(worker)
        running, worker.running = worker.running, None
        self._drop(worker)
        if running is None:
            return
        task = running.job.task
        log, seconds = running.log.close(), time.monotonic() - running.started
        if running.stopping is not None:
            limit = running.job.time_limit
            event = outcome.from_stop(task.token, task.name, running.stopping, log, seconds, limit)
        else:
            starved = code == -signal.SIGKILL and oom_kills() > running.oom_kills
            event = outcome.from_exit(task.token, code, log, seconds, out_of_memory=starved)
        self._conclude(running.job, event)

    def _has_more(self, worker: _Worker) -> bool:
        try:
            return bool(worker.connection.recv(1, socket.MSG_PEEK))
        except OSError:
            return False

    def _drop(self, worker: _Worker) -> None:
        del self._workers[worker.number]
        for descriptor in (worker.connection, worker.output):
            if self._selector.get_map().get(descriptor) is not None:
                self._selector.unregister(descriptor)
        worker.connection.close()
        os.close(worker.output)

    def _conclude(self, job: Job, event: Event | Callable[[], Event]) -> None:
        self._over(job.task.token)
        job.events.put(event)
