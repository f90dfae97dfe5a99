"""The pages: which address shows what."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlencode

from markupsafe import Markup
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response, StreamingResponse
from starlette.routing import Route

from metta.sweep.errors import MettaSweepError
from metta.sweep.store.run import Run, RunStatus
from metta.sweep.store.runs import Store
from metta.sweep.ui.head import head_of, manifest_facts
from metta.sweep.ui.library import SEPARATOR, Library
from metta.sweep.ui.live import Watcher, stream
from metta.sweep.ui.logs import MOST_LOGS, TAIL, log_paths, read_log
from metta.sweep.ui.opened import OpenRun, OpenRuns, RunData, Version
from metta.sweep.ui.pages import TITLES, Part, Query, changed_parts, draw_part, is_later, part_names
from metta.sweep.ui.rendering import ASSETS, part, render, static_file
from metta.sweep.ui.security import Access, Guard
from metta.sweep.ui.trial_view import trial_view

NO_PAGE: Final = "There is no such page."


def make_app(store: Store, access: Access, *, outside: Path | None = None) -> Guard:
    """The guarded application.

    Args:
        store: whose runs are shown.
        access: who may read.
        outside: the folder of one more run that is shown.
    """
    pages = Pages(Library(store, outside))
    return Guard(pages.app(), access, lambda status, text: error_page(status, text, styled=False), pages.end)


def error_page(status: int, text: str, *, styled: bool = True) -> bytes:
    """A page with one sentence; `styled` where the reader may load the style."""
    return render("error.html", status=status, text=text, styled=styled).encode()


class Pages:
    """The handlers, and what is held open for them."""

    def __init__(self, library: Library) -> None:
        self.library: Final = library
        self.runs: Final = OpenRuns()
        self._list_watcher: Watcher[str] = Watcher(library)

    def app(self) -> Starlette:
        """The application, without its guard."""
        run = "/runs/{address}"
        routes = [
            Route("/", self.list_page),
            Route("/parts/runs", self.list_part),
            Route("/events", self.list_events),
            Route("/static/{name}", self.asset),
            Route(run, self.run_page),
            Route(f"{run}/parts/{{name}}", self.run_part),
            Route(f"{run}/events", self.run_events),
            Route(f"{run}/trials/{{number}}", self.trial_page),
            Route(f"{run}/trials/{{number}}/parts/trial", self.trial_part),
            Route(f"{run}/logs", self.logs_page),
            Route(f"{run}/logs/{{path:path}}", self.log_page),
        ]
        handlers: Any = {HTTPException: _no_page, MettaSweepError: _failure, Exception: _mistake}
        return Starlette(routes=routes, exception_handlers=handlers, lifespan=self._lifespan)

    def end(self) -> None:
        """End the streams of events."""
        self._list_watcher.end()
        self.runs.end()

    @asynccontextmanager
    async def _lifespan(self, app: Starlette) -> AsyncIterator[None]:
        yield
        self.runs.close()

    # The list of runs

    def list_page(self, request: Request) -> Response:
        """All runs."""
        version = self.library.version()
        asked = _asked(request)
        told = urlencode([(name, value) for name, value in asked.items() if value])
        return _page(
            "runs.html",
            trail=[],
            events="/events",
            version=version,
            folder=str(self.library.store.folder),
            text=asked["text"],
            status=asked["status"],
            statuses=[each.value for each in RunStatus],
            source=f"/parts/runs?{told}",
            body=self._list_body(asked),
        )

    def list_part(self, request: Request) -> Response:
        """The table of the list."""
        return HTMLResponse(self._list_body(_asked(request)))

    def list_events(self, request: Request) -> Response:
        """Tells when the list has changed."""
        return _events(request, self._list_watcher, str, lambda known, now: ["runs"])

    def _list_body(self, asked: dict[str, str]) -> str:
        page = asked["page"]
        number = int(page) if page.isascii() and page.isdecimal() and len(page) < 8 else 1
        listing = self.library.listing(asked["text"], asked["status"], number)

        def link(page: int) -> str:
            return "/?" + urlencode({**asked, "page": page})

        return Markup(part("runs", listing, bool(asked["text"] or asked["status"]), link))

    # A run

    def run_page(self, request: Request) -> Response:
        """A run as a whole."""
        address, run = self._run(request)
        query = _query(request)
        data = run.read()
        view = head_of(data)
        at = f"/runs/{address}"
        trail = self._trail(address, view.name)
        if data.problem:
            body = Markup(part("head", view, at))
            return _page("page.html", trail=trail, events="", title=view.name, body=body, source="")
        told = query.text()
        parts = [
            Part(
                name,
                TITLES[name],
                f"{at}/parts/{name}?{told}",
                None if is_later(name) else self._draw(run, address, name, query),
            )
            for name in part_names(data)
        ]
        return _page(
            "run.html",
            trail=trail,
            events=f"{at}/events",
            version=str(run.version()),
            view=view,
            at=at,
            parts=parts,
            links=[("Logs", f"{at}/logs")],
            manifest=Markup(run.drawn(("manifest",), lambda _, opened: part("manifest", manifest_facts(opened)))),
        )

    def run_part(self, request: Request) -> Response:
        """One part of a run's page."""
        address, run = self._run(request)
        name = request.path_params["name"]
        data = run.read()
        if data.problem:
            return HTMLResponse(part("head", head_of(data), f"/runs/{address}") if name == "head" else "")
        if name not in part_names(data):
            raise HTTPException(404)
        body = self._draw(run, address, name, _query(request))
        if request.headers.get("sec-fetch-dest") == "document":  # a link, for who has no script
            trail = [*self._trail(address, data.info.name, linked=True), (TITLES[name], "")]
            heading = Markup("<h1>{}</h1>").format(TITLES[name])
            return _page("page.html", trail=trail, events="", title=TITLES[name], body=heading + body, source="")
        return HTMLResponse(body)

    def run_events(self, request: Request) -> Response:
        """Tells when a run has changed."""
        _, run = self._run(request)
        names = (*part_names(run.read()), "trial")
        return _events(request, run.watcher, Version.parse, lambda known, now: changed_parts(known, now, names))

    def _draw(self, run: OpenRun, address: str, name: str, query: Query) -> str:
        key = (name, address, query.text())
        return Markup(run.drawn(key, lambda data, _: draw_part(name, data, address, query)))

    # A trial

    def trial_page(self, request: Request) -> Response:
        """One trial."""
        address, run = self._run(request)
        number = request.path_params["number"]
        at = f"/runs/{address}"
        body = self._trial_body(address, run, number)
        name = f"Trial {int(number)}"
        return _page(
            "page.html",
            trail=[*self._trail(address, run.read().info.name, linked=True), (name, "")],
            events=f"{at}/events",
            version=str(run.version()),
            title=name,
            body=body,
            source=f"{at}/trials/{int(number)}/parts/trial",
            part="trial",
        )

    def trial_part(self, request: Request) -> Response:
        """What stands on a trial's page."""
        address, run = self._run(request)
        return HTMLResponse(self._trial_body(address, run, request.path_params["number"]))

    def _trial_body(self, address: str, run: OpenRun, number: str) -> str:
        if not (number.isascii() and number.isdecimal() and len(number) < 12) or run.read().problem:
            raise HTTPException(404)

        def draw(data: RunData, opened: Run) -> str:
            view = trial_view(data, int(number), opened.folder, opened.trial_folder(int(number)), address)
            return "" if view is None else part("trial", view, f"/runs/{address}")

        body = run.drawn(("trial", address, str(int(number))), draw)
        if not body:
            raise HTTPException(404)
        return Markup(body)

    # Logs

    def logs_page(self, request: Request) -> Response:
        """The list of a run's logs."""
        address, run = self._run(request)
        return self._log(address, run, paths=log_paths(run.folder), log=None, name="Logs")

    def log_page(self, request: Request) -> Response:
        """A piece of one log."""
        address, run = self._run(request)
        end = request.query_params.get("end", "")
        place = int(end) if end.isascii() and end.isdecimal() and len(end) < 18 else None
        log = read_log(run.folder, request.path_params["path"], end=place)
        if log is None:
            raise HTTPException(404)
        return self._log(address, run, paths=[], log=log, name=log.path)

    def _log(self, address: str, run: OpenRun, **values: Any) -> Response:
        at = f"/runs/{address}"
        trail = [*self._trail(address, run.read().info.name, linked=True), (values.pop("name"), "")]
        return _page("logs.html", trail=trail, events="", at=at, step=TAIL, most=MOST_LOGS, **values)

    # All of them

    def asset(self, request: Request) -> Response:
        """A style or a script of ours."""
        name = request.path_params["name"]
        content = static_file(name)
        if content is None:
            raise HTTPException(404)
        return Response(content, media_type=ASSETS[name])

    def _run(self, request: Request) -> tuple[str, OpenRun]:
        address = request.path_params["address"]
        folder = self.library.find(address)
        if folder is None:
            raise HTTPException(404, "There is no such run: it may have been removed.")
        return address, self.runs.at(folder)

    def _trail(self, address: str, name: str, *, linked: bool = False) -> list[tuple[str, str]]:
        """The runs above, and this one."""
        ids = address.split(SEPARATOR)
        above = [(id, f"/runs/{SEPARATOR.join(ids[: place + 1])}") for place, id in enumerate(ids[:-1])]
        return [*above, (name or ids[-1], f"/runs/{address}" if linked else "")]


def _page(template: str, **values: Any) -> Response:
    return HTMLResponse(render(template, **values))


def _asked(request: Request) -> dict[str, str]:
    given = request.query_params
    return {name: given.get(name, "")[:200] for name in ("text", "status", "page")}


def _query(request: Request) -> Query:
    given = request.query_params
    return Query.of(given, given.getlist("expand"), given.getlist("fold"))


def _events(
    request: Request, watcher: Watcher[Any], parse: Callable[[str], Any], parts: Callable[[Any, Any], list[str]]
) -> Response:
    if request.method == "HEAD":
        return Response(media_type="text/event-stream")
    known = request.headers.get("last-event-id") or request.query_params.get("known", "")
    return StreamingResponse(stream(watcher, parse(known), parts), media_type="text/event-stream")


def _no_page(request: Request, error: HTTPException) -> Response:
    known = error.status_code == 404 and error.detail not in ("", "Not Found")
    return HTMLResponse(error_page(error.status_code, error.detail if known else NO_PAGE), error.status_code)


def _failure(request: Request, error: MettaSweepError) -> Response:
    return HTMLResponse(error_page(500, str(error)), 500)


def _mistake(request: Request, error: Exception) -> Response:
    text = "This page could not be made, by a mistake of metta-sweep: please report what the terminal shows."
    return HTMLResponse(error_page(500, text), 500)
