"""The hooks of one stage, local and global, in the order in which they act.

Local hooks come first, then those of the innermost pipeline outwards. Of hooks that control (retry, timeout, ...)
one wins: the local one, else the innermost.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

from metta.sweep.contracts.flow.hook_table import CALLABLE_HOOKS, CONTROL, NEED_STORE, OBSERVERS
from metta.sweep.contracts.summary import summarize
from metta.sweep.errors import ContractViolation
from metta.sweep.pipeline.hooks import RetryPolicy, retry_policy

_CHECKS = ("schema", "validate", "assert_fn")
_KEPT = frozenset({*NEED_STORE, "serialize"} - {"archive"})
_CHANGERS = ("filter", "transform", "enrich")


class Hook(NamedTuple):
    """A callable hook; `call` takes what the table says, a global one has the stage's name bound."""

    name: str
    call: Callable[..., Any]


@dataclass(frozen=True, slots=True)
class StageHooks:
    """What acts on one stage, in the order of the fields.

    Attributes:
        control: the control hooks that count, by name; the callables among them are below.
        skip_if: takes the input.
        starting: the global `before`; they take the input.
        entering: the local `before`.
        checks: `schema`, `validate` and `assert_fn`.
        changers: `filter`, `transform` and `enrich`.
        observers: `log`, `metrics`, `debug` and `monitor`.
        leaving: `after`.
        archive: take the data, when the outcome is committed.
        kept: the hooks that need a store and are no sinks, by name, and `serialize`.
        on_error: takes the error and the input.
        policy: how often the stage is tried; None: once.
    """

    control: Mapping[str, Any]
    skip_if: Hook | None
    starting: tuple[Hook, ...]
    entering: tuple[Hook, ...]
    checks: tuple[Hook, ...]
    changers: tuple[Hook, ...]
    observers: tuple[Hook, ...]
    leaving: tuple[Hook, ...]
    archive: tuple[Hook, ...]
    kept: Mapping[str, Any]
    on_error: Hook | None
    policy: RetryPolicy | None


def arrange(stage: str, hooks: Mapping[str, Any], global_hooks: Sequence[Mapping[str, Any]]) -> StageHooks:
    """The hooks of the stage named `stage`: its own, and the global ones, innermost first."""
    control: dict[str, Any] = {}
    for given, lead in ((hooks, ()), *((g, (stage,)) for g in global_hooks)):
        for name in given:
            if name in CONTROL:
                control.setdefault(name, _bound(name, given[name], lead))

    def local(name: str) -> tuple[Hook, ...]:
        return (Hook(name, _bound(name, hooks[name], ())),) if name in hooks else ()

    def outer(name: str) -> tuple[Hook, ...]:
        return tuple(Hook(name, _bound(name, given[name], (stage,))) for given in global_hooks if name in given)

    def both(names: Sequence[str]) -> tuple[Hook, ...]:
        return tuple(hook for name in names for hook in (*local(name), *outer(name)))

    return StageHooks(
        control=control,
        skip_if=Hook("skip_if", control["skip_if"]) if "skip_if" in control else None,
        starting=outer("before"),
        entering=local("before"),
        checks=tuple(_check(stage, hook) for hook in both(_CHECKS)),
        changers=both(_CHANGERS),
        observers=both(OBSERVERS),
        leaving=both(("after",)),
        archive=both(("archive",)),
        kept=kept_hooks(stage, hooks, global_hooks),
        on_error=Hook("on_error", control["on_error"]) if "on_error" in control else None,
        policy=retry_policy(control.get("retry")),
    )


def kept_hooks(stage: str, hooks: Mapping[str, Any], global_hooks: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
    """The hooks that need a store and are no sinks, and `serialize`: of local and global ones the one that counts."""
    kept: dict[str, Any] = {}
    for given, lead in ((hooks, ()), *((g, (stage,)) for g in global_hooks)):
        for name in _KEPT & given.keys():
            kept.setdefault(name, _bound(name, given[name], lead))
    return kept


def storeless_hooks(hooks: Mapping[str, Any]) -> tuple[str, ...]:
    """The hooks among these that are asked for and have no effect without a store."""
    return tuple(name for name in NEED_STORE if hooks.get(name))


def split_map_hooks(hooks: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The hooks of a `.map`, local or global: (those that act on each element, those that see the list).

    Each element is tried, stopped, replaced or skipped on its own, so `default` is the value of a skipped element;
    an element that is skipped without one is left out of the list.
    """
    element = {name: hook for name, hook in hooks.items() if name in CONTROL}
    return element, {name: hook for name, hook in hooks.items() if name not in element}


def _bound(name: str, hook: Any, lead: tuple[str, ...]) -> Any:
    """A hook that takes exactly its data; `lead` is what a global one takes before."""
    if name == "on_error":
        call = partial(hook, *lead) if lead else hook
        return call if _accepts(hook, len(lead) + 2) else lambda error, data: call(error)
    return partial(hook, *lead) if lead and name in CALLABLE_HOOKS else hook


def _accepts(hook: Callable[..., Any], count: int) -> bool:
    from inspect import signature

    try:
        signature(hook).bind(*range(count))
    except (TypeError, ValueError):  # too many, or a builtin without a signature
        return False
    return True


def _check(stage: str, hook: Hook) -> Hook:
    return Hook("schema", _schema_check(stage, hook.call)) if hook.name == "schema" else hook


def _schema_check(stage: str, model: Any) -> Callable[[Any], None]:
    """Validate what the model reads from the data; the data itself stays as it is."""

    def check(data: Any) -> None:
        from pydantic import ValidationError

        from metta.sweep.pipeline.context import Context

        source = data._asdict() if isinstance(data, Context) else data
        try:
            model.model_validate(source, from_attributes=True)
        except ValidationError as error:
            raise rejected(stage, f"schema {model.__name__}", _first_line(error), data) from error

    return check


def _first_line(error: Any) -> str:
    """The first error of pydantic's list, and how many there are besides."""
    first, *others = error.errors(include_url=False, include_context=False, include_input=False)
    where = ".".join(map(str, first["loc"]))
    more = f" (and {len(others)} more)" if others else ""
    return f"{where + ': ' if where else ''}{first['msg']}{more}"


def rejected(stage: str, what: str, why: str, data: object) -> ContractViolation:
    """The violation that a check of a stage's output found."""
    reason = " ".join(why.split())
    return ContractViolation(
        f'stage "{stage}": {what} rejects the output{": " + reason if reason else ""}; found {summarize(data)}',
        stage=stage,
        data=data,
    )
