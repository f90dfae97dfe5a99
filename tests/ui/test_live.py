"""Watchers and the stream of events."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path

from metta.sweep.errors import StorageError
from metta.sweep.ui.live import SHARE, SHORTEST, Watcher, pause, stream
from metta.sweep.ui.opened import MOST_OPEN, OpenRuns, Version
from metta.sweep.ui.pages import changed_parts


class Thing:
    """Something to watch that a test changes."""

    def __init__(self) -> None:
        self.now = "a"
        self.looks = 0
        self.effort = 0.0
        self.broken = False

    def version(self) -> str:
        self.looks += 1
        if self.broken:
            raise StorageError("not now")
        return self.now


def names(known: str | None, now: str) -> list[str]:
    return [f"{known}->{now}"]


async def told(events: AsyncIterator[str]) -> dict[str, object]:
    """The data of the next change."""
    async with asyncio.timeout(20):
        async for event in events:
            if event.startswith("id:"):
                lines = dict(line.split(": ", 1) for line in event.strip().splitlines())
                assert lines["event"] == "changed"
                data: dict[str, object] = json.loads(lines["data"])
                assert data["version"] == lines["id"]
                return data
    raise AssertionError("the stream has ended")


def test_all_who_listen_share_one_watcher() -> None:
    async def scenario() -> None:
        thing = Thing()
        watcher = Watcher(thing, shortest=0.01)
        async with aclosing(stream(watcher, None, names)) as one, aclosing(stream(watcher, "a", names)) as two:
            assert await told(one) == {"version": "a", "parts": ["None->a"]}
            waiting = asyncio.create_task(told(two))
            await asyncio.sleep(0)
            thing.now = "b"
            assert await told(one) == {"version": "b", "parts": ["a->b"]}
            assert await waiting == {"version": "b", "parts": ["a->b"]}
            assert watcher.listeners == 2
            late = stream(watcher, "a", names)
            async with aclosing(late):
                assert (await told(late))["version"] == "b"
        assert watcher.listeners == 0
        looks = thing.looks
        await asyncio.sleep(0.1)
        assert thing.looks == looks  # nobody listens: nobody looks

    asyncio.run(scenario())


def test_what_cannot_be_read_now_is_looked_at_again() -> None:
    async def scenario() -> None:
        thing = Thing()
        thing.broken = True
        async with aclosing(stream(Watcher(thing, shortest=0.01), None, names)) as events:
            waiting = asyncio.create_task(told(events))
            while thing.looks < 3:
                await asyncio.sleep(0.01)
            thing.broken = False
            assert (await waiting)["version"] == "a"

    asyncio.run(scenario())


def test_a_quiet_stream_gives_signs_of_life() -> None:
    async def scenario() -> None:
        async with aclosing(stream(Watcher(Thing(), shortest=0.01), "a", names, sign=0.05)) as events:
            assert await anext(events) == "retry: 2000\n\n"
            assert await anext(events) == ": still here\n\n"

    asyncio.run(scenario())


def test_looking_and_drawing_take_a_fifth_of_the_time() -> None:
    assert pause(0.001, SHORTEST) == SHORTEST
    assert 2.0 / (2.0 + pause(2.0, SHORTEST)) == SHARE


def test_a_watcher_waits_longer_after_much_drawing() -> None:
    async def scenario() -> None:
        thing = Thing()
        watcher = Watcher(thing, shortest=0.0)
        async with aclosing(stream(watcher, None, names)) as events:
            await told(events)
            thing.effort += 60.0  # the pages have drawn for a minute
            await asyncio.sleep(0.2)
            looks = thing.looks
            thing.now = "b"
            await asyncio.sleep(0.2)
            assert thing.looks <= looks + 1

    asyncio.run(scenario())


def test_versions_are_read_back() -> None:
    for version in (Version(3, "running"), Version(0, "completed", "ab12")):
        assert Version.parse(str(version)) == version
    for text in ("", "x", "-", "x-running-", "3", "3-running", "-1-running-", "9" * 300 + "-a-b"):
        assert Version.parse(text) is None


def test_only_parts_that_may_have_changed_are_named() -> None:
    parts = ("head", "trials", "nested")
    before = Version(3, "running", "a")
    assert changed_parts(None, before, parts) == ["head", "trials", "nested"]
    assert changed_parts(before, Version(4, "running", "a"), parts) == ["head", "trials", "nested"]
    assert changed_parts(before, Version(3, "completed", "a"), parts) == ["head", "trials", "nested"]
    assert changed_parts(before, Version(3, "running", "b"), parts) == ["head", "nested"]


def test_runs_that_are_watched_stay_open(tmp_path: Path) -> None:
    async def scenario() -> None:
        runs = OpenRuns()
        watched, idle = runs.at(tmp_path / "watched"), runs.at(tmp_path / "idle")
        async with watched.watcher.listening():
            for number in range(MOST_OPEN):
                runs.at(tmp_path / str(number))
            assert runs.at(tmp_path / "watched") is watched
            assert runs.at(tmp_path / "idle") is not idle
            runs.end()
            assert watched.watcher.ended
        runs.close()

    asyncio.run(scenario())
