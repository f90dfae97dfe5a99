"""The pipeline language once more, as naively as possible: the oracle of the property test.

`Judge` follows every way through a pipeline at once. A world is the context on one way (each branch choice, each
number of passes of a loop, each NotRequired key there or not), with types in place of values. A step goes wrong if it
goes wrong in one world: then there is a choice of conditions with which a run, unchecked, would read a field that is
not there or hand a stage a value of the wrong type. There are no joins, no definite assignment, no remedies here.

`execute` (in naive_run.py) then runs the pipeline on values, with a dict as the context, and only looks up what the
language says is decided from the types, once: which parameter takes what, and what the whole is.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import NoneType
from typing import Any, NamedTuple, get_args, get_origin

from metta.sweep import Context
from tests.pipeline.grammar import Branch, Break, Function, Loop, Parallel, Param, Pipe, Rename, Stage, Step
from tests.pipeline.grammar_types import PROTOCOLS, RECORDS, UNREPLACEABLE, conforms, members, same, subtype, union
from tests.pipeline.worlds import (
    Worlds,
    definite,
    joined,
    names_of,
    start_of,
    value_of_all,
    whole_is_value,
    whole_type,
    with_field,
    worlds_of,
)

STATIC_RULES: Mapping[str, str] = {
    "field-redefined": "a run could rebind a field with another type; a context with one type per name can be read",
    "loop-carried": "a body that drops a field may run only once; the rule looks at the second pass",
    "duplicate-stage": "names identify stages in messages, drawings and stores; a run does not need them",
    "parallel-conflict": "arms work on snapshots: the rebinding would be lost silently",
    "unknown-setting": "Python itself would refuse the call, but only when it comes to it",
    "setting-type": "a value that breaks an annotation, handed over by the author",
}
"""The codes of rules that hold although a run might go well, and why they do."""

RUN_RULES = ("missing-field", "maybe-missing-field", "stage-input", "stage-output", "map-source")
"""The codes of rules that a run breaks, with some choice of conditions, if nothing is checked."""


class Broken(Exception):
    """The pipeline does not compile; `code` is the rule it breaks."""

    def __init__(self, code: str, what: str) -> None:
        assert code in STATIC_RULES or code in RUN_RULES
        super().__init__(f"{code}: {what}")
        self.code = code


class Take(NamedTuple):
    """What a parameter takes: how is "setting", "field", "maybe", "input", "value", "record", "view", "context",
    "whole" or "element"."""

    param: Param
    how: str
    what: Any = None


@dataclass
class Decision:
    """What is decided about one step from the types.

    `shape` says how the result is read: "keep", "value", "bare", "record", "mapping" or "tuple". `whole` is whether the
    whole before the step is the value, `whole_behind` the same at the end of what the step contains. `names` and
    `has_value` are what the context has before the step. `leaving` is what a closed pipeline inside sets in the context
    around it (an input that it sets on some way, too); `replaces`: it replaces the context.
    """

    takes: tuple[Take, ...] = ()
    shape: str = "keep"
    contract: Any = None
    whole: bool = False
    whole_behind: bool = False
    names: frozenset[str] = frozenset()
    has_value: bool = False
    leaving: frozenset[str] = frozenset()
    replaces: bool = False


class Ended(NamedTuple):
    """Where a pipeline inside another one ends: its worlds, what fields it has set, whether it replaced the context."""

    worlds: Worlds
    set: frozenset[str]
    replaced: bool


class Judge:
    """Applies the rules to every way through a pipeline; what it decides is in `decisions`, by place."""

    def __init__(self) -> None:
        self.decisions: dict[str, Decision] = {}

    def pipeline(self, pipe: Pipe) -> tuple[Mapping[str, Any] | Any, Mapping[str, Any], bool]:
        """Of a pipeline standing alone: its inputs (fields or a type), the optional ones, whether its whole is a value.

        Raises:
            Broken: it does not compile.
        """
        inputs, optional = standing_inputs(pipe)
        ended = self.steps(pipe.steps, start_of(inputs), "", {}, optional)
        return inputs, optional, whole_is_value(ended.worlds)

    def steps(
        self,
        steps: Sequence[Step],
        worlds: Worlds,
        path: str,
        names: dict[str, None],
        optional: Mapping[str, Any] | None = None,
    ) -> Ended:
        """The worlds behind all steps; `optional` are inputs that only the first one may take."""
        setting: frozenset[str] = frozenset()
        replaced = False
        for index, step in enumerate(steps):
            ended = self.step(step, worlds, f"{path}{index}", names, optional or {} if index == 0 else {})
            worlds, replaced = ended.worlds, replaced or ended.replaced
            setting = setting | ended.set
        return Ended(worlds, setting, replaced)

    def step(self, step: Step, worlds: Worlds, at: str, names: dict[str, None], optional: Mapping[str, Any]) -> Ended:
        decision = self.decisions[at] = Decision(
            whole=whole_is_value(worlds),
            names=frozenset(names_of(worlds)),
            has_value=value_of_all(worlds) is not None,
        )
        if isinstance(step, Stage):
            if step.name in names:
                raise Broken("duplicate-stage", step.name)
            names[step.name] = None
            if isinstance(step.call, Pipe):
                return self._nested_stage(step, worlds, at, decision, optional)
            return self._stage(step, step.call, worlds, decision, optional)
        if isinstance(step, Branch):
            return self._branch(step, worlds, at, optional)
        if isinstance(step, Parallel):
            return self._parallel(step, worlds, at, decision, optional)
        assert isinstance(step, Loop)
        return self._loop(step, worlds, at, names, optional)

    # -- a stage -----------------------------------------------------------------------------------------------------

    def _stage(
        self, step: Stage, call: Function, worlds: Worlds, decision: Decision, optional: Mapping[str, Any]
    ) -> Ended:
        params, returns = call.params, call.returns
        element: tuple[Take, ...] = ()
        if step.over:
            listed = names_of(worlds).get(step.over)
            if listed is None or not definite(worlds, step.over):
                raise Broken("map-source", step.over)
            if any(get_origin(each) is not list for each in members(listed)):
                raise Broken("map-source", f"{listed} has no elements")
            if not params or params[0].kind == "*" or params[0].name in step.settings:
                raise Broken("stage-input", "no parameter for the element")
            if not all(subtype(get_args(each)[0], params[0].type) for each in members(listed)):
                raise Broken("stage-input", "the elements")
            element, params = (Take(params[0], "element"),), params[1:]
            returns = list[returns]  # type: ignore[valid-type]
        decision.takes = (*element, *self.bind(params, step.settings, worlds, optional))
        return self._give(step.contract, returns, worlds, decision, is_nested=False)

    def bind(
        self,
        params: Sequence[Param],
        settings: Mapping[str, Any],
        worlds: Worlds,
        optional: Mapping[str, Any],
    ) -> tuple[Take, ...]:
        """Section 3, rules 1 to 4."""
        fields = names_of(worlds)
        for name in settings:
            if name not in [p.name for p in params if p.kind != "/"]:
                raise Broken("unknown-setting", name)
        takes: list[Take] = []
        left: list[tuple[Param, str]] = []
        for param in params:
            source = param.name
            if param.name in settings and param.kind != "/":
                setting = settings[param.name]
                if not isinstance(setting, Rename):
                    if not conforms(setting, param.type):
                        raise Broken("setting-type", param.name)
                    takes.append(Take(param, "setting", setting))
                    continue
                source = setting.name
                if source not in fields:
                    raise Broken("missing-field", source)
            if param.kind == "/" or source not in fields:
                if source in optional and param.default:
                    takes.append(Take(param, "input", source))
                elif not param.default:
                    left.append((param, ""))
            elif not subtype(fields[source], param.type):
                if param.default or source != param.name:
                    raise Broken("stage-input", source)
                left.append((param, "stage-input"))
            elif definite(worlds, source):
                takes.append(Take(param, "field", source))
            elif param.default:
                takes.append(Take(param, "maybe", source))
            else:
                raise Broken("maybe-missing-field", source)
        if len(left) == 1:
            takes.append(self._whole(*left[0], worlds))
        elif left:
            raise Broken(next((code for _, code in left if code), "missing-field"), ", ".join(p.name for p, _ in left))
        return tuple(takes)

    def _whole(self, param: Param, misfit: str, worlds: Worlds) -> Take:
        """Rule 3."""
        value, tp, fields = value_of_all(worlds), param.type, names_of(worlds)
        if tp is object and not misfit:
            return Take(param, "whole")
        if tp is Context:
            return Take(param, "context")
        if value is not None and subtype(value, tp):
            return Take(param, "value")
        if tp in RECORDS or tp in PROTOCOLS:
            if tp in RECORDS:
                wanted = {n: (m.type, bool(m.given)) for n, m in RECORDS[tp].items() if m.given is not None}
            else:
                wanted = {n: (t, True) for n, t in PROTOCOLS[tp].items()}
            there = {n for n in wanted if n in fields}
            for name in there:
                if not subtype(fields[name], wanted[name][0]):
                    raise Broken("stage-input", f"{name} of {param.name}")
            taken = frozenset(n for n in there if definite(worlds, n))
            if taken and all(n in taken for n, (_, required) in wanted.items() if required):
                return Take(param, "record" if tp in RECORDS else "view", taken)
            unsure = [n for n, (_, required) in wanted.items() if required and n in there - taken]
            if unsure and not misfit:
                raise Broken("maybe-missing-field", f"{unsure[0]} of {param.name}")
        raise Broken(misfit or ("stage-input" if value is not None else "missing-field"), param.name)

    # -- contracts ---------------------------------------------------------------------------------------------------

    def _give(self, contract: Any, returns: Any, worlds: Worlds, decision: Decision, *, is_nested: bool) -> Ended:
        """A result of type `returns` against the contract, and the worlds behind it."""
        if contract is None:
            if returns is NoneType:
                return Ended(worlds, frozenset(), False)
            contract = returns
        decision.contract = contract
        if not isinstance(contract, Mapping):
            if not subtype(returns, contract):
                raise Broken("stage-output", f"{returns} for {contract}")
            decision.shape = "value"
            return Ended(worlds_of(contract), frozenset(), True)
        decision.shape = self._shape(contract, returns, is_nested=is_nested)
        return self._add(contract, worlds, decision)

    def _shape(self, contract: Mapping[str, Any], returns: Any, *, is_nested: bool) -> str:
        """Section 3, output: how a result is read under a keyword contract."""
        record = {n: m.type for n, m in RECORDS.get(returns, {}).items() if m.required}
        if record and all(n in record and subtype(record[n], t) for n, t in contract.items()):
            return "record"
        if len(contract) == 1 and not is_nested and all(subtype(returns, tp) for tp in contract.values()):
            return "bare"
        if get_origin(returns) is dict and all(subtype(get_args(returns)[1], tp) for tp in contract.values()):
            return "mapping"
        if get_origin(returns) is tuple and len(contract) > 1:
            items = get_args(returns)
            if len(items) == len(contract) and all(map(subtype, items, contract.values())):
                return "tuple"
        raise Broken("stage-output", f"{returns} for {dict(contract)}")

    def _add(self, contract: Mapping[str, Any], worlds: Worlds, decision: Decision) -> Ended:
        """A keyword contract: fields are added, or rebound with the same type."""
        known = names_of(worlds)
        for name, tp in contract.items():
            if name in known:
                if not same(tp, known[name]):
                    raise Broken("field-redefined", name)
                self._check_replaceable(worlds, name)
            worlds = with_field(worlds, name, known.get(name, tp))
        return Ended(worlds, frozenset(contract), False)

    def _check_replaceable(self, worlds: Worlds, name: str) -> None:
        if value_of_all(worlds) is None:
            return
        for world in worlds:
            if name in world.own and world.value in UNREPLACEABLE:
                raise Broken("field-redefined", f"{name} of {world.value}")

    # -- pipelines inside --------------------------------------------------------------------------------------------

    def inside(self, pipe: Pipe, worlds: Worlds, at: str, settings: Mapping[str, Any], optional: Any) -> Ended:
        """A nested pipeline or an arm: an open one on the same worlds, a closed one on its inputs alone."""
        if pipe.inputs is None:
            if settings:
                raise Broken("unknown-setting", next(iter(settings)))
            ended = self.steps(pipe.steps, worlds, f"{at}.", {}, optional)
            self.decisions[at].whole_behind = whole_is_value(ended.worlds)
            return ended
        if isinstance(pipe.inputs, Mapping):
            params = [Param(name, tp, kind="*") for name, tp in pipe.inputs.items()]
        else:
            params = [Param("value", pipe.inputs, kind="/")]
        decision = self.decisions[at]
        decision.takes = self.bind(params, settings, worlds, {})
        ended = self.steps(pipe.steps, start_of(pipe.inputs), f"{at}.", {})
        decision.whole_behind = whole_is_value(ended.worlds)
        return ended

    def effect(self, pipe: Pipe, outer: Worlds, ended: Ended, decision: Decision) -> Ended:
        """What a nested pipeline without a contract does to the context around it."""
        decision.replaces = ended.replaced
        if pipe.inputs is None or ended.replaced:
            return ended
        known, inner = names_of(outer), names_of(ended.worlds)
        worlds = outer
        for name in sorted(ended.set & inner.keys()):
            if name in known and not subtype(inner[name], known[name]):
                raise Broken("field-redefined", name)
            if name in known:
                self._check_replaceable(outer, name)
            added = with_field(worlds, name, known.get(name, inner[name]))
            worlds = added if definite(ended.worlds, name) else added | worlds
        decision.leaving = ended.set
        return Ended(worlds, ended.set, False)

    def _nested_stage(
        self, step: Stage, worlds: Worlds, at: str, decision: Decision, optional: Mapping[str, Any]
    ) -> Ended:
        assert isinstance(step.call, Pipe)
        ended = self.inside(step.call, worlds, at, step.settings, optional)
        if step.contract is None:
            return self.effect(step.call, worlds, ended, decision)
        if whole_is_value(ended.worlds):
            return self._give(step.contract, value_of_all(ended.worlds), worlds, decision, is_nested=True)
        return self._give_view(step.contract, ended.worlds, worlds, decision)

    def _give_view(self, contract: Any, ended: Worlds, worlds: Worlds, decision: Decision) -> Ended:
        """The final whole is a Context: every field of the contract must be in it."""
        decision.contract, decision.shape = contract, "record"
        if isinstance(contract, Mapping):
            wanted = {name: (tp, True) for name, tp in contract.items()}
        else:
            wanted = {n: (m.type, m.required) for n, m in RECORDS.get(contract, {}).items()}
            if not wanted:
                raise Broken("stage-output", f"a Context for {contract}")
        fields = names_of(ended)
        for name, (tp, required) in wanted.items():
            if required and not (name in fields and definite(ended, name)):
                raise Broken("stage-output", name)
            if name in fields and not subtype(fields[name], tp):
                raise Broken("stage-output", name)
        if not isinstance(contract, Mapping):
            return Ended(worlds_of(contract), frozenset(), True)
        return self._add(contract, worlds, decision)

    # -- control flow ------------------------------------------------------------------------------------------------

    def _arm(self, pipe: Pipe, worlds: Worlds, at: str, optional: Any) -> tuple[Ended, Ended]:
        """(its end, its effect)."""
        decision = self.decisions[at] = Decision(whole=whole_is_value(worlds))
        ended = self.inside(pipe, worlds, at, {}, optional)
        return ended, self.effect(pipe, worlds, ended, decision)

    def _branch(self, step: Branch, worlds: Worlds, at: str, optional: Mapping[str, Any]) -> Ended:
        _, then = self._arm(step.then, worlds, f"{at}then", optional)
        if step.otherwise is None:
            otherwise = Ended(worlds, frozenset(), False)
        else:
            _, otherwise = self._arm(step.otherwise, worlds, f"{at}otherwise", optional)
        return Ended(
            joined(then.worlds, otherwise.worlds), then.set | otherwise.set, then.replaced or otherwise.replaced
        )

    def _parallel(
        self, step: Parallel, worlds: Worlds, at: str, decision: Decision, optional: Mapping[str, Any]
    ) -> Ended:
        wholes: dict[str, Any] = {}
        for key, arm in step.arms:
            place = f"{at}{key}"
            self.decisions[place] = Decision(whole=whole_is_value(worlds))
            ended = self.inside(arm, worlds, place, {}, optional)
            conflict = ended.set & names_of(worlds).keys()
            if arm.inputs is None and conflict and not ended.replaced:
                raise Broken("parallel-conflict", str(conflict))
            wholes[key] = whole_type(ended.worlds)
        if not step.keyed:
            listed: Any = list[union(wholes.values())]  # type: ignore[misc]
            return self._give(step.contract, listed, worlds, decision, is_nested=False)
        decision.contract = contract = wholes if step.contract is None else step.contract
        decision.shape = "mapping"
        if not isinstance(contract, Mapping):
            raise Broken("stage-output", "a type for keys")
        for name, tp in contract.items():
            if name not in wholes or not subtype(wholes[name], tp):
                raise Broken("stage-output", name)
        return self._add(contract, worlds, decision)

    def _loop(self, step: Loop, worlds: Worlds, at: str, names: dict[str, None], optional: Mapping[str, Any]) -> Ended:
        exits: list[Worlds] = [worlds] if step.condition else []
        now, setting, replaced = worlds, frozenset[str](), False
        for index, inner in enumerate(step.steps):
            place = f"{at}.{index}"
            if isinstance(inner, Break):
                self._check_carried(worlds, now)
                self.decisions[place] = Decision(whole=whole_is_value(now))
                exits.append(now)
                continue
            ended = self.step(inner, now, place, names, optional if index == 0 else {})
            now, setting, replaced = ended.worlds, setting | ended.set, replaced or ended.replaced
        self._check_carried(worlds, now)
        self.decisions[at].whole_behind = whole_is_value(now)
        exits.append(now)
        return Ended(joined(*exits), setting, replaced)

    def _check_carried(self, entry: Worlds, now: Worlds) -> None:
        before, after = names_of(entry), names_of(now)
        for name, tp in before.items():
            if name not in after or (definite(entry, name) and not definite(now, name)):
                raise Broken("loop-carried", f"{name} is lost")
            if not same(tp, after[name]):
                raise Broken("loop-carried", f"{name}: {tp} becomes {after[name]}")
        value = value_of_all(entry)
        if value is not None and (value_of_all(now) is None or not same(value, value_of_all(now))):
            raise Broken("loop-carried", "the value")


# -- inputs ---------------------------------------------------------------------------------------------------------


def standing_inputs(pipe: Pipe) -> tuple[Any, Mapping[str, Any]]:
    """Section 2: the declared inputs, or the required and the optional parameters of the first step."""
    if pipe.inputs is not None:
        return pipe.inputs, {}
    required: dict[str, Any] = {}
    optional: dict[str, Any] = {}
    for param in _first_params(pipe.steps):
        if param.kind == "/" and not param.default:
            return param.type, {}
        into = optional if param.default else required
        into.setdefault(param.name, param.type)
    return required, {n: t for n, t in optional.items() if n not in required}


def _first_params(steps: Sequence[Step]) -> Iterable[Param]:
    if not steps:
        return
    first = steps[0]
    if isinstance(first, Loop):
        yield from _first_params(first.steps)
    elif isinstance(first, Branch):
        yield from _params_of(first.then)
        yield from () if first.otherwise is None else _params_of(first.otherwise)
    elif isinstance(first, Parallel):
        for _, arm in first.arms:
            yield from _params_of(arm)
    elif isinstance(first, Stage) and isinstance(first.call, Pipe):
        yield from _params_of(first.call)
    elif isinstance(first, Stage) and not first.over:
        assert isinstance(first.call, Function)
        for param in first.call.params:
            setting = first.settings.get(param.name)
            if isinstance(setting, Rename):
                yield Param(setting.name, param.type)
            elif setting is None and param.type is not Context:
                yield param


def _params_of(pipe: Pipe) -> Iterable[Param]:
    inputs, optional = standing_inputs(pipe)
    if isinstance(inputs, Mapping):
        yield from (Param(name, tp) for name, tp in inputs.items())
        yield from (Param(name, tp, default=True) for name, tp in optional.items())
    else:
        yield Param("value", inputs, kind="/")
