"""PipelineArchitectureSearch: the structure of a pipeline is searched, and the compiler sees candidates first."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from metta.sweep.contracts.diagnostics import ContractError
from metta.sweep.errors import UsageError
from metta.sweep.executors.local import LocalExecutor
from metta.sweep.experiments import Pipeline, SweepExperiment, TrainingExperiment
from metta.sweep.experiments.optimizable.architecture import MOST_COMPILED, PipelineArchitectureSearch
from metta.sweep.experiments.optimizable.refinement import RefinementSearch
from metta.sweep.optimizers import GridOptimizer, RandomOptimizer
from metta.sweep.space import Choice, Integer, SearchSpace, Uniform
from metta.sweep.trial import FailureReason, Params, Trial, TrialState

SPACE = {"encoder": Choice(["text", "number"]), "layers": Integer(1, 3)}


@pytest.fixture(scope="module")
def executor() -> Iterator[LocalExecutor]:
    with LocalExecutor(max_workers=2) as executor:
        yield executor


def as_text(size: int, canary: Path | None) -> str:
    if canary is not None:
        canary.write_text("a stage of an ill-typed candidate has run")
    return "x" * size


def as_number(size: int) -> int:
    return size


def layer(code: int) -> int:
    return code + 1


def judge(code: int) -> float:
    return float(code)


def build(params: Params, canary: Path | None = None) -> Pipeline[Any, Any]:
    """A text encoder, behind which no layer can stand; or a number encoder, with layers."""
    flow: Pipeline[Any, Any]
    if params["encoder"] == "text":
        flow = Pipeline().stage("encode", as_text, size=10, canary=canary).through(code=str)
    else:
        flow = Pipeline().stage("encode", as_number, size=10).through(code=int)
    for number in range(params["layers"]):
        flow = flow.stage(f"layer_{number}", layer).through(code=int)
    return flow.stage("judge", judge).through(score=float)


# Before anything runs


def test_an_ill_typed_candidate_is_rejected_when_the_search_is_defined(executor: LocalExecutor, tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    search = PipelineArchitectureSearch(
        SPACE, partial(build, canary=canary), optimizer=GridOptimizer(), executor=executor, store=None
    )
    assert [dict(each.params) for each in search.rejected] == [
        {"encoder": "text", "layers": number} for number in (1, 2, 3)
    ]
    message = str(search.rejected[0])
    assert 'stage "layer_0" takes code: int; the context has code: str  [stage-input]' in message
    assert "{'encoder': 'text', 'layers': 1}" in message
    with pytest.raises(ContractError) as found:
        build(Params({"encoder": "text", "layers": 1})).compile()
    # In the compiler's own words.
    assert str(found.value).rpartition(": stage")[2] == str(search.rejected[0].error).rpartition(": stage")[2]

    result = search.run(budget=6)
    assert not canary.exists()
    assert not result.failures
    assert [dict(trial.params) for trial in result.trials] == [
        {"encoder": "number", "layers": number} for number in (1, 2, 3)
    ]
    assert result.best_score == 13
    assert search.candidate(result.best_params).run(store=None).score == 13


def test_where_none_can_be_compiled_the_search_cannot_be_defined() -> None:
    with pytest.raises(ContractError, match='stage "layer_0" takes code: int; the context has code: str') as found:
        PipelineArchitectureSearch({**SPACE, "encoder": "text"}, build)
    assert len(found.value.diagnostics) == 1  # the same finding for one, two and three layers


def test_in_a_large_space_it_is_rejected_when_its_turn_comes(executor: LocalExecutor, tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    search = PipelineArchitectureSearch(
        {**SPACE, "seed": Integer(1, MOST_COMPILED)},
        partial(build, canary=canary),
        optimizer=RandomOptimizer(
            initial_params=[{"encoder": "text", "layers": 1}, {"encoder": "number", "layers": 2}],
        ),
        executor=executor,
        store=None,
    )
    assert search.rejected == ()
    result = search.run(budget=2)
    assert not canary.exists()
    assert result.best_score == 12
    (failed,) = result.failures[FailureReason.CONTRACT]
    assert failed.state is TrialState.FAILED
    assert failed.failure is not None
    assert "the candidate was not run" in failed.failure.message
    assert "takes code: int; the context has code: str" in failed.failure.message


def test_a_real_number_is_no_small_space() -> None:
    assert PipelineArchitectureSearch({**SPACE, "dropout": Uniform(0, 1)}, build).rejected == ()


def test_what_is_rejected_is_not_suggested_by_a_model(executor: LocalExecutor) -> None:
    search = PipelineArchitectureSearch(SPACE, build, executor=executor, store=None, seed=0)
    result = search.run(budget=5)
    assert {trial.params["encoder"] for trial in result.trials} == {"number"}


# How candidates are made


class Layered(PipelineArchitectureSearch):
    """Candidates from a method that reads an attribute."""

    def __init__(self, size: int, **settings: Any) -> None:
        self.size = size
        super().__init__({"layers": Integer(1, 4)}, **settings)

    def build(self, params: Params) -> Pipeline[Any, Any]:
        flow: Pipeline[Any, Any] = Pipeline().stage("encode", as_number, size=self.size).through(code=int)
        for number in range(params["layers"]):
            flow = flow.stage(f"layer_{number}", layer).through(code=int)
        return flow.stage("judge", judge).through(score=float)


def test_build_may_be_a_method(executor: LocalExecutor) -> None:
    search = Layered(100, optimizer=GridOptimizer(), executor=executor, store=None)
    assert search.run().best_score == 104
    assert search.build(Params({"layers": 2})).compile().run().score == 102


def test_candidates_that_nest(executor: LocalExecutor) -> None:
    def inner(trial: Trial) -> float:
        return 1 - float(trial.params["x"])

    def nested(params: Params) -> Pipeline[Any, Any]:
        async def search() -> float:
            sweep = SweepExperiment(inner, optimizer=RandomOptimizer({"x": Uniform(0, 1)}), seed=3)
            return (await sweep.run(budget=params["trials"])).best_score

        return Pipeline().stage("search", search).through(score=float)

    search = PipelineArchitectureSearch(
        {"trials": Choice([1, 4])}, nested, nests=True, optimizer=GridOptimizer(), executor=executor, store=None
    )
    result = search.run()
    assert result.best_params["trials"] == 4
    assert result.trials[1].reports[-1].metrics["leaf_resource"] == 4


def test_it_is_resumed(executor: LocalExecutor, tmp_path: Path) -> None:
    def search() -> PipelineArchitectureSearch:
        return PipelineArchitectureSearch(
            SPACE, build, optimizer=GridOptimizer(), executor=executor, seed=1, store=tmp_path
        )

    first = search().run(budget=2)
    again = search().run(budget=3, resume=first.run_id or "")
    assert [trial.score for trial in again.trials] == [11, 12, 13]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"build": build}, "say which, with search_space="),
        ({"search_space": SPACE, "build": build, "base_space": {}}, "base_experiment and base_space belong to"),
        ({"search_space": {"stages": Integer(1, 2)}}, "has no parameter 'stages'"),
        ({"optimizer": RandomOptimizer(SPACE)}, "the optimizer has a search space: give it to the search"),
    ],
)
def test_bad_arguments(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        PipelineArchitectureSearch(**arguments)


def test_a_build_that_makes_no_pipeline() -> None:
    with pytest.raises(UsageError, match="it has to return a Pipeline"):
        PipelineArchitectureSearch({"n": Integer(1, 2)}, lambda params: params["n"])


# The candidates of its own


def bowl(trial: Trial) -> float:
    return 1 - float((trial.params["x"] - 0.3) ** 2 + (trial.params["y"] - 0.6) ** 2)


PLANE = SearchSpace({"x": Uniform(0, 1), "y": Uniform(0, 1)})


def stages_of(search: RefinementSearch) -> list[str]:
    return [node.name for node in search.pipeline().compile().graph.walk()]


def test_the_structure_follows_the_parameters() -> None:
    search = RefinementSearch(bowl, PLANE)
    assert stages_of(search) == ["explore", "model", "refine_1", "refine_2", "validate"]
    parallel = search.with_params({"parallel_vs_sequential": "parallel", "num_refinement_stages": 1})
    assert {"even", "random", "combine", "refine_1", "validate"} <= set(stages_of(parallel))
    assert "refine_2" not in stages_of(parallel)


@pytest.mark.parametrize("kind", ["parallel", "sequential"])
def test_whatever_the_structure_it_costs_the_same(kind: Any, executor: LocalExecutor) -> None:
    search = PipelineArchitectureSearch(
        {"parallel_vs_sequential": kind, "num_refinement_stages": Choice([1, 3])},
        base_experiment=bowl,
        base_space=PLANE,
        optimizer=GridOptimizer(),
        executor=executor,
        seed=2,
        store=None,
    )
    result = search.run()
    assert not result.failures
    assert [trial.reports[-1].metrics["leaf_resource"] for trial in result.trials] == [13, 13]  # 12, then a validation
    assert result.best_score > 0.97


def test_it_is_an_experiment_of_its_own_and_one_slot_is_enough(tmp_path: Path) -> None:
    search = RefinementSearch(bowl, PLANE, parallel_vs_sequential="parallel", trials=6, n_seeds=1)
    with LocalExecutor(max_workers=1) as executor:
        sweep = SweepExperiment(
            search,
            search_space={"num_refinement_stages": Choice([1, 2])},
            optimizer=GridOptimizer(),
            executor=executor,
            seed=4,
            store=tmp_path,
        )
        assert sweep.run().best_score > 0.8
    alone = search.run(store=tmp_path).value
    assert alone.score == alone.promised > 0.8
    assert alone.score == bowl(Trial(alone.params))


def test_without_arguments_it_is_the_search_of_the_documents() -> None:
    search = PipelineArchitectureSearch()
    assert search.search_space == SearchSpace(
        {
            "parallel_vs_sequential": Choice(["parallel", "sequential"]),
            "num_refinement_stages": Integer(1, 5),
            "checkpoint_frequency": Integer(1, 100),
        }
    )
    assert search.rejected == ()


def test_a_minimized_metric(executor: LocalExecutor) -> None:
    def loss(trial: Trial) -> dict[str, float]:
        return {"loss": 1 - bowl(trial)}

    search = PipelineArchitectureSearch(
        {"num_refinement_stages": Choice([1, 2])},
        base_experiment=loss,
        base_space=PLANE,
        metric_key="loss",
        goal="minimize",
        optimizer=GridOptimizer(),
        executor=executor,
        seed=2,
        store=None,
    )
    result = search.run(budget=1)
    assert 0 <= result.best_score < 0.03


def test_the_refinement_goes_the_way_of_the_optimizer() -> None:
    def direction(**settings: Any) -> str:
        search = PipelineArchitectureSearch(base_experiment=bowl, base_space=PLANE, **settings)
        assert isinstance(search.base_experiment, RefinementSearch)
        assert search.objectives.directions == (search.base_experiment.goal,)
        return search.base_experiment.goal

    assert direction(optimizer=RandomOptimizer(goal="minimize")) == "minimize"
    assert direction(optimizer=RandomOptimizer(goal={"score": "minimize"})) == "minimize"
    assert direction(optimizer=RandomOptimizer()) == "maximize"
    assert direction(optimizer=RandomOptimizer(), goal="minimize") == "minimize"


def test_the_refinement_goes_the_way_of_the_sweep_that_it_searches() -> None:
    lower = SweepExperiment(bowl, search_space=PLANE, goal="minimize")
    higher = SweepExperiment(bowl, search_space=PLANE)
    assert RefinementSearch.over(lower, None, "score", None).goal == "minimize"
    assert RefinementSearch.over(lower, None, "score", "maximize").goal == "maximize"
    assert RefinementSearch.over(higher, None, "score", None).goal == "maximize"
    assert PipelineArchitectureSearch(base_experiment=lower).goal == "minimize"


def test_every_structure_compiles() -> None:
    search = RefinementSearch(bowl, PLANE)
    for kind in ("parallel", "sequential"):
        for stages in range(1, 6):
            structure = {"parallel_vs_sequential": kind, "num_refinement_stages": stages, "checkpoint_frequency": 2}
            assert "validate" in stages_of(search.with_params(structure))


def test_the_refinement_is_not_compiled_for_each_of_its_structures(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[RefinementSearch] = []
    monkeypatch.setattr(RefinementSearch, "pipeline", made.append)
    search = PipelineArchitectureSearch(base_experiment=bowl, base_space=PLANE)
    assert (search.rejected, made) == ((), [])
    with pytest.raises(UsageError, match="7 refinement stages need at least 14"):  # they are made all the same
        PipelineArchitectureSearch({"num_refinement_stages": Choice([1, 7])}, base_experiment=bowl, base_space=PLANE)


def test_a_value_may_be_a_tuple(executor: LocalExecutor) -> None:
    def area(trial: Trial) -> float:
        width, height = trial.params["shape"]
        return float(width * height)

    space = SearchSpace({"shape": Choice([(1, 2), (3, 4)])})
    sweep = SweepExperiment(
        RefinementSearch(area, space, trials=4, n_seeds=1, num_refinement_stages=1),
        search_space={"num_refinement_stages": Choice([1])},
        optimizer=GridOptimizer(),
        executor=executor,
        seed=0,
        store=None,
    )
    assert sweep.run(budget=1).best_score == 12


def test_it_refines_a_real_training(executor: LocalExecutor) -> None:
    search = RefinementSearch(TrainingExperiment(max_epochs=1), trials=4, n_seeds=2, num_refinement_stages=1)
    sweep = SweepExperiment(
        search,
        search_space={"num_refinement_stages": Choice([1])},
        optimizer=GridOptimizer(),
        executor=executor,
        seed=0,
    )
    assert sweep.run(budget=1, store=None).best_score > 0.3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"parallel_vs_sequential": "both"}, "parallel_vs_sequential='both': expected"),
        ({"num_refinement_stages": 0}, "num_refinement_stages=0: expected a whole number"),
        ({"num_refinement_stages": 7}, "trials=12: 7 refinement stages need at least 14"),
        ({"checkpoint_frequency": 0}, "checkpoint_frequency=0: expected"),
        ({"n_seeds": 0}, "n_seeds=0: expected"),
    ],
)
def test_bad_structures(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        RefinementSearch(bowl, PLANE, **arguments)
