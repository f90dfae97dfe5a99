"""A run tree as text, as HTML, in the languages of graphviz and Mermaid, and as a picture."""

from __future__ import annotations

import html
import json
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from itertools import count
from pathlib import Path
from typing import Final, NamedTuple

from metta.sweep.compiler.render import PICTURE_FORMATS, default_file_name, picture, write
from metta.sweep.compiler.render_labels import printable
from metta.sweep.contracts.diagnostics import nearest
from metta.sweep.errors import UsageError
from metta.sweep.experiments.tree.run_tree import RunTree, Spending, StageStarter
from metta.sweep.report.text import cells, duration, number_text, padded, shorten, value_text
from metta.sweep.store.run import RunStatus
from metta.sweep.trial import TrialState

WIDTH: Final = 80
NARROWEST_LABEL: Final = 24
LABEL_IN_PICTURE: Final = 48

FORMATS: Final = ("text", *PICTURE_FORMATS, "dot", "mermaid", "json")
_SUFFIXES: Final = {"mmd": "mermaid", "gv": "dot", "txt": "text"}

_HEAD: Final = ("trials", "best", "steps", "time", "status")
_FINISHED: Final = frozenset(state.value for state in TrialState if state.is_finished)

_FILL: Final = {
    RunStatus.COMPLETED: "#d3f2dc",
    RunStatus.RUNNING: "#d5e6ff",
    RunStatus.FAILED: "#ffd9d9",
    RunStatus.DAMAGED: "#ffd9d9",
    RunStatus.CANCELLED: "#e4e7eb",
    RunStatus.INTERRUPTED: "#ffe8b8",
}


class Branches(NamedTuple):
    """What stands before a child, before the last one, and before what is below the one and the other."""

    child: str
    last: str
    beside: str
    beside_last: str


UNICODE: Final = Branches("├─ ", "└─ ", "│  ", "   ")
ASCII: Final = Branches("|- ", "`- ", "|  ", "   ")


def to_text(tree: RunTree, width: int = WIDTH, *, ascii: bool | None = None) -> str:
    """A line for each run, at most `width` columns wide in all, then what the leaves have used.

    Args:
        ascii: draw without line characters; None: where standard output cannot show them.
    """
    branches = ASCII if (_is_plain() if ascii is None else ascii) else UNICODE
    rows = list(_rows(tree, branches))
    has_cost = bool(tree.spent.costs)
    told = [_cells(node, has_cost) for _, _, node in rows]
    head = [*_HEAD, "cost"] if has_cost else [*_HEAD]
    widths = [max(len(cell) for cell in column) for column in zip(head, *told, strict=True)]
    space = max(NARROWEST_LABEL, width - sum(widths) - 2 * len(widths))
    labels = [branch + _cut(label, space - len(branch), branches) for branch, label, _ in rows]
    space = min(space, max(map(cells, labels)))
    lines = [
        "  ".join([padded(label, space), *(cell.rjust(size) for cell, size in zip(line, widths, strict=True))])
        for label, line in zip(["run", *labels], [head, *told], strict=True)
    ]
    problems = [f"{node.id} is damaged: {shorten(node.problem, 200)}" for node in tree.walk() if node.problem]
    return "\n".join(line.rstrip() for line in [*lines, *_footer(tree), *problems])


def _is_plain() -> bool:
    try:
        "".join(UNICODE).encode(getattr(sys.stdout, "encoding", None) or "ascii")
    except (UnicodeEncodeError, LookupError):
        return True
    return False


def _rows(tree: RunTree, branches: Branches) -> Iterator[tuple[str, str, RunTree]]:
    """What stands before each run, what it is called, and the run."""
    yield "", tree.name or tree.id, tree
    yield from _rows_below(tree, branches, "")


def _rows_below(tree: RunTree, branches: Branches, ahead: str) -> Iterator[tuple[str, str, RunTree]]:
    for index, child in enumerate(tree.children):
        is_last = index == len(tree.children) - 1
        yield ahead + (branches.last if is_last else branches.child), label_of(child, tree), child
        yield from _rows_below(child, branches, ahead + (branches.beside_last if is_last else branches.beside))


def label_of(node: RunTree, above: RunTree) -> str:
    """What a run is called below another one: who has started it, with what, and its name where that tells more."""
    starter = node.starter
    if starter is None:
        return node.name or node.id
    if isinstance(starter, StageStarter):
        again = f" (attempt {starter.attempt})" if starter.attempt > 1 else ""
        name = "" if node.name == starter.stage else f": {node.name or node.id}"
        return f"stage {starter.stage}{again}{name}"
    params = ", ".join(f"{_ends(path)}={value_text(value)}" for path, value in starter.params.items())
    siblings = [child for child in above.children if _trial_of(child) == starter.trial]
    told = [node.name or node.id] if len(siblings) > 1 or not params else []
    return f"trial {starter.trial}: {', '.join([*told, *([params] if params else [])])}"


def _trial_of(node: RunTree) -> int | None:
    return None if node.starter is None or isinstance(node.starter, StageStarter) else node.starter.trial


def _ends(path: str) -> str:
    return path.rpartition(".")[2]


def _cells(node: RunTree, has_cost: bool) -> list[str]:
    spent = node.spent
    cells = [_progress(node), number_text(node.best), str(spent.resource), duration(spent.seconds), node.status.value]
    return [*cells, _cost(spent)] if has_cost else cells


def _progress(node: RunTree) -> str:
    """How many of its trials have ended, of how many there are; a pipeline has none."""
    if node.kind != "sweep" or not node.counts:
        return "-"
    ended = sum(number for state, number in node.counts.items() if state in _FINISHED)
    return f"{ended}/{sum(node.counts.values())}"


def _cost(spent: Spending) -> str:
    return number_text(spent.cost) if spent.costs else "-"


def _cut(label: str, space: int, branches: Branches) -> str:
    return shorten(printable(label), max(1, space), mark="…" if branches is UNICODE else "...")


def _footer(tree: RunTree) -> Iterator[str]:
    spent = tree.spent
    runs = sum(1 for _ in tree.walk())
    costs = "".join(f", {key} {number_text(cost)}" for key, cost in spent.costs.items())
    yield (
        f"{runs} {'run' if runs == 1 else 'runs'}; at the leaves {spent.trials} trials, {spent.resource} steps, "
        f"{duration(spent.seconds)} of work{costs}"
    )
    yield f"{duration(tree.wall_seconds)} by the clock"


def to_html(tree: RunTree) -> str:
    """A table for a notebook; what is indented was started by what stands above."""
    has_cost = bool(tree.spent.costs)
    head = ["run", *_HEAD, *(["cost"] if has_cost else [])]
    titles = "".join(f"<th>{title}</th>" for title in head)
    body = []
    for branch, label, node in _rows(tree, UNICODE):
        text = html.escape(printable(branch.replace(" ", "\N{NO-BREAK SPACE}") + label))
        cells = "".join(f"<td>{html.escape(cell)}</td>" for cell in _cells(node, has_cost))
        body.append(f'<tr><td style="text-align:left">{text}</td>{cells}</tr>')
    notes = [*_footer(tree), *(f"{node.id} is damaged: {node.problem}" for node in tree.walk() if node.problem)]
    told = "".join(f"<p>{html.escape(note)}</p>" for note in notes)
    return f"<table><thead><tr>{titles}</tr></thead><tbody>{''.join(body)}</tbody></table>{told}"


def _lines_of(node: RunTree) -> list[str]:
    """What stands in the box of a run."""
    spent = node.spent
    used = [f"{spent.resource} steps"] if spent.resource else []
    lines = [", ".join([*used, duration(spent.seconds), *([f"cost {_cost(spent)}"] if spent.costs else [])])]
    found = [f"{_progress(node)} trials"] if node.kind == "sweep" else []
    found += [f"best {number_text(node.best)}"] if node.best is not None else []
    return [f"{node.kind or 'run'}, {node.status.value}", *([", ".join(found)] if found else []), *lines]


def _links(tree: RunTree) -> Iterator[tuple[int, RunTree, int | None, str]]:
    """The runs with a number each, the number of the one above, and what the line between them says."""
    numbers = count()

    def level(node: RunTree, above: int | None, label: str) -> Iterator[tuple[int, RunTree, int | None, str]]:
        number = next(numbers)
        yield number, node, above, label
        for child in node.children:
            yield from level(child, number, label_of(child, node))

    yield from level(tree, None, "")


def to_dot(tree: RunTree) -> str:
    """The tree in the DOT language; no binary is needed for the text."""
    lines = [
        f"digraph {_dot_text(tree.id)} {{",
        '  graph [rankdir=LR, fontname="Helvetica,Arial,sans-serif", nodesep=0.15, ranksep=0.9, pad=0.25]',
        '  node [shape=box, style="rounded,filled", fontname="Helvetica,Arial,sans-serif", fontsize=11]',
        '  edge [fontname="Helvetica,Arial,sans-serif", fontsize=9, color="#7b8794", arrowsize=0.7]',
    ]
    for number, node, above, label in _links(tree):
        text = r"\n".join(_dot_text(line)[1:-1] for line in (shorten(node.name or node.id, 40), *_lines_of(node)))
        lines.append(f'  n{number} [label="{text}", fillcolor="{_FILL[node.status]}", tooltip={_dot_text(node.id)}]')
        if above is not None:
            lines.append(f"  n{above} -> n{number} [label={_dot_text(shorten(label, LABEL_IN_PICTURE))}]")
    return "\n".join([*lines, "}"]) + "\n"


def _dot_text(text: str) -> str:
    escaped = printable(text).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


_SPECIAL: Final = re.compile(r"[\"#<>&`|\\\[\]{}]")


def to_mermaid(tree: RunTree) -> str:
    """The tree as a Mermaid flow chart; it says the same as the DOT drawing."""
    lines = ["flowchart LR"]
    for number, node, above, label in _links(tree):
        text = "<br/>".join(map(_entities, (shorten(node.name or node.id, 40), *_lines_of(node))))
        lines.append(f'  n{number}["{text}"]:::{node.status.value}')
        if above is not None:
            lines.append(f'  n{above} -->|"{_entities(shorten(label, LABEL_IN_PICTURE))}"| n{number}')
    styles = [f"  classDef {status.value} fill:{fill},stroke:#4a6fa5,color:#1f2933" for status, fill in _FILL.items()]
    return "\n".join([*lines, *styles]) + "\n"


def _entities(text: str) -> str:
    """What Mermaid or HTML would read as markup becomes a numbered entity."""
    return _SPECIAL.sub(lambda found: f"#{ord(found[0])};", printable(text)).lstrip() or " "


_TEXT_FORMATS: Final[Mapping[str, Callable[[RunTree], str]]] = {
    "text": lambda tree: to_text(tree) + "\n",
    "json": lambda tree: json.dumps(tree.to_json(), indent=2, allow_nan=False) + "\n",
    "dot": to_dot,
    "mermaid": to_mermaid,
}
TEXT_FORMATS: Final = tuple(_TEXT_FORMATS)


def render(tree: RunTree, format: str = "svg") -> bytes:
    """The drawing as bytes; text formats in UTF-8.

    Raises:
        UsageError: an unknown format, or `dot` is not installed.
    """
    format = checked_format(format)
    if format in _TEXT_FORMATS:
        return _TEXT_FORMATS[format](tree).encode(errors="backslashreplace")
    return picture(to_dot(tree), format)


def checked_format(format: str | None, path: str | Path | None = None, default: str = "svg") -> str:
    """The format itself; where it is None what the path's suffix says (".mmd" is mermaid), `default` without one.

    Raises:
        UsageError: an unknown format; the message names the nearest.
    """
    if format is None:
        suffix = "" if path is None else Path(path).suffix.removeprefix(".").lower()
        format = _SUFFIXES.get(suffix, suffix) if suffix else default
    if format in FORMATS:
        return format
    near = nearest(format, FORMATS)
    hint = f' (did you mean "{near}"?)' if near else ""
    raise UsageError(f'unknown format "{format}"{hint}: choose {", ".join(FORMATS[:-1])} or {FORMATS[-1]}')


def draw(tree: RunTree, path: str | Path | None = None, format: str | None = None) -> Path:
    """Write the drawing to a file, see `RunTree.draw`."""
    format = checked_format(format, path)
    return write(render(tree, format), file_name(tree, format) if path is None else path)


def file_name(tree: RunTree, format: str) -> str:
    """After the run."""
    return default_file_name(tree.id, "txt" if format == "text" else format)
