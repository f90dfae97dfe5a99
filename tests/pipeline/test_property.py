"""Random pipelines and single mutations: what the compiler says about a pipeline is what a run of it does.

The oracle is in naive.py (every way through a pipeline, without joins) and naive_run.py (a run with a dict).
"""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from metta.sweep import ContractError
from metta.sweep.compiler.dynamic_codegen import generate_dynamic
from metta.sweep.contracts.flow import Positional
from metta.sweep.runtime.compiled import CompiledGraph
from metta.sweep.runtime.link import link
from tests.pipeline.grammar import Pipe, Recorder, mutations, real
from tests.pipeline.grammar_draw import pipes
from tests.pipeline.grammar_types import same, shown, value_of
from tests.pipeline.naive import Broken, Judge
from tests.pipeline.naive_run import execute

SCRIPTS = ((False,), (True,), (True, False, False), (False, True))
"""What the conditions answer, in the runs of each pipeline that compiles."""


def judged(pipe: Pipe) -> tuple[Judge, Any] | Broken:
    """What the naive reading of the rules says."""
    judge = Judge()
    try:
        return judge, judge.pipeline(pipe)
    except Broken as broken:
        return broken


def compiled(pipe: Pipe, recorder: Recorder) -> CompiledGraph | ContractError:
    try:
        return real(pipe, recorder).compile()
    except ContractError as error:
        return error


def check(pipe: Pipe) -> bool:
    """The property, for one pipeline; whether it compiles."""
    recorder = Recorder()
    expected, found = judged(pipe), compiled(pipe, recorder)
    if isinstance(expected, Broken):
        assert isinstance(found, ContractError), f"compiles, but {expected}"
        codes = {diagnostic.code for diagnostic in found.diagnostics}
        assert expected.code in codes, f"{expected}, reported as\n{found}"
        return False
    if isinstance(found, ContractError):
        raise AssertionError(f"every run goes well, but\n{found}")
    judge, (inputs, optional, whole_is_value) = expected
    check_runs(pipe, found, recorder, judge, inputs, optional, whole_is_value)
    return True


def check_runs(
    pipe: Pipe,
    graph: CompiledGraph,
    recorder: Recorder,
    judge: Judge,
    inputs: Any,
    optional: Any,
    whole_is_value: bool,
) -> None:
    contract = graph.graph.inputs.contract
    if isinstance(contract, Positional):
        assert same(contract.type, inputs)
        given: Any = value_of(inputs, 11)
        arguments, keywords = [given], {}
    else:
        assert contract.fields == inputs
        given = {name: value_of(tp, 11 + i) for i, (name, tp) in enumerate(inputs.items())}
        arguments, keywords = [], given
    for number, script in enumerate(SCRIPTS):
        if optional and number % 2:
            given = keywords = {**keywords, **{name: value_of(tp, 17) for name, tp in optional.items()}}
        recorder.begin(script)
        result = shown(execute(pipe, given, whole_is_value, judge.decisions, recorder))
        calls = sorted(recorder.calls)

        recorder.begin(script)
        outcome = graph.run(*arguments, **keywords)
        assert not recorder.wrong, recorder.wrong
        assert sorted(recorder.calls) == calls
        assert shown(outcome) == result


@settings(
    max_examples=1000,
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(pipes(), st.integers(0, 10**6), st.booleans())
def test_verdict_is_what_a_run_does(pipe: Pipe, number: int, mutated: bool) -> None:
    if mutated:
        others = mutations(pipe)
        pipe = others[number % len(others)]
    check(pipe)
