"""What a suggestion costs when so many results are known.

    python benchmarks/suggest.py [--check] [--no-peers] [--known N ...] [--rounds N] [--slow]

Every optimizer is told the same random results of a function of five parameters; then it suggests and hears, round by
round. What is printed is the CPU time of a suggestion with its observation, the median of the rounds. The bare
libraries are asked the same, in the plainest way that their documentation shows. Those that would take minutes (a model
of thousands of points that is fitted again each time) are measured with `--slow` only. `--check` makes a broken promise
the exit code 1; otherwise it is 0.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from time import process_time
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
os.environ |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}

import numpy as np

from benchmarks.report import Row, failed, table
from metta.sweep.optimizers import (
    AxOptimizer,
    BayesianOptimizer,
    OptunaOptimizer,
    ProteinOptimizer,
    RandomOptimizer,
    SobolOptimizer,
)
from metta.sweep.optimizers.base import Optimizer
from metta.sweep.space import Uniform
from metta.sweep.trial import Result, Trial, TrialState

NAMES = tuple(f"x{number}" for number in range(5))
SPACE = {name: Uniform(0, 1) for name in NAMES}
KNOWN = (100, 1_000, 5_000)

MODEL_FREE, MODEL = 0.1e-3, 100e-3
"""CPU seconds that a suggestion may take: without a model, and Protein's."""

Values = dict[str, float]


class Side(NamedTuple):
    """One of those that are measured.

    Attributes:
        name: as printed.
        make: a fresh one, as a pair: tell it a result; have it suggest and hear.
        limit: known results up to which it is measured without `--slow`.
        promise: CPU seconds that a suggestion may take, however many results are known.
    """

    name: str
    make: Callable[[], tuple[Callable[[Values, float], None], Callable[[], None]]]
    limit: int = 10**9
    promise: float | None = None


def value(params: Any) -> float:
    """The function: a bowl, at most 0."""
    return -float(sum((params[name] - 0.3) ** 2 for name in NAMES))


def ours(make: Callable[[], Optimizer]) -> Callable[[], tuple[Callable[[Values, float], None], Callable[[], None]]]:
    """One of our optimizers, told results of an earlier sweep."""

    def made() -> tuple[Callable[[Values, float], None], Callable[[], None]]:
        optimizer = make()
        optimizer.bind(search_space=SPACE, goal="maximize", seed=1)

        def tell(params: Values, result: float) -> None:
            trial = Trial(params)
            trial.state = TrialState.COMPLETED
            optimizer.observe(trial, Result(result, cost=1.0))

        def ask() -> None:
            trial = optimizer.suggest(1)[0]
            trial.state = TrialState.COMPLETED
            optimizer.observe(trial, Result(value(trial.params), cost=1.0))

        return tell, ask

    return made


def bare_optuna(sampler: str) -> Callable[[], tuple[Callable[[Values, float], None], Callable[[], None]]]:
    """A study of Optuna's, with results added as finished trials."""

    def made() -> tuple[Callable[[Values, float], None], Callable[[], None]]:
        import optuna

        study = optuna.create_study(direction="maximize", sampler=getattr(optuna.samplers, sampler)(seed=1))
        space: dict[str, optuna.distributions.BaseDistribution] = {
            name: optuna.distributions.FloatDistribution(0, 1) for name in NAMES
        }

        def tell(params: Values, result: float) -> None:
            study.add_trial(optuna.create_trial(params=params, distributions=space, value=result))

        def ask() -> None:
            asked = study.ask(space)
            study.tell(asked, value(asked.params))

        return tell, ask

    return made


def bare_ax() -> tuple[Callable[[Values, float], None], Callable[[], None]]:
    """A client of Ax's, with results attached."""
    client_type, configs = import_module("ax.api.client").Client, import_module("ax.api.configs")
    client = client_type(random_seed=1)
    bounds = [configs.RangeParameterConfig(name=name, parameter_type="float", bounds=(0.0, 1.0)) for name in NAMES]
    client.configure_experiment(parameters=bounds)
    client.configure_optimization(objective="value")

    def tell(params: Values, result: float) -> None:
        client.complete_trial(client.attach_trial(params), raw_data={"value": result})

    def ask() -> None:
        for number, params in client.get_next_trials(max_trials=1).items():
            client.complete_trial(number, raw_data={"value": value(params)})

    return tell, ask


def sides(*, peers: bool) -> Iterator[Side]:
    """Ours, and the bare libraries that are installed."""
    yield Side("random", ours(RandomOptimizer), promise=MODEL_FREE)
    yield Side("Sobol", ours(SobolOptimizer), promise=MODEL_FREE)
    yield Side("Protein", ours(lambda: ProteinOptimizer(num_random_samples=10)), promise=MODEL)
    yield Side("Bayesian", ours(BayesianOptimizer))
    if find_spec("optuna") is not None:
        yield Side("optuna TPE, wrapped", ours(lambda: OptunaOptimizer(sampler="TPE")))
        if peers:
            yield Side("optuna TPE, bare", bare_optuna("TPESampler"))
            yield Side("optuna GP, bare", bare_optuna("GPSampler"), 100)
    if find_spec("ax") is not None:
        yield Side("Ax, wrapped", ours(AxOptimizer), 100)
        if peers:
            yield Side("Ax, bare", bare_ax, 100)


def measured(side: Side, known: int, rounds: int) -> float:
    """CPU seconds of a suggestion and its observation, at so many known results."""
    rng = np.random.default_rng(7)
    tell, ask = side.make()
    for point in rng.random((known, len(NAMES))):
        params = dict(zip(NAMES, point.tolist(), strict=True))
        tell(params, value(params))
    ask()  # what is done once, such as the first fit, is no part of a suggestion
    times = []
    for _ in range(rounds):
        begin = process_time()
        ask()
        times.append(process_time() - begin)
    return median(times)


def rows(known: Sequence[int], rounds: int, *, peers: bool, slow: bool) -> Iterator[Row]:
    """A row per optimizer and number of known results; the ratio is to the fewest."""
    for side in sides(peers=peers):
        first: float | None = None
        for number in known:
            if number > side.limit and not slow:
                continue
            seconds = measured(side, number, rounds)
            first = first or seconds
            holds = None if side.promise is None else seconds <= side.promise
            promise = "" if side.promise is None else f"<= {1e3 * side.promise:g} ms"
            ratio = f"{seconds / first:.2f}"
            yield Row(f"{side.name}, {number:,} results known", f"{1e3 * seconds:.3f} ms", "", ratio, promise, holds)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print the table; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--check", action="store_true", help="exit with 1 where a promise does not hold")
    parser.add_argument("--no-peers", action="store_true", help="leave the bare libraries out")
    parser.add_argument("--known", type=int, nargs="+", default=list(KNOWN), help="numbers of known results")
    parser.add_argument("--rounds", type=int, default=15, help="suggestions that are timed")
    parser.add_argument("--slow", action="store_true", help="measure everything everywhere; takes long")
    options = parser.parse_args(arguments)
    logging.disable(logging.WARNING)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = list(rows(options.known, options.rounds, peers=not options.no_peers, slow=options.slow))
    print(table(found))
    return int(options.check and failed(found))


if __name__ == "__main__":
    sys.exit(main())
