"""A sweep read from its run, again and again while it is driven: what is new is read, and nothing twice."""

from __future__ import annotations

import time
from functools import partial
from pathlib import Path

from metta.sweep.experiments.ledger_json import ReadReports
from metta.sweep.experiments.records import RESUMED
from metta.sweep.experiments.restore import Restoration, restore
from metta.sweep.experiments.spans import KINDS, Spans
from metta.sweep.experiments.sweep_facts import facts_after, read_from, recorded_space
from metta.sweep.experiments.sweep_journal import FEW_REPORTS, reports_reader
from metta.sweep.optimizers.params import ParamsCodec
from metta.sweep.report.snapshot import SweepSnapshot
from metta.sweep.store.entries import Event
from metta.sweep.store.run import Run, RunStatus, read_info
from metta.sweep.trial import Report, Trial


def snapshot_in(folder: Path) -> SweepSnapshot:
    """The sweep whose run is in a folder. Its reports are read when they are asked for, as long as the folder is there.

    Raises:
        DamagedError: the run is damaged, or no sweep.
    """
    with Run.open(folder, write=False) as run:
        return SweepReader(run, reports_reader(run.journal.path)).read()


class SweepReader:
    """Reads a sweep for who looks on.

    The first `read` costs what a resumption costs, each later one what is new. From one thread at a time.

    Args:
        run: open, for reading.
        read: reads the reports of a trial, which is done when they are asked for; None to do so from the open run.
    """

    def __init__(self, run: Run, read: ReadReports | None = None) -> None:
        self._run = run
        self._reports = read or self._read_reports
        self._restored: Restoration | None = None
        self._seq = 0
        self._trials: list[Trial] = []
        self._spans = Spans()

    def read(self) -> SweepSnapshot:
        """The sweep as it is now.

        Raises:
            DamagedError: the journal is not what was written, or tells of no sweep.
        """
        with read_from(self._run.journal.path):
            return self._read()

    def _read(self) -> SweepSnapshot:
        restored = self._restored
        if restored is None:
            restored = self._restored = self._begin()
        else:
            for entry in self._run.journal.entries(self._seq):
                restored.replay.feed(entry)
                if isinstance(entry, Event):
                    self._spans.feed(entry)
                    if entry.kind == RESUMED:
                        restored.facts = facts_after(restored.facts, entry.seq, entry.data)
                        recorded_space(restored.facts.plan, self._run.journal.path)
                self._seq = entry.seq
        self._note_changes(restored)
        ledger = restored.ledger
        status = read_info(self._run.folder).status
        seconds = ledger.now
        if status is RunStatus.RUNNING and ledger.over is None:
            seconds = max(seconds, time.time() - restored.replay.base)
        space = restored.facts.plan["space"] or {}
        return SweepSnapshot(
            run_id=self._run.id,
            name=str(restored.facts.name),
            status=status.value,
            objectives=ledger.objectives,
            trials=tuple(self._trials),
            seconds=seconds,
            space=space.get("parameters", {}),
            spans=self._spans.now(status, ledger.now),
            ended=ledger.over,
            budget_trials=ledger.budget.trials,
            version=self._seq,
        )

    def _begin(self) -> Restoration:
        restored = restore(self._run.journal, ParamsCodec(None), read=self._reports)
        recorded_space(restored.facts.plan, self._run.journal.path)  # figures and other tools rely on it
        self._seq = restored.seq
        for event in self._run.journal.events(kinds=KINDS):
            if event.seq > self._seq:
                break
            self._spans.feed(event)
        restored.ledger.touched.update(range(len(restored.ledger.trials)))
        return restored

    def _note_changes(self, restored: Restoration) -> None:
        """Copy the trials that have changed: nobody's snapshot changes while it is looked at."""
        ledger = restored.ledger
        for number in sorted(ledger.touched):
            trial = ledger.trials[number]
            if number not in ledger.running and trial.step > FEW_REPORTS:
                trial.read_reports_later(trial.step, partial(self._reports, number, trial.step))
            copied = trial.copy_unread()
            if number < len(self._trials):
                self._trials[number] = copied
            else:
                self._trials.append(copied)
        ledger.touched.clear()

    def _read_reports(self, trial: int, step: int) -> list[Report]:
        found = self._run.journal.reports(trial)
        return [Report(report.step, report.metrics) for report in found if report.step <= step]
