"""The graph of a run with the state of each step, as data and as a picture; the user's code is not needed for it.

view = dag_view(run)
view.to_svg()           # for a page
view.to_json()          # for a program
view                    # in a notebook
"""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from metta.sweep.compiler.drawing.file import FILE, drawing_to_json, read_drawing
from metta.sweep.compiler.drawing.model import Drawing, DrawnFrame, DrawnNode, fold, folded_by_default
from metta.sweep.compiler.drawing.notebook import alt_of
from metta.sweep.compiler.drawing.svg import Link, Mark, NoPicture, drawing_svg
from metta.sweep.compiler.drawing.table import drawing_table, markup
from metta.sweep.errors import StorageError
from metta.sweep.report.dag_marks import mark_of, mark_of_all, word_of
from metta.sweep.report.dag_states import OVER, TELLING, NodeState, NodeStatus, node_statuses
from metta.sweep.report.drawing.words import brief
from metta.sweep.runtime.durable import KIND
from metta.sweep.runtime.history import History
from metta.sweep.store.run import Run, RunStatus, read_info

SCHEMA: Final = "metta-sweep/dag"
VERSION: Final = 1


@dataclass(frozen=True, slots=True)
class DagView:
    """The graph of a run at one moment.

    Attributes:
        run_id, name: of the run.
        status: whether it runs, and how it ended.
        drawing: what there is to see; None where the run has kept none.
        problem: why there is no drawing, as a sentence; "" where there is one.
        nodes: how its steps are, by id: stages, conditions, and frames that are recorded as a whole. Empty for a run
            that passes no stages of its own, a sweep: its graph is drawn without states.
        failure: why the run has failed, in one line; "" unless it did.
    """

    run_id: str
    name: str
    status: RunStatus
    drawing: Drawing | None
    problem: str = ""
    nodes: Mapping[str, NodeStatus] = field(default_factory=dict)
    failure: str = ""

    @property
    def title(self) -> str:
        """What stands above it."""
        return f"Graph of {brief(self.name)}"

    @property
    def alt(self) -> str:
        """What one sees, in one or two sentences."""
        if self.drawing is None:
            seen = f"{self.problem[:1].upper()}{self.problem[1:]}."
        else:
            *others, output = self.drawing.nodes
            nodes = (*others, replace(output, text=brief(output.text)))
            seen = alt_of(replace(self.drawing, name=brief(self.drawing.name), nodes=nodes))
        if not self.nodes:
            return seen
        counts = Counter(status.state for status in self._stages().values())
        told = ", ".join(f"{counts[state]} {word_of(state, self.status)}" for state in TELLING if counts[state])
        failed = [id for id, status in self._stages().items() if status.state is NodeState.FAILED]
        return f"{seen} The run is {self.status.value}: {told}." + (
            f" Failed: {', '.join(map(brief, failed[:5]))}." if failed else ""
        )

    def folded(self, expanded: Collection[str] = ()) -> frozenset[str]:
        """The frames that are drawn as one box by default, without those that somebody wants to see."""
        if self.drawing is None:
            return frozenset()
        return folded_by_default(self.drawing, live=bool(self.nodes)).difference(expanded)

    def to_svg(self, *, collapsed: Collection[str] | None = None, link: Link | None = None) -> str:
        """The graph as an `<svg>` element that stands in a page under any content security policy.

        Args:
            collapsed: the frames (nested pipelines, loops, ...) that are drawn as one box, by id; None for `folded()`.
            link: makes the titles of frames, and the boxes of folded ones, links: the address for a frame's id, and
                whether it is drawn as one box there.

        Raises:
            NoPicture: the run has kept no drawing, or `dot` is missing or takes too long; `to_html` shows a table then.
        """
        if self.drawing is None:
            raise NoPicture(self.problem)
        seen = fold(self.drawing, self.folded() if collapsed is None else collapsed)
        marks = self._marks(seen) if self.nodes else None
        return drawing_svg(seen, marks, title=self.title, alt=self.alt, link=link)

    def to_html(self, *, collapsed: Collection[str] | None = None, link: Link | None = None) -> str:
        """The picture, or a table with a sentence where there is none; then what has failed. Arguments: `to_svg`."""
        try:
            seen = self.to_svg(collapsed=collapsed, link=link)
        except NoPicture as error:
            seen = self.to_table(f"There is no picture: {error}." if self.drawing is not None else self.alt)
        return f'<div class="dag-view">{seen}{self._errors()}</div>'

    def to_table(self, note: str = "") -> str:
        """The stages as a `<table>`.

        Args:
            note: a sentence above it.
        """
        drawing = self.drawing
        if drawing is None:
            drawing = Drawing(self.name, tuple(DrawnNode(id, "stage", id) for id in self._stages()))
        return drawing_table(drawing, self._marks(drawing) if self.nodes else None, note)

    def to_json(self) -> dict[str, Any]:
        """The graph and the states as JSON values; `drawing` is that of `compiler/drawing/file.py`, or None."""
        return {
            "schema": SCHEMA,
            "version": VERSION,
            "title": self.title,
            "alt": self.alt,
            "run_id": self.run_id,
            "status": self.status.value,
            "problem": self.problem,
            "failure": self.failure,
            "drawing": None if self.drawing is None else drawing_to_json(self.drawing),
            "nodes": {id: status.to_json() for id, status in self.nodes.items()},
        }

    def _repr_html_(self) -> str:
        return self.to_html()

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, str]:
        return {"text/plain": f"{self.title}: {self.status.value}", "text/html": self.to_html()}

    def _stages(self) -> Mapping[str, NodeStatus]:
        return {id: status for id, status in self.nodes.items() if status.answers is None}

    def _frames(self) -> tuple[DrawnFrame, ...]:
        return () if self.drawing is None else self.drawing.frames

    def _errors(self) -> str:
        """What is wrong and where, in full: in a box there is room for a few words of it."""
        stages = self._stages().items()
        told = [(id, status.last_error) for id, status in stages if status.last_error and status.state not in OVER]
        if self.failure and self.failure not in dict(told).values():
            told.insert(0, ("the run", self.failure))
        rows = [f"<li><strong>{markup(where)}</strong>: {markup(error)}</li>" for where, error in told]
        return f'<ul class="errors">{"".join(rows[:50])}</ul>' if rows else ""

    def _marks(self, drawing: Drawing) -> dict[str, Mark]:
        marks = {id: mark_of(status, self.status) for id, status in self.nodes.items()}
        recorded = {frame.id for frame in self._frames() if frame.is_recorded}
        for node in drawing.nodes:
            if node.folded:
                inside = [self.nodes[id] for id in node.folded if id in self.nodes and id not in recorded]
                # A frame may have the id of the condition in it, which says nothing of the whole.
                marks.pop(node.id, None)
                own = self.nodes.get(node.id) if node.id in recorded else None
                if inside or own is not None:  # what is inside of an experiment says nothing here
                    marks[node.id] = mark_of_all(inside, own, self.status)
        return marks


def dag_view(run: Run) -> DagView:
    """The graph of a run as it is now; for one that is looked at again and again see `DagReader`.

    Raises:
        DamagedError: an event of its journal cannot be read.
    """
    return DagReader(run).read()


class DagReader:
    """Reads the graph of one run again and again: each time only what is new in its journal.

    Args:
        run: open for reading; it may be driven meanwhile.
        now: the time in seconds since 1970.
    """

    def __init__(self, run: Run, now: Callable[[], float] = time.time) -> None:
        self._run = run
        self._now = now
        self._history = History()
        self._seq = 0
        self._drawing: Drawing | None = None
        self._problem = ""
        self._stamp: tuple[int, int] | None = None

    def read(self) -> DagView:
        """The graph as it is now.

        Raises:
            DamagedError: an event of the journal cannot be read.
        """
        run, history = self._run, self._history
        for event in run.journal.events(self._seq) if run.kind == KIND else ():
            history.apply(event)
            self._seq = event.seq
        status = history.status
        if run.kind != KIND or status is RunStatus.RUNNING:
            found = read_info(run.folder).status
            # The journal is the truth; whether somebody drives the run it cannot know.
            status = found if run.kind != KIND or found is RunStatus.RUNNING else RunStatus.INTERRUPTED
        stamp = _stamp(run.folder / FILE)
        if stamp != self._stamp:  # who resumes a run may have changed its pipeline
            self._stamp = stamp
            try:
                self._drawing, self._problem = read_drawing(run.folder), ""
            except StorageError as error:
                self._drawing, self._problem = None, str(error)
        nodes = node_statuses(history, status, self._drawing, self._now()) if run.kind == KIND else {}
        failure = history.message if status is RunStatus.FAILED else ""
        return DagView(run.id, run.name, status, self._drawing, self._problem, nodes, failure)


def _stamp(path: Path) -> tuple[int, int]:
    """What changes with a file; (0, 0) where there is none."""
    try:
        found = os.lstat(path)
    except OSError:
        return 0, 0
    return found.st_mtime_ns, found.st_ino
