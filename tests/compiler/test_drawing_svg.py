"""The SVG of a drawing stands in a page: by the real `dot`, cleaned, marked, and laid out once."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from metta.sweep import Pipeline
from metta.sweep.compiler.drawing import layout
from metta.sweep.compiler.drawing.build import drawing_of
from metta.sweep.compiler.drawing.model import Drawing, DrawnFrame, DrawnNode, fold
from metta.sweep.compiler.drawing.svg import PAINTS, Mark, NoPicture, drawing_svg
from metta.sweep.compiler.drawing.table import MOST_ROWS, drawing_table
from tests.compiler.drawn import everything, fit, shrink
from tests.compiler.test_render_pictures import needs_dot
from tests.compiler.test_render_text import HOSTILE, graph_of, hostile_pipeline

SVG = "{http://www.w3.org/2000/svg}"
NASTY = '<script>alert(1)</script>"onload="x\x00\ud800 &amp; \ue000'


def drawn() -> Drawing:
    return drawing_of(graph_of(everything, "everything"))


def groups(svg: str) -> dict[str, ElementTree.Element]:
    """The groups of the steps, by id; of a frame and of the box in it that has its id, the box."""
    found = {each.get("data-step", ""): each for each in ElementTree.fromstring(svg).iter(f"{SVG}g")}
    return {id: each for id, each in found.items() if id}


def texts(element: ElementTree.Element) -> list[str]:
    return ["".join(each.itertext()).replace("\N{NO-BREAK SPACE}", " ") for each in element.iter(f"{SVG}text")]


@needs_dot
@pytest.mark.parametrize("live", [False, True])
def test_nothing_in_it_needs_leave_of_a_page(live: bool) -> None:
    marks = {id: Mark(state, NASTY, (NASTY,)) for id, state in zip(drawn().stages, [*PAINTS] * 2, strict=False)}
    svg = drawing_svg(drawn(), marks if live else None, alt=NASTY, title=NASTY, link=lambda id, fold: f"?{id}={fold}")
    allowed = {"svg", "g", "a", "title", "text", "path", "polygon", "polyline", "ellipse"}
    for element in ElementTree.fromstring(svg).iter():
        assert element.tag.removeprefix(SVG) in allowed
        for name, value in element.attrib.items():
            assert name not in ("id", "style", "src")
            assert not name.startswith(("on", "{", "xlink"))
            if name == "href":
                assert value.startswith("?")
    assert not svg.startswith("<?xml")
    assert "<script" not in svg
    assert "url(" not in svg


@needs_dot
def test_a_picture_is_named_and_described() -> None:
    root = ElementTree.fromstring(drawing_svg(drawn(), title="Graph of a & b", alt="eleven stages"))
    assert (root.get("role"), root.get("aria-label")) == ("img", "eleven stages")
    assert root[0].tag == f"{SVG}title"
    assert root[0].text == "Graph of a & b"
    assert root.get("viewBox", "").startswith("0.00 0.00 ")


@needs_dot
def test_states_are_written_into_their_boxes_and_paint_them() -> None:
    svg = drawing_svg(drawn(), {"load": Mark("failed", "✗ failed: no rows", ("last error: no rows",))})
    found = groups(svg)
    load = found["load"]
    assert load.get("class") == "node state-failed"
    assert texts(load)[-1] == "✗ failed: no rows"
    (box, *_) = [each for each in load if each.tag == f"{SVG}path"]
    assert (box.get("fill"), box.get("stroke")) == (PAINTS["failed"].fill, PAINTS["failed"].line)
    tip = load.findtext(f"{SVG}title") or ""
    assert re.fullmatch(r"load \(.*drawn.py:\d+\)\n✗ failed: no rows\nlast error: no rows", tip)
    (state,) = [each for each in load if each.get("class") == "state"]
    numbers = [float(x) for x in re.findall(r"(-?[\d.]+),", box.get("d", ""))]
    assert state.get("text-anchor") == "middle"
    assert float(state.get("x", "")) == pytest.approx((min(numbers) + max(numbers)) / 2)
    # Where nothing is told the room stays empty.
    assert found["announce" if "announce" in found else "clean.announce"].get("class") == "node"
    assert "\ue000" not in svg


@needs_dot
def test_a_stage_may_be_called_like_the_room_for_its_state() -> None:
    pipeline = Pipeline(rows=list[int]).stage("\ue000", shrink).through(rows=list[int])
    found = groups(drawing_svg(drawing_of(graph_of(pipeline)), {"\ue000": Mark("done", "✓ done")}))
    assert texts(found["\ue000"]) == ["\ue000", "shrink", "✓ done"]


@needs_dot
def test_hostile_names_are_text() -> None:
    svg = drawing_svg(drawing_of(graph_of(hostile_pipeline(), HOSTILE)), {})
    assert any('a"] --> <b>&amp;</b>' in text for text in texts(ElementTree.fromstring(svg)))


@needs_dot
def test_hostile_drawings_are_drawn() -> None:
    """What the file of a run may hold: DOT, its escapes and its markup in every text."""
    evil = '"]; x [image="/etc/passwd" URL="javascript:1"]; "\\N \\G <IMG SRC="/etc/passwd"/> ]]> -->'
    drawing = Drawing(
        evil,
        (DrawnNode(evil, "stage", evil, evil, (evil,), (), evil), DrawnNode("b", "loop", evil, evil)),
        (DrawnFrame(evil, "experiment", evil, "", (), (evil,)),),
        (),
        (evil,),
    )
    for seen in (drawing, fold(drawing, {evil})):
        svg = drawing_svg(seen, {}, link=lambda id, fold: "?")
        root = ElementTree.fromstring(svg)
        assert {"image", "use"}.isdisjoint(each.tag.removeprefix(SVG) for each in root.iter())
        assert all(each.get("href") in (None, "?") for each in root.iter())
        assert len(groups(svg)) >= 1


@needs_dot
def test_frames_are_links_that_fold_and_boxes_are_links_that_open() -> None:
    svg = drawing_svg(fold(drawn(), {"clean"}), {}, link=lambda id, fold: f"?{'fold' if fold else 'open'}={id}")
    root = ElementTree.fromstring(svg)
    links = {each.get("href"): each.get("aria-label") for each in root.iter(f"{SVG}a")}
    assert links["?open=clean"] == "open clean"
    assert links["?fold=loop"] == "fold loop"
    assert "?fold=clean" not in links
    assert root.get("role") == "group"  # an image would hide its links


@needs_dot
def test_titles_of_frames_are_drawn_over_the_arrows() -> None:
    root = ElementTree.fromstring(drawing_svg(drawn()))
    (picture,) = root.findall(f"{SVG}g")
    kinds = [each.get("class", "") for each in picture if each.tag == f"{SVG}g"]
    assert kinds.index("title") > max(number for number, kind in enumerate(kinds) if kind == "edge")


@needs_dot
def test_a_drawing_is_laid_out_once() -> None:
    drawing = drawing_of(graph_of(everything, "laid out once"))
    before = layout._laid_out.cache_info().misses
    drawing_svg(drawing, {"load": Mark("running", "▸ running")})
    drawing_svg(drawing, {"load": Mark("done", "✓ done")})
    assert layout._laid_out.cache_info().misses == before + 1


@needs_dot
def test_dot_is_told_to_end_when_it_takes_too_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layout, "SECONDS", 1e-9)
    drawing = drawing_of(graph_of(everything, "too slow"))
    for _ in range(2):  # and is not asked again
        with pytest.raises(NoPicture, match="would take longer than 1e-09 s: fold some of it"):
            drawing_svg(drawing)
        monkeypatch.setattr(layout, "SECONDS", 10.0)


def test_without_dot_the_sentence_says_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(NoPicture, match=r"which is not installed where this runs: .*apt install graphviz"):
        drawing_svg(drawing_of(graph_of(everything, "no dot")))


def test_what_is_too_large_is_not_laid_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layout, "LARGEST", 1000)
    with pytest.raises(NoPicture, match="too large to be drawn"):
        drawing_svg(drawn())


# -- the table, and notebooks --------------------------------------------------------------------------------------


def test_a_table_says_the_same() -> None:
    table = drawing_table(drawn(), {"load": Mark("failed", "✗ failed", ("no <rows>",))}, "A <note>.")
    assert '<p class="note">A &lt;note&gt;.</p>' in table
    assert '<tr class="state-failed"><td>load</td><td></td><td>retry 2, timeout 90 s, validate, log</td>' in table
    assert "<td>✗ failed (no &lt;rows&gt;)</td>" in table
    rows = ElementTree.fromstring(table.partition("</p>")[2]).findall("tbody/tr")
    assert len(rows) == len(drawn().stages)


@needs_dot
def test_no_name_turns_round_the_words_beside_it() -> None:
    turned = Drawing("a", (DrawnNode("s", "stage", "fit\u202egnp.exe"),))
    for seen in (drawing_svg(turned), drawing_table(turned)):
        assert "\u202e" not in seen
        assert "fit\ufffdgnp.exe" in seen


def test_a_long_table_is_cut() -> None:
    nodes = tuple(DrawnNode(f"s{number}", "stage", f"s{number}") for number in range(MOST_ROWS + 2))
    table = drawing_table(Drawing("long", nodes))
    assert "2 more stages are left out." in table
    assert table.count("<tr>") == MOST_ROWS + 1


@needs_dot
@pytest.mark.parametrize("shown", [everything, everything.compile()])
def test_a_notebook_shows_the_picture(shown: Any) -> None:
    bundle = shown._repr_mimebundle_()
    assert set(bundle) == {"text/plain", "text/html", "image/svg+xml"}
    assert bundle["text/html"] == shown._repr_html_()
    assert {"load", "while len(now.rows) > 1"} <= set(texts(ElementTree.fromstring(bundle["image/svg+xml"])))


def test_without_dot_a_notebook_shows_the_table(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    bundle = Pipeline(rows=list[int]).stage("only here", fit).compile()._repr_mimebundle_()
    assert set(bundle) == {"text/plain", "text/html"}
    assert "There is no picture: it is drawn by the program" in bundle["text/html"].replace("&quot;", '"')
    assert "<td>only here</td>" in bundle["text/html"]


def test_a_pipeline_that_is_not_finished_is_shown_as_text() -> None:
    open_loop: Any = Pipeline(rows=list[int]).loop_while(lambda now: now.rows).stage("shrink", shrink)
    assert open_loop._repr_mimebundle_() == {"text/plain": repr(open_loop)}
    assert open_loop._repr_html_() is None
