"""What all figures have in common: a title, a sentence for who cannot see, their data, and a drawing."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any, ClassVar, Final

from metta.sweep.report.drawing.legends import Entry, legend
from metta.sweep.report.drawing.panels import SMALL, Box
from metta.sweep.report.drawing.svg import Markup, clean, document, group, joined, text
from metta.sweep.report.drawing.words import lines

LEAST_WIDTH: Final = 280.0
LEAST_HEIGHT: Final = 160
NOTE_ROW: Final = 15.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure(ABC):
    """A figure of a sweep as data, which can draw itself.

    Attributes:
        name: of the function that makes it.
        title: what the figure is called.
        alt: one sentence that says what one sees.
        notes: what the drawing leaves out or changes, one sentence each; they stand below it.
        missing: why there is nothing to draw, as a sentence; "" where there is something.
    """

    name: ClassVar[str]
    title: ClassVar[str]

    alt: str
    notes: tuple[str, ...] = ()
    missing: str = ""

    def to_json(self) -> dict[str, Any]:
        """The data of the figure as JSON values; how much was left out is said in "left_out" and "notes"."""
        words = {"figure": self.name, "title": self.title, "alt": self.alt, "missing": self.missing}
        return {**words, "notes": list(self.notes), **self._data()}

    def to_svg(self, width: int = 720, height: int = 360) -> str:
        """The drawing: one SVG element without script, style and id, in the colour of the text around it.

        Args:
            width: in pixels, at least 280. A figure that needs more (many axes) is wider.
            height: in pixels, at least 160. A figure that needs more (several panels, long legends) is higher,
                and one that needs less (few bars) is lower.
        """
        wide = max(float(width), LEAST_WIDTH)
        if self.missing:
            told = lines(self.missing, wide - 16)
            rows = (text(8, 22 + 18 * row, line) for row, line in enumerate(told))
            return document(wide, 18.0 * len(told) + 16, self.name, self.alt, joined(*rows))
        wide = max(wide, self._least_width())
        key, key_height = legend(self._legend(), wide)
        noted = [line for note in self.notes for line in lines(note, wide - 16, SMALL)]
        notes_height = NOTE_ROW * len(noted) + (8 if noted else 0)
        least, most = self._heights()
        room = max(height, LEAST_HEIGHT) - key_height - notes_height
        body = Box(0.0, key_height, wide, max(least, min(most, room)))
        notes = [text(8, body.bottom + 14 + NOTE_ROW * row, line) for row, line in enumerate(noted)]
        below = group(*notes, font_size=SMALL, opacity="0.85", class_="notes")
        total = body.bottom + notes_height
        return document(wide, total, self.name, self.alt, key, self._draw(body), below)

    def _repr_html_(self) -> str:
        """For a notebook: title, drawing, and the sentence below it."""
        caption = f"<figcaption><strong>{escape(clean(self.title))}.</strong> {escape(clean(self.alt))}</figcaption>"
        return f"<figure>{self.to_svg()}{caption}</figure>"

    def _repr_mimebundle_(
        self, include: Sequence[str] | None = None, exclude: Sequence[str] | None = None
    ) -> dict[str, str]:
        """For a notebook: HTML, an image where HTML is not trusted, and the sentence on a terminal."""
        makers = {"text/html": self._repr_html_, "image/svg+xml": self.to_svg, "text/plain": self.__str__}
        return chosen(makers, include, exclude)

    def __str__(self) -> str:
        return f"{self.title}: {self.alt}"

    @abstractmethod
    def _data(self) -> dict[str, Any]:
        """What the figure shows, as JSON values."""

    @abstractmethod
    def _legend(self) -> Sequence[Entry]:
        """The entries of the key."""

    @abstractmethod
    def _draw(self, box: Box) -> Markup:
        """The drawing in a box."""

    def _least_width(self) -> float:
        """The pixels in width that `_draw` needs."""
        return 0.0

    def _heights(self) -> tuple[float, float]:
        """The pixels in height that `_draw` needs, and those that it can use."""
        return 0.0, math.inf


def chosen(
    makers: Mapping[str, Callable[[], str]], include: Sequence[str] | None, exclude: Sequence[str] | None
) -> dict[str, str]:
    """The entries of a MIME bundle that a notebook asks for (IPython's display protocol); no other is made."""
    return {
        kind: make()
        for kind, make in makers.items()
        if (include is None or kind in include) and (exclude is None or kind not in exclude)
    }
