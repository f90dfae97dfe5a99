"""The entry point mypy calls: which hook of which class is whose feature."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

from mypy.errors import CompileError
from mypy.nodes import TypeInfo
from mypy.options import Options
from mypy.plugin import (
    AttributeContext,
    ClassDefContext,
    DynamicClassDefContext,
    FunctionContext,
    MethodContext,
    MethodSigContext,
    Plugin,
    ReportConfigContext,
)
from mypy.types import FunctionLike, Type

from metta.sweep.errors import UsageError
from metta_mypy import (
    branches,
    contexts,
    experiments,
    fullnames,
    graphs,
    inputs,
    loops,
    rebinding,
    stages,
    surface,
    through,
)
from metta_mypy.chains import Chains
from metta_mypy.config import read_strict
from metta_mypy.digest import VERSION
from metta_mypy.returned import returned
from metta_mypy.session import Session

R = TypeVar("R")

_METHODS: dict[tuple[str, str], Callable[[Session, MethodContext], Type]] = {
    (fullnames.PIPELINE, "stage"): stages.stage_method,
    (fullnames.PIPELINE, "map"): stages.map_method,
    (fullnames.PIPELINE, "through"): through.through_method,
    (fullnames.PIPELINE, "loop_while"): loops.loop_method,
    (fullnames.PIPELINE, "break_if"): loops.break_method,
    (fullnames.PIPELINE, "end_loop"): loops.end_method,
    (fullnames.PIPELINE, "conditional"): branches.conditional_method,
    (fullnames.PIPELINE, "parallel"): branches.parallel_method,
    (fullnames.PIPELINE, "with_global_hooks"): inputs.global_hooks_method,
    (fullnames.PIPELINE, "compile"): graphs.compile_method,
    (fullnames.CONTEXT, "get"): contexts.get_method,
}

_SIGNATURES: dict[tuple[str, str], Callable[[Session, MethodSigContext], FunctionLike]] = {
    (fullnames.PIPELINE, "stage"): stages.stage_signature,
    (fullnames.PIPELINE, "map"): stages.map_signature,
    (fullnames.PIPELINE, "through"): through.through_signature,
    (fullnames.PIPELINE, "loop_while"): loops.condition_signature,
    (fullnames.PIPELINE, "break_if"): loops.condition_signature,
    (fullnames.PIPELINE, "end_loop"): loops.condition_signature,
    (fullnames.PIPELINE, "conditional"): branches.conditional_signature,
    (fullnames.PIPELINE, "parallel"): branches.parallel_signature,
    (fullnames.PIPELINE, "with_global_hooks"): inputs.global_hooks_signature,
    (fullnames.GRAPH, "run"): graphs.run_signature,
    (fullnames.GRAPH, "__call__"): graphs.run_signature,
    (fullnames.GRAPH, "arun"): graphs.arun_signature,
    (fullnames.EXPERIMENT, "run"): graphs.experiment_run_signature,
    (fullnames.CONTEXT, "_replace"): contexts.replace_signature,
}

_METHOD_NAMES = frozenset(name for _, name in (*_METHODS, *_SIGNATURES))
"""mypy asks for each call of each method there is: most are answered by their name."""

_OWNERS = (fullnames.PIPELINE, fullnames.GRAPH, fullnames.CONTEXT, fullnames.EXPERIMENT)


class MettaPlugin(Plugin):
    """Dispatches mypy's hooks to the features of this package."""

    def __init__(self, options: Options) -> None:
        super().__init__(options)
        try:
            self._strict = read_strict(options.config_file)
        except UsageError as error:
            # What mypy raises itself for a plugin that it cannot use: it prints the sentence and stops (exit code 2).
            raise CompileError([str(error)]) from error
        self._session = Session(self._strict)
        self._methods = {
            key: partial(self._safely, partial(_returning, feature), _default_type) for key, feature in _METHODS.items()
        }
        self._signatures = {
            key: partial(self._safely, feature, _default_signature) for key, feature in _SIGNATURES.items()
        }
        self._texts = Chains()
        self._derived: dict[str, tuple[list[TypeInfo], str | None]] = {}

    def report_config_data(self, ctx: ReportConfigContext) -> Any:
        """What must be the same for the cache of a module to count.

        mypy compares versions of plugins once per cache, and forgets the modules that a run leaves out: each module has
        the version with it.
        """
        return {"strict": self._strict, "version": VERSION}

    def get_function_hook(self, fullname: str) -> Callable[[FunctionContext], Type] | None:
        if fullname == fullnames.PIPELINE:
            return partial(self._safely, partial(_returning, inputs.constructor), _default_type)
        return None

    def get_method_hook(self, fullname: str) -> Callable[[MethodContext], Type] | None:
        owner, _, name = fullname.rpartition(".")
        if name not in _METHOD_NAMES:
            return None
        return self._methods.get((self._owner(owner) or "", name))

    def get_method_signature_hook(self, fullname: str) -> Callable[[MethodSigContext], FunctionLike] | None:
        owner, _, name = fullname.rpartition(".")
        if name not in _METHOD_NAMES:
            return None
        return self._signatures.get((self._owner(owner) or "", name))

    def get_attribute_hook(self, fullname: str) -> Callable[[AttributeContext], Type] | None:
        owner, _, name = fullname.rpartition(".")
        if name in graphs.OF_GRAPHS and self._owner(owner) == fullnames.PIPELINE:
            return partial(self._safely, graphs.uncompiled, _default_attribute)
        if self._owner(owner) != fullnames.CONTEXT:
            return None
        return partial(self._safely, partial(_attribute, name), _default_attribute)

    def get_class_decorator_hook_2(self, fullname: str) -> Callable[[ClassDefContext], bool] | None:
        return self._plain_methods if fullname == fullnames.MARKER else None

    def get_base_class_hook(self, fullname: str) -> Callable[[ClassDefContext], None] | None:
        symbol = self.lookup_fully_qualified(fullname)
        if symbol is None or not isinstance(symbol.node, TypeInfo) or not symbol.node.has_base(fullnames.EXPERIMENT):
            return None
        return partial(self._quietly, experiments.annotate_pipeline)

    def get_dynamic_class_hook(self, fullname: str) -> Callable[[DynamicClassDefContext], None] | None:
        if fullname != fullnames.PIPELINE:
            return None
        return partial(self._quietly, partial(rebinding.annotate, self._texts))

    # -- inside ------------------------------------------------------------------------------------------------------

    def _owner(self, fullname: str) -> str | None:
        """The class of ours that a class is, or derives from."""
        if fullname in _OWNERS:
            return fullname
        symbol = self.lookup_fully_qualified(fullname)
        if symbol is None or not isinstance(symbol.node, TypeInfo):
            return None
        known = self._derived.get(fullname)
        if known is None or known[0] is not symbol.node.mro:  # the daemon gives a class new bases
            owner = next((owner for owner in _OWNERS if symbol.node.has_base(owner)), None)
            known = self._derived[fullname] = (symbol.node.mro, owner)
        return known[1]

    def _safely(self, feature: Callable[[Session, Any], R], default: Callable[[Any], R], ctx: Any) -> R:
        """Run a feature. An error in it must not become an internal error of mypy: a note says that it failed.

        With `mypy --show-traceback` the error itself is shown.
        """
        try:
            self._session.begin(ctx.api)
            return feature(self._session, ctx)
        except Exception as error:
            if self.options.show_traceback:
                raise
            message = f"metta_mypy failed here ({type(error).__name__}: {error}): this call is not checked"
            ctx.api.note(message, ctx.context)
            return default(ctx)

    def _plain_methods(self, ctx: ClassDefContext) -> bool:
        self._quietly(surface.plain_methods, ctx)
        return True

    def _quietly(self, feature: Callable[[Any], None], ctx: Any) -> None:
        """Run a feature of the semantic analysis, where there is no place for a note."""
        try:
            feature(ctx)
        except Exception:
            if self.options.show_traceback:
                raise


def _returning(feature: Callable[[Session, Any], Type], session: Session, ctx: Any) -> Type:
    return returned(session, ctx, feature(session, ctx))


def _attribute(name: str, session: Session, ctx: AttributeContext) -> Type:
    return contexts.attribute(session, ctx, name)


def _default_type(ctx: FunctionContext | MethodContext) -> Type:
    return ctx.default_return_type


def _default_signature(ctx: MethodSigContext) -> FunctionLike:
    return ctx.default_signature


def _default_attribute(ctx: AttributeContext) -> Type:
    return ctx.default_attr_type


def plugin(version: str) -> type[Plugin]:
    """Called by mypy with its own version; returns the class to instantiate."""
    return MettaPlugin
