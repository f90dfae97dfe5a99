"""`metta-sweep doctor`: what is damaged in a run or a store, or wrong with an executor, and what to do about it."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import ModuleType

from metta.sweep.cli.executors import PREFIX, choice_of, split_options
from metta.sweep.cli.opening import SWEEP, has_begun
from metta.sweep.cli.output import show
from metta.sweep.cli.resume import PIPELINE
from metta.sweep.cli.shown import show_json
from metta.sweep.compiler.fingerprint import LOADED_PREFIX
from metta.sweep.compiler.load import split_spec, user_module
from metta.sweep.errors import MettaSweepError, StorageError, UsageError
from metta.sweep.executors.remote.probe import Row, examine_executor
from metta.sweep.experiments.sweep_reading import SweepReader
from metta.sweep.experiments.verify import verify_sweep
from metta.sweep.report.pipeline_status import pipeline_status
from metta.sweep.store.doctor import FROM_BACKUP, Finding, Severity, examine
from metta.sweep.store.nested import runs_below
from metta.sweep.store.run import JOURNAL_FILE, Run, RunStatus, is_run, read_info
from metta.sweep.store.runs import Store

DAMAGED = 3


def examine_all(text: str | None, *, store: str | None, replay: bool, as_json: bool) -> int:
    """Do what the command asks; the exit code.

    Args:
        text: a run, or the folder of a store; None for the store.

    Raises:
        UsageError: there is no such run or folder.
    """
    folder = _folder(text, store)
    found = examine(folder)
    damaged = {finding.file for finding in found if finding.severity is Severity.ERROR}
    for run in _runs(folder):
        told = [] if run / JOURNAL_FILE in damaged else _told(run)
        found += _replayed(run) if replay and not told else told
    if as_json:
        show_json([finding._asdict() for finding in found])
    else:
        for finding in found:
            show(f"{finding.severity.value}: {finding.file}: {_what(finding)}\n  {finding.remedy}")
        if not found:
            show(f"no problems found in {folder}")
    return DAMAGED if any(finding.severity is Severity.ERROR for finding in found) else 0


def _what(finding: Finding) -> str:
    """What is wrong, without the file that is named already, and without the advice to call `doctor`."""
    return finding.what.removeprefix(f"{finding.file} is ").partition("; `metta-sweep doctor`")[0]


def examine_place(
    name: str | None,
    spec: str | None,
    *,
    store: str | None,
    replay: bool,
    overrides: Sequence[str],
    wait: float,
    as_json: bool,
) -> int:
    """Start a small job on an executor and compare what it finds with this process; the exit code.

    Args:
        name: of the executor.
        spec: FILE[:NAME] whose modules the job has to be able to import; None for none.
        overrides: options of the executor.
        wait: seconds for the job.

    Raises:
        UsageError: there is no such executor, option or file, or `replay` was asked for, too.
    """
    options, others = split_options(overrides)
    if others:
        raise UsageError(f"{others[0]}: doctor takes options of an executor, such as {PREFIX}spool=DIR")
    if replay:
        raise UsageError("--replay is for runs and stores, not for --executor")
    choice = choice_of(name, options)
    assert choice is not None
    with contextlib.ExitStack() as stack:
        modules = [] if spec is None else _modules_of(stack.enter_context(user_module(split_spec(spec)[0])))
        executor = choice.open()
        stack.callback(executor.close)
        found = examine_executor(executor, folder=Store.at(store).folder, modules=modules, timeout=wait)
    if as_json:
        show_json({"problems": [each._asdict() for each in found.problems], "facts": [r._asdict() for r in found.rows]})
    else:
        _show_table(found.rows)
        for problem in found.problems:
            show(str(problem))
        if not found.problems:
            show(f"no problems found with {type(executor).__name__}")
    return DAMAGED if any(problem.severity is Severity.ERROR for problem in found.problems) else 0


def _modules_of(module: ModuleType) -> list[str]:
    """The modules that lie beside the file, as far as it has imported them, and itself where it travels by its name."""
    folder = Path(module.__file__ or "").absolute().parent
    files = {name: getattr(each, "__file__", None) for name, each in sys.modules.copy().items()}
    beside = [name for name, file in files.items() if file and Path(file).absolute().is_relative_to(folder)]
    found = {module.__name__, *beside} - {"__main__"}
    return sorted(name for name in found if not name.startswith(LOADED_PREFIX))


def _show_table(rows: Sequence[Row]) -> None:
    """What was compared; what differs is marked, the names of the machines aside."""
    table = [Row("", "here", "there"), *rows]
    first, second = (max((len(row[column]) for row in table), default=0) for column in (0, 1))
    for row in table if rows else ():
        differs = row.here != row.there and row.fact not in ("", "host")
        show(f"{'!' if differs else ' '} {row.fact:<{first}}  {row.here:<{second}}  {row.there}".rstrip())


def _folder(text: str | None, store: str | None) -> Path:
    place = Store.at(store)
    if text is None:
        if not place.folder.is_dir():
            raise UsageError(f"there is no store at {place.folder}: name a run, or the folder of a store")
        return place.folder
    path = Path(text).expanduser()
    if path.is_dir() and (is_run(path) or (path / "runs").is_dir()):
        return path.absolute()
    return place.find(text).folder


def _runs(folder: Path) -> Iterator[Path]:
    """The run or those of the store, with what they have started."""
    tops = [folder] if is_run(folder) else []
    if not tops:
        with contextlib.suppress(StorageError):  # the examination has told it
            tops = [info.folder for info in Store(folder).all()]
    for top in tops:
        yield top
        with contextlib.suppress(StorageError):
            yield from runs_below(top)


def _told(folder: Path) -> list[Finding]:
    """Whether what a journal tells makes sense to who reads it: its digests may be right, and its entries may not."""
    info = read_info(folder)
    if info.status is RunStatus.DAMAGED:
        return []
    try:
        with Run.open(folder, write=False) as run:
            if info.kind == PIPELINE:
                pipeline_status(run)
            elif info.kind == SWEEP and has_begun(run):
                SweepReader(run).read()
    except MettaSweepError as error:
        return [Finding(Severity.ERROR, folder / JOURNAL_FILE, str(error), FROM_BACKUP)]
    return []


def _replayed(folder: Path) -> list[Finding]:
    """Whether the optimizer and the scheduler of a sweep decide again what they have decided."""
    info = read_info(folder)
    if info.status is RunStatus.DAMAGED or info.kind != SWEEP:
        return []
    try:
        with Run.open(folder, write=False) as run:
            differences = verify_sweep(run)
    except UsageError as error:
        return [Finding(Severity.NOTE, folder, f"its decisions were not compared: {error}", "nothing")]
    except MettaSweepError as error:
        return [Finding(Severity.ERROR, folder, str(error), "see what `metta-sweep doctor` says of it")]
    remedy = "was the library upgraded, or the code changed, since? A resumed run says how it goes on"
    return [Finding(Severity.ERROR, folder, f"a decision is not reproduced: {each}", remedy) for each in differences]
