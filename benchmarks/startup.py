"""How long a fresh process takes to start: imports, and the command line.

    python benchmarks/startup.py [--check] [--no-peers] [--rounds N]

Every round starts each process once, the bare interpreter among them. `--check` makes a broken promise the exit
code 1; otherwise it is 0.
"""

from __future__ import annotations

import argparse
import importlib.util
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.report import Row, failed, table

ROOT = Path(__file__).resolve().parents[1]

BARE = "the interpreter alone"

_HELP = "import sys; from metta.sweep.cli.main import main; sys.argv[:] = ['metta-sweep', '--help']; sys.exit(main())"

COMMANDS: dict[str, tuple[str, float | None]] = {
    BARE: ("pass", None),
    "import metta.sweep": ("import metta.sweep", 0.100),
    "from metta.sweep import Pipeline": ("from metta.sweep import Pipeline", 0.100),
    "metta-sweep --help": (_HELP, 0.150),
}
"""What -> the program, and the seconds that are promised for the whole process."""

PEERS = ("hamilton.driver", "langgraph.graph", "pydantic_graph", "returns.pipeline", "optuna", "torch")
"""For comparison; optuna and torch are what a sweep over a network loads anyway."""


class Import(NamedTuple):
    """One line of `-X importtime`: milliseconds without and with what it imports itself."""

    own: float
    total: float
    module: str


def wall(program: str) -> float:
    """Seconds from start to end of a fresh process."""
    begin = perf_counter()
    subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    return perf_counter() - begin


def medians(programs: Mapping[str, str], rounds: int) -> dict[str, float]:
    """Median seconds of each program, started in turn."""
    for program in programs.values():
        wall(program)  # the first start compiles and reads from disk
    times: dict[str, list[float]] = {what: [] for what in programs}
    for _ in range(rounds):
        for what, program in programs.items():
            times[what].append(wall(program))
    return {what: median(found) for what, found in times.items()}


def own_rows(rounds: int) -> Iterator[Row]:
    """Ours, beside the bare interpreter that is started in between."""
    found = medians({what: program for what, (program, _) in COMMANDS.items()}, rounds)
    for what, (_, promise) in COMMANDS.items():
        told = "" if promise is None else f"<= {promise * 1e3:.0f} ms"
        yield _row(what, found[what], found[BARE], told, None if promise is None else found[what] <= promise)


def peer_rows(rounds: int) -> Iterator[Row]:
    """Imports of other libraries, those of them that are installed."""
    names = [name for name in PEERS if importlib.util.find_spec(name.partition(".")[0]) is not None]
    found = medians({BARE: "pass"} | {f"import {name}": f"import {name}" for name in names}, rounds)
    for name in names:
        yield _row(f"import {name}", found[f"import {name}"], found[BARE])


def _row(what: str, took: float, bare: float, promise: str = "", holds: bool | None = None) -> Row:
    return Row(what, f"{took * 1e3:,.0f} ms", f"{bare * 1e3:,.0f} ms", f"{took / bare:.1f}", promise, holds)


def imports_of(program: str) -> list[Import]:
    """What a program imports in a fresh process, the most expensive by itself first."""
    command = [sys.executable, "-X", "importtime", "-c", program]
    done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    lines = re.findall(r"import time:\s+(\d+) \|\s+(\d+) \|\s+(\S+)", done.stderr)
    found = [Import(int(own) / 1e3, int(total) / 1e3, module) for own, total, module in lines]
    return sorted(found, reverse=True)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="exit with 1 if a promise does not hold")
    parser.add_argument("--no-peers", action="store_true", help="leave the other libraries out")
    parser.add_argument("--rounds", type=int, default=21, help="starts of each process; default: %(default)s")
    options = parser.parse_args(arguments)
    rows = list(own_rows(options.rounds))
    if not options.no_peers:
        rows += peer_rows(max(1, options.rounds // 4))
    print(table(rows, beside="interpreter"))
    print("\nWall time of whole processes, medians. The dearest imports of `from metta.sweep import Pipeline`:\n")
    for found in imports_of("from metta.sweep import Pipeline")[:10]:
        print(f"{found.own:8.1f} ms  ({found.total:.1f} ms with its own imports)  {found.module}")
    return 1 if options.check and failed(rows) else 0


if __name__ == "__main__":
    sys.exit(main())
