"""A journal whose digests are right and which tells what no driver writes: every command says that it is damaged."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest

from metta.sweep.cli.main import main
from metta.sweep.executors import LocalExecutor
from metta.sweep.experiments import records
from metta.sweep.experiments.sweep import SweepExperiment
from metta.sweep.optimizers import RandomOptimizer
from metta.sweep.schedulers import ASHAScheduler
from metta.sweep.space import Integer, Uniform
from metta.sweep.store.entries import Entry, Event, ReportEntry, StoredReport
from metta.sweep.store.journal import Journal
from metta.sweep.store.runs import Store
from metta.sweep.trial import Trial

Entries = list[Event | StoredReport]
Change = Callable[[Entries], Entries]


def climb(trial: Trial) -> Iterator[dict[str, float]]:
    if trial.params["x"] < 0.2:
        raise ValueError("too small")
    for step in range(1, 4):
        yield {"score": step * trial.params["x"]}


def sweep(**settings: Any) -> SweepExperiment:
    """The sweep of the run."""
    return SweepExperiment(
        climb,
        name="climb",
        search_space={"x": Uniform(0, 1), "n": Integer(1, 9)},
        optimizer=RandomOptimizer(),
        scheduler=ASHAScheduler(max_epochs=3, reduction_factor=3, grace_period=1),
        seed=3,
        **settings,
    )


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run with all that a sweep writes."""
    store = tmp_path_factory.mktemp("strange") / "store"
    with LocalExecutor(max_workers=1) as executor:
        sweep(store=store, executor=executor).run(4).trials  # noqa: B018  # waits
    return Store.at(store).find("climb").folder


def rewritten(folder: Path, store: Path, change: Change) -> Path:
    """A copy of a run whose journal holds changed entries, each with its right digest."""
    target = store / "runs" / folder.name
    shutil.copytree(folder, target)
    (target / "run.db").unlink()
    with Journal.open(folder / "run.db", write=False) as source, Journal.create(target / "run.db") as journal:
        for entry in change(deepcopy(list(source.entries()))):
            if isinstance(entry, Event):
                journal.commit([Entry(entry.kind, entry.subject, entry.data, entry.time)])
            else:
                journal.commit([ReportEntry(entry.trial, entry.step, entry.metrics, entry.time)])
    return target


def started(value: object, *path: str) -> Change:
    """Change what stands under a path of keys in the first event."""

    def change(entries: Entries) -> Entries:
        first = entries[0]
        assert isinstance(first, Event)
        data: Any = first.data
        for key in path[:-1]:
            data = data[key]
        data[path[-1]] = value
        return entries

    return change


def first_of(kind: str, subject: str | None = None, **data: object) -> Change:
    """Change the subject or some data of the first event of a kind."""

    def change(entries: Entries) -> Entries:
        place, event = next((i, e) for i, e in enumerate(entries) if isinstance(e, Event) and e.kind == kind)
        entries[place] = event._replace(
            subject=event.subject if subject is None else subject, data={**event.data, **data}
        )
        return entries

    return change


def resumed(**data: object) -> Change:
    """Add a resumption."""
    usual = {
        "budget": {"trials": 9},
        "slots": 1,
        "retry": [],
        "drop_paused": False,
        "optimizer": "state",
        "informed": False,
        "scheduler": "kept",
        "synchronous": False,
        "plan": None,
        "lost": [],
        "differences": [],
    }

    def change(entries: Entries) -> Entries:
        first = entries[0]
        assert isinstance(first, Event)
        given = {"base": first.data["base"], **usual, **data}
        return [*entries, Event(0, entries[-1].time, records.RESUMED, "", given)]

    return change


def unknown_reports(entries: Entries) -> Entries:
    return [entry if isinstance(entry, Event) else entry._replace(trial=entry.trial + 50) for entry in entries]


STRANGE = {
    "budget-negative": started({"trials": -3}, "budget"),
    "budget-text": started({"trials": "many"}, "budget"),
    "budget-unknown": started({"trails": 3}, "budget"),
    "budget-none": started(None, "budget"),
    "goal-direction": started({"score": "sideways"}, "plan", "objectives"),
    "goal-empty": started({}, "plan", "objectives"),
    "goal-list": started(["score"], "plan", "objectives"),
    "space-text": started("x", "plan", "space"),
    "space-parameters": started({"parameters": [1]}, "plan", "space"),
    "space-distribution": started({"parameters": {"x": 3}}, "plan", "space"),
    "plan-text": started("x", "plan"),
    "plan-scheduler": started(3, "plan", "scheduler"),
    "name-number": started(3, "name"),
    "seed-text": started("x", "seed"),
    "unknown-trial": first_of(records.GRANTED, "99"),
    "trial-text": first_of(records.BEGAN, "x"),
    "step-text": first_of(records.BEGAN, saved_step="x"),
    "unknown-move": first_of(records.DECIDED, do="dance"),
    "unknown-action": first_of(records.JUDGED, action="x"),
    "unknown-reason": first_of(records.FAILED, reason="x"),
    "unknown-reports": unknown_reports,
    "resumed-budget": resumed(budget={"trials": "x"}),
    "resumed-plan": resumed(plan="x"),
    "resumed-optimizer": resumed(optimizer="x"),
}

BAD_SPACES = {
    "kind": {"parameters": {"x": {"type": "Uniformly"}}},
    "bounds": {"parameters": {"x": {"type": "Uniform", "lo": 3, "hi": 1}}},
    "constraint": {"parameters": {"x": {"type": "Uniform", "lo": 0, "hi": 1}}, "constraints": [3]},
}
"""What only those notice who need the distributions: doctor, reports and other tools."""


def refused(capsys: pytest.CaptureFixture[str], file: Path, *command: str) -> None:
    """A command answers with exit code 3 and one sentence that names the file."""
    capsys.readouterr()
    assert main([*command]) == 3, command
    captured = capsys.readouterr()
    told = captured.out if command[0] == "doctor" else captured.err
    assert f"error: {file}" in told
    assert "damaged" in told or "not what was written" in told
    assert "mistake of metta-sweep" not in told
    assert "Traceback" not in captured.out + captured.err


@pytest.mark.parametrize("change", STRANGE.values(), ids=STRANGE)
def test_every_reader_says_that_it_is_damaged(
    made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, change: Change
) -> None:
    monkeypatch.setenv("METTA_SWEEP_HOME", str(tmp_path))
    run = rewritten(made, tmp_path, change)
    for command in ("doctor", "status", "best", "report"):
        refused(capsys, run / "run.db", command, *([] if command == "doctor" else [run.name]))
    program = tmp_path / "program.py"
    program.write_text("from tests.cli import test_strange_journals\n\nsweep = test_strange_journals.sweep()\n")
    refused(capsys, run / "run.db", "resume", run.name, f"{program}:sweep", "--budget", "9")


@pytest.mark.parametrize("space", BAD_SPACES.values(), ids=BAD_SPACES)
def test_a_space_that_nobody_can_have_given(
    made: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    space: dict[str, Any],
) -> None:
    monkeypatch.setenv("METTA_SWEEP_HOME", str(tmp_path))
    run = rewritten(made, tmp_path, started(space, "plan", "space"))
    refused(capsys, run / "run.db", "doctor")
    refused(capsys, run / "run.db", "report", run.name)
    refused(capsys, run / "run.db", "export", run.name, "--to", "optuna", "-o", str(tmp_path / "optuna.log"))


def test_a_sound_one_is_told_once_and_a_damaged_one_too(
    made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("METTA_SWEEP_HOME", str(tmp_path))
    rewritten(made, tmp_path, lambda entries: entries)
    assert main(["doctor", "--replay"]) == 0
    rewritten(made, tmp_path / "other", STRANGE["budget-negative"])
    capsys.readouterr()
    assert main(["doctor", str(tmp_path / "other"), "--replay"]) == 3
    assert capsys.readouterr().out.count("Budget(trials=-3): expected a whole number above 0") == 1


def test_a_pipeline_is_read_too(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("METTA_SWEEP_HOME", str(tmp_path))
    with Store.at(tmp_path).create("steps", "pipeline") as run:
        run.journal.commit([Entry("run.started", data={"name": "steps", "fingerprints": {}, "inputs": {}})])
    assert main(["doctor"]) == 0
    with Store.at(tmp_path).open("steps", write=True) as run:
        run.journal.commit([Entry("stage.done", "fit", data=["strange"])])
    refused(capsys, run.folder / "run.db", "doctor")
