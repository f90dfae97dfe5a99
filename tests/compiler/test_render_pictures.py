"""Pictures, by the real `dot`. It may be missing on a developer's machine, not where the project is tested."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from xml.etree import ElementTree

import pytest

from metta.sweep.compiler.render import draw, render
from metta.sweep.errors import UsageError
from tests.compiler.drawn import everything
from tests.compiler.test_render_text import HOSTILE, graph_of, hostile_pipeline

needs_dot = pytest.mark.skipif(
    shutil.which("dot") is None and os.environ.get("CI") != "true", reason='the program "dot" is not installed'
)


def words_of(svg: bytes) -> list[str]:
    root = ElementTree.fromstring(svg)
    return ["".join(each.itertext()) for each in root.iter("{http://www.w3.org/2000/svg}text")]


@needs_dot
def test_svg_shows_stages_hooks_contracts_and_conditions() -> None:
    shown = words_of(render(graph_of(everything, "everything"), "svg"))
    for text in (
        "everything",
        "load",
        "retry 2",
        "timeout 90 s",
        "rows: list[int]",
        "while len(now.rows) > 1",
        "until now.rows == [0]",
        "loop, at most 5 passes",
        "otherwise",
        "tune: experiment Tuning",
        "for each of rows, 2 at a time",
        "result: Context",
    ):
        assert any(text == word.replace("\N{NO-BREAK SPACE}", " ").strip() for word in shown), text


@needs_dot
def test_svg_of_a_hostile_name_is_well_formed() -> None:
    shown = words_of(render(graph_of(hostile_pipeline(), HOSTILE), "svg"))
    assert any('a"] --> <b>&amp;</b>' in word.replace("\N{NO-BREAK SPACE}", " ") for word in shown)


@needs_dot
@pytest.mark.parametrize(("format", "magic"), [("png", b"\x89PNG"), ("pdf", b"%PDF")])
def test_other_pictures(format: str, magic: bytes, tmp_path: Path) -> None:
    path = draw(graph_of(everything), tmp_path / f"graph.{format}")
    assert path.read_bytes().startswith(magic)


def test_without_dot_the_message_says_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UsageError) as raised:
        render(graph_of(everything), "svg")
    assert str(raised.value) == (
        'svg is drawn by the program "dot", which is not installed: install the package graphviz with the system\'s '
        "package manager (apt install graphviz, brew install graphviz); the formats dot, mermaid, json need no program"
    )
    assert render(graph_of(everything), "dot")
