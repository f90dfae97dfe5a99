"""What is concluded about an attempt from what its engine and its heart-beat say, by a clock of the test's own."""

from __future__ import annotations

from pathlib import Path

import pytest

from metta.sweep.executors.base import EventStream
from metta.sweep.executors.remote.attempt import LONGEST_STEP_S, SETTLE_S, VANISHED_S, Attempt
from metta.sweep.executors.remote.engine import JobStatus, Phase
from metta.sweep.executors.remote.follower import Follower


@pytest.fixture
def attempt(tmp_path: Path) -> Attempt:
    return Attempt("token", "name", tmp_path, EventStream(), Follower("token", tmp_path))


def test_a_job_that_the_engine_does_not_know_and_that_beats_is_not_gone(attempt: Attempt) -> None:
    attempt.started = True
    attempt.hear(JobStatus(Phase.RUNNING), 0.0)
    attempt.note_beat(b"1", 0.0)
    attempt.hear(None, 1.0)
    now = 1.0 + VANISHED_S
    attempt.note_beat(b"2", now)
    assert not attempt.is_gone(now)
    # It does not beat any more: the age grows with each look, at most by so much.
    while attempt.beat_age < VANISHED_S:
        assert not attempt.is_gone(now)
        now += LONGEST_STEP_S
        attempt.note_beat(b"2", now)
    assert attempt.is_gone(now)


def test_a_job_that_never_beat_is_gone_once_the_engine_has_not_known_it_for_long(attempt: Attempt) -> None:
    attempt.hear(None, 1.0)
    attempt.hear(None, 1.0 + VANISHED_S / 2)
    assert not attempt.is_gone(0.9 + VANISHED_S)
    assert attempt.is_gone(1.0 + VANISHED_S)


def test_a_job_that_was_found_again_is_not_gone(attempt: Attempt) -> None:
    attempt.hear(None, 1.0)
    attempt.hear(JobStatus(Phase.QUEUED), 2.0)
    assert not attempt.is_gone(10 * VANISHED_S)


def test_the_last_files_of_an_ended_job_are_waited_for(attempt: Attempt) -> None:
    attempt.note_beat(b"1", 0.0)
    attempt.hear(JobStatus(Phase.ENDED), 1.0)
    attempt.hear(JobStatus(Phase.ENDED), 2.0)
    assert not attempt.is_gone(0.9 + SETTLE_S)
    assert attempt.is_gone(1.0 + SETTLE_S)
