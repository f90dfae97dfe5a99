"""The store: making, finding, listing and removing runs, whatever they are called."""

from __future__ import annotations

import json
import os
import re
import time
from pathlib import Path

import pytest

from metta.sweep.errors import DamagedError, RefusedError, StorageError, UsageError
from metta.sweep.store.artifacts import ArtifactStore
from metta.sweep.store.entries import ARTIFACT, Entry
from metta.sweep.store.lock import RunLock
from metta.sweep.store.naming import slug, unique_slug
from metta.sweep.store.removal import remove_tree, tree_size
from metta.sweep.store.run import Run, RunStatus
from metta.sweep.store.runs import Store
from tests.deep import deep_folders

HOSTILE = [
    "",
    "-rf",
    "--help",
    "..",
    "../../etc/passwd",
    "/absolute",
    "a\nb",
    "a\0b",
    "quote'\"`",
    "$(touch x) ; rm -rf *",
    "%j %s {0}",
    "x" * 300,
    "实验",
    "Überprüfung № 5",
    "\ud800",
    ".hidden",
    "con.",
]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.at(tmp_path / "store")


def finished(store: Store, name: str, status: RunStatus = RunStatus.COMPLETED) -> Run:
    with store.create(name, "sweep") as run:
        run.journal.commit([Entry("ended")])
        run.publish(status, {"completed": 3})
    return run


@pytest.mark.parametrize("name", HOSTILE)
def test_any_name_works_and_its_folder_stays_inside(store: Store, name: str) -> None:
    with store.create(name, "sweep", {"seed": 3}) as run:
        assert re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_-]{0,59}-\d{8}-\d{6}-[0-9a-f]{4}", run.id)
        assert run.folder == store.folder / "runs" / run.id
        assert run.name == name
        assert run.manifest["name"] == name
        assert run.manifest["details"] == {"seed": 3}
        assert run.stage_folder(name).resolve().is_relative_to(run.folder.resolve() / "stages")
    assert os.listdir(store.runs_folder) == [run.id]
    found = store.latest(name)
    assert found is not None
    assert found.id == run.id
    if name:
        assert store.find(name).id == run.id


@pytest.mark.parametrize("text", [*HOSTILE, "\x1b[31m", "~root", "*"])
def test_no_text_finds_what_is_not_there(store: Store, text: str) -> None:
    finished(store, "lr_search")
    with pytest.raises(UsageError, match="there is no run"):
        store.find(text)


def test_slugs() -> None:
    assert slug("lr_search") == "lr_search"
    assert slug("Überprüfung № 5!") == "Uberprufung-No-5"
    assert slug("x" * 300) == "x" * 60
    assert slug("实验", "stage") == "stage"
    assert unique_slug("fit") == "fit"
    assert unique_slug("a b") != unique_slug("a-b") == "a-b"
    assert unique_slug("x" * 300) != unique_slug("x" * 301)
    assert len(unique_slug("x y" * 100)) <= 60


def test_everything_is_private_and_ignored_by_git(store: Store) -> None:
    old = os.umask(0)
    try:
        with store.create("a", "sweep") as run:
            run.publish(RunStatus.RUNNING)
            for path in store.folder.rglob("*"):
                assert path.stat().st_mode & 0o777 == (0o700 if path.is_dir() else 0o600), path
    finally:
        os.umask(old)
    assert store.folder.stat().st_mode & 0o777 == 0o700
    assert (store.folder / ".gitignore").read_text() == "*\n"


def test_where_the_store_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("METTA_SWEEP_HOME", raising=False)
    assert Store.at().folder == tmp_path / ".metta-sweep"
    monkeypatch.setenv("METTA_SWEEP_HOME", str(tmp_path / "home"))
    assert Store.at().folder == tmp_path / "home"
    assert Store.at("here").folder == tmp_path / "here"
    assert Store.at().all() == []
    assert os.listdir(tmp_path) == []


def test_a_run_is_found_by_id_name_start_and_path(store: Store) -> None:
    first = finished(store, "lr search")
    time.sleep(0.001)  # the newest is told by the clock
    second = finished(store, "lr search")
    other = finished(store, "other")
    assert store.find(first.id).id == first.id
    assert store.find("lr search").id == second.id
    assert store.find("oth").id == other.id
    assert store.find(str(first.folder)).id == first.id
    with store.open("other") as run:
        assert [event.kind for event in run.journal.events()] == ["ended"]
    with pytest.raises(UsageError, match="several runs") as caught:
        store.find("lr-")
    assert first.id in str(caught.value)
    assert second.id in str(caught.value)
    with pytest.raises(UsageError, match="did you mean 'lr search'"):
        store.find("lr serach")
    with pytest.raises(UsageError, match="it holds no runs"):
        Store.at(store.folder / "elsewhere").find("x")
    (store.open("other").folder / "manifest.json").unlink()  # nothing says what it is called
    with pytest.raises(UsageError, match=r"there is no run '' in .*: `metta-sweep ls` lists them"):
        store.find("")


def test_the_latest_run_that_did_not_complete(store: Store) -> None:
    failed = finished(store, "a", RunStatus.FAILED)
    time.sleep(0.001)
    done = finished(store, "a")
    finished(store, "a!", RunStatus.FAILED)  # has the same slug
    latest, unfinished = store.latest("a", unfinished=False), store.latest("a")
    assert latest is not None
    assert latest.id == done.id
    assert unfinished is not None
    assert unfinished.id == failed.id
    assert store.latest("b") is None


def test_listing_tells_how_runs_are(store: Store) -> None:
    finished(store, "completed")
    time.sleep(0.001)
    with store.create("interrupted", "sweep") as run:
        run.publish(RunStatus.RUNNING)
    time.sleep(0.001)
    with store.create("running", "pipeline"):
        found = store.all()
    assert [(info.name, info.status) for info in found] == [
        ("running", RunStatus.RUNNING),
        ("interrupted", RunStatus.INTERRUPTED),
        ("completed", RunStatus.COMPLETED),
    ]
    assert found[2].counts == {"completed": 3}
    assert (found[2].seq, found[2].kind, found[0].kind) == (1, "sweep", "pipeline")


@pytest.mark.parametrize(
    ("file", "content", "says"),
    [
        ("manifest.json", None, "manifest.json is damaged: it is missing"),
        ("manifest.json", b"{", "manifest.json is damaged"),
        ("manifest.json", b"[" * 100_000, "manifest.json is damaged"),
        ("manifest.json", b'{"name": NaN}', "manifest.json is damaged"),
        ("manifest.json", b"{}", "no 'name'"),
        ("manifest.json", b"x" * (17 * 2**20), "manifest.json is damaged"),
        ("run.db", None, "its run.db is missing"),
    ],
)
def test_damaged_runs_are_listed_and_not_opened(store: Store, file: str, content: bytes | None, says: str) -> None:
    good, bad = finished(store, "good"), finished(store, "bad")
    (bad.folder / file).unlink()
    if content is not None:
        (bad.folder / file).write_bytes(content)
    by_id = {info.id: info for info in store.all()}
    assert by_id[good.id].problem == ""
    assert by_id[bad.id].status is RunStatus.DAMAGED
    assert says in by_id[bad.id].problem
    with pytest.raises(DamagedError):
        store.open(bad.id)


@pytest.mark.parametrize("content", [b"", b"{}", b'{"status": "x", "seq": 1, "counts": {}}', b"\x80\x04."])
def test_a_damaged_status_is_only_a_cache(store: Store, content: bytes) -> None:
    run = finished(store, "a")
    (run.folder / "status.json").write_bytes(content)
    assert store.find("a").status is RunStatus.INTERRUPTED
    store.open("a").close()


def test_pipes_and_links_in_a_run_are_not_followed(store: Store, tmp_path: Path) -> None:
    run = finished(store, "a")
    (run.folder / "manifest.json").unlink()
    os.mkfifo(run.folder / "manifest.json")
    assert store.all()[0].status is RunStatus.DAMAGED
    (run.folder / "manifest.json").unlink()
    (tmp_path / "manifest.json").write_text(json.dumps({"name": "stolen", "kind": "", "created": ""}))
    (run.folder / "manifest.json").symlink_to(tmp_path / "manifest.json")
    assert store.all()[0].status is RunStatus.DAMAGED
    (store.runs_folder / "linked").symlink_to(run.folder)
    assert len(store.all()) == 1


def test_a_run_has_one_driver(store: Store) -> None:
    with store.create("a", "sweep") as run:
        with pytest.raises(RefusedError, match="is held by pid"):
            store.open("a", write=True)
        with pytest.raises(RefusedError, match="is held by pid"):
            store.remove("a")
        with store.open("a") as reader, pytest.raises(RefusedError, match="reading only"):
            reader.journal.commit([Entry("e")])
        run.journal.commit([Entry("mine")])
    with store.open("a", write=True) as run:
        run.journal.commit([Entry("and mine")])
        assert [event.kind for event in run.journal.events()] == ["mine", "and mine"]


def test_folders_of_a_run(store: Store) -> None:
    with store.create("a", "sweep") as run:
        assert run.trial_folder(7) == run.folder / "trials" / "trial-0007"
        assert run.stage_folder("fit") == run.folder / "stages" / "fit"
        assert run.stage_folder("conditional.then.fit#2").parent == run.folder / "stages" / "conditional" / "then"
        assert ".." not in run.stage_folder("a/../b").parts
        assert run.artifacts_folder == run.folder / "artifacts"
        assert run.files_folder == run.folder / "files"


def test_removing_a_run_removes_all_of_it_and_nothing_else(store: Store, tmp_path: Path) -> None:
    keep, gone = finished(store, "keep"), finished(store, "gone")
    (tmp_path / "precious").write_text("x")
    (gone.folder / "link").symlink_to(tmp_path)
    assert store.remove("gone").id == gone.id
    assert [info.id for info in store.all()] == [keep.id]
    assert (tmp_path / "precious").exists()
    assert os.listdir(store.trash_folder) == []
    with pytest.raises(UsageError, match="no run of"):
        Store.at(tmp_path / "other").remove(str(keep.folder))


def test_folders_in_folders_without_end_are_removed(store: Store) -> None:
    run = finished(store, "deep")
    with deep_folders(run.files_folder):
        (run.files_folder / "d" / "d" / "empty").mkdir(mode=0o500)  # nothing may be written in it
        (run.files_folder / "d" / "d" / "some").write_bytes(b"x" * 100)
        assert store.leftovers() == []
        assert tree_size(run.folder) >= 100
        store.remove("deep")
        assert not run.folder.exists()
        assert os.listdir(store.trash_folder) == []
    # One that was removed by half, by a process that was killed.
    store.trash_folder.joinpath("half").mkdir()
    with deep_folders(store.trash_folder / "half"):
        (store.trash_folder / "half" / "d" / "some").write_bytes(b"x" * 100)
        assert [each.bytes for each in store.leftovers()] == [100]
        assert store.gc() == 100
        assert os.listdir(store.trash_folder) == []


def test_a_tree_that_may_not_be_removed_is_named(store: Store) -> None:
    run = finished(store, "deep")
    with pytest.raises(StorageError, match=rf"cannot remove {re.escape(str(run.folder / 'run.db'))}/x: "):
        remove_tree(run.folder / "run.db" / "x")
    remove_tree(run.folder)
    assert remove_tree(run.folder) == 0  # it has gone


def test_gc_takes_what_nobody_needs(store: Store) -> None:
    with store.create("a", "sweep") as run:
        artifacts = ArtifactStore(run.artifacts_folder)
        kept, dropped = artifacts.put(b"kept"), artifacts.put(b"dropped")
        run.journal.commit([Entry("stored", data={"value": ARTIFACT + kept})])
        half_made = store.runs_folder / ".new-b-20260101-000000-ffff"
        half_made.mkdir()
        (half_made / "run.db").write_bytes(b"x" * 100)
        store.trash_folder.mkdir()
        (store.trash_folder / "half removed").write_bytes(b"x" * 100)
        temporary = run.folder / ".123-4.tmp"
        temporary.write_bytes(b"x" * 100)
        assert store.gc() == 100  # the rest is young
        for path in [*store.folder.rglob("*")]:
            os.utime(path, (0, 0))
        assert store.gc() == 200
        assert not half_made.exists()
        assert not temporary.exists()
        assert dropped in artifacts  # somebody drives the run: an event that names it may be on its way
    assert store.gc() == len(b"dropped")
    assert kept in artifacts
    assert dropped not in artifacts


def test_gc_leaves_a_damaged_run_alone(store: Store) -> None:
    run = finished(store, "a")
    digest = ArtifactStore(run.artifacts_folder).put(b"x")
    os.utime(ArtifactStore(run.artifacts_folder).path(digest), (0, 0))
    (run.folder / "run.db").write_bytes(b"no longer")
    assert store.gc() == 0
    assert digest in ArtifactStore(run.artifacts_folder)


def test_ids_made_at_once_differ(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    tokens = iter(["0000", "0000", "0001"])
    monkeypatch.setattr("metta.sweep.store.runs.token_hex", lambda size: next(tokens))
    with store.create("a", "sweep") as first, store.create("a", "sweep") as second:
        assert first.id != second.id
        assert sorted(os.listdir(store.runs_folder)) == sorted([first.id, second.id])


def test_a_store_that_cannot_be_made_says_where(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(StorageError) as caught:
        Store.at(tmp_path / "file" / "store").create("a", "sweep")
    assert str(tmp_path / "file") in str(caught.value)
    assert caught.value.exit_code == 3


def test_a_run_that_fails_to_open_is_let_go(store: Store) -> None:
    run = finished(store, "a")
    (run.folder / "run.db").write_bytes(b"no longer")
    with pytest.raises(DamagedError):
        store.open("a", write=True)
    with RunLock(run.folder):
        pass
