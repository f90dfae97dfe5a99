"""How the states of trials and attempts look everywhere: a colour and a shape of its own for each.

All colours have a contrast of at least 4.5 to white and 3 to the usual dark backgrounds, and every state has a shape,
so that neither paper nor eyes need colours. The hues are after Okabe and Ito, "Color universal design" (2008).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

Shape = Literal["dot", "ring", "triangle", "square", "cross", "plus", "diamond", "bar"]


@dataclass(frozen=True, slots=True)
class Style:
    """The look of one state; `name` is its class too, so that a page can set other colours."""

    name: str
    color: str
    shape: Shape


COMPLETED: Final = Style("completed", "#0072b2", "dot")
PRUNED: Final = Style("pruned", "#707070", "triangle")
PAUSED: Final = Style("paused", "#8a56a8", "square")
RUNNING: Final = Style("running", "#007a57", "ring")
FAILED: Final = Style("failed", "#c2410c", "cross")
PREEMPTED: Final = Style("preempted", "#8f6400", "diamond")
LOST: Final = Style("lost", "#ad2d78", "plus")
CANCELLED: Final = Style("cancelled", "#54657a", "bar")

STYLES: Final = (COMPLETED, PRUNED, PAUSED, RUNNING, FAILED, PREEMPTED, LOST, CANCELLED)
"""In the order of legends, and of drawing: later ones lie on top."""

_BY_NAME: Final = {style.name: style for style in STYLES}

RANKS: Final = ("#0072b2", "#5b8fb0", "#8a97a0")
"""From the best to the worst of a ranking, for lines that are thinner and fainter in the same order."""

EMPHASIS: Final = "#c2410c"
"""What is the best."""


def style_of(state: str) -> Style:
    """The style of a state of trials or attempts; one that waits looks like one that runs."""
    return _BY_NAME.get(state, RUNNING)
