"""The layout of a drawing, by the program `dot` of graphviz: the expensive part, done once for each text."""

from __future__ import annotations

import os
import subprocess
from functools import lru_cache
from typing import Final, NamedTuple

SECONDS: Final = 10.0
"""How long `dot` may take; it is told to end then."""
LARGEST: Final = 2 * 2**20
"""Bytes of DOT that are laid out."""
KEPT: Final = 24
"""Layouts that are kept: the runs that somebody looks at, each folded in a few ways."""

NO_DOT: Final = (
    'it is drawn by the program "dot", which is not installed where this runs: install the package graphviz '
    "(apt install graphviz, brew install graphviz)"
)


class Layout(NamedTuple):
    """An SVG as `dot` writes it; where there is none, `problem` is the reason, as a sentence."""

    svg: str
    problem: str = ""


def layout(dot: str) -> Layout:
    """Lay a graph out. The answer for a text is kept in memory, also that it took too long.

    Args:
        dot: the graph in the DOT language.
    """
    if len(dot.encode()) > LARGEST:
        return Layout("", f"it is too large to be drawn ({len(dot) >> 10} KiB of DOT): fold some of it")
    try:
        return _laid_out(dot)
    except FileNotFoundError:
        return Layout("", NO_DOT)  # not kept: it may be installed meanwhile
    except OSError as error:
        return Layout("", f'the program "dot" cannot be started ({error.strerror or type(error).__name__})')


@lru_cache(maxsize=KEPT)
def _laid_out(dot: str) -> Layout:
    # Without file paths in its environment it opens none: what it reads is this text.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GV_")}
    try:
        done = subprocess.run(
            ["dot", "-Tsvg"],
            input=dot.encode(),
            capture_output=True,
            timeout=SECONDS,
            env={**environment, "LC_ALL": "C.UTF-8"},
        )
    except subprocess.TimeoutExpired:
        return Layout("", f"drawing it would take longer than {SECONDS:g} s: fold some of it")
    if done.returncode:
        return Layout("", 'the program "dot" could not draw it')
    return Layout(done.stdout.decode(errors="replace"))
