"""What the keywords of a builder call are: hooks, fields of the contract, settings of the stage."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import Enum
from typing import Any, TypeVar

from metta.sweep.contracts.flow.binding import Setting, bind
from metta.sweep.contracts.flow.hook_table import CLASS_HOOKS, HOOK_NAMES
from metta.sweep.contracts.flow.misuse import is_field_name, mixed, reserved
from metta.sweep.contracts.flow.oracle import TypeOracle
from metta.sweep.contracts.flow.problems import Problem, Where
from metta.sweep.contracts.flow.state import State
from metta.sweep.contracts.signature import Kind, Signature

T = TypeVar("T")
V = TypeVar("V")


class ValueKind(Enum):
    """What the value of a keyword is, as far as sorting needs it."""

    TYPE = "type"
    TEXT = "text"  # a string or None: an annotation in quotes, or a setting
    RENAME = "rename"  # field("x")
    OTHER = "other"


def sort_keywords(
    keywords: Mapping[str, V],
    kind_of: Callable[[V], ValueKind],
    signature: Signature[Any] | None,
    *,
    positional: bool,
) -> tuple[dict[str, V], dict[str, V], dict[str, V], list[Problem]]:
    """Sort the keywords of `.through`, their values unchanged.

    Args:
        signature: of the stage before it; None for a nested pipeline and a parallel step.
        positional: whether the call has a positional contract, too.

    Returns:
        The hooks, the fields of the contract, the settings of the stage, and problems (`mixed-contract`,
        `reserved-name`) for what is none of them.
    """
    hooks: dict[str, V] = {}
    fields: dict[str, V] = {}
    settings: dict[str, V] = {}
    problems: list[Problem] = []
    for name, value in keywords.items():
        kind = kind_of(value)
        if name in HOOK_NAMES:
            if kind is ValueKind.TYPE and name not in CLASS_HOOKS:
                problems.append(reserved(name, "a field"))
            else:
                hooks[name] = value
        elif kind is ValueKind.TYPE and positional:
            problems.append(mixed(".through", name))
        elif kind is ValueKind.TYPE or (
            kind is ValueKind.TEXT and not positional and not _takes_keyword(signature, name)
        ):
            if is_field_name(name):
                fields[name] = value
            else:
                problems.append(reserved(name, "a field"))
        else:
            settings[name] = value
    return hooks, fields, settings, problems


def _takes_keyword(signature: Signature[Any] | None, name: str) -> bool:
    return signature is not None and any(
        p.name == name and p.kind is not Kind.VAR_POSITIONAL for p in signature.parameters
    )


def input_problems(
    fields: Mapping[str, V], kind_of: Callable[[V], ValueKind], not_a_type: Callable[[str, V, str], Problem]
) -> list[Problem]:
    """What is wrong with the inputs that `Pipeline(x=int)` declares.

    Args:
        not_a_type: makes that problem of what the value was meant for, the value, and the keyword.
    """
    problems = []
    for name, value in fields.items():
        if not is_field_name(name):
            problems.append(reserved(name, "a declared input"))
        elif kind_of(value) not in (ValueKind.TYPE, ValueKind.TEXT):
            problems.append(not_a_type(f'the input "{name}"', value, name))
    return problems


def bound_problems(
    stage: str,
    signature: Signature[T],
    settings: Mapping[str, Setting],
    argument: Where,
    oracle: TypeOracle[T],
) -> list[Problem]:
    """What a partial binds are settings too.

    Args:
        signature: of what the partial wraps.
        settings: what it binds, the positional ones by the names of their parameters.
        argument: the position of the partial in the builder call.
    """
    # In an open context nothing else can be wrong.
    _, problems = bind(stage, signature, settings, State(open=True), oracle)
    return [problem.on(argument) for problem in problems if problem.argument in settings]
