"""What `metta-sweep run` and `resume` are asked for, and what they say while a run goes on."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import click

from metta.sweep.cli.following import Follower, StageRegion, StageText, StageView
from metta.sweep.cli.origin import Origin, write_origin
from metta.sweep.report.region import can_redraw
from metta.sweep.store.run import Run, RunInfo
from metta.sweep.store.runs import Store


@dataclass(frozen=True, slots=True)
class Wish:
    """What the command line asks of a run.

    Attributes:
        store: where it is kept; None: nowhere.
        origin: what a later `resume` needs; None where nothing new is to be kept.
        budget: of a sweep.
        resume: the id of the run to go on with, None for a new one.
        allow_changed, retry_failed: of `resume`.
        fail_fast: a sweep stops at the first trial that fails.
        as_json: the outcome is one JSON document on standard output.
        began: is told which run it is as soon as that is there.
    """

    store: Store | None
    origin: Origin | None
    budget: int | None = None
    resume: str | None = None
    allow_changed: bool = False
    retry_failed: bool = False
    fail_fast: bool = False
    as_json: bool = False
    began: Callable[[RunInfo], None] | None = None


class Told:
    """What is said while a run goes on, on standard error, and what is known of it."""

    def __init__(self, wish: Wish, stages: int | None = None) -> None:
        self._wish = wish
        self._stages = stages
        self._follower: Follower | None = None
        self.run: RunInfo | None = None

    def began(self, run: RunInfo) -> None:
        """The run is there: keep what it was started from, and say where it is."""
        if self.run is not None:
            return
        self.run = run
        if self._wish.resume is None:
            self.keep()
        if self._wish.began is not None:
            self._wish.began(run)
        click.echo(f"run {run.id} in {run.folder}", err=True)

    def keep(self) -> None:
        """Keep what the run was started from; of a resumed run, when it goes on with it, which it may refuse."""
        if self._wish.origin is not None and self.run is not None:
            write_origin(self._wish.origin, self.run.folder)

    def follow(self, run: Run, after: int) -> None:
        """Show how the stages of a pipeline go.

        Args:
            run: of it.
            after: the number of the last event that is old news.
        """
        view: StageView = StageText(partial(click.echo, err=True))
        if can_redraw(sys.stderr):
            view = StageRegion(sys.stderr, run.folder, run.name, self._stages)
        self._follower = Follower(run.folder, after, view, self.keep)

    def stop(self) -> None:
        """Nothing more is said."""
        if self._follower is not None:
            self._follower.stop()

    @property
    def resume_command(self) -> str | None:
        """How to go on; None where nothing is kept."""
        if self.run is None:
            return None
        store = self._wish.store
        is_default = store is None or store.folder == Store.at().folder
        where = "" if is_default or store is None else f" --store {shlex.quote(str(store.folder))}"
        return f"metta-sweep resume {self.run.id}{where}"


class ToldStore(Store):
    """A store that says which run a driver has opened in it."""

    def __init__(self, store: Store, told: Told) -> None:
        super().__init__(store.folder)
        self._told = told

    def create(self, name: str, kind: str, details: Mapping[str, Any] | None = None) -> Run:
        return self._opened(super().create(name, kind, details))

    def open(self, text: str, *, write: bool = False) -> Run:
        run = super().open(text, write=write)
        return self._opened(run) if write else run

    def _opened(self, run: Run) -> Run:
        try:
            self._told.began(run.info)
            self._told.follow(run, run.journal.last_seq)
        except BaseException:
            run.close()
            raise
        return run
