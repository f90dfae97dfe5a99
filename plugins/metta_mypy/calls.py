"""A call as its author wrote it: arguments by position and keyword, and where each stands."""

from __future__ import annotations

from dataclasses import dataclass

from mypy.nodes import ARG_NAMED, ARG_POS, ARG_STAR2, CallExpr, Context, DictExpr, Expression, NameExpr, StrExpr

from metta.sweep.contracts.flow import Where
from metta_mypy.chains import name_of_method


@dataclass(frozen=True, slots=True)
class Call:
    """The arguments of one call expression.

    Attributes:
        bags: what stands behind `**`.
        has_star: whether positional arguments come from `*args`, so that their number is not known.
    """

    expression: CallExpr
    positional: tuple[Expression, ...]
    keywords: dict[str, Expression]
    bags: tuple[Expression, ...]
    has_star: bool

    @classmethod
    def of(cls, expression: CallExpr) -> Call:
        """The call; the plugin reads it for the signature and once more for the result."""
        if len(_last) == 1 and _last[0].expression is expression:
            return _last[0]
        _last[:] = [_read(expression)]
        return _last[0]

    def argument(self, position: int, name: str | None = None) -> Expression | None:
        """An argument given by position or, if it has a name, by keyword."""
        if position < len(self.positional):
            return self.positional[position]
        return None if name is None else self.keywords.get(name)

    def place_of(self, argument: Where | None) -> Context:
        """The place of an argument; one that came with `**` stands where its bag does. None: the method's name."""
        if isinstance(argument, tuple):
            argument = argument[0]
        if isinstance(argument, int) and argument < len(self.positional):
            return self.positional[argument]
        if isinstance(argument, str):
            if argument in self.keywords:
                return self.keywords[argument]
            if (bag := self._bag_with(argument)) is not None:
                return bag
        return name_of_method(self.expression)

    def _bag_with(self, name: str) -> Expression | None:
        """With several bags only a written-out dict says what it holds."""
        for bag in self.bags:
            if isinstance(bag, DictExpr) and any(isinstance(k, StrExpr) and k.value == name for k, _ in bag.items):
                return bag
        return next((bag for bag in self.bags if not isinstance(bag, DictExpr) or None in dict(bag.items)), None)


_last: list[Call] = []


def _read(expression: CallExpr) -> Call:
    positional: list[Expression] = []
    keywords: dict[str, Expression] = {}
    bags: list[Expression] = []
    has_star = False
    for argument, kind, name in zip(expression.args, expression.arg_kinds, expression.arg_names, strict=True):
        if kind == ARG_POS:
            positional.append(argument)
        elif kind == ARG_NAMED and name is not None:
            keywords[name] = argument
        elif kind == ARG_STAR2:
            bags.append(argument)
        else:
            has_star = True
    return Call(expression, tuple(positional), keywords, tuple(bags), has_star)


def is_none(expression: Expression) -> bool:
    """Whether `None` is written there."""
    return isinstance(expression, NameExpr) and expression.fullname == "builtins.None"
