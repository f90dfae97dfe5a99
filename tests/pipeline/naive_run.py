"""Running a described pipeline with a dict as its context: the other half of the oracle."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from metta.sweep import Context
from tests.pipeline.grammar import (
    Branch,
    Break,
    Function,
    Loop,
    Parallel,
    Pipe,
    Recorder,
    Stage,
    Step,
    mapping_keys,
)
from tests.pipeline.grammar_types import RECORDS, UNREPLACEABLE, built, fields_of, replaced
from tests.pipeline.naive import Decision, Take, standing_inputs

ABSENT = object()


@dataclass
class Now:
    """The context: the fields that are set, and the value with the names of its own fields."""

    fields: dict[str, Any] = field(default_factory=dict)
    value: Any = ABSENT
    own: frozenset[str] = frozenset()

    def copy(self) -> Now:
        return Now(dict(self.fields), self.value, self.own)

    def whole(self, is_value: bool) -> Any:
        return self.value if is_value else Context(self.fields)

    def replace(self, value: Any, tp: Any) -> None:
        """`.through(tp)`."""
        self.fields = dict(fields_of(value)) if tp in RECORDS else {}
        self.value, self.own = value, frozenset(RECORDS.get(tp, {}))

    def set(self, changes: Mapping[str, Any]) -> None:
        """A keyword contract."""
        own = {name: new for name, new in changes.items() if name in self.own}
        if own and type(self.value) in UNREPLACEABLE:
            # Another way to this place has no value, so nobody takes this one (else it had not compiled).
            self.value, self.own = ABSENT, frozenset()
        elif own:
            self.value = replaced(self.value, own)
        self.fields.update(changes)

    def become(self, other: Now) -> None:
        self.fields, self.value, self.own = dict(other.fields), other.value, other.own


def execute(pipe: Pipe, given: Any, whole_is_value: bool, decisions: Mapping[str, Decision], recorder: Recorder) -> Any:
    """The result of a run: `given` is a mapping of inputs, or the value."""
    return _Run(decisions, recorder).pipeline(pipe, given, whole_is_value)


def start(inputs: Any, given: Any) -> Now:
    now = Now()
    if isinstance(inputs, Mapping):
        now.fields = {name: given[name] for name in inputs}
    else:
        now.replace(given, inputs)
    return now


class _Run:
    def __init__(self, decisions: Mapping[str, Decision], recorder: Recorder) -> None:
        self._decisions = decisions
        self._recorder = recorder
        self._given: Mapping[str, Any] = {}

    def pipeline(self, pipe: Pipe, given: Any, whole_is_value: bool) -> Any:
        inputs, optional = standing_inputs(pipe)
        now = start(inputs, given)
        self._given = {n: given[n] for n in optional if n in given}
        self._steps(pipe.steps, now, "")
        return now.whole(whole_is_value)

    def _steps(self, steps: Sequence[Step], now: Now, path: str) -> None:
        for index, step in enumerate(steps):
            self._step(step, now, f"{path}{index}")

    def _ask(self, name: str, last: bool, now: Now, whole_is_value: bool) -> bool:
        return self._recorder.ask(name, last, now.whole(whole_is_value))

    def _step(self, step: Step, now: Now, at: str) -> None:
        decision = self._decisions[at]
        if isinstance(step, Loop):
            self._loop(step, now, at)
        elif isinstance(step, Branch):
            if self._ask(f"{at}if", False, now, decision.whole):
                self._arm(step.then, now, f"{at}then")
            elif step.otherwise is not None:
                self._arm(step.otherwise, now, f"{at}otherwise")
        elif isinstance(step, Parallel):
            wholes = {}
            for key, arm in step.arms:
                place = f"{at}{key}"
                wholes[key] = self._inside(arm, now.copy(), place).whole(self._decisions[place].whole_behind)
            result = wholes if step.keyed else list(wholes.values())
            self._show(step, at, now, self._take_result(result, now, decision))
        elif isinstance(step, Stage) and isinstance(step.call, Pipe):
            if step.contract is None:
                data = self._arm(step.call, now, at)
            else:
                data = self._inside(step.call, now.copy(), at).whole(decision.whole_behind)
                if decision.shape == "record" and not isinstance(decision.contract, Mapping):
                    data = built(decision.contract, _only(fields_of(data), RECORDS[decision.contract]))
                    now.replace(data, decision.contract)
                else:
                    data = self._take_result(data, now, decision)
            self._show(step, at, now, data)
        else:
            assert isinstance(step, Stage)
            self._show(step, at, now, self._stage(step, now, decision))

    def _show(self, step: Stage | Parallel, at: str, now: Now, data: Any) -> None:
        if step.hooked:
            self._recorder.see(at, now.whole(self._decisions[at].whole) if data is ABSENT else data)

    def _stage(self, step: Stage, now: Now, decision: Decision) -> Any:
        assert isinstance(step.call, Function)
        keys = mapping_keys(step)

        def call(element: Any = ABSENT) -> Any:
            given = dict.fromkeys(p.name for p in step.call.params)  # type: ignore[union-attr]
            for take in decision.takes:
                given[take.param.name] = element if take.how == "element" else self._taken(take, now, decision)
            assert isinstance(step.call, Function)
            return self._recorder.call(step.name, step.call, keys, given)

        result = [call(item) for item in now.fields[step.over]] if step.over else call()
        return self._take_result(result, now, decision)

    def _taken(self, take: Take, now: Now, decision: Decision) -> Any:
        how, what = take.how, take.what
        if how == "setting":
            return what
        if how == "field":
            return now.fields[what]
        if how == "maybe":
            return now.fields.get(what)
        if how == "input":
            return self._given.get(what)
        if how == "value":
            return now.value
        if how == "record":
            return built(take.param.type, {name: now.fields[name] for name in what})
        if how == "view":
            return Context({name: now.fields[name] for name in what})
        return now.whole(how == "whole" and decision.whole)

    def _take_result(self, result: Any, now: Now, decision: Decision) -> Any:
        """Change the context; the data of the contract, ABSENT if there is none."""
        shape, contract = decision.shape, decision.contract
        if shape == "keep":
            return ABSENT
        if shape == "value":
            now.replace(result, contract)
            return result
        names = list(contract)
        if shape == "bare":
            data = {names[0]: result}
        elif shape == "tuple":
            data = dict(zip(names, result, strict=True))
        else:
            found = fields_of(result)
            data = {name: found[name] for name in names}
        now.set(data)
        return Context(data)

    def _inside(self, pipe: Pipe, now: Now, at: str) -> Now:
        """The end of a nested pipeline or an arm; an open one changes `now` itself."""
        if pipe.inputs is None:
            self._steps(pipe.steps, now, f"{at}.")
            return now
        decision = self._decisions[at]
        given = {take.param.name: self._taken(take, now, decision) for take in decision.takes}
        inner = start(pipe.inputs, given if isinstance(pipe.inputs, Mapping) else given["value"])
        self._steps(pipe.steps, inner, f"{at}.")
        return inner

    def _arm(self, pipe: Pipe, now: Now, at: str) -> Any:
        """The effect of a nested pipeline without a contract; its final whole."""
        end = self._inside(pipe, now, at)
        whole = end.whole(self._decisions[at].whole_behind)
        if end is now:
            return whole
        decision = self._decisions[at]
        if decision.replaces:
            now.become(end)
        else:
            now.set(_only(end.fields, decision.leaving))
        return whole

    def _loop(self, step: Loop, now: Now, at: str) -> None:
        decision = self._decisions[at]

        def begin_pass() -> Now:
            """The entry fields with their current values."""
            entry = now.copy()
            entry.fields = _only(now.fields, decision.names)
            if not decision.has_value:
                entry.value, entry.own = ABSENT, frozenset()
            return entry

        while True:
            entry = begin_pass()
            if step.condition and not self._ask(f"{at}while", False, entry, decision.whole):
                return
            now.become(entry)
            for index, inner in enumerate(step.steps):
                place = f"{at}.{index}"
                if isinstance(inner, Break):
                    if self._ask(f"{place}break", True, now, self._decisions[place].whole):
                        return
                else:
                    self._step(inner, now, place)
            if step.until and self._ask(f"{at}until", True, now, decision.whole_behind):
                return


def _only(fields: Mapping[str, Any], names: Any) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if name in names}
