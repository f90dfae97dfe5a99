"""Runs whose journals are whole, but tell of what no driver writes: a page says so, and the others are as before."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from metta.sweep.errors import MettaSweepError
from metta.sweep.store.entries import Entry, ReportEntry
from metta.sweep.store.journal import Journal
from metta.sweep.store.run import JOURNAL_FILE, Run, RunInfo
from metta.sweep.store.runs import Store
from metta.sweep.ui.app import make_app
from metta.sweep.ui.report_page import report_html, report_json
from metta.sweep.ui.security import Access
from tests.ui import stores
from tests.ui.conftest import Runs

PARTS = ("head", "causes", "trials", "stages", "dag", "figure-history", "figure-timeline")


def rewritten(info: RunInfo, store: Path, change: Callable[[Entry], Entry]) -> RunInfo:
    """A copy of a run in another store, whose events are changed."""
    folder = store / "runs" / info.id
    shutil.copytree(info.folder, folder)
    for file in folder.glob(f"{JOURNAL_FILE}*"):
        file.unlink()
    entries: list[Entry | ReportEntry] = [
        change(entry) if isinstance(entry, Entry) else entry for entry in stores.story(info)
    ]
    with Journal.create(folder / JOURNAL_FILE) as journal:
        journal.commit(entries)
    return Store.at(store).find(info.id)


def answers(info: RunInfo, access: Access) -> dict[str, int]:
    """The status of every page that shows a run."""
    app = make_app(Store.at(info.folder.parents[1]), access)
    at = f"/runs/{info.id}"
    paths = ["/", at, f"{at}/trials/3", f"{at}/logs", *(f"{at}/parts/{name}" for name in PARTS)]
    with TestClient(app, base_url="http://127.0.0.1", raise_server_exceptions=False) as client:
        client.cookies.set(access.cookie, access.session)
        return {path: client.get(path).status_code for path in paths}


def emptied(data: Any) -> Any:
    return {}


def numbered(data: Any) -> Any:
    return dict.fromkeys(data, 7)


def texted(data: Any) -> Any:
    return dict.fromkeys(data, "x")


@pytest.mark.parametrize("spoil", [emptied, numbered, texted])
@pytest.mark.parametrize("which", ["sweep", "pipeline"])
def test_every_page_is_there_whatever_a_journal_says(
    runs: Runs, access: Access, tmp_path: Path, which: str, spoil: Callable[[Any], Any]
) -> None:
    info: RunInfo = getattr(runs, which)
    kinds = sorted({entry.kind for entry in stores.story(info) if isinstance(entry, Entry)})
    assert len(kinds) >= 4
    for kind in kinds:

        def change(entry: Entry, kind: str = kind) -> Entry:
            return entry._replace(data=spoil(entry.data)) if entry.kind == kind else entry

        copy = rewritten(info, tmp_path / kind, change)
        found = answers(copy, access)
        assert set(found.values()) <= {200, 404}, f"{kind}: {found}"
        assert found["/"] == 200
        with contextlib.suppress(MettaSweepError), Run.open(copy.folder, write=False) as run:
            assert "<h1" in report_html(run)
            report_json(run)


def test_half_characters_are_shown_as_unknown_ones(runs: Runs, access: Access, tmp_path: Path) -> None:
    """As in the name of a file that is no UTF-8: Python reads it so, and an exception has it in its message."""

    def halved(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: halved(each) for name, each in value.items()}
        if isinstance(value, list):
            return [halved(each) for each in value]
        return value.replace(stores.EVIL, "the file caf\udce9") if isinstance(value, str) else value

    copy = rewritten(runs.sweep, tmp_path, lambda entry: entry._replace(data=halved(entry.data)))
    found = answers(copy, access)
    assert found.pop(f"/runs/{copy.id}/parts/stages") == 404
    assert found.pop(f"/runs/{copy.id}/parts/dag") in (200, 404)
    assert set(found.values()) == {200}
    with Run.open(copy.folder, write=False) as run:
        html = report_html(run)
    assert "no luck with the file caf\N{REPLACEMENT CHARACTER}".encode() in html.encode()
