"""The hooks of a `.through`: what types their lambdas get, and whether values and callables fit."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from mypy.nodes import ConditionalExpr, Expression, FloatExpr, IntExpr, LambdaExpr, UnaryExpr
from mypy.types import (
    AnyType,
    CallableType,
    FunctionLike,
    Instance,
    LiteralType,
    NoneType,
    ProperType,
    Type,
    TypedDictType,
    TypeType,
    UnionType,
    get_proper_type,
)

from metta.sweep.contracts.flow import (
    CALLABLE_HOOKS,
    HOOK_NAMES,
    HookValue,
    Keyword,
    Positional,
    Problem,
    data_type,
    did_you_mean,
    element_type,
    output,
    whole,
)
from metta_mypy import fullnames
from metta_mypy.calls import Call
from metta_mypy.effects import Effect
from metta_mypy.lambdas import accepts_count, called_with
from metta_mypy.point import Contract, Pending
from metta_mypy.session import Session
from metta_mypy.signatures import is_callable
from metta_mypy.targets import callable_signature
from metta_mypy.wording import argument_of


def hook_contexts(
    session: Session, hooks: Mapping[str, Expression], effect: Effect, pending: Pending
) -> dict[str, CallableType]:
    """A callable type for each hook that is a lambda and can be called with what it will be given."""
    oracle = session.oracle
    state = effect.before.state
    if effect.nested is None:
        data = data_type(effect.output, state, oracle)
    else:
        data = whole(effect.nested.end, oracle)
    found: dict[str, CallableType] = {}
    for name, value in hooks.items():
        if not isinstance(value, LambdaExpr) or name not in CALLABLE_HOOKS:
            continue
        given = None
        if pending.over is None and CALLABLE_HOOKS[name].takes != "data":
            given = whole(state, oracle)
        types = _given(session, name, value, data, given)
        if accepts_count(value, len(types)):
            found[name] = called_with(value, types, session.api)
            session.watch(value, effect.after if types and types[0] is data else state)
    return found


def _given(
    session: Session, name: str, value: LambdaExpr, data: Type | None, given: Type | None
) -> Sequence[Type | None]:
    takes = CALLABLE_HOOKS[name].takes
    if takes == "data":
        return (data,)
    if takes == "input":
        return (given,)
    error = session.api.named_generic_type("builtins.Exception", [])
    return (error, given) if accepts_count(value, 2) else (error,)


def hook_value(session: Session, name: str, value: Expression) -> HookValue[Type]:
    """One hook, as the rule book sees it."""
    tp = session.expression_type(value)
    if name not in CALLABLE_HOOKS:
        fits = _fits(session, name, value, tp)
        return HookValue(misfit="" if fits else argument_of(value, session.api, tp).text)
    if is_callable(tp) is False:
        return HookValue(misfit=argument_of(value, session.api, tp).text)
    return HookValue(callable_signature(session, value, tp))


# -- values ---------------------------------------------------------------------------------------------------------


def _fits(session: Session, name: str, value: Expression, tp: Type) -> bool:
    """Whether a value can stand under a hook that takes no callable, as far as its type tells."""
    found = get_proper_type(tp)
    if isinstance(found, UnionType):
        return any(_fits(session, name, value, item) for item in found.items)
    if isinstance(found, AnyType):
        return True
    literal = found.last_known_value if isinstance(found, Instance) else found
    constant = literal.value if isinstance(literal, LiteralType) else None
    info = _class_of(found)
    match name:
        case "checkpoint" | "cache" | "profile":
            return info == "builtins.bool"
        case "validate_type":
            return info == "builtins.bool" or (info == "builtins.str" and constant in (None, "auto", "deep"))
        case "retry":
            return info == fullnames.RETRY_POLICY or (info == "builtins.int" and not _is_below(value, 0))
        case "timeout":
            if info in ("builtins.int", "builtins.float"):
                return not _is_below(value, 0) and not (isinstance(value, (IntExpr, FloatExpr)) and value.value == 0)
            return info == "datetime.timedelta"
        case "schema":
            return _is_model(found)
        case "resources":
            return info == fullnames.RESOURCES
        case "executor":
            return info == "builtins.str" or _is_executor(found)
    return True


def _class_of(found: Type) -> str:
    found = get_proper_type(found)
    if isinstance(found, LiteralType):
        found = found.fallback
    return found.type.fullname if isinstance(found, Instance) else ""


def _is_executor(found: ProperType) -> bool:
    """An executor, its class, or a function that may make one: the first two are known by their `reattach`."""
    if isinstance(found, TypeType):
        found = found.item
    elif isinstance(found, FunctionLike) and found.is_type_obj():
        return found.type_object().has_readable_member("reattach")
    if isinstance(found, Instance) and found.type.has_readable_member("reattach"):
        return True
    return is_callable(found) is not False


def _is_below(value: Expression, limit: int) -> bool:
    return limit == 0 and isinstance(value, UnaryExpr) and value.op == "-"


def _is_model(found: Type) -> bool:
    """A pydantic model class; whatever else has `model_validate` passes at run time, too."""
    made = get_proper_type(found)
    if isinstance(made, TypeType):
        return not isinstance(made.item, Instance) or made.item.type.get("model_validate") is not None
    if isinstance(made, FunctionLike) and made.is_type_obj():
        return made.type_object().get("model_validate") is not None
    return not isinstance(made, (Instance, NoneType, LiteralType)) or _class_of(made) == "builtins.type"


def default_problem(
    session: Session, stage: str, value: Expression, contract: Contract, *, is_map: bool
) -> Problem | None:
    """`hook-type` where the default does not meet the contract."""
    oracle = session.oracle
    element = element_type(contract, oracle) if is_map else None
    wanted: Contract = contract if element is None else Positional(element)
    expected = wanted.type if isinstance(wanted, Positional) else None
    if isinstance(wanted, Keyword) and len(wanted.fields) == 1:
        expected = next(iter(wanted.fields.values()))
    tp = session.expression_type(value, expected)
    _, problems = output(stage, tp, wanted, oracle)
    if not problems:
        return None
    shown = argument_of(value, session.api, tp).text
    return Problem(
        "hook-type",
        f'the default of stage "{stage}" does not meet its contract: {shown} is no {problems[0].expected}',
        expected="a value that meets the contract",
        found=shown,
        remedy="give what the stage would return: the value, or a tuple, mapping or record of the fields",
        argument="default",
        at="through",
    )


def bag_problems(session: Session, call: Call) -> list[Problem]:
    """`unknown-hook` for the keys of a typed bag behind `**` that are no hooks."""
    found = []
    for bag in _either(call.bags):
        tp = get_proper_type(session.expression_type(bag))
        if isinstance(tp, TypedDictType):
            found += [_unknown(name) for name in tp.items if name not in HOOK_NAMES]
    return found


def _either(bags: Iterable[Expression]) -> Iterator[Expression]:
    """The bags, both of `a if c else b`: what they have in common does not say what one of them has too much."""
    for bag in bags:
        if isinstance(bag, ConditionalExpr):
            yield from _either((bag.if_expr, bag.else_expr))
        else:
            yield bag


def _unknown(name: str) -> Problem:
    return Problem(
        "unknown-hook",
        f'"{name}" is no hook{did_you_mean(name, sorted(HOOK_NAMES))}',
        expected="a hook",
        found=name,
        remedy="see the table of hooks",
        argument=name,
        at="through",
    )
