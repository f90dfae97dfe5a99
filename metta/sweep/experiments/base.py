"""Experiment: a pipeline with a name and parameters, that runs, is tuned, and stands as a stage of another."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Coroutine, Iterable, Mapping
from difflib import get_close_matches
from functools import partial
from typing import TYPE_CHECKING, Any, Generic, Self, cast, get_args, get_origin

from typing_extensions import TypeVar

from metta.sweep.errors import UsageError
from metta.sweep.executors.nest import NEST
from metta.sweep.experiments.phases import Phases
from metta.sweep.experiments.places import DEFAULT, Place, StoreLike, store_place
from metta.sweep.experiments.run import Run
from metta.sweep.pipeline.builder import Pipeline as Pipeline
from metta.sweep.pipeline.context import Context
from metta.sweep.trial import Trial
from metta.sweep.tunable import Tunable

if TYPE_CHECKING:
    from collections.abc import Callable

    from metta.sweep.contracts.signature import Parameter, Signature
    from metta.sweep.executors.base import Executor
    from metta.sweep.pipeline.steps import Inputs, StageView
    from metta.sweep.runtime.compiled import CompiledGraph
    from metta.sweep.space import Distribution

R = TypeVar("R", default=Any)

RUN_OPTIONS = ("store", "resume", "allow_changed")
"""The keywords of `Experiment.run` that are no inputs of the pipeline."""

NO_SETTINGS = ("executor", "store")
"""Attributes that say where an experiment runs, not what it does."""


class Experiment(Phases, Generic[R]):
    """The base of all experiments; `R` is what its run gives.

    A subclass writes `pipeline()`, whose stages are usually its own methods:

        class MyExperiment(Experiment[float]):
            def pipeline(self) -> Pipeline:
                return Pipeline().stage("load", self.load).through(data=Data).stage("train", self.train)

    Attributes:
        name: names the experiment in messages, drawings and results; by default the name of its class.
        nests: whether it starts sweeps or other experiments. The trials of a sweep over it then run in the driver, and
            only the leaves below them take workers, those of that sweep.
    """

    name: str = ""
    nests: bool = False

    def __init_subclass__(cls, **keywords: Any) -> None:
        super().__init_subclass__(**keywords)
        if "name" not in cls.__dict__:
            cls.name = cls.__name__

    def pipeline(self) -> Pipeline:
        """What the experiment does. This is what runs and what is drawn.

        Raises:
            UsageError: the subclass has not written it.
        """
        kind = type(self).__name__
        raise UsageError(f"{kind} has no pipeline: write `def pipeline(self) -> Pipeline` in class {kind}")

    def run(self, *args: Any, **inputs: Any) -> Run[R]:
        """Start the experiment on the driver: `await` the answer, or read its `value` or attributes.

        Args:
            args: the input value of a pipeline declared as `Pipeline(T)`.
            inputs: the inputs of its pipeline; those of a resumed run are known. Three keywords are no inputs:
                `store` is the folder that keeps the run, by default METTA_SWEEP_HOME, else `./.metta-sweep`, inside of
                another durable run or of a trial a folder of that; with None nothing is kept, neither of the runs that
                its stages start.
                `resume=True` goes on with the latest unfinished run of this name, `resume="id"` with that one.
                `allow_changed=True` resumes although the pipeline has changed: what the changes touch is computed
                again.

        Raises:
            ContractError: the pipeline is wrong; nothing was run.
            UsageError: an input is missing, or there is no run to resume.
        """
        graph = self._compiled()
        for name in RUN_OPTIONS:
            if name in _input_types(graph.graph.inputs):
                raise UsageError(
                    f"run({name}=...) has a meaning of its own: give that input of {self.name} another name"
                )
        store, resume = inputs.pop("store", DEFAULT), inputs.pop("resume", False)
        main = self._main(graph, args, inputs, store, resume, inputs.pop("allow_changed", False))
        return Run.start(main, self.name)

    def _main(
        self,
        graph: CompiledGraph,
        args: tuple[Any, ...],
        inputs: Mapping[str, Any],
        store: StoreLike = DEFAULT,
        resume: bool | str = False,
        allow_changed: bool = False,
    ) -> Coroutine[Any, Any, Any]:
        """What the driver runs: the graph, recorded where there is a store. Arguments and errors as those of `run`."""
        if not resume:
            graph.check_inputs(args, inputs)
        place = store_place(store)
        if place is None and resume:
            raise UsageError("run(resume=..., store=None): without a store there is nothing to resume")
        return self._main_in(place, graph, args, inputs, resume, allow_changed)

    def _main_in(
        self,
        place: Place | None,
        graph: CompiledGraph,
        args: tuple[Any, ...],
        inputs: Mapping[str, Any],
        resume: bool | str = False,
        allow_changed: bool = False,
    ) -> Coroutine[Any, Any, Any]:
        """What the driver runs where the place is known. Arguments as those of `_main`."""
        from metta.sweep.experiments.nested.executor import sharing

        main = partial(self._graph_run, place, graph, args, inputs, resume, allow_changed)
        return sharing(self._leaf_executor(), main, keeps=place is not None)

    def _leaf_executor(self) -> Executor | Callable[[], Executor] | None:
        """Where the trials of the sweeps that it starts run; None for that of what is around it, else one of its own.

        One executor serves them all, so their workers stay warm.
        """
        return None

    def _graph_run(
        self,
        place: Place | None,
        graph: CompiledGraph,
        args: tuple[Any, ...],
        inputs: Mapping[str, Any],
        resume: bool | str,
        allow_changed: bool,
    ) -> Coroutine[Any, Any, Any]:
        if place is None:
            return graph.arun(*args, **inputs)
        durable = graph.with_store(place.folder, self.name)
        allow_changed = allow_changed or place.allow_changed
        if resume:
            return durable.aresume(resume if isinstance(resume, str) else None, allow_changed=allow_changed, **inputs)
        begun = durable.store.latest(self.name, unfinished=False) if place.is_nested else None
        if begun is not None:
            return durable.agoon(begun.id, args, inputs, allow_changed=allow_changed)
        return durable.arun(*args, **inputs)

    def _compiled(self) -> CompiledGraph:
        pipeline: object = self.pipeline()
        if not isinstance(pipeline, Pipeline):
            kind = type(self).__name__
            raise UsageError(f"{kind}.pipeline() gave {type(pipeline).__name__}: it has to return a Pipeline")
        self._gives_its_whole(pipeline)
        return pipeline.compile()

    def _gives_its_whole(self, pipeline: Pipeline) -> bool:
        """Whether a run gives what the pipeline ends with. That then has to be what the class declares."""
        from metta.sweep.pipeline.ending import ends_as_declared

        kind = type(self)
        return kind.run is Experiment.run and ends_as_declared(pipeline, kind.__name__, _result_type(kind))

    def tunables(self) -> Mapping[str, Distribution[Any]]:
        """What a sweep may tune: dot path -> distribution. Nothing, unless a subclass says so."""
        return {}

    def with_params(self, params: Mapping[str, Any]) -> Self:
        """A copy with parameters set by dot path.

        "optimizer.beta" sets `beta` of a copy of the attribute `optimizer`; an optimizer or a scheduler is made anew
        with it, an experiment takes it by its own `with_params`. Where there is no attribute for the head of a path,
        its last segment counts: "trainer.learning_rate" sets `learning_rate`.

        Raises:
            UsageError: a path leads to no attribute; the message names the nearest one.
        """
        changed = self
        for path, value in params.items():
            changed = _with(changed, steps_to(changed, path), value)
        return changed

    def check_params(self, paths: Iterable[str]) -> None:
        """Find a wrong path before anything runs: the paths are those that `with_params` will be given.

        Raises:
            UsageError: a path leads to no attribute; the message names the nearest one.
        """
        if type(self).with_params is Experiment.with_params:  # else the subclass knows better
            for path in paths:
                steps_to(self, path)

    def evaluate(self, trial: Trial) -> float | Mapping[str, float] | None:
        """One trial of a sweep over this experiment; called in a worker process.

        The trial's parameters are applied and the pipeline runs. Where it has an input `trial`, it gets the trial,
        and may report, save and load through it.

        Returns:
            The result if it is a number, else the numbers in it: of a mapping, a record, a context. None without any.
        """
        graph, inputs = self._trial_call(trial)
        return numbers_in(graph.run(**inputs))

    async def evaluate_nested(self, trial: Trial) -> float | Mapping[str, float] | None:
        """The same for an experiment that `nests`; called in the driver, on its loop.

        What it starts is kept in the trial's folder, a run for each grant of the trial, and found again there when the
        trial is tried again.
        """
        graph, inputs = self._trial_call(trial)
        nest = NEST.get()
        place = None if nest is None else Place(nest.child(f"grant-{trial.resource}"), True, nest.allow_changed)
        return numbers_in(await self._main_in(place, graph, (), inputs))

    def _trial_call(self, trial: Trial) -> tuple[CompiledGraph, Mapping[str, Any]]:
        """What a trial runs, and its inputs."""
        graph = self.with_params(trial.params)._compiled()
        return graph, {"trial": trial} if "trial" in _input_types(graph.graph.inputs) else {}

    def _settings(self) -> dict[str, Any]:
        """What a sweep over it records of it, and compares when it is resumed: its public attributes."""
        from metta.sweep.experiments.plan import arguments

        return arguments(self, NO_SETTINGS)

    def __metta_stage__(self) -> StageView:
        """How the experiment stands as a stage: a call that gives what its run gives, drawn as its own graph."""
        from metta.sweep.pipeline.steps import StageView

        pipeline = self.pipeline()
        return StageView(pipeline, self.run, self._signature(pipeline), self._gives_its_whole(pipeline))

    def _signature(self, pipeline: Pipeline) -> Signature[Any]:
        from metta.sweep.contracts.signature import Kind, Parameter, Signature, signature_of

        own = signature_of(self.run)
        parameters: tuple[Parameter[Any], ...]
        if own is not None and type(self).run is not Experiment.run:
            # A field that happens to be called "store" is not meant for these.
            parameters = tuple(p for p in own.parameters if p.name not in RUN_OPTIONS)
        else:
            inputs = _input_types(pipeline._standing_inputs())
            parameters = tuple(Parameter(name, Kind.KEYWORD_ONLY, tp, True) for name, tp in inputs.items())
        return Signature(f"{type(self).__name__}.run", parameters, _result_type(type(self)), is_async=True)


def numbers_in(outcome: object) -> float | dict[str, float] | None:
    """What a sweep can use of an experiment's result: itself if it is a number, else its fields that are."""
    if isinstance(outcome, int | float):
        return float(outcome)
    if isinstance(outcome, Mapping):
        fields: Mapping[str, object] = outcome
    elif isinstance(outcome, Context):
        fields = outcome._asdict()
    else:
        from metta.sweep.contracts.records import read_fields

        fields = read_fields(outcome, type(outcome))
    return {name: float(value) for name, value in fields.items() if isinstance(value, int | float)} or None


def steps_to(target: object, path: str) -> tuple[str, ...]:
    """The attributes that `path` leads through, from `target` on."""
    head, _, rest = path.partition(".")
    if rest and hasattr(target, head):
        inner = getattr(target, head)
        if isinstance(inner, Experiment):
            inner.check_params([rest])
            return head, rest
        if isinstance(inner, Tunable) and "." not in rest:
            inner.check_argument(rest)
            return head, rest
        return head, *steps_to(inner, rest)
    last = path.rpartition(".")[2]
    if last.startswith("_") or not hasattr(target, last):
        names = _settable(target)
        near = _nearest(target, path, names)
        hint = f"did you mean {near!r}?" if near else f"it has {', '.join(names) or 'none'}"
        raise UsageError(f"{type(target).__name__} has no parameter {last!r} (for {path!r}): {hint}")
    return (last,)


def _nearest(target: object, path: str, names: Iterable[str]) -> str | None:
    """What a path that leads nowhere may have meant: another head if that leads somewhere, else another last segment,
    else the other head all the same, with what is wrong behind it to be told next."""
    head, _, rest = path.partition(".")
    heads = get_close_matches(head, names, n=1) if rest else []
    beyond = f"{heads[0]}.{rest}" if heads else None
    last = get_close_matches(path.rpartition(".")[2], names, n=1)
    if beyond is not None and last:
        try:
            steps_to(target, beyond)
        except UsageError:
            return last[0]
    return beyond or (last[0] if last else None)


def _settable(target: object) -> list[str]:
    """The attributes that a parameter may set: those of the object and, but for methods, of its class."""
    of_classes = [
        name for cls in type(target).__mro__ for name, value in vars(cls).items() if not hasattr(value, "__get__")
    ]
    names = dict.fromkeys([*getattr(target, "__dict__", ()), *of_classes])
    return [name for name in names if not name.startswith("_") and name != "nests"]


def _with(target: Any, steps: tuple[str, ...], value: object) -> Any:
    name, *rest = steps
    if not rest:
        return _set(target, name, value)
    inner = getattr(target, name)
    if isinstance(inner, Experiment):  # which may have its own way to take parameters
        return _set(target, name, inner.with_params({rest[0]: value}))
    if isinstance(inner, Tunable) and len(rest) == 1:
        return _set(target, name, inner.with_arguments(**{rest[0]: value}))
    return _set(target, name, _with(inner, tuple(rest), value))


def _set(target: Any, name: str, value: object) -> Any:
    """A copy of `target` with one attribute changed; a dataclass checks its values again."""
    if dataclasses.is_dataclass(target) and name in {field.name for field in dataclasses.fields(target) if field.init}:
        return dataclasses.replace(cast("Any", target), **{name: value})
    changed = copy.copy(target)
    setattr(changed, name, value)
    return changed


def _result_type(kind: type[Any]) -> Any:
    """`R` of the nearest `Experiment[R]` among the bases; Any where none is given."""
    for cls in kind.__mro__:
        for base in cls.__dict__.get("__orig_bases__", ()):
            if get_origin(base) is Experiment:
                found = get_args(base)[0]
                return Any if isinstance(found, TypeVar) else found
    return Any


def _input_types(inputs: Inputs) -> Mapping[str, Any]:
    """The fields that a pipeline is given; none for one that takes a whole value."""
    return getattr(inputs.contract, "fields", {})
