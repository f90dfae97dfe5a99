"""Tables: a row per trial and, in a table of their own, the reports, as CSV or Parquet."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from metta.sweep.errors import StorageError
from metta.sweep.interop.facts import Plain, SweepFacts, TrialFacts, facts_of
from metta.sweep.interop.libraries import library
from metta.sweep.interop.sink import Mark, Marks, Sink, replacing, spans_by_trial
from metta.sweep.trial import Report

if TYPE_CHECKING:
    from metta.sweep.interop.source import ExportedSweep

MARKS_FILE: Final = "metta-sweep.json"
TRIALS_FILE: Final = "trials.csv"
REPORTS_FILE: Final = "reports.csv"

FIXED: Final = ("trial", "state", "step", "cost", "failure", "attempts", "parent")
"""The columns that every table has; what else has such a name gets a prefix."""

BATCH: Final = 20_000
"""Reports in one group of rows of a Parquet file."""

_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")
"""What a spreadsheet takes for the begin of a formula, or leaves out before one; the last four are the wide forms."""


class ReportRow(NamedTuple):
    """One metric of one report: the reports of all trials as a long table."""

    trial: int
    step: int
    metric: str
    value: float


def row_of(trial: TrialFacts) -> dict[str, Plain]:
    """A trial as one flat row: number, state, score(s), what else is known of it, and every parameter by its path.

    A score or parameter with the name of another column is called "score.<name>" or "params.<name>".
    """
    row: dict[str, Plain] = {"trial": trial.number, "state": trial.state}
    for name, score in (trial.scores or {}).items():
        row[f"score.{name}" if name in FIXED else name] = score
    row |= {"step": trial.step, "cost": trial.cost, "failure": trial.failure}
    row |= {"attempts": trial.attempts, "parent": trial.parent}
    taken = set(row) | set(FIXED)
    return row | {f"params.{path}" if path in taken else path: value for path, value in trial.params.items()}


def rows_of(sweep: ExportedSweep) -> Iterator[dict[str, Plain]]:
    """The rows of all trials."""
    spans = spans_by_trial(sweep.snapshot)
    for trial in sweep.snapshot.trials:
        yield row_of(facts_of(sweep.snapshot, trial, spans.get(trial.id, ()), sweep.began))


def reports_of(sweep: ExportedSweep) -> Iterator[ReportRow]:
    """The reports of all trials, read trial by trial."""
    for trial in sweep.snapshot.trials:
        for report in trial.copy_unread().reports:
            for metric, value in report.metrics.items():
                yield ReportRow(trial.id, report.step, metric, value)


def columns_of(rows: Iterable[Mapping[str, Any]]) -> list[str]:
    """The names of all columns, in the order in which they first appear; parameters that some lack come last."""
    return list(dict.fromkeys(name for row in rows for name in row))


def cell(value: object) -> object:
    """A value as a spreadsheet may open it.

    A text that a spreadsheet would take for a formula gets an apostrophe in front, which spreadsheets hide; numbers
    never do. Parquet keeps every text as it is.
    """
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else value


def export_csv(
    sweep: ExportedSweep, *, path: str | os.PathLike[str] = TRIALS_FILE, reports: str | os.PathLike[str] | None = None
) -> str:
    """Write the trials as CSV, and the reports if they are wanted; see `export_run` and `cell`.

    Args:
        sweep: what to write.
        path: the file for the trials; one that is there is replaced.
        reports: the file for the reports: a row per trial, step and metric.
    """
    columns = columns_of(rows_of(sweep))
    _write_csv(Path(path), columns, ([row.get(name) for name in columns] for row in rows_of(sweep)))
    if reports is not None:
        _write_csv(Path(reports), ReportRow._fields, reports_of(sweep))
    return _told(sweep, Path(path), reports, "pandas.read_csv")


def export_parquet(
    sweep: ExportedSweep,
    *,
    path: str | os.PathLike[str] = "trials.parquet",
    reports: str | os.PathLike[str] | None = None,
) -> str:
    """Write the trials as Parquet with typed columns, and the reports if they are wanted; see `export_run`.

    A column whose values are of several kinds is one of texts; one of whole and other numbers is one of floats.

    Args:
        sweep: what to write.
        path: the file for the trials; one that is there is replaced.
        reports: the file for the reports: a row per trial, step and metric.
    """
    pyarrow, parquet = (library(name, "writing Parquet", "parquet") for name in ("pyarrow", "pyarrow.parquet"))
    rows = list(rows_of(sweep))
    columns = {name: _alike([row.get(name) for row in rows]) for name in columns_of(rows)}
    with replacing(Path(path)) as waiting:
        parquet.write_table(pyarrow.table(columns), waiting)
    if reports is not None:
        schema = pyarrow.schema(
            {
                "trial": pyarrow.int64(),
                "step": pyarrow.int64(),
                "metric": pyarrow.string(),
                "value": pyarrow.float64(),
            }
        )
        lines = reports_of(sweep)
        with replacing(Path(reports)) as waiting, parquet.ParquetWriter(waiting, schema) as writer:
            while batch := [line._asdict() for line in islice(lines, BATCH)]:
                writer.write_table(pyarrow.Table.from_pylist(batch, schema))
    return _told(sweep, Path(path), reports, "pandas.read_parquet")


class CSVSink(Sink):
    """Writes `<folder>/<key of the sweep>/trials.csv` anew with every flush, and appends to `reports.csv` beside it.

    Raises:
        RefusedError: the folder is another sweep's.
        StorageError: a file in it is not what was written.
    """

    def __init__(self, folder: str | os.PathLike[str], sweep: SweepFacts) -> None:
        self.folder: Path = Path(folder).absolute() / sweep.key
        self._file = Marks(self.folder / MARKS_FILE, sweep.key)
        self.folder.mkdir(parents=True, exist_ok=True)
        self._rows: dict[int, Mapping[str, Plain]] = _read_rows(self.folder / TRIALS_FILE)
        steps = _take_up(self.folder / REPORTS_FILE)
        # What the file of the reports has counts: a driver that was killed may have written more than it marked.
        known = {number: mark._replace(step=steps.get(number, 0)) for number, mark in self._file.known.items()}
        super().__init__({number: Mark(step) for number, step in steps.items()} | known)
        self._waiting: list[Sequence[object]] = [] if steps else [ReportRow._fields]

    def flush(self) -> None:
        # In one piece: so a driver that is killed leaves no report of which one metric is there and another not.
        lines = io.StringIO()
        csv.writer(lines).writerows(map(_cells, self._waiting))
        with (self.folder / REPORTS_FILE).open("a", encoding="utf-8", newline="") as file:
            file.write(lines.getvalue())
        self._waiting = []
        columns = columns_of(self._rows.values())
        rows = ([row.get(name) for name in columns] for _, row in sorted(self._rows.items()))
        _write_csv(self.folder / TRIALS_FILE, columns, rows)
        self._file.save(self.marks)

    def close(self, status: str) -> None:
        self.flush()

    def _start(self, trial: TrialFacts) -> None:
        self._rows[trial.number] = row_of(trial)

    def _report(self, number: int, report: Report, at: float) -> None:
        self._waiting += (ReportRow(number, report.step, metric, value) for metric, value in report.metrics.items())

    def _end(self, trial: TrialFacts) -> None:
        self._rows[trial.number] = row_of(trial)


def _read_rows(path: Path) -> dict[int, Mapping[str, Plain]]:
    """The rows of an earlier driver, every cell as its text."""
    if not path.exists():
        return {}
    try:
        with path.open(encoding="utf-8", newline="") as file:
            header, *lines = csv.reader(file)
        names = list(map(_without_apostrophe, header))
        rows = [dict(zip(names, map(_without_apostrophe, line), strict=True)) for line in lines]
        return {int(row["trial"]): row for row in rows}
    except (OSError, ValueError, KeyError) as error:
        raise StorageError(f"{path} is not what was written to it: {error}", path=str(path)) from None


def _without_apostrophe(text: str) -> str:
    """What `cell` made this text of."""
    return text[1:] if text[:1] == "'" and text[1:].startswith(_FORMULA) else text


def _take_up(path: Path) -> dict[int, int]:
    """The last step of each trial in the file of the reports. What is no whole line is cut off; all without one row."""
    if not path.exists():
        return {}
    steps: dict[int, int] = {}
    with path.open("r+b") as file:
        end = 0
        for line in file:
            if not line.endswith(b"\n"):
                break
            end += len(line)
            trial, _, rest = line.partition(b",")
            if trial.isdigit():
                steps[int(trial)] = max(steps.get(int(trial), 0), int(rest.partition(b",")[0]))
        file.truncate(end if steps else 0)
    return steps


def _cells(values: Iterable[object]) -> list[object]:
    return list(map(cell, values))


def _write_csv(path: Path, columns: Sequence[str], lines: Iterable[Iterable[object]]) -> None:
    with replacing(path) as waiting, waiting.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(_cells(columns))
        writer.writerows(map(_cells, lines))


def _alike(values: list[Plain]) -> list[Any]:
    """The values of a column as values of one type, None apart."""
    kinds = {type(value) for value in values if value is not None}
    if len(kinds) <= 1:
        # Arrow's whole numbers have 64 bits.
        is_large = kinds == {int} and any(value is not None and not -(2**63) <= int(value) < 2**63 for value in values)
        return [value if value is None else str(value) for value in values] if is_large else values
    if kinds == {int, float}:
        return [value if value is None else float(value) for value in values]
    return [value if value is None or isinstance(value, str) else repr(value) for value in values]


def _told(sweep: ExportedSweep, path: Path, reports: str | os.PathLike[str] | None, call: str) -> str:
    also = "" if reports is None else f", their reports in {Path(reports).absolute()}"
    file = str(path.absolute())
    return f"{len(sweep.snapshot.trials)} trials are in {file}{also}; to read them: {call}({file!r})"
