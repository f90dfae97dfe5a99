"""The rule book: what each builder step does to the context.

Pure and generic over a `TypeOracle`; the definition-time checker and the mypy plugin both apply these functions, so
that their verdicts agree by construction. Nothing here knows a file, a line or a builder.
"""

from metta.sweep.contracts.flow.binding import (
    Argument,
    Binding,
    How,
    Setting,
    bind,
)
from metta.sweep.contracts.flow.control import (
    after_loop,
    carried,
    join,
    map_element,
    nested_effect,
    parallel_conflicts,
    whole,
)
from metta.sweep.contracts.flow.hook_table import (
    CALLABLE_HOOKS,
    CHANGERS,
    CONTROL,
    HOOK_NAMES,
    NEED_STORE,
    OBSERVERS,
    VALUE_HOOKS,
)
from metta.sweep.contracts.flow.hooks import (
    check_callable_hook,
    check_condition,
    check_skip,
)
from metta.sweep.contracts.flow.oracle import (
    TypeOracle,
)
from metta.sweep.contracts.flow.output import (
    Contract,
    Keyword,
    Output,
    Positional,
    Shape,
    advance,
    output,
    replaced,
    unknown_after,
)
from metta.sweep.contracts.flow.problems import (
    Problem,
    context_text,
    describe,
    did_you_mean,
)
from metta.sweep.contracts.flow.state import (
    EMPTY,
    Field,
    FieldMap,
    PersistentMap,
    State,
)

__all__ = [
    "CALLABLE_HOOKS",
    "CHANGERS",
    "CONTROL",
    "EMPTY",
    "HOOK_NAMES",
    "NEED_STORE",
    "OBSERVERS",
    "VALUE_HOOKS",
    "Argument",
    "Binding",
    "Contract",
    "Field",
    "FieldMap",
    "How",
    "Keyword",
    "Output",
    "PersistentMap",
    "Positional",
    "Problem",
    "Setting",
    "Shape",
    "State",
    "TypeOracle",
    "advance",
    "after_loop",
    "bind",
    "carried",
    "check_callable_hook",
    "check_condition",
    "check_skip",
    "context_text",
    "describe",
    "did_you_mean",
    "join",
    "map_element",
    "nested_effect",
    "output",
    "parallel_conflicts",
    "replaced",
    "unknown_after",
    "whole",
]
