"""Where in a value the codec stands, and what it says of a value that cannot be stored."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from typing import Final

from metta.sweep.errors import UsageError

MAX_DEPTH: Final = 100
"""Levels of nesting. Beyond them a value most likely contains itself, and the stack is finite."""

_LONGEST_STEP: Final = 40


class Unstorable(UsageError):
    """A value has something in it that cannot be stored; the text says what, where, and what to store instead.

    Attributes:
        where: the path to it, like `results[3].model`.
        reason: the rest of the sentence.
    """

    def __init__(self, where: str, reason: str) -> None:
        super().__init__(f"{where} {reason}")
        self.where = where
        self.reason = reason


class CannotStore(Exception):
    """Why one value cannot be stored; whoever knows its place makes an `Unstorable` of it."""


class Place:
    """A step down into a value. A class of its own and not a dataclass: one is made for every inner value."""

    __slots__ = ("depth", "is_attribute", "key", "parent")

    def __init__(self, parent: Place | None, key: object, is_attribute: bool = False) -> None:
        self.parent: Place | None = parent
        self.key: object = key
        self.is_attribute: bool = is_attribute
        self.depth: int = 0 if parent is None else parent.depth + 1

    def path(self, what: str) -> str:
        """`results[3].model` for a value called `results`; `[3].model of the value` where it has no name."""
        steps = "".join(
            f".{step.key}" if step.is_attribute else f"[{_brief(step.key)}]" for step in reversed(list(self._steps()))
        )
        if not steps:
            return what
        return f"{what}{steps}" if " " not in what else f"{steps.removeprefix('.')} of {what}"

    def name(self) -> str:
        """`3.model`: a name for a tensor in a file that other tools read."""
        parts = [step.key if isinstance(step.key, str) else _brief(step.key) for step in self._steps()]
        name = ".".join(reversed(parts))[:200] or "value"
        return name.encode("utf-8", "replace").decode()

    def _steps(self) -> Iterator[Place]:
        step = self
        while step.parent is not None:
            yield step
            step = step.parent


def _brief(key: object) -> str:
    if isinstance(key, str):
        text = json.dumps(key, ensure_ascii=False).encode(errors="backslashreplace").decode()
    else:
        text = repr(key) if isinstance(key, int | float | tuple | bytes | None) else f"<{type(key).__name__}>"
    return text if len(text) <= _LONGEST_STEP else text[: _LONGEST_STEP - 1] + "…"


# Class -> what to store instead; the first that the value is an instance of counts.
_ADVICE: Final[Mapping[str, str]] = {
    "torch.nn.Module": "store its state_dict()",
    "torch.optim.Optimizer": "store its state_dict()",
    "torch.optim.lr_scheduler.LRScheduler": "store its state_dict()",
    "torch.Generator": "store its get_state()",
    "torch.dtype": "store its name",
    "torch.device": "store its name",
    "numpy.random.Generator": "store its bit_generator.state",
    "numpy.random.RandomState": "store its get_state()",
    "numpy.dtype": "store its str",
    "random.Random": "store its getstate()",
    "pandas.DataFrame": "store its to_dict(), or its columns as arrays",
    "pandas.Series": "store its to_numpy()",
    "pydantic.SecretStr": "read it again where it is needed, secrets do not belong on a disk",
    "pydantic.SecretBytes": "read it again where it is needed, secrets do not belong on a disk",
    "io.IOBase": "store its path",
    "types.FunctionType": "store a name that stands for it",
    "types.MethodType": "store a name that stands for it",
    "builtins.type": "store a name that stands for it",
    "collections.abc.Iterator": "store list(...) of it",
    "collections.abc.Mapping": "store dict(...) of it",
    "collections.abc.Set": "store set(...) of it",
    "builtins.tuple": "store tuple(...) of it",
    "builtins.str": "store str(...) of it",
    "builtins.int": "store int(...) of it",
    "builtins.float": "store float(...) of it",
    "collections.abc.Iterable": "store list(...) of it",
}

_INSTEAD: Final = "store its fields as a dataclass, a NamedTuple or a dict"


def advice(value: object) -> str:
    """Why a value of some class cannot be stored, as the end of a sentence, and what to store instead."""
    for name, remedy in _ADVICE.items():
        module, _, attribute = name.rpartition(".")
        known = getattr(sys.modules.get(module), attribute, None)
        if isinstance(known, type) and isinstance(value, known):
            # A user's own Net says less than what it is.
            base = f", a {name}" if type(value) is not known and module.startswith(("torch", "pandas")) else ""
            return f"is {_full_name(type(value))}{base}, which cannot be stored; {remedy}"
    return f"is {_full_name(type(value))}, which cannot be stored; {_INSTEAD}"


def _full_name(kind: type) -> str:
    name = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
    return f"{'an' if name[0] in 'aeiouAEIOU' else 'a'} {name}"
