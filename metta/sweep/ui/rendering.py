"""Templates to HTML. They are files of this package, and every value in them is escaped."""

from __future__ import annotations

import re
from base64 import b64encode
from functools import cache
from hashlib import blake2b, sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from jinja2 import Environment

HERE: Final = Path(__file__).parent

ICON: Final = (
    "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 16 16'%3E%3Cg fill='none' "
    "stroke='%232563eb' stroke-width='2'%3E%3Cpath d='M4 4l8 4-8 4'/%3E%3C/g%3E%3Cg fill='%232563eb'%3E%3C"
    "circle cx='4' cy='4' r='2.5'/%3E%3Ccircle cx='12' cy='8' r='2.5'/%3E%3Ccircle cx='4' cy='12' r='2.5'/%3E%3C/g%3E"
    "%3C/svg%3E"
)
"""Inline, so that no browser asks for one."""


_HALVES: Final = re.compile("[\ud800-\udfff]")


def render(template: str, **values: Any) -> str:
    """A template of this package with these values."""
    return _encodable(environment().get_template(template).render(**values))


def part(name: str, *values: Any, **options: Any) -> str:
    """What the macro `name` of `parts.html` makes of these values."""
    made = getattr(environment().get_template("parts.html").module, name)(*values, **options)
    return _encodable(str(made))


def _encodable(text: str) -> str:
    """As UTF-8 can have it: the name of a file that is none, say, comes with halves of characters."""
    return text if text.isascii() else _HALVES.sub("\N{REPLACEMENT CHARACTER}", text)


@cache
def environment() -> Environment:
    """The templates, with what they may call."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    from metta.sweep import __version__
    from metta.sweep.report.text import duration, number_text
    from metta.sweep.ui.library import SEPARATOR
    from metta.sweep.ui.views import MARKS

    made = Environment(
        loader=FileSystemLoader(HERE / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    made.filters.update(duration=duration, number=number_text)
    made.globals.update(MARKS=MARKS, ICON=ICON, VERSION=__version__, SEPARATOR=SEPARATOR, asset=asset)
    return made


@cache
def static_file(name: str) -> bytes | None:
    """A file of the folder `static`, by its exact name; None for anything else."""
    return (HERE / "static" / name).read_bytes() if name in ASSETS else None


ASSETS: Final = {"style.css": "text/css; charset=utf-8", "live.js": "text/javascript; charset=utf-8"}
"""The files that pages load, and their types."""


@cache
def asset(name: str) -> str:
    """The address of such a file; a new release has another one."""
    return f"/static/{name}?{blake2b(static_file(name) or b'', digest_size=4).hexdigest()}"


def csp_hash(text: str) -> str:
    """The source of an inline style, for a policy that allows this one only."""
    return f"'sha256-{b64encode(sha256(text.encode()).digest()).decode()}'"
