"""The page with the list of runs."""

from __future__ import annotations

from urllib.parse import urlencode

from markupsafe import Markup
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from metta.sweep.store.run import RunStatus
from metta.sweep.ui.answers import events, page
from metta.sweep.ui.library import Library
from metta.sweep.ui.live import Watcher
from metta.sweep.ui.rendering import part


class ListPages:
    """The handlers of the list, and the watcher of the store."""

    def __init__(self, library: Library) -> None:
        self._library = library
        self._watcher: Watcher[str] = Watcher(library)

    def end(self) -> None:
        """End the streams of events."""
        self._watcher.end()

    def list_page(self, request: Request) -> Response:
        """All runs."""
        version = self._library.version()
        asked = _asked(request)
        told = urlencode([(name, value) for name, value in asked.items() if value])
        return page(
            "runs.html",
            trail=[],
            events="/events",
            version=version,
            folder=str(self._library.store.folder),
            text=asked["text"],
            status=asked["status"],
            statuses=[each.value for each in RunStatus],
            source=f"/parts/runs?{told}",
            body=self._body(asked),
        )

    def list_part(self, request: Request) -> Response:
        """The table of the list."""
        return HTMLResponse(self._body(_asked(request)))

    def list_events(self, request: Request) -> Response:
        """Tells when the list has changed."""
        return events(request, self._watcher, str, lambda known, now: ["runs"])

    def _body(self, asked: dict[str, str]) -> str:
        told = asked["page"]
        number = int(told) if told.isascii() and told.isdecimal() and len(told) < 8 else 1
        listing = self._library.listing(asked["text"], asked["status"], number)

        def link(page: int) -> str:
            return "/?" + urlencode({**asked, "page": page})

        return Markup(part("runs", listing, bool(asked["text"] or asked["status"]), link))


def _asked(request: Request) -> dict[str, str]:
    given = request.query_params
    return {name: given.get(name, "")[:200] for name in ("text", "status", "page")}
