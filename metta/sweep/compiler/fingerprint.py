"""Fingerprints: what a stage is, as a digest that changes exactly when its code, settings or contract change.

Resume and cache compare them across processes and machines, so nothing here depends on addresses, hash seeds, file
names or line numbers. What a stage calls is not followed: a digest of everything reachable would change with every
upgrade of a library.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Iterator, Mapping
from inspect import CO_ASYNC_GENERATOR, CO_COROUTINE, CO_GENERATOR, CO_VARARGS, CO_VARKEYWORDS
from types import CodeType, FunctionType, MethodType
from typing import Any

from metta.sweep.compiler.graph import Graph, Node
from metta.sweep.contracts.assignable import describe
from metta.sweep.contracts.flow import How, Positional
from metta.sweep.contracts.records import record_fields
from metta.sweep.contracts.signature import code_of
from metta.sweep.pipeline.plan import BranchPlan, BreakPlan, LoopPlan, MapPlan, StagePlan

LOADED_PREFIX = "_metta_sweep_file_"
"""Begins the names of modules that are loaded from files which cannot be imported by name."""

_KINDS = CO_VARARGS | CO_VARKEYWORDS | CO_GENERATOR | CO_COROUTINE | CO_ASYNC_GENERATOR
"""The flags that say what a function is; the others say where it stands."""


def fingerprints(graph: Graph) -> Mapping[str, str]:
    """Node id -> digest (32 hexadecimal digits), for every node."""
    return {node.id: _digest(_of_node(node)) for node in graph.walk()}


def fingerprint_of(value: object) -> str:
    """The digest of a callable or of a plain value."""
    return _digest(_of_value(value))


def _digest(parts: Iterator[str]) -> str:
    found = hashlib.blake2b(digest_size=16)
    for part in parts:
        data = part.encode("utf-8", "surrogatepass")
        # The length keeps "ab", "c" and "a", "bc" apart.
        found.update(len(data).to_bytes(8, "little"))
        found.update(data)
    return found.hexdigest()


def _of_node(node: Node) -> Iterator[str]:
    plan = node.plan
    yield node.kind.value
    yield node.name
    if isinstance(plan, (StagePlan, MapPlan)):
        yield from _of_value(plan.step.call)
        yield plan.step.over or ""
        for argument in plan.binding.arguments:
            yield f"{argument.parameter.name} {argument.how.value} {' '.join(argument.names)}"
            if argument.how is How.SETTING:
                yield from _of_value(argument.value)
    elif isinstance(plan, LoopPlan):
        yield from _of_value(plan.step.condition)
        yield from _of_value(plan.end.until)
        yield repr(plan.step.max_iterations)
    elif isinstance(plan, BranchPlan):
        yield from _of_value(plan.step.predicate)
    elif isinstance(plan, BreakPlan):
        yield from _of_value(plan.step.condition)
    output = getattr(plan, "output", None)
    contract = None if output is None else output.contract
    if contract is not None:
        types = {"": contract.type} if isinstance(contract, Positional) else contract.fields
        for name, tp in types.items():
            yield f"contract {name}"
            yield from _of_type(tp)


def _of_type(tp: Any) -> Iterator[str]:
    if tp is None:
        yield "unknown"
        return
    yield describe(tp)
    for name, field in (record_fields(tp) or {}).items():
        yield f"{name}: {describe(field.type)} {field.required}"


def _of_value(value: Any, depth: int = 0) -> Iterator[str]:
    """A value in parts that are equal in every process; an object we cannot look into counts by its class."""
    if depth > 8:
        yield "..."
    elif value is None or isinstance(value, (bool, int, float, complex, str, bytes)):
        yield f"{type(value).__name__} {value!r}"
    elif isinstance(value, (list, tuple)):
        yield f"{type(value).__name__} {len(value)}"
        for item in value:
            yield from _of_value(item, depth + 1)
    elif isinstance(value, (set, frozenset)):
        yield f"{type(value).__name__} {len(value)}"
        yield from sorted(_digest(_of_value(item, depth + 1)) for item in value)
    elif isinstance(value, Mapping):
        yield f"mapping {len(value)}"
        yield from sorted(f"{_digest(_of_value(k))}{_digest(_of_value(v, depth + 1))}" for k, v in value.items())
    elif isinstance(value, CodeType):
        yield from _of_code(value)
    elif isinstance(value, functools.partial):
        yield "partial"
        yield from _of_value((value.func, value.args, value.keywords), depth + 1)
    elif isinstance(value, MethodType):
        yield f"method of {_name_of(type(value.__self__))}"
        yield from _of_value(value.__func__, depth + 1)
    elif isinstance(value, FunctionType):
        yield "function"
        yield from _of_code(value.__code__)
        yield from _of_value((value.__defaults__, value.__kwdefaults__), depth + 1)
        cells = value.__closure__ or ()
        yield from _of_value([_contents(cell) for cell in cells], depth + 1)
    else:
        yield from _of_object(value)


def _contents(cell: Any) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # not filled yet: a function that refers to itself
        return None


def _of_object(value: Any) -> Iterator[str]:
    cls = value if isinstance(value, type) else type(value)
    yield f"{'class' if value is cls else 'object'} {_name_of(cls)}"
    code = code_of(value) if callable(value) else None
    if code is not None:
        yield from _of_code(code)


def _name_of(cls: type) -> str:
    """The name of a class. A script's are the same whether it is run or loaded by its path, wherever it lies."""
    module = cls.__module__
    if module == "__main__" or module.startswith(LOADED_PREFIX):
        module = "__main__"
    return f"{module}.{cls.__qualname__}"


def _of_code(code: CodeType) -> Iterator[str]:
    """A code object without its place: bytecode, names and constants, inner functions included."""
    yield code.co_code.hex()
    yield " ".join((*code.co_names, *code.co_varnames, *code.co_freevars, *code.co_cellvars))
    yield f"{code.co_argcount} {code.co_posonlyargcount} {code.co_kwonlyargcount} {code.co_flags & _KINDS}"
    for constant in code.co_consts:
        yield from _of_value(constant)
