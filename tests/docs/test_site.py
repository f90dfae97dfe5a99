"""The site: it builds without a warning, loads nothing from elsewhere, and its reference has every public name."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest

from metta.sweep.contracts.diagnostics import CODES
from metta.sweep.explain import BEYOND

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PUBLIC = ("", ".space", ".optimizers", ".schedulers", ".executors", ".experiments", ".interop", ".testing")
LOADED = {"script": "src", "img": "src", "link": "href", "iframe": "src", "source": "src", "object": "data"}


def in_reference() -> set[str]:
    """Every dotted name that the reference documents."""
    pages = (DOCS / "reference").glob("*.md")
    return {name for page in pages for name in re.findall(r"^::: (\S+)$", page.read_text(), re.MULTILINE)}


@pytest.mark.parametrize("module", [import_module(f"metta.sweep{name}") for name in PUBLIC], ids=lambda m: m.__name__)
def test_every_public_name_is_in_the_reference(module: ModuleType) -> None:
    documented = in_reference()
    objects = [value(name) for name in documented]
    missing = [
        name
        for name in module.__all__
        if not name.startswith("__")
        and f"{module.__name__}.{name}" not in documented
        and not any(getattr(module, name) is other for other in objects)  # it stands on the page of its home
    ]
    assert missing == []


def value(name: str) -> object:
    module, _, attribute = name.rpartition(".")
    return getattr(import_module(module), attribute)


def test_every_code_stands_in_the_list_of_errors_with_its_meaning() -> None:
    page = (DOCS / "errors.md").read_text()
    link = r"\[`([\w-]+)`\]\(\.\./metta/sweep/explain/pages/\1\.md\)"
    assert dict(re.findall(rf"^\| {link} \| (.*) \|$", page, re.MULTILINE)) == CODES
    assert set(re.findall(link, page)) == {*CODES, *BEYOND}


def test_every_link_of_a_page_leads_to_a_file() -> None:
    for page in DOCS.rglob("*.md"):
        for target in re.findall(r"\]\(([^)#\s:]+)(?:#[^)\s]*)?\)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.relative_to(ROOT)}: {target}"


class Loaded(HTMLParser):
    """What a page makes a browser load."""

    def __init__(self) -> None:
        super().__init__()
        self.addresses: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        address = dict(attrs).get(LOADED.get(tag, ""))
        if address is not None:
            self.addresses.append(address)


@pytest.mark.slow
def test_the_site_builds_without_warnings_and_loads_nothing_from_elsewhere(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--config-file", str(DOCS / "site" / "mkdocs.yml")]
    done = subprocess.run(
        [*command, "--site-dir", str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
    )
    assert done.returncode == 0, done.stderr
    pages = list(tmp_path.rglob("*.html"))
    assert {"index.html", "tutorial.html", "missing-field.html"} <= {page.name for page in pages}
    for page in pages:
        loaded = Loaded()
        loaded.feed(page.read_text())
        assert loaded.addresses
        assert [address for address in loaded.addresses if re.match(r"(\w+:)?//", address)] == [], page
    for sheet in tmp_path.rglob("*.css"):
        assert re.findall(r"url\([\"']?(?:https?:)?//[^)]*\)|@import", sheet.read_text()) == [], sheet
