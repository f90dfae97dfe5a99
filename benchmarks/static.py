"""What mypy costs with our plugin, beside mypy on the same programs where `Pipeline` has no types.

    python benchmarks/static.py [--check] [--mypy PYTHON]... [--rounds N] ...

One run prints one table. `--mypy` measures the mypy of another interpreter, too. `--check` makes a broken promise the
exit code 1; otherwise it is 0.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.checker import Checker, typed, untyped, version_of
from benchmarks.measure import Pair, interleaved
from benchmarks.programs import HOOKS, IMPORT, KEYWORD, POSITIONAL, STATEMENTS, program
from benchmarks.report import Row, failed, table

RATIO = 2.5
"""Promise: net of start-up, checking many pipelines costs at most this multiple of the surface without types."""

CHAIN = 1.0
"""Promise: CPU seconds, net of start-up, of checking one pipeline of `Size.chain` stages."""

WRITINGS = {
    "keyword contracts": KEYWORD,
    "positional contracts": POSITIONAL,
    "statements": STATEMENTS,
    "keyword contracts, hook lambdas": HOOKS,
}


@dataclass(frozen=True)
class Size:
    """How much to check.

    Attributes:
        rounds: how often each pair is measured.
        pipelines: in the program of many pipelines.
        stages: of each of them.
        chain: stages of the one long pipeline.
    """

    rounds: int = 5
    pipelines: int = 200
    stages: int = 20
    chain: int = 400


def measured(size: Size, python: str, folder: Path) -> Iterator[Row]:
    """All rows for one mypy."""
    name = f"mypy {version_of(python)}"
    ours, theirs = typed(python, folder / "typed"), untyped(python, folder / "untyped")
    for checker in (ours, theirs):
        checker.seconds(IMPORT)  # fills the cache
    yield from start_rows(size, name, ours, theirs)
    yield from many_rows(size, name, ours, theirs)
    yield from chain_rows(size, name, ours, theirs)


def start_rows(size: Size, name: str, ours: Checker, theirs: Checker) -> Iterator[Row]:
    """Start-up, which the other rows are net of: all that is paid once, however much there is to check.

    Most of ours is reading what the cache knows of the libraries that are installed and that our modules import
    somewhere; whoever imports torch pays for torch anyway.
    """
    for what, text in {"an empty file": "", "start-up: the import alone": IMPORT}.items():
        pair = interleaved(partial(ours.seconds, text), partial(theirs.seconds, text), size.rounds)
        yield _row(f"{name}: {what}", pair)


def many_rows(size: Size, name: str, ours: Checker, theirs: Checker) -> Iterator[Row]:
    """Many pipelines."""
    what = f"{name}: {size.pipelines} x {size.stages} stages"
    for writing, style in WRITINGS.items():
        pair = _net(program(style, size.pipelines, size.stages), size, ours, theirs)
        yield _row(f"{what}, {writing}", pair, f"<= {RATIO} x", pair.ratio <= RATIO)
    # Hardly anything but builder calls, which cost nothing where there are no types.
    pair = _net(program(KEYWORD, size.pipelines, size.stages, shared=True), size, ours, theirs)
    yield _row(f"{what}, keyword contracts, the same functions", pair)


def chain_rows(size: Size, name: str, ours: Checker, theirs: Checker) -> Iterator[Row]:
    """One long pipeline."""
    for writing, style in WRITINGS.items():
        pair = _net(program(style, 1, size.chain), size, ours, theirs)
        yield _row(f"{name}: {size.chain} stages, {writing}", pair, f"<= {CHAIN:g} s", pair.subject <= CHAIN)


def _net(text: str, size: Size, ours: Checker, theirs: Checker) -> Pair:
    return interleaved(partial(ours.net, text), partial(theirs.net, text), size.rounds)


def _row(what: str, pair: Pair, promise: str = "", holds: bool | None = None) -> Row:
    ratio = f"{pair.ratio:.2f} ({pair.low:.2f} - {pair.high:.2f})"
    return Row(what, f"{pair.subject:.2f} s", f"{pair.reference:.2f} s", ratio, promise, holds)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="exit with 1 if a promise does not hold")
    parser.add_argument("--mypy", action="append", default=[], metavar="PYTHON", help="an interpreter that has mypy")
    for field in fields(Size):
        parser.add_argument(f"--{field.name}", type=int, default=field.default, help="default: %(default)s")
    options = parser.parse_args(arguments)
    size = Size(**{field.name: getattr(options, field.name) for field in fields(Size)})
    rows = []
    for python in [sys.executable, *options.mypy]:
        with tempfile.TemporaryDirectory() as folder:
            for row in measured(size, python, Path(folder)):
                print(".", end="", flush=True, file=sys.stderr)
                rows.append(row)
    print(file=sys.stderr)
    print(table(rows, took="plugin", beside="no types"))
    print(
        "\nCPU time of whole processes, medians; ratio: median of interleaved rounds (smallest - largest). The"
        "\nrows below start-up are net of it. mypy's cache knows all but the program itself."
    )
    return 1 if options.check and failed(rows) else 0


if __name__ == "__main__":
    sys.exit(main())
