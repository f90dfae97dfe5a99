"""What the runs that a trial has started have spent, read back from their journals: an attempt goes on with it."""

from __future__ import annotations

import contextlib
from pathlib import Path

from metta.sweep.errors import MettaSweepError
from metta.sweep.experiments.restore import restore
from metta.sweep.optimizers.params import ParamsCodec
from metta.sweep.store.nested import child_runs
from metta.sweep.store.run import Run, read_info


def spent_below(folder: Path) -> dict[str, tuple[int, float]]:
    """Resource and cost of every sweep that the trial (or the pipeline's run) in `folder` has started, by run id.

    A sweep speaks for all below it; of a pipeline's run the sweeps in it are looked at. What cannot be read has spent
    nothing: whoever opens that run says why.
    """
    found: dict[str, tuple[int, float]] = {}
    for child in child_runs(folder):
        if read_info(child.folder).kind != "sweep":
            found |= spent_below(child.folder)
            continue
        with contextlib.suppress(MettaSweepError), Run.open(child.folder, write=False) as run:
            spent = restore(run.journal, ParamsCodec(None)).ledger.spent
            found[run.id] = spent.resource, spent.cost
    return found
