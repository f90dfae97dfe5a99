"""What every executor offers: submit, events, cancel, reattach, capacity.

A driver opens a stream, submits tasks to it and reads what happens:

    with LocalExecutor(max_workers=2) as executor:
        stream = executor.events()
        executor.submit(Task(token="a", fn=train, args=(0.1,)), stream)
        match stream.get():
            case Reported() as event:
                executor.answer(event, Answer.CONTINUE)
            case Finished(result=result):
                ...

Per task the order is `Started`, then any number of `Reported`, `StateSaved` and `Logged`, then exactly one
`Finished` or `Failed`, after which its token says nothing more. A task that never got a worker has no `Started`.
The token names the attempt, not the trial: it is the fence that keeps a late answer of an older attempt out, and
what a restarted driver looks for on a cluster (`reattach`).
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from queue import Empty, Queue
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

from metta.sweep.trial import FailureReason, Report, Resources

if TYPE_CHECKING:
    import asyncio


class Answer(StrEnum):
    """What a scheduler says to a report. PAUSE and STOP both end the attempt: `trial.should_stop()` is True."""

    CONTINUE = "continue"
    PAUSE = "pause"
    STOP = "stop"


@dataclass(frozen=True, slots=True)
class ChannelSettings:
    """Where the states of a trial live.

    Attributes:
        folder: the trial's folder; made when needed.
        restore: the state `trial.load()` returns: its path as a `StateSaved` event gave it. None: a first start.
        keep: how many of the newest states stay.
        states: where they are written; None for the trial's folder.
    """

    folder: Path
    restore: Path | None = None
    keep: int = 2
    states: Path | None = None

    @property
    def states_folder(self) -> Path:
        """Where the states are written."""
        return self.folder if self.states is None else self.states


@dataclass(frozen=True, slots=True)
class Task:
    """One call for a worker.

    Attributes:
        token: names this attempt; no other task of the executor has it.
        fn: what is called, sync or async. Functions of `__main__`, lambdas and closures travel by value.
        args: positional arguments.
        kwargs: keyword arguments.
        name: for messages.
        resources: what it needs.
        timeout: seconds from `Started` until the attempt is stopped; None for no limit.
        log_folder: stdout and stderr are appended to `log.txt` there; None: only their tail is kept.
        stream_log: also send them as `Logged` events while the task runs.
        channel: if given, `fn` is called with `channel=`, a `TrialChannel` (see `objective.trial_task`).
    """

    token: str
    fn: Callable[..., object]
    args: tuple[Any, ...] = ()
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    name: str = ""
    resources: Resources = field(default_factory=Resources)
    timeout: float | None = None
    log_folder: Path | None = None
    stream_log: bool = False
    channel: ChannelSettings | None = None


@dataclass(frozen=True, slots=True)
class Started:
    """A worker has the task. `worker` says which: for a local one, its process id."""

    token: str
    worker: str


@dataclass(frozen=True, slots=True)
class Reported:
    """The task reported. Every report wants one `executor.answer`: the task may be waiting for it.

    `sequence` numbers the reports of this attempt, ascending.
    """

    token: str
    sequence: int
    report: Report


@dataclass(frozen=True, slots=True)
class StateSaved:
    """A state is safe on disk at `path`, and belongs to the report of `step`, which follows or came before."""

    token: str
    step: int
    path: Path


@dataclass(frozen=True, slots=True)
class Logged:
    """A piece of the task's output (stdout and stderr as one stream)."""

    token: str
    text: str


@dataclass(frozen=True, slots=True)
class Finished:
    """The task returned `result`. `log` is the tail of its output, `seconds` the time since `Started`."""

    token: str
    result: Any
    log: str = ""
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Failed:
    """The task did not return.

    Attributes:
        token: of the task.
        reason: whose fault it was.
        message: one line, at most some hundred characters: "ValueError: no such layer".
        traceback: the user's part of the formatted traceback; "" where there is none.
        exception: the exception itself, where it could travel.
        log: the tail of the task's output.
        seconds: since `Started`; 0.0 without one.
        used: what the leaves below a trial in the driver have used, as metrics; None for a task of a worker.
    """

    token: str
    reason: FailureReason
    message: str
    traceback: str = ""
    exception: BaseException | None = None
    log: str = ""
    seconds: float = 0.0
    used: Mapping[str, float] | None = None


Event: TypeAlias = Started | Reported | StateSaved | Logged | Finished | Failed


class EventStream:
    """A queue of events for one consumer: a thread (`get`) or an asyncio loop (`await aget()`)."""

    def __init__(self) -> None:
        # No SimpleQueue: where its thread is held up for longer than the time-out of `get`, CPython waits for ever
        # (3.11 at least): it counts on with a time that has become negative.
        self._events: Queue[Event | Callable[[], Event]] = Queue()
        self._lock = threading.Lock()
        self._waiters: list[tuple[asyncio.AbstractEventLoop, asyncio.Future[None]]] = []

    def put(self, event: Event | Callable[[], Event]) -> None:
        """Add an event; any thread may.

        A callable is called by the consumer, in its own thread: unpickling a result runs the user's code, which must
        not hold up the thread that watches the time-outs of all tasks.
        """
        self._events.put(event)
        if not self._waiters:  # one that comes only now looks at the queue once more before it waits
            return
        with self._lock:
            waiters, self._waiters = self._waiters, []
        for loop, waiter in waiters:
            try:
                loop.call_soon_threadsafe(_wake, waiter)
            except RuntimeError:  # the loop was closed while it waited
                continue

    def get(self, timeout: float | None = None) -> Event:
        """The next event; blocks until there is one.

        Raises:
            TimeoutError: `timeout` seconds passed without an event.
        """
        try:
            event = self._events.get(timeout=timeout)
        except Empty:
            raise TimeoutError(f"no event within {timeout:g} s") from None
        return event() if callable(event) else event

    async def aget(self) -> Event:
        """`get` for a coroutine: waits without blocking its loop."""
        import asyncio

        loop = asyncio.get_running_loop()
        while True:
            entry = (loop, loop.create_future())
            with self._lock:
                self._waiters.append(entry)
            try:
                # Only now: an event that came before would have woken nobody.
                event = self._events.get_nowait()
                break
            except Empty:
                await entry[1]
            finally:
                with self._lock:
                    if entry in self._waiters:
                        self._waiters.remove(entry)
        return event() if callable(event) else event

    def __len__(self) -> int:
        return self._events.qsize()


def _wake(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)


class Executor(Protocol):
    """Where tasks run. All methods may be called from any thread and return at once, `close` excepted."""

    @property
    def capacity(self) -> int | None:
        """How many tasks run at the same time; None where a queue of its own decides. More may be submitted."""

    @property
    def outlives_driver(self) -> bool:
        """Whether tasks go on when their driver dies, so that the next one can `reattach` them."""

    def events(self) -> EventStream:
        """A new, empty stream; tasks are submitted to it."""

    def submit(self, task: Task, events: EventStream) -> None:
        """Hand in a task. Whatever goes wrong with it becomes a `Failed` in `events`.

        Raises:
            UsageError: the executor is closed, or a task with this token is not over.
        """

    def answer(self, report: Reported, answer: Answer) -> None:
        """Tell a task what its report has led to. Ignored when the task is over."""

    def cancel(self, token: str) -> None:
        """Stop a task: its processes are ended, then `Failed` with the reason "cancelled". Ignored when over."""

    def reattach(self, token: str, events: EventStream, folder: Path | None = None, *, also_ended: bool = True) -> bool:
        """Adopt a task that an earlier driver submitted, and that nobody has given up. False: there is none.

        Its events are told from the beginning, also those that the earlier driver has heard.

        Args:
            token: of the task.
            events: where they go.
            folder: the `log_folder` of the task.
            also_ended: also one whose last event that driver was told: it may have died before it could keep it.
        """

    def close(self) -> None:
        """Cancel what is left and end every process; blocks until that is done. May be called twice."""
