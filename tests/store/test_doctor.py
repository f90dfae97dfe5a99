"""The doctor finds every damage, names the file, and finds nothing where nothing is wrong."""

from __future__ import annotations

import json
import os
import random
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from metta.sweep.errors import MettaSweepError
from metta.sweep.store import codec, filesystem
from metta.sweep.store.artifacts import ArtifactStore
from metta.sweep.store.connection import LARGEST_ROW
from metta.sweep.store.doctor import Finding, Severity, examine
from metta.sweep.store.entries import ARTIFACT, Entry, ReportEntry, TrialRow
from metta.sweep.store.journal import Journal
from metta.sweep.store.lock import RunLock
from metta.sweep.store.process import Process
from metta.sweep.store.run import Run, RunStatus
from metta.sweep.store.runs import Store
from tests.deep import deep_folders


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sound run, to be copied."""
    store = Store(tmp_path_factory.mktemp("doctor") / "store")
    with store.create("run", "sweep") as run:
        digest = ArtifactStore(run.artifacts_folder).put(b"an artifact")
        for number in range(30):
            reports = [ReportEntry(number, step, {"score": number / step}) for step in (1, 2)]
            event = Entry("trial.ended", str(number), {"result": ARTIFACT + digest, "text": "x" * 40})
            rows = [TrialRow(number, "completed", 2, number / 2, {"n": number})]
            run.journal.commit([*reports, event], rows=rows, snapshot={"n": number})
        run.journal.commit([ReportEntry(99, 1, {"score": 1.0})])
        run.trial_folder(3).mkdir(parents=True, mode=0o700)
        run.trial_folder(3).parent.chmod(0o700)
        state = run.trial_folder(3) / "state-1.safetensors"
        state.write_bytes(bytes(codec.dumps({"weights": [1.0, 2.0]})))
        state.chmod(0o600)
        run.publish(RunStatus.COMPLETED)
    with closing(sqlite3.connect(run.folder / "run.db", isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode = DELETE")  # so that readers leave nothing beside it
    return run.folder


@pytest.fixture
def folder(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / made.name))


def errors(folder: Path) -> list[Finding]:
    return [finding for finding in examine(folder) if finding.severity is Severity.ERROR]


def change(folder: Path, *statements: str) -> None:
    with closing(sqlite3.connect(folder / "run.db", isolation_level=None)) as connection:
        for statement in statements:
            connection.execute(statement)


def content(folder: Path) -> tuple[Any, ...]:
    """Everything that a journal can be asked for."""
    with Journal.open(folder / "run.db", write=False) as journal:
        rows = [list(journal.trials()), journal.best(99, largest=True), [journal.trial(n) for n in range(30)]]
        reports = [journal.reports(trial) for trial in range(100)]
        return list(journal.entries()), list(journal.events()), rows, reports, journal.counts(), journal.snapshot()


def test_a_sound_run_and_a_sound_store_have_no_findings(made: Path) -> None:
    assert examine(made) == []
    assert examine(made.parent.parent) == []


def test_every_flipped_byte_is_found_or_changes_nothing(made: Path, folder: Path) -> None:
    path = folder / "run.db"
    sound, right = path.read_bytes(), content(made)
    drawn = random.Random(7)
    regions = [range(100), *(range(page, page + 40) for page in range(0, len(sound), 4096))]
    places = {place for region in regions for place in drawn.sample(region, 6)}
    places.update(drawn.sample(range(len(sound)), 100))
    found = 0
    for place in sorted(places):
        damaged = bytearray(sound)
        damaged[place] ^= drawn.randrange(1, 256)
        path.write_bytes(damaged)
        findings = examine(folder)
        if findings:
            assert path in {finding.file for finding in findings}
            found += 1
        else:
            assert content(folder) == right, f"byte {place} is damaged, and nobody notices"
    assert found > len(places) / 4


def test_a_damaged_definition_of_a_table_is_found(folder: Path) -> None:
    path = folder / "run.db"
    sound = path.read_bytes()
    for word in (b"CREATE TABLE events", b"UNIQUE (trial", b"sqlite_autoindex"):
        place = sound.index(word)
        path.write_bytes(sound[: place + 2] + b"\xff" + sound[place + 3 :])
        assert path in {finding.file for finding in errors(folder)}


def test_every_truncation_is_found(folder: Path) -> None:
    path = folder / "run.db"
    sound = path.read_bytes()
    for length in [0, 1, 50, 100, 4095, *range(4096, len(sound), 4096), len(sound) - 1]:
        path.write_bytes(sound[:length])
        assert path in {finding.file for finding in errors(folder)}, length


SWAP = "UPDATE {table} SET {column} = (SELECT {column} FROM {table} WHERE {key} = {b}) WHERE {key} = {a}"


@pytest.mark.parametrize(
    ("statements", "says"),
    [
        (["UPDATE events SET data = '{}' WHERE seq = 30"], "entry 30"),
        (["UPDATE events SET kind = 'x' WHERE seq = 30"], "entry 30"),
        (["UPDATE events SET time = time + 1 WHERE seq = 30"], "entry 30"),
        (["UPDATE events SET chain = zeroblob(16) WHERE seq = 30"], "entry 30"),
        (["UPDATE reports SET metrics = '{}' WHERE seq = 29"], "entry 30: it, or a report just before it"),
        (["UPDATE reports SET step = 7 WHERE seq = 29"], "entry 30: it, or a report just before it"),
        (["UPDATE reports SET metrics = '{}' WHERE seq = 91"], "the chain ends elsewhere"),
        ([SWAP.format(table="events", column="subject", key="seq", a=30, b=33)], "entry 30"),
        ([SWAP.format(table="reports", column="metrics", key="seq", a=28, b=29)], "entry 30"),
        (["UPDATE events SET seq = -1 WHERE seq = 30", "UPDATE events SET seq = 30 WHERE seq = 33"], "entry 30"),
        (["DELETE FROM events WHERE seq = 30"], "entry 30 is missing"),
        (["DELETE FROM reports WHERE seq = 29"], "entry 29 is missing"),
        (["DELETE FROM reports WHERE seq = 91"], "entry 91 is missing"),
        (["DELETE FROM events", "DELETE FROM reports"], "entry 1 is missing"),
        (["DELETE FROM reports WHERE seq = 91", "UPDATE head SET seq = 90"], "the chain ends elsewhere"),
        (["INSERT INTO events VALUES (92, 0.0, 'forged', '', 'null', zeroblob(16))"], "entry 92"),
        (["INSERT INTO reports VALUES (30, 0.0, 98, 1, '{}')"], "entry 31 is missing or there twice"),
        (["UPDATE head SET chain = zeroblob(16)"], "the chain ends elsewhere"),
        (["UPDATE head SET seq = 'x'"], "head"),
        (["DELETE FROM head"], "head"),
        (["UPDATE trials SET data = '{}' WHERE id = 3"], "trial 3"),
        (["UPDATE trials SET score = 9 WHERE id = 3"], "trial 3"),
        (["DELETE FROM trials WHERE id = 3"], "rows of the table `trials` are missing"),
        (["DELETE FROM trials"], "rows of the table `trials` are missing"),
        (["UPDATE head SET rows = zeroblob(16)"], "rows of the table `trials` are missing"),
        (["UPDATE snapshots SET data = '[]'"], "snapshot after entry 90"),
        (["UPDATE snapshots SET digest = 3"], "snapshot after entry 87"),
        (["DROP TABLE trials"], "trials"),
        (["CREATE TABLE more (x)"], "more"),
        (["PRAGMA user_version = 9"], "format 9"),
    ],
)
def test_changed_rows_are_found_and_named(folder: Path, statements: list[str], says: str) -> None:
    change(folder, *statements)
    findings = [finding for finding in examine(folder) if finding.file == folder / "run.db"]
    assert any(says in finding.what for finding in findings), findings


def test_a_file_in_the_place_of_the_runs_is_named(tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("")
    (finding,) = errors(tmp_path)
    assert finding.file == tmp_path / "runs"
    assert "it is no folder" in finding.what


def test_folders_in_folders_without_end_are_named(folder: Path) -> None:
    with deep_folders(folder / "trials"):
        (found,) = errors(folder)
    assert found.what == "folders lie deeper in each other than in any run"


@pytest.mark.parametrize(
    ("value", "says"),
    [
        (f"CAST(zeroblob({LARGEST_ROW + 1}) AS TEXT)", "larger than"),
        ("'" + "[" * 100_000 + "'", "too deeply nested"),
        ("'NaN'", "NaN is not JSON"),
        ("'{\"a\": Infinity}'", "Infinity is not JSON"),
        ("'" + "9" * 10_000 + "'", "entry 30"),
        ("CAST(x'ff' AS TEXT)", "entry 30"),
        ("x'80049561'", "entry 30"),
        ("'cos\nsystem'", "entry 30"),
        ("''", "entry 30"),
    ],
)
def test_hostile_values_are_damage(folder: Path, value: str, says: str) -> None:
    change(folder, f"UPDATE events SET data = {value} WHERE seq = 30")
    with Journal.open(folder / "run.db", write=False) as journal:
        for read in (journal.entries, journal.events):
            with pytest.raises(MettaSweepError, match="damaged"):
                list(read())
        with pytest.raises(MettaSweepError, match=says):
            list(journal.events())
    assert errors(folder)


@pytest.mark.parametrize(
    ("column", "value"), [("time", "'soon'"), ("time", "x'00'"), ("kind", "3.5"), ("subject", "x'ff'"), ("data", "7")]
)
def test_wrong_types_are_damage(folder: Path, column: str, value: str) -> None:
    change(folder, f"UPDATE events SET {column} = {value} WHERE seq = 30")
    with Journal.open(folder / "run.db", write=False) as journal, pytest.raises(MettaSweepError, match="entry 30"):
        list(journal.entries())


def test_a_missing_log_is_noticed_by_what_was_published(folder: Path) -> None:
    status = json.loads((folder / "status.json").read_text())
    (folder / "status.json").write_text(json.dumps({**status, "seq": 95}))
    (finding,) = errors(folder)
    assert finding.file == folder / "run.db"
    assert "its last entry is 91, and entry 95 was there" in finding.what


def remove(name: str) -> Callable[[Path], None]:
    def act(folder: Path) -> None:
        next(folder.glob(name)).unlink()

    return act


def write(name: str, text: bytes) -> Callable[[Path], None]:
    def act(folder: Path) -> None:
        next(folder.glob(name)).write_bytes(text)

    return act


def cut(folder: Path) -> None:
    state = next(folder.glob("trials/*/*.safetensors"))
    state.write_bytes(state.read_bytes()[:-3])


@pytest.mark.parametrize(
    ("harm", "name", "says"),
    [
        (remove("run.db"), "run.db", "missing"),
        (remove("manifest.json"), "manifest.json", "missing"),
        (write("manifest.json", b"{"), "manifest.json", "damaged"),
        (remove("artifacts/*/*"), "artifacts/*/*", "an event names it"),
        (write("artifacts/*/*", b"an artifacT"), "artifacts/*/*", "does not fit its name"),
        (write("artifacts/*/*", b""), "artifacts/*/*", "does not fit its name"),
        (cut, "trials/trial-0003/state-1.safetensors", "cut off"),
        (write("trials/*/*.safetensors", b"\x80\x04."), "trials/trial-0003/state-1.safetensors", "no stored value"),
    ],
)
def test_damaged_files_are_found_and_named(
    folder: Path, made: Path, harm: Callable[[Path], None], name: str, says: str
) -> None:
    harm(folder)
    file = folder / next(made.glob(name)).relative_to(made)
    (finding,) = errors(folder)
    assert finding.file == file
    assert says in finding.what
    assert finding.remedy


def test_what_lies_around_is_found(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("x")
    (folder / "link").symlink_to(tmp_path / "secret")
    (folder / "inner").symlink_to(folder / "run.db")
    os.mkfifo(folder / "pipe", 0o600)
    (folder / "manifest.json").chmod(0o644)
    (folder / "trials").chmod(0o755)
    (folder / ".1-2.tmp").write_text("x")
    (folder / ".1-2.tmp").chmod(0o600)
    os.utime(folder / ".1-2.tmp", (0, 0))
    (folder / "lock").write_bytes(Process.current()._replace(started=1).to_json())
    (folder / "status.json").write_text("{")
    found = [(finding.severity.value, finding.file.name, finding.what) for finding in examine(folder)]
    assert [severity for severity, _, _ in found] == ["error"] * 2 + ["warning"] * 3 + ["note"] * 2
    assert {(severity, name) for severity, name, _ in found} == {
        ("error", "link"),
        ("error", "pipe"),
        ("warning", "manifest.json"),
        ("warning", "trials"),
        ("warning", "status.json"),
        ("note", ".1-2.tmp"),
        ("note", "lock"),
    }


def test_a_linked_journal_is_not_read(folder: Path, tmp_path: Path) -> None:
    (folder / "run.db").rename(tmp_path / "elsewhere.db")
    (folder / "run.db").symlink_to(tmp_path / "elsewhere.db")
    assert any("link" in finding.what and finding.file.name == "run.db" for finding in errors(folder))


def test_a_run_that_is_driven_can_be_examined(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    with store.create("a", "sweep") as run:
        run.journal.commit([Entry("e")])
        assert examine(store.folder) == []
        assert run.journal.commit([Entry("e")]) == 2
        with pytest.raises(MettaSweepError):
            RunLock(run.folder).acquire()


def test_a_store(folder: Path, tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    store.create("a", "sweep").close()
    bad = Path(shutil.copytree(folder, store.runs_folder / folder.name))
    (bad / "run.db").unlink()
    (store.runs_folder / ".new-x").mkdir()
    (store.runs_folder / "linked").symlink_to(bad)
    entry = store.cache_folder / "ab" / ("ab" * 32)
    entry.parent.mkdir(parents=True)
    entry.write_bytes(b"no entry")
    (store.trash_folder / "x").mkdir(parents=True)
    assert {(finding.severity.value, finding.file) for finding in examine(store.folder)} == {
        ("error", bad / "run.db"),
        ("warning", store.runs_folder / "linked"),
        ("warning", entry),
        ("note", store.runs_folder / ".new-x"),
        ("note", store.trash_folder / "x"),
    }
    (finding,) = examine(tmp_path / "nowhere")
    assert finding.severity is Severity.ERROR


def test_a_network_file_system_is_said(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = tmp_path / "mountinfo"
    table.write_text(f"1 0 0:1 / {tmp_path} rw - nfs4 server:/ rw\n")
    for function in (filesystem.file_system, filesystem.is_network):
        monkeypatch.setattr(function, "__defaults__", (table,))
    (finding,) = examine(folder)
    assert finding.severity is Severity.WARNING
    assert "nfs4" in finding.what


def test_a_damaged_end_stops_a_driver(folder: Path) -> None:
    change(folder, "DELETE FROM reports WHERE seq = 91")
    for write_too in (False, True):
        with pytest.raises(MettaSweepError, match="entry 91 is missing"):
            Run.open(folder, write=write_too)
