"""A headless Chromium for the tests of the pages, and where its screenshots go."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Dialog, Page

CHROMIUM = Path("/usr/bin/chromium")
REQUIRED = os.environ.get("METTA_SWEEP_BROWSER") == "required"


@contextmanager
def chromium() -> Iterator[Browser]:
    """The browser of the system; where there is none, the test is skipped."""
    if not REQUIRED:
        pytest.importorskip("playwright", reason="needs playwright")
        if not CHROMIUM.exists():
            pytest.skip(f"needs {CHROMIUM}")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=["--no-sandbox"])
        try:
            yield browser
        finally:
            browser.close()


class Watched:
    """A page, and what must not happen on it.

    Attributes:
        page: the page.
        requests: the addresses of all requests.
        wrong: errors, dialogs, and what the console says.
    """

    def __init__(self, browser: Browser, **options: Any) -> None:
        self.context = browser.new_context(**{"viewport": {"width": 1280, "height": 900}, **options})
        self.page: Page = self.context.new_page()
        self.requests: list[str] = []
        self.wrong: list[str] = []
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.on("pageerror", lambda error: self.wrong.append(f"error: {error}"))
        self.page.on("console", lambda message: self.wrong.append(f"console: {message.text}"))
        self.page.on("dialog", self._refuse)

    def scroll_through(self) -> None:
        """Show all parts once, so that those that come later are fetched."""
        self.page.evaluate(
            """async () => {
                for (let y = 0; y < document.documentElement.scrollHeight; y += innerHeight / 2) {
                    scrollTo(0, y);
                    await new Promise((done) => setTimeout(done, 50));
                }
            }"""
        )
        self.until("document.querySelectorAll('[aria-busy]').length === 0")
        self.page.evaluate("scrollTo(0, 0)")

    def until(self, expression: str, seconds: float = 60.0) -> None:
        """Wait until the expression is true. Playwright's own waiting needs `eval`, which the pages forbid."""
        end = time.monotonic() + seconds
        while not self.page.evaluate(expression):
            assert time.monotonic() < end, f"never true: {expression}"
            self.page.wait_for_timeout(50)

    def shoot(self, name: str, folder: Path) -> None:
        """Keep a screenshot of the whole page, for people to look at."""
        place = Path(os.environ.get("METTA_SWEEP_ARTIFACTS") or folder)
        place.mkdir(parents=True, exist_ok=True)
        self.page.screenshot(path=place / f"{name}.png", full_page=True)

    def _refuse(self, dialog: Dialog) -> None:
        self.wrong.append(f"dialog: {dialog.message}")
        dialog.dismiss()

    def is_hacked(self) -> bool:
        """Whether a script of a text has run."""
        return bool(self.page.evaluate("'hacked' in window"))
