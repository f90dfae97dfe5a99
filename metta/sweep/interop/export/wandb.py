"""Weights & Biases: a run per trial, in a group of the sweep's name, with the keys of Metta's sweeps in its summary."""

from __future__ import annotations

import os
import re
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Any, Final

from metta.sweep.errors import UsageError
from metta.sweep.interop.facts import SweepFacts, TrialFacts, label
from metta.sweep.interop.libraries import errors_of, library
from metta.sweep.interop.sink import Marks, Sink, write
from metta.sweep.trial import Report

if TYPE_CHECKING:
    from metta.sweep.interop.source import ExportedSweep

PROJECT: Final = "metta-sweep"

MODES: Final = ("online", "offline", "disabled")


class WandbSink(Sink):
    """Writes to W&B's service, or where it is offline to `<folder>/wandb`, from where `wandb sync` uploads.

    Args:
        sweep: the sweep.
        project: W&B's project; None for WANDB_PROJECT, else "metta-sweep".
        entity: the user or team; None for W&B's default.
        mode: "online", "offline" or "disabled"; None for WANDB_MODE, else "online".
        folder: where W&B keeps its files.

    Raises:
        MissingExtraError: wandb is not installed.
        UsageError: no such mode.
    """

    def __init__(
        self,
        sweep: SweepFacts,
        *,
        project: str | None = None,
        entity: str | None = None,
        mode: str | None = None,
        folder: str | os.PathLike[str] = ".",
    ) -> None:
        wandb = library("wandb", "writing to W&B", "wandb")
        if mode is not None and mode not in MODES:
            raise UsageError(f"mode={mode!r} of W&B: expected one of {', '.join(map(repr, MODES))}")
        self._wandb = wandb
        self._sweep = sweep
        self._project = project or os.environ.get("WANDB_PROJECT") or PROJECT
        self._entity = entity
        self._mode = mode
        self.folder: Path = Path(folder).absolute()
        (self.folder / "wandb").mkdir(parents=True, exist_ok=True)
        key = _identifier(sweep.key)
        self._file = Marks(self.folder / "wandb" / f"metta-sweep-{key}.json", sweep.key)
        self._runs: dict[int, Any] = {}
        super().__init__(self._file.known)

    @property
    def is_offline(self) -> bool:
        """Whether nothing is sent."""
        return (self._mode or os.environ.get("WANDB_MODE", "online")) != "online"

    def flush(self) -> None:
        self._file.save(self.marks)  # W&B sends what it has by itself

    def close(self, status: str) -> None:
        for number in list(self._runs):
            self._runs.pop(number).finish()
        self._file.save(self.marks)

    def _start(self, trial: TrialFacts) -> None:
        settings = self._wandb.Settings(silent=True, console="off", disable_git=True, save_code=False)
        run = self._runs[trial.number] = self._wandb.init(
            project=self._project,
            entity=self._entity,
            group=self._sweep.name,
            name=trial.label,
            id=_identifier(f"{self._sweep.key}-{label(trial.number)}"),
            resume=None if self.is_offline else "allow",
            config=dict(trial.params),
            mode=self._mode,
            dir=str(self.folder),
            reinit="create_new",
            settings=settings,
        )
        run.summary.update({"sweep/suggestion": dict(trial.params), "sweep/trial": trial.number})

    def _report(self, number: int, report: Report, at: float) -> None:
        self._runs[number].log(dict(report.metrics), step=report.step)

    def _end(self, trial: TrialFacts) -> None:
        run = self._runs.pop(trial.number)
        run.summary.update({**trial.final(), **trial.notes()})
        run.finish(exit_code=int(trial.state == "failed"))


def export_wandb(
    sweep: ExportedSweep,
    *,
    project: str | None = None,
    entity: str | None = None,
    mode: str | None = None,
    path: str | os.PathLike[str] = ".",
) -> str:
    """Write a sweep to W&B; see `export_run`. It takes a good part of a second per trial.

    Args:
        sweep: what to write.
        project, entity, mode: see `WandbSink`.
        path: the folder where W&B keeps its files, in a folder `wandb`.
    """
    with errors_of("W&B"):
        sink = WandbSink(sweep.facts, project=project, entity=entity, mode=mode, folder=path)
        write(sweep.snapshot, sink, sweep.began)
    count = len(sweep.snapshot.trials)
    if sink.is_offline:
        files = sink.folder / "wandb"
        return f"{count} trials are in {files}; to upload them: wandb sync {quote(str(files))}{os.sep}offline-run-*"
    return f"{count} trials are in W&B's project {project or PROJECT!r}, group {sweep.snapshot.name!r}"


def _identifier(text: str) -> str:
    """A text as W&B takes it for an id: some characters are not allowed in it."""
    return re.sub(r"[^A-Za-z0-9_.-]", "-", text)[:120]
