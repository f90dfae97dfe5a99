"""The benchmarks of search run, with tiny sizes. What they measure is not judged here."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks import halving, suggest
from benchmarks.problems import hartmann6, problems
from benchmarks.quality import OPTIMIZERS, Search, compared, rows, search
from metta.sweep.trial import Params


def test_the_minimum_of_hartmann6_is_where_it_is_said_to_be() -> None:
    problem = hartmann6()
    best = [0.20169, 0.150011, 0.476874, 0.275332, 0.311652, 0.6573]
    error = problem.error(Params({f"x{number}": x for number, x in enumerate(best)}))
    assert 0 <= error < 1e-4


def test_no_configuration_is_better_than_the_best() -> None:
    rng = np.random.default_rng(3)
    for problem in problems():
        for _ in range(20):
            params = problem.space.sample(rng)
            assert problem.error(params) >= 0, problem.name
            assert np.isfinite(problem.observe(params, rng)), problem.name


def test_searches_are_the_same_under_the_same_seed() -> None:
    first, again, other = (search(Search("random", "Hartmann-6", seed, 5)) for seed in (1, 1, 2))
    assert first == again != other
    assert search(Search("control", "Hartmann-6", 1, 5)) != first


def test_quality_has_a_row_for_every_optimizer_but_random() -> None:
    problem = hartmann6()
    names = list(OPTIMIZERS)
    errors = {
        Search(name, problem.name, seed, 5): float(seed + names.index(name)) for name in names for seed in range(30)
    }
    found = rows(errors, [problem])
    assert [row.what for row in found] == [f"Hartmann-6: {name}" for name in names[1:]]
    assert all(row.ratio == "worse (0 of 30 seeds)" for row in found)
    assert [row.holds for row in found if row.promise] == [False, False]


def test_verdicts() -> None:
    random = np.arange(30.0)
    assert compared(random - 1, random) == "better"
    assert compared(random + 1, random) == "worse"
    assert compared(random, random) == "same"
    assert compared(random + np.tile([1.0, -1.0], 15), random) == "same"


def test_suggest_measures_what_is_installed(capsys: pytest.CaptureFixture[str]) -> None:
    assert suggest.main(["--known", "6", "--rounds", "1", "--no-peers"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.partition(",")[0] for line in lines[2:6]] == ["random", "Sobol", "Protein", "Bayesian"]


@pytest.mark.slow
def test_halving_trains_and_counts() -> None:
    pytest.importorskip("torch")
    whole = halving.search(halving.Search(halving.RANDOM, 0, 2))
    assert whole.epochs == 2 * halving.EPOCHS
    assert halving.search(halving.Search("ASHA", 0, 6)).epochs < 6 * halving.EPOCHS
