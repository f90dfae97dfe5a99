import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import check_grad
from scipy.stats import lognorm, multivariate_normal

from metta.sweep.optimizers.protein.gp import Array, Factor, Kernel, Prior, fit, negative_log_posterior
from metta.sweep.optimizers.protein.surrogate import Points, Surrogate

GROUPS = np.array([0, 1, 1, 2])
"""Four columns of three parameters."""


def kernel(seed: int = 0) -> Kernel:
    return Kernel(np.random.default_rng(seed).normal(scale=0.5, size=7), GROUPS)


def data(n: int, seed: int = 0) -> tuple[Array, Array]:
    rng = np.random.default_rng(seed)
    rows = rng.uniform(-1, 1, size=(n, 4))
    return rows, np.sin(3 * rows[:, 0]) + rows[:, 3] + 0.1 * rng.normal(size=n)


def covariance(kernel: Kernel, a: Array, b: Array) -> Array:
    """The formula, element by element."""
    v1, bias, v2 = np.exp(kernel.theta[:3])
    lengths = [math.exp(kernel.theta[4 + group]) for group in GROUPS]
    result = np.empty((len(a), len(b)))
    for i, j in itertools.product(range(len(a)), range(len(b))):
        distance = math.sqrt(sum(((x - y) / length) ** 2 for x, y, length in zip(a[i], b[j], lengths, strict=True)))
        s = math.sqrt(3) * distance
        result[i, j] = v1 * (bias + sum(x * y for x, y in zip(a[i], b[j], strict=True))) + v2 * (1 + s) * math.exp(-s)
    return result


def test_the_kernel_is_its_formula() -> None:
    a, b = data(5)[0], data(7, 1)[0]
    np.testing.assert_allclose(kernel().covariance(a, b), covariance(kernel(), a, b), rtol=1e-7)
    np.testing.assert_allclose(kernel().variance(a), np.diag(covariance(kernel(), a, a)), rtol=1e-7)


def test_the_posterior_is_that_of_the_dense_formula() -> None:
    (rows, targets), new = data(12), data(6, 3)[0]
    k = kernel()
    noisy = covariance(k, rows, rows) + (k.noise + 1e-3) * np.eye(12)
    cross = covariance(k, new, rows)
    expected_mean = cross @ np.linalg.solve(noisy, targets)
    expected_covariance = covariance(k, new, new) - cross @ np.linalg.solve(noisy, cross.T)
    posterior = Factor.of(k, rows, 1e-3).posterior(targets)
    mean, sd = posterior.mean_and_sd(new)
    np.testing.assert_allclose(mean, expected_mean, rtol=1e-6, atol=1e-8)
    np.testing.assert_allclose(posterior.mean(new), mean, rtol=1e-9)
    np.testing.assert_allclose(sd, np.sqrt(np.diag(expected_covariance)), rtol=1e-5)


@settings(derandomize=True, max_examples=20, deadline=None)
@given(old=st.integers(1, 20), new=st.integers(0, 10), seed=st.integers(0, 100))
def test_an_extended_factor_is_that_of_all_rows(old: int, new: int, seed: int) -> None:
    rows = data(old + new, seed)[0]
    extended = Factor.of(kernel(seed), rows[:old], 1e-3).extended(rows[old:])
    np.testing.assert_array_equal(extended.rows, rows)
    np.testing.assert_allclose(extended.lower, Factor.of(kernel(seed), rows, 1e-3).lower, atol=1e-8)


def test_the_same_point_many_times_takes_more_jitter() -> None:
    smooth = Kernel(np.array([0.0, 0.0, 0.0, -60.0, 3.0, 3.0, 3.0]), GROUPS)
    assert Factor.of(smooth, np.zeros((30, 4)), 1e-18).jitter > 1e-18
    rows = np.repeat(data(20)[0], 2, axis=0)
    extended = Factor.of(smooth, rows[::2], 1e-18).extended(rows[1::2])
    assert extended.jitter > 1e-18
    both = np.vstack([rows[::2], rows[1::2]])
    np.testing.assert_allclose(extended.lower @ extended.lower.T, smooth.covariance(both, both), atol=1e-6)


def test_the_gradient_is_that_of_finite_differences() -> None:
    rows, targets = data(15)

    def value(theta: Array) -> float:
        return negative_log_posterior(theta, rows, targets, GROUPS, Prior())[0]

    def gradient(theta: Array) -> Array:
        return negative_log_posterior(theta, rows, targets, GROUPS, Prior())[1]

    for seed in range(5):
        assert check_grad(value, gradient, kernel(seed).theta) < 1e-4


def test_the_posterior_density_is_likelihood_times_priors() -> None:
    rows, targets = data(9)
    prior = Prior(noise=0.02, noise_sd=0.7, length=2.0, length_sd=1.5, variance=3.0, variance_sd=0.8, linear=0.5)

    def reference(theta: Array) -> float:
        k = Kernel(theta, GROUPS)
        noisy = covariance(k, rows, rows) + (k.noise + prior.jitter) * np.eye(9)
        medians = [0.5, 3.0, 3.0, 0.02, 2.0, 2.0, 2.0]
        spreads = [0.8, 0.8, 0.8, 0.7, 1.5, 1.5, 1.5]
        density = sum(
            # The density of the logarithm: the Jacobian is exp(t).
            lognorm.logpdf(math.exp(t), s=spread, scale=median) + t
            for t, spread, median in zip(theta, spreads, medians, strict=True)
        )
        return -float(multivariate_normal.logpdf(targets, cov=noisy) + density)

    a, b = kernel(1).theta, kernel(2).theta
    ours = [negative_log_posterior(theta, rows, targets, GROUPS, prior)[0] for theta in (a, b)]
    assert ours[0] - ours[1] == pytest.approx(reference(a) - reference(b), rel=1e-6)


def test_a_fit_finds_which_parameter_matters() -> None:
    rng = np.random.default_rng(0)
    rows = rng.uniform(-1, 1, size=(60, 4))
    targets = np.sin(4 * rows[:, 3])
    fitted = fit(rows, (targets - targets.mean()) / targets.std(), GROUPS, Prior())
    lengths = np.exp(fitted.theta[4:])
    assert 3 * lengths[2] < min(lengths[0], lengths[1])
    new = rng.uniform(-1, 1, size=(40, 4))
    predicted = Factor.of(fitted, rows, 1e-3).posterior(targets).mean(new)
    assert np.abs(predicted - np.sin(4 * new[:, 3])).max() < 0.4
    # A warm start is at least as good as the place it starts from.
    value = negative_log_posterior(fitted.theta, rows, targets, GROUPS, Prior())[0]
    again = fit(rows, targets, GROUPS, Prior(), fitted.theta, steps=3)
    assert negative_log_posterior(again.theta, rows, targets, GROUPS, Prior())[0] <= value


def points(n: int, resource: int = 0) -> Points:
    rows, targets = data(n)
    return Points(np.arange(n), rows, targets, resource)


def test_a_surrogate_is_fitted_rarely_and_its_posterior_has_all_points() -> None:
    surrogate = Surrogate(GROUPS, Prior(), 750)
    counts = []
    for n in range(40, 60):
        posterior = surrogate.posterior(points(n), np.random.default_rng(0))
        assert len(posterior.factor.rows) == n
        state = surrogate.to_json()
        assert state is not None
        counts.append(state["count"])
    assert sorted(set(counts)) == [40, 44, 48, 52, 57]
    surrogate.posterior(points(59, resource=3), np.random.default_rng(0))
    state = surrogate.to_json()
    assert state is not None
    assert state["count"] == 59, "another resource is another function"


def test_a_surrogate_has_at_most_its_points_and_the_newest_half() -> None:
    surrogate = Surrogate(GROUPS, Prior(), 20)
    posterior = surrogate.posterior(points(50), np.random.default_rng(0))
    assert len(posterior.factor.rows) == 20
    state = surrogate.to_json()
    assert state is not None
    assert state["ids"][10:] == list(range(40, 50))
    assert len(set(state["ids"])) == 20
    assert len(surrogate.posterior(points(53), np.random.default_rng(0)).factor.rows) == 23


def test_a_restored_surrogate_computes_the_very_same() -> None:
    surrogate = Surrogate(GROUPS, Prior(), 30)
    for n in range(30, 44):
        surrogate.posterior(points(n), np.random.default_rng(0))
    restored = Surrogate(GROUPS, Prior(), 30)
    restored.load_json(surrogate.to_json())
    new = data(10, 5)[0]
    pending = data(3, 6)[0]
    for n in (44, 45, 46, 47, 48, 49):
        ours, theirs = (
            each.posterior(points(n), np.random.default_rng(n), pending).mean_and_sd(new)
            for each in (surrogate, restored)
        )
        np.testing.assert_array_equal(ours, theirs)


def test_what_is_pending_counts_as_observed() -> None:
    surrogate = Surrogate(GROUPS, Prior(), 750)
    new = data(4, 9)[0]
    plain = surrogate.posterior(points(20), np.random.default_rng(0))
    believing = surrogate.posterior(points(20), np.random.default_rng(0), new)
    np.testing.assert_allclose(believing.mean(data(6, 7)[0]), plain.mean(data(6, 7)[0]), atol=1e-9)
    assert (believing.mean_and_sd(new)[1] < 0.8 * plain.mean_and_sd(new)[1]).all()
