"""What a compiled pipeline costs beside the functions its author would have written by hand, and to build.

    python benchmarks/overhead.py [--check] [--no-peers] [--rounds N] ...

One run prints one table. `--check` makes a broken promise the exit code 1; otherwise it is 0.
"""

from __future__ import annotations

import argparse
import gc
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import fields, replace
from functools import partial
from pathlib import Path
from time import process_time
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.chains import (
    ASYNC,
    KEYWORD,
    POSITIONAL,
    RECORD,
    Stage,
    Stages,
    Style,
    build,
    build_growing,
    by_hand,
    drive,
    functions,
)
from benchmarks.measure import Chain, Effort, Pair, Series, interleaved, paired, slopes
from benchmarks.peers import Peer, installed
from benchmarks.report import Row, failed, table
from metta.sweep import Pipeline

COPIES = 3
"""How often both sides of a slope are made anew: where functions lie in memory changes a chain by some per cent."""

SLOPE = 1.1
"""Promise: a stage of a compiled chain costs at most this multiple of the hand-written call."""

BUILD = 50e-6
"""Promise: seconds of CPU per stage to build, compile and link `Effort.many` stages."""

LINEAR = 2.0
"""Promise: a stage of `Effort.many` costs at most this multiple of a stage of `Effort.few`. For ten times as many
stages n squared would be 10 and n log n 1.33; the rest is the garbage collector, which looks at all objects of the
process each time their number has grown by a quarter."""


def chain_rows(effort: Effort) -> Iterator[Row]:
    """Each additional stage of a compiled chain without hooks, beside the hand-written call of the same functions."""
    for name, style in {
        "keyword contract": KEYWORD,
        "positional contract": POSITIONAL,
        "record contract": RECORD,
        "async, keyword contract": ASYNC,
    }.items():
        pair = paired(*(_slope(style, effort) for _ in range(COPIES)))
        what = f"a stage of a chain, {name}"
        yield Row(what, _ns(pair.subject), _ns(pair.reference), _ratio(pair), f"<= {SLOPE} x", pair.ratio <= SLOPE)


def _slope(style: Style, effort: Effort, line: str = "", **hooks: Any) -> Series:
    """A compiled chain beside a hand-written one; with a hook, `line` is what somebody would write for it."""
    sizes = (effort.short, effort.long)
    stages = functions(style, effort.long)
    ours = _chain(style, [build(style, stages[:n], **hooks).compile().function for n in sizes])
    hand = _chain(style, [by_hand(style, stages[:n], line, hooks) for n in sizes])
    _same(ours.long(), hand.long())
    return slopes(ours, hand, replace(effort, rounds=max(1, effort.rounds // COPIES)))


def peer_chain_rows(effort: Effort, peers: Sequence[Peer]) -> Iterator[Row]:
    """The same slope of the other libraries, as a multiple of the same hand-written calls."""
    stages = functions(KEYWORD, effort.long)
    hand = _chain(KEYWORD, [by_hand(KEYWORD, stages[:n]) for n in (effort.short, effort.long)])
    for peer in peers:
        runs = [peer.runner(peer.prepare(n)(), n) for n in (effort.short, effort.long)]
        _same(peer.value(runs[1]()), 1 + sum(range(effort.long)))
        pair = paired(slopes(Chain(*runs), hand, replace(effort, rounds=max(1, effort.rounds // COPIES))))
        yield Row(f"a stage of a chain, {peer.title}", _ns(pair.subject), _ns(pair.reference), _ratio(pair))


def membrane_rows(effort: Effort) -> Iterator[Row]:
    """One call of a stage with a hook, beside what somebody would write around the call."""
    few = replace(effort, short=max(1, effort.short // 4), long=max(2, effort.long // 4))
    for hook, (value, line) in _HAND_WRITTEN_HOOKS.items():
        pair = paired(_slope(POSITIONAL, few, line, **{hook: value}))
        yield Row(f"a stage with {hook}=", _us(pair.subject), _us(pair.reference), _ratio(pair))


def _observe(data: int) -> None:
    """Takes what a log hook is given."""


def _accept(data: int) -> bool:
    return True


_HAND_WRITTEN_HOOKS: dict[str, tuple[Any, str]] = {
    "log": (
        _observe,
        """value = {name}(value)
try:
    log(value)
except Exception as error:
    print("{name}", error)""",
    ),
    "validate": (
        _accept,
        """value = {name}(value)
if not validate(value):
    raise ValueError(value)""",
    ),
    "retry": (
        3,
        """for attempt in range(retry + 1):
    try:
        value = {name}(value)
        break
    except Exception:
        if attempt == retry:
            raise""",
    ),
}


def build_rows(effort: Effort) -> Iterator[Row]:
    """Building, compiling and linking; per stage of the larger pipeline, beside a stage of the smaller one."""
    keyword, positional = partial(build, KEYWORD), partial(build, POSITIONAL)
    distinct, text = (functions(KEYWORD, effort.many, text=text) for text in (False, True))
    same = distinct[:1] * effort.many
    cases: tuple[tuple[str, Callable[..., Pipeline], Stages], ...] = (
        ("keyword contract, one field", keyword, distinct),
        ("keyword contract, one field, annotations as text", keyword, text),
        ("keyword contract, one field, one function", keyword, same),
        ("keyword contract, growing fields", build_growing, distinct),
        ("keyword contract, growing fields, one function", build_growing, same),
        ("positional contract", positional, distinct),
        ("positional contract, one function", positional, same),
    )
    for what, maker, stages in cases:
        large, small = (_building(_ours(maker, stages[:n]), n, effort.many) for n in (effort.many, effort.few))
        pair = interleaved(large, small, effort.build_rounds)
        holds = pair.subject <= BUILD and pair.ratio <= LINEAR
        promise = f"<= {BUILD * 1e6:g} us, <= {LINEAR} x"
        label = f"building {effort.many:,} stages, {what}"
        yield Row(label, _us(pair.subject), _us(pair.reference), _ratio(pair), promise, holds)


def peer_build_rows(effort: Effort, peers: Sequence[Peer]) -> Iterator[Row]:
    """The other libraries, beside a keyword contract of distinct functions."""
    rounds = max(1, effort.build_rounds // 2)
    for peer in peers:
        for count in (effort.few, effort.many):
            theirs = _building(peer.prepare(count), count, count)
            ours = _building(_ours(partial(build, KEYWORD), functions(KEYWORD, count)), count, count)
            pair = interleaved(theirs, ours, rounds)
            yield Row(f"building {count:,} stages, {peer.title}", _us(pair.subject), _us(pair.reference), _ratio(pair))


def _ours(maker: Stage, stages: Stages) -> Callable[[], object]:
    return lambda: maker(stages).compile().function


def _building(make: Callable[[], object], count: int, at_least: int) -> Callable[[], float]:
    """CPU seconds per stage; a smaller pipeline is built as often as it takes to reach as many stages.

    The collector stays on: it is part of what building costs. Taking the result apart again is not.
    """

    def measure() -> float:
        taken = 0.0
        times = max(1, at_least // count)
        for _ in range(times):
            gc.collect()
            begin = process_time()
            made = make()
            taken += process_time() - begin
            del made
        return taken / (times * count)

    return measure


def _chain(style: Style, runs: Stages) -> Chain:
    def call(run: Stage) -> Callable[[], object]:
        if style is ASYNC:
            return lambda: drive(run(*style.arguments))
        return lambda: run(*style.arguments)

    return Chain(*map(call, runs))


def _same(one: object, other: object) -> None:
    if one != other:
        raise AssertionError(f"the two sides do not compute the same: {one!r} and {other!r}")


def _ns(seconds: float) -> str:
    return f"{seconds * 1e9:,.1f} ns"


def _us(seconds: float) -> str:
    return f"{seconds * 1e6:,.2f} us"


def _ratio(pair: Pair) -> str:
    digits = 2 if pair.ratio < 100 else 0
    return f"{pair.ratio:,.{digits}f} ({pair.low:,.{digits}f} - {pair.high:,.{digits}f})"


def measured(effort: Effort, *, peers: bool = True) -> Iterator[Row]:
    """All rows, one after another; a peer that is not installed has none."""
    yield from chain_rows(effort)
    yield from membrane_rows(effort)
    yield from build_rows(effort)
    # Loaded last: the objects of their modules would make the collector slower for us.
    found = list(installed()) if peers else []
    yield from peer_chain_rows(effort, found)
    yield from peer_build_rows(effort, found)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="exit with 1 if a promise does not hold")
    parser.add_argument("--no-peers", action="store_true", help="leave the other libraries out")
    for field in fields(Effort):
        option = f"--{field.name.replace('_', '-')}"
        parser.add_argument(option, type=type(field.default), default=field.default, help="default: %(default)s")
    options = parser.parse_args(arguments)
    effort = Effort(**{field.name: getattr(options, field.name) for field in fields(Effort)})
    rows = []
    for row in measured(effort, peers=not options.no_peers):
        print(".", end="", flush=True, file=sys.stderr)
        rows.append(row)
    print(file=sys.stderr)
    print(table(rows, beside="beside it"))
    print(
        "\nCPU time; ratio: median of interleaved rounds (smallest - largest). Beside it: for stages, the calls written"
        "\nby hand; for building, a stage of the smaller pipeline, or (other libraries) our keyword contract."
    )
    return 1 if options.check and failed(rows) else 0


if __name__ == "__main__":
    sys.exit(main())
