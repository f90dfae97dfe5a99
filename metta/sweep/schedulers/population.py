"""The members of a population, and the places that dead ones have left."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from metta.sweep.goal import Losses
from metta.sweep.schedulers.exploit import is_finite
from metta.sweep.trial import number_to_json

Phase = Literal["active", "paused", "over"]

MAX_DEATHS_IN_A_ROW: Final = 3
"""So many members may die before another one gets a result: then the dead are replaced only after the next result."""


@dataclass(slots=True)
class Member:
    """A member of the population.

    Attributes:
        trial: its number.
        start: units of resource at its last ready check, or at its fork.
        until: units of resource at its next ready check.
        step: the last step that it has reported, or that its donor had at the fork.
        losses: of its last report; None before the first.
        baseline: the losses that its weights had at `start`; None where they are not known.
        results: (step, losses) at its ready checks, in their order. A fork begins with those of the member whose place
            it takes: until it has its own it ranks where that one did, or else the next worst would be the bottom.
        phase: "active" while it trains or waits for a slot, "paused" at its ready check, "over" when its training
            has come to its end.
    """

    trial: int
    start: int
    until: int
    step: int
    losses: Losses | None = None
    baseline: Losses | None = None
    results: list[tuple[int, Losses]] = field(default_factory=list)
    phase: Phase = "active"

    def result_at(self, step: int) -> Losses:
        """Its last result at or before `step`; its first one where there is none so early."""
        return next((losses for at, losses in reversed(self.results) if at <= step), self.results[0][1])

    def to_json(self) -> list[Any]:
        """The member as JSON values."""
        losses, baseline = (None if values is None else _to_json(values) for values in (self.losses, self.baseline))
        results = [[step, _to_json(values)] for step, values in self.results]
        return [self.trial, self.start, self.until, self.step, losses, baseline, results, self.phase]

    @classmethod
    def from_json(cls, data: Sequence[Any]) -> Member:
        """The member that `to_json` wrote."""
        trial, start, until, step, losses, baseline, results, phase = data
        past = [(at, tuple(map(float, values))) for at, values in results]
        return cls(trial, start, until, step, _from_json(losses), _from_json(baseline), past, phase)


@dataclass(slots=True)
class Population:
    """All members, by the numbers of their trials, and the free places.

    Attributes:
        members: those that live, and those whose training is over.
        vacant: for each place that a dead member has left, the resource at which it was judged last.
        deaths: how many have died since the last result.
    """

    members: dict[int, Member] = field(default_factory=dict)
    vacant: list[int] = field(default_factory=list)
    deaths: int = 0

    @property
    def size(self) -> int:
        """Members and the places of the dead."""
        return len(self.members) + len(self.vacant)

    def standing(self, step: int) -> dict[int, Losses]:
        """Number -> losses of all that have a result, like with like: the last one at or before `step`."""
        return {number: member.result_at(step) for number, member in self.members.items() if member.results}

    def donors(self) -> set[int]:
        """Those that may be copied: they still train, and their last report is a result with finite losses."""
        return {
            number
            for number, member in self.members.items()
            if member.phase != "over" and member.losses is not None and is_finite(member.losses) and member.results
        }

    def record(self, member: Member, losses: Losses) -> None:
        """A result at a ready check. Earlier results that nobody will be compared with any more are forgotten."""
        member.results.append((member.step, losses))
        self.deaths = 0
        earliest = min(other.start for other in self.members.values() if other.phase != "over")
        for other in self.members.values():
            while len(other.results) > 1 and other.results[1][0] <= earliest:
                del other.results[0]

    def next_paused(self) -> Member | None:
        """The paused member that has trained least: nobody is left behind where there are fewer slots than members."""
        paused = (member for member in self.members.values() if member.phase == "paused")
        return min(paused, key=lambda member: (member.start, member.trial), default=None)

    def next_vacant(self) -> int | None:
        """The resource of the place that is to be filled next, if one may be filled now."""
        if not self.vacant or self.deaths >= MAX_DEATHS_IN_A_ROW:
            return None
        return min(self.vacant)

    def enter(self, members: Iterable[Member], capacity: int) -> None:
        """New members; where all places are taken, those of the dead are theirs."""
        for member in members:
            if self.vacant and self.size >= capacity:
                self.vacant.remove(min(self.vacant))
            self.members[member.trial] = member

    def bury(self, number: int) -> None:
        """The member has died; its place becomes vacant."""
        member = self.members.pop(number, None)
        if member is not None and member.phase != "over":
            self.vacant.append(member.start)
            self.deaths += 1

    def to_json(self) -> dict[str, Any]:
        """The population as JSON values."""
        members = [member.to_json() for member in self.members.values()]
        return {"members": members, "vacant": list(self.vacant), "deaths": self.deaths}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Population:
        """The population that `to_json` wrote."""
        members = map(Member.from_json, data["members"])
        return cls({member.trial: member for member in members}, list(data["vacant"]), data["deaths"])


def _to_json(losses: Losses) -> list[float | str]:
    return list(map(number_to_json, losses))


def _from_json(data: Sequence[Any] | None) -> Losses | None:
    return None if data is None else tuple(map(float, data))
