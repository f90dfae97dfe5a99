"""How far a sweep has come, and how long it still takes: the same estimate wherever one is shown."""

from __future__ import annotations


def used_share(*uses: tuple[float, float | None]) -> float | None:
    """How much of a budget is used, 0..1: by the limit that is nearest. None without a limit.

    Args:
        uses: for each limit what is used, and the limit; None where there is none.
    """
    shares = [used / limit for used, limit in uses if limit]
    return max(0.0, min(1.0, max(shares))) if shares else None


def seconds_left(seconds: float, share: float | None) -> float | None:
    """The rest at the pace so far, in seconds.

    None before anything is used. None, too, once all is: what was started goes on, and nothing says how long.

    Args:
        seconds: how long it has run.
        share: of the budget that is used, 0..1; None where nothing says.
    """
    return seconds * (1 - share) / share if share and share < 1 else None
