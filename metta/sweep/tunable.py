"""What can be tuned like anything else: it says which of its settings matter, and is made again with others."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from itertools import islice
from reprlib import Repr
from typing import TYPE_CHECKING, Any, Self

from metta.sweep.errors import UsageError

if TYPE_CHECKING:
    from inspect import Signature

    from metta.sweep.space import Distribution


_WIDTH = 120
"""Characters of an argument that are shown."""

_PLAIN = (int, float, str, tuple)
"""Kinds of defaults that are recognized by value, not by identity."""

_DEPTH = 3
"""How deep values inside of values are shown."""


class _Short(Repr):
    """Values on a line. Of a mapping there are the first items in their order, of a search space the names."""

    def __init__(self) -> None:
        super().__init__()
        self.maxdict = self.maxlist = self.maxtuple = 4
        self.maxstring = self.maxother = 40

    def repr_dict(self, x: Mapping[Any, Any], level: int) -> str:
        if level <= 0:
            return "{...}"
        items = [f"{self.repr1(key, level - 1)}: {self.repr1(x[key], level - 1)}" for key in islice(x, self.maxdict)]
        return f"{{{', '.join([*items, '...'] if len(x) > self.maxdict else items)}}}"

    def repr_SearchSpace(self, x: Mapping[str, Any], level: int) -> str:  # named after the class
        return f"SearchSpace({self.repr_dict(dict.fromkeys(x, _ELIDED), 2)})"

    def repr_function(self, x: Any, level: int) -> str:
        return str(x.__qualname__)

    def repr_type(self, x: type[Any], level: int) -> str:
        return x.__name__


class _Elided:
    def __repr__(self) -> str:
        return "..."


_ELIDED = _Elided()


class _Arguments:
    """What a constructor was called with. Copies share it: nothing changes it, and it may hold whole data sets."""

    __slots__ = ("by_name", "by_position")

    def __init__(self, by_position: tuple[Any, ...], by_name: dict[str, Any]) -> None:
        self.by_position = by_position
        self.by_name = by_name

    def __deepcopy__(self, memo: dict[int, Any]) -> _Arguments:
        return self


class Tunable:
    """The base of optimizers and schedulers: `tunables` names settings, `with_arguments` changes them.

    The arguments of the constructor are recorded before it runs, so a subclass need not call `__init__`; one that
    writes `__new__` passes its arguments on. They travel with copies and pickles, whatever state a subclass chooses
    to put into these.
    """

    # A slot keeps the record out of `vars(self)`, where the settings and the state of a part are looked for.
    __slots__ = ("__arguments",)

    __arguments: _Arguments

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        made = super().__new__(cls)
        is_copy = len(args) == 1 and isinstance(args[0], _Arguments)
        made.__arguments = args[0] if is_copy else _Arguments(args, kwargs)
        return made

    def __getnewargs__(self) -> tuple[_Arguments]:
        """How copies and pickles are made: with the record instead of the arguments."""
        return (self.__arguments,)

    def __getstate__(self) -> object:
        """The usual state, without the record, which is in `__getnewargs__`."""
        state = super().__getstate__()
        if not isinstance(state, tuple):
            return state
        attributes, slots = state
        others = {name: value for name, value in slots.items() if name != "_Tunable__arguments"}
        return (attributes, others) if others else attributes

    def __repr__(self) -> str:
        """The call of the constructor: the arguments that are not the defaults, cut short where they are long."""
        try:
            bound = self.__constructor.bind(*self.__arguments.by_position, **self.__arguments.by_name)
            given = [text for name, value in bound.arguments.items() for text in _shown(bound.signature, name, value)]
            return f"{type(self).__name__}({', '.join(given)})"
        except Exception:  # whoever prints a message must not fail for what an argument is
            return object.__repr__(self)

    def tunables(self) -> Mapping[str, Distribution[Any]]:
        """The settings that a sweep of sweeps may tune: argument of the constructor -> distribution.

        Nothing, unless a subclass says so. Every value alone, and all of them together, have to be accepted by
        `with_arguments`. What changes the cost of a sweep rather than its outcome does not belong here.
        """
        return {}

    def with_arguments(self, **changes: Any) -> Self:
        """A fresh object, made by the constructor from the arguments of this one but for `changes`.

        An optimizer or scheduler among the arguments is made anew as well. What was observed or bound since, and
        attributes that were set, stay behind.

        Args:
            changes: arguments of the constructor by name.

        Raises:
            UsageError: the constructor has no such argument (the message names the nearest), or refuses its value.
        """
        bound = self.__constructor.bind(*self.__arguments.by_position, **self.__arguments.by_name)
        bound.apply_defaults()
        for name, value in changes.items():
            rest = self.check_argument(name)
            if rest is None:
                bound.arguments[name] = value
            else:
                bound.arguments[rest] = {**bound.arguments[rest], name: value}
        kind = type(self)
        return kind(*map(_fresh, bound.args), **{name: _fresh(value) for name, value in bound.kwargs.items()})

    def check_argument(self, name: str) -> str | None:
        """Whether `with_arguments` takes `name`.

        Returns:
            None where it is a parameter of the constructor; the name of `**keywords` where these take it.

        Raises:
            UsageError: the constructor has no such argument; the message names the nearest.
        """
        from inspect import Parameter

        known = self.__constructor.parameters.values()
        named = [p.name for p in known if p.kind not in (Parameter.VAR_POSITIONAL, Parameter.VAR_KEYWORD)]
        if name in named:
            return None
        for parameter in known:
            if parameter.kind is Parameter.VAR_KEYWORD:
                return parameter.name
        near = get_close_matches(name, named, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"it takes {', '.join(named) or 'none'}"
        raise UsageError(f"{type(self).__name__} has no argument {name!r}: {hint}")

    @property
    def __constructor(self) -> Signature:
        from inspect import signature

        # That of the class may be the signature of a `__new__` that passes on whatever it gets.
        return signature(self.__init__)  # type: ignore[misc]


def _shown(signature: Signature, name: str, value: Any) -> list[str]:
    """An argument as a call has it; nothing where it is the default."""
    parameter = signature.parameters[name]
    match parameter.kind:
        case parameter.VAR_POSITIONAL:
            return [_text(item) for item in value]
        case parameter.VAR_KEYWORD:
            return [f"{key}={_text(item)}" for key, item in value.items()]
        case parameter.POSITIONAL_ONLY:
            return [_text(value)]
    if value is parameter.default or (isinstance(value, _PLAIN) and value == parameter.default):
        return []
    return [f"{name}={_text(value)}"]


def _text(value: Any) -> str:
    text = _Short().repr1(value, _DEPTH)
    return text if len(text) <= _WIDTH else f"{text[: _WIDTH - 3]}..."


def _fresh(value: Any) -> Any:
    return value.with_arguments() if isinstance(value, Tunable) else value
