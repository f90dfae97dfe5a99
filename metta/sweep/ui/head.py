"""The top of a run's page, and how it was run, as plain values: templates only lay them out."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from metta.sweep.cli.origin import read_origin
from metta.sweep.errors import StorageError
from metta.sweep.report.pace import seconds_left, used_share
from metta.sweep.report.pipeline_status import PipelineStatus
from metta.sweep.report.ranking import ranking
from metta.sweep.report.snapshot import SweepSnapshot
from metta.sweep.report.text import counts, duration, goal_text, number_text, scores_text, shorten, value_text
from metta.sweep.store.nested import top_run
from metta.sweep.store.redact import redact_values
from metta.sweep.store.run import Run, RunInfo, RunStatus
from metta.sweep.trial import TrialState
from metta.sweep.ui.opened import RunData


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
    """How much of the budget of trials is used, by those that have left their workers; 1 once the sweep is over.

    The same as in a terminal: a trial that is paused may never be gone on with. None without a budget.
    """
    if sweep.ended is not None:
        return 1.0
    waiting = (TrialState.PENDING, TrialState.RUNNING)
    left = sum(trial.state not in waiting for trial in sweep.trials if trial.parent is None)
    return used_share((left, sweep.budget_trials))


def _sweep_facts(sweep: SweepSnapshot, done: float | None) -> Iterator[Fact]:
    forks = sum(trial.parent is not None for trial in sweep.trials)
    of = "" if sweep.budget_trials is None else f" of {sweep.budget_trials}"
    forked = f" and {forks} {'fork' if forks == 1 else 'forks'}" if forks else ""
    states = counts({state.value: number for state, number in sweep.counts.items()}) or "none yet"
    yield Fact("Goal", goal_text(sweep.objectives))
    yield Fact("Trials", f"{len(sweep.trials) - forks}{of}{forked}: {states}")
    if ranked := ranking(sweep.trials, sweep.objectives) if sweep.objectives.is_single else ():
        first = ranked[0]
        yield Fact(
            "Best", f"{scores_text(sweep.objectives, first.score)} by trial {first.id} at step {first.step}", first.id
        )
    left = seconds_left(sweep.seconds, done) if sweep.status == RunStatus.RUNNING else None
    yield Fact("Time", duration(sweep.seconds) + ("" if left is None else f", about {duration(left)} left"))
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


def manifest_facts(run: Run) -> tuple[Fact, ...]:
    """How to come back to what ran: command, versions, commit, seeds. Secrets were taken out when it was written."""
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
