"""`apply(context, step) -> context`: one step after another, against the context of one use of a pipeline.

The builder applies each step as it is recorded; the compiler replays an open pipeline from its inferred inputs; an
arm, a loop body and a nested pipeline are replayed in the context around them. It is the same function each time.
"""

from __future__ import annotations

import builtins
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ForwardRef, ParamSpecArgs

from metta.sweep.contracts import flow
from metta.sweep.contracts.flow import EMPTY, Condition, Loop, Output, PersistentMap, Problem, Shape, State
from metta.sweep.contracts.records import Family, family_of
from metta.sweep.contracts.runtime_oracle import RuntimeOracle
from metta.sweep.contracts.signature import Signature, signature_of
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
    """A loop that is not closed yet, and what is around it."""

    step: LoopStep
    loop: Loop[Any]
    outer: Chain | None
    parent: Frame | None


@dataclass(frozen=True, slots=True, eq=False)
class Cursor:
    """Where a replay stands: the context, the plans of the current block, the loops around it."""

    state: State[Any]
    chain: Chain | None = None
    frame: Frame | None = None
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
        if step.condition is not None:
            _check_condition(cursor.state, step, flow.LOOP_CONDITION, step.condition, report)
        frame = Frame(step, Loop(cursor.state), cursor.chain, cursor.frame)
        return Cursor(cursor.state, None, frame, cursor.names)
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
    while cursor.frame is not None:
        report(cursor.frame.step, flow.unclosed_loop())
        cursor = Cursor(cursor.state, cursor.frame.outer, cursor.frame.parent, cursor.names)
    return Block(cursor.plans(), start, cursor.state, hooks)


def _push(cursor: Cursor, plan: Plan, state: State[Any], names: PersistentMap[bool] | None = None) -> Cursor:
    if state.optional:
        # Optional inputs belong to the first step alone.
        state = replace(state, optional={})
    return Cursor(state, (plan, cursor.chain), cursor.frame, cursor.names if names is None else names)


def _behind(step: StageStep | ParallelStep, before: State[Any], after: State[Any]) -> State[Any]:
    """The context behind a step, as far as its contract says: behind one that is no type nothing is known."""
    if step.through is None or step.through.is_known:
        return after
    return flow.unknown_after(step.name, before)


# -- stages ---------------------------------------------------------------------------------------------------------


def _named(cursor: Cursor, step: StageStep, report: Report) -> PersistentMap[bool]:
    if step.name in cursor.names:
        report(step, flow.duplicate_stage(step.name))
    return cursor.names.set(step.name, True)


def _stage(cursor: Cursor, step: StageStep, report: Report) -> Cursor:
    names = _named(cursor, step, report)
    state = cursor.state
    through = step.through
    settings = {**step.settings, **through.settings} if through is not None and through.settings else step.settings
    if step.call is None:
        return _nested_stage(cursor, step, settings, names, report)
    _tell_unresolved(step, report)
    contract = None if through is None else through.contract
    drawn = end = None
    if step.over is not None:
        effect = flow.map_effect(step.name, step.signature, step.over, settings, contract, state, ORACLE)
    else:
        if step.nested is not None:
            # An experiment: its own graph is checked where it is defined, and drawn here.
            inside = step.nested
            drawn = replay(inside._steps(), start_state(inside._standing_inputs()), (), lambda _step, _problem: None)
            end = drawn.end if step.gives_whole else None
        effect = flow.stage_effect(step.name, step.signature, settings, contract, state, ORACLE, end=end)
    binding, out, after, problems = effect
    if step.signature is not None and hasattr(step.signature.returns, "_standing"):
        problems = flow.uncalled(step.name, step.signature.name, problems)
    for problem in problems:
        report(step, _explained(step, problem))
    if through is not None and through.hooks:
        check_hooks(step, through, out, state, ORACLE, lambda p: report(step, p))
    if out.proven and _has_keys(step.signature, out):
        out = out._replace(proven=False)
    after = _behind(step, state, after)
    plan: Plan
    if step.over is not None:
        plan = MapPlan(step, binding, out, state, after)
    else:
        plan = StagePlan(step, binding, out, state, after, drawn)
    return _push(cursor, plan, after, names)


def _has_keys(signature: Signature[Any] | None, out: Output[Any]) -> bool:
    """Whether keys of a TypedDict are read: any dict may pass for one, so that only a check finds one missing."""
    read = [signature.returns if signature is not None and out.shape is Shape.RECORD else None]
    if isinstance(out.contract, flow.Positional):
        read.append(out.contract.type)
    return any(family_of(tp) is Family.TYPED_DICT for tp in read if tp is not None)


def _tell_unresolved(step: StageStep, report: Report) -> None:
    """A note for an annotation that names nothing: what it says is not checked."""
    if step.signature is None:
        return
    for parameter in step.signature.parameters:
        if type(parameter.type) is ForwardRef:
            report(step, _unresolved(step.name, f"the annotation of {parameter.name}", parameter.type))
    if type(step.signature.returns) is ForwardRef:
        report(step, _unresolved(step.name, "the return annotation", step.signature.returns))


A_LAMBDA = "a lambda"
"""What is found where a stage has no annotations because it cannot have any."""


def _explained(step: StageStep, problem: Problem) -> Problem:
    """The problem; that a stage has no types is put down to what it is, a lambda or a wrapper that hides them."""
    signature = step.signature
    if signature is None or problem.code != "untyped-stage":
        return problem
    if any(isinstance(it.type, ParamSpecArgs) for it in signature.parameters):
        remedy = "write @functools.wraps(fn) over the wrapper in its decorator, and annotate fn: Callable[P, R]"
        return replace(problem, found="a wrapper that takes *args: P.args, **kwargs: P.kwargs", remedy=remedy)
    if decorator := signature.hidden_by:
        return replace(
            problem,
            message=f'what stage "{step.name}" returns is not known behind the decorator {decorator}: '
            "it is checked only at run time",
            expected="a decorator whose annotations say what it returns",
            found=f"{decorator}, whose wrapper may return something else than the function",
            remedy=f"annotate {decorator}: it takes Callable[P, R] and returns Callable[P, ...] (P = ParamSpec)",
        )
    if getattr(step.call, "__name__", "") == "<lambda>":
        return replace(
            problem,
            message=f'what stage "{step.name}" returns is not known, as it is a lambda: it is checked only at run time',
            found=A_LAMBDA,
            remedy="write a function, which can be annotated",
        )
    return problem


def _unresolved(stage: str, what: str, reference: ForwardRef) -> Problem:
    name = _unknown_name(reference.__forward_arg__)
    return Problem(
        "untyped-stage",
        f'{what} of stage "{stage}" names "{name}", which is not known at run time: it is not checked',
        expected="a name that can be found in the module of the stage",
        found=name,
        remedy=f'correct "{name}", or import it outside `if TYPE_CHECKING:`',
        note=True,
    )


def _unknown_name(annotation: str) -> str:
    """The name to blame for an annotation that cannot be evaluated: the first that is no builtin."""
    names = re.findall(r"[^\W\d]\w*(?:\.\w+)*", annotation)
    return next((name for name in names if not hasattr(builtins, name)), annotation)


# -- nesting --------------------------------------------------------------------------------------------------------


def start_state(inputs: Inputs) -> State[Any]:
    """The context that a pipeline with these inputs begins with."""
    return flow.start_state(inputs.contract, inputs.optional, ORACLE)


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
    signature = flow.input_signature(name, inputs.contract, inputs.optional)
    binding, problems = flow.bind(name, signature, settings, state, ORACLE)
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
        for problem in flow.unknown_inputs(step.name, settings):
            report(step, problem)
    through = step.through
    contract = None if through is None else through.contract
    plan = nest(step, step.name, step.nested, settings, state, report, is_opaque=contract is not None)
    out: Output[Any] = Output(Shape.KEEP, None, True)
    if contract is not None:
        out, problems = flow.nested_output(step.name, plan.body.end, contract, ORACLE)
        after, more = flow.after_output(step.name, out, state, ORACLE)
        for problem in (*problems, *more):
            report(step, problem)
        plan = replace(plan, output=out, after=after, leaving=())
    if through is not None and through.hooks:
        inside = plan if plan.output is None else None
        check_hooks(step, through, out, state, ORACLE, lambda p: report(step, p), nested=inside)
    return _push(cursor, plan, _behind(step, state, plan.after), names)


# -- control flow ---------------------------------------------------------------------------------------------------


def _check_condition(
    state: State[Any],
    step: LoopStep | BreakStep | EndStep | BranchStep,
    place: Condition,
    condition: object,
    report: Report,
) -> None:
    problem: Problem | None
    if callable(condition):
        problem = flow.condition_problem(place, signature_of(condition), state, ORACLE)
    else:
        problem = flow.uncallable_condition(place, f"{condition!r:.60}", type(condition).__name__)
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


def _break(cursor: Cursor, step: BreakStep, report: Report) -> Cursor:
    frame, state = cursor.frame, cursor.state
    if frame is None:
        report(step, flow.stray_break())
        return cursor
    _check_condition(state, step, flow.BREAK_CONDITION, step.condition, report)
    for problem in flow.break_problems(frame.loop, state, ORACLE):
        report(step, problem)
    pushed = _push(cursor, BreakPlan(step, state), state)
    return replace(pushed, frame=replace(frame, loop=frame.loop.left_in(state)))


def _end(cursor: Cursor, step: EndStep, report: Report) -> Cursor:
    frame, state = cursor.frame, cursor.state
    if frame is None:
        report(step, flow.stray_end())
        return cursor
    plans = cursor.plans()
    if not plans:
        report(step, flow.empty_loop())
    if step.until is not None:
        _check_condition(state, step, flow.UNTIL, step.until, report)
    has_condition = frame.step.condition is not None
    after, problems = flow.end_of_loop(frame.loop, state, ORACLE, has_condition=has_condition, first=_first_name(plans))
    for problem in problems:
        report(step, problem)
    entry = frame.loop.entry
    plan = LoopPlan(frame.step, step, Block(plans, entry, state), entry, after)
    return _push(Cursor(after, frame.outer, frame.parent, cursor.names), plan, after)


def _branch(cursor: Cursor, step: BranchStep, report: Report) -> Cursor:
    state = cursor.state
    _check_condition(state, step, flow.PREDICATE, step.predicate, report)
    then = _arm(step, "then", step.then, state, report, "then")
    if step.otherwise is None:
        otherwise = Block((), state, state)
    else:
        otherwise = _arm(step, "otherwise", step.otherwise, state, report, "otherwise")
    after = flow.branch(then.end, otherwise.end, ORACLE, _first_name((*then.plans, *otherwise.plans)))
    return _push(cursor, BranchPlan(step, then, otherwise, state, after), after)


def _arm(
    step: BranchStep | ParallelStep, name: str, pipeline: Any, state: State[Any], report: Report, where: flow.Where
) -> Block:
    """An arm as a block on the outer context; a closed pipeline becomes one nested plan.

    Args:
        where: the arm stands in the builder call.
    """

    def tell(at: Step | Inputs, problem: Problem) -> None:
        # A bare callable, and the inputs of a pipeline: what is wrong inside of a pipeline stands there.
        report(at, problem.on(where) if at.site is step.site else problem)

    plan = nest(step, name, pipeline, {}, state, tell, is_opaque=isinstance(step, ParallelStep))
    if plan.arguments is None:
        return plan.body
    end = plan.body.end if isinstance(step, ParallelStep) else plan.after
    return Block((plan,), state, end)


def _parallel(cursor: Cursor, step: ParallelStep, report: Report) -> Cursor:
    state = cursor.state
    through = step.through
    arms = {
        name: _arm(step, name, pipeline, state, report, (0, index))
        for index, (name, pipeline) in enumerate(step.arms.items())
    }
    ends = {name: block.end for name, block in arms.items()}
    opened = [name for name, pipeline in step.arms.items() if pipeline._inputs is None]
    contract = None if through is None else through.contract
    out, after, problems = flow.parallel_effect(step.name, ends, opened, contract, state, ORACLE, keyed=step.keyed)
    for problem in problems:
        report(step, problem)
    if through is not None and through.hooks:
        check_hooks(step, through, out, state, ORACLE, lambda p: report(step, p))
    after = _behind(step, state, after)
    return _push(cursor, ParallelPlan(step, arms, out, state, after), after)
