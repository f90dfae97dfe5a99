"""Which waiting task starts next, and on which devices: pure functions of what is wanted and what is free.

The rule. First come, first served. While the oldest waiting task cannot start, a younger one that fits may start
before it,

1. always, if that takes nothing which the oldest waits for: a task without devices overtakes one that waits for a
   device, as long as enough slots stay for it;
2. else at most `OVERTAKES` times: then what becomes free is kept until the oldest fits.

So a large task does not keep the machine idle while it waits, and a stream of small ones cannot starve it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from itertools import islice
from typing import Final

from metta.sweep.trial import Resources

OVERTAKES: Final = 8
"""How many younger tasks may delay the oldest waiting one."""

WINDOW: Final = 64
"""How many waiting tasks are looked at: a longer queue must not cost more."""

_WHOLE: Final = 1.0
_ROUNDING: Final = 1e-9  # ten shares of 0.1 make a whole device


@dataclass(frozen=True, slots=True)
class Demand:
    """What a task takes: worker slots, and devices (a whole number, or a share of one below 1)."""

    slots: int = 1
    gpus: float = 0.0

    @classmethod
    def of(cls, resources: Resources) -> Demand:
        """Cores are slots, rounded up, at least one."""
        return cls(max(1, math.ceil(resources.cpus)), float(resources.gpus))

    @property
    def shares(self) -> float:
        """What it takes of each of its devices."""
        return min(self.gpus, _WHOLE)


@dataclass(frozen=True, slots=True)
class Room:
    """What is free: slots, and the free share of each device (1.0: all of it), in the order of the devices."""

    slots: int
    devices: Mapping[str, float]

    def devices_for(self, demand: Demand) -> tuple[str, ...] | None:
        """The devices to give: for a share the fullest one that has room, so that whole ones stay free.

        None: there are none now. Without a wish for any: ().
        """
        if demand.gpus == 0:
            return ()
        free = [name for name, share in self.devices.items() if share >= demand.shares - _ROUNDING]
        if demand.gpus < 1:
            return (min(free, key=lambda name: self.devices[name]),) if free else None
        count = round(demand.gpus)
        return tuple(free[:count]) if len(free) >= count else None

    def fits(self, demand: Demand) -> bool:
        """Whether the demand can be met now."""
        return demand.slots <= self.slots and self.devices_for(demand) is not None

    def without(self, demand: Demand, devices: Iterable[str]) -> Room:
        """What is left when a task takes its slots and its share of `devices`."""
        left = dict(self.devices)
        for name in devices:
            left[name] = max(0.0, left[name] - demand.shares)
        return replace(self, slots=self.slots - demand.slots, devices=left)


def next_to_start(waiting: Iterable[Demand], overtaken: int, room: Room) -> int | None:
    """The position in the queue of the task that may start now; None: nothing may.

    Args:
        waiting: the queue, oldest first.
        overtaken: how often the oldest has been overtaken.
        room: what is free.
    """
    if room.slots < 1:
        return None
    refused: set[Demand] = set()
    oldest: Demand | None = None
    for position, demand in enumerate(islice(waiting, WINDOW)):
        if demand in refused:
            continue
        if room.fits(demand) and (oldest is None or overtaken < OVERTAKES or not _delays(demand, oldest, room)):
            return position
        refused.add(demand)
        oldest = oldest or demand
    return None


def _delays(younger: Demand, oldest: Demand, room: Room) -> bool:
    """Whether the oldest task may have to wait longer when a younger one starts now."""
    lacks_devices = room.devices_for(oldest) is None
    if younger.gpus > 0 and oldest.gpus > 0:
        return True
    # Whoever gives back the device that is lacking gives back a slot as well.
    comes_free = 1 if lacks_devices else 0
    return room.slots - younger.slots + comes_free < oldest.slots
