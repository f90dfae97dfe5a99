"""`metta-sweep explain`: what a code in a message means, with programs that get it and programs that do not."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from metta.sweep.contracts.diagnostics import Diagnostic

WIDTH = 100
"""Of a page on a terminal, at most: longer lines are hard to read."""

_COLUMN = 23
_LINK = re.compile(r"\[([a-z-]+)\]\([a-z-]+\.md\)")
_TITLE = re.compile(r'^```(\w+) title="(\w+)"$', re.MULTILINE)


def explain(code: str | None, *, as_json: bool = False) -> int:
    """Print the page of a code, or what codes there are.

    Args:
        code: as it stands at the end of a message; None: all of them, a line each.
        as_json: print an object with code, title and text (Markdown), or a list of objects without text.

    Returns:
        The exit code, 0.

    Raises:
        UsageError: there is no such code; the nearest one is named.
    """
    from metta.sweep.cli.output import show
    from metta.sweep.explain import codes, page, title

    if as_json:
        from dataclasses import asdict

        from metta.sweep.cli.shown import show_json

        told = [{"code": each, "title": title(each)} for each in codes()] if code is None else asdict(page(code))
        show_json(told)
    elif code is None:
        show("\n".join(map(_folded if sys.stdout.isatty() else str, _lines())))
        show("\nmetta-sweep explain CODE says more about one of them")
    else:
        text = _readable(page(code).text)
        # As bytes: `show` would take the colours for a user's text that moves the cursor.
        show(_rendered(text) if sys.stdout.isatty() else text, end=False)
    return 0


def hint(found: Iterable[Diagnostic]) -> str:
    """The command that says more about what was found, in one line; "" where nothing was.

    Errors go before notes: they are what somebody has to mend.
    """
    from metta.sweep.contracts.diagnostics import Severity
    from metta.sweep.explain import codes

    explained = set(codes())
    kept = [d for d in found if d.code in explained]  # mypy has codes of its own
    errors = [d for d in kept if d.severity is Severity.ERROR]
    names = list(dict.fromkeys(d.code for d in errors or kept))
    if not names:
        return ""
    first, *others = names
    if not others:
        return f"what it means: metta-sweep explain {first}"
    return f"what they mean: metta-sweep explain {first} (or {', '.join(others)})"


def tell_more(found: Iterable[Diagnostic]) -> None:
    """Print the hint to standard error, so that standard output stays what other programs read."""
    if text := hint(found):
        click.echo(text, err=True)


def _lines() -> Iterator[str]:
    """Every code and what it means, in two columns."""
    from metta.sweep.explain import codes, title

    for code in codes():
        yield f"{code:<{_COLUMN}}{title(code)}"


def _folded(line: str) -> str:
    """For a terminal: what does not fit stays in its column."""
    import shutil
    import textwrap

    return textwrap.fill(line, shutil.get_terminal_size().columns, subsequent_indent=" " * _COLUMN)


def _readable(text: str) -> str:
    """Markdown without what only a web page can show: links to other pages, titles of blocks.

    What is right follows a sentence that says so, and needs no title.
    """
    return _TITLE.sub(_titled, _LINK.sub(r"\1", text))


def _titled(block: re.Match[str]) -> str:
    language, name = block.groups()
    return f"```{language}" if name == "Right" else f"{name}:\n\n```{language}"


def _rendered(text: str) -> bytes:
    """For a terminal; rich leaves out colours where NO_COLOR asks for that."""
    from rich.console import Console
    from rich.markdown import Markdown
    from rich.theme import Theme

    # Without a background, which would be black on a light terminal.
    console = Console(theme=Theme({"markdown.code": "bold"}))
    console.width = min(console.width, WIDTH)
    with console.capture() as captured:
        console.print(Markdown(text, code_theme="ansi_dark", hyperlinks=False))
    return captured.get().encode(console.encoding, "replace")
