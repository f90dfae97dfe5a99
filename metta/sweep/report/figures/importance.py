"""How much each parameter matters for a good result, as bars."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Final

from metta.sweep.report.drawing.legends import Entry
from metta.sweep.report.drawing.panels import Box
from metta.sweep.report.drawing.styles import COMPLETED
from metta.sweep.report.drawing.svg import Markup, element, escaped, group, joined, number, text
from metta.sweep.report.drawing.words import brief, fitted, width_of
from metta.sweep.report.figures.base import Figure
from metta.sweep.report.figures.parameters import varied
from metta.sweep.report.importance import LEAST_TRIALS, shares
from metta.sweep.report.ranking import ranking
from metta.sweep.report.snapshot import SweepSnapshot

MOST: Final = 20
ROW: Final = 26.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ParameterImportance(Figure):
    """See `parameter_importance`."""

    name: ClassVar[str] = "parameter_importance"
    title: ClassVar[str] = "Parameter importance"

    shares: tuple[tuple[str, float], ...]
    trials: int

    def _data(self) -> dict[str, Any]:
        return {"trials": self.trials, "shares": dict(self.shares), "left_out": max(0, len(self.shares) - MOST)}

    def _legend(self) -> Sequence[Entry]:
        return []

    def _heights(self) -> tuple[float, float]:
        rows = min(MOST, len(self.shares))
        return ROW * rows + 8, 1.6 * ROW * rows + 8

    def _draw(self, box: Box) -> Markup:
        shown = self.shares[:MOST]
        margin = min(box.width * 0.4, max(width_of(path) for path, _ in shown) + 20)
        inner = box.inside(left=margin, right=56, top=4, bottom=4)
        height = inner.height / len(shown)
        widest = max(share for _, share in shown) or 1.0
        parts = []
        for row, (path, share) in enumerate(shown):
            middle = inner.top + (row + 0.5) * height
            width = inner.width * share / widest
            parts.append(
                group(
                    element("title", escaped(f"{path}: {share:.1%}")),
                    text(margin - 8, middle + 4, fitted(path, margin - 12), text_anchor="end"),
                    element(
                        "rect",
                        x=inner.left,
                        y=middle - height * 0.32,
                        width=max(1.0, width),
                        height=height * 0.64,
                        fill=COMPLETED.color,
                        class_="bar",
                    ),
                    text(inner.left + max(1.0, width) + 6, middle + 4, f"{share:.0%}"),
                )
            )
        bottom = inner.top + height * len(shown)
        line = f"M{number(inner.left)},{number(inner.top)}V{number(bottom)}"
        return joined(*parts, element("path", d=line, stroke="currentColor", stroke_opacity="0.6"))


def parameter_importance(snapshot: SweepSnapshot) -> ParameterImportance:
    """How much each parameter alone explains of the ranks of the trials, the largest first (`report.importance`).

    Constants are left out. With fewer than 8 trials that have a score there is nothing to tell.
    """
    order = ranking(snapshot.trials, snapshot.objectives)
    searched = set(varied(snapshot.trials, snapshot.space))
    found = shares(order) if len(order) >= LEAST_TRIALS else {}
    kept = tuple((path, share) for path, share in found.items() if path in searched)
    missing = ""
    if len(order) < LEAST_TRIALS:
        missing = f"Importance needs at least {LEAST_TRIALS} trials with a score; there are {len(order)}."
    elif not kept:
        missing = "All parameters are constant: none can be more important than another."
    elif len(kept) == 1:
        missing = f"{brief(kept[0][0])} is the only parameter that is searched: there is none to compare it with."
    notes = ["Of the variance of the trials' ranks that parameters explain alone, the share of each."]
    if len(kept) > MOST:
        notes.append(f"The {MOST} most important of {len(kept)} parameters are drawn.")
    return ParameterImportance(
        alt=missing or _alt(kept, len(order)),
        notes=() if missing else tuple(notes),
        missing=missing,
        shares=kept,
        trials=len(order),
    )


def _alt(kept: Sequence[tuple[str, float]], trials: int) -> str:
    if not kept[0][1]:
        return f"Among {trials} trials no parameter alone explains more of the ranks than chance does."
    most = ", ".join(f"{brief(path)} ({share:.0%})" for path, share in kept[:3] if share)
    return f"Among {trials} trials these parameters matter most: {most}."
