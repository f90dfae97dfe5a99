"""What the pages and the report say of a run, as plain values: templates only lay them out."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from metta.sweep.cli.origin import read_origin
from metta.sweep.cli.shown import duration, user_traceback
from metta.sweep.errors import StorageError
from metta.sweep.experiments.tree.run_tree import RunTree, TrialStarter
from metta.sweep.goal import Score
from metta.sweep.report.live import counts, goal_text, number_text, shorten, value_text
from metta.sweep.report.pipeline_status import PipelineStatus, StageState
from metta.sweep.report.ranking import ranking
from metta.sweep.report.snapshot import SweepSnapshot
from metta.sweep.store.nested import top_run
from metta.sweep.store.run import Run, RunInfo, RunStatus
from metta.sweep.trial import Trial
from metta.sweep.ui.library import SEPARATOR
from metta.sweep.ui.opened import MOST_BELOW, RunData

_STATES: Final = {
    "○": ("pending", "waiting"),
    "▸": ("running",),
    "↻": ("retrying", "preempted"),
    "‖": ("paused", "interrupted"),
    "✓": ("completed", "done", "cached"),
    "⊘": ("pruned", "skipped"),
    "–": ("cancelled", "stopped"),
    "✗": ("failed",),
    "!": ("damaged",),
    "?": ("lost",),
}

MARKS: Final[Mapping[str, str]] = {state: mark for mark, states in _STATES.items() for state in states}
"""A sign for each state, beside its word: no meaning by colour alone."""


@dataclass(frozen=True, slots=True)
class Fact:
    """One line about a run; `trial` is the number of the trial to lead to."""

    name: str
    text: str
    trial: int | None = None


@dataclass(frozen=True, slots=True)
class Advice:
    """A command to copy, and what it is for."""

    purpose: str
    command: str


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
class Head:
    """What stands on top of a run's page.

    Attributes:
        status: a `RunStatus`.
        done: the share of the budget that is used, 0..1; None where nothing says.
        facts: lines about it.
        best: the parameters of the best trial by path, as text.
        advice: what can be done next.
        problem: why it cannot be read; "" where it can.
    """

    id: str
    name: str
    kind: str
    status: str
    done: float | None
    facts: tuple[Fact, ...]
    best: tuple[tuple[str, str], ...]
    advice: tuple[Advice, ...]
    problem: str


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


def head_of(data: RunData) -> Head:
    """The top of a run's page."""
    info = data.info
    facts: list[Fact] = []
    best: tuple[tuple[str, str], ...] = ()
    done = None
    status = info.status.value
    if data.sweep is not None:
        status = data.sweep.status
        done = share_done(data.sweep)
        facts += _sweep_facts(data.sweep, done)
        ranked = ranking(data.sweep.trials, data.sweep.objectives) if data.sweep.objectives.is_single else ()
        best = tuple((path, value_text(value)) for path, value in ranked[0].params.items()) if ranked else ()
    elif data.pipeline is not None:
        status = data.pipeline.status.value
        facts += _pipeline_facts(data.pipeline)
    elif not data.problem:
        facts.append(Fact("Trials", "it has not begun"))
    if data.tree is not None:
        facts.append(Fact("Nested runs", f"{sum(1 for _ in data.tree.walk()) - 1}, listed below"))
    facts.append(Fact("Started", info.created.replace("T", " ").partition(".")[0] + " UTC" if info.created else "-"))
    facts.append(Fact("Folder", str(info.folder)))
    return Head(
        id=info.id,
        name=info.name or info.id,
        kind=info.kind or "run",
        status=RunStatus.DAMAGED.value if data.problem else status,
        done=done,
        facts=tuple(facts),
        best=best,
        advice=tuple(_advice(info, RunStatus.DAMAGED if data.problem else RunStatus(status))),
        problem=data.problem,
    )


def share_done(sweep: SweepSnapshot) -> float | None:
    """How much of the budget of trials is used by trials that are over; 1 once the sweep is, None without a budget."""
    if sweep.ended is not None:
        return 1.0
    if not sweep.budget_trials:
        return None
    over = sum(trial.state.is_finished for trial in sweep.trials if trial.parent is None)
    return min(1.0, over / sweep.budget_trials)


def _sweep_facts(sweep: SweepSnapshot, done: float | None) -> Iterator[Fact]:
    forks = sum(trial.parent is not None for trial in sweep.trials)
    of = "" if sweep.budget_trials is None else f" of {sweep.budget_trials}"
    forked = f" and {forks} {'fork' if forks == 1 else 'forks'}" if forks else ""
    states = counts({state.value: number for state, number in sweep.counts.items()}) or "none yet"
    yield Fact("Goal", goal_text(sweep.objectives))
    yield Fact("Trials", f"{len(sweep.trials) - forks}{of}{forked}: {states}")
    if ranked := ranking(sweep.trials, sweep.objectives) if sweep.objectives.is_single else ():
        first = ranked[0]
        yield Fact("Best", f"{score_text(first.score)} by trial {first.id} at step {first.step}", first.id)
    left = ""
    if sweep.status == RunStatus.RUNNING and done and done < 1:
        left = f", about {duration(sweep.seconds * (1 - done) / done)} left"
    yield Fact("Time", f"{duration(sweep.seconds)}{left}")
    costs = [trial.cost for trial in sweep.trials if trial.cost is not None]
    if costs:
        yield Fact("Spent", f"{sum(trial.step for trial in sweep.trials)} steps, cost {number_text(sum(costs))}")
    if sweep.ended is not None:
        yield Fact("Ended", sweep.ended)


def _pipeline_facts(status: PipelineStatus) -> Iterator[Fact]:
    yield Fact("Stages", counts({state.value: number for state, number in status.counts.items()}) or "none was entered")
    yield Fact("Time in stages", duration(sum(stage.seconds for stage in status.stages)))
    if status.resumed:
        yield Fact("Resumed", f"{status.resumed} {'time' if status.resumed == 1 else 'times'}")


def _advice(info: RunInfo, status: RunStatus) -> Iterator[Advice]:
    top = top_run(info.folder)
    run = info.id if top is None else str(info.folder)
    if status is RunStatus.DAMAGED:
        yield Advice("see what is damaged, and what can be saved", _command("doctor", str(info.folder)))
        return
    if status is RunStatus.RUNNING:
        yield Advice("follow it in a terminal", _command("status", run, "--watch"))
    elif status is not RunStatus.COMPLETED:
        yield Advice(
            "go on with it", _command("resume", info.id if top is None else top.name, *_resumed_from(info, top))
        )
    if info.kind == "sweep":
        yield Advice("print its best trials", _command("best", run))
    yield Advice("write a page to pass on", _command("report", run, "-o", "report.html"))


def _resumed_from(info: RunInfo, top: Path | None) -> list[str]:
    try:
        return [] if read_origin(top or info.folder) is not None else ["FILE:NAME"]
    except StorageError:
        return ["FILE:NAME"]


def _command(*words: str) -> str:
    return shlex.join(["metta-sweep", *words])


def causes_of(data: RunData) -> tuple[Cause, ...]:
    """Why trials have failed, the most frequent reason first; or why a pipeline has."""
    if data.sweep is not None:
        first: dict[str, Trial] = {}
        for trial in data.sweep.trials:
            if trial.failure is not None:
                first.setdefault(trial.failure.reason.value, trial)
        numbers = sorted(data.sweep.failures.items(), key=lambda pair: -pair[1])
        return tuple(cause_of(first[reason.value], number) for reason, number in numbers)
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


def manifest_facts(run: Run) -> tuple[Fact, ...]:
    """How to come back to what ran: command, versions, commit, seeds. Secrets were taken out when it was written."""
    from metta.sweep.store.redact import redact_values

    found: dict[str, Any] = redact_values(run.manifest)
    command = found.get("command")
    git = found.get("git")
    facts = [
        ("Started with", shlex.join(map(str, command)) if isinstance(command, list) else None),
        ("Working folder", found.get("working_folder")),
        ("metta-sweep", found.get("version")),
        ("Python", found.get("python")),
        ("Platform", found.get("platform")),
        ("Host", found.get("host")),
        ("Commit", _commit(git) if isinstance(git, Mapping) else None),
        ("Details", _details(found.get("details"))),
    ]
    return tuple(Fact(name, shorten(str(value), 2_000)) for name, value in facts if value not in (None, ""))


def _commit(git: Mapping[str, Any]) -> str:
    return f"{git.get('commit')}{' with changes that are not committed' if git.get('dirty') else ''}"


def _details(details: object) -> str:
    if not isinstance(details, Mapping):
        return ""
    return ", ".join(f"{name}={value}" for name, value in details.items() if not isinstance(value, dict | list))


def score_text(score: Score | None) -> str:
    """A score, or all of several."""
    if isinstance(score, Mapping):
        return ", ".join(f"{name} {number_text(value)}" for name, value in score.items())
    return number_text(score)
