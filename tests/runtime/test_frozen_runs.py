"""Promise R14 for pipelines: runs that released versions wrote stay readable."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from metta.sweep.errors import RefusedError
from metta.sweep.runtime.durable import DurableGraph
from metta.sweep.runtime.history import History
from metta.sweep.runtime.vault import Vault
from metta.sweep.store.doctor import examine
from metta.sweep.store.runs import Store
from tests.runtime.frozen import make_v1
from tests.runtime.frozen.make_v1 import Model

FROZEN = Path(__file__).parent / "frozen" / "v1"


@pytest.fixture
def store(tmp_path: Path) -> Store:
    for path in shutil.copytree(FROZEN, tmp_path / "runs" / "frozen-1").rglob("*"):
        path.chmod(0o700 if path.is_dir() else 0o600)  # git keeps no modes
    return Store(tmp_path)


def test_what_a_run_of_format_1_says(store: Store) -> None:
    with store.open("frozen-1") as run:
        history, vault = History.of(run.journal.events()), Vault(run, store)
        assert history.name == "frozen"
        assert {key for key, passage in history.passages.items() if passage.done} == {
            *("load", "train", "train#2", "square"),
            *(f"square~1/square[{index}]" for index in range(3)),
        }
        assert history.passages["dies"].started > 0
        assert not history.passages["dies"].done
        assert history.conditions == {"loop?while": True, "loop?while#2": True, "loop?while#3": False}
        assert vault.read(history.inputs["model"], Model, "model") == Model([], 0)
        assert vault.read(history.passages["load"].output, list[float], "data") == [0.5, 0.5, 0.5]
        assert vault.read(history.passages["train#2"].output, Model, "model") == Model([1.5], 2)


def test_a_run_of_format_1_is_sound(store: Store) -> None:
    (store.folder / "runs" / "frozen-1").chmod(0o700)
    assert [found for found in examine(store.folder / "runs" / "frozen-1") if found.severity == "error"] == []


def test_a_run_of_format_1_goes_on(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []
    graph = make_v1.pipeline.compile()
    fingerprints = dict(graph.fingerprints)
    with store.open("frozen-1") as run:
        # The digests of the code are those of another version of Python: taken for the same here.
        recorded = History.of(run.journal.events()).fingerprints
    assert recorded.keys() == fingerprints.keys()
    durable = DurableGraph(graph, store, "frozen")
    graph.__dict__["fingerprints"] = {**recorded, "dies": "changed"}
    with pytest.raises(RefusedError, match='stage "dies" has changed'):
        durable.resume("frozen-1")
    graph.__dict__["fingerprints"] = recorded
    monkeypatch.setattr("os._exit", lambda code: calls.append("dies"))
    result = durable.resume("frozen-1")
    assert calls == ["dies"]
    assert (result.model, result.squares) == (Model([1.5], 2), [0.25, 0.25, 0.25])
