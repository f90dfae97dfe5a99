"""How a retry waits. The one place to replace (`monkeypatch.setattr(pauses, "sleep", ...)`) for retries that do not."""

from __future__ import annotations

import time


def sleep(seconds: float) -> None:
    """The pause before a retry of a sync stage."""
    time.sleep(seconds)


async def sleep_on_loop(seconds: float) -> None:
    """The pause before a retry in an async function: other stages go on meanwhile."""
    import asyncio

    await asyncio.sleep(seconds)
