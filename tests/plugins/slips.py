"""One slip in a written pipeline: a misspelt hook, a value in the wrong place, a call that stands where none can."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from random import Random
from typing import NamedTuple

from metta.sweep.contracts.flow import CALLABLE_HOOKS
from tests.plugins.functions import FUNCTIONS


class Call(NamedTuple):
    """One call of a chain; the first one is `Pipeline` itself. Keyword arguments are written `name=value`."""

    method: str
    arguments: Sequence[str]

    def with_more(self, *arguments: str) -> Call:
        """The call with more arguments; a keyword that it has already gets the new value."""
        names = {argument.partition("=")[0] for argument in arguments}
        kept = [it for it in self.arguments if it.partition("=")[0] not in names]
        return Call(self.method, [*kept, *arguments])

    def with_argument(self, index: int, argument: str) -> Call:
        """The call with another argument in one place."""
        return Call(self.method, [*self.arguments[:index], argument, *self.arguments[index + 1 :]])


_VALUES = (
    "3",
    "-1",
    "0",
    '"text"',
    '""',
    "None",
    "True",
    "2.5",
    "[3]",
    "Pair",
    "takes_any",
    "takes_nothing()",
    "Modelled",
)
"""Expressions, most of them in the wrong place."""

_HOOKS = ("retry", "timeout", "validate_type", "schema", "checkpoint", "cache", "profile", "executor", "resources")

_KEYWORDS = (
    *("befor={0}", "retires=3", "metrics=dict[str, float]", "get=int", "_hidden=int", "zz=int", "zz={0}", "option={0}"),
    *("before=int", "schema=Pair", "default={0}", 'zz=field("a")', "a=int", "a={0}", "b=None", 'b="text"'),
)


def _hook(call: Call, random: Random) -> list[Call]:
    name = random.choice([*CALLABLE_HOOKS])
    return [call.with_more(f"{name}={random.choice((*FUNCTIONS, *FUNCTIONS, *_VALUES))}")]


def _skip(call: Call, random: Random) -> list[Call]:
    with_default = [f"default={random.choice(_VALUES)}"] if random.randrange(2) else []
    return [call.with_more(f"skip_if={random.choice(FUNCTIONS)}", *with_default)]


def _value_hook(call: Call, random: Random) -> list[Call]:
    return [call.with_more(f"{random.choice(_HOOKS)}={random.choice(_VALUES)}")]


def _keyword(call: Call, random: Random) -> list[Call]:
    return [call.with_more(random.choice(_KEYWORDS).format(random.choice(_VALUES)))]


def _contract(call: Call, random: Random) -> list[Call]:
    keywords = [it for it in call.arguments if "=" in it] if random.randrange(2) else []
    return [Call(call.method, [random.choice(_VALUES), *keywords])]


def _again(call: Call, random: Random) -> list[Call]:
    return [call, Call("through", random.choice((["zz=int"], ["Pair"], ["before=takes_any"])))]


def _stray(call: Call, random: Random) -> list[Call]:
    new = random.choice((Call("end_loop", []), Call("break_if", ["takes_any"]), Call("through", ["zz=int"])))
    return [call, new]


def _open_loop(call: Call, random: Random) -> list[Call]:
    return [call, Call("loop_while", [random.choice(FUNCTIONS)])]


def _gone(call: Call, random: Random) -> list[Call]:
    return []


def _target(call: Call, random: Random) -> list[Call]:
    return [call.with_argument(1, random.choice((*_VALUES, *FUNCTIONS)))]


def _stage_name(call: Call, random: Random) -> list[Call]:
    return [call.with_argument(0, random.choice(_VALUES))]


def _setting(call: Call, random: Random) -> list[Call]:
    name = random.choice(("option", "rest", "a", "b", "zz", "renamed", "over", "x"))
    value = random.choice((*_VALUES, 'field("a")', 'field("zz")', 'field("b")'))
    return [call.with_more(f"{name}={value}")]


def _condition(call: Call, random: Random) -> list[Call]:
    return [call.with_argument(0, random.choice((*FUNCTIONS, *FUNCTIONS, *_VALUES)))]


def _limit(call: Call, random: Random) -> list[Call]:
    return [call.with_more(f"max_iterations={random.choice(_VALUES)}")]


def _arm(call: Call, random: Random) -> list[Call]:
    return [call.with_argument(random.randrange(1, 3), random.choice((*FUNCTIONS, *_VALUES)))]


def _arms(call: Call, random: Random) -> list[Call]:
    one = random.choice((*FUNCTIONS, *_VALUES))
    given = random.choice(("[]", "{}", one, f"[{one}]", f'{{"u": {one}}}', f'{{"get": {one}}}', f"{{3: {one}}}"))
    return [Call(call.method, [given])]


def _inputs(call: Call, random: Random) -> list[Call]:
    return random.choice((_keyword, _contract))(call, random)


SLIPS: Mapping[str, Sequence[Callable[[Call, Random], list[Call]]]] = {
    "Pipeline": (_inputs, _stray),
    "stage": (_target, _stage_name, _setting, _setting, _stray, _open_loop),
    "map": (_target, _stage_name, _setting, _setting, _stray),
    "through": (_hook, _hook, _hook, _skip, _value_hook, _keyword, _keyword, _contract, _again),
    "loop_while": (_condition, _condition, _limit, _gone),
    "end_loop": (_condition, _gone),
    "break_if": (_condition,),
    "conditional": (_condition, _arm),
    "parallel": (_arms,),
}
"""What may be wrong with each call of a chain."""


def slipped(call: Call, number: int) -> list[Call]:
    """The calls that stand in place of one, after a slip."""
    random = Random(number)
    return random.choice(SLIPS[call.method])(call, random)
