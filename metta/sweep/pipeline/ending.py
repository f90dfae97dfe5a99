"""What a pipeline ends with, beside what the class of its experiment declares."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from metta.sweep.contracts import flow
from metta.sweep.contracts.flow import Positional
from metta.sweep.pipeline.replay import ORACLE
from metta.sweep.pipeline.reporting import settle
from metta.sweep.pipeline.steps import EndStep, LoopStep, ParallelStep, StageStep

if TYPE_CHECKING:
    from metta.sweep.pipeline.builder import Pipeline


def ends_as_declared(pipeline: Pipeline, experiment: str, declared: Any) -> bool:
    """Whether the final whole fits `R` of an `Experiment[R]`; False only while findings are collected.

    Args:
        experiment: the name of the class.
        declared: `R`; Any where the class does not say.

    Raises:
        ContractError: it does not, at the last contract of the pipeline; or the pipeline itself is wrong.
    """
    end = pipeline._standing()[0].end
    steps = pipeline._steps()
    loops = sum(isinstance(step, LoopStep) - isinstance(step, EndStep) for step in steps)
    # A loop that is not closed has been told: it does not end there.
    problem = None if loops else flow.experiment_output(experiment, declared, end, ORACLE)[1]
    if problem is None:
        return True
    last = steps[-1]
    through = last.through if isinstance(last, (StageStep, ParallelStep)) else None
    if through is None:
        settle([(last, problem.on(None))])
    else:
        argument = 0 if isinstance(through.contract, Positional) else None
        settle([(last, problem.on(argument, "through"))])
    return False
