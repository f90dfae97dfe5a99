"""Drawing -> a table in HTML: what is shown where no picture can be drawn, and what is read out where none is seen."""

from __future__ import annotations

import html
from collections.abc import Mapping
from typing import Final

from metta.sweep.compiler.drawing.model import Drawing
from metta.sweep.compiler.drawing.svg import Mark
from metta.sweep.compiler.render_labels import printable

MOST_ROWS: Final = 500


def drawing_table(drawing: Drawing, marks: Mapping[str, Mark] | None = None, note: str = "") -> str:
    """The stages in their order as a `<table>`: where each stands, its hooks, what it gives, and its state.

    Args:
        drawing: the whole, not folded.
        marks: how the steps are, by id; None for a table without states.
        note: a sentence above it: why there is no picture.
    """
    titles = {frame.id: frame.title for frame in drawing.frames}
    given = {edge.source: edge.lines for edge in reversed(drawing.edges) if edge.kind == "flow"}
    stages = [node for node in drawing.nodes if node.is_stage or node.folded]
    head = ["stage", "in", "hooks", "gives", *([] if marks is None else ["state"])]
    rows = []
    for node in stages[:MOST_ROWS]:
        cells = [
            node.text,
            titles.get(node.frame, ""),
            ", ".join(badge.text for badge in node.badges),
            ", ".join(line.strip() for line in given.get(node.id, ())),
        ]
        mark = None if marks is None else marks.get(node.id)
        if marks is not None:
            cells.append("" if mark is None else mark.text + (f" ({'; '.join(mark.tip)})" if mark.tip else ""))
        opening = "<tr>" if mark is None else f'<tr class="state-{html.escape(mark.state)}">'
        rows.append(opening + "".join(f"<td>{markup(cell)}</td>" for cell in cells) + "</tr>")
    left_out = len(stages) - len(rows)
    told = " ".join(filter(None, [note, f"{left_out} more stages are left out." if left_out else ""]))
    return (
        (f'<p class="note">{markup(told)}</p>' if told else "")
        + f'<table class="dag"><caption>{markup(drawing.name)}</caption><thead><tr>'
        + "".join(f'<th scope="col">{name}</th>' for name in head)
        + f"</tr></thead><tbody>{''.join(rows)}</tbody></table>"
    )


def markup(text: str) -> str:
    """A text of a drawing as HTML."""
    return html.escape(printable(text))
