"""Running a graph whose context is known only at run time: the rules of binding, applied to values.

The state is carried from step to step; each step is a function state -> state. An un-annotated stage that returns
None leaves the context, a Context or record replaces it with its fields, anything else becomes the value.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from inspect import iscoroutinefunction
from types import CoroutineType
from typing import TYPE_CHECKING, Any, NamedTuple

from metta.sweep.compiler.codegen import Symbol, has_membrane
from metta.sweep.compiler.graph import Node
from metta.sweep.compiler.lower import leaving
from metta.sweep.contracts.flow import Argument, How, Keyword, Positional, Setting, Shape, State, did_you_mean
from metta.sweep.contracts.records import (
    build,
    constructor_fields,
    is_record_type,
    own_names,
    protocol_fields,
    read_fields,
    record_fields,
    record_fields_of_value,
    replace,
)
from metta.sweep.contracts.signature import Kind, Parameter, Signature
from metta.sweep.contracts.values import check_value
from metta.sweep.errors import ContractViolation
from metta.sweep.pipeline.context import Context
from metta.sweep.pipeline.plan import MapPlan, NestedPlan, ParallelPlan, StagePlan
from metta.sweep.runtime.link import membrane_of, shaping_of
from metta.sweep.runtime.membrane import SKIPPED
from metta.sweep.runtime.shaping import NestedShaping
from metta.sweep.runtime.threads import in_thread

if TYPE_CHECKING:
    from metta.sweep.runtime.recorder import Recorder

ABSENT: Any = type("Absent", (), {"__repr__": lambda self: "ABSENT", "__slots__": ()})()
"""There is no value."""


Call = tuple[list[Any], dict[str, Any]]
"""Positional and keyword arguments."""


class RunState(NamedTuple):
    """The context at run time: the fields that are set, and the value with the names of its own fields.

    `optional` holds optional inputs, which are no fields.
    """

    fields: Mapping[str, Any]
    value: Any = ABSENT
    own: frozenset[str] = frozenset()
    optional: Mapping[str, Any] = {}

    @property
    def whole(self) -> Any:
        """The value, if the fields are exactly its own; else the Context view."""
        if self.value is not ABSENT and self.own >= self.fields.keys():
            return self.value
        return Context(self.fields)


def of_value(value: Any, tp: Any = None) -> RunState:
    """The context that a positional contract leaves: the value and its own fields."""
    if tp is None:
        fields = record_fields_of_value(value)
    else:
        fields = read_fields(value, tp) if is_record_type(tp) else None
    return RunState({}, value) if fields is None else RunState(fields, value, own_names(value, tp))


def of_known(value: Any, known: State[Any]) -> RunState:
    """The context where its types are known and its whole is the value: also one of several that arms have left."""
    given = value if isinstance(value, dict) else read_fields(value)
    fields = {name: given[name] for name in known.fields if name in given}
    return RunState(fields, value, own_names(value, known.value))


def begin_value(value: Any, start: State[Any]) -> RunState:
    """The first state of a pipeline that takes a value."""
    return of_value(value, start.value)


def begin_fields(fields: Mapping[str, Any], optional: tuple[str, ...]) -> RunState:
    """The first state of a pipeline that takes fields, some of which are optional inputs of its first step."""
    given = {name: value for name, value in fields.items() if name in optional}
    return RunState({name: value for name, value in fields.items() if name not in given}, optional=given)


def only(state: RunState, first: RunState) -> RunState:
    """The state without what a pass of a loop has set for the first time; `first` is what it was entered with."""
    return only_known(state, frozenset(first.fields), first.value is not ABSENT)


def only_known(state: RunState, names: frozenset[str], has_value: bool) -> RunState:
    """The same where the types say what the loop is entered with."""
    fields = {name: value for name, value in state.fields.items() if name in names}
    if not has_value:
        return RunState(fields, optional=state.optional)
    return state._replace(fields=fields)


def without_value(state: RunState) -> RunState:
    """The state with its fields alone."""
    return state._replace(value=ABSENT, own=frozenset())


def whole(state: RunState) -> Any:
    """The whole where the types do not say what it is."""
    return state.whole


def whole_value(state: RunState) -> Any:
    """The whole where the types say that it is the value."""
    return state.value


def whole_view(state: RunState) -> Context:
    """The whole where the types say that it is the Context view."""
    return Context(state.fields)


def whole_at(known: State[Any]) -> Callable[[RunState], Any]:
    """How the whole is read at a point: decided from the types, wherever they are known."""
    if known.unknown:
        return whole
    return whole_value if known.whole_is_value else whole_view


PROVIDED: Mapping[str, Any] = {
    "_begin_fields": begin_fields,
    "_begin_value": begin_value,
    "_only": only,
    "_only_known": only_known,
    "_whole": whole,
    "_whole_value": whole_value,
    "_whole_view": whole_view,
    "_without_value": without_value,
}


# -- binding --------------------------------------------------------------------------------------------------------


def bind_known(arguments: Sequence[Argument[Any]], before: State[Any], state: RunState) -> Call:
    """What was decided from the types, on values; the element of a map is left to the caller."""
    args: list[Any] = []
    kwargs: dict[str, Any] = {}
    for argument in arguments:
        parameter, names = argument.parameter, argument.names
        match argument.how:
            case How.FIELD:
                value = state.fields[names[0]]
            case How.MAYBE_FIELD:
                value = state.fields.get(names[0], ABSENT)
            case How.INPUT:
                value = state.optional.get(names[0], ABSENT)
            case How.SETTING:
                value = argument.value
            case How.VALUE:
                value = state.value
            case How.RECORD:
                value = build(parameter.type, {name: state.fields[name] for name in names})
            case How.PROTOCOL:
                value = Context({name: state.fields[name] for name in names})
            case How.CONTEXT:
                value = Context(state.fields)
            case How.WHOLE:
                value = whole_at(before)(state)
            case _:
                value = ABSENT
        if value is not ABSENT and parameter.kind is Kind.POSITIONAL_ONLY:
            args.append(value)
        elif value is not ABSENT:
            kwargs[parameter.name] = value
    return args, kwargs


def bind(
    stage: str, signature: Signature[Any] | None, settings: Mapping[str, Setting], state: RunState, *, skip: int = 0
) -> tuple[list[Any], dict[str, Any]]:
    """Rules 1 to 4 on values.

    Args:
        skip: leading parameters that are taken already (the element of a map).

    Raises:
        ContractViolation: a required parameter finds nothing.
    """
    parameters = () if signature is None else signature.parameters
    named = [p for p in parameters if p.kind is not Kind.VAR_POSITIONAL and p.kind is not Kind.VAR_KEYWORD]
    args: list[Any] = []
    kwargs: dict[str, Any] = {}
    if not named and (signature is None or any(p.kind is Kind.VAR_POSITIONAL for p in parameters)):
        args.append(state.whole)
    if signature is None or any(p.kind is Kind.VAR_KEYWORD for p in parameters):
        more = settings.keys() - {p.name for p in named}
        named += [Parameter(name, Kind.KEYWORD_ONLY, None, True) for name in settings if name in more]
    left: list[Parameter[Any]] = []
    for parameter in named[skip:]:
        name = parameter.name
        setting = settings.get(name)
        if parameter.kind is Kind.POSITIONAL_ONLY:
            if parameter.required:
                left.append(parameter)
        elif setting is not None and setting.rename is None:
            kwargs[name] = setting.value
        elif (source := name if setting is None or setting.rename is None else setting.rename) in state.fields:
            kwargs[name] = state.fields[source]
        elif parameter.required:
            left.append(parameter if setting is None else Parameter(source, parameter.kind, parameter.type, True))
    for parameter in left:
        value = _whole_for(parameter, state) if len(left) == 1 else _context_for(parameter, state)
        if value is ABSENT:
            known = ", ".join(state.fields) or ("a value" if state.value is not ABSENT else "nothing")
            hint = did_you_mean(parameter.name, list(state.fields))
            message = f'stage "{stage}" needs "{parameter.name}"; the context has {known}{hint}'
            raise ContractViolation(message, stage=stage, data=state.whole)
        if parameter.kind is Kind.POSITIONAL_ONLY:
            args.append(value)
        else:
            kwargs[parameter.name] = value
    return args, kwargs


def _context_for(parameter: Parameter[Any], state: RunState) -> Any:
    return Context(state.fields) if parameter.type is Context else ABSENT


def _whole_for(parameter: Parameter[Any], state: RunState) -> Any:
    """Rule 3 on values."""
    tp = parameter.type
    if tp is None or tp is Any or tp is object:
        return state.whole
    if tp is Context:
        return Context(state.fields)
    if state.value is not ABSENT and check_value(state.value, tp) is None:
        return state.value
    members = record_fields(tp)
    if members is not None:
        constructor = constructor_fields(tp) or {}
        needed = [n for n, f in members.items() if f.required and constructor.get(n, True)]
        given = {n: state.fields[n] for n in members if n in state.fields}
        fits = given and all(n in given for n in needed)
        if fits and all(check_value(v, members[n].type) is None for n, v in given.items()):
            return build(tp, given)
        return ABSENT
    attributes = protocol_fields(tp)
    if attributes and all(n in state.fields for n in attributes):
        return Context({n: state.fields[n] for n in attributes})
    return ABSENT


# -- the effect of a result -----------------------------------------------------------------------------------------


def absorb(state: RunState, contract: Positional[Any] | Keyword[Any] | None, shape: Shape, data: Any) -> RunState:
    """The state behind a stage, given what left its membrane."""
    if isinstance(contract, Positional):
        return of_value(data, contract.type)
    if isinstance(contract, Keyword):
        values = (data,) if len(contract.fields) == 1 else data
        return with_fields(state, dict(zip(contract.fields, values, strict=True)))
    if shape is Shape.KEEP or data is None:
        return state
    if isinstance(data, CoroutineType):
        data.close()
        raise ContractViolation("a stage gave a coroutine: make it async, or annotate what it returns", data=data)
    if isinstance(data, Context):
        return RunState(data._asdict())
    return of_value(data)


def with_fields(state: RunState, changes: Mapping[str, Any]) -> RunState:
    """Fields added or rebound; the value's own fields are replaced in the value too."""
    value = state.value
    own = {name: new for name, new in changes.items() if name in state.own}
    if own and value is not ABSENT:
        value = replace(value, own)
    return state._replace(fields={**state.fields, **changes}, value=value)


# -- steps ----------------------------------------------------------------------------------------------------------

Step = Callable[[RunState], Any]


def make_step(symbol: Symbol, namespace: Mapping[str, Any], recorder: Recorder | None = None) -> Step:
    """The function of one node, sync or async; `recorder` is that of a durable run."""
    node = symbol.node
    assert node is not None
    flavored = symbol.kind == "async step"
    functions = [namespace[name] for name in symbol.value]
    plan = node.plan
    if isinstance(plan, NestedPlan) and plan.output is None:
        shaping: Any = _StateShaping(node.name, plan)
    else:
        shaping = shaping_of(node)
    if has_membrane(node) or not isinstance(plan, StagePlan):
        body = functions[0] if isinstance(plan, NestedPlan) else None
        if body is not None and plan.output is not None:  # type: ignore[union-attr]
            body = _whole_behind(body, node.regions[0].end)
        call = membrane_of(node, body, flavored=flavored, shaping=shaping, recorder=recorder)
        is_async, shaped = flavored, True
    else:
        assert plan.step.call is not None
        call, shaped = plan.step.call, False
        is_async = plan.step.signature is not None and plan.step.signature.is_async
    arguments = _arguments_of(node, functions, flavored)
    read_whole = whole_at(node.before)

    def before(state: RunState) -> Call:
        args, kwargs = arguments(state)
        return ([read_whole(state), *args] if shaped else args), kwargs

    def behind(state: RunState, result: Any) -> RunState:
        if result is SKIPPED:
            return state
        if isinstance(plan, NestedPlan) and plan.output is None:
            after = _left(plan, state, result)
        else:
            out = plan.output  # type: ignore[union-attr]
            assert out is not None
            data = result if shaped else shaping.leave(shaping.enter(result))
            after = absorb(state, out.contract, out.shape, data)
        return after._replace(optional=state.optional) if state.optional else after

    if not flavored:

        def step(state: RunState) -> RunState:
            args, kwargs = before(state)
            return behind(state, call(*args, **kwargs))

        return step

    async def astep(state: RunState) -> RunState:
        args, kwargs = before(state)
        if is_async:
            return behind(state, await call(*args, **kwargs))
        return behind(state, await in_thread(call, *args, **kwargs))

    return astep


def _whole_behind(body: Callable[..., Any], end: State[Any]) -> Callable[..., Any]:
    """A nested body that gives its final whole instead of its state."""
    read_whole = whole_at(end)
    if iscoroutinefunction(body):

        async def awhole(state: RunState) -> Any:
            return read_whole(await body(state))

        return awhole
    return lambda state: read_whole(body(state))


def _arguments_of(node: Node, functions: Sequence[Any], flavored: bool) -> Callable[[RunState], Call]:
    """What the call of a node is given, from the state."""
    plan = node.plan
    if isinstance(plan, StagePlan):
        return _binder(plan)
    if isinstance(plan, MapPlan):
        over, others = plan.step.over, _binder(plan)
        assert over is not None

        def of_map(state: RunState) -> Call:
            if over not in state.fields:
                hint = did_you_mean(over, list(state.fields))
                message = f'map "{node.name}" runs over "{over}"; the context has {", ".join(state.fields)}{hint}'
                raise ContractViolation(message, stage=node.name, data=state.whole)
            args, kwargs = others(state)
            return [state.fields[over], *args], kwargs

        return of_map
    if isinstance(plan, ParallelPlan):
        arms = [_whole_behind(f, region.end) for f, region in zip(functions, node.regions, strict=True)]
        if flavored:
            marked = [(iscoroutinefunction(arm), arm) for arm in arms]
            return lambda state: ([[(is_async, partial(arm, state)) for is_async, arm in marked]], {})
        return lambda state: ([[partial(arm, state) for arm in arms]], {})
    assert isinstance(plan, NestedPlan)
    return lambda state: ([_entered(plan, state)], {})


def _binder(plan: StagePlan | MapPlan) -> Callable[[RunState], Call]:
    """The arguments of a call: decided from the types where the context is known, else from the values."""
    step, before, binding = plan.step, plan.before, plan.binding
    if not before.unknown:
        if binding.star:
            read_whole = whole_at(before)
            return lambda state: ([read_whole(state)], bind_known(binding.arguments, before, state)[1])
        return lambda state: bind_known(binding.arguments, before, state)
    settings = {**step.settings, **(step.through.settings if step.through is not None else {})}
    skip = 0 if isinstance(plan, StagePlan) else 1
    return lambda state: bind(step.name, step.signature, settings, state, skip=skip)


def _entered(plan: NestedPlan, state: RunState) -> RunState:
    """The state a nested pipeline begins with: its declared inputs, if it is closed."""
    if plan.arguments is None:
        return state
    if plan.before.unknown:
        signature: Signature[Any] = Signature(plan.name, tuple(a.parameter for a in plan.arguments), None, False)
        settings = {a.parameter.name: Setting(a.value) for a in plan.arguments if a.how is How.SETTING}
        args, kwargs = bind(plan.name, signature, settings, state)
    else:
        args, kwargs = bind_known(plan.arguments, plan.before, state)
    if args:
        return of_value(args[0], plan.body.start.value)
    return begin_fields(kwargs, tuple(plan.body.start.optional))


def _left(plan: NestedPlan, outer: RunState, end: RunState) -> RunState:
    """The effect of a nested pipeline without a contract."""
    if plan.arguments is None or plan.replaces:
        return end
    return with_fields(outer, {name: end.fields[name] for name in plan.leaving if name in end.fields})


class _CarriedState(Context):
    """A Context that remembers the state it shows."""

    __slots__ = ("state",)

    def __init__(self, state: RunState) -> None:
        super().__init__(state.fields)
        object.__setattr__(self, "state", state)

    def _replace(self, **changes: Any) -> Context:
        super()._replace(**changes)  # an unknown name raises
        return _CarriedState(with_fields(self.state, changes))


class _StateShaping(NestedShaping):
    """The same for code that carries states: a nested pipeline gives its final state."""

    def __init__(self, stage: str, plan: NestedPlan) -> None:
        super().__init__(stage, plan.body.end, (), leaving(plan))
        self._whole = whole_at(plan.body.end)

    def enter(self, raw: Any) -> Any:
        found = self._whole(raw)
        return _CarriedState(raw) if isinstance(found, Context) else found

    def is_carried(self, data: Any) -> bool:
        return isinstance(data, _CarriedState)

    def leave(self, data: Any) -> Any:
        if isinstance(data, _CarriedState):
            return data.state
        if isinstance(data, Context):
            return RunState(data._asdict())
        return of_value(data) if self._end.unknown else of_known(data, self._end)
