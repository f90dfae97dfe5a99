"""The parts of a run's page, drawn one by one: the page shows them all, and a live one fetches those that changed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final
from urllib.parse import urlencode

from metta.sweep.compiler.drawing.model import Drawing
from metta.sweep.report.dag import DagView
from metta.sweep.report.figures import MAKERS, Figure
from metta.sweep.report.figures import TITLES as FIGURE_TITLES
from metta.sweep.report.snapshot import SweepSnapshot
from metta.sweep.trial import TrialState
from metta.sweep.ui.head import head_of
from metta.sweep.ui.opened import RunData, Version
from metta.sweep.ui.rendering import part
from metta.sweep.ui.tables import RANK, trial_table
from metta.sweep.ui.views import causes_of, nodes_of, stages_of

FIGURE: Final = "figure-"
FIGURE_WIDTH: Final = 640
"""Pixels for which a figure is drawn: two stand side by side on a usual screen."""

WIDE: Final = 1200
"""Of the timeline, which has the whole width."""

DAG: Final = "dag"
SWEEP_LOOP: Final = "SweepExperiment.pipeline"
SWEEP_STAGES: Final = ("begin", "decide", "suggest", "launch", "wait", "observe", "conclude")
"""The pipeline of every sweep that has none of its own, and its stages."""

BELOW: Final = ("head", "nested", "trial")
"""Parts that tell of nested runs."""

TITLES: Final[Mapping[str, str]] = {
    "head": "Overview",
    "causes": "Failures",
    "stages": "Stages",
    "trials": "Trials",
    "nested": "Nested runs",
    DAG: "Graph",
    **{FIGURE + name: title for name, title in FIGURE_TITLES.items()},
}


@dataclass(frozen=True, slots=True)
class Query:
    """What a reader has asked for: which trials, in which order, and which nested pipelines are open in the graph."""

    sort: str = RANK
    descending: bool = False
    state: str = ""
    page: int = 1
    expand: tuple[str, ...] = ()
    fold: tuple[str, ...] = ()

    @classmethod
    def of(cls, asked: Mapping[str, str], expand: Sequence[str] = (), fold: Sequence[str] = ()) -> Query:
        """From the parameters of an address; what makes no sense counts as not asked for."""
        state = asked.get("state", "")
        page = asked.get("page", "")
        return cls(
            sort=asked.get("sort", RANK)[:500],
            descending=asked.get("order") == "desc",
            state=state if state in {each.value for each in TrialState} else "",
            page=int(page) if page.isascii() and page.isdecimal() and len(page) < 8 else 1,
            expand=tuple(text[:500] for text in expand[:100]),
            fold=tuple(text[:500] for text in fold[:100]),
        )

    def nested(self, frame: str, folds: bool) -> Query:
        """The same with a frame of the graph folded, or opened."""
        expand = tuple(each for each in self.expand if each != frame)
        fold = tuple(each for each in self.fold if each != frame)
        return (
            replace(self, fold=(*fold, frame), expand=expand)
            if folds
            else replace(self, expand=(*expand, frame), fold=fold)
        )

    def text(self, **changes: object) -> str:
        """As the query of an address, with these changes; any change but that of the page leads to the first one."""
        values = {"sort": self.sort, "descending": self.descending, "state": self.state, "page": 1, **changes}
        if not changes:
            values["page"] = self.page
        pairs = [
            ("sort", values["sort"] if values["sort"] != RANK else ""),
            ("order", "desc" if values["descending"] else ""),
            ("state", values["state"]),
            ("page", values["page"] if values["page"] != 1 else ""),
        ]
        told = [(name, str(value)) for name, value in pairs if value]
        frames = [*(("expand", frame) for frame in self.expand), *(("fold", frame) for frame in self.fold)]
        return urlencode([*told, *frames])


@dataclass(frozen=True, slots=True)
class Part:
    """A part of a page: where to fetch it, and its HTML; None for one that is fetched when it comes into sight."""

    name: str
    title: str
    source: str
    body: str | None


def part_names(data: RunData) -> tuple[str, ...]:
    """The parts that the page of this run has, from top to bottom."""
    dag = (DAG,) if data.dag is not None and data.dag.drawing is not None else ()
    if data.sweep is not None:
        figures = tuple(FIGURE + name for name in MAKERS if name != "pareto" or not data.sweep.objectives.is_single)
        return ("head", "causes", *figures, "trials", "nested", *dag)
    if data.pipeline is not None:
        return ("head", "causes", *dag, "stages", "nested")
    return ("head", "nested") if data.tree is not None else ("head",)


def is_later(name: str) -> bool:
    """Whether a part is fetched when it comes into sight: drawings take their time."""
    return name == DAG or name.startswith(FIGURE)


def changed_parts(known: Version | None, now: Version, names: tuple[str, ...]) -> list[str]:
    """The parts among `names` that may look different."""
    if known is None or (known.journal, known.status) != (now.journal, now.status):
        return list(names)
    return [name for name in names if name in BELOW]


def draw_part(name: str, data: RunData, address: str, query: Query) -> str:
    """The HTML of a part.

    Args:
        name: one of `part_names(data)`.
        address: of the run, see `Library`.
    """
    at = f"/runs/{address}"
    if name == "head":
        return part("head", head_of(data), at, part_names(data))
    if name == "causes":
        return part("causes", causes_of(data), at)
    if name == "nested":
        return part("nested", *nodes_of(data.tree, address)) if data.tree is not None else ""
    if name == DAG:
        return draw_dag(data.dag, at, query) if data.dag is not None else ""
    if data.sweep is None:
        return part("stages", stages_of(data.pipeline)) if data.pipeline is not None else ""
    if name.startswith(FIGURE):
        return draw_figure(MAKERS[name.removeprefix(FIGURE)](data.sweep))
    return _trials(data.sweep, at, query)


def draw_figure(figure: Figure) -> str:
    """A figure with its title. The drawing is ours, and has escaped what it shows."""
    from markupsafe import Markup

    width = WIDE if figure.name == "timeline" else FIGURE_WIDTH
    return part("figure", figure.title, Markup(figure.to_svg(width=width)))


def _trials(sweep: SweepSnapshot, at: str, query: Query) -> str:
    table = trial_table(sweep, sort=query.sort, descending=query.descending, state=query.state, page=query.page)

    def link(**changes: object) -> str:
        return f"{at}?{query.text(**changes)}#trials"

    return part("trials", table, at, link)


def draw_dag(view: DagView, at: str = "", query: Query | None = None) -> str:
    """The graph of a run with its states; "" where the run has kept none.

    Args:
        at: the address of the run's page, whose links open and fold what is nested; "" for no links.
        query: what the reader has asked for.
    """
    from markupsafe import Markup

    if view.drawing is None:
        return ""
    asked = query or Query()

    def link(frame: str, folds: bool) -> str:
        return f"{at}?{asked.nested(frame, folds).text()}#{DAG}"

    folded = view.folded(asked.expand) | set(asked.fold)
    # The drawing is ours, and has escaped what it shows.
    drawn = Markup(view.to_html(collapsed=folded, link=link if at else None))
    if _is_sweep_loop(view.drawing):
        return part("sweep_loop", view.title, drawn, bool(asked.expand or asked.fold))
    return part("figure", view.title, drawn)


def _is_sweep_loop(drawing: Drawing) -> bool:
    """Whether it is `SweepExperiment.pipeline` as it comes: no other stages, no hooks."""
    return (
        drawing.name == SWEEP_LOOP
        and drawing.stages == SWEEP_STAGES
        and not drawing.every_stage
        and not any(node.badges for node in drawing.nodes)
        and not any(frame.badges or frame.every_stage for frame in drawing.frames)
    )
