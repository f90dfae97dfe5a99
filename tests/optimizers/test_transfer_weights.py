import numpy as np
import pytest

from metta.sweep.optimizers.protein.gp import Factor, Kernel, Prior
from metta.sweep.optimizers.transfer.weights import left_out, observed, ranking_weights, wrong_pairs

TARGETS = np.array([0.1, 0.4, 0.3, 0.9, 0.7, -0.2])


def test_wrong_pairs() -> None:
    assert not wrong_pairs(TARGETS * 3 + 1, TARGETS).any()
    wrong = wrong_pairs(-TARGETS, TARGETS)
    assert wrong.sum() == 6 * 5
    one = TARGETS.copy()
    one[[1, 2]] = one[[2, 1]]
    assert sorted(zip(*np.nonzero(wrong_pairs(one, TARGETS)), strict=True)) == [(1, 2), (2, 1)]


def test_predictions_left_out_are_those_of_a_process_without_the_observation() -> None:
    rng = np.random.default_rng(0)
    rows = rng.uniform(-1, 1, (6, 2))
    kernel = Kernel(Prior(noise=0.05).centre(2), np.array([0, 1]))
    process = Factor.of(kernel, rows, 1e-9).posterior(TARGETS)
    found = left_out(process)
    for place in range(6):
        others = np.arange(6) != place
        alone = Factor.of(kernel, rows[others], 1e-9).posterior(TARGETS[others])
        assert found[place] == pytest.approx(alone.mean(rows), abs=1e-9)
    assert observed(process) == pytest.approx(TARGETS)


def test_a_model_that_ranks_best_has_the_weight() -> None:
    good, bad, own = (wrong_pairs(x, TARGETS) for x in (TARGETS, -TARGETS, np.roll(TARGETS, 1)))
    weights = ranking_weights([good, bad, own], np.ones(3), np.random.default_rng(0))
    assert weights.sum() == pytest.approx(1)
    assert weights[0] > 0.9
    assert weights[1] == 0


def test_equally_good_models_share_by_their_priors() -> None:
    good = wrong_pairs(TARGETS, TARGETS)
    weights = ranking_weights([good, good, good], np.array([1.0, 0.5, 1.0]), np.random.default_rng(0))
    assert weights == pytest.approx([0.4, 0.2, 0.4])
    # A model whose prior is 0 never counts, also where it alone is best.
    own = wrong_pairs(np.roll(TARGETS, 1), TARGETS)
    assert ranking_weights([good, own], np.array([0.0, 1.0]), np.random.default_rng(0)) == pytest.approx([0, 1])


def test_many_bad_models_do_not_dilute_the_own_one() -> None:
    """By chance some of many are best in some sample; their median loss gives them away."""
    rng = np.random.default_rng(5)
    targets = rng.normal(size=12)
    own = wrong_pairs(targets + 0.3 * rng.normal(size=12), targets)
    bad = [wrong_pairs(rng.normal(size=12), targets) for _ in range(50)]
    weights = ranking_weights([*bad, own], np.ones(51), np.random.default_rng(0))
    assert weights[-1] > 0.95
