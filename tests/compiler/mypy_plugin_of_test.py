"""A plugin for mypy that reports where a function named `report_...` is called, as ours reports mistakes."""

from __future__ import annotations

from collections.abc import Callable

from mypy.errorcodes import ErrorCode, error_codes
from mypy.plugin import FunctionContext, Plugin
from mypy.types import Type


def _code(name: str) -> ErrorCode:
    return error_codes.get(name) or ErrorCode(name, "for a test", "metta")


def _missing(context: FunctionContext) -> Type:
    code = _code("missing-field")
    context.api.fail('stage "train" needs field "x: int"', context.context, code=code)
    context.api.msg.note("declare it: Pipeline(x=int)", context.context, code=code)
    context.api.msg.note("or rename it", context.context, code=code)
    return context.default_return_type


def _untyped(context: FunctionContext) -> Type:
    context.api.msg.note('stage "load" has no annotations', context.context, code=_code("untyped-stage"))
    return context.default_return_type


def _crash(context: FunctionContext) -> Type:
    raise ZeroDivisionError("in a plugin")


class _Reporting(Plugin):
    def get_function_hook(self, fullname: str) -> Callable[[FunctionContext], Type] | None:
        called = fullname.rpartition(".")[2]
        return {"report_missing": _missing, "report_untyped": _untyped, "report_crash": _crash}.get(called)


def plugin(version: str) -> type[Plugin]:
    """Called by mypy."""
    return _Reporting
