"""Where in a durable run the code is: what the keys of its events are made of."""

from __future__ import annotations

import re
from contextvars import ContextVar
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING

from metta.sweep.store.naming import stage_path
from metta.sweep.store.nested import CHILDREN_FOLDER

if TYPE_CHECKING:
    from metta.sweep.runtime.recorder import Recorder


class Scope:
    """Where in a run the code is.

    Attributes:
        prefix: begins the keys of all that is passed here.
        passes: how often each node was passed.
    """

    __slots__ = ("_children", "passes", "prefix", "recorder")

    def __init__(self, recorder: Recorder, prefix: str = "") -> None:
        self.recorder: Recorder = recorder
        self.prefix: str = prefix
        self.passes: dict[str, int] = {}
        self._children = 0

    def key(self, node: str, condition: str = "") -> str:
        """The key of the next passage of a node, or of the next answer of one of its conditions."""
        name = self._name(node)
        if condition:
            name += f"?{condition}"
        count = self.passes.get(name, 0) + 1
        self.passes[name] = count
        return name if count == 1 else f"{name}#{count}"

    def element(self, node: str, index: int) -> str:
        """The key of one element of a map."""
        return f"{self._name(node)}[{index}]"

    def _name(self, node: str) -> str:
        return self.prefix + (node if node.isidentifier() else node.translate(_QUOTED))

    @property
    def log_folder(self) -> Path | None:
        """Where the current attempt has its log; None outside of every attempt.

        `stages/<stage>/attempt-<n>` in the run's folder, a nested stage's inside of that of the stage around it.
        """
        folder: Path | None = None
        for attempt in self.prefix.split("/")[:-1]:
            key, _, number = attempt.rpartition("~")
            stage = self.recorder.run.stage_folder(key) if folder is None else folder / stage_path(key)
            folder = stage / f"attempt-{number}"
        return folder

    @property
    def tokens(self) -> list[str]:
        """What names the task of the current attempt elsewhere: first the token for this driver, then those under which
        drivers that died in the same attempt may have left it running, the newest first."""
        key, history = self.prefix.rstrip("/").rpartition("~")[0], self.recorder.history
        name = f"{self.recorder.run.id}-stage-{children_digest(self.prefix)}"
        last = history.starts.get(key, 1)
        return [f"{name}-{number}" for number in range(last, history.pending.get(key, last) - 1, -1)]

    def children(self) -> Path:
        """The folder for the next run that is started here."""
        self._children += 1
        slug = re.sub(r"[^A-Za-z0-9_.-]", "-", self.prefix.strip("/"))[:60].lstrip("-.")
        number = "" if self._children == 1 else f"-{self._children}"
        return self.recorder.run.folder / CHILDREN_FOLDER / f"{slug}-{children_digest(self.prefix)}{number}"


def children_digest(prefix: str) -> str:
    """What tells the folders apart in which the attempts of a run's stages have their children.

    Args:
        prefix: of the attempt's scope, such as "a~1/".

    Returns:
        12 hexadecimal digits.
    """
    return blake2b(prefix.encode(), digest_size=6).hexdigest()


# A stage may have any name; these signs mean something in a key.
_QUOTED = str.maketrans({sign: f"%{ord(sign):02X}" for sign in "%#[]~/?"})

_UNQUOTED = re.compile("%([0-9A-F]{2})")


def node_of(key: str) -> str:
    """The id of the node whose passage (or condition) a key names."""
    name = re.split(r"[#\[]", key.rpartition("/")[2], maxsplit=1)[0].partition("?")[0]
    return _UNQUOTED.sub(lambda found: chr(int(found[1], 16)), name)


SCOPE: ContextVar[Scope | None] = ContextVar("metta_sweep_scope", default=None)


def here() -> Scope:
    """The place in a durable run at which this code runs; only for what runs inside of one."""
    scope = SCOPE.get()
    assert scope is not None
    return scope


def current_scope() -> Scope | None:
    """The same where it may be none."""
    return SCOPE.get()


def leave_scope() -> None:
    """From here on this task's code belongs to no stage: it is a trial, which has a place of its own."""
    SCOPE.set(None)
