"""Drawings as text: golden files, and what names of users may not do to them."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import networkx
import pytest

from metta.sweep import Pipeline
from metta.sweep.compiler.flat import flatten
from metta.sweep.compiler.graph import Graph
from metta.sweep.compiler.render import FORMATS, TEXT_FORMATS, check_format, draw, render
from metta.sweep.compiler.render_labels import badges, shortened
from metta.sweep.errors import UsageError
from metta.sweep.runtime.compiled import compile_pipeline
from tests.compiler.drawn import everything, fit, load, shrink
from tests.golden import check_golden

GOLDEN = Path(__file__).parent / "golden"
ROOT = Path(__file__).parents[2]
HOSTILE = 'a"] --> <b>&amp;</b>\n\\N end;\x00\x1b[0m \ud800 `x` #quot; {|}'


def graph_of(pipeline: Pipeline, name: str = "pipeline") -> Graph:
    return compile_pipeline(pipeline, name).graph


@pytest.fixture
def at_root(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files are shown relative to the working directory."""
    monkeypatch.chdir(ROOT)


@pytest.mark.parametrize(("format", "suffix"), [("dot", "dot"), ("mermaid", "mmd"), ("json", "json")])
@pytest.mark.usefixtures("at_root")
def test_golden(format: str, suffix: str) -> None:
    text = render(graph_of(everything, "everything"), format).decode()
    check_golden(GOLDEN / f"everything.{suffix}", text)


def test_every_step_of_the_graph_is_in_the_flat_view() -> None:
    graph = graph_of(everything)
    flat = flatten(graph)
    shown = {*flat.nodes, *flat.graph["clusters"]}
    assert {node.id for node in graph.walk()} <= shown
    assert networkx.is_weakly_connected(flat)
    assert set(networkx.descendants(flat, "@input")) == set(flat.nodes) - {"@input"}


def test_a_loop_goes_back_once_and_leaves_from_each_of_its_ends() -> None:
    flat = flatten(graph_of(everything))
    kinds = {(source, target): data["kind"] for source, target, data in flat.edges(data=True)}
    assert [edge for edge, kind in kinds.items() if kind == "back"] == [("loop@until", "loop")]
    assert sorted(edge for edge, kind in kinds.items() if kind == "exit") == [
        ("break", "loop@join"),
        ("loop", "loop@join"),
        ("loop@until", "loop@join"),
    ]
    assert networkx.is_directed_acyclic_graph(networkx.restricted_view(flat, (), [("loop@until", "loop")]))


def test_an_edge_carries_what_its_source_sets() -> None:
    pipeline = (
        Pipeline(path=str)
        .stage("load", load)
        .conditional(lambda now: now.rows, Pipeline().stage("fit", fit).through(loss=float))
        .stage("shrink", shrink)
        .through(rows=list[int])
    )
    flat = flatten(graph_of(pipeline))
    contracts = {(source, target): data["contract"] for source, target, data in flat.edges(data=True)}
    assert contracts == {
        ("@input", "load"): "path: str",
        ("load", "conditional"): "Batch (rows: list[int], name: str)",
        ("conditional", "conditional.then.fit"): "",
        ("conditional.then.fit", "conditional@join"): "loss: float",
        ("conditional", "conditional@join"): "",
        ("conditional@join", "shrink"): "loss?: float",
        ("shrink", "@output"): "rows: list[int]",
    }


def test_behind_an_unannotated_stage_the_contract_is_unknown() -> None:
    flat = flatten(graph_of(Pipeline(path=str).stage("guess", lambda path: path)))
    assert flat.edges["guess", "@output"]["contract"] == "?"


def test_ten_thousand_stages_are_drawn() -> None:
    pipeline = Pipeline(rows=list[int])
    for i in range(10_000):
        pipeline = pipeline.stage(f"shrink {i}", shrink).through(rows=list[int])
    flat = flatten(graph_of(pipeline))
    assert flat.number_of_nodes() == 10_002
    assert flat.number_of_edges() == 10_001


def test_long_chains_go_on_in_columns() -> None:
    pipeline = Pipeline(rows=list[int])
    for i in range(100):
        pipeline = pipeline.stage(f"shrink {i}", shrink).through(rows=list[int])
    text = render(graph_of(pipeline), "dot").decode()
    assert text.count("constraint=false") == 4


def test_dot_quotes_what_users_write() -> None:
    text = render(graph_of(hostile_pipeline(), HOSTILE), "dot").decode()
    assert "\x00" not in text
    assert "\x1b" not in text
    assert r"\\N end;" in text  # not DOT's own escape for the node's name
    # Outside of quoted strings and <labels> only the language itself is left: the text cannot leave its quotes.
    bare = re.sub(r'"(?:[^"\\]|\\.)*"', '""', text)
    bare = re.sub(r"label=<.*?>(?=[,\];\n])", "label=<>", bare)
    assert "end;" not in bare
    assert "&amp;" not in bare


def test_mermaid_numbers_what_it_could_misread() -> None:
    text = render(graph_of(hostile_pipeline(), HOSTILE), "mermaid").decode()
    body = text.partition("flowchart TD")[2]
    labels = re.findall(r'"([^"\n]*)"', body)
    assert any("#91;0m" in label for label in labels)
    for label in labels:
        assert not re.search(r"[<>&`|{}\[\]\\]", label.replace("<br/>", ""))
    assert all(line.count('"') in (0, 2) for line in body.splitlines())


def test_json_keeps_the_names_as_they_are() -> None:
    document = json.loads(render(graph_of(hostile_pipeline().stage("ünï", shrink), "ünï"), "json"))
    assert document["schema"] == "metta-sweep/graph"
    assert document["version"] == 1
    assert document["name"] == "ünï"
    assert [node["name"] for node in document["nodes"]] == ["@input", HOSTILE, "ünï", "@output"]


def hostile_pipeline() -> Pipeline:
    return Pipeline(rows=list[int]).stage(HOSTILE, shrink).through(rows=list[int], log=print)


def test_global_hooks_are_told_once_where_they_are_set() -> None:
    arm = Pipeline().stage("fit", fit).through(loss=float).with_global_hooks(debug=lambda stage, data: None)
    pipeline = (
        Pipeline(rows=list[int])
        .loop_while(lambda now: now.rows)
        .stage("inner", Pipeline().stage("shrink", shrink).through(rows=list[int]).with_global_hooks(retry=1))
        .end_loop()
        .conditional(lambda now: now.rows, arm, arm)
        .with_global_hooks(log=lambda stage, data: None)
    )
    flat = flatten(graph_of(pipeline))
    assert {key: cluster.global_hooks for key, cluster in flat.graph["clusters"].items() if cluster.global_hooks} == {
        "inner": ("retry",),
        "conditional/then": ("debug",),
        "conditional/otherwise": ("debug",),
    }
    assert "title: 'pipeline (every stage: log)'" in render(graph_of(pipeline), "mermaid").decode()


def test_badges_leave_out_hooks_that_do_nothing() -> None:
    idle: dict[str, Any] = {"retry": 0, "checkpoint": False, "validate_type": "auto", "cache": False}
    assert badges(idle) == []
    given: dict[str, Any] = {
        "validate_type": False,
        "retry": 2,
        "timeout": 1.5,
        "checkpoint": True,
        "executor": "local",
    }
    assert [badge.text for badge in badges(given)] == [
        "types unchecked",
        "retry 2",
        "timeout 1.5 s",
        "checkpoint",
        "on local",
    ]


def test_a_condition_without_source_text_is_named(tmp_path: Path) -> None:
    namespace: dict[str, Any] = {"Pipeline": Pipeline, "shrink": shrink}
    code = "p = Pipeline(rows=list[int]).loop_while(lambda now: now.rows).stage('s', shrink).through(rows=list[int])"
    exec(compile(code + ".end_loop()", str(tmp_path / "gone.py"), "exec"), namespace)
    assert '"while condition"' in render(graph_of(namespace["p"]), "mermaid").decode()


def test_shortened_keeps_both_ends() -> None:
    assert shortened("a  b\nc", 10) == "a b c"
    short = shortened("dict[str, list[tuple[int, float, bytes]]]", 24)
    assert len(short) <= 24
    assert short.startswith("dict[str")
    assert short.endswith("]]]")


@pytest.mark.parametrize("format", sorted(TEXT_FORMATS))
def test_draw_names_the_file_after_the_pipeline(format: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = draw(graph_of(everything, "My Experiment/one"), format=format)
    assert path.name == f"My_Experiment_one.{'mmd' if format == 'mermaid' else format}"
    assert path.read_bytes() == render(graph_of(everything, "My Experiment/one"), format)


def test_the_suffix_says_the_format(tmp_path: Path) -> None:
    assert (
        draw(graph_of(everything), tmp_path / "x.mmd")
        .read_text()
        .startswith("---\ntitle: 'pipeline (every stage: metrics)'\n")
    )
    assert check_format(None, "x.gv") == "dot"
    assert check_format(None, "x") == "svg"
    assert [check_format(each) for each in FORMATS] == list(FORMATS)


def test_a_wrong_format_names_the_nearest() -> None:
    with pytest.raises(UsageError) as raised:
        render(graph_of(everything), "mermiad")
    assert str(raised.value) == (
        'unknown format "mermiad" (did you mean "mermaid"?): choose svg, png, pdf, html, dot, mermaid or json'
    )


def test_a_file_that_cannot_be_written(tmp_path: Path) -> None:
    target = tmp_path / "no such folder" / "x.dot"
    with pytest.raises(UsageError, match=r"^cannot write .*x\.dot: No such file or directory$"):
        draw(graph_of(everything), target)
