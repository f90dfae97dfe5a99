"""The pages in a real browser: live, large, hostile, small, dark, by keyboard."""

from __future__ import annotations

import http.server
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from benchmarks import durability
from metta.sweep.store.runs import Store
from metta.sweep.ui.report_page import report_html
from tests.ui import stores
from tests.ui.browsers import Watched, chromium
from tests.ui.conftest import Runs, Site, served
from tests.ui.live_sweep import ALL, FIRST

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytestmark = pytest.mark.slow

FIRST_PAINT_S = 2.0
LONGEST_TASK_MS = 200


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as found:
        yield found


def addresses(runs: Runs) -> list[str]:
    sweep = f"/runs/{runs.sweep.id}"
    return ["/", sweep, f"{sweep}/trials/0", f"{sweep}/trials/3", f"{sweep}/logs", f"/runs/{runs.pipeline.id}"]


def test_nothing_foreign_is_loaded_and_no_text_runs(browser: Browser, site: Site, runs: Runs, tmp_path: Path) -> None:
    seen = Watched(browser)
    seen.page.goto(site.entry)
    assert seen.page.url == f"{site.base}/"
    paths = [*addresses(runs), f"/runs/{runs.damaged.id}", f"/runs/{runs.sweep.id}/logs/trials/trial-0000/log.txt"]
    for number, path in enumerate(paths):
        seen.page.goto(site.base + path)
        seen.scroll_through()
        seen.shoot(f"page-{number}", tmp_path)
        assert not seen.is_hacked()
    assert seen.wrong == []
    assert all(address.startswith((f"{site.base}/", "data:image/svg+xml")) for address in seen.requests)
    assert not any("token" in address for address in seen.requests[1:])
    assert seen.page.evaluate("document.cookie") == ""


def test_a_sweep_is_followed_while_it_runs(browser: Browser, tmp_path: Path) -> None:
    store, go = tmp_path / "store", tmp_path / "go"
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.ui.live_sweep", str(store)],
        env={**os.environ, "GO": str(go)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        with served(store) as site:
            seen = Watched(browser)
            page = seen.page
            page.goto(site.entry)
            page.get_by_role("link", name="watched").click(timeout=60_000)  # the list is live too
            seen.until(f"document.querySelectorAll('#trials .is-completed').length === {FIRST}")
            page.get_by_text("Live", exact=True).wait_for()
            seen.shoot("live-before", tmp_path)
            page.evaluate("window.kept = true")
            page.locator("#manifest summary").click()
            page.locator("#best-parameters summary").click()
            page.locator("#trials th a").first.focus()
            focused = page.evaluate("document.activeElement.href")
            place = page.evaluate("scrollTo(0, 300), scrollY")
            go.touch()
            page.locator("#head .title .is-completed").wait_for(timeout=60_000)
            seen.until(f"document.querySelectorAll('#trials tbody tr').length === {ALL}")
            assert page.get_by_text("this one fails").count() > 0
            assert page.evaluate("window.kept") is True  # it is still the same page
            assert page.evaluate("scrollY") == place
            assert page.evaluate("document.activeElement.href") == focused
            assert page.locator("#manifest").get_attribute("open") is not None
            assert page.locator("#best-parameters").get_attribute("open") is None
            seen.scroll_through()
            assert f"completed ({ALL - 1})" in (page.locator("figure svg.history").text_content() or "")
            seen.shoot("live-after", tmp_path)
            assert seen.wrong == []
        page.get_by_text("Not live: trying again").wait_for()
        assert page.locator("#trials tbody tr").count() == ALL
        assert process.wait(60) == 0
    finally:
        process.kill()
        _, errors = process.communicate()
    assert errors == ""


def test_a_sweep_that_has_not_begun_gets_its_figures_when_it_has(browser: Browser, tmp_path: Path) -> None:
    story = stores.story(stores.sweep(tmp_path / "other"))
    with served(tmp_path) as site, Store.at(tmp_path).create("young", "sweep") as run:
        seen = Watched(browser)
        seen.page.goto(site.entry)
        seen.page.goto(f"{site.base}/runs/{run.id}")
        seen.page.get_by_text("it has not begun").wait_for()
        seen.page.get_by_text("Live", exact=True).wait_for()
        run.journal.commit(story)
        seen.page.locator("#trials tbody tr").nth(7).wait_for()
        assert seen.page.locator("figure[data-part]").count() >= 5


def test_a_page_that_lost_its_server_finds_it_again(browser: Browser, runs: Runs) -> None:
    seen = Watched(browser)
    with served(runs.folder) as site:
        seen.page.goto(site.entry)
        seen.page.get_by_text("Live", exact=True).wait_for()
    seen.page.get_by_text("Not live: trying again").wait_for()
    with served(runs.folder, site.access):
        seen.page.get_by_text("Live", exact=True).wait_for()


def test_five_thousand_trials_are_painted_at_once(browser: Browser, tmp_path: Path) -> None:
    durability.build(tmp_path, 5_000, 5)
    (info,) = Store.at(tmp_path).all()
    with served(tmp_path) as site:
        seen = Watched(browser)
        page = seen.page
        page.goto(site.entry)
        page.add_init_script(
            """window.tasks = [];
            new PerformanceObserver((list) => tasks.push(...list.getEntries().map((each) => each.duration)))
                .observe({type: "longtask", buffered: true});"""
        )
        page.goto(f"{site.base}/runs/{info.id}")
        assert page.locator("#trials tbody tr").count() == 100
        page.wait_for_function("performance.getEntriesByName('first-contentful-paint').length")
        paint = page.evaluate("performance.getEntriesByName('first-contentful-paint')[0].startTime") / 1000
        seen.scroll_through()
        longest = max(page.evaluate("window.tasks"), default=0.0)
        print(f"5,000 trials: first paint after {paint:.2f} s, longest task {longest:.0f} ms")
        assert paint <= 5 * FIRST_PAINT_S
        assert longest <= 5 * LONGEST_TASK_MS
        seen.shoot("five-thousand", tmp_path)
        page.get_by_role("link", name="Last", exact=True).click()
        assert page.locator("#trials tbody tr").count() == 100
        assert seen.wrong == []


class Attacker(http.server.BaseHTTPRequestHandler):
    """Another origin on this machine, whose page tries to read ours."""

    page = b""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("content-type", "text/html")
        self.end_headers()
        self.wfile.write(self.page)

    def log_message(self, format: str, *args: Any) -> None: ...


ATTACKS = """<!doctype html><meta charset="utf-8"><body><script>
const base = "%s", results = {}, done = [];
const late = () => new Promise((end) => setTimeout(() => end("nothing"), 10000));
const note = (name, promise) => done.push(Promise.race([promise, late()]).then((text) => { results[name] = text; }));
for (const mode of ["cors", "no-cors"]) for (const method of ["GET", "HEAD", "POST"])
    note(`fetch ${mode} ${method}`, fetch(base + "/", {mode, method, credentials: "include"}).then(
        async (answer) => answer.type === "opaque" ? "opaque" : "read " + answer.status, () => "refused"));
const element = (tag, address) => new Promise((end) => {
    const made = document.createElement(tag);
    made.onload = () => end("loaded"); made.onerror = () => end("refused");
    made[tag === "link" ? "href" : "src"] = base + address;
    if (tag === "link") made.rel = "stylesheet";
    document.body.append(made);
});
note("img", element("img", "/static/style.css"));
note("script", element("script", "/static/live.js"));
note("style", element("link", "/static/style.css"));
note("socket", new Promise((end) => { const made = new WebSocket(base.replace("http", "ws") + "/events");
    made.onopen = () => end("opened"); made.onerror = () => end("refused"); }));
note("events", new Promise((end) => { const made = new EventSource(base + "/events", {withCredentials: true});
    made.onopen = () => end("opened"); made.onerror = () => { made.close(); end("refused"); }; }));
note("frame", new Promise((end) => {
    const made = document.createElement("iframe");
    made.src = base + "/";
    made.onload = () => { try { end(made.contentDocument.body.innerText || "empty"); } catch { end("refused"); } };
    document.body.append(made); }));
note("window", Promise.resolve(open(base + "/")).then((made) => new Promise((end) => setTimeout(() => {
    try { end(made === null ? "refused" : "read " + made.document.body.innerText); } catch { end("refused"); }
}, 1000))));
window.finished = Promise.all(done).then(() => results);
</script><form id="form" method="post" action="%s/"><input name="x"></form></body>"""


def test_a_page_on_another_origin_gets_nothing(browser: Browser, site: Site) -> None:
    seen = Watched(browser)
    seen.page.goto(site.entry)  # the victim is let in
    seen.page.goto("about:blank")  # what its own page asks for is not looked at below
    attacker = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Attacker)
    # Another port is another origin of the same site; another name of the machine is another site.
    Attacker.page = (ATTACKS % (site.base, site.base)).encode()
    thread = threading.Thread(target=attacker.serve_forever)
    thread.start()
    answers: dict[str, int] = {}
    seen.context.on("response", lambda answer: answers.update({answer.url: answer.status}))
    try:
        for host in ("127.0.0.1", "localhost"):
            page = seen.context.new_page()
            answers.clear()
            page.goto(f"http://{host}:{attacker.server_port}/")
            results = page.evaluate("window.finished")
            assert set(results.values()) <= {"refused", "opaque", "empty", "nothing"}, results
            assert list(results.values()).count("nothing") <= 2, results
            ours = {url: status for url, status in answers.items() if url.startswith(site.base)}
            assert ours
            assert set(ours.values()) <= {400, 403, 405}, ours
            page.locator("#form").evaluate("form => form.submit()")
            page.wait_for_url(f"{site.base}/")
            assert "can only be read" in page.inner_text("body")
    finally:
        attacker.shutdown()
        thread.join()
        attacker.server_close()


def test_the_token_is_needed_and_a_link_with_it_leads_in(browser: Browser, site: Site, tmp_path: Path) -> None:
    seen = Watched(browser)
    for path in ("/", "/?token=wrong", "/runs/x"):
        answer = seen.page.goto(site.base + path)
        assert answer is not None
        assert answer.status == 403
        assert "token" in seen.page.inner_text("body")
    seen.shoot("refused", tmp_path)
    entry = tmp_path / "open.html"
    entry.write_text(f'<meta http-equiv="refresh" content="0;url={site.entry}">')
    seen.page.goto(entry.as_uri())
    seen.page.get_by_role("heading", name="Runs").wait_for()
    assert seen.page.url == f"{site.base}/"
    seen.page.reload()
    assert seen.page.get_by_role("heading", name="Runs").count() == 1
    history = seen.page.evaluate("performance.getEntriesByType('navigation')[0].name + document.referrer")
    assert "token" not in history


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("dark", {"color_scheme": "dark"}),
        ("small", {"viewport": {"width": 320, "height": 640}}),
        ("large", {"viewport": {"width": 3840, "height": 2160}}),
        ("without-script", {"java_script_enabled": False}),
        ("still", {"reduced_motion": "reduce", "forced_colors": "active"}),
    ],
)
def test_every_page_fits(
    browser: Browser, site: Site, runs: Runs, tmp_path: Path, name: str, options: dict[str, Any]
) -> None:
    seen = Watched(browser, **options)
    seen.page.goto(site.entry)
    for number, path in enumerate(addresses(runs)):
        seen.page.goto(site.base + path)
        if options.get("java_script_enabled", True):
            seen.scroll_through()
            width = seen.page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
            assert width[0] <= width[1], path
        seen.shoot(f"{name}-{number}", tmp_path)
    if name == "without-script":
        seen.page.goto(f"{site.base}/runs/{runs.sweep.id}")
        seen.page.get_by_role("link", name="Timeline").click()
        assert seen.page.locator("svg.timeline").count() == 1
    if name == "dark":
        assert seen.page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(18, 22, 28)"
    assert seen.wrong == []


GRAPH = """() => {
    const graph = document.querySelector(".dag-view svg"), style = (each) => getComputedStyle(each);
    return [style(graph).filter !== "none", style(graph.querySelector(":scope > g > polygon")).fill,
            style(graph.closest(".drawn")).backgroundColor];
}"""


def test_a_graph_is_dark_where_the_page_is(browser: Browser, site: Site, runs: Runs, tmp_path: Path) -> None:
    with Store.at(runs.folder).open(runs.pipeline.id) as run:
        (tmp_path / "report.html").write_text(report_html(run), encoding="utf-8")
    seen = Watched(browser)
    seen.page.goto(site.entry)
    for address in (f"{site.base}/runs/{runs.pipeline.id}", (tmp_path / "report.html").as_uri()):
        seen.page.goto(address)
        seen.scroll_through()
        for scheme, media, is_turned in (
            ("light", "screen", False),
            ("dark", "screen", True),
            ("dark", "print", False),
        ):
            seen.page.emulate_media(color_scheme=scheme, media=media)  # type: ignore[arg-type]
            assert seen.page.evaluate(GRAPH) == [is_turned, "none", "rgba(0, 0, 0, 0)"]


def test_a_figure_on_a_narrow_screen_stays_where_it_was_scrolled_to(browser: Browser, tmp_path: Path) -> None:
    story = stores.story(stores.sweep(tmp_path / "other"))
    with served(tmp_path) as site, Store.at(tmp_path).create("young", "sweep") as run:
        run.journal.commit(story[:-8])
        seen = Watched(browser, viewport={"width": 400, "height": 800})
        seen.page.goto(site.entry)
        seen.page.goto(f"{site.base}/runs/{run.id}")
        seen.scroll_through()
        drawn = seen.page.locator('[data-part="figure-history"] .drawn')
        drawn.scroll_into_view_if_needed()
        assert drawn.evaluate("each => [each.scrollTo(70, 0), each.scrollLeft][1]") == 70
        attached = drawn.evaluate("each => getComputedStyle(each).backgroundAttachment")
        assert attached == "local, local, scroll, scroll"  # the shades stay, their covers go along
        before = drawn.inner_html()
        run.journal.commit(story[-8:])
        deadline = time.monotonic() + 60
        while drawn.inner_html() == before:
            assert time.monotonic() < deadline
            seen.page.wait_for_timeout(50)
        assert drawn.evaluate("each => each.scrollLeft") == 70


def test_everything_is_reached_by_the_keyboard(browser: Browser, site: Site, runs: Runs) -> None:
    seen = Watched(browser)
    page = seen.page
    page.goto(site.entry)
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    box = page.locator(".skip").bounding_box()
    assert box is not None
    assert box["x"] >= 0  # it is seen once it has the focus
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"
    page.goto(f"{site.base}/runs/{runs.sweep.id}")
    seen.scroll_through()
    reached = set()
    for _ in range(150):
        page.keyboard.press("Tab")
        told = page.evaluate(
            """() => { const at = document.activeElement, style = getComputedStyle(at);
                return [at.tagName, at.textContent.trim().slice(0, 40), style.outlineStyle, at === document.body]; }"""
        )
        if told[3]:
            break
        assert told[2] != "none", f"the focus on {told[:2]} cannot be seen"
        reached.add((told[0], told[1]))
    for wanted in (("A", "Runs"), ("SUMMARY", "How it was run"), ("A", "Logs"), ("BUTTON", "Copy"), ("A", "7")):
        assert wanted in reached
    page.locator("#trials th a", has_text="trial").focus()
    page.keyboard.press("Enter")
    page.wait_for_url("**sort=trial#trials")
    assert page.locator('#trials th[aria-sort="ascending"]').inner_text().startswith("trial")


def test_axe_finds_nothing_wrong(browser: Browser, site: Site, runs: Runs) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="needs axe-playwright-python")
    for scheme in ("light", "dark"):
        seen = Watched(browser, bypass_csp=True, color_scheme=scheme)
        seen.page.goto(site.entry)
        for path in addresses(runs):
            seen.page.goto(site.base + path)
            seen.scroll_through()
            found = axe.Axe().run(seen.page)
            assert found.violations_count == 0, f"{scheme} {path}\n{found.generate_report()}"


def test_a_report_opens_without_a_server_and_a_network(browser: Browser, runs: Runs, tmp_path: Path) -> None:
    seen = Watched(browser, offline=True)
    for number, info in enumerate((runs.sweep, runs.pipeline)):
        with Store.at(runs.folder).open(info.id) as run:
            (tmp_path / f"{number}.html").write_text(report_html(run), encoding="utf-8")
        seen.page.goto((tmp_path / f"{number}.html").as_uri())
        assert seen.page.evaluate("getComputedStyle(document.querySelector('h1')).fontSize") == "25.6px"
        assert not seen.is_hacked()
        seen.shoot(f"report-{number}", tmp_path)
        seen.page.emulate_media(media="print")
        seen.page.set_viewport_size({"width": 720, "height": 1000})  # a sheet of paper
        for drawing in seen.page.locator("figure svg").all():
            box = drawing.bounding_box()
            assert box is not None
            assert box["x"] + box["width"] <= 720
        seen.shoot(f"report-{number}-print", tmp_path)
        seen.page.set_viewport_size({"width": 1280, "height": 900})
        seen.page.emulate_media(media="screen")
    assert seen.wrong == []
    assert all(address.startswith(("file:", "data:")) for address in seen.requests)


def test_a_copied_command_is_the_one_that_is_shown(browser: Browser, site: Site, runs: Runs) -> None:
    seen = Watched(browser)
    seen.context.grant_permissions(["clipboard-read", "clipboard-write"], origin=site.base)
    seen.page.goto(site.entry)
    seen.page.goto(f"{site.base}/runs/{runs.sweep.id}")
    seen.page.get_by_role("button", name="Copy").first.click()
    seen.page.get_by_role("button", name="Copied").wait_for()
    shown = seen.page.locator("code.command").first.inner_text()
    assert seen.page.evaluate("navigator.clipboard.readText()") == shown
    deadline = time.monotonic() + 20
    while seen.page.get_by_role("button", name="Copied").count() and time.monotonic() < deadline:
        seen.page.wait_for_timeout(100)
    assert seen.page.get_by_role("button", name="Copied").count() == 0
