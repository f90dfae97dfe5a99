"""What the site has beyond docs/*.md: a page for each error, each example, and the change log.

The pages of docs/ are read in the repository as well, so their links name files of the repository. Here the links that
leave docs/ are turned to the pages that are made of those files, and the marks of tests/test_documentation.py on code
blocks are taken away.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[2]
EXPLAINED = ROOT / "metta" / "sweep" / "explain" / "pages"
# Files of the repository that are pages of the site: pattern of the file -> the page, below docs/.
PAGES = (
    (re.compile(r"examples/(\w+)\.py$"), r"examples/\1.md"),
    (re.compile(r"metta/sweep/explain/pages/([\w-]+)\.md$"), r"errors/\1.md"),
    (re.compile(r"CHANGELOG\.md$"), r"changelog.md"),
)
LINK = re.compile(r"(\]\()([^)#\s:]+)(#[^)\s]*)?\)")
FENCE = re.compile(r"^(```\w+)((?: no-run| fails| like)+)", re.MULTILINE)


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Add the pages that are made of other files to their sections of the navigation."""
    for section in config.nav or []:
        if isinstance(section, dict) and "Errors" in section:
            section["Errors"] += [{path.stem: f"errors/{path.name}"} for path in sorted(EXPLAINED.glob("*.md"))]
        if isinstance(section, dict) and "Examples" in section:
            examples = sorted((ROOT / "examples").glob("*.py"))
            section["Examples"] += [{path.stem: f"examples/{path.stem}.md"} for path in examples]
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that are made of other files."""
    for path in sorted((ROOT / "examples").glob("*.py")):
        add(files, config, f"examples/{path.stem}.md", example_page(path))
    for path in sorted(EXPLAINED.glob("*.md")):
        add(files, config, f"errors/{path.name}", path.read_text(encoding="utf-8"))
    add(files, config, "changelog.md", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Turn links to files of the repository to pages, and take the marks from code blocks."""
    source = page.file.src_uri

    def link(found: re.Match[str]) -> str:
        target = page_of(found[2], source)
        return f"{found[1]}{target}{found[3] or ''})"

    return FENCE.sub(r"\1", LINK.sub(link, markdown))


def page_of(target: str, source: str) -> str:
    """The link to the page that is made of a file: `target` stands in the page `source`.

    Raises:
        PluginError: the link leaves docs/ and no page is made of what it points to.
    """
    home = "" if source == "changelog.md" else posixpath.join("docs", posixpath.dirname(source))
    path = posixpath.normpath(posixpath.join(home, target))
    if path.startswith("docs/"):
        return posixpath.relpath(path.removeprefix("docs/"), posixpath.dirname(source) or ".")
    for pattern, name in PAGES:
        if (ROOT / path).is_file() and pattern.match(path):
            return posixpath.relpath(pattern.sub(name, path), posixpath.dirname(source) or ".")
    raise PluginError(f"docs/{source}: the link to {target} leads to nothing on the site")


def example_page(path: Path) -> str:
    """An example as a page: its code."""
    code = path.read_text(encoding="utf-8")
    return f"# {path.stem}\n\nThe file examples/{path.name}; [all examples](../examples.md).\n\n```python\n{code}```\n"


def add(files: Files, config: MkDocsConfig, uri: str, content: str) -> None:
    """Add a page that is not in docs/."""
    files.append(File.generated(config, uri, content=content))
