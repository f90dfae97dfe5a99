"""What `metta-sweep run FILE[:NAME]` runs: from a user's file to something that can be started."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from types import FunctionType, MethodType, ModuleType
from typing import Any

from metta.sweep.cli.overrides import parse, split_overrides, type_of_attribute
from metta.sweep.compiler.find import Candidate, candidates, no_pipeline, outermost, pick
from metta.sweep.compiler.load import file_of, split_spec, user_code, user_module
from metta.sweep.contracts.diagnostics import nearest
from metta.sweep.contracts.flow import Positional
from metta.sweep.errors import UsageError
from metta.sweep.experiments.base import Experiment
from metta.sweep.experiments.sweep import SweepExperiment
from metta.sweep.pipeline.builder import Pipeline
from metta.sweep.runtime.compiled import CompiledGraph, compile_pipeline

VALUE = "value"
"""What settings call the one input of a `Pipeline(T)`."""


@dataclass(frozen=True, slots=True)
class PipelineTarget:
    """A pipeline, or an experiment that is one and nothing else.

    Attributes:
        graph: what runs.
        name: of its runs.
        args, inputs: what it is called with, as far as settings give it.
        experiment: whose pipeline it is, if it is one's: it says where the sweeps in it run.
    """

    graph: CompiledGraph[Any, Any]
    name: str
    args: tuple[Any, ...]
    inputs: Mapping[str, Any]
    experiment: Experiment[Any] | None = None


@dataclass(frozen=True, slots=True)
class ExperimentTarget:
    """An experiment with a `run` of its own; its parameters are set."""

    experiment: Experiment[Any]

    @property
    def name(self) -> str:
        """Of its runs."""
        return self.experiment.name


Target = PipelineTarget | ExperimentTarget


@dataclass(frozen=True, slots=True)
class Chosen:
    """What a file has for us.

    Attributes:
        name: of the variable, class or function.
        value: a Pipeline, a compiled graph or an experiment.
    """

    name: str
    value: Any


@contextmanager
def chosen(spec: str) -> Iterator[Chosen]:
    """What FILE[:NAME] stands for; inside the block its module and its neighbours are loaded.

    Raises:
        UsageError: there is nothing to run, or several things and no NAME; the message lists them.
        ContractError: a pipeline in it is wrong.
    """
    file, name = split_spec(spec)
    with user_module(file) as module:
        yield _only(module, spec) if name is None else _made(pick(module, name))


def _only(module: ModuleType, spec: str) -> Chosen:
    found = candidates(module)
    if not found:
        raise no_pipeline(module)
    if len(found) > 1:
        found = _without_parts(found)
    if len(found) > 1:
        names = ", ".join(each.name for each in found)
        raise UsageError(f"{file_of(module)} has {names}: choose one, as in {spec}:{found[-1].name}")
    return _made(found[0])


def _without_parts(found: Sequence[Candidate]) -> list[Candidate]:
    """Without the pipelines that others continue or contain, and the experiments that a sweep of the file is over."""
    whole = [each for each, _ in outermost([(each, each.build()) for each in found])] or list(found)
    bases = {type(each.target.base_experiment) for each in whole if isinstance(each.target, SweepExperiment)}
    kinds = [(each, each.target if isinstance(each.target, type) else type(each.target)) for each in whole]
    return [each for each, kind in kinds if kind not in bases]


def _made(candidate: Candidate) -> Chosen:
    value = candidate.target
    if isinstance(value, (type, FunctionType, MethodType)):
        with user_code(candidate.file, f'building "{candidate.name}" failed'):
            value = value()
    if not isinstance(value, Pipeline | CompiledGraph | Experiment):
        kind = type(value).__name__
        raise UsageError(
            f'"{candidate.name}" in {candidate.file} gave {kind}: expected a Pipeline, a compiled one or an Experiment'
        )
    return Chosen(candidate.name, value)


def target_of(found: Chosen, overrides: Sequence[str], *, needs_inputs: bool = True) -> Target:
    """What is run, with its inputs and parameters set.

    Args:
        overrides: "name=value", each an input of a pipeline or a parameter of an experiment.
        needs_inputs: every input of a pipeline has to be given.

    Raises:
        UsageError: there is no such input or parameter, or a value is none of its type.
        ContractError: the pipeline is wrong.
    """
    texts = split_overrides(overrides)
    value = found.value
    if not isinstance(value, Experiment):
        graph = value if isinstance(value, CompiledGraph) else compile_pipeline(value, found.name)
        return _pipeline(graph, graph.name, texts, needs_inputs)
    if type(value).run is not Experiment.run:
        return ExperimentTarget(with_parameters(value, texts))
    inputs = _inputs_of(value._compiled())
    experiment = with_parameters(value, {path: text for path, text in texts.items() if path not in inputs})
    given = {path: text for path, text in texts.items() if path in inputs}
    target = _pipeline(experiment._compiled(), experiment.name, given, needs_inputs)
    return replace(target, experiment=experiment)


def _pipeline(
    graph: CompiledGraph[Any, Any], name: str, texts: Mapping[str, str], needs_inputs: bool
) -> PipelineTarget:
    declared = _inputs_of(graph)
    for path in texts:
        if path not in declared:
            near = nearest(path, list(declared))
            hint = f'did you mean "{near}"?' if near else f"it takes {', '.join(declared) or 'none'}"
            raise UsageError(f'{path}={texts[path]}: {name} has no input "{path}": {hint}')
    inputs = {path: parse(path, text, declared[path]) for path, text in texts.items()}
    contract = graph.graph.inputs.contract
    is_positional = isinstance(contract, Positional)
    required = [VALUE] if isinstance(contract, Positional) else list(contract.fields)
    if needs_inputs and (missing := [path for path in required if path not in inputs]):
        raise UsageError(f"{name} needs {', '.join(missing)}: add {' '.join(f'{path}=...' for path in missing)}")
    if is_positional:
        return PipelineTarget(graph, name, tuple(inputs.values()), {})
    return PipelineTarget(graph, name, (), inputs)


def _inputs_of(graph: CompiledGraph[Any, Any]) -> Mapping[str, Any]:
    """The inputs by name, with their types; the one of a `Pipeline(T)` is called "value"."""
    declared = graph.graph.inputs
    if isinstance(declared.contract, Positional):
        return {VALUE: declared.contract.type}
    return {**declared.contract.fields, **declared.optional}


def with_parameters(experiment: Experiment[Any], texts: Mapping[str, str]) -> Experiment[Any]:
    """A copy of an experiment with parameters set; each is parsed as what its attribute is declared to be.

    Raises:
        UsageError: there is no such parameter, or a value is none of its type.
    """
    if not texts:
        return experiment
    experiment.check_params(texts)
    return experiment.with_params({path: _parameter(experiment, path, text) for path, text in texts.items()})


def _parameter(owner: object, path: str, text: str) -> Any:
    """The value of a parameter, found along a path as `Experiment.with_params` finds it."""
    head, _, rest = path.partition(".")
    while rest and hasattr(owner, head):
        owner = getattr(owner, head)
        path = rest
        head, _, rest = path.partition(".")
    return parse(path, text, type_of_attribute(owner, path.rpartition(".")[2]))
