"""Which field is which."""

from __future__ import annotations

from mypy.types import Type

from metta.sweep.contracts.flow import Field


class FieldBook:
    """Keeps the identity of fields: in the rule book the same object means "not set again since".

    Each field that is written into a type gets a stamp, higher than all before; a field that is read back is the
    object with that stamp if it is still known.
    """

    def __init__(self) -> None:
        # Id -> field and stamp; the field is kept alive, so that its id is not used again.
        self._stamps: dict[int, tuple[Field[Type], str]] = {}
        self._fields: dict[str, list[Field[Type]]] = {}
        self._latest = 0

    def stamp(self, field: Field[Type]) -> str:
        """The stamp of a field, a new one if it has none yet."""
        known = self._stamps.get(id(field))
        return self._enter(field, str(self._latest + 1)) if known is None else known[1]

    def _enter(self, field: Field[Type], stamp: str) -> str:
        self._stamps[id(field)] = (field, stamp)
        self._fields.setdefault(stamp, []).append(field)
        self._latest = max(self._latest, int(stamp))
        return stamp

    def field(self, read: Field[Type], stamp: str) -> Field[Type]:
        """The field that was written with this stamp, or the one just read."""
        for known in self._fields.get(stamp, ()):
            if known == read:
                return known
        self._enter(read, stamp)
        return read
