"""A pipeline that has a name and stands as a stage or an arm in the same file is checked again where it stands.

Like definition time: an open pipeline is decided against each context it is used in. Its chain is taken from the tree
of the file, and checked as if it were written in place.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from mypy.nodes import AssignmentStmt, CallExpr, MypyFile, Node
from mypy.types import Type

from metta.sweep.contracts.flow import State
from metta_mypy.chains import root
from metta_mypy.point import Place, Point
from metta_mypy.session import Session, is_constructor

_BLOCKS = ("defs", "body", "else_body", "finally_body", "handlers", "bodies", "items", "func")
"""Where the nodes of mypy keep statements."""


def in_place(session: Session, nested: Point, state: State[Type]) -> Point:
    """A named pipeline as if it were written here, on this context; any other one, and one from elsewhere, as it is."""
    tree = session.api.tree
    if nested.part is None or nested.part.module != tree.fullname or state.open:
        return nested
    chain = _chain(tree, nested.part)
    begin = None if chain is None else root(chain)
    if chain is None or not isinstance(begin, CallExpr) or not is_constructor(begin):
        return nested
    around = session.arms.get(begin)
    session.stand(begin, Point(state, is_arm=True))
    try:
        found = session.point_of(session.api.expr_checker.accept(chain))
    finally:
        session.arms.pop(begin, None)
        if around is not None:
            session.stand(begin, around)
    return replace(found, part=None, loops=())


def _chain(tree: MypyFile, part: Place) -> CallExpr | None:
    for statement in _statements(tree):
        if isinstance(statement, AssignmentStmt) and isinstance(statement.rvalue, CallExpr):
            value = statement.rvalue
            if (value.end_line, value.end_column) == (part.line, part.column):
                return value
    return None


def _statements(node: Node) -> Iterator[Node]:
    """All statements below a node."""
    for name in _BLOCKS:
        below = getattr(node, name, None)
        for item in below if isinstance(below, list) else [below]:
            if isinstance(item, Node):
                yield item
                yield from _statements(item)
