"""`metta-sweep tree`, and what `status`, `ls`, `doctor`, `resume`, `cancel` and `rm` say of runs inside of runs."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

from metta.sweep.experiments.tree.run_tree import run_tree
from metta.sweep.store.artifacts import ArtifactStore
from metta.sweep.store.lock import RunLock
from metta.sweep.store.run import RunStatus
from tests.cli.commands import Commands, end
from tests.experiments.test_run_tree import levels


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with the run "levels": two sweeps of two sweeps of two trials."""
    folder = tmp_path_factory.mktemp("levels")
    assert len(levels(folder).run().trials) == 2
    return folder


@pytest.fixture
def nested(command: Commands, finished: Path) -> Commands:
    """The command, in a copy of that store."""
    shutil.copytree(finished, command.store)
    return command


def child_of(commands: Commands, *trials: int) -> Path:
    """The folder of the run that these trials lead to, from the top."""
    (folder,) = commands.runs()
    for trial in trials:
        (folder,) = (folder / "trials" / f"trial-{trial:04}" / "children" / "sweep" / "runs").iterdir()
    return folder


def test_text_is_the_default(nested: Commands) -> None:
    code, out, err = nested("tree", "levels")
    assert (code, err) == (0, "")
    head, top, *below = out.splitlines()
    assert head.split() == ["run", "trials", "best", "steps", "time", "status"]
    assert top.split()[:2] == ["levels", "2/2"]
    assert [line.partition("trial ")[0] for line in below[:6]] == ["├─ ", "│  ├─ ", "│  └─ ", "└─ ", "   ├─ ", "   └─ "]
    assert below[6].startswith("7 runs; at the leaves 8 trials, 16 steps, ")
    assert nested("tree", "levels/1")[1].splitlines()[1].split()[0] == "middle"


def test_other_formats(nested: Commands, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    code, out, _ = nested("tree", "levels", "--format", "json")
    assert (code, json.loads(out)["spent"]["trials"]) == (0, 8)
    assert nested("tree", "levels", "--format", "dot")[1].startswith("digraph")
    assert nested("tree", "levels", "-o", "levels.mmd") == (0, "", "wrote levels.mmd\n")
    assert Path("levels.mmd").read_text().startswith("flowchart")
    assert nested("tree", "levels", "-o", "levels.txt")[0] == 0
    assert Path("levels.txt").read_text() == nested("tree", "levels", "-o", "-")[1] == nested("tree", "levels")[1]
    code, _, err = nested("tree", "levels", "--format", "jsn")
    assert (code, 'unknown format "jsn" (did you mean "json"?)' in err) == (2, True)
    code, _, err = nested("tree", "labels")
    assert (code, "did you mean 'levels'" in err) == (2, True)


@pytest.mark.skipif(shutil.which("dot") is None, reason="graphviz is not installed")
def test_a_picture_is_named_after_the_run(nested: Commands, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    name = f"{nested.run_id()}.svg"
    assert nested("tree", "levels", "--format", "svg") == (0, "", f"wrote {name}\n")
    assert "<svg" in Path(name).read_text()


def test_status_shows_the_runs_below(nested: Commands) -> None:
    code, out, _ = nested("status", "levels")
    assert code == 0
    lines = out.splitlines()
    assert lines[0] == f"sweep {nested.run_id()}: completed"
    assert "├─ trial 0: " in out
    assert any(line.startswith("7 runs; at the leaves 8 trials") for line in lines)
    found = nested.json("status", "levels")
    assert [child["name"] for child in found["children"]] == ["middle", "middle"]
    leaf = nested("status", "levels/0/1")[1]
    assert "runs; at the leaves" not in leaf
    assert nested.json("status", "levels/0/1")["children"] == []


def test_status_of_a_large_tree_is_cut(nested: Commands, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("metta.sweep.cli.status.MOST_NESTED", 4)
    out = nested("status", "levels")[1]
    assert out.splitlines()[-1] == f"and more: metta-sweep tree {nested.run_id()}"
    assert out.count("trial 0: ") == 2


def test_ls_has_the_top_only_and_counts_the_rest(nested: Commands) -> None:
    head, *rows = nested("ls")[1].splitlines()
    assert (head.split()[-1], len(rows), rows[0].split()[-1]) == ("nested", 1, "6")
    assert [row["nested"] for row in nested.json("ls")] == [6]


def test_doctor_examines_the_runs_below(nested: Commands) -> None:
    assert nested("doctor", "--replay")[:2] == (0, f"no problems found in {nested.store}\n")
    torn = child_of(nested, 1, 0)
    (torn / "run.db").write_bytes(b"x" * 5000)
    for arguments in (("doctor",), ("doctor", "levels"), ("doctor", "levels/1"), ("doctor", str(torn))):
        findings = nested.json(*arguments, code=3)
        assert {Path(finding["file"]) for finding in findings if finding["severity"] == "error"} == {torn / "run.db"}
        assert len(findings) == len({(finding["file"], finding["what"]) for finding in findings})
    assert nested("doctor", "levels/0")[0] == 0
    assert nested("ls")[0] == 0
    code, out, _ = nested("status", "levels")
    assert (code, f"{torn.name} is damaged: " in out) == (0, True)


def test_doctor_tells_a_damaged_state_once(nested: Commands) -> None:
    state = child_of(nested, 0) / "trials" / "trial-0001" / "broken.safetensors"
    state.write_bytes(b"x")
    state.chmod(0o600)
    findings = nested.json("doctor", code=3)
    assert [finding["file"] for finding in findings] == [str(state)]


def test_a_part_is_resumed_and_removed_with_the_whole(nested: Commands) -> None:
    top, part = nested.run_id(), child_of(nested, 0, 1)
    for text in ("levels/0/1", str(part)):
        code, _, err = nested("resume", text, "--budget", "9")
        assert code == 2
        assert f"run {part.name} is a part of run {top}: resume that one, and it goes on with it" in err
        code, _, err = nested("rm", text, "--yes")
        assert (code, f"run {part.name} is a part of run {top}: remove that one" in err) == (2, True)
    with RunLock(part):
        code, _, err = nested("cancel", "levels/0/1")
        assert code == 4
        assert f"run {part.name} is a part of run {top}, whose driver has it: cancel that one" in err
    assert nested.json("rm", "levels", "--yes") == {"removed": [top]}
    assert nested.runs() == []


def test_a_part_that_was_stopped_names_the_whole(nested: Commands) -> None:
    part = child_of(nested, 0, 1)
    (part / "status.json").unlink()
    out = nested("status", "levels/0/1")[1]
    top = nested.run_id()
    assert out.splitlines()[-1] == f"it is a part of {top}; go on with: metta-sweep resume {top}"


def test_gc_looks_into_the_parts(nested: Commands) -> None:
    artifacts = ArtifactStore(child_of(nested, 1, 1) / "artifacts")
    spare = artifacts.path(artifacts.put(b"nobody names it"))
    half_made = child_of(nested, 0).parent / ".new-middle-20260101-000000-0000"
    half_made.mkdir()
    for path in (spare, half_made):
        os.utime(path, (0, 0))
    dry = nested.json("gc", "--dry-run")
    assert {left["path"] for left in dry["leftovers"]} == {str(spare), str(half_made)}
    assert nested("gc")[0] == 0
    assert not spare.exists()
    assert not half_made.exists()
    assert nested("tree", "levels")[0] == 0


def test_cancel_and_resume_reach_the_parts(command: Commands) -> None:
    child = command.child("run", f"{Path(__file__).with_name('runnable_levels.py')}:levels")
    try:
        command.until_noted("sleep", child)
        assert [info["status"] for info in command.json("ls")] == ["running"]
        assert command.json("status", "levels")["children"][1]["status"] == "running"
        assert command("cancel", "levels")[0] == 0
        out, _ = child.communicate(timeout=60)
        assert child.returncode == 130, out
    finally:
        end(child)
    assert command.remains() == []
    tree = run_tree("levels", store=command.store)
    assert [node.status for node in tree.walk()] == [RunStatus.CANCELLED, RunStatus.COMPLETED, RunStatus.CANCELLED]
    assert command("resume", "levels")[0] == 0
    whole = run_tree("levels", store=command.store)
    assert [node.id for node in whole.walk()] == [node.id for node in tree.walk()]
    assert {node.status for node in whole.walk()} == {RunStatus.COMPLETED}
    assert (whole.spent.trials, command.noted("called")) == (4, 5)


def test_what_best_names_next_is_found(nested: Commands) -> None:
    """The last line of `best` is a command, for a run inside of another one, too."""
    code, out, err = nested("best", "levels/1")
    assert code == 0, err
    *words, where = out.splitlines()[-1].split()
    assert words[-2:] == ["metta-sweep", "logs"]
    (log,) = nested.runs()[0].glob(f"trials/trial-0001/children/sweep/runs/*/trials/trial-000{where[-1]}")
    (log / "log.txt").write_text("it is here\n")
    code, out, err = nested("logs", where)
    assert code == 0, err
    assert "it is here" in out
