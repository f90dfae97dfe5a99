"""The stream of events: what is put in comes out, and a time-out always ends a wait."""

from __future__ import annotations

import threading

import pytest

from metta.sweep.executors.base import EventStream, Started


def test_events_come_in_their_order() -> None:
    events = EventStream()
    for number in range(3):
        events.put(Started(f"task {number}", "here"))
    assert [events.get(0.0).token for _ in range(3)] == ["task 0", "task 1", "task 2"]
    with pytest.raises(TimeoutError, match=r"no event within 0\.01 s"):
        events.get(0.01)


def test_a_wait_that_is_held_up_for_longer_than_its_timeout_ends() -> None:
    """Between its beginning and its end the thread may not run for a while. Here the time-out is as short as that."""
    done = threading.Event()

    def waits() -> None:
        events = EventStream()
        for number in range(40_000):
            events.put(Started(str(number), "here"))
            assert events.get().token == str(number)
            with pytest.raises(TimeoutError):
                events.get(5e-7)
        done.set()

    threading.Thread(target=waits, daemon=True).start()
    assert done.wait(60), "one of the waits does not end"
