"""A griffe extension: `seed, goal: see Optimizer.` under `Args:` documents two arguments, each with its own type."""

from __future__ import annotations

import re
from typing import Any

import griffe

SHARED = re.compile(r"^( +)(\w+(?:, \w+)+): (.*(?:\n\1 +.*)*)$", re.MULTILINE)
ARGUMENTS = re.compile(r"^( *)Args:\n(?:\1 +.*\n?|\n)+", re.MULTILINE)


class SharedArguments(griffe.Extension):
    """Gives every argument of a shared description an entry of its own."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        if obj.docstring is not None:
            obj.docstring.value = ARGUMENTS.sub(lambda found: SHARED.sub(_one_each, found[0]), obj.docstring.value)


def _one_each(found: re.Match[str]) -> str:
    indent, names, text = found.groups()
    return "\n".join(f"{indent}{name}: {text}" for name in names.split(", "))
