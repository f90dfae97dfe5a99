"""The application: which address shows what."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from metta.sweep.errors import MettaSweepError
from metta.sweep.store.runs import Store
from metta.sweep.ui.answers import error_page, failure, mistake, no_page
from metta.sweep.ui.library import Library
from metta.sweep.ui.list_pages import ListPages
from metta.sweep.ui.opened import OpenRuns
from metta.sweep.ui.rendering import ASSETS, static_file
from metta.sweep.ui.run_pages import RunPages
from metta.sweep.ui.security import Access, Guard


def make_app(store: Store, access: Access, *, outside: Path | None = None) -> Guard:
    """The guarded application.

    Args:
        store: whose runs are shown.
        access: who may read.
        outside: the folder of one more run that is shown.
    """
    library, runs = Library(store, outside), OpenRuns()
    listed, shown = ListPages(library), RunPages(library, runs)

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        yield
        runs.close()

    def end() -> None:
        listed.end()
        runs.end()

    handlers: Any = {HTTPException: no_page, MettaSweepError: failure, Exception: mistake}
    app = Starlette(routes=_routes(listed, shown), exception_handlers=handlers, lifespan=lifespan)
    return Guard(app, access, lambda status, text: error_page(status, text, styled=False), end)


def _routes(listed: ListPages, shown: RunPages) -> list[Route]:
    run = "/runs/{address}"
    return [
        Route("/", listed.list_page),
        Route("/parts/runs", listed.list_part),
        Route("/events", listed.list_events),
        Route("/static/{name}", _asset),
        Route(run, shown.run_page),
        Route(f"{run}/parts/{{name}}", shown.run_part),
        Route(f"{run}/events", shown.run_events),
        Route(f"{run}/trials/{{number}}", shown.trial_page),
        Route(f"{run}/trials/{{number}}/parts/trial", shown.trial_part),
        Route(f"{run}/logs", shown.logs_page),
        Route(f"{run}/logs/{{path:path}}", shown.log_page),
    ]


def _asset(request: Request) -> Response:
    """A style or a script of ours."""
    name = request.path_params["name"]
    content = static_file(name)
    if content is None:
        raise HTTPException(404)
    return Response(content, media_type=ASSETS[name])
