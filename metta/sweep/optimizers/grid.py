"""Grid search."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import chain, islice
from typing import Any

from metta.sweep.errors import UsageError
from metta.sweep.goal import Goal
from metta.sweep.optimizers.base import Optimizer, Restored
from metta.sweep.space import Choice, Constant, Distribution, Integer, PowerOfTwo, SearchSpace
from metta.sweep.trial import Params, Trial, resolve_path

DEFAULT_RESOLUTION = 5

MAX_REJECTED = 100_000
"""How many configurations in a row may break a constraint before the search is given up."""

Point = dict[str, int]
"""A configuration of the grid: active path -> the place of its value on the parameter's axis, parents first."""


class GridOptimizer(Optimizer):
    """Tries every configuration of a grid once, then has nothing more to suggest.

    The parameters are nested loops in declared order, the last one innermost, so that it changes fastest, as in
    `itertools.product` and scikit-learn's `ParameterGrid`. A conditional parameter is a loop inside those of the
    parameters its conditions read, and only where it is active: no configuration comes twice. Configurations
    that break a constraint are left out.

    An axis has these values, in ascending or declared order: of a `Choice`, an `Integer` and a `PowerOfTwo` all;
    of a continuous parameter `resolution` values from bound to bound, equally far apart in its unit interval.

    Args:
        search_space, goal: see `Optimizer`.
        resolution: how many values a continuous parameter gets, or a mapping name -> how many; who is not in
            the mapping gets 5. A mapping may thin out an `Integer` or a `PowerOfTwo` too. A parameter
            with resolution 1 stays at its default.
        seed: not used; accepted so that optimizers can be swapped.
        initial_params: configurations to suggest first, each once; what they leave out gets its default. The grid
            then leaves them out.

    Raises:
        UsageError: a resolution is not a whole number of at least 1, or is given for a parameter without one.
        UnknownParameter: a resolution is given for a parameter that the space does not have.
    """

    def __init__(
        self,
        search_space: SearchSpace | Mapping[str, object] | None = None,
        resolution: int | Mapping[str, int] = DEFAULT_RESOLUTION,
        *,
        seed: int | None = None,
        goal: Goal | None = None,
        initial_params: Sequence[Mapping[str, Any]] = (),
    ) -> None:
        super().__init__(search_space, seed=seed, goal=goal)
        given = resolution.items() if isinstance(resolution, Mapping) else [("", resolution)]
        for name, count in given:
            if isinstance(count, bool) or not isinstance(count, int) or count < 1:
                where = f" of {name!r}" if name else ""
                raise UsageError(f"the resolution{where} is {count!r}: expected a whole number, at least 1")
        self.resolution: int | dict[str, int] = dict(resolution) if isinstance(resolution, Mapping) else resolution
        self.initial_params: tuple[Mapping[str, Any], ...] = tuple(initial_params)
        self._suggested = 0
        self._last: Point | None = None
        """The configuration of the grid that was visited last."""
        if self.search_space is not None:
            self._axes(self.search_space)

    def tunables(self) -> Mapping[str, Distribution[Any]]:
        """The resolution, where one number is meant for all parameters."""
        return {"resolution": Integer(2, 10)} if isinstance(self.resolution, int) else {}

    def bind(
        self,
        *,
        search_space: SearchSpace | Mapping[str, object] | None = None,
        goal: Goal | None = None,
        seed: int | None = None,
    ) -> None:
        super().bind(search_space=search_space, goal=goal, seed=seed)
        if self.search_space is not None:
            self._axes(self.search_space)

    def suggest(self, n: int) -> list[Trial]:
        space = self.require_space()
        initial = self._initial(space)
        new = chain(initial[self._suggested :], self._rest(space, initial))
        trials = []
        for params in islice(new, n):
            trials.append(Trial(params, tag=self._suggested))
            self._suggested += 1
        if not self._suggested:
            raise UsageError("no configuration of the grid meets the constraints: raise the resolution")
        return trials

    def observe(self, trial: Trial, result: Any) -> None:
        """Nothing to learn."""

    def state_dict(self) -> dict[str, Any]:
        return {"suggested": self._suggested, "last": self._last}

    def load_state_dict(self, state: Mapping[str, Any]) -> Restored:
        self._suggested = state["suggested"]
        self._last = None if state["last"] is None else dict(state["last"])
        return Restored.STATE

    def _initial(self, space: SearchSpace) -> list[Params]:
        different: list[Params] = []
        for given in self.initial_params:
            params = space.complete(given)
            if not any(_same(space, params, earlier) for earlier in different):
                different.append(params)
        return different

    def _rest(self, space: SearchSpace, initial: Sequence[Params]) -> Iterator[Params]:
        """The configurations still to be suggested: they meet the constraints and are not among the first ones."""
        rejected = 0
        for params in self._unvisited(space):
            if space.broken(params) is None:
                rejected = 0
                if not any(_same(space, params, earlier) for earlier in initial):
                    yield params
            elif (rejected := rejected + 1) == MAX_REJECTED:
                raise UsageError(
                    f"{MAX_REJECTED} configurations of the grid in a row break a constraint; the last was "
                    f"{dict(params)!r}: declare the parameters of the constraints last, or lower the resolution"
                )

    def _unvisited(self, space: SearchSpace) -> Iterator[Params]:
        """The rest of the grid. A configuration counts as visited when it is given out."""
        axes = self._axes(space)
        while (point := {} if self._last is None else _advanced(self._last, axes)) is not None:
            params, self._last = _at(point, space, axes)
            yield params

    def _axes(self, space: SearchSpace) -> dict[str, Sequence[Any]]:
        """Searched path -> its values."""
        resolution = self.resolution
        if isinstance(resolution, int):
            chosen, default = dict[str, int](), resolution
        else:
            chosen = {resolve_path(name, space): count for name, count in resolution.items()}
            default = DEFAULT_RESOLUTION
        for path in chosen:
            if isinstance(space[path], Choice | Constant):
                raise UsageError(f"{path!r} is {space[path]!r}: it takes no resolution, all of its values are tried")
        return {path: _axis(space[path], chosen.get(path), default) for path in space.tunable}


def _axis(distribution: Distribution[Any], chosen: int | None, default: int) -> Sequence[Any]:
    match distribution:
        case Choice():
            return distribution.values
        case Integer() if chosen is None:
            return range(distribution.lo, distribution.hi + 1)
        case PowerOfTwo() if chosen is None:
            lo, hi = distribution.exponents
            return tuple(1 << exponent for exponent in range(lo, hi + 1))
    count = chosen or default
    if count == 1:
        return (distribution.default(),)
    # Neighbours may fall on the same whole number.
    return tuple(dict.fromkeys(distribution.from_unit(index / (count - 1)) for index in range(count)))


def _at(point: Point, space: SearchSpace, axes: Mapping[str, Sequence[Any]]) -> tuple[Params, Point]:
    """The configuration where the loops in `point` stand and those inside of them begin, and where all stand then."""
    places: Point = {}

    def pick(path: str, distribution: Distribution[Any]) -> Any:
        if path not in axes:
            return distribution.default()
        places[path] = point.get(path, 0)
        return axes[path][places[path]]

    return space.build(pick), places


def _advanced(point: Point, axes: Mapping[str, Sequence[Any]]) -> Point | None:
    """The loops that have not ended, the innermost of them moved on by one; None where all have ended."""
    paths = list(point)
    while paths:
        path = paths.pop()
        if point[path] + 1 < len(axes[path]):
            return {outer: point[outer] for outer in paths} | {path: point[path] + 1}
    return None


def _same(space: SearchSpace, first: Params, second: Params) -> bool:
    """Equal up to rounding."""
    a, b = dict(first), dict(second)
    return a.keys() == b.keys() and all(abs(space[p].to_unit(a[p]) - space[p].to_unit(b[p])) < 1e-9 for p in a)
