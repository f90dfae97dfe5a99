"""Strategy: a phase of a search, bound to the experiment whose base it searches."""

from __future__ import annotations

import math
from collections.abc import Callable, Coroutine, Iterable, Mapping
from dataclasses import replace
from functools import partial
from numbers import Real
from types import MethodType
from typing import Any, Final, Generic, ParamSpec, Self, TypeVar, overload

from metta.sweep.contracts import flow
from metta.sweep.contracts.diagnostics import Site, nearest
from metta.sweep.contracts.flow import Setting
from metta.sweep.contracts.signature import Signature, signature_of
from metta.sweep.errors import UsageError
from metta.sweep.experiments.base import Experiment, Pipeline
from metta.sweep.experiments.run import Run
from metta.sweep.experiments.strategies.problem import check_base, check_share, searched
from metta.sweep.experiments.strategies.records import Found
from metta.sweep.pipeline.replay import ORACLE
from metta.sweep.pipeline.reporting import settle
from metta.sweep.pipeline.steps import StageView
from metta.sweep.store import codec

P = ParamSpec("P")
R = TypeVar("R")

codec.register(
    Found,
    "Found",
    lambda found: [found.trials, found.observed, found.best_score, found.best_params],
    lambda tree: Found(*tree),
)

COUNTS: Final = ("n_trials", "n", "population_size", "generations", "n_seeds", "top")
"""Settings that are whole numbers from 1."""


class Strategy(Experiment[R], Generic[P, R]):
    """A phase of a search. An experiment has one for every name in `phases.Phases`.

    Called with settings only it gives a copy that has them; called with what is known (a context, a list of trials, or
    None) it starts and gives its `Run`. As a stage it runs, on the whole context, with the settings of `.stage` and
    `.through` over its own.

    Args:
        name: of the strategy.
        method: the phase, an async method of an experiment: what is known goes first, then the settings.
        settings: those that it was given.
    """

    nests = True

    def __init__(
        self,
        name: str,
        method: MethodType,
        settings: Mapping[str, Any] | None = None,
    ) -> None:
        self.name = name
        self.__name__: str = name  # what an arm of a parallel step is called
        self.settings: Mapping[str, Any] = {} if settings is None else settings
        self._method = method

    def __repr__(self) -> str:
        given = ", ".join(f"{name}={value!r}" for name, value in self.settings.items())
        return f"{type(self._method.__self__).__name__}.{self.name}({given})"

    @overload
    def __call__(self, *args: P.args, **settings: P.kwargs) -> Self: ...
    @overload
    def __call__(self, known: object, /, *args: P.args, **settings: P.kwargs) -> Run[R]: ...
    # mypy does not see that these take whatever stands for P.
    def __call__(self, *known: Any, **settings: Any) -> Any:  # type: ignore[misc]
        """A copy with more settings; with what is known before them, a run.

        Raises:
            ContractError: there is no such setting, or its value has another type.
            UsageError: a value is out of range, or `n` stands beside `n_trials`.
        """
        if known:
            return self.run(*known, **settings)
        settings = self._checked(settings, Site.of_caller())
        check_values(self.name, settings)
        return type(self)(self.name, self._method, {**self.settings, **_unabbreviated(settings)})

    def run(self, known: object = None, /, *args: P.args, **settings: P.kwargs) -> Run[R]:
        """Start the phase: `await` the answer, or read its `value` or attributes.

        Args:
            known: what earlier phases have found: anything that holds trials, see `known.trials_in`.
            settings: over those that the strategy has.
        """
        check_base(self._method.__self__, self.name)
        check_values(self.name, settings)
        return Run.start(self._method(known, **{**self.settings, **settings}), self.name)

    def pipeline(self) -> Pipeline:
        """The phase as its one stage."""
        return Pipeline().stage(self.name, self)

    def with_params(self, params: Mapping[str, Any]) -> Self:
        """A copy with more settings: the last segment of each path names one."""
        return self.__call__(**{path.rpartition(".")[2]: value for path, value in params.items()})  # type: ignore[call-overload, no-any-return]

    def check_params(self, paths: Iterable[str]) -> None:
        """See `Experiment.check_params`."""
        names = [parameter.name for parameter in self._taken().parameters[1:]]
        for path in paths:
            name = path.rpartition(".")[2]
            if name not in names:
                near = nearest(name, names)
                hint = f"it has {', '.join(names) or 'none'}" if near is None else f"did you mean {near!r}?"
                raise UsageError(f"{self.name} has no setting {name!r} (for {path!r}): {hint}")

    def __metta_stage__(self) -> StageView:
        """A call, drawn as one node: its sweep's own graph is that of every sweep."""
        check_base(self._method.__self__, self.name)
        return StageView(None, self._call(), replace(self._taken(), name=f"{type(self).__name__}.run"))

    def _call(self) -> Callable[..., Coroutine[Any, Any, R]]:
        # A partial, because its arguments count in the fingerprint of a stage: where one has changed, so has the run.
        return partial(_searching, self._method, searched(self._method.__self__), **self.settings)

    def _taken(self) -> Signature[Any]:
        signature = signature_of(self._method)
        assert signature is not None
        return signature

    def _checked(self, settings: dict[str, Any], site: Site) -> dict[str, Any]:
        """The settings that the phase takes. The others are an error; while errors are collected it goes on."""
        given = {name: Setting(value) for name, value in settings.items()}
        problems = flow.bind(self.name, self._taken(), given, flow.State(open=True), ORACLE)[1]
        settle([(None, problem) for problem in problems], site, self.name)
        wrong = {problem.argument for problem in problems}
        return {name: value for name, value in settings.items() if name not in wrong}


async def _searching(
    method: Callable[..., Coroutine[Any, Any, R]], searched: str, known: object = None, /, **settings: Any
) -> R:
    """A phase as a stage. What is searched is there to be part of the stage: a method counts by its code only."""
    return await method(known, **settings)


def _unabbreviated(settings: Mapping[str, Any]) -> dict[str, Any]:
    given = {name: value for name, value in settings.items() if name != "n" or value is not None}
    return {"n_trials" if name == "n" else name: value for name, value in given.items()}


def check_values(strategy: str, settings: Mapping[str, Any]) -> None:
    """Whether settings are in their ranges; their types have been checked before.

    Raises:
        UsageError: one is not.
    """
    if settings.get("n") is not None and settings.get("n_trials") is not None:
        raise UsageError(f"{strategy}(n=..., n_trials=...): n is another name for n_trials, give one of them")
    for name, value in settings.items():
        if value is None:
            continue
        if name in COUNTS and not (isinstance(value, int) and not isinstance(value, bool) and value >= 1):
            raise UsageError(f"{strategy}({name}={value!r}): expected a whole number, at least 1")
        if name == "resources_per_trial":
            check_share(strategy, value)
        if name == "max_time_per_trial" and not (isinstance(value, Real) and 0 < float(value) < math.inf):
            raise UsageError(f"{strategy}({name}={value!r}): expected seconds, above 0")
