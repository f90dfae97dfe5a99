"""The sweep that is to be exported, however it is named."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from datetime import datetime
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING

from metta.sweep.errors import UsageError
from metta.sweep.interop.facts import SweepFacts
from metta.sweep.report.snapshot import SweepSnapshot
from metta.sweep.store.naming import slug

if TYPE_CHECKING:
    from metta.sweep.experiments.results import SweepResult
    from metta.sweep.store.run import Run, RunInfo


@dataclass(frozen=True, slots=True)
class ExportedSweep:
    """A sweep, and when it began in seconds since the epoch."""

    snapshot: SweepSnapshot
    began: float

    @property
    def facts(self) -> SweepFacts:
        """The sweep as other tools are told of it.

        Without a store its key is its name with a digest of its trials: another run of it is another sweep elsewhere.
        """
        snapshot = self.snapshot
        key = snapshot.run_id or f"{slug(snapshot.name)}-{_digest(snapshot)}"
        return SweepFacts(snapshot.name, key, snapshot.objectives, self.began)


def exported(source: SweepResult | Run | SweepSnapshot | str | os.PathLike[str]) -> ExportedSweep:
    """The sweep of a result (waits for its end), of an open run, or of what names a run as on the command line.

    Raises:
        UsageError: there is no such run, or it is no sweep.
        DamagedError: the run is not what was written.
    """
    from metta.sweep.experiments.results import SweepResult
    from metta.sweep.experiments.sweep_reading import SweepReader, snapshot_in
    from metta.sweep.store.run import Run, read_info
    from metta.sweep.store.runs import Store

    if isinstance(source, SweepSnapshot):
        return ExportedSweep(source, time.time() - source.seconds)
    if isinstance(source, SweepResult):
        snapshot, folder = source.snapshot(), source.folder
        return ExportedSweep(
            snapshot, time.time() - snapshot.seconds if folder is None else _created(read_info(folder))
        )
    if isinstance(source, Run):
        _check_kind(source.info)
        return ExportedSweep(SweepReader(source).read(), _created(source.info))
    if isinstance(source, str | os.PathLike):
        info = Store.at().find(os.fspath(source))
        _check_kind(info)
        return ExportedSweep(snapshot_in(Path(info.folder)), _created(info))
    raise UsageError(
        f"export_run({source!r:.100}): expected the result of a sweep, or the id, name or folder of its run"
    )


def _digest(snapshot: SweepSnapshot) -> str:
    told = repr([(dict(trial.params), trial.state.value, trial.score, trial.cost) for trial in snapshot.trials])
    return blake2b(told.encode("utf-8", "backslashreplace"), digest_size=4).hexdigest()


def _check_kind(info: RunInfo) -> None:
    if info.kind != "sweep":
        raise UsageError(f"the run {info.id!r} is a {info.kind}, not a sweep: only sweeps have trials to export")


def _created(info: RunInfo) -> float:
    return datetime.fromisoformat(info.created).timestamp()
