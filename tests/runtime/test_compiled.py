"""Section 7 of the language: running a compiled graph."""

from __future__ import annotations

import asyncio
import inspect
import logging
import threading
from typing import Any

import pytest

from metta.sweep import CompiledGraph, Context, ContractViolation, Pipeline
from metta.sweep.errors import UsageError
from tests.pipeline.records import AsNamedTuple


def double(x: int) -> int:
    return 2 * x


async def adouble(x: int) -> int:
    await asyncio.sleep(0)
    return 2 * x


def sync_graph() -> CompiledGraph:
    return Pipeline(x=int).stage("double", double).through(y=int).compile()


def async_graph() -> CompiledGraph:
    return Pipeline(x=int).stage("adouble", adouble).through(y=int).stage("double", double).through(x=int).compile()


RESULTS = [(sync_graph, Context(x=1, y=2)), (async_graph, Context(x=2, y=2))]
graphs = pytest.mark.parametrize(("make", "expected"), RESULTS, ids=["sync", "async"])


@graphs
def test_run_blocks_in_sync_code(make: Any, expected: Context) -> None:
    graph = make()
    assert graph.run(x=1) == expected
    assert graph(x=1) == expected
    assert graph(1) == expected


@graphs
def test_run_blocks_where_a_loop_is_running_as_in_a_notebook(make: Any, expected: Context) -> None:
    async def cell() -> Any:
        return make().run(x=1)

    assert asyncio.run(cell()) == expected


@graphs
def test_arun_is_awaited(make: Any, expected: Context) -> None:
    async def main() -> list[Any]:
        graph = make()
        return list(await asyncio.gather(graph.arun(x=1), graph.arun(x=1)))

    assert asyncio.run(main()) == [expected, expected]


def test_a_sync_stage_never_runs_on_the_loop() -> None:
    threads: list[threading.Thread] = []

    def note(x: int) -> int:
        threads.append(threading.current_thread())
        return x

    async def main() -> None:
        loop_thread = threading.current_thread()
        await Pipeline(x=int).stage("note", note).compile().arun(x=1)
        await Pipeline(x=int).stage("adouble", adouble).through(x=int).stage("note", note).compile().arun(x=1)
        assert len(threads) == 2
        assert loop_thread not in threads

    asyncio.run(main())


def test_sync_runs_stay_in_the_callers_thread() -> None:
    threads: list[threading.Thread] = []
    pipeline = Pipeline(x=int).stage("note", lambda x: threads.append(threading.current_thread())).through(y=None)
    pipeline.compile().run(x=1)
    assert threads == [threading.current_thread()]


def test_many_nested_runs_do_not_starve_each_other() -> None:
    """Sync stages of an async run get threads of their own: 40 that wait for one another would block a pool."""
    barrier = threading.Barrier(40)

    def meet(x: int) -> int:
        barrier.wait(30)
        return x

    async def main() -> list[Any]:
        graph = Pipeline(x=int).stage("adouble", adouble).through(x=int).stage("meet", meet).compile()
        return await asyncio.gather(*(graph.arun(x=i) for i in range(40)))

    assert asyncio.run(main()) == [2 * i for i in range(40)]


def test_the_graph_says_whether_it_is_async() -> None:
    assert not sync_graph().is_async
    assert async_graph().is_async
    assert inspect.iscoroutinefunction(async_graph().function)
    assert not inspect.iscoroutinefunction(sync_graph().function)


# -- inputs ---------------------------------------------------------------------------------------------------------


def test_a_missing_input() -> None:
    graph = Pipeline(x=int, learning_rate=float).stage("double", double).compile()
    with pytest.raises(
        UsageError, match=r"test_a_missing_input needs learning_rate: run\(x=\.\.\., learning_rate=\.\.\.\)"
    ):
        graph.run(x=1)  # type: ignore[call-arg]


def test_an_unknown_input_is_told_the_nearest_name() -> None:
    graph = Pipeline(learning_rate=float).stage("show", lambda learning_rate: learning_rate).compile()
    with pytest.raises(UsageError, match=r'has no input "learning_rat" \(did you mean "learning_rate"\?\)'):
        graph.run(learning_rat=0.1)  # type: ignore[call-arg]
    with pytest.raises(UsageError, match='has no input "x"; it takes none'):
        Pipeline().stage("three", lambda: 3).compile().run(x=1)  # type: ignore[call-arg]


def test_an_input_of_the_wrong_type() -> None:
    with pytest.raises(ContractViolation, match="the input of sync_graph: x: expected int, found str"):
        sync_graph().run(x="1")
    of_value = Pipeline(AsNamedTuple).stage("double", double).compile()
    with pytest.raises(ContractViolation, match=r"the input of \w+: expected AsNamedTuple, found int"):
        of_value.run(3)  # type: ignore[arg-type]


def test_inputs_by_position_and_by_name() -> None:
    with pytest.raises(UsageError, match=r"takes its inputs by name: run\(x=\.\.\.\)"):
        sync_graph().run(1)
    with pytest.raises(UsageError, match=r"takes one value: run\(value\)"):
        Pipeline(AsNamedTuple).compile().run(x=1)  # type: ignore[call-arg]
    with pytest.raises(UsageError, match="takes one value"):
        Pipeline(AsNamedTuple).compile().run()  # type: ignore[call-arg]


def test_arun_checks_its_inputs_too() -> None:
    with pytest.raises(UsageError, match="needs x"):
        asyncio.run(async_graph().arun())


def test_the_bare_function_does_not_check() -> None:
    assert sync_graph()("ab") == Context(x="ab", y="abab")


# -- what it is -----------------------------------------------------------------------------------------------------


def test_a_graph_is_named_after_what_it_is_assigned_to() -> None:
    assert sync_graph().name == "sync_graph"
    assert (
        repr(Pipeline(x=int).compile()) == "<CompiledGraph test_a_graph_is_named_after_what_it_is_assigned_to(x=...)>"
    )


def test_hooks_that_need_a_store_say_so_once(caplog: pytest.LogCaptureFixture) -> None:
    graph = Pipeline(x=int).stage("double", double).through(y=int, checkpoint=True, cache=False, log=print).compile()
    with caplog.at_level(logging.WARNING, "metta.sweep"):
        graph.run(x=1)
        graph.run(x=1)
    assert [record.getMessage() for record in caplog.records] == [
        f"{graph.name}: without a store these hooks have no effect: checkpoint"
    ]


def test_a_traceback_shows_the_generated_line() -> None:
    def fails(x: int) -> int:
        raise ValueError("no")

    graph = Pipeline(x=int).stage("fails", fails).compile()
    with pytest.raises(ValueError, match="no") as caught:
        graph.run(x=1)
    lines = [str(entry.statement).strip() for entry in caught.traceback]
    assert "_value = _fails(x)  # fails" in lines


def test_a_straight_pipeline_is_ordinary_python() -> None:
    graph = (
        Pipeline(x=int)
        .stage("double", double)
        .through(y=int)
        .loop_while(lambda ctx: ctx.y < 9)
        .stage("again", double, x=3)
        .through(y=int)
        .end_loop()
        .compile()
    )
    calls = [name for name in graph.function.__code__.co_names if not name.startswith("_while")]
    assert calls == ["_double", "_Context", "_again"] or sorted(calls) == ["_Context", "_again", "_double"]


def test_torch_traces_a_graph_of_tensor_stages() -> None:
    torch = pytest.importorskip("torch")

    def scale(batch: torch.Tensor) -> torch.Tensor:  # type: ignore[name-defined]
        return batch * 2

    def shift(batch: torch.Tensor) -> torch.Tensor:  # type: ignore[name-defined]
        return batch + 1

    graph = (
        Pipeline(batch=torch.Tensor)
        .stage("scale", scale)
        .through(batch=torch.Tensor)
        .stage("shift", shift)
        .through(torch.Tensor)
        .compile()
    )
    compiled = torch.compile(graph.function, fullgraph=True, backend="eager")
    assert compiled(torch.ones(2)).tolist() == [3.0, 3.0]
