"""A durable run of a compiled graph: begun, resumed, ended, each of it an event of its journal."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Generic, TypeVar

from metta.sweep.compiler.codegen import generate, is_dynamic
from metta.sweep.compiler.drawing.file import keep_drawing
from metta.sweep.compiler.dynamic_codegen import generate_dynamic
from metta.sweep.compiler.recording import recorded
from metta.sweep.contracts.flow import Positional
from metta.sweep.errors import RefusedError, StorageError, UsageError
from metta.sweep.executors.remote.spool import FOLDER as ATTEMPTS
from metta.sweep.pipeline.typed import In, Out
from metta.sweep.runtime.changes import changes_of, touched
from metta.sweep.runtime.compiled import CompiledGraph, block
from metta.sweep.runtime.history import History, Stored
from metta.sweep.runtime.link import link
from metta.sweep.runtime.recorder import Recorder, failure_text
from metta.sweep.runtime.scope import current_scope, node_of
from metta.sweep.runtime.threads import in_thread
from metta.sweep.runtime.vault import Vault
from metta.sweep.store.codec import Unstorable
from metta.sweep.store.failpoints import fail_point
from metta.sweep.store.files import temporary_files
from metta.sweep.store.run import Run, RunStatus
from metta.sweep.store.runs import Store
from metta.sweep.trial import MemoryChannel, Trial

T = TypeVar("T")

KIND = "pipeline"
VALUE = "@value"
"""The name of the one input of a `Pipeline(T)`."""

KEPT = "what was done is kept"
"""Begins the note, on the exception that has ended a run, which says how to go on."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """A run that is about to go on: its record, and what its function is called with; or its result."""

    recorder: Recorder
    args: tuple[Any, ...] = ()
    inputs: Mapping[str, Any] = field(default_factory=dict)
    finished: bool = False
    result: Any = None


class DurableGraph(Generic[In, Out]):
    """A compiled graph whose runs are recorded in a store, and survive the end of their process.

    Attributes:
        graph: what runs.
        store: where its runs are kept.
        name: what they are called.
    """

    def __init__(self, graph: CompiledGraph[In, Out], store: Store, name: str) -> None:
        self.graph = graph
        self.store = store
        self.name = name

    def run(self, /, *args: Any, **inputs: Any) -> Out:
        """Begin a new run and return its result; blocks. Arguments and errors as those of `CompiledGraph.run`.

        Raises:
            StorageError: the store cannot take it.
        """
        result: Out = block(self.arun(*args, **inputs))
        return result

    async def arun(self, /, *args: Any, **inputs: Any) -> Out:
        """Like `run`, without blocking the event loop."""
        self.graph.check_inputs(args, inputs)
        run = await _opened(partial(self.store.create, self.name, KIND))
        result: Out = await self._main(run, partial(self._begin, run, args, inputs))
        return result

    def resume(self, run: str | None = None, /, *, allow_changed: bool = False, **inputs: Any) -> Out:
        """Go on with a run: what is committed is not computed again. Of a finished one, the result.

        Args:
            run: its id or a beginning of it; None for the latest unfinished one of this name.
            allow_changed: whether the graph may have changed since; what the changes touch is computed again.
            inputs: those that could not be stored; others only if they are the same.

        Raises:
            UsageError: there is no such run.
            RefusedError: the graph or an input has changed, or another driver holds the run.
        """
        result: Out = block(self.aresume(run, allow_changed=allow_changed, **inputs))
        return result

    async def aresume(self, run: str | None = None, /, *, allow_changed: bool = False, **inputs: Any) -> Out:
        """Like `resume`, without blocking the event loop."""
        found = await _opened(partial(self._find, run))
        result: Out = await self._main(found, partial(self._continue, found, inputs, allow_changed))
        return result

    async def agoon(self, run: str, args: tuple[Any, ...], inputs: Mapping[str, Any], *, allow_changed: bool) -> Out:
        """Go on with a run of a stage or a trial; begin it where its driver died before it had. Errors: `resume`."""
        found = await _opened(partial(self._find, run))
        result: Out = await self._main(found, partial(self._continue, found, inputs, allow_changed, args))
        return result

    def _find(self, run: str | None) -> Run:
        if run is None:
            latest = self.store.latest(self.name, unfinished=True)
            if latest is None:
                raise UsageError(f'there is no unfinished run of "{self.name}" in {self.store.folder}')
            run = latest.id
        return self.store.open(run, write=True)

    async def _main(self, run: Run, prepare: Callable[[], Prepared]) -> Any:
        """Run to the end, whatever it is, and leave the run closed."""
        try:
            prepared: Prepared = await _uncut(prepare)
            if prepared.finished:
                return prepared.result
            recorder = prepared.recorder
            try:
                with recorder.scope():
                    result = await self._function(recorder)(*prepared.args, **prepared.inputs)
            except asyncio.CancelledError:
                await in_thread(_end, recorder, RunStatus.CANCELLED, {})
                raise
            except BaseException as error:
                await in_thread(_fail, recorder, error)
                if current_scope() is None:  # inside of another run it is that one which is resumed
                    error.add_note(f"{KEPT}: run(resume=True), or `metta-sweep resume {run.id}`")
                raise
            await in_thread(_finish, recorder, result)
            return result
        finally:
            await in_thread(run.close)

    def _function(self, recorder: Recorder) -> Callable[..., Any]:
        """The generated code under the record, as a coroutine function."""
        graph = recorded(self.graph.graph)
        module = generate_dynamic(graph) if is_dynamic(graph) else generate(graph)
        function = link(module, graph.name, recorder, recorder)
        return function if module.is_async else partial(in_thread, function)

    def _begin(self, run: Run, args: tuple[Any, ...], inputs: Mapping[str, Any]) -> Prepared:
        vault = Vault(run, self.store)
        named = {VALUE: args[0]} if args else dict(inputs)
        stored = {name: _stored(vault, name, value) for name, value in named.items()}
        fingerprints = self.graph.fingerprints
        data = {
            "name": self.name,
            "fingerprints": dict(fingerprints),
            "inputs": {name: each.to_json() for name, each in stored.items()},
        }
        recorder = Recorder(run, History(self.name, fingerprints, stored), vault, fingerprints)
        recorder.commit("run.started", "", data)
        fail_point("run.started")
        keep_drawing(run.folder, self.graph.graph)
        return Prepared(recorder, args, inputs)

    def _continue(
        self, run: Run, given: Mapping[str, Any], allow_changed: bool, args_to_begin: tuple[Any, ...] | None = None
    ) -> Prepared:
        vault = Vault(run, self.store)
        history = History.of(run.journal.events())
        if not history.name and args_to_begin is not None:
            return self._begin(run, args_to_begin, given)
        if not history.name:
            # Its driver died before the run began: nothing is lost, and nothing says what its inputs were.
            raise UsageError(f"run {run.id} had not begun: start a new one")
        if history.status is RunStatus.COMPLETED:
            return Prepared(
                Recorder(run, history, vault, {}), finished=True, result=vault.read(history.result, None, "the result")
            )
        fingerprints = self.graph.fingerprints
        inputs, changed_inputs = self._inputs(vault, history, given)
        changes = changes_of(history.fingerprints, fingerprints, changed_inputs)
        if changes and not allow_changed:
            listed = "\n".join(f"  {change}" for change in changes)
            raise RefusedError(
                f"run {run.id} cannot go on: its plan has changed\n{listed}\n"
                "start a new run, or resume it with --allow-changed: what the changes touch is computed again"
            )
        nodes = (
            touched(self.graph.graph, history.fingerprints, fingerprints, changed_inputs) if changes else frozenset()
        )
        dropped = [key for key in (*history.passages, *history.conditions) if node_of(key) in nodes]
        data: dict[str, Any] = {"dropped": dropped}
        if changes:
            data["fingerprints"] = dict(fingerprints)
            data["inputs"] = {name: _stored(vault, name, value).to_json() for name, value in inputs.items()}
        for leftover in temporary_files(run.folder, older_than=0):
            if ATTEMPTS not in leftover.parts:  # jobs elsewhere go on without a driver, and write there
                leftover.unlink()  # of a driver that was killed: this one holds the run
        recorder = Recorder(run, history, vault, fingerprints, allow_changed=allow_changed)
        recorder.commit("run.resumed", "", data)
        fail_point("run.resumed")
        keep_drawing(run.folder, self.graph.graph)
        run.publish(RunStatus.RUNNING)
        history = recorder.history = History.of(run.journal.events())
        args = (inputs.pop(VALUE),) if VALUE in inputs else ()
        return Prepared(recorder, args, inputs)

    def _inputs(
        self, vault: Vault, history: History, given: Mapping[str, Any]
    ) -> tuple[dict[str, Any], frozenset[str]]:
        """The inputs that the run goes on with, and the names of those that have changed."""
        found: dict[str, Any] = {}
        changed: set[str] = set()
        for name, stored in history.inputs.items():
            if name in given:
                found[name] = given[name]
                if stored.is_there and _stored(vault, name, given[name]) != stored:
                    changed.add(name)
            elif stored.is_there:
                found[name] = vault.read(stored, self._type_of(name), f'the input "{name}"')
            else:
                raise UsageError(
                    f'the input "{name}" of run {vault.run.id} could not be stored: give it, resume({name}=...)'
                )
        for name in given.keys() - history.inputs.keys():
            found[name] = given[name]
            changed.add(name)
        if VALUE in found:
            self.graph.check_inputs((found[VALUE],), {})
        else:
            self.graph.check_inputs((), found)
        return found, frozenset(changed)

    def _type_of(self, name: str) -> Any:
        declared = self.graph.graph.inputs
        if isinstance(declared.contract, Positional):
            return declared.contract.type
        return {**declared.contract.fields, **declared.optional}.get(name)


async def _uncut(call: Callable[[], T]) -> T:
    """Call it in a thread. When this is cancelled, the thread is waited for: it holds what is about to be closed."""
    calling = asyncio.ensure_future(in_thread(call))
    try:
        result: T = await asyncio.shield(calling)
    except asyncio.CancelledError:
        await asyncio.wait({calling})
        if not calling.cancelled():
            calling.exception()  # seen
        raise
    return result


async def _opened(opening: Callable[[], Run]) -> Run:
    """Open a run in a thread. When this is cancelled meanwhile, it is closed again: its lock is not left behind."""
    opened: list[Run] = []

    def open_it() -> Run:
        opened.append(opening())
        return opened[0]

    try:
        return await _uncut(open_it)
    except asyncio.CancelledError:
        for run in opened:
            await in_thread(run.close)
        raise


def _end(recorder: Recorder, status: RunStatus, data: Mapping[str, Any]) -> None:
    """Write down how a run has ended: one event, "run.completed" for instance."""
    recorder.commit(f"run.{status.value}", "", data)
    fail_point("run.ended")
    recorder.run.publish(status)


def _stored(vault: Vault, name: str, value: object) -> Stored:
    if isinstance(value, Trial) and not isinstance(value.channel, MemoryChannel):
        return Stored()  # a handle on a trial that runs: what is in it changes meanwhile
    try:
        return vault.store(value, f'the input "{name}"')
    except Unstorable:
        return Stored()


def _finish(recorder: Recorder, result: object) -> None:
    try:
        stored = recorder.vault.store(result, "the result")
    except Unstorable as error:
        recorder.tell_once(f"{error}: only this process has it")
        stored = Stored()
    _end(recorder, RunStatus.COMPLETED, stored.to_json())


def _fail(recorder: Recorder, error: BaseException) -> None:
    """Write down why a run has failed; where even that cannot be written, the failure itself counts."""
    try:
        _end(recorder, RunStatus.FAILED, failure_text(error))
    except StorageError as unwritten:
        error.add_note(f"the run's journal could not be written either: {unwritten}")
