"""`metta-sweep ls`, `rm`, `gc`, `doctor`, and the completion of run ids; in this process."""

from __future__ import annotations

import io
import json
import os
import shutil
from datetime import UTC, datetime
from pathlib import Path

import pytest

from metta.sweep.cli.control import doomed
from metta.sweep.store.artifacts import ArtifactStore
from metta.sweep.store.cache import Cache
from metta.sweep.store.lock import RunLock
from metta.sweep.store.process import Process
from metta.sweep.store.run import RunInfo, RunStatus
from tests.cli.commands import RUNNABLE, Commands

RUN = ("run", f"{RUNNABLE}:Fitting")


@pytest.fixture
def kept(command: Commands) -> Commands:
    """A store with one completed run."""
    assert command(*RUN)[0] == 0
    return command


def test_an_empty_store(command: Commands) -> None:
    assert command("ls")[:2] == (0, f"no runs in {command.store}\n")
    assert command.json("ls") == []
    code, _, err = command("doctor")
    assert (code, f"there is no store at {command.store}" in err) == (2, True)


def test_the_newest_comes_first(kept: Commands) -> None:
    assert kept(*RUN, "--set", "rate=3")[0] == 1
    code, out, _ = kept("ls")
    assert code == 0
    head, *rows = out.splitlines()
    assert head.split() == ["run", "kind", "status", "progress", "best", "age"]
    assert [row.split()[1:3] for row in rows] == [["pipeline", "failed"], ["pipeline", "completed"]]
    assert "1 stage done, 1 failed" in rows[0]
    assert kept("ls", "-n", "1")[1].splitlines()[2:] == ["and 1 more: --all"]
    assert len(kept("ls", "--all")[1].splitlines()) == 3


def test_damaged_runs_are_listed(kept: Commands) -> None:
    (run,) = kept.runs()
    (run / "manifest.json").write_text("{")
    code, out, err = kept("ls")
    assert code == 0
    assert out.splitlines()[1].split()[:3] == [run.name, "-", "damaged"]
    assert f"{run.name} is damaged: " in err
    assert kept.json("ls")[0]["problem"]
    for arguments in (["status", run.name], ["resume", run.name]):
        code, _, err = kept(*arguments)
        assert code == 3
        assert f"`metta-sweep doctor {run}` says more" in err
    assert kept("doctor")[0] == 3
    assert kept("gc", "--keep", "0")[0] == 0
    assert kept.runs() == [run]


def test_a_damaged_journal(kept: Commands) -> None:
    (run,) = kept.runs()
    journal = run / "run.db"
    journal.write_bytes(b"x" * journal.stat().st_size)
    assert kept.json("ls")[0]["status"] == "damaged"
    code, _, err = kept("status", run.name)
    assert (code, str(journal) in err, "Traceback" in err) == (3, True, False)
    findings = kept.json("doctor", run.name, code=3)
    assert {finding["severity"] for finding in findings} == {"error"}
    assert all(finding["remedy"] for finding in findings)


def test_doctor_finds_nothing_in_a_sound_store(kept: Commands) -> None:
    assert kept("doctor", "--replay")[:2] == (0, f"no problems found in {kept.store}\n")
    assert kept("doctor", str(kept.store))[0] == 0
    assert kept("doctor", str(kept.runs()[0]))[0] == 0


def test_removing_needs_a_yes(kept: Commands, monkeypatch: pytest.MonkeyPatch) -> None:
    run = kept.run_id()
    monkeypatch.setattr("sys.stdin", io.StringIO())
    assert kept("rm", run)[0::2] == (2, "error: nobody can be asked here: add --yes to remove for good\n")
    assert kept.runs()
    assert kept.json("rm", run, "--yes") == {"removed": [run]}
    assert kept.runs() == []


def test_gc_removes_what_it_is_told(kept: Commands) -> None:
    assert kept(*RUN)[0] == 0
    old, new = sorted(kept.runs(), key=lambda run: json.loads((run / "manifest.json").read_text())["created"])
    assert kept("gc")[0] == 0
    assert kept("gc", "--older-than", "1h")[0] == 0
    assert len(kept.runs()) == 2
    dry = kept.json("gc", "--keep", "1", "--dry-run")
    assert (dry["dry_run"], dry["runs"], dry["leftovers"], dry["freed_bytes"]) == (True, [old.name], [], 0)
    assert dry["would_free_bytes"] == sum(path.stat().st_size for path in old.rglob("*") if path.is_file())
    assert len(kept.runs()) == 2
    assert kept("gc", "--keep", "1")[1].splitlines()[0] == f"removed {old.name}"
    assert kept.runs() == [new]
    code, _, err = kept("gc", "--older-than", "soon")
    assert (code, "'soon' is no span of time" in err) == (2, True)


def test_a_dry_run_lists_what_gc_removes(kept: Commands) -> None:
    (run,) = kept.runs()
    digest = ArtifactStore(run / "artifacts").put(b"nobody names it")
    Cache(kept.store / "cache").put("ab" * 32, b"a result")
    spare = {
        "an artifact that no event names": ArtifactStore(run / "artifacts").path(digest),
        "a cached result": Cache(kept.store / "cache").path("ab" * 32),
        "left by a killed process": run / ".0123456789abcdef.tmp",
    }
    (run / ".0123456789abcdef.tmp").write_bytes(b"half a file")
    half_removed = kept.store / "trash" / "run-1"
    half_removed.mkdir(parents=True)
    (half_removed / "run.db").write_bytes(b"x" * 300_000)
    for path in spare.values():
        os.utime(path, (1e9, 1e9))
    dry = kept.json("gc", "--older-than", "1h", "--dry-run")
    found = {left["path"]: (left["what"], left["bytes"]) for left in dry["leftovers"]}
    assert found == {
        **{str(path): (what, path.stat().st_size) for what, path in spare.items()},
        str(half_removed): ("left by a killed process", 300_000),
    }
    told = kept("gc", "--older-than", "1h", "--dry-run")[1]
    assert f"would remove {half_removed} (left by a killed process, 0.3 MB)\n" in told
    assert f"would remove {run / '.0123456789abcdef.tmp'} (left by a killed process, 11 bytes)\n" in told
    assert all(path.exists() for path in [*spare.values(), half_removed])
    assert kept.json("gc", "--older-than", "1h")["freed_bytes"] == dry["would_free_bytes"]
    assert not any(path.exists() for path in [*spare.values(), half_removed])
    assert kept.json("gc", "--older-than", "1h", "--dry-run")["leftovers"] == []
    assert kept.runs() == [run]


def test_a_dry_run_leaves_out_what_a_driver_holds(kept: Commands) -> None:
    (run,) = kept.runs()
    digest = ArtifactStore(run / "artifacts").put(b"its event comes next")
    os.utime(ArtifactStore(run / "artifacts").path(digest), (1e9, 1e9))
    with RunLock(run):
        assert kept.json("gc", "--dry-run")["leftovers"] == []
    assert len(kept.json("gc", "--dry-run")["leftovers"]) == 1


@pytest.mark.parametrize("name", ["x; touch canary", "$(touch canary)", "-rf", "a\nb", "a'b"])
def test_a_folder_with_a_name_that_no_run_has_is_none(kept: Commands, name: str) -> None:
    """Commands that are printed to be copied hold the names of runs (promise S3)."""
    shutil.copytree(kept.runs()[0], kept.store / "runs" / name)
    assert [row["run"] for row in kept.json("ls")] == [run.name for run in kept.runs() if run.name != name]
    code, _, err = kept("resume", str(kept.store / "runs" / name))
    assert (code, "is no name of a run: rename it" in err) == (2, True)
    found = kept.json("doctor")
    assert [finding["remedy"] for finding in found if finding["file"] == str(kept.store / "runs" / name)] == [
        "rename it, in letters, digits, '_', '-' and '.'"
    ]


def info(name: str, hours: float, status: RunStatus = RunStatus.COMPLETED) -> RunInfo:
    created = datetime.fromtimestamp(1e9 - 3_600 * hours, UTC).isoformat()
    return RunInfo(f"{name}-{hours:g}", name, "sweep", Path(name), created, status, 0, {}, "")


def test_which_runs_go() -> None:
    runs = [info("a", 1), info("b", 2), info("a", 3), info("a", 4, RunStatus.RUNNING), info("a", 5), info("b", 6)]

    def going(older_than: float | None, keep: int | None) -> list[str]:
        return [each.id for each in doomed(runs, 1e9, older_than, keep)]

    assert going(None, None) == []
    assert going(2.5 * 3_600, None) == ["a-3", "a-5", "b-6"]
    assert going(None, 1) == ["a-3", "a-5", "b-6"]
    assert going(None, 2) == ["a-5"]
    assert going(5.5 * 3_600, 1) == ["b-6"]
    assert doomed([info("a", 9, RunStatus.DAMAGED)], 1e9, 0, 0) == []


def test_a_run_of_another_machine_is_cancelled_there(kept: Commands) -> None:
    (run,) = kept.runs()
    with RunLock(run):
        there = Process.current()._replace(host="elsewhere")
        (run / "lock").write_bytes(there.to_json())
        code, _, err = kept("cancel", run.name)
        assert code == 4
        assert f"run `metta-sweep cancel {run.name}` on host elsewhere" in err
        before_boot = Process.current()._replace(boot="another")
        (run / "lock").write_bytes(before_boot.to_json())
        assert "in another container: cancel it there" in kept("cancel", run.name)[2]


def test_cancel_never_signals_another_process_of_that_number(kept: Commands, monkeypatch: pytest.MonkeyPatch) -> None:
    (run,) = kept.runs()
    with RunLock(run):
        # As if our number had belonged to another process: were it signalled, this test would be interrupted.
        (run / "lock").write_bytes(Process.current()._replace(started=1).to_json())
        monkeypatch.setattr("metta.sweep.cli.control.PATIENCE", 0.1)
        code, out, _ = kept("cancel", run.name)
    assert (code, "does not stop" in out) == (1, True)


def test_runs_of_another_store(kept: Commands, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    shutil.copytree(kept.store, elsewhere)
    run = kept.run_id()
    shutil.rmtree(kept.store)
    assert kept.json("status", run, "--store", str(elsewhere))["status"] == "completed"
    assert kept.json("status", str(elsewhere / "runs" / run))["status"] == "completed"
    assert kept("resume", str(elsewhere / "runs" / run))[0] == 0


def test_run_ids_complete(kept: Commands) -> None:
    run = kept.run_id()
    ended = kept.child("x").communicate()  # an unknown command: the completion below runs in the same way
    assert "no such command" in ended[0]
    kept.environment |= {"_METTA_SWEEP_COMPLETE": "bash_complete", "COMP_CWORD": "2"}
    kept.environment["COMP_WORDS"] = f"metta-sweep status {run[:3]}"
    assert kept.child().communicate()[0] == f"plain,{run}\n"
