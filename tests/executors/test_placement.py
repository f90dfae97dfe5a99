"""The rule by which waiting tasks start, without any process."""

from __future__ import annotations

from collections import deque

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metta.sweep.executors.placement import OVERTAKES, WINDOW, Demand, Room, next_to_start
from metta.sweep.trial import Resources

TWO_DEVICES = {"0": 1.0, "1": 1.0}


@pytest.mark.parametrize(("cpus", "slots"), [(0, 1), (0.5, 1), (1, 1), (1.5, 2), (4, 4)])
def test_cores_are_slots(cpus: float, slots: int) -> None:
    assert Demand.of(Resources(cpus=cpus)) == Demand(slots, 0.0)


def test_first_come_first_served() -> None:
    assert next_to_start([Demand(2), Demand(1)], 0, Room(2, {})) == 0
    assert next_to_start([], 0, Room(2, {})) is None


def test_nothing_starts_without_a_slot() -> None:
    assert next_to_start([Demand(1)], 0, Room(0, {})) is None


def test_a_smaller_one_overtakes_a_limited_number_of_times() -> None:
    waiting = [Demand(2), Demand(1)]
    assert next_to_start(waiting, OVERTAKES - 1, Room(1, {})) == 1
    assert next_to_start(waiting, OVERTAKES, Room(1, {})) is None


def test_who_waits_for_a_device_never_holds_up_those_that_want_none() -> None:
    waiting = [Demand(1, 1.0), Demand(1)]
    taken = Room(1, {"0": 0.0})
    assert next_to_start(waiting, 1_000, taken) == 1


def test_who_waits_for_a_device_keeps_the_slots_that_it_needs() -> None:
    # Whoever holds the device gives one slot back, the other two must stay.
    waiting = [Demand(3, 1.0), Demand(1)]
    assert next_to_start(waiting, OVERTAKES, Room(3, {"0": 0.0})) == 1
    assert next_to_start(waiting, OVERTAKES, Room(2, {"0": 0.0})) is None


def test_shares_do_not_starve_who_wants_whole_devices() -> None:
    waiting = [Demand(1, 2.0), Demand(1, 0.5)]
    half_taken = Room(4, {"0": 0.5, "1": 1.0})
    assert next_to_start(waiting, OVERTAKES - 1, half_taken) == 1
    assert next_to_start(waiting, OVERTAKES, half_taken) is None


def test_only_the_front_of_a_long_queue_is_looked_at() -> None:
    wide = [Demand(2, number / 1_000) for number in range(1, WINDOW + 1)]
    assert next_to_start([*wide[:-1], Demand(1)], 0, Room(1, {})) == WINDOW - 1
    assert next_to_start([*wide, Demand(1)], 0, Room(1, {})) is None


@pytest.mark.parametrize(
    ("gpus", "free", "expected"),
    [
        (0, {"0": 1.0}, ()),
        (0, {}, ()),
        (1, TWO_DEVICES, ("0",)),
        (2, TWO_DEVICES, ("0", "1")),
        (1, {"0": 0.5, "1": 1.0}, ("1",)),
        (2, {"0": 0.5, "1": 1.0}, None),
        (0.5, {"0": 0.5, "1": 1.0}, ("0",)),  # whole ones stay whole
        (0.6, {"0": 0.5, "1": 1.0}, ("1",)),
        (0.5, {"0": 0.2, "1": 0.0}, None),
        (1, {}, None),
    ],
)
def test_devices(gpus: float, free: dict[str, float], expected: tuple[str, ...] | None) -> None:
    assert Room(1, free).devices_for(Demand(1, gpus)) == expected


def test_ten_shares_of_a_tenth_make_a_device() -> None:
    room = Room(20, {"0": 1.0})
    for _ in range(10):
        devices = room.devices_for(Demand(1, 0.1))
        assert devices == ("0",)
        room = room.without(Demand(1, 0.1), devices)
    assert room.devices_for(Demand(1, 0.1)) is None


def serve(demands: list[Demand]) -> int:
    """Hand out three slots and two devices until all have run; the most overtakes in a row of one waiting task."""
    running = deque[tuple[Demand, tuple[str, ...]]]()
    waiting, coming = demands[:4], deque(demands[4:])
    overtaken = most = 0
    while waiting:
        room = Room(3, TWO_DEVICES)
        for demand, devices in running:
            room = room.without(demand, devices)
        assert room.slots >= 0
        position = next_to_start(waiting, overtaken, room)
        if position is None:
            running.popleft()  # raises, if everyone waits and nobody runs
            if coming:
                waiting.append(coming.popleft())
            continue
        demand = waiting.pop(position)
        given_devices = room.devices_for(demand)
        assert given_devices is not None
        assert all(room.devices[name] >= min(demand.gpus, 1) for name in given_devices)
        running.append((demand, given_devices))
        overtaken = overtaken + 1 if position else 0
        most = max(most, overtaken)
    return most


slots = st.integers(1, 3)
gpus = st.sampled_from([0.0, 0.25, 0.5, 1.0, 2.0])


@given(st.lists(st.builds(Demand, slots, gpus), max_size=60))
@settings(derandomize=True, max_examples=100, deadline=None)
def test_everyone_starts(demands: list[Demand]) -> None:
    serve(demands)


@given(st.lists(st.builds(Demand, slots), max_size=60))
@settings(derandomize=True, max_examples=100, deadline=None)
def test_nobody_is_overtaken_too_often(demands: list[Demand]) -> None:
    assert serve(demands) <= OVERTAKES


def test_a_stream_of_small_ones_overtakes_to_the_limit() -> None:
    assert serve([Demand(1), Demand(3), *[Demand(1)] * 40]) == OVERTAKES
