"""The pages as a server sends them, for who has no script, and for the script that fetches their parts."""

from __future__ import annotations

import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from benchmarks import durability
from metta.sweep import SweepExperiment, Trial
from metta.sweep.compiler.drawing.build import drawing_of
from metta.sweep.experiments.base import Pipeline
from metta.sweep.report.dag import DagView
from metta.sweep.store.run import RunStatus
from metta.sweep.store.runs import Store
from metta.sweep.ui.app import make_app
from metta.sweep.ui.pages import draw_dag
from metta.sweep.ui.security import Access
from tests.ui import stores
from tests.ui.conftest import Runs

VOID = {"meta", "link", "input", "br", "img"}
ALLOWED_SCHEMES = ("/", "#", "?", "data:image/svg+xml")


class Page(HTMLParser):
    """A page as tags, texts and addresses; what is no tidy HTML is an error."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.ids: list[str] = []
        self._open: list[str] = []
        self.feed(html)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = dict(attrs)
        assert len(attributes) == len(attrs)
        self.tags.append((tag, attributes))
        self.ids += [text for name, text in attrs if name == "id" and text is not None]
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


def addresses(runs: Runs) -> list[str]:
    sweep, pipeline = f"/runs/{runs.sweep.id}", f"/runs/{runs.pipeline.id}"
    figures = ["history", "learning_curves", "parallel_coordinates", "parameter_importance", "timeline"]
    return [
        "/",
        "/?text=small&status=completed&page=7",
        "/parts/runs",
        sweep,
        f"{sweep}?sort=p.x&order=desc&state=failed&page=99",
        *(f"{sweep}/parts/{name}" for name in ["head", "causes", "trials", "nested"]),
        *(f"{sweep}/parts/figure-{name}" for name in figures),
        f"{sweep}/trials/0",
        f"{sweep}/trials/3",
        f"{sweep}/trials/0/parts/trial",
        f"{sweep}/logs",
        f"{sweep}/logs/trials/trial-0000/log.txt",
        f"{sweep}/logs/trials/trial-0000/log.txt?end=3",
        pipeline,
        f"{pipeline}/parts/dag",
        f"{pipeline}/parts/stages",
        f"/runs/{runs.damaged.id}",
        "/nowhere",
        f"/runs/{runs.sweep.id}x",
    ]


def test_every_page_is_tidy_and_shows_texts_as_texts(client: TestClient, runs: Runs) -> None:
    for address in addresses(runs):
        answer = client.get(address)
        assert answer.status_code == (404 if address.endswith(("nowhere", "x")) else 200), address
        page = Page(answer.text)
        assert len(set(page.ids)) == len(page.ids), address
        assert not page.all("img"), address
        assert all(text.get("src", "").startswith("/static/live.js") for text in page.all("script")), address  # type: ignore[union-attr]
        for _, attributes in page.tags:
            assert not any(name.startswith("on") for name in attributes), address
            assert "style" not in attributes, address
            for name in ("href", "src", "action", "data-source"):
                assert (attributes.get(name) or "/").startswith(ALLOWED_SCHEMES), (address, attributes)
        assert "49" not in re.findall(r"\{\{.*?\}\}|49(?= &#34;)", answer.text), address


def test_the_links_of_a_page_lead_somewhere(client: TestClient, runs: Runs) -> None:
    seen: set[str] = set()
    todo = ["/"]
    while todo:
        address = todo.pop()
        answer = client.get(address)
        assert answer.status_code == 200, address
        base = address.partition("?")[0]
        for attributes in Page(answer.text).all("a"):
            href = (attributes["href"] or "").partition("#")[0]
            href = base + href if href.startswith("?") else href
            if href and href not in seen and len(seen) < 150:
                seen.add(href)
                todo.append(href)
    assert f"/runs/{runs.sweep.id}/trials/7" in seen
    assert any("~Inner-" in href for href in seen)
    assert any("/logs/trials/trial-0000/log.txt" in href for href in seen)


def test_pages_have_landmarks_and_names(client: TestClient, runs: Runs) -> None:
    for address in ("/", f"/runs/{runs.sweep.id}", f"/runs/{runs.pipeline.id}", f"/runs/{runs.sweep.id}/trials/0"):
        page = Page(client.get(address).text)
        assert page.all("html")[0]["lang"] == "en"
        assert len(page.all("main")) == len(page.all("h1")) == len(page.all("header")) == 1
        assert page.all("a")[0] == {"class": "skip", "href": "#main"}
        assert all("aria-label" in attributes for attributes in page.all("nav"))
        assert all(attributes.get("scope") in ("col", "row") for attributes in page.all("th"))
        scrolling = [each for _, each in page.tags if each.get("class") in ("scroll", "box", "drawn")]
        assert all(each["tabindex"] == "0" and each["aria-label"] for each in scrolling)


def test_a_sweep_tells_how_it_stands(client: TestClient, runs: Runs) -> None:
    text = client.get(f"/runs/{runs.sweep.id}").text
    assert "8 of 8: completed 6, failed 2" in text
    assert "by trial" in text
    assert f"metta-sweep best {runs.sweep.id}" in text
    assert "/home/me/train.py" in text
    assert 'aria-sort="ascending"' in text
    assert "All failed trials" in text


def test_a_pipeline_tells_its_stages_its_failure_and_its_runs(client: TestClient, runs: Runs) -> None:
    text = client.get(f"/runs/{runs.pipeline.id}").text
    assert "In stage <code>" in text
    assert "2.0 is wrong" in text
    assert f"metta-sweep resume {runs.pipeline.id} FILE:NAME" in text
    (child,) = re.findall(rf'href="(/runs/{runs.pipeline.id}~Inner-[^"]+)"', text)
    inner = client.get(child)
    assert inner.status_code == 200
    assert f'href="/runs/{runs.pipeline.id}"' in inner.text
    assert "go on with it" in inner.text


def test_a_damaged_run_says_so_and_the_others_go_on(client: TestClient, runs: Runs) -> None:
    assert f"/runs/{runs.damaged.id}" in client.get("/").text
    text = client.get(f"/runs/{runs.damaged.id}").text
    assert "is damaged" in text
    assert f"metta-sweep doctor {runs.damaged.folder}" in text
    for part in ("causes", "trials", "dag"):
        assert client.get(f"/runs/{runs.damaged.id}/parts/{part}").text == ""
    assert client.get(f"/runs/{runs.damaged.id}/trials/0").status_code == 404


def test_a_journal_that_breaks_while_it_is_shown(tmp_path: Path, access: Access) -> None:
    info = stores.sweep(tmp_path)
    with TestClient(make_app(Store.at(tmp_path), access), base_url="http://127.0.0.1") as client:
        client.cookies.set(access.cookie, access.session)
        assert client.get(f"/runs/{info.id}").status_code == 200
        for file in info.folder.glob("run.db*"):
            file.write_bytes(b"x" * 10_000)
        answer = client.get(f"/runs/{info.id}")
        assert "damaged" in answer.text
        assert "metta-sweep doctor" in answer.text


def test_a_run_that_was_removed_is_not_there(tmp_path: Path, access: Access) -> None:
    info = stores.sweep(tmp_path)
    with TestClient(make_app(Store.at(tmp_path), access), base_url="http://127.0.0.1") as client:
        client.cookies.set(access.cookie, access.session)
        assert client.get(f"/runs/{info.id}").status_code == 200
        Store.at(tmp_path).remove(info.id)
        answer = client.get(f"/runs/{info.id}")
        assert answer.status_code == 404
        assert "it may have been removed" in answer.text


def test_what_was_committed_is_shown_at_once(tmp_path: Path, access: Access) -> None:
    durability.build(tmp_path, 20, 2)
    info = Store.at(tmp_path).all()[0]
    with TestClient(make_app(Store.at(tmp_path), access), base_url="http://127.0.0.1") as client:
        client.cookies.set(access.cookie, access.session)
        assert "20 of 20" in client.get(f"/runs/{info.id}").text
        durability.sweep(tmp_path).run(23, resume=True).trials  # noqa: B018  # waits
        text = client.get(f"/runs/{info.id}").text
        assert "23 of 23" in text
        assert f"/runs/{info.id}/trials/22" in text


@pytest.fixture
def empty(tmp_path: Path, access: Access) -> Iterator[TestClient]:
    with TestClient(make_app(Store.at(tmp_path / "none"), access), base_url="http://127.0.0.1") as client:
        client.cookies.set(access.cookie, access.session)
        yield client


def test_an_empty_store_says_what_fills_it(empty: TestClient) -> None:
    assert "There are no runs yet" in empty.get("/").text


def test_the_list_is_filtered(client: TestClient, runs: Runs) -> None:
    assert "1 of 3 runs" in client.get("/?text=OUTER").text
    assert "1 of 3 runs" in client.get("/?status=damaged").text
    assert "No run is like that" in client.get("/?text=%3Cscript%3Ealert&status=failed").text
    assert "3 of 3 runs" in client.get("/?page=\u0661&status=").text


def test_a_link_in_the_store_leads_nowhere(tmp_path: Path, runs: Runs, access: Access) -> None:
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "linked").symlink_to(runs.sweep.folder)
    with TestClient(make_app(Store.at(tmp_path), access), base_url="http://127.0.0.1") as client:
        client.cookies.set(access.cookie, access.session)
        assert client.get("/runs/linked").status_code == 404


def test_a_run_outside_of_the_store_is_shown(tmp_path: Path, runs: Runs, access: Access) -> None:
    app = make_app(Store.at(tmp_path), access, outside=runs.sweep.folder)
    with TestClient(app, base_url="http://127.0.0.1") as client:
        client.cookies.set(access.cookie, access.session)
        assert runs.sweep.id in client.get("/").text
        assert client.get(f"/runs/{runs.sweep.id}").status_code == 200
        assert client.get(f"/runs/{runs.damaged.id}").status_code == 404


def loops(html: str) -> list[bool]:
    """For each graph that is folded away whether it is open."""
    return ["open" in each for each in Page(html).all("details") if each["id"] == "sweep-loop"]


def test_the_loop_of_a_sweep_is_folded_away_until_it_is_asked_for(client: TestClient, runs: Runs) -> None:
    part = f"/runs/{runs.sweep.id}/parts/dag"
    assert "How the sweep itself runs" in client.get(part).text
    assert loops(client.get(part).text) == [False]
    assert loops(client.get(f"{part}?fold=loop").text) == [True]
    assert loops(client.get(f"{part}?expand=loop").text) == [True]
    assert loops(client.get(f"/runs/{runs.pipeline.id}/parts/dag").text) == []


class Told(SweepExperiment):
    """A sweep with a stage of its own."""

    def pipeline(self) -> Pipeline:
        return super().pipeline().stage("best", lambda trials: trials[0]).through(Trial)


class Timed(SweepExperiment):
    """A sweep whose stages have a hook of its own."""

    def pipeline(self) -> Pipeline:
        return super().pipeline().with_global_hooks(profile=True)


@pytest.mark.parametrize(("kind", "is_folded"), [(SweepExperiment, True), (Told, False), (Timed, False)])
def test_a_pipeline_of_the_user_is_shown(kind: type[SweepExperiment], is_folded: bool) -> None:
    drawing = drawing_of(kind(stores.objective).pipeline().compile().graph)
    html = draw_dag(DagView("s", "s", RunStatus.COMPLETED, drawing))
    assert loops(html) == ([False] if is_folded else [])
    assert ("<figcaption>Graph of s</figcaption>" in html) is not is_folded
