"""How far a sweep has come, and how long it still takes."""

from __future__ import annotations

import pytest

from metta.sweep.report.pace import seconds_left, used_share


def test_the_limit_that_is_nearest_counts() -> None:
    assert used_share((1, 4), (30.0, 40.0), (5, None)) == 0.75
    assert used_share((9, 4)) == 1.0
    assert used_share((-1, 4)) == 0.0  # more forks run than trials were started


def test_without_a_limit_nothing_says_how_far_it_is() -> None:
    assert used_share() is None
    assert used_share((3, None), (3, 0)) is None


@pytest.mark.parametrize(("share", "left"), [(None, None), (0.0, None), (0.25, 30.0), (0.5, 10.0), (1.0, None)])
def test_the_rest_goes_on_at_the_pace_so_far(share: float | None, left: float | None) -> None:
    assert seconds_left(10.0, share) == left
