"""Names for optimizers, schedulers and executors: ours, and those that other distributions register.

A third party declares an entry point in one of our groups (`metta.sweep.schedulers`, say): its name, and where the
class is, as "module:Class". Nothing is imported before its name is asked for.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from importlib import import_module, metadata
from inspect import Parameter, signature
from typing import Any

from metta.sweep.errors import UsageError


@dataclass(frozen=True, slots=True)
class Registry:
    """The classes of one kind by name.

    Names are compared without case, hyphens, underscores and the kind itself as suffix: "asha", "ASHA" and
    "ASHAScheduler" are one name.

    Args:
        kind: "optimizer", "scheduler" or "executor".
        builtin: name -> "module:Class".
    """

    kind: str
    builtin: Mapping[str, str]

    @property
    def group(self) -> str:
        """The entry-point group where third parties register."""
        return f"metta.sweep.{self.kind}s"

    def names(self) -> tuple[str, ...]:
        """All names, sorted."""
        return tuple(sorted(self._targets()))

    def find(self, name: str) -> Any:
        """The class registered as `name`.

        Raises:
            UsageError: no such name (the message names the nearest), two distributions claim it, or its import fails.
        """
        targets = self._targets()
        by_key = {self._key(known): known for known in targets}
        known = by_key.get(self._key(name)) if isinstance(name, str) else None
        if known is None:
            near = get_close_matches(self._key(str(name)), list(by_key), n=1)
            hint = f"did you mean {by_key[near[0]]!r}?" if near else f"there is {', '.join(sorted(targets))}"
            raise UsageError(f"there is no {self.kind} {name!r}: {hint}")
        module, _, attribute = targets[known].partition(":")
        if known in self.builtin:
            return getattr(import_module(module), attribute)
        try:
            return getattr(import_module(module), attribute)
        except (ImportError, AttributeError) as error:
            raise UsageError(f"the {self.kind} {known!r} is registered as {targets[known]}, but: {error}") from error

    def create(self, name: str, config: Mapping[str, Any]) -> Any:
        """An object of the class registered as `name`, made with the keyword arguments `config`.

        Raises:
            UsageError: as `find`, or an argument that the class does not take.
        """
        cls = self.find(name)
        accepted = signature(cls).parameters
        if not any(parameter.kind is Parameter.VAR_KEYWORD for parameter in accepted.values()):
            for argument in config:
                if argument not in accepted:
                    near = get_close_matches(argument, list(accepted), n=1)
                    hint = f"did you mean {near[0]!r}?" if near else f"it takes {', '.join(accepted)}"
                    raise UsageError(f"{cls.__name__} has no argument {argument!r}: {hint}")
        return cls(**config)

    def _key(self, name: str) -> str:
        plain = name.lower().replace("_", "").replace("-", "").replace(" ", "")
        return plain.removesuffix(self.kind) or plain

    def _targets(self) -> dict[str, str]:
        targets = dict(self.builtin)
        owners = dict.fromkeys(map(self._key, targets), "metta-sweep")
        for entry in metadata.entry_points(group=self.group):
            owner = entry.dist.name if entry.dist else entry.value
            other = owners.setdefault(self._key(entry.name), owner)
            if other != owner:
                raise UsageError(f"the {self.kind} {entry.name!r} is registered by both {other} and {owner}")
            targets[entry.name] = entry.value
        return targets
