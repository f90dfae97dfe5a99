"""The journal: what is committed is read back, in order, by whoever asks."""

from __future__ import annotations

import math
import os
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metta.sweep.errors import InternalError, RefusedError, StorageError, UsageError
from metta.sweep.store.entries import Entry, Event, ReportEntry, Snapshot, StoredReport, TrialRow
from metta.sweep.store.journal import Journal
from metta.sweep.store.writing import LARGEST_TEXT, Batch


@pytest.fixture(params=["local", "network"])
def journal(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Journal]:
    ticks = iter(range(1, 10**9))
    network = request.param == "network"
    with Journal.create(tmp_path / "run.db", network=network, clock=lambda: float(next(ticks))) as made:
        yield made


def test_entries_come_back_in_their_order(journal: Journal) -> None:
    assert journal.last_seq == 0
    assert journal.commit([Entry("run.started", data={"seed": 3}), ReportEntry(4, 1, {"loss": 0.5})]) == 2
    assert journal.commit([Entry("trial.ended", "4", [1, None, "x"], time=0.5)]) == 3
    assert list(journal.entries()) == [
        Event(1, 1.0, "run.started", "", {"seed": 3}),
        StoredReport(2, 1.0, 4, 1, {"loss": 0.5}),
        Event(3, 0.5, "trial.ended", "4", [1, None, "x"]),
    ]
    assert [entry.seq for entry in journal.entries(after=1)] == [2, 3]
    assert list(journal.entries(after=3)) == []
    assert journal.last_seq == 3


def test_events_by_kind_and_subject(journal: Journal) -> None:
    journal.commit([Entry(kind, subject) for kind in ("a", "b", "c") for subject in ("x", "y")])
    assert [event.seq for event in journal.events()] == [1, 2, 3, 4, 5, 6]
    assert [event.seq for event in journal.events(after=2, kinds=["a", "c"])] == [5, 6]
    assert [event.seq for event in journal.events(subject="y")] == [2, 4, 6]
    assert [event.seq for event in journal.events(after=2, kinds={"b"}, subject="y")] == [4]
    assert list(journal.events(kinds=[])) == []


def test_reports_of_a_trial_by_step(journal: Journal) -> None:
    journal.commit([ReportEntry(trial, step, {"score": step / 2}) for step in (1, 3, 2) for trial in (0, 1)])
    assert [(report.step, report.metrics) for report in journal.reports(1)] == [
        (1, {"score": 0.5}),
        (2, {"score": 1.0}),
        (3, {"score": 1.5}),
    ]
    assert journal.reports(7) == []


def test_more_than_one_page(journal: Journal) -> None:
    entries = [ReportEntry(0, n, {"x": n}) if n % 2 else Entry("e", data=n) for n in range(1, 1500)]
    journal.commit(entries, rows=[TrialRow(n, "running", 0, None, n) for n in range(1000)])
    assert [entry.seq for entry in journal.entries()] == list(range(1, 1500))
    assert [event.data for event in journal.events()] == list(range(2, 1500, 2))
    assert len(journal.reports(0)) == 750
    assert [row.data for row in journal.trials()] == list(range(1000))


def test_rows_are_replaced_and_queried(journal: Journal) -> None:
    journal.commit([], rows=[TrialRow(n, "running", 0, None, {"n": n}) for n in range(4)])
    last = [TrialRow(1, "completed", 9, 0.25, {"n": "last"}), TrialRow(2, "completed", 9, math.nan, {})]
    journal.commit(
        [Entry("told")], rows=[TrialRow(3, "failed", 1, -1.0, {}), *last, TrialRow(0, "completed", 2, 0.5, 1)]
    )
    assert journal.counts() == {"completed": 3, "failed": 1}
    assert journal.trial(1) == TrialRow(1, "completed", 9, 0.25, {"n": "last"})
    assert journal.trial(9) is None
    assert [row.id for row in journal.best(2, largest=True)] == [0, 1]
    assert [row.id for row in journal.best(5, largest=False)] == [3, 1, 0]
    assert [row.score for row in journal.trials()] == [0.5, 0.25, None, -1.0]


def test_the_newest_two_snapshots_are_kept(journal: Journal) -> None:
    assert journal.snapshot() is None
    for number in range(1, 5):
        journal.commit([Entry("tick")], snapshot={"n": number})
    assert journal.snapshot() == Snapshot(4, {"n": 4})
    assert list(journal.snapshots()) == [Snapshot(4, {"n": 4}), Snapshot(3, {"n": 3})]
    journal.commit([], snapshot={"n": "again"})
    assert journal.snapshot() == Snapshot(4, {"n": "again"})


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
whole = st.integers(0, 2**63 - 1)
seconds = st.floats(allow_nan=False, allow_infinity=False)
names = st.text(st.characters(exclude_categories=["Cs"]))
entries = st.builds(Entry, names, names, json_values, seconds)
rows = st.builds(TrialRow, whole, names, whole, st.none() | st.floats(allow_nan=False), json_values)


@settings(max_examples=60, derandomize=True, deadline=None)
@given(st.lists(st.lists(entries, max_size=3), max_size=4), st.lists(rows, max_size=4, unique_by=lambda row: row.id))
def test_whatever_is_json_comes_back(
    tmp_path_factory: pytest.TempPathFactory, batches: list[list[Entry]], rows: list[TrialRow]
) -> None:
    path = tmp_path_factory.mktemp("journal") / "run.db"
    with Journal.create(path) as journal:
        for batch in batches:
            journal.commit(batch, rows=rows)
    with Journal.open(path, write=False) as journal:
        written = [entry for batch in batches for entry in batch]
        read = [(event.kind, event.subject, event.data, event.time) for event in journal.events()]
        assert read == [tuple(entry) for entry in written]
        assert len(list(journal.entries())) == len(written)
        assert list(journal.trials()) == (sorted(rows) if batches else [])


def test_numbers_that_json_does_not_know(journal: Journal) -> None:
    data = {"x": [math.nan, (math.inf,)], "y": -math.inf, "z": 1.5}
    journal.commit([Entry("odd", data=data), ReportEntry(0, 1, {"a": math.nan, "b": -math.inf, "c": 2})])
    event, report = journal.entries()
    assert isinstance(event, Event)
    assert event.data == {"x": ["nan", ["inf"]], "y": "-inf", "z": 1.5}
    assert isinstance(report, StoredReport)
    assert math.isnan(report.metrics["a"])
    assert report.metrics["b"] == -math.inf
    assert report.metrics["c"] == 2.0


circle: list[Any] = []
circle.append(circle)
deep: Any = None
for _ in range(10_000):
    deep = [deep]


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        (Entry("e", data=object()), "the data of the event 'e' should be JSON values"),
        (Entry("e", data={"a": {1, 2}}), "JSON"),
        (Entry("e", data={(1, 2): 3}), "JSON"),
        (Entry("e", data=circle), "JSON"),
        (Entry("e", data=deep), "JSON"),
        (Entry("e", data="x" * (LARGEST_TEXT + 1)), "store it as an artifact"),
        (Entry("e\ud800"), "no valid Unicode"),
        (Entry(3), "should be text, found int"),  # type: ignore[arg-type]
        (Entry("e", time=math.nan), "seconds since the epoch"),
        (ReportEntry(0, 1, {"a": "b"}), "metrics"),  # type: ignore[dict-item]
        (ReportEntry(0, 1, 3), "metrics"),  # type: ignore[arg-type]
        (ReportEntry(2**63, 1, {}), "whole number"),
        (ReportEntry(-1, 1, {}), "whole number from 0"),
        (ReportEntry(0, 1.5, {}), "whole number"),  # type: ignore[arg-type]
    ],
)
def test_what_cannot_be_stored_is_refused_and_leaves_nothing(
    journal: Journal, entry: Entry | ReportEntry, message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        journal.commit([Entry("before"), entry])
    assert journal.commit([Entry("after")]) == 1
    assert [event.kind for event in journal.events()] == ["after"]


def test_a_step_is_reported_once(journal: Journal) -> None:
    journal.commit([ReportEntry(3, 1, {"x": 1.0})])
    with pytest.raises(UsageError, match="trial 3 has reported step 1 already"):
        journal.commit([Entry("e"), ReportEntry(3, 1, {"x": 2.0})])
    with pytest.raises(UsageError, match="trial 4 has reported step 9 already"):
        journal.commit([ReportEntry(4, 9, {}), ReportEntry(4, 9, {})])
    assert journal.commit([Entry("e")]) == 2


def test_threads_share_transactions_and_none_is_lost(journal: Journal) -> None:
    transactions = 0

    def count(statement: str) -> None:
        nonlocal transactions
        transactions += statement == "COMMIT"

    assert journal._writing is not None
    journal._writing.set_trace_callback(count)
    acknowledged: list[tuple[int, int, int]] = []
    start = threading.Barrier(8)

    def work(thread: int) -> None:
        start.wait()
        for number in range(50):
            seq = journal.commit([Entry("a", str(thread), number), ReportEntry(thread, number, {})])
            acknowledged.append((seq, thread, number))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = list(journal.entries())
    assert len(found) == 800
    for seq, worker, number in acknowledged:
        event, report = found[seq - 2 : seq]  # the entries of a commit stay together
        assert isinstance(event, Event)
        assert isinstance(report, StoredReport)
        assert (event.subject, event.data, report.trial, report.step) == (str(worker), number, worker, number)
    assert transactions < 400


def test_one_wrong_commit_does_not_spoil_those_beside_it(journal: Journal) -> None:
    journal.commit([ReportEntry(0, 1, {})])
    outcomes: dict[int, object] = {}
    with journal._write_lock:  # so that all of them wait, and are written together
        threads = [threading.Thread(target=_report, args=(journal, step, outcomes)) for step in (1, 2, 3)]
        for thread in threads:
            thread.start()
        while len(journal._pending) < 3:
            pass
    for thread in threads:
        thread.join()
    assert isinstance(outcomes[1], UsageError)
    assert {outcomes[2], outcomes[3]} == {2, 3}
    assert {report.step for report in journal.reports(0)} == {1, 2, 3}


def _report(journal: Journal, step: int, outcomes: dict[int, object]) -> None:
    try:
        outcomes[step] = journal.commit([ReportEntry(0, step, {})])
    except UsageError as error:
        outcomes[step] = error


class InterruptedConnection:
    """A connection that is interrupted just before or just after a COMMIT, once."""

    def __init__(self, connection: sqlite3.Connection, moment: str) -> None:
        self._connection = connection
        self._moment = moment

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)

    def execute(self, statement: str, *values: Any) -> sqlite3.Cursor:
        moment, self._moment = self._moment, "" if statement == "COMMIT" else self._moment
        if statement == "COMMIT" and moment == "before":
            raise KeyboardInterrupt
        cursor = self._connection.execute(statement, *values)
        if statement == "COMMIT" and moment == "after":
            raise KeyboardInterrupt
        return cursor


@pytest.mark.parametrize(("moment", "kept"), [("before", ["next"]), ("after", ["interrupted", "next"])])
def test_an_interrupt_leaves_a_commit_as_a_whole_or_not_at_all(journal: Journal, moment: str, kept: list[str]) -> None:
    connection = journal._writing
    assert connection is not None
    journal._writing = InterruptedConnection(connection, moment)  # type: ignore[assignment]
    with pytest.raises(KeyboardInterrupt):
        journal.commit([Entry("interrupted")])
    assert journal.commit([Entry("next")]) == len(kept)
    assert [event.kind for event in journal.events()] == kept


@pytest.mark.parametrize("moment", ["before", "after"])
def test_an_interrupt_of_one_thread_does_not_touch_what_others_wait_for(journal: Journal, moment: str) -> None:
    waiting = Batch([Entry("of another thread")], (), None, 0.0)
    journal._pending.append(waiting)
    connection = journal._writing
    assert connection is not None
    journal._writing = InterruptedConnection(connection, moment)  # type: ignore[assignment]
    with pytest.raises(KeyboardInterrupt):
        journal.commit([Entry("interrupted")])
    assert waiting.seq == (1 if moment == "after" else None)
    journal.commit([Entry("next")])
    assert waiting.seq == 1
    assert [event.kind for event in journal.events()].count("of another thread") == 1


def test_readers_see_what_is_committed_and_cannot_write(journal: Journal) -> None:
    journal.commit([Entry("one")])
    with Journal.open(journal.path, write=False) as reader:
        assert reader.last_seq == 1
        journal.commit([Entry("two")])
        assert [event.kind for event in reader.events()] == ["one", "two"]
        with pytest.raises(RefusedError, match="reading only"):
            reader.commit([Entry("three")])


def test_reading_goes_up_to_the_end_that_was_there(journal: Journal) -> None:
    journal.commit([Entry("e") for _ in range(600)])
    reading = journal.entries()
    next(reading)
    journal.commit([Entry("later")])
    assert len(list(reading)) == 599


def test_a_second_writer_is_noticed(journal: Journal) -> None:
    journal.commit([Entry("one")])
    with Journal.open(journal.path, write=True, network=journal.path.parent.name.endswith("network0")) as other:
        other.commit([Entry("two")])
    with pytest.raises(RefusedError, match=r"another process has written .* since entry 1"):
        journal.commit([Entry("three")])
    assert [event.kind for event in journal.events()] == ["one", "two"]


def test_a_closed_journal_says_so(tmp_path: Path) -> None:
    journal = Journal.create(tmp_path / "run.db")
    journal.commit([Entry("one")])
    journal.close()
    journal.close()
    assert os.listdir(tmp_path) == ["run.db"]
    with pytest.raises(StorageError, match="is closed"):
        journal.commit([Entry("two")])
    with pytest.raises(StorageError, match="is closed"):
        journal.last_seq  # noqa: B018


def test_a_forked_process_does_not_write(journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "getpid", lambda: 1)
    with pytest.raises(InternalError, match="forked"):
        journal.commit([Entry("e")])


def test_files_are_private_and_made_once(tmp_path: Path) -> None:
    old = os.umask(0)
    try:
        with Journal.create(tmp_path / "run.db", network=False) as journal:
            journal.commit([Entry("e")])
            assert {path.name: path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {
                "run.db": 0o600,
                "run.db-wal": 0o600,
                "run.db-shm": 0o600,
            }
    finally:
        os.umask(old)
    with pytest.raises(UsageError, match="exists already"):
        Journal.create(tmp_path / "run.db")


@pytest.mark.parametrize("target", ["run.db-wal", "/dev/zero"])
def test_a_link_in_the_place_of_the_log_is_said(tmp_path: Path, target: str) -> None:
    """SQLite follows none; what it leads to is not copied, which would have no end."""
    with Journal.create(tmp_path / "run.db") as made:
        made.commit([Entry("run.started")])
    (tmp_path / "run.db-wal").symlink_to(target)
    (tmp_path / "run.db-journal").write_bytes(b"x")
    with pytest.raises(StorageError, match=r"run\.db-wal is damaged: it is no regular file"):
        Journal.open(tmp_path / "run.db", write=False).close()


def test_a_missing_or_linked_file_is_not_opened(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="there is no journal"):
        Journal.open(tmp_path / "run.db", write=False)
    assert os.listdir(tmp_path) == []
    Journal.create(tmp_path / "real.db").close()
    (tmp_path / "run.db").symlink_to(tmp_path / "real.db")
    with pytest.raises(StorageError, match="link"):
        Journal.open(tmp_path / "run.db", write=True)


@pytest.mark.parametrize("name", ["a b.db", "100%.db", "a?mode=rwc#x.db", "ünï.db", "a;DROP TABLE events.db"])
def test_any_path_works(tmp_path: Path, name: str) -> None:
    with Journal.create(tmp_path / name) as journal:
        journal.commit([Entry("e'); DROP TABLE events; --", "\0'\"")])
    with Journal.open(tmp_path / name, write=False) as journal:
        assert next(journal.events()).subject == "\0'\""
    assert name in os.listdir(tmp_path)


@pytest.mark.parametrize(("network", "mode"), [(False, b"wal"), (True, b"delete")])
def test_a_commit_is_synced_before_it_is_acknowledged(tmp_path: Path, network: bool, mode: bytes) -> None:
    """No killed process can show that it is: only a power cut could."""
    full = 2
    with Journal.create(tmp_path / "run.db", network=network) as journal:
        assert journal._writing is not None
        assert journal._writing.execute("PRAGMA synchronous").fetchall() == [(full,)]
        assert journal._writing.execute("PRAGMA journal_mode").fetchall() == [(mode,)]
