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
from functools import partial
from pathlib import Path
from typing import Final

from metta.sweep.errors import InternalError
from metta.sweep.executors import outcome
from metta.sweep.executors.base import Event, EventStream, Failed, Logged, Reported, Started, StateSaved
from metta.sweep.executors.jobs import Equipment, Job, Running, Worker
from metta.sweep.executors.memory import MemoryWatch, readable, usage_of
from metta.sweep.executors.placement import Demand, Room, next_to_start
from metta.sweep.executors.process import OomCounter, kill_group
from metta.sweep.executors.spawner import Exited, ForkServer, Ready, Spawned, SpawnFailed
from metta.sweep.executors.tasklog import TaskLog
from metta.sweep.executors.wire import READ_SIZE, Kind, frame, message
from metta.sweep.executors.worker import setup_message
from metta.sweep.trial import FailureReason, Report

_COMPANY: Final = 0.002
"""Seconds that a `Started` waits for the next event, so that both wake the consumer once."""

_DRAIN_LIMIT: Final = 64
"""Reads at most when emptying a pipe: a grandchild may fill it as fast as we read."""

_OOM_READ_INTERVAL: Final = 1.0
"""Seconds for which the count of processes that the kernel killed for want of memory is taken as known."""

_MOST_LOST_WORKERS: Final = 3
"""After so many workers that ended before they could start it, a job fails."""


class Loop:
    """Runs in one thread (`run`); `post` is the only method for others, who post the commands below it.

    Args:
        slots: how many tasks of one core run at once; also the largest number of worker processes.
        grace: seconds between SIGTERM and SIGKILL.
        devices: gives the devices that are handed out; None: workers see those that the driver sees.
        over: called with the token of each task that is over, before its last event is put.
    """

    def __init__(
        self,
        slots: int,
        grace: float,
        devices: Callable[[], tuple[str, ...]] | None,
        over: Callable[[str], None],
    ) -> None:
        self._slots = slots
        self._grace = grace
        self._devices = devices
        self._device_shares: dict[str, float] = {}  # filled when a task first wants one
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
        self._workers: dict[int, Worker] = {}
        self._waiting: deque[Job] = deque()
        self._closing = False
        self._close_by = math.inf
        self._outbox: list[tuple[EventStream, Event | Callable[[], Event]]] = []
        self._tell_by = math.inf
        self._memory = MemoryWatch()
        self._oom = OomCounter()
        self._oom_kills = 0
        self._oom_read = -math.inf

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
        if job.demand.gpus and self._devices is not None and not self._device_shares:
            self._device_shares = dict.fromkeys(self._devices(), 1.0)

    def answer(self, token: str, sequence: int, answer: str) -> None:
        """Pass an answer on to the worker that has the task."""
        worker = self._worker_of(token)
        if worker is not None and worker.running is not None:
            self._send(worker, message(Kind.ANSWER, sequence, answer))

    def cancel(self, token: str) -> None:
        """Take a job from the queue, or stop its worker."""
        waiting = next((job for job in self._waiting if job.task.token == token), None)
        if waiting is not None:
            self._waiting.remove(waiting)
            self._conclude(waiting, Failed(token, FailureReason.CANCELLED, "cancelled before it started"))
        elif (worker := self._worker_of(token)) is not None:
            if worker.assigned is not None:
                job, worker.assigned = worker.assigned, None
                self._conclude(job, Failed(token, FailureReason.CANCELLED, "cancelled before it started"))
            else:
                self._stop(worker, FailureReason.CANCELLED)

    def close(self) -> None:
        """Cancel everything; `run` returns when every worker is gone."""
        self._closing = True
        self._close_by = time.monotonic() + 2 * self._grace + 1
        for job in list(self._waiting):
            self.cancel(job.task.token)
        for worker in self._workers.values():
            if worker.job is not None:
                self.cancel(worker.job.task.token)
            if worker.running is None:
                self._retire(worker)

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
                if time.monotonic() >= self._tell_by:
                    self._tell()
        except Exception as error:
            why = str(InternalError(f"the executor's thread failed with {type(error).__name__}: {error}"))
            raise
        finally:
            self._closing = True
            self._lose_server(why)
            self._run_commands()
            self._fail_waiting(why)
            self._tell()
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

    def _put(self, job: Job, event: Event | Callable[[], Event]) -> None:
        """Have an event told at the end of this round. A `Started` alone waits a little for company.

        Waking the consumer costs as much as all the rest of a short task, and for that one event is as dear as two.
        """
        self._outbox.append((job.events, event))
        if not isinstance(event, Started):
            self._tell_by = -math.inf
        elif self._tell_by == math.inf:
            self._tell_by = time.monotonic() + _COMPANY

    def _tell(self) -> None:
        outbox, self._outbox = self._outbox, []
        self._tell_by = math.inf
        for stream, event in outbox:
            stream.put(event)

    def _run_commands(self) -> None:
        with self._lock:
            commands, self._commands = self._commands, deque()
        for command in commands:
            command()

    # --- time

    def _seconds_to_next_limit(self) -> float | None:
        limits = [self._close_by, self._tell_by]
        for worker in self._workers.values():
            limits.append(worker.kill_at)
            if worker.running is not None and not worker.ending:
                limits.append(worker.running.deadline)
                if worker.running.job.memory_limit is not None:
                    limits.append(self._memory.due)
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
        if now >= self._memory.due:
            self._enforce_memory()

    def _enforce_memory(self) -> None:
        limited = {
            worker.process: (worker, limit)
            for worker in self._workers.values()
            if worker.running is not None and (limit := worker.running.job.memory_limit) is not None
        }
        if not limited:
            return
        for process, used in self._memory.exceeded({group: limit for group, (_, limit) in limited.items()}).items():
            worker, limit = limited[process]
            why = (
                f"the task and its children used {readable(used)} of memory, its limit is {readable(limit)}: "
                "they were killed"
            )
            # At once: what keeps on growing must not have the grace.
            self._stop(worker, FailureReason.OOM, why, at_once=True)

    def _stop(self, worker: Worker, reason: FailureReason, why: str = "", *, at_once: bool = False) -> None:
        """SIGTERM to the whole process group; SIGKILL follows after the grace, or comes at once."""
        if worker.ending or worker.running is None:
            return
        worker.running.stopping = reason
        worker.running.why = why
        worker.ending = True
        worker.kill_at = math.inf if at_once else time.monotonic() + self._grace
        self._signal(worker, signal.SIGKILL if at_once else signal.SIGTERM)

    def _retire(self, worker: Worker) -> None:
        """Have a worker without a job end."""
        with suppress(OSError):
            worker.connection.shutdown(socket.SHUT_WR)  # it reads the end, and goes
        worker.ending = True
        worker.kill_at = time.monotonic() + self._grace

    def _signal(self, worker: Worker, number: signal.Signals) -> None:
        if self._server is not None:
            with suppress(OSError):  # the server is gone: reading from it will say so
                self._server.signal(worker.process, number)

    # --- handing out

    def _hand_out(self) -> None:
        """Start the waiting jobs that may start (see `placement`), on warm workers or new ones."""
        while self._waiting and not self._closing:
            room = self._room()
            position = next_to_start((job.demand for job in self._waiting), self._waiting[0].overtaken, room)
            if position is None:
                return
            job = self._waiting[position]
            devices = room.devices_for(job.demand)
            equipment = Equipment(job.threads, None if self._devices is None else devices)
            if not self._place(job, equipment):
                return
            if position:
                self._waiting[0].overtaken += 1

    def _room(self) -> Room:
        """What is free. The devices of a worker that is ending are not: it may hold their memory until it is gone."""
        room = Room(self._slots, self._device_shares)
        for worker in self._workers.values():
            if worker.job is not None:
                room = room.without(worker.job.demand, worker.devices)
            elif worker.ending and worker.devices:
                room = room.without(Demand(0, len(worker.devices)), worker.devices)
        return room

    def _place(self, job: Job, equipment: Equipment) -> bool:
        """Give a waiting job to a worker; False: workers have to end first, or none can be started now."""
        idle = [worker for worker in self._workers.values() if worker.is_idle]
        found = next((worker for worker in reversed(idle) if worker.equipment == equipment), None)
        if found is not None and self._is_bloated(found, job):
            self._retire(found)
            return False
        # An idle worker keeps what its libraries have cached on its devices.
        needed = set(equipment.devices or ())
        crowd = [worker for worker in idle if worker is not found and needed.intersection(worker.devices)]
        crowd = [worker for worker in crowd if job.demand.gpus >= 1 or worker.equipment != equipment]
        for worker in crowd:
            self._retire(worker)
        if crowd:
            return False
        self._waiting.remove(job)
        if found is not None:
            self._start(found, job)
            return True
        if idle and sum(not worker.ending for worker in self._workers.values()) >= self._slots:
            self._retire(idle[0])
        return self._spawn(job, equipment)

    def _is_bloated(self, worker: Worker, job: Job) -> bool:
        """Whether earlier jobs of a worker have left it with so much memory that a limited job would be blamed."""
        limit = job.memory_limit
        if limit is None or not worker.started:
            return False
        usage = usage_of((worker.process,)).get(worker.process)
        return usage is not None and usage.resident > limit / 2 and usage.bytes > limit / 2

    def _start(self, worker: Worker, job: Job) -> None:
        task = job.task
        now = time.monotonic()
        if now - self._oom_read > _OOM_READ_INTERVAL:
            self._oom_kills, self._oom_read = self._oom.read(), now
        listen = (lambda text: self._put(job, Logged(task.token, text))) if task.stream_log else None
        log = TaskLog(task.log_folder, job.redactor, listen)
        worker.running = Running(job, log, now, now + job.time_limit, self._oom_kills)
        worker.started += 1
        self._put(job, Started(task.token, str(worker.process)))
        run = frame(Kind.RUN, pickle.dumps((task.name, task.channel, job.secrets, job.call), protocol=5))
        if job.surroundings != worker.surroundings:
            worker.surroundings = job.surroundings
            run = setup_message(worker.equip(job.surroundings)) + run
        self._send(worker, run)

    def _ensure_server(self) -> ForkServer:
        if self._server is None:
            self._server = ForkServer()
            self._server_is_up = False
            self._selector.register(self._server.connection, selectors.EVENT_READ, self._on_server)
        return self._server

    def _spawn(self, job: Job, equipment: Equipment) -> bool:
        """Have a worker forked for a job; whether that could be asked for."""
        self._next_number += 1
        number = self._next_number
        try:
            connection, output = self._ensure_server().spawn(number)
        except OSError as error:  # no descriptors left, or the server is gone
            self._fail_to_spawn(job, str(error))
            return False
        worker = Worker(number, connection, output, equipment, assigned=job)
        self._workers[number] = worker
        self._selector.register(connection, selectors.EVENT_READ, partial(self._on_connection, worker))
        self._selector.register(output, selectors.EVENT_READ, partial(self._on_output, worker))
        return True

    def _fail_to_spawn(self, job: Job, why: str) -> None:
        """While others have workers the job waits for one of those; without any nothing would ever come of it."""
        if any(worker.job is not None for worker in self._workers.values()):
            self._waiting.appendleft(job)
            return
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
                        self._on_spawned(self._workers[number], process)
                    case SpawnFailed(number, why):
                        worker = self._workers[number]
                        self._drop(worker)
                        if worker.assigned is not None:
                            self._fail_to_spawn(worker.assigned, why)
                    case Exited(number, code):
                        self._on_exit(self._workers[number], code)
        except ConnectionError:
            self._lose_server("the fork server ended; its own message, if any, is on stderr")

    def _on_spawned(self, worker: Worker, process: int) -> None:
        worker.process = process
        job, worker.assigned = worker.assigned, None
        if job is not None:
            self._start(worker, job)

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
            if worker.assigned is not None:
                self._wait_again(worker.assigned, why)
        if not self._server_is_up:
            self._fail_waiting(f"no worker process could be started: {why} (exit code {code})")

    def _wait_again(self, job: Job, why: str) -> None:
        """A job lost the worker that it was to have: that may happen, but not for ever."""
        job.lost_workers += 1
        if job.lost_workers < _MOST_LOST_WORKERS:
            self._waiting.appendleft(job)
        else:
            self._conclude(
                job, Failed(job.task.token, FailureReason.KILLED, f"no worker process lived to start it: {why}")
            )

    def _fail_waiting(self, why: str) -> None:
        while self._waiting:
            job = self._waiting.popleft()
            self._conclude(job, Failed(job.task.token, FailureReason.KILLED, why))

    # --- one worker

    def _worker_of(self, token: str) -> Worker | None:
        for worker in self._workers.values():
            if worker.job is not None and worker.job.task.token == token:
                return worker
        return None

    def _send(self, worker: Worker, data: bytes) -> None:
        worker.outgoing += data
        self._flush(worker)

    def _flush(self, worker: Worker) -> None:
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

    def _on_connection(self, worker: Worker, ready: int) -> None:
        if ready & selectors.EVENT_WRITE:
            self._flush(worker)
        if ready & selectors.EVENT_READ and not self._read_frames(worker):
            # It ended, or the task closed descriptors that are not its own: no worker to go on with.
            self._selector.unregister(worker.connection)
            worker.ending = True
            worker.kill_at = min(worker.kill_at, time.monotonic() + self._grace)

    def _read_frames(self, worker: Worker) -> bool:
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

    def _on_frame(self, worker: Worker, running: Running, kind: Kind, payload: bytes) -> None:
        token, put = running.job.task.token, partial(self._put, running.job)
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
            self._conclude(running.job, partial(decode, token, payload, log, seconds, running.job.redactor))

    def _on_output(self, worker: Worker, ready: int) -> None:
        if not self._read_output(worker, limit=1):
            self._selector.unregister(worker.output)

    def _read_output(self, worker: Worker, limit: int = _DRAIN_LIMIT) -> bool:
        """Take over the output that is there; False at its end."""
        for _ in range(limit):
            try:
                data = os.read(worker.output, READ_SIZE)
            except BlockingIOError:
                return True
            if not data:
                return False
            if worker.running is not None:
                worker.running.log.feed(data)
        return True

    def _on_exit(self, worker: Worker, code: int) -> None:
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
            event = outcome.from_stop(
                task.token, task.name, running.stopping, log, seconds, limit=limit, why=running.why
            )
        else:
            starved = code == -signal.SIGKILL and self._oom.read() > running.oom_kills
            event = outcome.from_exit(task.token, code, log, seconds, out_of_memory=starved)
        self._conclude(running.job, event)

    def _has_more(self, worker: Worker) -> bool:
        try:
            return bool(worker.connection.recv(1, socket.MSG_PEEK))
        except OSError:
            return False

    def _drop(self, worker: Worker) -> None:
        del self._workers[worker.number]
        for descriptor in (worker.connection, worker.output):
            if self._selector.get_map().get(descriptor) is not None:
                self._selector.unregister(descriptor)
        worker.connection.close()
        os.close(worker.output)

    def _conclude(self, job: Job, event: Event | Callable[[], Event]) -> None:
        self._over(job.task.token)
        self._put(job, event)
