"""What parameters explain."""

from __future__ import annotations

import pytest

from metta.sweep.errors import RunError
from metta.sweep.report.importance import shares
from tests.report.snapshots import trial


def test_nothing_is_important_where_nothing_differs() -> None:
    trials = [trial(number, 1.0, params={"x": 1, "kind": "a"}) for number in range(10)]
    assert shares(trials) == {"kind": 0.0, "x": 0.0}


def test_a_parameter_that_is_not_set_is_not_one_that_ends_like_it() -> None:
    """`Params` reads "depth" as "cnn.depth" where it is the only one; a trial without it must not count."""
    trials = [trial(number, 1.0, params={"cnn.depth": number}) for number in range(16)]
    trials += [trial(number, 1.0, params={"depth": number % 2}) for number in range(16, 32)]
    found = shares(trials)
    assert found["cnn.depth"] > 0.9
    assert found["depth"] < 0.1


def test_seven_trials_tell_nothing() -> None:
    with pytest.raises(RunError, match="at least 8 trials with a score; there are 7"):
        shares([trial(number, 1.0) for number in range(7)])
