"""Drawing random pipelines that are (nearly always) right: each step is drawn to fit the context it stands in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from types import NoneType
from typing import Any, TypeVar

from hypothesis import strategies as st

from metta.sweep import Context
from tests.pipeline.grammar import (
    Branch,
    Break,
    Function,
    Loop,
    Parallel,
    Param,
    Pipe,
    Rename,
    Stage,
    Step,
    ordered,
)
from tests.pipeline.grammar_types import NATURAL, PROTOCOLS, RECORDS, value_of
from tests.pipeline.naive import Broken, Ended, Judge, standing_inputs
from tests.pipeline.worlds import Worlds, definite, names_of, start_of, value_of_all

T = TypeVar("T")
_DEEPEST = 2


@st.composite
def pipes(draw: st.DrawFn) -> Pipe:
    """A whole pipeline: open or closed, two to six steps, arms and bodies up to two deep."""
    return _Drawing(draw).pipeline()


class _Drawing:
    def __init__(self, draw: st.DrawFn) -> None:
        self._draw = draw
        self._count = 0

    def _pick(self, options: Sequence[T]) -> T:
        return options[self._draw(st.integers(0, len(options) - 1))]

    def _chance(self, percent: int) -> bool:
        return self._draw(st.integers(0, 99)) < percent

    def _some(self, options: Sequence[T], least: int, most: int) -> list[T]:
        """Different ones, in a drawn order."""
        left, found = list(options), []
        for _ in range(min(len(left), self._draw(st.integers(least, most)))):
            found.append(left.pop(self._draw(st.integers(0, len(left) - 1))))
        return found

    def pipeline(self) -> Pipe:
        form = self._pick(["open", "fields", "fields", "type"])
        if form == "open":
            # What an open pipeline asks for, its first stage decides.
            first = Stage(self._name(), self._free_function(), None)
            first = self._with_contract(first, {})
            return Pipe(None, (first, *self._steps_behind(Pipe(None, (first,)), 5)))
        inputs: Any = self._fields() if form == "fields" else self._pick(list(RECORDS))
        steps, _ = self._steps(start_of(inputs), 1, 6, 0)
        return Pipe(inputs, steps)

    def _steps_behind(self, pipe: Pipe, most: int) -> tuple[Step, ...]:
        inputs, optional = standing_inputs(pipe)
        try:
            ended = Judge().steps(pipe.steps, start_of(inputs), "", {}, optional)
        except Broken:
            return ()
        return self._steps(ended.worlds, 1, most, 0)[0]

    def _name(self) -> str:
        self._count += 1
        return f"s{self._count}"

    def _fields(self) -> dict[str, Any]:
        return {name: NATURAL[name] for name in self._some(list(NATURAL), 1, 4)}

    def _steps(self, worlds: Worlds, least: int, most: int, depth: int) -> tuple[tuple[Step, ...], Worlds]:
        """Steps that fit: one that does not is left out."""
        steps: list[Step] = []
        for _ in range(self._draw(st.integers(least, most))):
            step = self._step(worlds, depth)
            if isinstance(step, (Stage, Parallel)) and self._chance(15):
                step = replace(step, hooked=True)
            try:
                ended = self._judged(step, worlds)
            except Broken:
                continue
            steps.append(step)
            worlds = ended.worlds
        return tuple(steps), worlds

    def _judged(self, step: Step, worlds: Worlds) -> Ended:
        return Judge().step(step, worlds, "0", {}, {})

    def _step(self, worlds: Worlds, depth: int) -> Step:
        kinds = ["stage"] * 4 + ["map"]
        if depth < _DEEPEST:
            kinds += ["loop", "loop", "branch", "branch", "parallel", "nested", "nested"]
        kind = self._pick(kinds)
        if kind == "loop":
            return self._loop(worlds, depth)
        if kind == "branch":
            return Branch(self._arm(worlds, depth, 1), self._arm(worlds, depth, 0) if self._chance(70) else None)
        if kind == "parallel":
            return self._parallel(worlds, depth)
        if kind == "nested":
            arm = self._arm(worlds, depth, 1)
            step = Stage(self._name(), arm)
            if isinstance(arm.inputs, dict) and self._chance(30):
                step = Stage(step.name, arm, None, self._settings(arm.inputs, worlds))
            return self._contracted_nested(step, worlds)
        return self._stage(worlds, is_map=kind == "map")

    # -- stages ------------------------------------------------------------------------------------------------------

    def _free_function(self) -> Function:
        params = [Param(n, t) for n, t in self._fields().items()]
        if self._chance(20):
            params[-1] = params[-1]._replace(default=True)
        if self._chance(15):
            params = [Param("given", self._pick([*RECORDS]), kind="/")]
        return Function(ordered(tuple(params)), NoneType, self._chance(5))

    def _stage(self, worlds: Worlds, *, is_map: bool) -> Stage:
        fields = names_of(worlds)
        sure = [name for name in fields if definite(worlds, name)]
        params = [Param(n, self._wider(fields[n])) for n in self._some(sure, 0, 2)]
        settings: dict[str, Any] = {}
        over = ""
        if is_map:
            lists = [name for name in sure if fields[name] in (list[int], list[str])]
            if lists:
                over = self._pick(lists)
                params.insert(0, Param("item", int if fields[over] == list[int] else str))
        if self._chance(25) and len(params) < 3:
            name = self._pick([n for n in NATURAL if n not in [p.name for p in params]])
            params.append(Param(name, fields.get(name, NATURAL[name]), default=True, kind=self._pick(["", "*"])))
        if self._chance(20):
            params.append(Param("option", int))
            settings["option"] = 7
        if self._chance(15) and sure:
            source = self._pick(sure)
            params.append(Param("renamed", fields[source]))
            settings["renamed"] = Rename(source)
        if self._chance(35):
            params.append(Param("rest", self._rest(worlds), kind=self._pick(["", "", "*"])))
        elif self._chance(5) and not is_map:
            params = [Param("rest", self._rest(worlds), kind="/")]
            settings = {}
        function = Function(ordered(tuple(params)), NoneType, self._chance(5))
        return self._with_contract(Stage(self._name(), function, None, settings, over), fields)

    def _wider(self, tp: Any) -> Any:
        """The type itself, or one that accepts it."""
        if not self._chance(15):
            return tp
        return self._pick([tp | None, object] if tp is not int else [float, int | str, object])

    def _rest(self, worlds: Worlds) -> Any:
        """A type for the one parameter that takes the context as a whole."""
        value = value_of_all(worlds)
        options = [Context, object, self._pick([*RECORDS]), self._pick([*PROTOCOLS])]
        return self._pick(options if value is None else [*options, value, value])

    def _with_contract(self, stage: Stage, known: Any) -> Stage:
        """A return type and a contract that fit one another."""
        assert isinstance(stage.call, Function)
        wanted = {n: known.get(n, NATURAL[n]) for n in self._some(list(NATURAL), 1, 3)}
        form = self._pick(["none", "implied", "type", "bare", "bare", "tuple", "record", "mapping"])
        returns: Any = NoneType
        contract: Any = None
        if form in ("implied", "type"):
            returns = self._pick([int, list[int], *RECORDS, *RECORDS])
            contract = returns if form == "type" else None
        elif form == "record":
            returns = self._pick([*RECORDS])
            names = [n for n, m in RECORDS[returns].items() if m.required]
            contract = {n: known.get(n, NATURAL[n]) for n in self._some(names, 1, 2)}
        elif form == "mapping":
            returns = dict[str, int]
            contract = {n: t for n, t in wanted.items() if t in (int, float)} or {"x": int}
        elif form == "tuple" and len(wanted) > 1:
            contract = wanted
            returns = tuple[tuple(wanted.values())]  # type: ignore[misc]
        elif form != "none":
            name, tp = next(iter(wanted.items()))
            contract, returns = {name: tp}, tp
        if stage.over and form != "none":
            # The contract of a map is about the list of all results.
            element = self._pick([int, float, str])
            contract = self._pick([None, {"d": list[int]}, {"w": list[str]}, list[element]])  # type: ignore[valid-type]
            returns = {"d": int, "w": str}[next(iter(contract))] if isinstance(contract, dict) else element
        function = Function(stage.call.params, returns, stage.call.is_async)
        return Stage(stage.name, function, contract, stage.settings, stage.over)

    # -- control flow ------------------------------------------------------------------------------------------------

    def _arm(self, worlds: Worlds, depth: int, least: int) -> Pipe:
        form = self._pick(["open", "open", "fields", "type"])
        fields = {n: t for n, t in names_of(worlds).items() if definite(worlds, n)}
        if form == "fields" and fields:
            inputs: Any = {n: fields[n] for n in self._some(list(fields), 1, 3)}
        elif form == "type" and value_of_all(worlds) in RECORDS:
            inputs = value_of_all(worlds)
        else:
            return Pipe(None, self._steps(worlds, least, 3, depth + 1)[0])
        return Pipe(inputs, self._steps(start_of(inputs), least, 3, depth + 1)[0])

    def _settings(self, inputs: dict[str, Any], worlds: Worlds) -> dict[str, Any]:
        name = self._pick(list(inputs))
        same_type = [n for n, t in names_of(worlds).items() if t == inputs[name] and definite(worlds, n)]
        return {name: Rename(self._pick(same_type)) if self._chance(70) else value_of(inputs[name], 5)}

    def _contracted_nested(self, step: Stage, worlds: Worlds) -> Stage:
        """Half of them with a contract: then it is the entire effect."""
        if self._chance(50):
            return step
        assert isinstance(step.call, Pipe)
        start = worlds if step.call.inputs is None else start_of(step.call.inputs)
        try:
            end = Judge().steps(step.call.steps, start, "", {}).worlds
        except Broken:
            return step
        fields = {n: t for n, t in names_of(end).items() if definite(end, n)}
        records = [r for r, own in RECORDS.items() if all(fields.get(n) == m.type for n, m in own.items())]
        value = value_of_all(end)
        options: list[Any] = [{n: fields[n] for n in self._some(list(fields), 1, 2)}] if fields else []
        options += records if not records else [self._pick(records)]
        options += [value] if value is not None else []
        return Stage(step.name, step.call, self._pick(options) if options else None, step.settings)

    def _parallel(self, worlds: Worlds, depth: int) -> Parallel:
        keyed = self._chance(50)
        names = self._some(["u", "v", "x"], 1, 3)
        arms = tuple((name, self._arm(worlds, depth, 1)) for name in names)
        if self._chance(70):
            return Parallel(arms, keyed)
        free = Parallel(arms, keyed)
        judge = Judge()
        try:
            ended = judge.step(free, worlds, "0", {}, {})
        except Broken:
            return free
        contract = judge.decisions["0"].contract
        if not keyed and self._chance(50):
            contract = {"found": contract}
        return Parallel(arms, keyed, contract if ended else None)

    def _loop(self, worlds: Worlds, depth: int) -> Loop:
        steps, _ = self._steps(worlds, 1, 3, depth + 1)
        body: list[Step] = [*steps] or [Stage(self._name(), Function((), NoneType))]
        condition = self._chance(60)
        if self._chance(30):
            body.insert(self._draw(st.integers(1, len(body))), Break())
        until = self._chance(30) or (not condition and Break() not in body)
        return Loop(tuple(body), condition, until)
