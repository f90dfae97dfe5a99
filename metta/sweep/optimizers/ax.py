"""Bayesian optimization by Ax (https://ax.dev) behind our protocol, through its public `Client`."""

from __future__ import annotations

import logging
import math
import sys
import threading
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from difflib import get_close_matches
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from metta.sweep.errors import MissingExtraError, UsageError
from metta.sweep.goal import Direction, Goal, Objectives
from metta.sweep.optimizers.ax_space import AxSpace
from metta.sweep.optimizers.replaying import MAX_REJECTED, ReplayingOptimizer
from metta.sweep.space import Choice, Distribution, Integer, SearchSpace
from metta.sweep.trial import Params

if TYPE_CHECKING:
    from ax.api.client import Client
    from ax.api.types import TParameterization
    from botorch.acquisition.acquisition import AcquisitionFunction

DEFAULT_INITIALIZATION = 5
"""What Ax takes for `initialization_budget=None`."""


_NO_OBJECTIVES = "objective_thresholds are for several objectives: give their names in objectives=[...]"


class _Acquisition(NamedTuple):
    """BoTorch's class for one objective and for several; None where there is none."""

    single: str
    several: str | None


_ACQUISITIONS = {
    "EI": _Acquisition("qLogExpectedImprovement", "qLogExpectedHypervolumeImprovement"),
    "NEI": _Acquisition("qLogNoisyExpectedImprovement", "qLogNoisyExpectedHypervolumeImprovement"),
    "PI": _Acquisition("qProbabilityOfImprovement", None),
    "UCB": _Acquisition("qUpperConfidenceBound", None),
}


class _Opened(NamedTuple):
    """The client, and the space it searches."""

    client: Client
    space: AxSpace


class AxOptimizer(ReplayingOptimizer):
    """Suggests what Ax suggests: with the same seed and results, the bare `Client`'s own stream.

    The first suggestions are the center of the space and points of a Sobol sequence, then a Gaussian process proposes.
    Conditional parameters are Ax's dependent parameters where it has such conditions, and masked otherwise. Pending
    trials are running ones of the experiment. A trial that failed, or ended below the resource whose results are shown,
    is an abandoned one, which Ax does not suggest again (a failed one of Ax's may be, which is for failures that a
    retry mends; ours have had their retries). A space of a few configurations ends when each was suggested.

    Args:
        search_space, seed, goal: see `Optimizer`.
        acquisition: "EI", "NEI" (with noise), "PI" or "UCB"; None for Ax's own choice. With several objectives EI and
            NEI are those of the hypervolume.
        objectives: names of the metrics, where `goal` is one direction for all or comes from the experiment.
        objective_thresholds: metric -> the worst value that is of interest, with several objectives.
        saasbo: use the sparse axis-aligned subspace model, for many dimensions and few trials; slow (Eriksson and
            Jankowiak, 2021).
        initialization_budget: trials before the model proposes, at least 2; None for Ax's default, 5.
        initial_params: configurations to suggest first; what they leave out gets its default.

    Raises:
        UsageError: no such acquisition, or arguments that do not fit each other.
        MissingExtraError: Ax is not installed, or what `saasbo` needs.
    """

    goal: Goal | None

    def __init__(
        self,
        search_space: SearchSpace | Mapping[str, object] | None = None,
        *,
        seed: int | None = None,
        goal: Goal | None = None,
        acquisition: str | None = None,
        objectives: Sequence[str] = (),
        objective_thresholds: Mapping[str, float] | None = None,
        saasbo: bool = False,
        initialization_budget: int | None = None,
        initial_params: Sequence[Mapping[str, Any]] = (),
    ) -> None:
        super().__init__(search_space, seed=seed, goal=goal, initial_params=initial_params)
        self.acquisition: str | None = None if acquisition is None else _acquisition_name(acquisition)
        self.objective_names: tuple[str, ...] = _checked_names(objectives)
        self.objective_thresholds: dict[str, float] = _checked_thresholds(objective_thresholds or {})
        self.saasbo = saasbo
        self.initialization_budget: int | None = _checked_budget(initialization_budget)
        if self.objective_names and goal is not None:
            self.goal = _goal_for(self.objective_names, goal)
        if self.goal is not None:
            self._check_objectives(Objectives.of(self.goal))
        else:
            _check_thresholds(self.objective_thresholds, self.objective_names)
        _require_installed(saasbo)
        self._assumed: Objectives | None = None
        """The objectives while nobody has given a direction; a run may."""
        self._opened: _Opened | None = None
        self._told: set[int] = set()
        """Numbers of the trials that are over for Ax."""
        self._arms: set[frozenset[tuple[str, Any]]] = set()
        """The configurations that Ax knows, in its terms."""

    def tunables(self) -> Mapping[str, Distribution[Any]]:
        """The acquisition functions that take as many objectives, and how many trials come before the model."""
        count = len(self.objective_names) if self.goal is None else len(Objectives.of(self.goal).keys)
        is_single = count <= 1
        fitting = [name for name, known in _ACQUISITIONS.items() if is_single or known.several is not None]
        return {"acquisition": Choice(fitting), "initialization_budget": Integer(2, 20)}

    def bind(
        self,
        *,
        search_space: SearchSpace | Mapping[str, object] | None = None,
        goal: Goal | None = None,
        seed: int | None = None,
    ) -> None:
        if self.objective_names and self.goal is None and goal is not None:
            self.goal = _goal_for(self.objective_names, goal)
            if isinstance(goal, Mapping) and set(goal) == set(self.objective_names):
                goal = None  # said; the order may differ
        super().bind(search_space=search_space, goal=goal, seed=seed)
        if self.goal is not None:
            self._check_objectives(self.objectives)

    @property
    def objectives(self) -> Objectives:
        """The goal as objectives; "maximize" where no direction was given."""
        if self.goal is not None or not self.objective_names:
            return super().objectives
        if self._assumed is None:
            self._assumed = Objectives.of(_goal_for(self.objective_names, {}))
        return self._assumed

    # Asking and telling

    def _ask(self, n: int) -> list[int]:
        client, ax_space = self._open()
        space = self.require_space()
        numbers: list[int] = []
        rejected = 0
        while len(numbers) < n:
            chosen = self._next_initial()
            if chosen is None and rejected >= MAX_REJECTED:
                chosen, rejected = self._random_params(), 0
            if chosen is not None:
                number = self._attach(chosen)
                self._enter(number, chosen)
                numbers.append(number)
                continue
            if len(self._arms) >= ax_space.size:
                break  # Ax would find out as well, in minutes of sampling
            asked = _next_trials(client, n - len(numbers))
            if not asked:
                break
            for number, values in asked.items():
                self._arms.add(frozenset(values.items()))
                params = ax_space.decode(values)
                is_broken = space.broken(params) is not None
                self._enter(number, params, rejected=is_broken)
                if is_broken:
                    self._tell(number)
                    rejected += 1
                else:
                    numbers.append(number)
        return numbers

    def _tell(self, number: int) -> None:
        outcome = self._outcome(number)
        if number in self._told or not outcome.is_over:
            return
        client = self._open().client
        if outcome.values is None:
            client.mark_trial_abandoned(number)
        else:
            client.complete_trial(number, dict(zip(self._metrics(), outcome.values, strict=True)))
        self._told.add(number)

    def _adopt(self, number: int) -> None:
        self._attach(self._records[number].params)

    def _attach(self, params: Params) -> int:
        """Add a trial to the experiment; its number."""
        client, space = self._open()
        encoded = space.encode(params)
        self._arms.add(frozenset(encoded.items()))
        return client.attach_trial(encoded)

    def _rebuild(self) -> None:
        """A client with the same trials, but with the results at the resource that is shown."""
        outcomes = [self._outcome(number) for number in self._records]
        known = sum(outcome.values is not None for outcome in outcomes)
        usable = known + sum(not outcome.is_over for outcome in outcomes)
        budget = self.initialization_budget or DEFAULT_INITIALIZATION
        is_initialized = usable >= budget and known >= max(1, budget // 2)
        # Ax's own condition. A new client would begin with a Sobol point first.
        self._opened = self._create(0 if is_initialized else self.initialization_budget)
        self._told, self._arms = set(), set()
        for number in sorted(self._records):
            self._adopt(number)
            self._tell(number)

    @contextmanager
    def _quiet(self) -> Iterator[None]:
        """Ax tells of every trial at INFO, and its libraries warn of what is theirs to handle."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            _import_quietly()
            logger = logging.getLogger("ax")
            handlers, propagate = logger.handlers, logger.propagate
            logger.handlers, logger.propagate = [logging.NullHandler()], False
            try:
                yield
            finally:
                logger.handlers, logger.propagate = handlers, propagate

    # The client

    def _open(self) -> _Opened:
        if self._opened is None:
            self._opened = self._create(self.initialization_budget)
        return self._opened

    def _create(self, initialization_budget: int | None) -> _Opened:
        from ax.api.client import Client
        from ax.exceptions.core import UserInputError

        space, objectives = AxSpace(self._require_tunable()), self.objectives
        self._check_objectives(objectives)
        client = Client(random_seed=self._drawn_seed())
        metrics = dict(zip(objectives.keys, self._metrics(), strict=True))
        signed = (
            metric if direction == "maximize" else f"-{metric}"
            for metric, direction in zip(metrics.values(), objectives.directions, strict=True)
        )
        thresholds = [
            f"{metrics[key]} {'>=' if direction == 'maximize' else '<='} {self.objective_thresholds[key]!r}"
            for key, direction in zip(objectives.keys, objectives.directions, strict=True)
            if key in self.objective_thresholds
        ]
        try:
            client.configure_experiment(space.configs)
        except UserInputError as error:
            raise UsageError(f"Ax does not take this search space: {error}") from error
        client.configure_optimization(", ".join(signed), thresholds or None)
        self._configure_strategy(client, initialization_budget)
        return _Opened(client, space)

    def _configure_strategy(self, client: Client, initialization_budget: int | None) -> None:
        """Ax's default strategy with our arguments.

        More initial points may be suggested than the budget says: a free slot should not wait for the results of those
        that run, nor the sweep end because the first trials ended below the rung that counts.
        """
        from ax.api.utils.generation_strategy_dispatch import choose_generation_strategy
        from ax.api.utils.structs import GenerationStrategyDispatchStruct

        if self.acquisition is None:
            client.configure_generation_strategy(
                "quality" if self.saasbo else "fast",
                initialization_budget=initialization_budget,
                allow_exceeding_initialization_budget=True,
            )
            return
        # The public method takes no acquisition; this is what it calls.
        settings = GenerationStrategyDispatchStruct(
            method="quality" if self.saasbo else "fast",
            initialization_budget=initialization_budget,
            allow_exceeding_initialization_budget=True,
        )
        acquisition = _acquisition_class(self.acquisition, self.objectives.is_single)
        client.set_generation_strategy(choose_generation_strategy(settings, botorch_acqf_class=acquisition))

    def _metrics(self) -> list[str]:
        """Names for Ax, which reads them in formulas, where those of the user's metrics may mean something else."""
        return [f"objective_{index}" for index in range(len(self.objectives.keys))]

    def _check_objectives(self, objectives: Objectives) -> None:
        """Refuse arguments that do not fit the objectives."""
        _check_thresholds(self.objective_thresholds, objectives.keys)
        if (
            self.acquisition is not None
            and not objectives.is_single
            and _ACQUISITIONS[self.acquisition].several is None
        ):
            several = ", ".join(name for name, known in _ACQUISITIONS.items() if known.several)
            raise UsageError(f"the acquisition {self.acquisition!r} takes one objective: use one of {several}")


_importing: Final = threading.Lock()


def _import_quietly() -> None:
    """Import Ax, which adds its own log handler then, and at once writes to it."""
    with _importing:  # of two threads the second would restore what the first has changed
        if "ax.api.client" in sys.modules:
            return
        disabled = logging.root.manager.disable
        quiet = max(disabled, logging.INFO)
        logging.disable(quiet)
        try:
            import ax.api.client  # noqa: F401
        finally:
            if logging.root.manager.disable == quiet:  # else somebody has said otherwise meanwhile
                logging.disable(disabled)


def _next_trials(client: Client, n: int) -> Mapping[int, TParameterization]:
    """At most `n` new trials of the client; none when the space is exhausted."""
    from ax.exceptions.core import OptimizationComplete

    try:
        return client.get_next_trials(n)
    except OptimizationComplete:
        return _next_trials(client, 1) if n > 1 else {}


def _acquisition_name(name: str) -> str:
    keys = {known.lower(): known for known in _ACQUISITIONS}
    key = str(name).lower()
    if key in keys:
        return keys[key]
    near = get_close_matches(key, list(keys), n=1)
    hint = f"did you mean {keys[near[0]]!r}?" if near else f"there is {', '.join(_ACQUISITIONS)}"
    raise UsageError(f"there is no acquisition {name!r}: {hint}")


def _acquisition_class(name: str, is_single: bool) -> type[AcquisitionFunction]:
    from botorch import acquisition
    from botorch.acquisition.multi_objective import logei

    known = _ACQUISITIONS[name]
    cls: type[AcquisitionFunction] = (
        getattr(acquisition, known.single) if is_single else getattr(logei, str(known.several))
    )
    return cls


def _checked_names(names: Sequence[str]) -> tuple[str, ...]:
    if isinstance(names, str) or len(set(names)) != len(names):
        raise UsageError(f'objectives={names!r}: expected different names, such as ["accuracy", "latency"]')
    return tuple(names)


def _checked_thresholds(thresholds: Mapping[str, float]) -> dict[str, float]:
    for name, value in thresholds.items():
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise UsageError(f"objective_thresholds[{name!r}]={value!r}: expected a finite number")
    return {name: float(value) for name, value in thresholds.items()}


def _check_thresholds(thresholds: Mapping[str, float], objectives: Sequence[str]) -> None:
    """Refuse thresholds that are not of these objectives, or of the only one."""
    if thresholds and len(objectives) < 2:
        raise UsageError(_NO_OBJECTIVES)
    for name in thresholds:
        if name not in objectives:
            near = get_close_matches(name, objectives, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"the objectives are {', '.join(objectives)}"
            raise UsageError(f"objective_thresholds: there is no objective {name!r}: {hint}")


def _checked_budget(budget: int | None) -> int | None:
    # After one trial alone Ax fits its model at once, and fails where the result is not yet there.
    if budget is not None and (isinstance(budget, bool) or not isinstance(budget, int) or budget < 2):
        raise UsageError(f"initialization_budget={budget!r}: expected a whole number, at least 2")
    return budget


def _goal_for(names: tuple[str, ...], goal: Goal) -> dict[str, Direction]:
    """The direction of every objective; one that `goal` leaves out is maximized, and named in a warning."""
    if isinstance(goal, str):
        return dict.fromkeys(names, goal)
    for name in goal:
        if name not in names:
            near = get_close_matches(name, names, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"the objectives are {', '.join(names)}"
            raise UsageError(f"goal: there is no objective {name!r}: {hint}")
    missing = [name for name in names if name not in goal]
    if missing:
        warnings.warn(
            f"no direction was given for {', '.join(map(repr, missing))}: maximized; "
            f'write goal={{{missing[0]!r}: "minimize"}} for the other',
            stacklevel=4,
        )
    return {name: goal.get(name, "maximize") for name in names}


def _require_installed(saasbo: bool) -> None:
    if find_spec("ax") is None:
        raise MissingExtraError("AxOptimizer", "ax")
    if saasbo and (find_spec("numpyro") is None or find_spec("jax") is None):
        raise MissingExtraError("AxOptimizer(saasbo=True)", "saasbo")
