"""What a sweep does next, and how that stands in a journal."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Final

from metta.sweep.optimizers.params import ParamsCodec
from metta.sweep.schedulers.base import Action, Decision, Done, Fork, Launch, Prune, Resume, Verdict, Wait


@dataclass(frozen=True, slots=True)
class Halt:
    """A limit of the budget ends the sweep now; `why` says which."""

    why: str


Move = Decision | Halt
"""What a sweep does next: a decision of its scheduler, or the end of its budget."""

_MOVES: Final[Mapping[str, type[Move]]] = {
    "launch": Launch,
    "resume": Resume,
    "fork": Fork,
    "prune": Prune,
    "wait": Wait,
    "done": Done,
    "halt": Halt,
}


def move_to_json(move: Move, codec: ParamsCodec) -> dict[str, Any]:
    """A move as JSON values."""
    name = next(name for name, kind in _MOVES.items() if type(move) is kind)
    data = {field.name: getattr(move, field.name) for field in fields(move)}
    if isinstance(move, Fork) and move.params is not None:
        data["params"] = codec.encode(move.params)
    if isinstance(move, Prune):
        data["trials"] = list(move.trials)
    return {"do": name, **data}


def move_from_json(data: Mapping[str, Any], codec: ParamsCodec) -> Move:
    """The move that `move_to_json` wrote; other keys of `data` are left alone.

    Raises:
        ValueError: it is none that this release knows.
    """
    match data["do"]:
        case "launch":
            return Launch(data["count"], data["until"])
        case "resume":
            return Resume(data["trial"], data["until"])
        case "fork":
            params = None if data["params"] is None else codec.decode(data["params"])
            return Fork(data["parent"], params, data["until"], data["replaces"])
        case "prune":
            return Prune(tuple(data["trials"]))
        case "halt":
            return Halt(data["why"])
        case "done":
            return Done()
    raise ValueError(f"a decision that this release does not know: {data['do']!r}")


def verdict_to_json(verdict: Verdict) -> dict[str, Any]:
    """A verdict as JSON values."""
    return {"action": verdict.action.value, "milestone": verdict.milestone, "until": verdict.until}


def verdict_from_json(data: Mapping[str, Any]) -> Verdict:
    """The verdict that `verdict_to_json` wrote; other keys of `data` are left alone."""
    return Verdict(Action(data["action"]), data["milestone"], data["until"])
