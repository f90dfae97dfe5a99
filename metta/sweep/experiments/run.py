"""`Run[T]`: what `Experiment.run()` returns, right from sync code, async code and a notebook.

result = await sweep.run()        # async code
result = sweep.run()              # sync code: attributes wait for the result
print(result.best_score)
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Coroutine, Generator
from typing import TYPE_CHECKING, Any, Generic, Self, TypeVar, cast

from metta.sweep.compiler.loading import stop_if_loading
from metta.sweep.errors import UsageError
from metta.sweep.experiments.driver import Job, driver

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)
D = TypeVar("D")


class Run(Generic[T_co]):
    """A run that has been started and gives a T.

    `await run` gives T. `run.value` waits for T, and so does any attribute of T. Ctrl-C while waiting,
    and cancelling the task that awaits, cancel the run and stop its workers.
    """

    def __init__(self, job: Job[Any]) -> None:
        self._job = job

    @classmethod
    def start(cls, main: Coroutine[Any, Any, Any], name: str) -> Self:
        """Start `main` on the driver's loop."""
        stop_if_loading(main)
        return cls(driver().start(main, name))

    @property
    def value(self) -> T_co:
        """The result; waits for it.

        Raises:
            UsageError: when read on the driver's own loop before the run has ended.
            Exception: what the run failed with.
        """
        return self._finish(self._wait())

    @property
    def done(self) -> bool:
        """Whether the run has ended, well or not. Does not wait."""
        return self._job.outcome.done()

    def cancel(self) -> None:
        """Ask the run to stop. `value` and `await` then raise RunError once it has."""
        self._job.cancel()

    def __await__(self) -> Generator[Any, None, T_co]:
        return self._awaited().__await__()

    def __getattr__(self, name: str) -> Any:
        # Names with an underscore are how copy, pickle and notebooks probe an object: never wait for those.
        if name.startswith("_"):
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        outcome = self._wait()
        if hasattr(type(self), name):  # a property of ours has failed with an AttributeError: let it
            return object.__getattribute__(self, name)
        return getattr(self._finish(outcome), name)

    def __repr__(self) -> str:
        return f'<{type(self).__name__} "{self._job.name}": {self._state()}>'

    def _state(self) -> str:
        outcome = self._job.outcome
        if not outcome.done():
            return "running"
        error = outcome.exception()
        return "finished" if error is None else f"failed with {type(error).__name__}: {error}"

    def _finish(self, outcome: Any) -> T_co:
        """From what the coroutine returned to what the user gets."""
        return cast("T_co", outcome)

    def _wait(self) -> Any:
        job = self._job
        if not job.outcome.done() and driver().is_current_thread():
            raise UsageError(
                f'run "{job.name}" is not finished, and its result is read on the loop that runs it: '
                "await it (`result = await experiment.run()`)"
            )
        try:
            error = _watched(job)
        except KeyboardInterrupt:
            # Once: stop and clean up. Twice: the second one ends this wait too.
            job.cancel()
            with contextlib.suppress(Exception):
                job.outcome.result()
            raise
        finally:
            job.observe()
        if error is not None:
            raise error.with_traceback(job.frames)  # without the frames of whoever has read it before
        return job.outcome.result()

    async def _awaited(self) -> T_co:
        job = self._job
        settled = asyncio.wrap_future(job.outcome)
        try:
            outcome = await asyncio.shield(settled)
        except asyncio.CancelledError:
            job.cancel()
            await asyncio.wait([settled])
            if not settled.cancelled():
                settled.exception()  # retrieved: the run failed because we cancelled it
            raise
        finally:
            job.observe()
        return self._finish(outcome)


class OwnRun(Run[T_co], Generic[T_co, D]):
    """A result that is its own Run: `await run` gives the run itself, finished.

    `D` is the plain record that the run computes. Subclasses read it through `_record`, which waits.
    """

    if TYPE_CHECKING:
        # Nothing is forwarded here, so a misspelt attribute is a type error.
        __getattr__: None  # type: ignore[assignment, misc]
    else:

        def __getattr__(self, name):
            if hasattr(type(self), name):  # a property has failed with an AttributeError: the run's, or its own
                self._wait()
                return object.__getattribute__(self, name)
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}", name=name, obj=self)

    def __reduce__(self) -> tuple[Any, ...]:
        """A result travels as its record (a stage may return one from a worker process)."""
        return _restore, (type(self), self._job.name, self._record)

    @property
    def _record(self) -> D:
        return cast("D", self._wait())

    def _finish(self, outcome: Any) -> T_co:
        return cast("T_co", self)

    def _has_failed(self) -> bool:
        """Whether there is no result to show, whyever; waits for the end."""
        try:
            self._wait()
        except Exception:
            return True
        return False


def _watched(job: Job[Any]) -> BaseException | None:
    """Wait for a job's end; what it failed with. In steps: a signal that another thread took is then heard, too."""
    while True:
        with contextlib.suppress(TimeoutError):
            return job.outcome.exception(timeout=1.0)


def _restore(cls: type[Run[T]], name: str, record: object) -> Run[T]:
    return cls(Job.finished(name, record))
