"""Where a call stands in the user's file: what follows it in its chain, and the lines of its parts.

mypy checks a chain of calls from the inside out and tells a plugin nothing of what stands around a call. But a
`.through` may bring settings of the stage before it, so whether one follows has to be known at the stage. The text of
the file says so.
"""

from __future__ import annotations

import ast
import os
import re
from collections.abc import Iterable, Iterator

from mypy.nodes import CallExpr, Context, Expression, MemberExpr, NameExpr, RefExpr

from metta_mypy.variables import Value, Variables

_Position = tuple[int, int]
_TAKE_PIPELINES = frozenset({"stage", "conditional", "parallel"})


class Chains:
    """The chains of one file; read when first asked, and again when the file changes.

    Without a file to read (`mypy -c`) nothing seems to follow a call.
    """

    def __init__(self) -> None:
        self._path = ""
        self._stamp: tuple[int, int] = (0, 0)
        self._lines: list[bytes] = []
        self._parts: frozenset[_Position] | None = None
        self._variables: Variables | None = None
        self._last: tuple[CallExpr | None, str | None] = (None, None)

    def begin(self, path: str) -> None:
        """From here on calls of this file are asked for."""
        try:
            status = os.stat(path)
            stamp = (status.st_mtime_ns, status.st_size)
            if path == self._path and stamp == self._stamp:
                return
            with open(path, "rb") as file:
                lines = file.read().split(b"\n")
        except OSError:
            stamp, lines = (0, 0), []
        self._path, self._stamp, self._lines = path, stamp, lines
        self._parts = self._variables = None
        self._last = (None, None)

    def follower(self, call: CallExpr) -> str | None:
        """The method that is called on the result of `call` in the same expression; None where there is none."""
        if self._last[0] is not call:
            self._last = (call, self._found_behind(call))
        return self._last[1]

    def _found_behind(self, call: CallExpr) -> str | None:
        line, column = _end(call)
        while 0 < line <= len(self._lines):
            rest = self._lines[line - 1][column:].lstrip()
            if rest and not rest.startswith((b"#", b"\\")):
                found = _METHOD.match(rest)
                return None if found is None else found[1].decode()
            line, column = line + 1, 0
        return None

    def variable(self, call: CallExpr) -> Value | None:
        """Which of the values of its variable the call is, if it has several."""
        if self._variables is None:
            self._variables = Variables(self._lines)
        return self._variables.place(call.line, call.column)

    def is_part(self, call: CallExpr) -> bool:
        """Whether the pipeline that begins with `call` is given a name, under which it stands in another one."""
        if self._parts is None:
            self._parts = _parts(b"\n".join(self._lines))
        return _end(call) in self._parts


_METHOD = re.compile(rb"\.\s*(\w+)\s*\(")


def _end(call: CallExpr) -> _Position:
    return call.end_line or 0, call.end_column or 0


def _parts(text: bytes) -> frozenset[_Position]:
    """Where the calls end that begin a pipeline which is given a name and stands as a stage or an arm."""
    try:
        nodes = list(ast.walk(ast.parse(text)))
    except (SyntaxError, ValueError):
        return frozenset()
    named = set(_named_arguments(node for node in nodes if isinstance(node, ast.Call)))
    return frozenset(
        _end_of(_root(node.value))
        for node in nodes
        if isinstance(node, ast.Assign) and any(isinstance(t, ast.Name) and t.id in named for t in node.targets)
    )


def _named_arguments(calls: Iterable[ast.Call]) -> Iterator[str]:
    """The variables that stand as a stage or an arm."""
    for call in calls:
        if isinstance(call.func, ast.Attribute) and call.func.attr in _TAKE_PIPELINES:
            for argument in (*call.args, *(keyword.value for keyword in call.keywords)):
                items = [argument]
                if isinstance(argument, (ast.List, ast.Tuple)):
                    items = argument.elts
                elif isinstance(argument, ast.Dict):
                    items = argument.values
                yield from (item.id for item in items if isinstance(item, ast.Name))


def _root(node: ast.expr) -> ast.expr:
    while isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and isinstance(node.func.value, ast.Call):
        node = node.func.value
    return node


def _end_of(node: ast.expr) -> _Position:
    return node.end_lineno or 0, node.end_col_offset or 0


def root(expression: Expression) -> Expression:
    """The expression a chain of method calls begins with: `Pipeline()` in `Pipeline().stage(...).through(...)`."""
    while isinstance(expression, CallExpr) and isinstance(expression.callee, MemberExpr):
        if isinstance(expression.callee.expr, RefExpr):
            break
        expression = expression.callee.expr
    return expression


def name_of_method(call: CallExpr) -> Context:
    """The place of the method's name: in a chain over several lines the call itself begins at its first."""
    callee = call.callee
    if isinstance(callee, MemberExpr) and callee.end_line is not None:
        return place(callee.end_line, max((callee.end_column or 0) - len(callee.name), 0), callee.end_column)
    return callee if isinstance(callee, NameExpr) else call


def place(line: int, column: int, end_column: int | None = None) -> Context:
    """A place in the file; `type: ignore` acts on its line alone."""
    found = Context(line, column)
    found.end_line, found.end_column = line, end_column
    return found
