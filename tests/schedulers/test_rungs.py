import math

from hypothesis import given, settings
from hypothesis import strategies as st

from metta.sweep.goal import ranked
from metta.sweep.schedulers.rungs import Rung


def rung_of(*losses: float) -> Rung:
    rung = Rung(10)
    for number, loss in enumerate(losses):
        rung.record(number, (loss,), waits=True)
    return rung


def test_nobody_is_promoted_before_there_are_enough() -> None:
    assert rung_of(0.1, 0.2).promotable(3) is None
    assert rung_of(0.1, 0.2, 0.0).promotable(3) == 2


def test_the_quota_counts_the_promoted_too() -> None:
    rung = rung_of(0.3, 0.1, 0.2, 0.5, 0.4)
    rung.waiting.discard(1)
    assert rung.promotable(3) is None  # the top one of five has gone
    rung.record(5, (0.6,), waits=True)
    assert rung.promotable(3) == 2  # now two of six


def test_ties_break_by_number_and_nan_never_wins() -> None:
    assert rung_of(0.5, 0.5, 0.5).promotable(3) == 0
    assert rung_of(math.inf, 0.5, math.inf).promotable(3) == 1


@settings(derandomize=True, max_examples=80)
@given(
    st.lists(st.integers(0, 6).map(float), min_size=1, max_size=25),
    st.integers(2, 4),
    st.lists(st.integers(0, 24), max_size=12),
)
def test_promotable_is_the_definition(losses: list[float], factor: int, gone: list[int]) -> None:
    rung = rung_of(*losses)
    rung.waiting -= set(gone)
    top = ranked(rung.results.items())[: len(losses) // factor]
    assert rung.promotable(factor) == next((number for number in top if number in rung.waiting), None)


@settings(derandomize=True, max_examples=80)
@given(st.lists(st.integers(0, 6).map(float), min_size=1, max_size=25), st.integers(2, 4))
def test_survives_is_the_definition(losses: list[float], factor: int) -> None:
    rung = rung_of(*losses)
    last = sorted(losses)[max(1, len(losses) // factor) - 1]
    for number, loss in enumerate(losses):
        assert rung.survives(number, factor) == (loss <= last)


def test_two_objectives_go_by_non_domination_then_crowding() -> None:
    rung = Rung(1)
    for number, losses in enumerate([(0.0, 9.0), (1.0, 8.0), (9.0, 0.0), (9.0, 9.0), (5.0, 2.0), (8.0, 8.0)]):
        rung.record(number, losses, waits=True)
    assert rung.promotable(3) == 0
    rung.waiting.discard(0)
    assert rung.promotable(3) == 2  # the other end of the front
    rung.waiting.discard(2)
    assert rung.promotable(3) is None
    assert rung.survives(2, 3)
    assert not rung.survives(3, 3)


def test_json_round_trip() -> None:
    rung = rung_of(0.3, math.inf, 0.1)
    rung.waiting.discard(2)
    again = Rung.from_json(rung.to_json())
    assert again.to_json() == rung.to_json()
    again.record(3, (0.0,), waits=True)
    assert again.promotable(3) == 3
