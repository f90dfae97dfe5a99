"""The structure of a pipeline as a search space, every candidate verified by the compiler before it runs.

The first search is that of the documents: how a search explores, and in how many stages it refines, is searched itself,
on real trainings. The second makes its candidates with a function. Half of them would put a layer for numbers behind an
encoder that gives text: those are rejected where the search is defined, and nothing of them runs. Corrected against the
documents: what is searched is said (`base_experiment`), and the best score says which structure is best.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from metta.sweep import Pipeline
from metta.sweep.executors import LocalExecutor
from metta.sweep.experiments import TrainingExperiment
from metta.sweep.experiments.optimizable.architecture import PipelineArchitectureSearch
from metta.sweep.optimizers import GridOptimizer, RandomOptimizer
from metta.sweep.space import Choice, Integer
from metta.sweep.trial import Params


def read() -> list[str]:
    """Three words."""
    return ["to", "be", "or"]


def as_text(words: list[str]) -> str:
    """An encoder that gives text."""
    return " ".join(words)


def as_number(words: list[str]) -> int:
    """An encoder that gives a number."""
    return len(words)


def layer(code: int) -> int:
    """A layer for numbers."""
    return 2 * code


def judge(code: int) -> float:
    """The best depth makes 12 of three words."""
    return -abs(12.0 - code)


ENCODERS: dict[str, tuple[Callable[[list[str]], Any], type]] = {"text": (as_text, str), "number": (as_number, int)}


def build(params: Params) -> Pipeline[Any, Any]:
    """A candidate: an encoder, then layers. A type checker cannot know which encoder: the compiler sees each one."""
    encode, code = ENCODERS[params["encoder"]]
    flow: Pipeline[Any, Any] = Pipeline().stage("read", read).through(words=list[str])
    flow = flow.stage("encode", encode).through(code=code)
    for number in range(params["depth"]):
        flow = flow.stage(f"layer_{number}", layer).through(code=int)
    return flow.stage("judge", judge).through(score=float)


def main() -> None:
    """Search both."""
    with LocalExecutor(max_workers=2) as executor:
        search = PipelineArchitectureSearch(
            search_space={
                "parallel_vs_sequential": Choice(["parallel", "sequential"]),
                "num_refinement_stages": Integer(1, 5),
                "checkpoint_frequency": Integer(1, 100),
            },
            base_experiment=TrainingExperiment(max_epochs=1),
            optimizer=RandomOptimizer(),
            executor=executor,
            seed=0,
        )
        result = search.run(budget=2)
        trainings = [trial.reports[-1].metrics["leaf_resource"] for trial in result.trials]
        print(f"{len(result.trials)} structures, {len(search.rejected)} rejected, trainings of each: {trainings}")
        print(f"the best one reads more than half of the images: {result.best_score > 0.5}")

        depths = PipelineArchitectureSearch(
            {"encoder": Choice(["text", "number"]), "depth": Integer(0, 4)},
            build,
            optimizer=GridOptimizer(),
            executor=executor,
        )
        for rejected in depths.rejected[:2]:
            print(f"rejected {dict(rejected.params)}: {rejected.error.diagnostics[0].message}")
        found = depths.run()
        print(f"{len(depths.rejected)} rejected, {len(found.trials)} run; the best: {dict(found.best_params)}")


if __name__ == "__main__":
    main()
