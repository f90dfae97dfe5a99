"""`apply(context, step) -> context`: one step after another, against the context of one use of a pipeline.

The builder applies each step as it is recorded; the compiler replays an open pipeline from its inferred inputs; an
arm, a loop body and a nested pipeline are replayed in the context around them. It is the same function each time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ForwardRef

from metta.sweep.contracts import flow
from metta.sweep.contracts.flow import EMPTY, Binding, Keyword, Output, PersistentMap, Positional, Problem, Shape, State
from metta.sweep.contracts.runtime_oracle import RuntimeOracle
from metta.sweep.contracts.signature import Kind, Parameter, Signature, signature_of
from metta.sweep.pipeline.context import Context
from metta.sweep.pipeline.hook_checks import check_hooks
from metta.sweep.pipeline.plan import (
    Block,
    BranchPlan,
    BreakPlan,
    LoopPlan,
    MapPlan,
    NestedPlan,
    ParallelPlan,
    Plan,
    StagePlan,
)
from metta.sweep.pipeline.steps import BranchStep, BreakStep, EndStep, Inputs, LoopStep, ParallelStep, StageStep, Step

ORACLE = RuntimeOracle(Context)

Report = Callable[[Step | Inputs, Problem], None]
"""Is told each problem with the step it belongs to."""

Chain = tuple["Plan", "Chain | None"]
"""The plans of a block, last first: appending shares the rest."""


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """A loop that is not closed yet."""

    step: LoopStep
    entry: State[Any]
    outer: Chain | None
    parent: Frame | None
    breaks: tuple[State[Any], ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Cursor:
    """Where a replay stands: the context, the plans of the current block, the loops around it."""

    state: State[Any]
    chain: Chain | None = None
    loop: Frame | None = None
    names: PersistentMap[bool] = EMPTY

    def plans(self) -> tuple[Plan, ...]:
        return _in_order(self.chain)


def _in_order(chain: Chain | None) -> tuple[Plan, ...]:
    found: list[Plan] = []
    while chain is not None:
        plan, chain = chain
        found.append(plan)
    found.reverse()
    return tuple(found)


def apply(cursor: Cursor, step: Step, report: Report) -> Cursor:
    """The cursor behind one step. Problems are reported and the replay goes on as if they were mended."""
    if isinstance(step, StageStep):
        return _stage(cursor, step, report)
    if isinstance(step, ParallelStep):
        return _parallel(cursor, step, report)
    if isinstance(step, BranchStep):
        return _branch(cursor, step, report)
    if isinstance(step, LoopStep):
        _condition(cursor.state, step, step.condition, "the loop's condition", 0, report)
        return Cursor(cursor.state, None, Frame(step, cursor.state, cursor.chain, cursor.loop), cursor.names)
    if isinstance(step, BreakStep):
        return _break(cursor, step, report)
    return _end(cursor, step, report)


def replay(steps: Iterable[Step], start: State[Any], hooks: tuple[Mapping[str, Any], ...], report: Report) -> Block:
    """All steps of a pipeline from `start`; an open loop is reported."""
    cursor = Cursor(start)
    for step in steps:
        cursor = apply(cursor, step, report)
    return finish(cursor, start, hooks, report)


def finish(cursor: Cursor, start: State[Any], hooks: tuple[Mapping[str, Any], ...], report: Report) -> Block:
    """The block of a cursor that has seen all steps."""
    while cursor.loop is not None:
        report(
            cursor.loop.step,
            Problem(
                "unclosed-loop",
                "the loop that begins here is never closed",
                expected=".end_loop()",
                found="the end of the pipeline",
                remedy="add .end_loop() behind the last stage of its body",
            ),
        )
        cursor = Cursor(cursor.state, cursor.loop.outer, cursor.loop.parent, cursor.names)
    return Block(cursor.plans(), start, cursor.state, hooks)


def _push(cursor: Cursor, plan: Plan, state: State[Any], names: PersistentMap[bool] | None = None) -> Cursor:
    if state.optional:
        # Optional inputs belong to the first step alone.
        state = replace(state, optional={})
    return Cursor(state, (plan, cursor.chain), cursor.loop, cursor.names if names is None else names)


# -- stages ---------------------------------------------------------------------------------------------------------


def _named(cursor: Cursor, step: StageStep, report: Report) -> PersistentMap[bool]:
    if step.name in cursor.names:
        report(
            step,
            Problem(
                "duplicate-stage",
                f'there is already a stage "{step.name}" on this level of the pipeline',
                expected="a name of its own",
                found=step.name,
                remedy="rename one of them",
                argument=0,
            ),
        )
    return cursor.names.set(step.name, True)


def _stage(cursor: Cursor, step: StageStep, report: Report) -> Cursor:
    names = _named(cursor, step, report)
    state = cursor.state
    through = step.through
    settings = {**step.settings, **through.settings} if through is not None and through.settings else step.settings
    if step.call is None:
        assert step.nested is not None
        return _nested_stage(cursor, step, settings, names, report)
    _tell_unresolved(step, report)
    if step.over is not None:
        return _map(cursor, step, settings, names, report)
    binding, problems = flow.bind(step.name, step.signature, settings, state, ORACLE)
    returns = _returned(step.signature, binding, state)
    contract = None if through is None else through.contract
    drawn = None
    if step.nested is not None:
        # An experiment: its own graph is checked where it is defined, and drawn here.
        inside = step.nested
        drawn = replay(inside._steps(), start_state(inside._standing_inputs()), (), lambda _step, _problem: None)
        if step.gives_whole:
            returns = _given(step, returns, drawn.end, report)
    out, more = flow.output(step.name, returns, contract, ORACLE)
    for problem in (*problems, *more):
        report(step, problem)
    after = _after(step, out, state, report)
    if through is not None and through.hooks:
        check_hooks(step, through, out, state, ORACLE, lambda p: report(step, p))
    return _push(cursor, StagePlan(step, binding, out, state, after, drawn), after, names)


def _returned(
    signature: Signature[Any] | None, binding: Binding[Any], state: State[Any], element: Any | None = None
) -> Any | None:
    """The return type; a generic callable's is solved from what its arguments are."""
    if signature is None or signature.returns is None:
        return None
    returns = signature.returns
    if not _is_generic(returns):
        return returns
    pairs = []
    for argument in binding.arguments:
        actual: Any | None = None
        if argument.how in (flow.How.FIELD, flow.How.MAYBE_FIELD):
            known = state.fields.get(argument.names[0])
            actual = None if known is None else known.type
        elif argument.how is flow.How.VALUE:
            actual = state.value
        elif argument.how is flow.How.ELEMENT:
            actual = element
        if actual is not None and argument.parameter.type is not None:
            pairs.append((argument.parameter.type, actual))
    return ORACLE.resolve(returns, pairs)


def _tell_unresolved(step: StageStep, report: Report) -> None:
    """A note for an annotation that names nothing: what it says is not checked."""
    if step.signature is None:
        return
    for parameter in step.signature.parameters:
        if type(parameter.type) is ForwardRef:
            report(step, _unresolved(step.name, f"the annotation of {parameter.name}", parameter.type))
    if type(step.signature.returns) is ForwardRef:
        report(step, _unresolved(step.name, "the return annotation", step.signature.returns))


def _unresolved(stage: str, what: str, reference: ForwardRef) -> Problem:
    name = reference.__forward_arg__
    return Problem(
        "untyped-stage",
        f'{what} of stage "{stage}" names "{name}", which is not known at run time: it is not checked',
        expected="a name that can be found in the module of the stage",
        found=name,
        remedy=f'correct "{name}", or import it outside `if TYPE_CHECKING:`',
        note=True,
    )


def _given(step: StageStep, declared: Any | None, end: State[Any], report: Report) -> Any | None:
    """What an experiment gives: the final whole of its pipeline, which has to fit what the class declares."""
    found = flow.whole(end, ORACLE)
    if found is None or declared is None or ORACLE.is_any(declared):
        return declared if found is None else found
    if ORACLE.is_assignable(found, declared) is False:
        expected, given = ORACLE.describe(declared), ORACLE.describe(found)
        problem = Problem(
            "stage-output",
            f'experiment "{step.name}" declares {expected}; its pipeline ends with {given}',
            expected=expected,
            found=given,
            remedy=f"declare class ...(Experiment[{given}]), or end the pipeline with {expected}",
            argument=1,
        )
        report(step, problem)
    return declared


def _is_generic(tp: Any) -> bool:
    if type(tp) is type:
        return False
    return hasattr(tp, "__bound__") or bool(getattr(tp, "__parameters__", ()))


def _after(step: StageStep | ParallelStep, out: Output[Any], state: State[Any], report: Report) -> State[Any]:
    if out.contract is None:
        return flow.unknown_after(step.name, state) if out.shape is Shape.UNKNOWN else state
    after, problems = flow.advance(step.name, out.contract, state, ORACLE)
    for problem in problems:
        report(step, problem)
    return after


def _map(
    cursor: Cursor, step: StageStep, settings: Mapping[str, flow.Setting], names: PersistentMap[bool], report: Report
) -> Cursor:
    assert step.over is not None
    state = cursor.state
    element, problems = flow.map_element(step.name, step.over, state, ORACLE)
    binding, more = flow.bind(step.name, step.signature, settings, state, ORACLE, element=element, is_map=True)
    problems = [*problems, *more]
    through = step.through
    contract = None if through is None else through.contract
    returns = _returned(step.signature, binding, state, element)
    listed: Any | None = None if returns is None else list[returns]  # type: ignore[valid-type]
    if listed is None and contract is None:
        contract = Positional(list[Any])
    out, more = flow.output(step.name, listed, contract, ORACLE)
    for problem in (*problems, *more):
        report(step, problem)
    after = _after(step, out, state, report)
    if through is not None and through.hooks:
        check_hooks(step, through, out, state, ORACLE, lambda p: report(step, p))
    return _push(cursor, MapPlan(step, binding, out, state, after), after, names)


# -- nesting --------------------------------------------------------------------------------------------------------


def input_signature(name: str, inputs: Inputs) -> Signature[Any]:
    """Declared inputs as the parameters of a call."""
    contract = inputs.contract
    if isinstance(contract, Positional):
        parameters: tuple[Parameter[Any], ...] = (Parameter("value", Kind.POSITIONAL_ONLY, contract.type, True),)
    else:
        parameters = tuple(Parameter(n, Kind.KEYWORD_ONLY, t, True) for n, t in contract.fields.items())
        parameters += tuple(Parameter(n, Kind.KEYWORD_ONLY, t, False) for n, t in inputs.optional.items())
    return Signature(name, parameters, None, False)


def start_state(inputs: Inputs) -> State[Any]:
    """The context that a pipeline with these inputs begins with."""
    contract = inputs.contract
    if isinstance(contract, Positional):
        return replace(flow.replaced("", contract.type, State(), ORACLE), replacements=0)
    fields = PersistentMap.of({name: flow.Field(tp) for name, tp in contract.fields.items()})
    return State(fields, optional=dict(inputs.optional))


def nest(
    step: StageStep | BranchStep | ParallelStep,
    name: str,
    pipeline: Any,
    settings: Mapping[str, flow.Setting],
    state: State[Any],
    report: Report,
    *,
    is_opaque: bool = False,
) -> NestedPlan:
    """Replay a pipeline inside another one; `after` is its effect without a contract of its own.

    Args:
        is_opaque: nothing it sets leaves it: it has a contract, or only its whole counts.
    """
    inputs: Inputs | None = pipeline._inputs
    if inputs is None:
        body = replay(pipeline._steps(), state, pipeline._global_hooks, report)
        replaces = body.end.replacements != state.replacements
        return NestedPlan(step, name, None, body, (), replaces, None, state, body.end)
    binding, problems = flow.bind(name, input_signature(name, inputs), settings, state, ORACLE)
    for problem in problems:
        report(step, problem)
    start = start_state(inputs)
    body = replay(pipeline._steps(), start, pipeline._global_hooks, report)
    if is_opaque:
        return NestedPlan(step, name, binding.arguments, body, tuple(body.end.fields), True, None, state, body.end)
    after, leaving, problems = flow.nested_effect(name, state, start, body.end, ORACLE)
    for problem in problems:
        report(step, problem)
    replaces = body.end.unknown or body.end.replacements != start.replacements
    return NestedPlan(step, name, binding.arguments, body, tuple(leaving), replaces, None, state, after)


def _nested_stage(
    cursor: Cursor, step: StageStep, settings: Mapping[str, flow.Setting], names: PersistentMap[bool], report: Report
) -> Cursor:
    assert step.nested is not None
    state = cursor.state
    if step.nested._inputs is None:
        for name, setting in settings.items():
            report(
                step,
                Problem(
                    "unknown-setting",
                    f'nested pipeline "{step.name}" declares no input "{name}"',
                    expected="a declared input",
                    found=name,
                    remedy=f"declare it: Pipeline({name}=...)",
                    argument=name,
                    at=setting.at,
                ),
            )
    through = step.through
    has_contract = through is not None and through.contract is not None
    plan = nest(step, step.name, step.nested, settings, state, report, is_opaque=has_contract)
    out: Output[Any] = Output(Shape.KEEP, None, True)
    after = plan.after
    if through is not None and through.contract is not None:
        # The contract is the entire effect: the final whole, read as a record.
        if plan.body.end.whole_is_value:
            is_nested = not isinstance(through.contract, Positional)
            out, problems = flow.output(step.name, plan.body.end.value, through.contract, ORACLE, is_nested=is_nested)
        else:
            out, problems = _view_output(step, plan.body.end, through.contract)
        for problem in problems:
            report(step, problem)
        after = _after(step, out, state, report)
        plan = replace(plan, output=out, after=after, leaving=())
    if through is not None and through.hooks:
        inside = plan if plan.output is None else None
        check_hooks(step, through, out, state, ORACLE, lambda p: report(step, p), nested=inside)
    return _push(cursor, plan, after, names)


def _view_output(
    step: StageStep, end: State[Any], contract: Positional[Any] | Keyword[Any]
) -> tuple[Output[Any], list[Problem]]:
    """A contract over a Context view: every field of it must be there, definitely set, of the right type."""
    if isinstance(contract, Positional):
        members = ORACLE.fields_of(contract.type)
        wanted = None if members is None else {n: t for n, (t, needed) in members.items() if needed}
    else:
        wanted = dict(contract.fields)
    if isinstance(contract, Positional) and ORACLE.is_context(contract.type):
        return Output(Shape.VALUE, contract, True), []
    if wanted is None and (end.open or end.unknown):
        return Output(Shape.VALUE, contract, False), []
    problem: Problem | None = None
    if wanted is None:
        problem = Problem(
            "stage-output",
            f'nested pipeline "{step.name}" ends with {flow.context_text(end, ORACLE)}; '
            f"its contract is {ORACLE.describe(contract.type)}",  # type: ignore[union-attr]
            argument=0,
        )
    else:
        for name, tp in wanted.items():
            known = end.fields.get(name)
            if known is None:
                if end.open or end.unknown:
                    continue
                found = flow.context_text(end, ORACLE)
                message = f'nested pipeline "{step.name}" does not set "{name}"; it ends with {found}'
                problem = Problem("stage-output", message, expected=name, found=found, argument=name)
            elif not known.definite and not end.open:
                message = f'nested pipeline "{step.name}" may not set "{name}": {known.origin}'
                problem = Problem("stage-output", message, expected=name, found=known.origin, argument=name)
            elif known.type is not None and tp is not None and ORACLE.is_assignable(known.type, tp) is False:
                expected, found = ORACLE.describe(tp), ORACLE.describe(known.type)
                message = f'nested pipeline "{step.name}" sets {name}: {found}; its contract is {name}: {expected}'
                problem = Problem("stage-output", message, expected=expected, found=found, argument=name)
            if problem is not None:
                break
    if problem is None:
        return Output(Shape.RECORD, contract, isinstance(contract, Keyword) and not end.unknown), []
    remedy = "set it inside, or change the contract of the nested stage"
    return Output(Shape.DYNAMIC, contract, False), [replace(problem, at="through", remedy=remedy)]


# -- control flow ---------------------------------------------------------------------------------------------------


def _condition(
    state: State[Any],
    step: LoopStep | BreakStep | EndStep | BranchStep,
    condition: Callable[..., Any] | None,
    what: str,
    argument: str | int,
    report: Report,
) -> None:
    if condition is None and isinstance(step, (LoopStep, EndStep)):
        return
    signature = signature_of(condition)
    wrong = ""
    if not callable(condition):
        wrong, found = f"is {condition!r:.60}, which cannot be called", type(condition).__name__
    elif signature is not None and signature.is_async:
        wrong, found = "is async: it would return a coroutine, which is always true", "an async function"
    elif signature is not None and ORACLE.is_function(signature.returns):
        wrong, found = "returns a function, which is always true", ORACLE.describe(signature.returns)
    if wrong:
        report(
            step,
            Problem(
                "loop-condition",
                f"{what} {wrong}",
                expected="a plain function that returns a truth value",
                found=found,
                remedy="write it as lambda ctx: ...; what takes time is computed in a stage before it",
                argument=argument,
            ),
        )
        return
    whole = None if state.open or state.unknown else flow.whole(state, ORACLE)
    problem = flow.check_condition(what, signature, whole, ORACLE, argument)
    if problem is not None:
        report(step, problem)


def _first_name(plans: Sequence[Plan]) -> str:
    for plan in plans:
        step = plan.step
        if isinstance(step, (StageStep, ParallelStep)):
            return step.name
        inner = plan.body.plans if isinstance(plan, (LoopPlan, NestedPlan)) else ()
        if isinstance(plan, BranchPlan):
            inner = (*plan.then.plans, *plan.otherwise.plans)
        if found := _first_name(inner):
            return found
    return ""


def _loop_text(plans: Sequence[Plan]) -> str:
    return f'the loop around "{_first_name(plans)}"'


def _break(cursor: Cursor, step: BreakStep, report: Report) -> Cursor:
    loop = cursor.loop
    if loop is None:
        problem = Problem(
            "break-without-loop",
            "break_if stands outside a loop",
            expected=".loop_while(...) before it, in the same chain",
            found="no open loop",
            remedy="put it between .loop_while() and .end_loop() of the loop's own chain, not in an arm",
        )
        report(step, problem)
        return cursor
    _condition(cursor.state, step, step.condition, "the condition of break_if", 0, report)
    for problem in flow.carried(loop.entry, cursor.state, ORACLE, "break_if"):
        report(step, problem)
    pushed = _push(cursor, BreakPlan(step, cursor.state), cursor.state)
    return replace(pushed, loop=replace(loop, breaks=(*loop.breaks, cursor.state)))


def _end(cursor: Cursor, step: EndStep, report: Report) -> Cursor:
    loop = cursor.loop
    if loop is None:
        problem = Problem(
            "end-loop-without-loop",
            "end_loop stands outside a loop",
            expected=".loop_while(...) before it",
            found="no open loop",
            remedy="remove it, or begin the loop with .loop_while(...)",
        )
        report(step, problem)
        return cursor
    plans = cursor.plans()
    if not plans:
        problem = Problem(
            "empty-loop",
            "the loop that ends here has no stage",
            expected="at least one stage between loop_while and end_loop",
            found="none",
            remedy="add the stages of the body, or remove the loop",
        )
        report(step, problem)
    where = _loop_text(plans)
    _condition(cursor.state, step, step.until, "the until= of the loop", "until", report)
    for problem in flow.carried(loop.entry, cursor.state, ORACLE, where):
        report(step, problem)
    after = flow.after_loop(
        loop.entry,
        cursor.state,
        loop.breaks,
        ORACLE,
        has_condition=loop.step.condition is not None,
        where=where,
    )
    body = Block(plans, loop.entry, cursor.state)
    plan = LoopPlan(loop.step, step, body, loop.entry, after)
    return _push(Cursor(after, loop.outer, loop.parent, cursor.names), plan, after)


def _branch(cursor: Cursor, step: BranchStep, report: Report) -> Cursor:
    state = cursor.state
    _condition(state, step, step.predicate, "the predicate of the conditional", 0, report)
    then = _arm(step, '"then"', step.then, state, report)
    if step.otherwise is None:
        otherwise = Block((), state, state)
    else:
        otherwise = _arm(step, '"otherwise"', step.otherwise, state, report)
    where = f'the conditional around "{_first_name((*then.plans, *otherwise.plans))}"'
    after = flow.join(then.end, otherwise.end, ORACLE, ('"then"', '"otherwise"'), where)
    return _push(cursor, BranchPlan(step, then, otherwise, state, after), after)


def _arm(step: BranchStep | ParallelStep, name: str, pipeline: Any, state: State[Any], report: Report) -> Block:
    """An arm as a block on the outer context; a closed pipeline becomes one nested plan."""
    plan = nest(step, name.strip('"'), pipeline, {}, state, report, is_opaque=isinstance(step, ParallelStep))
    if plan.arguments is None:
        return plan.body
    end = plan.body.end if isinstance(step, ParallelStep) else plan.after
    return Block((plan,), state, end)


def _parallel(cursor: Cursor, step: ParallelStep, report: Report) -> Cursor:
    state = cursor.state
    arms = {name: _arm(step, name, pipeline, state, report) for name, pipeline in step.arms.items()}
    opened = {name: block.end for name, block in arms.items() if step.arms[name]._inputs is None}
    for problem in flow.parallel_conflicts(state, opened, f'"{step.name}"'):
        report(step, problem)
    wholes = {name: flow.whole(block.end, ORACLE) for name, block in arms.items()}
    known = all(w is not None for w in wholes.values())
    through = step.through
    contract = None if through is None else through.contract
    if step.keyed:
        out = _keyed_output(step, wholes, contract, report)
    else:
        listed = list[ORACLE.join(list(wholes.values()))] if known else list[Any]  # type: ignore[misc]
        out, problems = flow.output(step.name, listed, contract, ORACLE)
        for problem in problems:
            report(step, problem)
    after = _after(step, out, state, report)
    if through is not None and through.hooks:
        check_hooks(step, through, out, state, ORACLE, lambda p: report(step, p))
    return _push(cursor, ParallelPlan(step, arms, out, state, after), after)


def _keyed_output(
    step: ParallelStep,
    wholes: Mapping[str, Any],
    contract: Positional[Any] | Keyword[Any] | None,
    report: Report,
) -> Output[Any]:
    """The mapping form gives one field per key; a contract on it is compared field by field."""
    if contract is None:
        return Output(Shape.MAPPING, Keyword(dict(wholes)), True)
    if isinstance(contract, Positional):
        members = ORACLE.fields_of(contract.type) or {}
        wanted: dict[str, Any] = {name: tp for name, (tp, _) in members.items()}
    else:
        wanted = dict(contract.fields)
    for name, tp in wanted.items():
        found = wholes.get(name)
        if name in wholes and (tp is None or found is None or ORACLE.is_assignable(found, tp) is not False):
            continue
        given = "no such key" if name not in wholes else ORACLE.describe(found)
        report(
            step,
            Problem(
                "stage-output",
                f'parallel "{step.name}" gives {given} for "{name}"; its contract is {name}: {ORACLE.describe(tp)}',
                expected=ORACLE.describe(tp),
                found=given,
                remedy="name the arm after the field and let it end with that type",
                argument=name if isinstance(contract, Keyword) else 0,
                at="through",
            ),
        )
    return Output(Shape.MAPPING, contract, isinstance(contract, Keyword))
