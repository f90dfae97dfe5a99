import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.stats import norm

from metta.sweep.optimizers.protein.acquisition import (
    expected_improvement,
    log_expected_improvement,
    masked,
    naive,
    upper_confidence_bound,
)
from metta.sweep.optimizers.protein.improving import power_transformed, yeo_johnson
from metta.sweep.optimizers.protein.pareto import pareto_front, pruned_front


@settings(derandomize=True, max_examples=40, deadline=None)
@given(mean=st.floats(-3, 3), sd=st.floats(0.05, 3), best=st.floats(-3, 3))
def test_expected_improvement_is_its_integral(mean: float, sd: float, best: float) -> None:
    expected = quad(lambda f: (f - best) * norm.pdf(f, mean, sd), best, best + abs(mean - best) + 12 * sd, limit=200)[0]
    found = expected_improvement(np.array([mean]), np.array([sd]), best)[0]
    assert found == pytest.approx(expected, rel=1e-5, abs=1e-9)
    if found > 1e-12:
        log = log_expected_improvement(np.array([mean]), np.array([sd]), best)[0]
        assert log == pytest.approx(np.log(found), abs=1e-3)


def test_the_logarithm_is_finite_and_rises_where_the_improvement_underflows() -> None:
    z = np.concatenate([-np.logspace(12, -3, 400), np.linspace(0, 50, 50)])
    log = log_expected_improvement(z, np.ones_like(z), 0.0)
    assert np.isfinite(log).all()
    assert (np.diff(log) > 0).all()
    # The first terms of the asymptotic series of h(z): phi(z) / z^2 (1 - 3 / z^2).
    assert log_expected_improvement(np.array([-40.0]), np.ones(1), 0.0)[0] == pytest.approx(
        norm.logpdf(40) - 2 * np.log(40) + np.log1p(-3 / 1600), abs=1e-4
    )


def test_a_standard_deviation_of_zero_is_none_too_small() -> None:
    mean, sd = np.array([1.0, -1.0]), np.zeros(2)
    np.testing.assert_allclose(expected_improvement(mean, sd, 0.0), [1.0, 0.0], atol=1e-5)
    assert np.isfinite(log_expected_improvement(mean, sd, 0.0)).all()
    np.testing.assert_allclose(upper_confidence_bound(mean, np.ones(2), 2.5), [3.5, 1.5])


def test_naive_prefers_the_cost_it_aims_at() -> None:
    score, cost = np.array([0.9, 0.9, 1.0, -0.5]), np.array([0.5, 0.1, 2.0, 0.5])
    np.testing.assert_allclose(naive(score, cost, 0.5), [0.9, 0.9 * 0.6, 0.0, -0.5])
    np.testing.assert_allclose(naive(score, 0.5, 0.5), score)


def test_the_mask_beats_negative_ratings() -> None:
    rating, lifted = masked(np.array([-3.0, -1.0, -2.0]), np.array([1.0, 9.0, 10.0]), 9.0)
    assert not lifted
    assert rating.tolist() == [-3.0, -np.inf, -np.inf]
    rating, lifted = masked(np.array([-3.0, -1.0]), np.array([9.0, 10.0]), 9.0)
    assert lifted
    assert rating.tolist() == [-3.0, -1.0]


@settings(derandomize=True, max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), min_size=1, max_size=20))
def test_the_front_is_that_of_the_definition(points: list[tuple[int, int]]) -> None:
    scores, costs = [float(score) for score, _ in points], [float(cost) for _, cost in points]
    front = pareto_front(scores, costs)
    undominated = {
        (score, cost)
        for score, cost in points
        if not any((s >= score and c <= cost) and (s, c) != (score, cost) for s, c in points)
    }
    assert sorted(points[index] for index in front) == sorted(undominated), "and of ties one"
    assert [costs[index] for index in front] == sorted(costs[index] for index in front)


def test_a_hair_better_is_not_worth_a_higher_cost() -> None:
    assert pareto_front([1.0, 1.0 + 5e-7, 1.1], [1.0, 2.0, 3.0]) == [0, 2]


def test_pruning_drops_the_dear_end_only() -> None:
    scores, costs = [0.0, 0.5, 0.985, 0.99, 1.0], [1.0, 2.0, 3.0, 50.0, 100.0]
    front = pareto_front(scores, costs)
    assert front == [0, 1, 2, 3, 4]
    assert pruned_front(front, scores, costs) == [0, 1, 2]
    assert pruned_front(front, scores, costs, stop=0.999) == front
    assert pruned_front(front, scores, costs, efficiency=0.001) == front
    assert pruned_front([0, 4], scores, costs) == [0, 4]


def test_the_power_transformation_straightens_a_long_tail() -> None:
    rng = np.random.default_rng(0)
    skewed = -np.exp(2 * rng.normal(size=200))
    values = (skewed - skewed.mean()) / skewed.std()
    bent = power_transformed(values)
    assert (np.argsort(bent) == np.argsort(values)).all()
    spread = (bent - bent.mean()) / bent.std()
    assert abs((spread**3).mean()) < 0.3 * abs((values**3).mean())
    np.testing.assert_allclose(yeo_johnson(values, 1.0), values)
    np.testing.assert_allclose(yeo_johnson(np.array([-3.0, 3.0]), 0.0), [-7.5, np.log(4)])
    np.testing.assert_allclose(yeo_johnson(np.array([-3.0, 3.0]), 2.0), [-np.log(4), 7.5])
    np.testing.assert_array_equal(power_transformed(np.zeros(5)), np.zeros(5))
