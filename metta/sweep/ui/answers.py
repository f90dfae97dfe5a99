"""Answers to a browser: pages, streams of events, and what is said where something went wrong."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response, StreamingResponse

from metta.sweep.errors import MettaSweepError
from metta.sweep.ui.live import Watcher, stream
from metta.sweep.ui.rendering import render

NO_PAGE: Final = "There is no such page."


def page(template: str, **values: Any) -> Response:
    """A template with these values."""
    return HTMLResponse(render(template, **values))


def error_page(status: int, text: str, *, styled: bool = True) -> bytes:
    """A page with one sentence; `styled` where the reader may load the style."""
    return render("error.html", status=status, text=text, styled=styled).encode()


def events(
    request: Request, watcher: Watcher[Any], parse: Callable[[str], Any], parts: Callable[[Any, Any], list[str]]
) -> Response:
    """A stream that tells which parts of a page have changed.

    Args:
        request: says which version its page shows.
        watcher: knows the version that there is.
        parse: makes a version of its text.
        parts: the names of the parts that differ between the version that was told last and that one.
    """
    if request.method == "HEAD":
        return Response(media_type="text/event-stream")
    known = request.headers.get("last-event-id") or request.query_params.get("known", "")
    return StreamingResponse(stream(watcher, parse(known), parts), media_type="text/event-stream")


def no_page(request: Request, error: HTTPException) -> Response:
    """There is nothing at this address."""
    known = error.status_code == 404 and error.detail not in ("", "Not Found")
    return HTMLResponse(error_page(error.status_code, error.detail if known else NO_PAGE), error.status_code)


def failure(request: Request, error: MettaSweepError) -> Response:
    """A run or the store cannot be read."""
    return HTMLResponse(error_page(500, str(error)), 500)


def mistake(request: Request, error: Exception) -> Response:
    """There is an error in this package."""
    text = "This page could not be made, by a mistake of metta-sweep: please report what the terminal shows."
    return HTMLResponse(error_page(500, text), 500)
