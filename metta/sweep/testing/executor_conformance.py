"""The contract of an executor as a suite of tests: subclass it, say how to make one, and let pytest find it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import chdir, contextmanager
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar, Final
from uuid import uuid4

import cloudpickle

from metta.sweep.errors import UsageError
from metta.sweep.executors.base import Answer, Executor, Finished, Reported, Started, StateSaved, Task
from metta.sweep.executors.jobs import THREAD_VARIABLES
from metta.sweep.executors.serial import MESSAGE_LIMIT, TRACEBACK_LIMIT
from metta.sweep.executors.tasklog import TAIL_LIMIT
from metta.sweep.testing import executor_tasks as tasks
from metta.sweep.testing.executor_session import Record, Session
from metta.sweep.trial import FailureReason, Resources

_RUN: Final = "import pickle, sys; call, *args = pickle.load(sys.stdin.buffer); call(*args)"
"""The program of a driver that is to be killed: what it does comes over its stdin."""

_CANARY: Final = "c4n4ry-0f-the-conformance-suite"

_KILLED: Final = (FailureReason.KILLED, FailureReason.NODE_LOST, FailureReason.LOST_CONTACT)


class ExecutorConformance:
    """Tests that hold for every executor. For one of your own::

        class TestMine(ExecutorConformance):
            def make(self, folder: Path) -> Executor:
                return MyExecutor(spool=folder)

    An umpire checks the order of all events. One executor serves all tests, which therefore see it as a long run
    does; pytest closes it after the last one (`teardown_class`). The suite needs no pytest: the tests are plain methods
    with plain asserts. It wants room for four tasks at a time.

    Attributes:
        shared: a folder at the same path for driver and workers; None: the system's folder for temporary files.
        patience: seconds in which the next event has to come, the start of a worker and the retries after a death
            included.
        enforces_memory: whether `Resources.memory` is a limit; else the suite does not try.
        refuses_too_much: whether a task that wants more cores than there are anywhere is refused; an engine that may
            grow, or counts no cores, keeps it waiting.
        passes_environment: whether tasks see the driver's environment variables.
        crowd: how many tasks are submitted at once.
        time_limit: seconds of the limits that are set: a task that has started must get to its first line in them.
    """

    shared: ClassVar[Path | None] = None
    patience: ClassVar[float] = 60.0
    enforces_memory: ClassVar[bool] = True
    refuses_too_much: ClassVar[bool] = True
    passes_environment: ClassVar[bool] = False
    crowd: ClassVar[int] = 20
    time_limit: ClassVar[float] = 6.0

    _made: ClassVar[tuple[Executor, Path] | None] = None

    def make(self, folder: Path) -> Executor:
        """A new executor, the same one each time; what it keeps on disk it keeps below `folder`.

        It is also called in another process, which has a copy of this object.
        """
        raise TypeError(f"{type(self).__name__} has to say how an executor is made: write make(self, folder)")

    @classmethod
    def teardown_class(cls) -> None:
        """Close the executor and remove its folder."""
        made = vars(cls).get("_made")
        if made is not None:
            executor, folder = made
            cls._made = None
            executor.close()
            shutil.rmtree(folder, ignore_errors=True)

    # Results and failures

    def test_results(self) -> None:
        """They come back equal, of sync and of async functions; the events are Started and Finished."""
        value = {"a": [1, 2.5, None], "text": "naïve \u2028", "bytes": b"\x00\xff", "pair": (1, "b")}
        with self._session() as session:
            records = [session.submit(fn, value) for fn in (tasks.echo, tasks.echo_async, lambda value: value)]
            session.wait()
            for record in records:
                _same(record.result, value, "a result")
                _same([type(event) for event in record.events], [Started, Finished], "the events")
                assert record.finished.seconds > 0, "the task took no time"

    def test_many_tasks_at_once(self) -> None:
        """Each ends once, with a result of its own, some of them failures."""
        with self._session() as session:
            good = [session.submit(tasks.echo, number) for number in range(self.crowd)]
            bad = [session.submit(tasks.fail, f"number {number}") for number in range(2)]
            session.wait()
            _same([record.result for record in good], list(range(self.crowd)), "the results")
            messages = [record.failed(FailureReason.USER_ERROR).message for record in bad]
            _same(messages, ["ValueError: number 0", "ValueError: number 1"], "the messages")

    def test_bad_tasks(self) -> None:
        """What cannot be sent, imported, stored or ends by itself: a failure with a sentence, whoever noticed."""
        with self._session() as session:
            lock = session.submit(tasks.echo, threading.Lock())
            nowhere = session.submit(tasks.echo, tasks.Unimportable())
            result = session.submit(tasks.give_a_lock)
            exits = session.submit(tasks.call_exit, 3)
            session.wait()
            for record, words in (
                (lock, "lock"),
                (nowhere, "a_module_that_is_nowhere"),
                (result, "lock"),
                (exits, "exit"),
            ):
                message = record.failed(FailureReason.USER_ERROR).message
                assert words in message, f"expected a message with {words!r}: {message!r}"
            _same(session.run(tasks.echo, "fine").result, "fine", "the result of a good task after the bad ones")

    def test_exceptions(self) -> None:
        """The kind, the text, the cause and the place arrive; a built-in exception arrives as itself."""
        with self._session() as session:
            plain = session.submit(tasks.fail, "no such layer")
            caused = session.submit(tasks.fail_from_a_cause, "no such key")
            session.wait()
            failed = plain.failed(FailureReason.USER_ERROR)
            _same(failed.message, "ValueError: no such layer", "the message")
            _same((type(failed.exception), str(failed.exception)), (ValueError, "no such layer"), "the exception")
            assert "in fail\n" in failed.traceback, f"the function that raised is not named: {failed.traceback}"
            traceback = caused.failed(FailureReason.USER_ERROR).traceback
            for words in ("the cause of it", "ValueError: no such key"):
                assert words in traceback, f"expected a traceback with {words!r}: {traceback}"

    def test_exceptions_that_cannot_travel(self) -> None:
        """Huge ones, ones that cannot be pickled, and ones that explode when they are looked at."""
        with self._session() as session:
            huge = session.submit(tasks.fail_hugely, 20_000_000)
            unpicklable = session.submit(tasks.fail_unpicklably)
            explosive = session.submit(tasks.fail_explosively)
            session.wait()
            for record, words in (
                (huge, "ValueError: xxx"),
                (unpicklable, "Unpicklable: it holds a socket"),
                (explosive, "Explosive"),
            ):
                failed = record.failed(FailureReason.USER_ERROR)
                assert words in failed.message, f"expected a message with {words!r}: {failed.message!r:.1000}"
                for text, most in ((failed.message, MESSAGE_LIMIT + 100), (failed.traceback, TRACEBACK_LIMIT + 1000)):
                    assert len(text) <= most, f"a text of {len(text)} characters, expected at most {most}"

    # Reports, answers, states

    def test_reports_stream(self) -> None:
        """While the task runs, in order, each once; a PAUSE at step 3 is obeyed at step 3."""
        with self._session() as session:
            paused = session.submit_trial(tasks.count, {3: Answer.PAUSE}, steps=9)
            stopped = session.submit_trial(tasks.count, {1: Answer.STOP}, steps=9)
            free = session.submit_trial(tasks.stream, steps=20, pause=0.0)
            session.wait()
            for record, steps, answer in (
                (paused, 3, Answer.PAUSE),
                (stopped, 1, Answer.STOP),
                (free, 20, Answer.CONTINUE),
            ):
                _same(record.steps, list(range(1, steps + 1)), f"the steps of the reports ({answer})")
                _same(record.result.answer, answer, "the answer that the trial obeyed")
            _same((paused.result.step, paused.result.metrics), (3, {"score": 3.0}), "the outcome")
            metrics = [event.report.metrics for event in free.of(Reported)]
            _same(metrics[:2], [{"score": 1.0, "half": 0.5}, {"score": 2.0, "half": 1.0}], "the metrics")

    def test_states(self) -> None:
        """A state is told with its report; the next attempt goes on from it, also when the last one was killed."""
        with self._session() as session:
            paused = session.submit_trial(tasks.count, {3: Answer.PAUSE}, steps=5)
            killed = session.submit_trial(tasks.count, steps=5, die_after=2)
            session.wait()
            assert paused.finished
            assert killed.failed(*_KILLED)
            for record, last in ((paused, 3), (killed, 2)):
                _same(record.steps, list(range(1, last + 1)), "the steps of the reports")
                _same([event.step for event in record.of(StateSaved)], record.steps, "the steps of the states")
                again = session.submit_trial(tasks.count, resume=record, steps=5)
                session.wait()
                lines = [f"step {step}" for step in range(1, 6)]
                _same(again.finished.log.splitlines(), lines[last:], "what the second attempt did")
                _same(again.steps, list(range(last + 1, 6)), "the steps of its reports")
                _same(again.result.metrics, {"score": 5.0}, "its outcome")
                _same(again.log.splitlines(), lines, "the log of both")

    # Ends

    def test_cancel(self) -> None:
        """Running, just submitted, twice, of a task that is over, of one that never was."""
        with self._session() as session:
            over = session.submit(tasks.echo, 1)
            running = session.submit_trial(tasks.pulse)
            session.wait(over)
            session.wait(running, until=_has_reported)
            fresh = session.submit_trial(tasks.pulse)
            for token in (fresh.token, running.token, running.token, over.token, "conformance-never-was"):
                session.executor.cancel(token)
            session.wait()
            for record in (running, fresh):
                assert record.failed(FailureReason.CANCELLED)
            session.check_gone(running)
            _same(session.run(tasks.echo, 2).result, 2, "the result of the next task")

    def test_time_limits(self) -> None:
        """At the limit the whole process group ends, also what ignores SIGTERM; its reports have come."""
        with self._session() as session:
            gentle = session.submit_trial(tasks.pulse, timeout=self.time_limit)
            stubborn = session.submit_trial(tasks.pulse, timeout=self.time_limit, stubborn=True)
            limited = session.submit(tasks.wait_long, resources=Resources(time_limit=self.time_limit))
            session.wait()
            for record in (gentle, stubborn, limited):
                seconds = record.failed(FailureReason.TIMEOUT).seconds
                assert seconds >= self.time_limit, (
                    f"ended after {seconds:g} s, before its limit of {self.time_limit:g} s"
                )
            for record in (gentle, stubborn):
                _same(record.steps, [1], "the steps of the reports")
                session.check_gone(record)

    def test_a_killed_worker_fails_one_task(self) -> None:
        """Its own. Neither those beside it nor those after it notice."""
        with self._session() as session:
            killed = session.submit(tasks.kill_worker)
            with_program = session.submit(tasks.kill_program)
            beside = session.submit_trial(tasks.count, steps=3)
            session.wait()
            assert with_program.failed(*_KILLED)
            message = killed.failed(*_KILLED).message
            assert "SIGKILL" in message, f"expected a message that says how it ended: {message!r}"
            _same(beside.result.metrics, {"score": 3.0}, "the outcome of the task beside it")
            _same(session.run(tasks.echo, "after").result, "after", "the result of the next task")

    def test_a_token_in_use(self) -> None:
        """Is refused, and the task that has it goes on."""
        with self._session() as session:
            first = session.submit_trial(tasks.wait, {1: None})
            session.wait(first, until=_has_reported)
            with _refused("a second task with the token of a running one was accepted"):
                session.executor.submit(Task(first.token, tasks.echo, (1,)), session.stream)
            session.executor.answer(first.of(Reported)[-1], Answer.CONTINUE)
            session.wait()
            assert first.finished

    def test_closing(self) -> None:
        """Cancels what is left; afterwards nothing is accepted, and closing again does nothing."""
        with self._folder() as folder:
            executor = self.make(folder)
            try:
                session = Session(executor, folder, self.patience)
                left = session.submit_trial(tasks.pulse)
                session.wait(left, until=_has_reported)
            finally:
                executor.close()
            session.wait()
            assert left.failed(FailureReason.CANCELLED)
            session.check_gone(left)
            with _refused("a closed executor accepted a task"):
                session.submit(tasks.echo, 1)
            executor.cancel(left.token)
            executor.close()
            session.check_silence()

    # Resources and surroundings

    def test_threads(self) -> None:
        """Numerical libraries are told to use as many threads as the task has cores."""
        with _environment(dict.fromkeys(THREAD_VARIABLES)), self._session() as session:
            record = session.run(tasks.threads, resources=Resources(cpus=2))
            _same(record.result, dict.fromkeys(THREAD_VARIABLES, "2"), "the variables")

    def test_memory(self) -> None:
        """What takes more than its limit fails with the reason "oom"; the next task has the limit for itself."""
        if self.enforces_memory:
            limit = Resources(memory="400MB")
            with self._session() as session:
                assert session.run(tasks.fill_memory, 800 << 20, resources=limit).failed(FailureReason.OOM)
                _same(session.run(tasks.echo, 1, resources=limit).result, 1, "the result of the next task")

    def test_too_much(self) -> None:
        """A task that can never run is refused, at once or as a failure."""
        if self.refuses_too_much:
            with self._session() as session:
                try:
                    record = session.run(tasks.echo, 1, resources=Resources(cpus=100_000))
                except UsageError:
                    return
                assert record.failed(*FailureReason)
                assert not record.of(Started), "it has started"

    def test_surroundings(self) -> None:
        """Tasks have the driver's working folder, can import its modules, and see its environment as it is now."""
        with self._folder() as folder, self._session() as session:
            name = f"conformance_{uuid4().hex[:12]}"
            (folder / f"{name}.py").write_text("def double(value):\n    return 2 * value\n")
            with _importable(folder, name) as module:
                own = session.submit(module.double, 21)
            found, places = [], (os.getcwd(), str(folder))
            for value, place in zip(("one", "two"), places, strict=True):
                with _environment({"CONFORMANCE_VARIABLE": value}), chdir(place):
                    found.append(session.submit(tasks.surroundings, "CONFORMANCE_VARIABLE"))
            session.wait()
            _same(own.result, 42, "the result of a function of the user's own module")
            _same(tuple(record.result[0] for record in found), places, "the working folders")
            if self.passes_environment:
                _same([record.result[1] for record in found], ["one", "two"], "the values of a variable")

    # Output

    def test_output(self) -> None:
        """stdout, stderr and that of children in the order in which they were written, whatever bytes they are."""
        places = ("on stdout", "on stderr", "by a child")
        expected = [f"line {number} {place}" for number in range(3) for place in places]
        with self._session() as session:
            ordered = session.submit(tasks.print_in_order, 3, stream_log=True)
            strange = session.submit(tasks.print_bytes, b"caf\xe9 \x00\xff\n")
            session.wait()
            _same(ordered.finished.log.splitlines(), expected, "the tail of the output")
            _same(ordered.log.splitlines(), expected, "log.txt")
            _same(ordered.streamed.splitlines(), expected, "the output as events")
            _same(strange.finished.log, "caf\ufffd \x00\ufffd\n", "output that is no UTF-8")

    def test_much_output(self) -> None:
        """The event has its tail, `log.txt` all of it."""
        with self._session() as session:
            record = session.run(tasks.print_much, 5000)
            _same(record.log.splitlines(), [f"{number:079d}" for number in range(5000)], "log.txt")
            tail = record.finished.log
            assert len(tail) <= TAIL_LIMIT, f"a tail of {len(tail)} characters, expected at most {TAIL_LIMIT}"
            assert tail.endswith(f"{4999:079d}\n"), f"the tail ends with {tail[-100:]!r}"

    def test_secrets(self) -> None:
        """What a task is given as a secret (pydantic's `SecretStr` and its like) is in no log, message or traceback."""
        with self._session() as session:
            record = session.run(tasks.tell, tasks.Secret(_CANARY), stream_log=True)
            message = record.failed(FailureReason.USER_ERROR).message
            _same(message, "ValueError: cannot log in with ***", "the message")
            assert _CANARY not in record.text, "the secret was told"
            _same(record.log.count("***"), 4, "the times it was masked in log.txt")

    # The driver dies

    def test_a_driver_is_killed(self) -> None:
        """Its tasks end with it, or the next driver finds them, and everything they have to say."""
        with self._folder() as folder:
            executor = self.make(folder)
            executor.close()
            if executor.outlives_driver:
                self._check_adoption(folder)
            else:
                self._check_end(folder)

    def _check_adoption(self, folder: Path) -> None:
        tokens = {name: f"conformance-{name}-{uuid4().hex[:8]}" for name in ("waits", "streams", "ends", "pulses")}
        self._kill_driver(folder, tokens)
        for name in ("streams", "ends"):
            (folder / tokens[name] / "go").touch()
        executor = self.make(folder)
        try:
            with Session(executor, folder, self.patience) as session:
                ended = folder / tokens["ends"] / "streamed"
                assert session.eventually(ended.exists), "a task did not go on without its driver"
                never = executor.reattach("conformance-never-was", session.stream, folder / "conformance-never-was")
                assert not never, "a task that never was is found"
                waits = session.adopt(tokens["waits"], {4: Answer.PAUSE})
                streams, ends, pulses = (session.adopt(tokens[name]) for name in ("streams", "ends", "pulses"))
                executor.cancel(pulses.token)
                session.wait()
                _same((waits.result.answer, waits.result.step), (Answer.PAUSE, 4), "answer and step of the outcome")
                assert pulses.failed(FailureReason.CANCELLED)
                session.check_gone(pulses)
                for record, last in ((waits, 4), (streams, 30), (ends, 1)):
                    _same(record.steps, list(range(1, last + 1)), f"the steps of the reports of {record.token}")
                    _same(record.result.step, last, "the last step")
                _same(streams.log.splitlines(), [f"step {step}" for step in range(1, 31)], "the log")
                _same(session.run(tasks.echo, "after").result, "after", "the result of a new task")
        finally:
            executor.close()

    def _check_end(self, folder: Path) -> None:
        tokens = {"pulses": "conformance-pulses"}
        self._kill_driver(folder, tokens)
        executor = self.make(folder)
        try:
            session = Session(executor, folder, self.patience)
            record = Record(tokens["pulses"], folder / tokens["pulses"])
            session.check_gone(record)
            found = executor.reattach(record.token, session.stream, record.folder)
            assert not found, "a task that ended with its driver is found"
        finally:
            executor.close()

    def _kill_driver(self, folder: Path, tokens: Mapping[str, str]) -> None:
        """Have another process submit tasks, and kill it when they all run."""
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(entry for entry in sys.path if entry)}
        driver = subprocess.Popen(
            [sys.executable, "-c", _RUN], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment
        )
        with driver:
            assert driver.stdin is not None
            assert driver.stdout is not None
            try:
                driver.stdin.write(cloudpickle.dumps((_drive, self, folder, dict(tokens))))
                driver.stdin.close()
                assert driver.stdout.readline() == b"they run\n", "the driver that was to be killed failed before that"
            finally:
                driver.kill()

    # What the tests share

    @contextmanager
    def _session(self) -> Iterator[Session]:
        """A session of the executor that all tests use."""
        cls = type(self)
        if vars(cls).get("_made") is None:  # not that of a class that this one is derived from
            folder = _new_folder(self.shared)
            try:
                cls._made = self.make(folder), folder
            except BaseException:
                folder.rmdir()
                raise
        assert cls._made is not None
        executor, folder = cls._made
        with Session(executor, folder, self.patience) as session:
            yield session

    @contextmanager
    def _folder(self) -> Iterator[Path]:
        """A folder for an executor of a test's own."""
        folder = _new_folder(self.shared)
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def _drive(suite: ExecutorConformance, folder: Path, tokens: dict[str, str]) -> None:
    """What the driver does that is killed: it leaves each kind of task in the middle."""
    session = Session(suite.make(folder), folder, suite.patience)
    kinds: dict[str, dict[str, Any]] = {
        "waits": {"objective": tasks.count, "answers": {2: None}, "steps": 9},
        "streams": {"objective": tasks.stream, "steps": 30, "pause": 0.05, "gate": 10},
        "ends": {"objective": tasks.stream, "steps": 1, "pause": 0.0, "gate": 1},
        "pulses": {"objective": tasks.pulse},
    }
    records = {name: session.submit_trial(**kinds[name], token=token) for name, token in tokens.items()}
    session.wait(until=_has_reported)
    if "waits" in records:
        session.wait(records["waits"], until=lambda record: 2 in record.steps)
    print("they run", flush=True)
    threading.Event().wait()


@contextmanager
def _refused(otherwise: str) -> Iterator[None]:
    """What is done in it has to raise a `UsageError`."""
    try:
        yield
    except UsageError:
        return
    raise AssertionError(otherwise)


def _has_reported(record: Record) -> bool:
    return bool(record.of(Reported))


def _same(found: object, expected: object, what: str) -> None:
    assert found == expected, f"{what}: expected {expected!r:.1000}, found {found!r:.1000}"


def _new_folder(shared: Path | None) -> Path:
    return Path(tempfile.mkdtemp(prefix="conformance-", dir=shared)).resolve()


@contextmanager
def _importable(folder: Path, name: str) -> Iterator[ModuleType]:
    """A module of a folder that `sys.path` has for now."""
    sys.path.append(str(folder))
    try:
        yield import_module(name)
    finally:
        sys.path.remove(str(folder))
        sys.modules.pop(name, None)


@contextmanager
def _environment(variables: Mapping[str, str | None]) -> Iterator[None]:
    """Variables of this process, None for one that is to be missing; put back afterwards."""
    before = {name: os.environ.get(name) for name in variables}
    try:
        _set(variables)
        yield
    finally:
        _set(before)


def _set(variables: Mapping[str, str | None]) -> None:
    for name, value in variables.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value
