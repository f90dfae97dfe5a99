"""The best trials of a sweep as a table, a column per parameter, as wide as there is room."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from metta.sweep.goal import Objectives
from metta.sweep.report.ranking import ranking
from metta.sweep.report.text import cells, number_text, shorten, value_text
from metta.sweep.trial import Trial

if TYPE_CHECKING:
    from rich.table import Table

SHORTEST: Final = 6
"""Columns of the terminal that are left at least to a title, a state or a text that has more."""

WIDE_GAP, NARROW_GAP = 3, 2
"""Between two columns: with all the room that is wanted, and without."""


@dataclass(frozen=True, slots=True)
class Column:
    """A title and the texts below it.

    Attributes:
        is_state: it is that of the states, which is the first to be left out.
    """

    title: str
    texts: tuple[str, ...]
    is_state: bool = False

    @property
    def width(self) -> int:
        """How wide it is, nothing cut."""
        return max(cells(self.title), *map(cells, self.texts), 0)

    @property
    def least(self) -> int:
        """How wide the texts have to be: numbers stay whole."""
        return max((cells(text) if _is_number(text) else min(cells(text), SHORTEST) for text in self.texts), default=0)

    def cut(self, width: int) -> Column:
        """The same, nothing wider than `width`."""
        return replace(self, title=shorten(self.title, width), texts=tuple(shorten(text, width) for text in self.texts))


@dataclass(frozen=True, slots=True)
class TrialTable:
    """The columns that there is room for.

    Attributes:
        left_out: the titles of the others.
        gap: spaces between two columns.
    """

    columns: tuple[Column, ...]
    left_out: tuple[str, ...] = ()
    gap: int = WIDE_GAP

    def fitted(self, width: int) -> TrialTable:
        """The same, at most `width` columns of a terminal wide: titles and texts are cut, then columns are left out.

        The states have room last of all, the others in their order. The first column stays in any case.
        """
        if _total([column.width for column in self.columns], self.gap) <= width:
            return self
        titles = [column.title for column in self.columns]
        least = [max(column.least, width) for column, width in zip(self.columns, _told_apart(titles), strict=True)]
        kept: list[int] = []
        for index in sorted(range(len(titles)), key=lambda index: self.columns[index].is_state):
            if not kept or _total([least[each] for each in (*kept, index)], NARROW_GAP) <= width:
                kept.append(index)
        kept.sort()
        wide = [self.columns[index].width for index in kept]
        while _total(wide, NARROW_GAP) > width and max(wide) > 1:
            place = max(range(len(kept)), key=lambda place: wide[place] - least[kept[place]])
            wide[place] -= 1
        return TrialTable(
            tuple(self.columns[index].cut(size) for index, size in zip(kept, wide, strict=True)),
            tuple(title for index, title in enumerate(titles) if index not in kept),
            NARROW_GAP,
        )

    @property
    def rows(self) -> list[tuple[str, ...]]:
        """The texts, a row per trial."""
        return list(zip(*(column.texts for column in self.columns), strict=True))

    def to_rich(self, title: str) -> Table:
        """The table for a terminal."""
        from rich.box import SIMPLE
        from rich.table import Table
        from rich.text import Text

        padding = (0, 1) if self.gap == WIDE_GAP else (0, 1, 0, 0)
        table = Table(title=title, box=SIMPLE, title_justify="left", pad_edge=False, padding=padding)
        for column in self.columns:
            table.add_column(Text(column.title), justify="left" if column.is_state else "right", no_wrap=True)
        for row in self.rows:
            table.add_row(*map(Text, row))
        return table


def trial_table(trials: Sequence[Trial], objectives: Objectives, top: int) -> TrialTable:
    """The `top` best trials with all their columns."""
    best = [trial for trial in ranking(trials, objectives)[:top] if trial.score is not None]
    paths = list(dict.fromkeys(path for trial in best for path in trial.params))
    ends = [path.rpartition(".")[2] for path in paths]
    scores = [objectives.values(trial.score) for trial in best if trial.score is not None]
    return TrialTable(
        (
            Column("trial", tuple(str(trial.id) for trial in best)),
            *(
                Column(key, tuple(number_text(values[place]) for values in scores))
                for place, key in enumerate(objectives.keys)
            ),
            Column("step", tuple(str(trial.step) for trial in best)),
            Column("state", tuple(trial.state.value for trial in best), is_state=True),
            *(
                Column(
                    end if ends.count(end) == 1 else path,
                    tuple(value_text(trial.params[path]) if path in trial.params else "" for trial in best),
                )
                for end, path in zip(ends, paths, strict=True)
            ),
        )
    )


def _told_apart(titles: Sequence[str]) -> list[int]:
    """How wide each title has to be, so that no two of them are cut to the same."""
    least = [min(cells(title), SHORTEST) for title in titles]
    width, alike = SHORTEST, list(range(len(titles)))
    while alike:
        cut = Counter(shorten(title, width) for title in titles)
        alike = [index for index in alike if cells(titles[index]) > width and cut[shorten(titles[index], width)] > 1]
        width += 1
        for index in alike:
            least[index] = width
    return least


def _total(widths: Sequence[int], gap: int) -> int:
    """With a space before the first column, and one behind the last."""
    return sum(widths) + gap * (len(widths) - 1) + 2


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
