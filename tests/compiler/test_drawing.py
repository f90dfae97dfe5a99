"""The drawing as data: what it keeps of a graph, how it is folded, and what is read of a file that anybody wrote."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from metta.sweep import Pipeline
from metta.sweep.compiler.drawing.build import drawing_of
from metta.sweep.compiler.drawing.file import (
    FILE,
    MOST_STEPS,
    drawing_from_json,
    drawing_to_json,
    keep_drawing,
    read_drawing,
)
from metta.sweep.compiler.drawing.model import Drawing, fold, folded_by_default
from metta.sweep.compiler.render_dot import drawing_dot
from metta.sweep.errors import DamagedError, StorageError
from tests.compiler.drawn import everything, fit, shrink
from tests.compiler.test_render_text import GOLDEN, HOSTILE, ROOT, graph_of, hostile_pipeline
from tests.golden import check_golden


def drawn(pipeline: Pipeline = everything, name: str = "everything") -> Drawing:
    return drawing_of(graph_of(pipeline, name))


def chain(stages: int) -> Pipeline:
    pipeline = Pipeline(rows=list[int])
    for number in range(stages):
        pipeline = pipeline.stage(f"shrink {number}", shrink).through(rows=list[int])
    return pipeline


def test_golden_model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    document = drawing_to_json(drawn())
    check_golden(GOLDEN / "everything.drawing.json", json.dumps(document, indent=1, ensure_ascii=False) + "\n")


def test_golden_dot_of_a_folded_live_drawing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    text = drawing_dot(fold(drawn(), {"clean", "tune", "loop"}), named=True, live=True)
    check_golden(GOLDEN / "everything.live.dot", text.replace("\ue000", "<SLOT>"))


def test_a_drawing_says_nothing_of_code_and_comes_back_as_it_was() -> None:
    for drawing in (drawn(), drawn(hostile_pipeline(), HOSTILE)):
        text = json.dumps(drawing_to_json(drawing))
        assert drawing_from_json(json.loads(text)) == drawing


# -- folding -------------------------------------------------------------------------------------------------------


def test_a_folded_frame_is_one_box_that_knows_its_stages() -> None:
    whole = drawn()
    seen = fold(whole, {"clean"})
    (box,) = [node for node in seen.nodes if node.folded]
    assert (box.id, box.kind, box.text, box.details) == ("clean", "nested", "clean", ("2 stages",))
    assert box.folded == ("clean.shrink", "clean.announce")
    assert [(e.source, e.target) for e in seen.edges if "clean" in (e.source, e.target)] == [
        ("load", "clean"),
        ("clean", "loop"),
    ]
    assert seen.stages == whole.stages
    assert "clean" not in {frame.id for frame in seen.frames}


def test_the_outermost_folded_frame_counts() -> None:
    inner = Pipeline().stage("fit", fit).through(loss=float)
    pipeline = Pipeline(rows=list[int]).stage("outer", Pipeline().stage("inner", inner).stage("again", fit))
    whole = drawn(pipeline, "nest")
    assert [frame.id for frame in whole.frames] == ["outer", "outer.inner"]
    seen = fold(whole, {"outer", "outer.inner"})
    assert [node.id for node in seen.nodes] == ["@input", "outer", "@output"]
    assert seen == fold(whole, {"outer"})


def test_a_folded_loop_has_no_arrow_to_itself_and_its_ends_are_one() -> None:
    seen = fold(drawn(), {"loop"})
    ends = [(edge.source, edge.target, edge.kind) for edge in seen.edges]
    assert all(source != target for source, target, _ in ends)
    assert [end for end in ends if "loop" in end[:2]] == [
        ("clean.announce", "loop", "flow"),
        ("loop", "conditional", "flow"),
    ]


def test_what_is_no_frame_folds_nothing() -> None:
    whole = drawn()
    assert fold(whole, {"load", "nowhere"}) is whole


def test_only_what_is_deep_in_a_large_graph_is_folded_by_default() -> None:
    nest = chain(20)
    for level in range(3):
        nest = Pipeline(rows=list[int]).stage(f"level {level}", nest).stage("more", nest)
    small, large = drawn(), drawn(nest, "nest")
    assert folded_by_default(small) == frozenset()
    assert folded_by_default(small, live=True) == {"tune"}
    assert len(large.stages) == 160
    folded = folded_by_default(large)
    assert {id.count(".") for id in folded} == {2}
    assert len(fold(large, folded).nodes) == 8 + 2


# -- the file ------------------------------------------------------------------------------------------------------


def test_a_kept_drawing_is_private_and_read_back(tmp_path: Path) -> None:
    graph = graph_of(everything)
    keep_drawing(tmp_path, graph)
    assert (tmp_path / FILE).stat().st_mode & 0o777 == 0o600
    assert read_drawing(tmp_path) == drawing_of(graph)


def test_a_drawing_that_cannot_be_kept_is_only_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").write_text("")
    keep_drawing(tmp_path / "file", graph_of(everything))
    assert "the drawing of this run is not kept" in caplog.text


def test_one_that_is_too_large_is_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("metta.sweep.compiler.drawing.file.MOST_STEPS", 10)
    keep_drawing(tmp_path, graph_of(chain(11)))
    with pytest.raises(DamagedError, match="has kept no drawing"):
        read_drawing(tmp_path)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (None, "this run has kept no drawing of its pipeline"),
        ("", "drawing.json"),
        ("{", "drawing.json"),
        ("[1]", "no JSON object"),
        ('{"schema": "metta-sweep/drawing", "version": 2}', "was written by a newer release: update metta-sweep"),
        ('{"schema": "metta-sweep/drawing", "version": true}', "the drawing of this run is damaged: "),
        ('{"schema": "metta-sweep/drawing", "version": 1}', '"frames" is no list of objects'),
        ('{"schema": "another"}', 'expected the schema "metta-sweep/drawing", version 1'),
    ],
)
def test_a_file_that_cannot_be_used_is_told_in_a_sentence(text: str | None, said: str, tmp_path: Path) -> None:
    if text is not None:
        (tmp_path / FILE).write_text(text)
    with pytest.raises(DamagedError) as raised:
        read_drawing(tmp_path)
    assert said in str(raised.value)


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    keep_drawing(tmp_path, graph_of(everything))
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / FILE).symlink_to(tmp_path / FILE)
    with pytest.raises(StorageError):
        read_drawing(tmp_path / "run")


def test_whatever_stands_in_the_file_is_a_drawing_or_a_value_error() -> None:
    document = drawing_to_json(drawn())
    refused = 0
    kinds: tuple[Any, ...] = (None, -1, 1e999, "", "x" * 5000, "loop", [], ["a"], [["a", "b"]], [{}], {}, True)
    for path in places_in(document):
        for junk in kinds:
            changed = copy.deepcopy(document)
            put(changed, path, junk)
            try:
                drawing_dot(drawing_from_json(changed))
            except ValueError:
                refused += 1
    assert refused > 500


def test_frames_are_not_around_themselves() -> None:
    document = drawing_to_json(drawn())
    document["frames"][0]["parent"] = document["frames"][0]["id"]
    with pytest.raises(ValueError, match='"parent" is none of those'):
        drawing_from_json(document)


@pytest.mark.parametrize("part", ["nodes", "frames"])
def test_two_steps_with_one_id_are_refused(part: str) -> None:
    document = drawing_to_json(drawn())
    document[part][1]["id"] = document[part][0]["id"]
    with pytest.raises(ValueError, match="two steps have the same id"):
        drawing_from_json(document)


def test_of_a_file_with_millions_of_steps_little_is_read() -> None:
    document = {**drawing_to_json(drawn()), "edges": [{}] * (MOST_STEPS + 1)}
    with pytest.raises(ValueError, match=f"more than {MOST_STEPS} entries"):
        drawing_from_json(document)


def places_in(document: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """Where something stands; of a list only its first and last entry."""
    if path:
        yield path
    if isinstance(document, dict):
        for key, value in document.items():
            yield from places_in(value, (*path, key))
    elif isinstance(document, list) and document:
        for index in {0, len(document) - 1}:
            yield from places_in(document[index], (*path, index))


def put(document: Any, path: tuple[str | int, ...], value: object) -> None:
    *way, last = path
    for key in way:
        document = document[key]
    document[last] = value
