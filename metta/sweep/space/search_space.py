"""The search space: a flat, ordered mapping dot path -> distribution, with conditions and constraints."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from functools import cached_property
from graphlib import CycleError, TopologicalSorter
from typing import TYPE_CHECKING, Any

from metta.sweep.errors import UsageError
from metta.sweep.space import distributions
from metta.sweep.space.conditions import check_reachable, implicit_conditions
from metta.sweep.space.constraints import MAX_TRIES, Constraint, Predicate, Repair
from metta.sweep.space.distributions import Condition, Constant, Distribution, same_value
from metta.sweep.trial import Params, UnknownParameter, resolve_path

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True, slots=True)
class Adapted:
    """A configuration of another space, fitted into this one.

    Attributes:
        params: the configuration in this space.
        dropped: names this space does not have, or that are not active here.
        filled: names that were missing and got their default.
    """

    params: Params
    dropped: tuple[str, ...]
    filled: tuple[str, ...]


class SearchSpace(Mapping[str, Distribution[Any]]):
    """A flat mapping dot path -> distribution; immutable, iterated in declared order.

    A parameter whose path starts with a value of a `Choice` of text ("cnn.layers" beside
    "model_type": Choice(["cnn", "transformer"])) is active only where that value is chosen, unless it has conditions
    of its own (`.when(...)`). An inactive parameter is absent from a configuration.

    Args:
        parameters: dot path -> distribution, or a fixed value, which travels along as it is. A bare tuple or list of
            numbers or of text is taken as a fixed value too, with a warning: write `Constant((3, 3))`.
        constraints: predicates that every configuration has to meet; see `require`.

    Raises:
        UsageError: the space is empty, nested, or its conditions make no sense: they go in a circle, or contradict
            one another, so that a parameter could never be active.
    """

    def __init__(self, parameters: Mapping[str, object], constraints: Sequence[Predicate | Constraint] = ()) -> None:
        if not parameters:
            raise UsageError('the search space is empty: write {"learning_rate": LogUniform(1e-4, 1e-1), ...}')
        self._parameters = {path: _distribution(path, value) for path, value in parameters.items()}
        for path, value in parameters.items():
            if (meant := _perhaps_meant(value)) is not None:
                warnings.warn(
                    f"{path!r}: {value!r:.60} is taken as a fixed value, not as a range or as choices: write {meant} "
                    f"to search it, Constant({value!r:.60}) to keep it",
                    stacklevel=2,
                )
        self.constraints: tuple[Constraint, ...] = tuple(Constraint.of(constraint) for constraint in constraints)
        self._conditions = {path: self._find_conditions(path) for path in self._parameters}
        self._order = self._sorted_by_conditions()
        check_reachable(self._order, self._conditions)

    @classmethod
    def of(cls, space: SearchSpace | Mapping[str, object]) -> SearchSpace:
        """`space` itself, or the space of a plain mapping.

        Raises:
            UsageError: it is neither.
        """
        if isinstance(space, SearchSpace):
            return space
        if not isinstance(space, Mapping):
            raise UsageError(f"expected a search space, a mapping of names to distributions; found {space!r}")
        return cls(space)

    def __getitem__(self, path: str) -> Distribution[Any]:
        # Looking for an alias reads every path, and most names are paths.
        return self._parameters[path if path in self._parameters else resolve_path(path, self._parameters)]

    def __iter__(self) -> Iterator[str]:
        return iter(self._parameters)

    def __len__(self) -> int:
        return len(self._parameters)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, SearchSpace):
            return NotImplemented
        return list(self.items()) == list(other.items()) and self.constraints == other.constraints

    __hash__ = None  # type: ignore[assignment]  # values may be lists

    def __repr__(self) -> str:
        inside = ", ".join(f"{path!r}: {distribution!r}" for path, distribution in self.items())
        return f"SearchSpace({{{inside}}})"

    @cached_property
    def tunable(self) -> tuple[str, ...]:
        """The paths that are searched: all but the constants, in declared order."""
        return tuple(path for path, distribution in self.items() if not isinstance(distribution, Constant))

    @property
    def is_conditional(self) -> bool:
        """True if some parameter is not always active."""
        return any(self._conditions.values())

    def conditions(self, path: str) -> tuple[Condition, ...]:
        """What has to hold for the parameter to be active, besides its parents being active."""
        return self._conditions[resolve_path(path, self._parameters)]

    def require(self, *constraints: Predicate | Constraint, repair: Repair | None = None) -> SearchSpace:
        """A space with more constraints, such as `divides("minibatch_size", "batch_size")` or any predicate.

        A configuration that breaks one is drawn again, unless there is a repair. Random search, Sobol search and
        `sample` repair; libraries behind adapters, whose suggestions nobody alters, and the grid reject always.

        Args:
            constraints: predicates, called with the active parameters.
            repair: called with a configuration that breaks the (one) constraint; returns the parameters to change.

        Raises:
            UsageError: a repair for several constraints, or for none.
        """
        new = tuple(Constraint.of(constraint) for constraint in constraints)
        if repair is not None:
            if len(new) != 1:
                raise UsageError(f"require(repair=...) mends one constraint, found {len(new)}: call it once for each")
            new = (replace(new[0], repair=repair, spec=None),)
        return SearchSpace(self._parameters, (*self.constraints, *new))

    def build(self, pick: Callable[[str, Distribution[Any]], object]) -> Params:
        """The configuration that `pick(path, distribution)` gives, asked for active parameters only.

        A parameter is asked for after those its conditions read. The result is in declared order.
        """
        chosen: dict[str, Any] = {}
        for path in self._order:
            if self._is_active(path, chosen):
                chosen[path] = pick(path, self._parameters[path])
        return Params({path: chosen[path] for path in self._parameters if path in chosen})

    def sample(self, rng: np.random.Generator) -> Params:
        """A random configuration that meets the constraints.

        Raises:
            UsageError: none was found in 1,000 tries.
        """
        for _ in range(MAX_TRIES):
            params = self.build(lambda path, distribution: distribution.sample(rng))
            mended = self.mended(params)
            if mended is not None:
                return mended
        raise self.impossible(params)

    def mended(self, params: Params) -> Params | None:
        """`params`, repaired where a broken constraint knows how; None if they break one even then.

        Raises:
            UsageError: a repair gives a value outside its distribution.
        """
        for constraint in self.constraints:
            if constraint.repair is not None and not constraint.holds(params):
                try:
                    params = self.complete({**params, **constraint.repair(params)})
                except UsageError as error:
                    raise UsageError(f"the repair of {constraint.name}: {error}") from None
        return params if self.broken(params) is None else None

    def broken(self, params: Params) -> Constraint | None:
        """The first constraint that `params` do not meet."""
        return next((constraint for constraint in self.constraints if not constraint.holds(params)), None)

    def impossible(self, params: Params) -> UsageError:
        """The error for constraints that no configuration seems to meet; `params` is the last one tried."""
        broken = self.broken(params)
        name = broken.name if broken else "the constraints together"
        return UsageError(f"no configuration met {name} in {MAX_TRIES} tries; the last was {dict(params)!r}")

    def active(self, params: Mapping[str, Any]) -> tuple[str, ...]:
        """The active paths under `params`, which may hold inactive ones too, in declared order."""
        known: dict[str, Any] = {}
        for path in self._order:
            if self._is_active(path, known) and (value := self._value(path, params)) is not _MISSING:
                known[path] = value
        return tuple(path for path in self._parameters if path in known)

    def complete(self, params: Mapping[str, Any]) -> Params:
        """`params` with constants and defaults where they are missing, without inactive parameters.

        Names may be given by their last segment.

        Raises:
            UnknownParameter: a name that the space does not have.
            UsageError: a value outside its distribution.
        """
        given = {resolve_path(name, self._parameters): value for name, value in params.items()}

        def pick(path: str, distribution: Distribution[Any]) -> object:
            return self._checked(path, given[path]) if path in given else distribution.default()

        return self.build(pick)

    def validate(self, params: Mapping[str, Any]) -> Params:
        """`params` as a configuration of this space, complete as they are.

        Raises:
            UnknownParameter: a name that the space does not have.
            UsageError: a value outside its distribution, an active parameter that is missing, an inactive one that
                is there, or a constraint that does not hold.
        """
        given = {resolve_path(name, self._parameters): value for name, value in params.items()}

        def pick(path: str, distribution: Distribution[Any]) -> object:
            if path not in given:
                raise UsageError(f"the parameter {path!r} is missing")
            return self._checked(path, given[path])

        built = self.build(pick)
        for path in sorted(given.keys() - dict(built).keys()):
            why = " and ".join(f"{c.parameter} is one of {list(c.values)!r}" for c in self._conditions[path])
            raise UsageError(f"the parameter {path!r} is not active here: it is only where {why}")
        broken = self.broken(built)
        if broken is not None:
            raise UsageError(f"{dict(built)!r} does not meet {broken.name}")
        return built

    def adapt(self, params: Mapping[str, Any]) -> Adapted:
        """A configuration of a slightly different space, fitted into this one: for warm starts.

        Raises:
            UsageError: a value outside its distribution: the result would be credited to another configuration.
        """
        known = {path: value for path, value in params.items() if path in self._parameters}
        fitted = self.complete(known)
        fitting = dict(fitted)
        dropped = tuple(path for path in params if path not in fitting)
        filled = tuple(path for path in fitted if path not in known and path in self.tunable)
        return Adapted(fitted, dropped, filled)

    def to_json(self) -> dict[str, Any]:
        """The space as JSON values.

        Raises:
            UsageError: a constraint is a function of the user's, or a value is none that JSON knows.
        """
        return {
            "parameters": {path: _distribution_to_json(path, known) for path, known in self.items()},
            "constraints": [constraint.to_json() for constraint in self.constraints],
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> SearchSpace:
        """The space that `to_json` wrote.

        Raises:
            UsageError: an unknown kind of distribution, bounds that make no sense, or something else altogether.
        """
        if not isinstance(data.get("parameters"), Mapping) or not isinstance(data.get("constraints", []), list):
            raise UsageError(
                f"expected what SearchSpace.to_json() gave, with parameters and constraints; found {data!r:.200}"
            )
        parameters = {path: _distribution_from_json(path, fields) for path, fields in data["parameters"].items()}
        return cls(parameters, [Constraint.from_json(constraint) for constraint in data.get("constraints", [])])

    def _checked(self, path: str, value: object) -> object:
        try:
            return self._parameters[path].check(value)
        except UsageError as error:
            raise UsageError(f"the parameter {path!r}: {error}") from None

    def _value(self, path: str, params: Mapping[str, Any]) -> Any:
        distribution = self._parameters[path]
        return distribution.value if isinstance(distribution, Constant) else params.get(path, _MISSING)

    def _is_active(self, path: str, chosen: Mapping[str, Any]) -> bool:
        return all(c.parameter in chosen and c.holds(chosen[c.parameter]) for c in self._conditions[path])

    def _find_conditions(self, path: str) -> tuple[Condition, ...]:
        explicit = self._parameters[path].conditions
        if not explicit:
            return implicit_conditions(path, self._parameters)
        resolved = []
        for condition in explicit:
            try:
                parent = resolve_path(condition.parameter, self._parameters)
            except UnknownParameter as error:
                raise UsageError(f"{path!r} is conditional: {error}") from None
            for value in condition.values:
                try:
                    self._parameters[parent].check(value)
                except UsageError as error:
                    raise UsageError(f"{path!r} is active only when {parent!r} is {value!r}, but {error}") from None
            resolved.append(condition.model_copy(update={"parameter": parent}))
        return tuple(resolved)

    def _sorted_by_conditions(self) -> tuple[str, ...]:
        """Parents before children, otherwise in declared order."""
        graph = {path: [c.parameter for c in self._conditions[path]] for path in self._parameters}
        sorter = TopologicalSorter(graph)
        try:
            sorter.prepare()
        except CycleError as error:
            raise UsageError(f"the conditions go in a circle: {' -> '.join(error.args[1])}") from None
        order: dict[str, None] = {}

        def visit(path: str) -> None:
            if path not in order:
                for parent in graph[path]:
                    visit(parent)
                order[path] = None

        for path in self._parameters:
            visit(path)
        return tuple(order)


_MISSING = object()

_KINDS: dict[str, type[Distribution[Any]]] = {
    kind.__name__: kind
    for kind in (
        distributions.Choice,
        distributions.Constant,
        distributions.IntLogUniform,
        distributions.Integer,
        distributions.LogUniform,
        distributions.LogitNormal,
        distributions.PowerOfTwo,
        distributions.Uniform,
    )
}


def _distribution(path: object, value: object) -> Distribution[Any]:
    if not isinstance(path, str) or not path or "" in path.split("."):
        raise UsageError(f"a parameter's name is a dot path such as 'trainer.learning_rate'; found {path!r}")
    if isinstance(value, Mapping) and any(isinstance(inner, Distribution) for inner in value.values()):
        inner = next(iter(value))
        raise UsageError(f"a search space is flat: write {f'{path}.{inner}'!r} instead of a mapping under {path!r}")
    if isinstance(value, type) and issubclass(value, Distribution):
        raise UsageError(f"{path!r}: {value.__name__} needs its arguments, as in {value.__name__}(...)")
    return value if isinstance(value, Distribution) else Constant(value)


def _perhaps_meant(value: object) -> str | None:
    """What the user may have meant by a fixed value that looks like a range or like choices; None for any other."""
    if not isinstance(value, list | tuple) or not value:
        return None
    if all(isinstance(item, str) for item in value):
        return f"Choice({list(value)!r:.60})"
    if not all(isinstance(item, int | float) and not isinstance(item, bool) for item in value):
        return None
    choices = f"Choice({list(value)!r:.60})"
    if len(value) != 2 or not value[0] < value[1]:
        return choices
    kind = "Integer" if all(isinstance(item, int) for item in value) else "Uniform"
    return f"{kind}({value[0]!r}, {value[1]!r}) or {choices}"


def _type_name(distribution: Distribution[Any]) -> str:
    """The name of the plain class: that of `Choice[str]` is "Choice"."""
    return next(name for cls in type(distribution).__mro__ if (name := cls.__name__) in _KINDS)


def _distribution_to_json(path: str, distribution: Distribution[Any]) -> dict[str, Any]:
    try:
        fields = distribution.model_dump(mode="json")
    except ValueError as error:
        raise UsageError(f"{path!r}: {distribution!r} has a value that JSON does not know: {error}") from None
    # JSON has no infinities: they would come back as None.
    for name, value in fields.items():
        if not same_value(value, distribution.model_dump()[name]):
            raise UsageError(f"{path!r}: {distribution!r} has a value that JSON does not know")
    return {"type": _type_name(distribution), **fields}


def _distribution_from_json(path: str, fields: Mapping[str, Any]) -> Distribution[Any]:
    arguments = dict(fields)
    name = arguments.pop("type", None)
    if name not in _KINDS:
        near = get_close_matches(str(name), list(_KINDS), n=1)
        hint = f"did you mean {near[0]}?" if near else f"there is {', '.join(_KINDS)}"
        raise UsageError(f"unknown distribution {name!r}: {hint}")
    try:
        return _KINDS[name].model_validate(arguments)
    except TypeError as error:
        raise UsageError(f"{path!r} as {name}: {error}") from None
