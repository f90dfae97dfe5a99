"""What the pages and the report say of failures, stages and nested runs, as plain values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from metta.sweep.cli.shown import user_traceback
from metta.sweep.experiments.tree.run_tree import RunTree, TrialStarter
from metta.sweep.report.dag_marks import SIGNS
from metta.sweep.report.dag_states import NodeState
from metta.sweep.report.failed import failed_by_reason
from metta.sweep.report.pipeline_status import PipelineStatus, StageState
from metta.sweep.report.text import counts, duration, number_text, shorten
from metta.sweep.trial import Trial
from metta.sweep.ui.library import SEPARATOR
from metta.sweep.ui.opened import MOST_BELOW, RunData

MARKS: Final[Mapping[str, str]] = {
    **{state.value: sign for state, sign in SIGNS.items()},
    "pending": SIGNS[NodeState.WAITING],
    "preempted": SIGNS[NodeState.RETRYING],
    "completed": SIGNS[NodeState.DONE],
    "pruned": SIGNS[NodeState.SKIPPED],
    "cancelled": SIGNS[NodeState.STOPPED],
    "paused": "‖",
    "interrupted": "‖",
    "damaged": "!",
    "lost": "?",
}
"""A sign for each state, beside its word; the same as in the graph."""


@dataclass(frozen=True, slots=True)
class Cause:
    """Why something failed.

    Attributes:
        reason: a `FailureReason`.
        count: how many trials failed for it.
        where: "trial 3", or the name of a stage.
        trial: the number of that trial; None for a stage.
        message: the exception in one line.
        traceback: the user's frames; "" where there are none.
    """

    reason: str
    count: int
    where: str
    trial: int | None
    message: str
    traceback: str


@dataclass(frozen=True, slots=True)
class StageRow:
    """A stage in the table of a pipeline's run; texts, and its states with how many passages are in each."""

    name: str
    states: tuple[tuple[str, int], ...]
    failures: int
    time: str
    error: str


@dataclass(frozen=True, slots=True)
class Node:
    """A run in the tree of those that a run has started.

    Attributes:
        address: of its page.
        starter: the trial or stage that has started it.
        text: how far it is.
        below: the runs that it has started.
    """

    address: str
    name: str
    kind: str
    status: str
    starter: str
    text: str
    below: tuple[Node, ...]


def causes_of(data: RunData) -> tuple[Cause, ...]:
    """Why trials have failed, the most frequent reason first; or why a pipeline has."""
    if data.sweep is not None:
        return tuple(cause_of(failed.last, failed.count) for failed in failed_by_reason(data.sweep.trials))
    failure = None if data.pipeline is None else data.pipeline.failure
    if failure is None:
        return ()
    trace = user_traceback(failure.traceback)
    return (Cause(failure.reason, 1, failure.stage, None, failure.message, trace),)


def cause_of(trial: Trial, count: int = 1) -> Cause:
    """Why a failed trial has failed."""
    failure = trial.failure
    assert failure is not None  # it is asked for failed trials only
    trace = user_traceback(failure.traceback)
    return Cause(failure.reason.value, count, f"trial {trial.id}", trial.id, failure.message, trace)


def stages_of(status: PipelineStatus) -> tuple[StageRow, ...]:
    """The table of the stages."""
    rows = []
    for stage in status.stages:
        is_timed = any(state in stage.states for state in (StageState.DONE, StageState.CACHED))
        states = tuple((state.value, number) for state, number in stage.states.items())
        time = duration(stage.seconds) if is_timed else "-"
        rows.append(StageRow(stage.name, states, stage.failures, time, shorten(stage.last_error, 200)))
    return tuple(rows)


def nodes_of(tree: RunTree, address: str) -> tuple[tuple[Node, ...], int]:
    """The runs below a run, and how many are left out because there are too many."""
    room = [MOST_BELOW]
    nodes = _nodes(tree.children, address, room)
    return nodes, sum(1 for _ in tree.walk()) - 1 - (MOST_BELOW - room[0])


def _nodes(trees: Sequence[RunTree], above: str, room: list[int]) -> tuple[Node, ...]:
    nodes = []
    for tree in trees:
        if room[0] == 0:
            break
        room[0] -= 1
        starter = tree.starter
        if isinstance(starter, TrialStarter):
            text = f"trial {starter.trial}"
        else:
            text = "" if starter is None else f"stage {starter.stage}"
        best = "" if tree.best is None else f", best {number_text(tree.best)}"
        address = f"{above}{SEPARATOR}{tree.id}"
        far = tree.problem or (counts(dict(tree.counts)) + best)
        below = _nodes(tree.children, address, room)
        nodes.append(Node(address, tree.name or tree.id, tree.kind, tree.status.value, text, far, below))
    return tuple(nodes)
