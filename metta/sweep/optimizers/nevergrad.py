"""Nevergrad's algorithms (https://facebookresearch.github.io/nevergrad) behind our protocol, by ask and tell."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from metta.sweep.errors import MissingExtraError, UsageError
from metta.sweep.goal import Goal, Losses
from metta.sweep.optimizers.nevergrad_space import NevergradSpace
from metta.sweep.optimizers.replaying import Outcome, ReplayingOptimizer
from metta.sweep.space import Choice, Distribution, SearchSpace

if TYPE_CHECKING:
    import nevergrad as ng
    from nevergrad.optimization import Optimizer as Library

COMMON = ("PSO", "DE", "TwoPointsDE", "CMA", "DiagonalCMA", "OnePlusOne", "DiscreteOnePlusOne", "TBPSA", "RandomSearch")
"""The algorithms that a message names; Nevergrad has some hundreds."""


class _Opened(NamedTuple):
    """Nevergrad's optimizer, and the space it searches."""

    library: Library
    space: NevergradSpace


class NevergradOptimizer(ReplayingOptimizer):
    """Suggests what an algorithm of Nevergrad's suggests: with the same seed and results, the bare library's stream.

    Conditional parameters are masked: the algorithm gets the flat space. Constraints are Nevergrad's cheap ones.
    Several objectives are told as they are. A failure is told as the worst result so far: population methods wait for
    every member. When the results of another resource are shown, the algorithm starts anew with all of them.

    Some algorithms cannot learn from trials that they did not ask for. They ignore those of earlier sweeps, and of each
    of their own they hear the first result. Some have one pending trial at a time; these suggest no more than that.

    Args:
        search_space, seed, goal: see `Optimizer`.
        algorithm: a name of `nevergrad.optimizers.registry`, in any case: "PSO", "DE", "CMA", "OnePlusOne", ...
        budget: how many trials there will be, for the algorithms that plan with it.
        num_workers: how many trials will be pending at once; some algorithms size their population by it.
        initial_params: configurations to suggest first; what they leave out gets its default.

    Raises:
        UsageError: no such algorithm, or one that has one pending trial at a time and is given more workers.
        MissingExtraError: Nevergrad is not installed.
    """

    def __init__(
        self,
        search_space: SearchSpace | Mapping[str, object] | None = None,
        algorithm: str = "TwoPointsDE",
        *,
        seed: int | None = None,
        goal: Goal | None = None,
        budget: int | None = None,
        num_workers: int = 1,
        initial_params: Sequence[Mapping[str, Any]] = (),
    ) -> None:
        super().__init__(search_space, seed=seed, goal=goal, initial_params=initial_params)
        for name, value in (("budget", 1 if budget is None else budget), ("num_workers", num_workers)):
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise UsageError(f"{name}={value!r}: expected a whole number, at least 1")
        self.algorithm: str = _algorithm_name(algorithm)
        if num_workers > 1 and _has_one_pending(self.algorithm):
            raise UsageError(f"the algorithm {self.algorithm!r} has one pending trial at a time: num_workers must be 1")
        self.budget = budget
        self.num_workers = num_workers
        self._opened: _Opened | None = None
        self._candidates: dict[int, ng.p.Parameter] = {}
        """Nevergrad's candidates that were not told yet, by number."""
        self._worst: Losses | None = None
        """The worst losses so far, one per objective."""
        self._failed: list[int] = []
        """Failures from before the first result."""
        self._hears_first = False
        """The algorithm refused a trial that it did not ask for."""

    def tunables(self) -> Mapping[str, Distribution[Any]]:
        return {"algorithm": Choice(COMMON)}

    def copy(self) -> Self:
        if self._opened is None or not getattr(self._opened.library, "recast", False):
            return super().copy()
        # It runs in a thread, which cannot be copied.
        held, self._opened = (self._opened, self._candidates), None
        self._candidates = {}
        try:
            twin = super().copy()
        finally:
            self._opened, self._candidates = held
        twin._forget()
        twin.load_state_dict(self.state_dict())
        return twin

    # Asking and telling

    def _ask(self, n: int) -> list[int]:
        library, space = self._open()
        numbers: list[int] = []
        for _ in range(n):
            if self._is_sequential() and self._candidates:
                break
            chosen = self._next_initial()
            if chosen is None:
                candidate = self._asked(library)
                params = space.decode(candidate.value)
                if self.require_space().broken(params) is not None:
                    chosen = self._random_params()  # Nevergrad gave up
            if chosen is not None:
                params = chosen
                library.suggest(space.encode(chosen))
                candidate = library.ask()
            number = len(self._records)
            self._candidates[number] = candidate
            self._enter(number, params)
            numbers.append(number)
        return numbers

    def _asked(self, library: Library) -> ng.p.Parameter:
        try:
            return library.ask()
        except ImportError as missing:  # for spaces of some kinds an algorithm wants a library of its own
            # Nevergrad notes that wish in a configuration which all optimizers of the process share.
            config: Any = getattr(getattr(library, "optim", library), "_config", None)
            if getattr(config, "fcmaes", False):
                config.fcmaes = False
            raise UsageError(
                f"Nevergrad's {self.algorithm!r} cannot search {len(self.require_space())} parameters: {missing}"
            ) from missing

    def _tell(self, number: int) -> None:
        outcome = self._outcome(number)
        if number not in self._candidates or not outcome.is_over:
            return
        if outcome.values is None:
            if self._worst is None:
                self._failed.append(number)
            else:
                self._tell_losses(number, self._worst)
            return
        losses = self.objectives.losses(dict(zip(self.objectives.keys, outcome.values, strict=True)))
        self._worst = losses if self._worst is None else tuple(map(max, losses, self._worst))
        self._tell_losses(number, losses)
        for earlier in self._failed:
            self._tell_losses(earlier, self._worst)
        self._failed.clear()

    def _tell_losses(self, number: int, losses: Losses) -> None:
        import nevergrad as ng

        library = self._open().library
        candidate = self._candidates.pop(number)
        try:
            library.tell(candidate, losses[0] if len(losses) == 1 else list(losses))
        except ng.errors.TellNotAskedNotSupportedError:
            self._hears_first = True

    def _outcome(self, number: int) -> Outcome:
        record = self._records[number]
        if record.results and (self._hears_first or self._is_sequential()):
            return Outcome(next(iter(record.results.values())), True)
        return super()._outcome(number)

    def _adopt(self, number: int) -> None:
        library, space = self._open()
        encoded = space.encode(self._records[number].params)
        self._candidates[number] = library.parametrization.spawn_child(new_value=encoded)

    def _rebuild(self) -> None:
        if self._hears_first or self._is_sequential():
            for number in self._changed:
                self._tell(number)
        else:
            self._restart()

    def _restart(self) -> None:
        # Another seed, or it would suggest its first trials again.
        self._opened = self._create(self._drawn_seed() + len(self._records))
        self._candidates, self._worst, self._failed = {}, None, []
        for number in sorted(self._records):
            self._adopt(number)
            self._tell(number)

    @contextmanager
    def _quiet(self) -> Iterator[None]:
        """Nevergrad and what it calls warn of what is theirs to handle."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield

    # Nevergrad's optimizer

    def _open(self) -> _Opened:
        if self._opened is None:
            self._opened = self._create(self._drawn_seed())
        return self._opened

    def _create(self, seed: int) -> _Opened:
        space = NevergradSpace(self._require_tunable())
        parametrization = space.parametrization()
        parametrization.random_state.seed(seed % 2**32)
        library = self._make(parametrization)
        if not self.objectives.is_single:
            library.num_objectives = len(self.objectives.keys)
        return _Opened(library, space)

    def _make(self, parametrization: ng.p.Dict) -> Library:
        """Nevergrad's optimizer on a parametrization that is seeded."""
        import nevergrad as ng

        return ng.optimizers.registry[self.algorithm](parametrization, self.budget, self.num_workers)

    def _is_sequential(self) -> bool:
        """Does the algorithm have one pending trial at a time?"""
        return bool(getattr(self._open().library, "no_parallelization", False))


def _algorithm_name(name: str) -> str:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import nevergrad as ng
    except ImportError:
        raise MissingExtraError("NevergradOptimizer", "nevergrad") from None

    known = list(ng.optimizers.registry)
    if name in known:
        return name
    keys = {each.lower(): each for each in known}
    key = str(name).lower().replace("-", "").replace("_", "")
    if key in keys:
        return keys[key]
    common = [each.lower() for each in COMMON]
    near = get_close_matches(key, common, n=1) or get_close_matches(key, list(keys), n=1)
    hint = f"did you mean {keys[near[0]]!r}?" if near else f"there is {', '.join(COMMON)} and more"
    raise UsageError(f"there is no algorithm {name!r}: {hint} (all: sorted(nevergrad.optimizers.registry))")


def _has_one_pending(algorithm: str) -> bool:
    import nevergrad as ng

    return bool(getattr(ng.optimizers.registry[algorithm], "no_parallelization", False))
