"""What is wrong with a builder call itself: stray, unclosed, doubled, or given the wrong kind of thing.

Values are opaque to the rules: whoever calls these functions has put them into words.
"""

from __future__ import annotations

from collections.abc import Iterable

from metta.sweep.contracts.flow.hook_table import HOOK_NAMES
from metta.sweep.contracts.flow.problems import Problem, Where, did_you_mean

# -- where a call stands --------------------------------------------------------------------------------------------


def duplicate_stage(name: str) -> Problem:
    """A second stage of the same name on one level."""
    return Problem(
        "duplicate-stage",
        f'there is already a stage "{name}" on this level of the pipeline',
        expected="a name of its own",
        found=name,
        remedy="rename one of them",
        argument=0,
    )


def through_without_stage(pending: str | None) -> Problem:
    """A `.through` without a stage of its own.

    Args:
        pending: the name of the stage before it, which has a through already; None where there is no stage.
    """
    return Problem(
        "through-without-stage",
        "through follows no stage" if pending is None else f'stage "{pending}" has a through already',
        expected="one .through(...) right behind a .stage, .map or .parallel",
        found="no stage before it" if pending is None else "a second one",
        remedy="put the contract and all hooks into one .through behind the stage",
    )


def stray_break() -> Problem:
    """A `break_if` that no loop of its own chain is around."""
    return Problem(
        "break-without-loop",
        "break_if stands outside a loop",
        expected=".loop_while(...) before it, in the same chain",
        found="no open loop",
        remedy="put it between .loop_while() and .end_loop() of the loop's own chain, not in an arm",
    )


def stray_end() -> Problem:
    """An `end_loop` without a loop."""
    return Problem(
        "end-loop-without-loop",
        "end_loop stands outside a loop",
        expected=".loop_while(...) before it",
        found="no open loop",
        remedy="remove it, or begin the loop with .loop_while(...)",
    )


def unclosed_loop() -> Problem:
    """A loop that is still open at the end of its pipeline."""
    return Problem(
        "unclosed-loop",
        "the loop that begins here is never closed",
        expected=".end_loop()",
        found="the end of the pipeline",
        remedy="add .end_loop() behind the last stage of its body",
    )


def empty_loop() -> Problem:
    """A loop without a stage in its body."""
    return Problem(
        "empty-loop",
        "the loop that ends here has no stage",
        expected="at least one stage between loop_while and end_loop",
        found="none",
        remedy="add the stages of the body, or remove the loop",
    )


# -- what stands for a stage ----------------------------------------------------------------------------------------


def no_name(found: str) -> Problem:
    """A stage whose first argument is no name."""
    return Problem(
        "not-a-stage",
        f"a stage begins with its name, a string; found {found}",
        expected="a non-empty string",
        found=found,
        remedy='write .stage("name", function)',
        argument=0,
    )


def not_a_stage(name: str, found: str, argument: Where, *, called: str = "") -> Problem:
    """A target that cannot be called.

    Args:
        called: where the target is the result of a call, the source of what was called ("self.train").
    """
    hint = f" (did you mean {called}, without the call?)" if called else ""
    return Problem(
        "not-a-stage",
        f'stage "{name}" is given {found}, which cannot be called{hint}',
        expected="a callable, a pipeline, a compiled graph or an experiment",
        found=found,
        remedy="pass the function itself; bind arguments as settings: .stage(name, fn, x=1)",
        argument=argument,
    )


def no_arms(found: str) -> Problem:
    """A parallel step that is given nothing, or neither a list nor a mapping."""
    return Problem(
        "not-a-stage",
        f"parallel takes a list or a mapping of stages and pipelines; found {found}",
        expected="[a, b, ...] or {name: a, ...}",
        found=found,
        remedy="write .parallel([a, b]) or .parallel({'x': a, 'y': b})",
        argument=0,
    )


def no_source(name: str, found: str) -> Problem:
    """A map whose `over` is no name."""
    return Problem(
        "map-source",
        f'map "{name}" runs over the field that over= names; found {found}',
        expected="the name of a context field",
        found=found,
        remedy="let a stage before it give the values as a field, or declare an input, and name that",
        argument="over",
    )


def no_count(name: str, found: str) -> Problem:
    """A `max_iterations` or `max_parallel` that is no number from 1 on."""
    return Problem(
        "setting-type",
        f"{name} is {found}; it is a number, from 1 on",
        expected="an int >= 1, or None for no limit",
        found=found,
        remedy=f"pass {name}=n with n >= 1, or leave it out",
        argument=name,
    )


# -- contracts and keywords -----------------------------------------------------------------------------------------


def is_field_name(name: str) -> bool:
    """Whether a keyword field, a declared input or an arm may have the name."""
    return name not in HOOK_NAMES and name != "get" and not name.startswith("_")


def reserved(name: str, what: str) -> Problem:
    """A field whose name means something else.

    Args:
        what: what the name was meant for ("a field").
    """
    why = "the name of a hook" if name in HOOK_NAMES else "reserved"
    return Problem(
        "reserved-name",
        f'"{name}" cannot be {what}: it is {why}',
        expected="another name",
        found=name,
        remedy=f"rename it, or put it into a record class: class Output(NamedTuple): {name.lstrip('_')}: ...",
        argument=name,
    )


def no_key(found: str) -> Problem:
    """A key of a parallel mapping that is no string."""
    return Problem(
        "reserved-name",
        f"the keys of a parallel mapping are the names of fields; found {found}",
        expected="a string",
        found=found,
        remedy="name each arm after the field it gives, or pass a list",
    )


def mixed(call: str, name: str) -> Problem:
    """A positional contract and the type-valued keyword `name`; `call` is "Pipeline" or ".through"."""
    return Problem(
        "mixed-contract",
        f'{call} has a positional contract and the field "{name}"',
        expected="one contract form",
        found=f"a positional contract and {name}=",
        remedy=f'put "{name}" into the record class, or declare every field by keyword',
        argument=name,
    )


def not_a_type(what: str, found: str, argument: str | int, *, item: str = "", is_callable: bool = False) -> Problem:
    """A contract or a declared input that is no type.

    Args:
        what: what it was meant for ('the contract of stage "train"').
        item: where the value is a list of one type, that type in words.
        is_callable: whether the value is a function.
    """
    remedy = "pass a type, not a function" if is_callable else "pass the type itself, not a value of it"
    return Problem(
        "not-a-type",
        f"{what} is {found}, which is no type",
        expected="a type such as list[int] or a record class",
        found=found,
        remedy=f"write list[{item}]" if item else remedy,
        argument=argument,
    )


def misplaced_settings(names: Iterable[str]) -> list[Problem]:
    """`unknown-hook` for the settings in the `.through` of a parallel step, which has no parameters."""
    return [
        _unknown_hook(n, "a hook, or a type for a field", "settings go on the stages inside the arms") for n in names
    ]


def unknown_global_hook(name: str) -> Problem:
    """A keyword of `with_global_hooks` that is no hook."""
    return _unknown_hook(name, "a hook", "see the table of hooks")


def _unknown_hook(name: str, expected: str, remedy: str) -> Problem:
    return Problem(
        "unknown-hook",
        f'"{name}" is no hook{did_you_mean(name, sorted(HOOK_NAMES))}',
        expected=expected,
        found=name,
        remedy=remedy,
        argument=name,
    )
