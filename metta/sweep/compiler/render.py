"""Drawings of a graph: text formats by ourselves, pictures by graphviz."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from html import escape
from pathlib import Path

from metta.sweep.compiler.graph import Graph
from metta.sweep.compiler.render_dot import to_dot as to_dot
from metta.sweep.compiler.render_json import to_json as to_json
from metta.sweep.compiler.render_mermaid import to_mermaid as to_mermaid
from metta.sweep.contracts.diagnostics import nearest
from metta.sweep.errors import InternalError, UsageError

TEXT_FORMATS: Mapping[str, Callable[[Graph], str]] = {"dot": to_dot, "mermaid": to_mermaid, "json": to_json}
PICTURE_FORMATS = ("svg", "png", "pdf")
PAGE_FORMAT = "html"
FORMATS = (*PICTURE_FORMATS, PAGE_FORMAT, *TEXT_FORMATS)
_SUFFIXES = {"mmd": "mermaid", "gv": "dot", "htm": PAGE_FORMAT, "": "svg"}


def render(graph: Graph, format: str = "svg") -> bytes:
    """The drawing as bytes; text formats in UTF-8.

    Args:
        format: "svg", "png" or "pdf" (by the `dot` program of graphviz); "html" (a page with a picture, or with a
            table where there is no `dot`); "dot", "mermaid" or "json".

    Raises:
        UsageError: an unknown format, or `dot` is not installed.
    """
    format = check_format(format)
    if format in TEXT_FORMATS:
        # A half surrogate pair in a name becomes its escape, which JSON reads back.
        return TEXT_FORMATS[format](graph).encode(errors="backslashreplace")
    if format == PAGE_FORMAT:
        return to_page(graph).encode(errors="xmlcharrefreplace")
    return picture(to_dot(graph), format)


def to_page(graph: Graph) -> str:
    """The drawing as a page of its own: what a notebook shows."""
    from metta.sweep.compiler.drawing.notebook import graph_bundle

    return (
        f'<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n<title>{escape(graph.name)}</title>\n'
        f"</head>\n<body>\n{graph_bundle(graph)['text/html']}\n</body>\n</html>\n"
    )


def check_format(format: str | None, path: str | Path | None = None) -> str:
    """The format itself; where it is None what the path's suffix says (".mmd" is mermaid), "svg" without one.

    Raises:
        UsageError: an unknown format; the message names the nearest.
    """
    if format is None:
        suffix = "" if path is None else Path(path).suffix.removeprefix(".").lower()
        format = _SUFFIXES.get(suffix, suffix)
    if format in FORMATS:
        return format
    near = nearest(format, FORMATS)
    hint = f' (did you mean "{near}"?)' if near else ""
    raise UsageError(f'unknown format "{format}"{hint}: choose {", ".join(FORMATS[:-1])} or {FORMATS[-1]}')


def draw(graph: Graph, path: str | Path | None = None, format: str | None = None) -> Path:
    """Write the drawing to a file.

    Args:
        path: None for "<name of the pipeline>.<format>" in the working directory.
        format: see `render`; None for what the path says.

    Returns:
        The path of the file.

    Raises:
        UsageError: an unknown format, `dot` is not installed, or the file cannot be written.
    """
    format = check_format(format, path)
    return write(render(graph, format), default_file_name(graph.name, format) if path is None else path)


def write(drawing: bytes, path: str | Path) -> Path:
    """Write a drawing to a file.

    Raises:
        UsageError: the file cannot be written.
    """
    target = Path(path)
    try:
        target.write_bytes(drawing)
    except OSError as error:
        raise UsageError(f"cannot write {target}: {error.strerror or error}") from None
    return target


def default_file_name(name: str, format: str) -> str:
    """A file name that every system accepts, after the pipeline's name."""
    stem = re.sub(r"[^\w.-]+", "_", name).strip("._") or "pipeline"
    return f"{stem[:100]}.{'mmd' if format == 'mermaid' else format}"


def picture(dot: str, format: str) -> bytes:
    """A picture of a graph in the DOT language.

    Args:
        dot: the graph.
        format: one of `PICTURE_FORMATS`.

    Raises:
        UsageError: `dot` is not installed.
        InternalError: `dot` does not take the graph.
    """
    import graphviz

    try:
        # The locale of a bare container must not decide how a name is read.
        drawing: bytes = graphviz.pipe("dot", format, dot.encode(), quiet=True)
    except graphviz.ExecutableNotFound:
        raise UsageError(
            f'{format} is drawn by the program "dot", which is not installed: install the package graphviz with the '
            f"system's package manager (apt install graphviz, brew install graphviz); "
            f"the formats {', '.join(TEXT_FORMATS)} need no program"
        ) from None
    except graphviz.CalledProcessError as error:
        said = (error.stderr or b"").decode(errors="replace").strip()
        raise InternalError(f"dot could not draw the pipeline: {said or error}") from error
    return drawing
