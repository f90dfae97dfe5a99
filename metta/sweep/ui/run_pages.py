"""The pages of a run: the run as a whole, its trials, its logs."""

from __future__ import annotations

from typing import Any

from markupsafe import Markup
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from metta.sweep.store.run import Run
from metta.sweep.ui.answers import events, page
from metta.sweep.ui.head import head_of, manifest_facts
from metta.sweep.ui.library import SEPARATOR, Library
from metta.sweep.ui.logs import MOST_LOGS, TAIL, log_paths, read_log
from metta.sweep.ui.opened import OpenRun, OpenRuns, RunData, Version
from metta.sweep.ui.pages import TITLES, Part, Query, changed_parts, draw_part, is_later, part_names
from metta.sweep.ui.rendering import part
from metta.sweep.ui.trial_view import trial_view


class RunPages:
    """The handlers of a run's pages.

    Args:
        library: finds a run by its address.
        runs: holds the runs open that are looked at.
    """

    def __init__(self, library: Library, runs: OpenRuns) -> None:
        self._library = library
        self._runs = runs

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
            return page("page.html", trail=trail, events="", title=view.name, body=body, source="")
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
        return page(
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
            return page("page.html", trail=trail, events="", title=TITLES[name], body=heading + body, source="")
        return HTMLResponse(body)

    def run_events(self, request: Request) -> Response:
        """Tells when a run has changed."""
        _, run = self._run(request)
        names = (*part_names(run.read()), "trial")
        return events(request, run.watcher, Version.parse, lambda known, now: changed_parts(known, now, names))

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
        return page(
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
        return page("logs.html", trail=trail, events="", at=at, step=TAIL, most=MOST_LOGS, **values)

    def _run(self, request: Request) -> tuple[str, OpenRun]:
        address = request.path_params["address"]
        folder = self._library.find(address)
        if folder is None:
            raise HTTPException(404, "There is no such run: it may have been removed.")
        return address, self._runs.at(folder)

    def _trail(self, address: str, name: str, *, linked: bool = False) -> list[tuple[str, str]]:
        """The runs above, and this one."""
        ids = address.split(SEPARATOR)
        above = [(id, f"/runs/{SEPARATOR.join(ids[: place + 1])}") for place, id in enumerate(ids[:-1])]
        return [*above, (name or ids[-1], f"/runs/{address}" if linked else "")]


def _query(request: Request) -> Query:
    given = request.query_params
    return Query.of(given, given.getlist("expand"), given.getlist("fold"))
