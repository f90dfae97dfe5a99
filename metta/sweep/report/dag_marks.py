"""What is written into the boxes of a graph: how a step is, in a sign and a few words, so that no colour is needed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Final

from metta.sweep.compiler.drawing.svg import Mark
from metta.sweep.compiler.render_labels import shortened
from metta.sweep.report.dag_states import OVER, NodeState, NodeStatus, worst
from metta.sweep.report.text import duration, shorten
from metta.sweep.store.run import RunStatus

SIGNS: Final[Mapping[NodeState, str]] = {
    NodeState.WAITING: "○",
    NodeState.RUNNING: "▸",
    NodeState.RETRYING: "↻",
    NodeState.DONE: "✓",
    NodeState.CACHED: "≡",
    NodeState.SKIPPED: "↷",
    NodeState.FAILED: "✗",
    NodeState.STOPPED: "■",
}
"""A sign for each state, beside its word: no meaning by colour alone. None is one that browsers draw as an emoji."""

_TEXT_WIDTH: Final = 30


def word_of(state: NodeState, status: RunStatus) -> str:
    """A state in words; a run that is over will not come to what was not entered."""
    return "not run" if state is NodeState.WAITING and status is not RunStatus.RUNNING else state.value


def mark_of(status: NodeStatus, run: RunStatus) -> Mark:
    """What is written into the box of a step."""
    if status.answers is not None:
        yes, no = status.answers
        text = ", ".join(f"{word} {count}×" for word, count in (("yes", yes), ("no", no)) if count)
        return Mark(status.state.value, text)
    state = status.state
    return Mark(state.value, _line(state, word_of(state, run), status), _tip(status))


def _line(state: NodeState, word: str, status: NodeStatus) -> str:
    if state in (NodeState.FAILED, NodeState.RETRYING) and status.last_error:
        return f"{SIGNS[state]} {shorten(f'{word}: {status.last_error}', _TEXT_WIDTH)}"
    parts = [word]
    if status.passages > 1:
        parts[0] += f" {status.finished}×" if state in OVER else ""
        if state not in OVER and status.finished:
            parts.append(f"{status.finished} done")
    if status.seconds:
        parts.append(duration(status.seconds))
    return f"{SIGNS[state]} {' · '.join(parts)}"


def _tip(status: NodeStatus) -> tuple[str, ...]:
    lines = []
    if status.passages > 1:
        lines.append(", ".join(f"{number} {state.value}" for state, number in status.states.items() if number))
    if status.failures:
        lines.append(f"{status.failures} {'attempt has' if status.failures == 1 else 'attempts have'} failed")
    if status.last_error:
        lines.append(f"last error: {shortened(status.last_error, 300)}")
    return tuple(lines)


def mark_of_all(statuses: Sequence[NodeStatus], own: NodeStatus | None, run: RunStatus) -> Mark:
    """What is written into the box of a folded frame: how far what is inside has come."""
    if own is not None and (own.state not in (NodeState.WAITING, NodeState.RUNNING) or not statuses):
        return mark_of(own, run)
    counts = Counter(status.state for status in statuses)
    state = worst(counts)
    parts = [] if state in OVER else [word_of(state, run)]
    if state is not NodeState.WAITING:
        # An arm of a conditional that was not taken is never done: nothing says whether more is to come.
        parts.append(f"{sum(counts[each] for each in OVER)} of {len(statuses)} done")
    errors = [f"last error: {shortened(each.last_error, 300)}" for each in statuses if each.last_error]
    return Mark(state.value, f"{SIGNS[state]} {' · '.join(parts)}", tuple(errors[-1:]))
