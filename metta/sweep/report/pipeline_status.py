"""Where a pipeline's run stands, folded from its journal: a data function, for the command line and for whoever draws.

Nothing of the user's is run, and the run may be driven meanwhile.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from metta.sweep.runtime.history import History, Passage
from metta.sweep.runtime.scope import node_of
from metta.sweep.store.run import Run, RunStatus


class StageState(StrEnum):
    """How a passage of a stage is. `STOPPED`: it had begun, and its driver has ended."""

    DONE = "done"
    CACHED = "cached"
    SKIPPED = "skipped"
    RUNNING = "running"
    RETRYING = "retrying"
    STOPPED = "stopped"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class StageStatus:
    """All passages of one stage: of a loop's passes, of a map's elements.

    Attributes:
        name: its id in the graph; "[]" behind it stands for the elements of a map.
        states: how many passages are in each state.
        failures: attempts that have failed so far, over all passages.
        seconds: that the successful attempts took.
        last_error: the message of the failure that was noted last, "" where there was none.
    """

    name: str
    states: Mapping[StageState, int]
    failures: int
    seconds: float
    last_error: str

    @property
    def passages(self) -> int:
        """How often the stage was entered."""
        return sum(self.states.values())


@dataclass(frozen=True, slots=True)
class PipelineFailure:
    """Why a run has failed.

    Attributes:
        stage: the one that failed; "" where it was none.
        reason: a `FailureReason`.
        message: the exception in one line.
        traceback: of the exception.
    """

    stage: str
    reason: str
    message: str
    traceback: str


@dataclass(frozen=True, slots=True)
class PipelineStatus:
    """Where a pipeline's run stands.

    Attributes:
        run_id, name: of the run.
        status: whether a driver has it, and how it ended.
        stages: in the order in which they were first entered.
        resumed: how often it was gone on with.
        failure: why it failed, None unless it did.
    """

    run_id: str
    name: str
    status: RunStatus
    stages: tuple[StageStatus, ...]
    resumed: int
    failure: PipelineFailure | None

    @property
    def counts(self) -> Mapping[StageState, int]:
        """How many passages are in each state, over all stages."""
        return sum((Counter(stage.states) for stage in self.stages), Counter())


def pipeline_status(run: Run) -> PipelineStatus:
    """Where the pipeline of a run stands.

    Raises:
        DamagedError: an event of its journal cannot be read.
    """
    history = History.of(run.journal.events())
    status = history.status
    if status is RunStatus.RUNNING and run.info.status is not RunStatus.RUNNING:
        status = RunStatus.INTERRUPTED
    return PipelineStatus(
        run_id=run.id,
        name=run.name,
        status=status,
        stages=stages_of(history, status),
        resumed=history.resumed,
        failure=_failure(history) if status is RunStatus.FAILED else None,
    )


def stages_of(history: History, status: RunStatus) -> tuple[StageStatus, ...]:
    """The stages that were entered, in that order.

    Args:
        history: what the journal says.
        status: of the run, as it is now.
    """
    groups: dict[str, list[Passage]] = {}
    for key, passage in history.passages.items():
        groups.setdefault(stage_name(key), []).append(passage)
    return tuple(_summed(name, passages, status) for name, passages in groups.items())


def stage_name(key: str) -> str:
    """The name of the stage that a key of the journal stands for: without its passes, attempts and indices."""
    return node_of(key) + ("[]" if re.search(r"\[\d+\]$", key) else "")


def _summed(name: str, passages: Iterable[Passage], status: RunStatus) -> StageStatus:
    found = list(passages)
    errors = [passage.message for passage in found if passage.reason]
    return StageStatus(
        name=name,
        states=Counter(_state(passage, status) for passage in found),
        failures=sum(passage.attempt - 1 + _is_given_up(passage) for passage in found),
        seconds=sum(passage.seconds for passage in found),
        last_error=errors[-1] if errors else "",
    )


def _is_given_up(passage: Passage) -> bool:
    """Whether its last attempt has failed and was not to be repeated; that sets the failures back to 0."""
    return bool(passage.reason) and not passage.done and passage.failures == 0


def _state(passage: Passage, status: RunStatus) -> StageState:
    if passage.done:
        if passage.skipped:
            return StageState.SKIPPED
        return StageState.CACHED if passage.cached else StageState.DONE
    if status is RunStatus.RUNNING:
        return StageState.RETRYING if passage.failures else StageState.RUNNING
    return StageState.FAILED if status is RunStatus.FAILED and _is_given_up(passage) else StageState.STOPPED


def _failure(history: History) -> PipelineFailure:
    blamed = [
        stage_name(key)
        for key, passage in history.passages.items()
        if not passage.done and passage.message == history.message
    ]
    # A nested pipeline fails with what failed in it: the innermost one was entered last.
    return PipelineFailure(blamed[-1] if blamed else "", history.reason, history.message, history.traceback)
