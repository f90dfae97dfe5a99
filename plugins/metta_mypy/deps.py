"""What has to be checked again when something changes that the plugin has read.

mypy notes which module uses which name, and which types its expressions have. What the plugin reads behind these it
has to note itself: the fields of a record that a stage returns, say, decide about the stage after it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress

from mypy.checker import TypeChecker
from mypy.indirection import TypeIndirectionVisitor
from mypy.nodes import TypeInfo
from mypy.types import Type, UnionType, get_proper_type
from mypy.typestate import type_state

from metta_mypy.definitions import class_of

_BUILDING = ("__init__", "__new__")
"""They change when a field is added to a dataclass or to another record that is no tuple."""
_CALLING = ("__call__", "forward", *_BUILDING)
_ITERATING = ("__iter__", "__next__")


class Reads:
    """What is read while one file is checked.

    Args:
        checker: of that file.
    """

    def __init__(self, checker: TypeChecker) -> None:
        self._checker = checker
        self._known: set[tuple[TypeInfo, tuple[str, ...]]] = set()

    def fields(self, tp: Type, found: Mapping[str, tuple[Type | None, bool]] | Mapping[str, Type] | None) -> None:
        """The fields of a record or a Protocol, or that it is neither."""
        fields = found or {}
        types = [it[0] if isinstance(it, tuple) else it for it in fields.values()]
        self._members(tp, (*fields, *_BUILDING), [it for it in types if it is not None])

    def call(self, tp: Type) -> None:
        """How a callable object or class is called."""
        self._members(tp, _CALLING)

    def items(self, tp: Type) -> None:
        """What iterating gives."""
        self._members(tp, _ITERATING)

    def _members(self, tp: Type, names: tuple[str, ...], types: Sequence[Type] = ()) -> None:
        proper = get_proper_type(tp)
        if isinstance(proper, UnionType):
            for item in proper.items:
                self._members(item, names, types)
            return
        info = class_of(proper)
        if info is None or (info, names) in self._known:
            return
        self._known.add((info, names))
        # For a warm cache: the modules of the types of fields, which stand in no expression of this file.
        self._checker.module_refs |= TypeIndirectionVisitor().find_modules(types)
        _note(info, names)


def _note(info: TypeInfo, names: Iterable[str]) -> None:
    """For the daemon: a change of these members counts as one of the class, on which whoever names it depends.

    This is what mypy notes of a class that is compared with a Protocol of these members. It keeps the notes where a
    single function is checked again, unlike `MypyFile.plugin_deps`, which are read with whole files alone. They are
    no public part of mypy: a version that has them elsewhere only makes the daemon miss some changes.
    """
    with suppress(AttributeError):
        type_state._rechecked_types.add(info)
        type_state._attempted_protocols.setdefault(info.fullname, set())
        type_state._checked_against_members.setdefault(info.fullname, set()).update(names)
