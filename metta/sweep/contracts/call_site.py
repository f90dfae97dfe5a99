"""Where in the user's file a builder method was called.

A pipeline of 400 stages remembers 400 places and needs a line for none of them, unless something is
wrong. So a call stores two references and nothing is resolved before somebody asks.

Since Python 3.11 every instruction knows the span of its expression, and no two calls end in the same
place, so the end of the span finds the call in the file's syntax tree. The tree is never walked by
recursion: a chain of 400 stages is a tree of depth 800.
"""

from __future__ import annotations

import ast
import linecache
import os
import sys
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from types import CodeType

_new = object.__new__


class Site:
    """The place of one call: the caller's code and the offset of its call instruction.

    Attributes:
        code: of the function (or module, or notebook cell) that made the call.
        lasti: byte offset of the instruction in it.
    """

    __slots__ = ("code", "lasti")

    code: CodeType
    lasti: int

    @classmethod
    def of_caller(cls, depth: int = 1) -> Site:
        """The call that is being made right now.

        Args:
            depth: 1: the call of the function that asks; 2: the call of its caller; and so on.
        """
        frame = sys._getframe(depth + 1)
        site = _new(cls)
        site.code = frame.f_code
        site.lasti = frame.f_lasti
        return site

    def locate(self, *arguments: str | int | tuple[int, int] | None) -> tuple[str, int]:
        """File and line to show, the file relative to the working directory when it is below it.

        Args:
            arguments: the offending argument by keyword or position, or as (position, item of a list or mapping); with
                several, the first one that the call has. Without any, or when the call has none of them, the line of
                the method's name.

        An argument that came through `**hooks` or `*args` has the line of that expression. Where there is
        no source text (REPL, `exec`), the line of the instruction.
        """
        call = self._call()
        if call is None:
            return display_path(self.code.co_filename), self._span()[0]
        argument = _first_argument(call, arguments)
        # The end of `a.b.through` is where `through` stands, on whichever line the chain began.
        line = call.func.end_lineno or call.lineno if argument is None else argument.lineno
        return display_path(self.code.co_filename), line

    def source(self, *arguments: str | int | tuple[int, int] | None) -> str | None:
        """The text of an argument on one line (see `locate`), or None where there is no source text."""
        file, call = _parsed(self.code.co_filename), self._call()
        found = None if call is None else _first_argument(call, arguments)
        if file is None or found is None:
            return None
        text = ast.get_source_segment(file.text, found)
        return None if text is None else " ".join(line.strip() for line in text.splitlines())

    def scope(self) -> str:
        """A name its user would recognise for what is built here.

        The variable it is assigned to in a module or class body ("pipeline", "Training.pipeline"), else
        the function around ("MyExperiment.pipeline"), else the file.
        """
        qualname = ".".join(
            part for part in self.code.co_qualname.split(".") if not (part.startswith("<") and part != "<lambda>")
        )
        if qualname == "<lambda>":
            return f"lambda at {os.path.basename(self.code.co_filename)}:{self.code.co_firstlineno}"
        if _is_function(self.code):
            return qualname
        target = self._target()
        if target is None:
            return qualname or os.path.basename(self.code.co_filename)
        return f"{qualname}.{target}" if qualname else target

    def _target(self) -> str | None:
        """What the result of the statement around the call is assigned to."""
        file = _parsed(self.code.co_filename)
        line, end, _ = self._span()
        for statement in () if file is None else file.assignments:
            if statement.lineno <= line and end <= (statement.end_lineno or line):
                return ast.unparse(statement.targets[0] if isinstance(statement, ast.Assign) else statement.target)
        return None

    def _call(self) -> ast.Call | None:
        """The call in the syntax tree; None for a decorator or an operator, or without source text."""
        file = _parsed(self.code.co_filename)
        line, end, column = self._span()
        call = None if file is None else file.calls.get((end, column))
        # A file that was edited since may have another call in that place, but rarely one that begins alike.
        return call if call is not None and line in (call.lineno, call.func.end_lineno) else None

    def _span(self) -> tuple[int, int, int]:
        """Line of the method's name, last line, and column behind the last character, of the call."""
        line, end, _, column = next(islice(self.code.co_positions(), self.lasti // 2, None), (None,) * 4)
        line = line or self.code.co_firstlineno
        # Without columns (`-X no_debug_ranges`) no call is found, and the line has to do.
        return line, end or line, -1 if column is None else column

    def __repr__(self) -> str:
        file, line = self.locate()
        return f"<{type(self).__name__} {file}:{line}>"


@dataclass(frozen=True, slots=True)
class _File:
    """What is looked up in a source file."""

    text: str
    calls: dict[tuple[int, int], ast.Call]
    assignments: tuple[ast.Assign | ast.AnnAssign | ast.AugAssign, ...]


def _parsed(filename: str) -> _File | None:
    """A source file as it is now; notebooks keep their cells in `linecache` too."""
    entry = linecache.cache.get(filename)
    linecache.checkcache(filename)
    text = "".join(linecache.getlines(filename))
    if not text and entry is not None:
        # It was dropped because no file has that name, as a cell's has none.
        linecache.cache[filename] = entry
        text = "".join(linecache.getlines(filename))
    return _index(text) if text else None


@lru_cache(maxsize=16)
def _index(text: str) -> _File | None:
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    nodes = list(ast.walk(tree))
    calls = {(n.end_lineno or 0, n.end_col_offset or 0): n for n in nodes if isinstance(n, ast.Call)}
    assignments = [n for n in nodes if isinstance(n, (ast.Assign, ast.AnnAssign, ast.AugAssign))]
    # `ast.walk` goes from the outside in: the innermost statement comes first here.
    return _File(text, calls, tuple(reversed(assignments)))


def display_path(file: str) -> str:
    """A path relative to the working directory when it is below it, else as it is."""
    if file.startswith("<"):
        return file
    try:
        relative = os.path.relpath(file)
    except (ValueError, OSError):  # another drive; a working directory that is gone
        return file
    return file if relative.startswith(os.pardir) else relative


def _is_function(code: CodeType) -> bool:
    return bool(code.co_flags & 0x01)  # CO_OPTIMIZED: a module or class body has none


def _first_argument(call: ast.Call, arguments: tuple[str | int | tuple[int, int] | None, ...]) -> ast.expr | None:
    for argument in arguments:
        if isinstance(argument, str):
            found = _keyword(call, argument)
        elif isinstance(argument, tuple):
            found = _item(_positional(call, argument[0]), argument[1])
        else:
            found = None if argument is None else _positional(call, argument)
        if found is not None:
            return found
    return None


def _positional(call: ast.Call, index: int) -> ast.expr | None:
    for position, expression in enumerate(call.args):
        if position == index or isinstance(expression, ast.Starred):
            return expression
    return None


def _item(display: ast.expr | None, index: int) -> ast.expr | None:
    """An item of a list or mapping that is written out; else all of it."""
    items: list[ast.expr] = []
    if isinstance(display, (ast.List, ast.Tuple)):
        items = display.elts
    elif isinstance(display, ast.Dict) and None not in display.keys:
        items = display.values
    if index >= len(items) or any(isinstance(item, ast.Starred) for item in items):
        return display
    return items[index]


def _keyword(call: ast.Call, name: str) -> ast.expr | None:
    bags = []
    for keyword in call.keywords:
        if keyword.arg == name:
            return keyword.value
        if keyword.arg is None:
            bags.append(keyword.value)
    # With several `**` expressions only a written-out dict says what it holds.
    literal = next((bag for bag in bags if isinstance(bag, ast.Dict) and _holds(bag, name)), None)
    if literal is not None:
        return literal
    return next((bag for bag in bags if not isinstance(bag, ast.Dict) or None in bag.keys), None)


def _holds(bag: ast.Dict, name: str) -> bool:
    return any(isinstance(key, ast.Constant) and key.value == name for key in bag.keys)
