"""What has to be checked again when something changes that the plugin has read.

mypy notes which module uses which name, and which types its expressions have. What the plugin reads behind these it
has to note itself: the fields of a record that a stage returns, say, decide about the stage after it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress

from mypy.checker import TypeChecker
from mypy.indirection import TypeIndirectionVisitor
from mypy.nodes import Decorator, FuncDef, OverloadedFuncDef, SymbolNode, TypeInfo, Var
from mypy.types import AnyType, CallableType, Overloaded, Type, UnionType, get_proper_type
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
        """How a callable is called."""
        self._members(tp, _CALLING)
        if self._checker.options.fine_grained_incremental and _is_more_than_its_type(tp):
            _check_at_every_turn(self._checker)

    def attribute(self, tp: Type, name: str) -> None:
        """An attribute that no expression of the file names."""
        self._members(tp, (name,))

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


def _is_more_than_its_type(tp: Type) -> bool:
    """Whether a callable can change in a way that decides about a stage and that no type of mypy's shows.

    That is the implementation behind overloads, and whether a result is `Any` or not annotated.
    """
    proper = get_proper_type(tp)
    if isinstance(proper, UnionType):
        return any(map(_is_more_than_its_type, proper.items))
    if isinstance(proper, Overloaded):
        return True
    if isinstance(proper, CallableType) and not proper.is_type_obj():
        return proper.name is not None and isinstance(get_proper_type(proper.ret_type), AnyType)
    info = class_of(proper)
    members = [] if info is None else [info.get(name) for name in _CALLING]
    types = [_type_of(symbol.node) for symbol in members if symbol is not None]
    return any(it is not None and _is_more_than_its_type(it) for it in types)


def _type_of(node: SymbolNode | None) -> Type | None:
    if isinstance(node, Decorator):
        node = node.var
    return node.type if isinstance(node, (FuncDef, OverloadedFuncDef, Var)) else None


def _check_at_every_turn(checker: TypeChecker) -> None:
    """The daemon checks a function that has an error at every turn: a hidden one, then, where nothing else helps.

    It compares what a module defines by the types alone. mypy itself hides errors so, but for other reasons; a version
    that has them elsewhere only makes the daemon miss some changes.
    """
    with suppress(AttributeError, TypeError):
        errors = checker.errors
        target = errors.current_target()
        known = errors.error_info_map.get(errors.file, [])
        if any(it.hidden and it.target == target for it in known):
            return
        with checker.msg.filter_errors(save_filtered_errors=True) as made:
            errors.report(-1, None, "checked at every turn", severity="note")
        for it in made.filtered_errors():
            it.hidden = True
            errors.error_info_map.setdefault(errors.file, []).append(it)
