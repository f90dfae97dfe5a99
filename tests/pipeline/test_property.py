"""Random pipelines and single mutations: what the compiler says about a pipeline is what a run of it does.

The oracle is in naive.py (every way through a pipeline, without joins) and naive_run.py (a run with a dict). A pipeline
compiles if and only if the oracle finds nothing wrong on any way; then its runs, with the generated code and with the
code for pipelines whose types are not known, do what the naive run does, call by call.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from metta.sweep import ContractError
from metta.sweep.compiler.dynamic_codegen import generate_dynamic
from metta.sweep.contracts.flow import Positional
from metta.sweep.pipeline.reporting import collecting
from metta.sweep.runtime.compiled import CompiledGraph
from metta.sweep.runtime.link import link
from tests.pipeline.grammar import Pipe, Recorder, real
from tests.pipeline.grammar_draw import pipes
from tests.pipeline.grammar_mutations import extensions, mutations
from tests.pipeline.grammar_types import digest, same, shown, value_of
from tests.pipeline.naive import Broken, Judge
from tests.pipeline.naive_run import execute

SCRIPTS = ((False,), (True,), (True, False, False), (False, True))
"""What the conditions answer, in the runs of each pipeline that compiles."""

_SETTINGS: Mapping[str, Any] = {
    "derandomize": True,
    "deadline": None,
    "database": None,
    "suppress_health_check": [HealthCheck.too_slow, HealthCheck.data_too_large],
}


@settings(max_examples=1000, **_SETTINGS)
@given(pipes(), st.sampled_from(["extension", "mutation", "none"]), st.integers(0, 10**6))
def test_verdict_is_what_a_run_does(pipe: Pipe, change: str, number: int) -> None:
    check(changed(pipe, change, number))


def _at_length(examples: int) -> Any:
    """The same for so many pipelines."""

    @settings(max_examples=examples, **_SETTINGS)
    @given(
        pipes(),
        st.lists(st.tuples(st.sampled_from(["mutation", "extension"]), st.integers(0, 10**6)), max_size=2),
    )
    def test(pipe: Pipe, changes: list[tuple[str, int]]) -> None:
        for change, number in changes:
            pipe = changed(pipe, change, number)
        check(pipe)

    return test


test_verdict_is_what_a_run_does_at_length = pytest.mark.slow(_at_length(3_000))
test_verdict_is_what_a_run_does_at_great_length = pytest.mark.soak(_at_length(10_000))


def changed(pipe: Pipe, change: str, number: int) -> Pipe:
    """The pipeline with one change, the given one of all of its kind."""
    others = {"none": [pipe], "mutation": mutations(pipe), "extension": extensions(pipe)}[change]
    # Hypothesis likes small numbers: their digests are spread over all changes.
    return others[digest(number) % len(others)] if others else pipe


def check(pipe: Pipe) -> None:
    """The property, for one pipeline."""
    recorder = Recorder()
    judge = Judge()
    try:
        expected: Any = judge.pipeline(pipe)
    except Broken as broken:
        expected = broken
    try:
        found: Any = real(pipe, recorder).compile()
    except ContractError as error:
        found = error
    if not isinstance(expected, Broken):
        assert not isinstance(found, ContractError), f"every run goes well, but\n{found}"
        check_runs(pipe, found, recorder, judge, *expected)
        return
    assert isinstance(found, ContractError), f"compiles, but {expected}"
    assert expected.code in all_codes(pipe), f"{expected}, reported as\n{found}"


def all_codes(pipe: Pipe) -> set[str]:
    """Everything that is found: the builder stops at the first wrong call, and begins inside."""
    with collecting() as found:
        real(pipe, Recorder()).compile()
    return {diagnostic.code for diagnostic in found}


def check_runs(
    pipe: Pipe,
    graph: CompiledGraph,
    recorder: Recorder,
    judge: Judge,
    inputs: Any,
    optional: Mapping[str, Any],
    whole_is_value: bool,
) -> None:
    """Runs that differ in their conditions and optional inputs; every argument is compared, and every result."""
    contract = graph.graph.inputs.contract
    arguments: list[Any] = []
    if isinstance(contract, Positional):
        assert same(contract.type, inputs)
        given_inputs = value_of(inputs, 11)
        arguments = [given_inputs]
    else:
        assert contract.fields == inputs
        given_inputs = {name: value_of(tp, 11 + i) for i, (name, tp) in enumerate(inputs.items())}
    dynamic = carried_at_run_time(graph)
    for number, script in enumerate(SCRIPTS):
        if optional and number % 2:
            given_inputs = {**given_inputs, **{name: value_of(tp, 17) for name, tp in optional.items()}}
        keywords = {} if arguments else given_inputs
        recorder.begin(script)
        result = shown(execute(pipe, given_inputs, whole_is_value, judge.decisions, recorder))
        calls = sorted(recorder.calls)
        for name, run in (("generated", graph.run), ("carried", dynamic)):
            recorder.begin(script)
            outcome = run(*arguments, **keywords)
            assert not recorder.wrong, recorder.wrong
            assert sorted(recorder.calls) == calls, name
            assert shown(outcome) == result, f"{name}: {shown(outcome)}, not {result}"


def carried_at_run_time(graph: CompiledGraph) -> Callable[..., Any]:
    """The same graph as the compiler would write it if its types were not known."""
    module = generate_dynamic(graph.graph)
    run = link(module, "dynamic", graph)
    if not module.is_async:
        return run
    return lambda *args, **kwargs: asyncio.run(run(*args, **kwargs))
