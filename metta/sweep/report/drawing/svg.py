"""SVG as text. Whatever is shown comes through `text`, `titled` or an attribute, and is escaped there.

Only presentation attributes and classes are written: no `style`, no script, no id. So a page whose content security
policy forbids inline styles shows the drawing, and several drawings in one page do not meet.
"""

from __future__ import annotations

import re
from typing import Final, NewType

Markup = NewType("Markup", str)
"""Text that is SVG already. Anything else becomes Markup through the functions here."""

Attributes = dict[str, str | float | None]
"""Attributes of an element as `element` takes them."""

FONT: Final = "system-ui, -apple-system, 'Segoe UI', Helvetica, Arial, sans-serif"

# Characters that XML 1.0 does not know (section 2.2), the controls that HTML reads as something else, and those that
# change the direction of what stands beside them: a name must not turn round the figure's own words.
_STRANGE: Final = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]"
)
_ESCAPES: Final = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&#39;"})


def clean(content: str) -> str:
    """`content` on one line; characters that may not be in a document are replaced by U+FFFD."""
    return _STRANGE.sub("\N{REPLACEMENT CHARACTER}", " ".join(content.split()) if "\n" in content else content)


def escaped(content: str) -> Markup:
    """Any text as the text of an element or an attribute."""
    return Markup(clean(content).translate(_ESCAPES))


def number(value: float) -> str:
    """A coordinate with one decimal at most: a tenth of a pixel is all that anyone sees."""
    rounded = f"{value:.1f}".removesuffix(".0")
    return "0" if rounded == "-0" else rounded


def joined(*parts: Markup) -> Markup:
    """The parts one after another."""
    return Markup("".join(parts))


def element(tag: str, *children: Markup, **attributes: str | float | None) -> Markup:
    """An element.

    Args:
        tag: its name.
        children: what is in it.
        attributes: by name, an underscore for each hyphen and one at the end of a word of Python (`class_`). None
            leaves an attribute out, numbers are coordinates.
    """
    written = "".join(
        f' {name.rstrip("_").replace("_", "-")}="{escaped(value) if isinstance(value, str) else number(value)}"'
        for name, value in attributes.items()
        if value is not None
    )
    inside = "".join(children)
    return Markup(f"<{tag}{written}>{inside}</{tag}>" if inside else f"<{tag}{written}/>")


def group(*children: Markup, **attributes: str | float | None) -> Markup:
    """Elements that share attributes."""
    return element("g", *children, **attributes)


def text(x: float, y: float, content: str, **attributes: str | float | None) -> Markup:
    """One line of text on the base line `y`, in the colour of the surrounding text."""
    return element("text", escaped(content), x=x, y=y, **attributes)


def titled(tag: str, title: str, **attributes: str | float | None) -> Markup:
    """An element with a tooltip."""
    return element(tag, element("title", escaped(title)), **attributes)


def document(width: float, height: float, name: str, alt: str, *children: Markup) -> Markup:
    """A whole drawing.

    Args:
        width, height: in pixels; the drawing may be scaled to any other size.
        name: its class, beside "figure".
        alt: what one sees, for who cannot see it.
        children: what is in it. Lines and texts take the colour of the text around the drawing.
    """
    return element(
        "svg",
        group(*children, fill="currentColor", font_family=FONT, font_size="12"),
        xmlns="http://www.w3.org/2000/svg",
        viewBox=f"0 0 {number(width)} {number(height)}",
        width=width,
        height=height,
        role="img",
        aria_label=alt,
        class_=f"figure {name}",
    )
