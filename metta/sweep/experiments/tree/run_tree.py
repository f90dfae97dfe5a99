"""A run with all the runs that it has started: which stage or trial started each, how it stands, and what it has cost.

    print(run_tree("levels"))

Runs are read from their folders; nothing of the user's is run, and they may be driven meanwhile.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from metta.sweep.errors import MettaSweepError, StorageError, UsageError
from metta.sweep.experiments.places import DEFAULT, StoreLike
from metta.sweep.experiments.tree.facts import Facts, Starter, nobody, pipeline_facts, sweep_facts
from metta.sweep.experiments.tree.facts import Spending as Spending
from metta.sweep.experiments.tree.facts import StageStarter as StageStarter
from metta.sweep.experiments.tree.facts import TrialStarter as TrialStarter
from metta.sweep.store.nested import ChildRun, child_runs
from metta.sweep.store.run import Run, RunInfo, RunStatus, read_info
from metta.sweep.store.runs import Store
from metta.sweep.trial import number_to_json

SWEEP = "sweep"
ENDED = (RunStatus.COMPLETED, RunStatus.FAILED, RunStatus.CANCELLED)


@dataclass(frozen=True, slots=True)
class RunTree:
    """A run, and below it those that it has started.

    Attributes:
        id, name, kind, folder: of the run; `kind` is "sweep" or "pipeline".
        status: whether a driver has it, and how it ended; "damaged" where it cannot be read.
        created: when, in UTC (ISO 8601).
        seq: the last entry of its journal that its driver has published.
        starter: the stage or the trial of the run above that has started it; None at the top, and where that cannot be
            read.
        counts: its trials, or the passages of its stages, by state.
        best: the best score of a sweep with one objective; None without one.
        wall_seconds: that drivers had it, by the clock, up to the last entry.
        own: what its own trials and stages have used, without those that have started runs.
        children: the runs that it has started: those of stages, then those of trials by number, each the oldest first.
        problem: why it is damaged, or cannot be read; else empty.
    """

    id: str
    name: str
    kind: str
    status: RunStatus
    folder: Path
    created: str
    seq: int
    starter: Starter | None = None
    counts: Mapping[str, int] = field(default_factory=dict)
    best: float | None = None
    wall_seconds: float = 0.0
    own: Spending = field(default_factory=Spending)
    children: tuple[RunTree, ...] = ()
    problem: str = ""

    @property
    def spent(self) -> Spending:
        """What it has used in all: the sum over its leaves, so nothing counts twice."""
        return sum((child.spent for child in self.children), self.own)

    def walk(self) -> Iterator[RunTree]:
        """This run, then everything below it, parents before children."""
        yield self
        for child in self.children:
            yield from child.walk()

    def to_json(self) -> dict[str, Any]:
        """The tree as JSON values, with what it has spent at each run."""
        return {
            "id": self.id,
            "name": self.name,
            "kind": self.kind,
            "status": self.status.value,
            "folder": str(self.folder),
            "created": self.created,
            "started_by": None if self.starter is None else self.starter.to_json(),
            "counts": dict(self.counts),
            "best": None if self.best is None else number_to_json(self.best),
            "wall_seconds": self.wall_seconds,
            "own": self.own.to_json(),
            "spent": self.spent.to_json(),
            "problem": self.problem or None,
            "children": [child.to_json() for child in self.children],
        }

    def to_dot(self) -> str:
        """The tree in the language of graphviz."""
        from metta.sweep.experiments.tree.drawing import to_dot

        return to_dot(self)

    def to_mermaid(self) -> str:
        """The tree as a Mermaid flow chart."""
        from metta.sweep.experiments.tree.drawing import to_mermaid

        return to_mermaid(self)

    def draw(self, path: str | Path | None = None, format: str | None = None) -> Path:
        """Write the drawing to a file.

        Args:
            path: None for "<id of the run>.<format>" in the working directory.
            format: "svg", "png", "pdf", "dot", "mermaid", "json" or "text"; None for what the path says, else "svg".

        Returns:
            The path of the file.

        Raises:
            UsageError: an unknown format, `dot` is not installed, or the file cannot be written.
        """
        from metta.sweep.experiments.tree.drawing import draw

        return draw(self, path, format)

    def __str__(self) -> str:
        from metta.sweep.experiments.tree.drawing import to_text

        return to_text(self)

    def _repr_html_(self) -> str:
        """The same for a notebook."""
        from metta.sweep.experiments.tree.drawing import to_html

        return to_html(self)


def run_tree(run: str | os.PathLike[str], *, store: StoreLike = DEFAULT, known: RunTree | None = None) -> RunTree:
    """The tree below a run.

    Args:
        run: the run's id, its name (then the newest run of it), or its folder; "levels/3" is the run that trial 3 of
            "levels" has started.
        store: where to look; by default METTA_SWEEP_HOME, else `./.metta-sweep`.
        known: the same tree as it was before: what has ended since is not read again.

    Raises:
        UsageError: there is no such run, or `store` is None.
        StorageError: the store cannot be read. What cannot be read of the runs is told in the tree.
    """
    if store is None:
        raise UsageError("store=None keeps no runs: name the store")
    place = store if isinstance(store, Store) else Store.at(None if store is DEFAULT else store)
    ended = {node.folder: node for node in (() if known is None else known.walk()) if node.status in ENDED}
    return _tree(place.find(os.fspath(run)), None, ended)


def _tree(info: RunInfo, starter: Starter | None, ended: Mapping[Path, RunTree]) -> RunTree:
    before = ended.get(info.folder)
    if before is not None and (info.status, info.seq) == (before.status, before.seq):
        return _with_starter(before, starter)
    problem = info.problem
    children: list[tuple[ChildRun, RunInfo]] = []
    try:
        found = [(child, read_info(child.folder)) for child in child_runs(info.folder)]
        children = sorted(found, key=_order)
    except StorageError as error:
        problem = problem or str(error)
    facts = Facts(info.status, info.counts, info.best, 0.0, Spending(), nobody)
    if not problem:
        try:
            with Run.open(info.folder, write=False) as run:
                read = sweep_facts if info.kind == SWEEP else pipeline_facts
                facts = read(run, [child for child, _ in children])
        except MettaSweepError as error:
            problem = str(error)
        except (LookupError, TypeError, ValueError, AttributeError) as error:
            problem = f"its journal does not say what one of ours says: {type(error).__name__}: {error}"
    return RunTree(
        id=info.id,
        name=info.name,
        kind=info.kind,
        status=RunStatus.DAMAGED if problem else facts.status,
        folder=info.folder,
        created=info.created,
        seq=info.seq,
        starter=starter,
        counts=facts.counts,
        best=facts.best,
        wall_seconds=facts.wall_seconds,
        own=facts.own,
        children=tuple(_tree(below, facts.start(child), ended) for child, below in children),
        problem=problem,
    )


def _order(pair: tuple[ChildRun, RunInfo]) -> tuple[int, str]:
    child, info = pair
    return -1 if child.trial is None else child.trial, info.created or "~"


def _with_starter(tree: RunTree, starter: Starter | None) -> RunTree:
    """A tree that was read before; the run above may know more of who started it by now."""
    return tree if tree.starter == starter else replace(tree, starter=starter)
