"""How the steps of a graph are in a run: what its journal says, by the ids of the boxes that are drawn."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

from metta.sweep.compiler.drawing.model import Drawing, DrawnFrame, around
from metta.sweep.report.pipeline_status import StageStatus, stages_of
from metta.sweep.runtime.history import History
from metta.sweep.runtime.scope import node_of
from metta.sweep.store.run import RunStatus


class NodeState(StrEnum):
    """How a step of a graph is: a `StageState`, or `WAITING`, where it has not been entered."""

    WAITING = "waiting"
    RUNNING = "running"
    RETRYING = "retrying"
    DONE = "done"
    CACHED = "cached"
    SKIPPED = "skipped"
    FAILED = "failed"
    STOPPED = "stopped"


TELLING: Final = (
    NodeState.FAILED,
    NodeState.RETRYING,
    NodeState.RUNNING,
    NodeState.STOPPED,
    NodeState.DONE,
    NodeState.CACHED,
    NodeState.SKIPPED,
    NodeState.WAITING,
)
"""Of several passages, or stages, the first of these is told."""

OVER: Final = (NodeState.DONE, NodeState.CACHED, NodeState.SKIPPED)
"""The states of what is over, and well."""


@dataclass(frozen=True, slots=True)
class NodeStatus:
    """How a step of a run's graph is.

    Attributes:
        state: of several passages the most telling one.
        states: how many passages are in each state; for a map, its elements, once there are some.
        failures: attempts that have failed so far.
        seconds: that the successful attempts took, and those that run by now.
        last_error: the message of the failure that was noted last, "" where there was none.
        answers: of a condition: how often it was true, and false.
    """

    state: NodeState
    states: Mapping[NodeState, int] = field(default_factory=dict)
    failures: int = 0
    seconds: float = 0.0
    last_error: str = ""
    answers: tuple[int, int] | None = None

    @property
    def passages(self) -> int:
        """How often it was entered, or a condition asked."""
        return sum(self.answers) if self.answers else sum(self.states.values())

    @property
    def finished(self) -> int:
        """How many passages are over, and well."""
        return sum(self.states.get(state, 0) for state in OVER)

    def to_json(self) -> dict[str, Any]:
        """As JSON values."""
        return {
            "state": self.state.value,
            "states": {state.value: number for state, number in self.states.items()},
            "passages": self.passages,
            "failures": self.failures,
            "seconds": self.seconds,
            "last_error": self.last_error,
            "answers": None if self.answers is None else list(self.answers),
        }


WAITING: Final = NodeStatus(NodeState.WAITING)


def node_statuses(history: History, status: RunStatus, drawing: Drawing | None, now: float) -> dict[str, NodeStatus]:
    """How the steps of a run are, by id: stages, conditions that were asked, and frames that are recorded as a whole.

    Args:
        history: what its journal says.
        status: how the run is by now.
        drawing: of its pipeline; None for the steps that were entered.
        now: the time, in seconds since 1970.
    """
    running = _running(history, status, now)
    found = {stage.name: stage for stage in stages_of(history, status)}
    states = {id: _status_of(stage, running.get(id, 0.0)) for id, stage in found.items() if not id.endswith("[]")}
    for id, stage in found.items():
        if id.endswith("[]"):
            states[id[:-2]] = _of_map(states.get(id[:-2]), _status_of(stage, 0.0))
    answers = _answers(history.conditions)
    if drawing is None:
        return states
    # What is inside of an experiment is passed by its own run.
    experiments = {frame.id for frame in drawing.frames if frame.kind == "experiment"}
    paths = around(drawing)
    nodes: dict[str, NodeStatus] = {}
    for node in drawing.nodes:
        if experiments.isdisjoint(paths[node.frame]):
            if node.is_stage:
                nodes[node.id] = states.get(node.id, WAITING)
            elif node.id in answers:
                nodes[node.id] = NodeStatus(NodeState.DONE, answers=answers[node.id])
    nodes.update(
        (frame.id, states.get(frame.id, WAITING)) for frame in drawing.frames if _is_told(frame, experiments, paths)
    )
    return nodes


def _is_told(frame: DrawnFrame, experiments: Collection[str], paths: Mapping[str, tuple[str, ...]]) -> bool:
    return frame.is_recorded and not any(id in experiments for id in paths[frame.parent])


def _running(history: History, status: RunStatus, now: float) -> dict[str, float]:
    """How long the attempts that run have taken by now, by node."""
    found: dict[str, float] = {}
    if status is RunStatus.RUNNING:
        for key, passage in history.passages.items():
            if not passage.done and passage.started:
                found[node_of(key)] = max(found.get(node_of(key), 0.0), now - passage.started)
    return found


def _status_of(stage: StageStatus, running: float) -> NodeStatus:
    states = {NodeState(state.value): number for state, number in stage.states.items()}
    return NodeStatus(worst(states), states, stage.failures, stage.seconds + running, stage.last_error)


def _of_map(whole: NodeStatus | None, elements: NodeStatus) -> NodeStatus:
    """A map: its own state and time, and the counts of its elements."""
    if whole is None:
        return elements
    state = whole.state if whole.state is not NodeState.RUNNING else elements.state
    if state in OVER and whole.state is NodeState.RUNNING:
        state = NodeState.RUNNING  # the next ones have not begun
    return NodeStatus(
        state,
        elements.states,
        whole.failures + elements.failures,
        whole.seconds,
        whole.last_error or elements.last_error,
    )


def _answers(conditions: Mapping[str, bool]) -> dict[str, tuple[int, int]]:
    """How often each condition was true and false, by the id of its box."""
    found: dict[str, list[int]] = {}
    for key, holds in conditions.items():
        name = key.rpartition("/")[2].partition("?")[2]
        id = node_of(key) + ("@until" if name.startswith("until") else "")
        found.setdefault(id, [0, 0])[not holds] += 1
    return {id: (yes, no) for id, (yes, no) in found.items()}


def worst(states: Mapping[NodeState, int]) -> NodeState:
    """Of several passages, or stages, the state that says most; `WAITING` of none."""
    return next((state for state in TELLING if states.get(state)), NodeState.WAITING)
