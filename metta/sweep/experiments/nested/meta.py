"""Sweeps over sweeps: what searches the settings of an experiment that searches, at as many levels as one likes.

A level is no implementation of its own: `MetaExperiment` is a `SweepExperiment` whose base is any experiment that says
what may be tuned of it (`Experiment.tunables`). A sweep says the settings of its optimizer and its scheduler, and so
does a meta sweep.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from difflib import get_close_matches
from inspect import Parameter, signature
from typing import TYPE_CHECKING, Any, Final

from metta.sweep.errors import UsageError
from metta.sweep.executors.base import Executor
from metta.sweep.experiments.base import Experiment
from metta.sweep.experiments.budget import Budget
from metta.sweep.experiments.places import DEFAULT, StoreLike
from metta.sweep.experiments.sweep import SweepExperiment
from metta.sweep.optimizers.base import Optimizer
from metta.sweep.schedulers.base import Scheduler

if TYPE_CHECKING:
    from collections.abc import Callable

    from metta.sweep.space import SearchSpace

INNER_BUDGET: Final = 5
"""Trials of an inner run, where nobody says."""


class MetaExperiment(SweepExperiment):
    """Searches the settings of another experiment: of a sweep those of its optimizer and scheduler.

        MetaExperiment(base=SweepExperiment, optimizer=PBTScheduler(), base_experiment=train, search_space=space)

    Each trial runs the base with other settings, and its score is the best score of that. The unit of resource is one
    inner trial; a fork of population based training copies what its donor has observed. All levels share the workers of
    the outermost one.

    Args:
        base: what is tuned: the class of an experiment, made with `arguments`, or an instance, which is a template.
        optimizer: an optimizer, or a scheduler, which then works with the optimizer that suits it: random search where
            the scheduler finds the settings itself (population based training), else Bayesian optimization.
        inner_budget: of each run of the base: its trials, or a `Budget`; None for the base's own `budget`, else 5. What
            the scheduler grants counts instead of the number of trials.
        scheduler: of the trials of this level, where `optimizer` is one.
        meta_search_space: what of the base is searched; None for its `tunables()`.
        name, executor, seed, store, budget: as those of `SweepExperiment`, of this level.
        meta_repeats: runs of the base for each setting, each with a seed of its own.
        arguments: of the class `base`: those of a sweep are its `base_experiment`, `search_space`, `goal`, and so on.

    Raises:
        UsageError: `base` is no experiment, nothing of it may be tuned, or it does not take an argument.
    """

    def __init__(
        self,
        base: Experiment[Any] | type[Experiment[Any]] = SweepExperiment,
        optimizer: Optimizer | Scheduler | None = None,
        *,
        inner_budget: int | Budget | None = None,
        scheduler: Scheduler | None = None,
        meta_search_space: SearchSpace | Mapping[str, object] | None = None,
        name: str = "meta",
        executor: Executor | Callable[[], Executor] | None = None,
        seed: int | None = None,
        store: StoreLike = DEFAULT,
        budget: int | Budget | None = None,
        meta_repeats: int = 1,
        **arguments: Any,
    ) -> None:
        if isinstance(optimizer, Scheduler):
            if scheduler is not None:
                raise UsageError("optimizer= is a scheduler, and scheduler= is given, too: give one of them")
            optimizer, scheduler = None, optimizer
        if optimizer is None and scheduler is not None:
            optimizer = _optimizer_for(scheduler)
        super().__init__(
            _template(base, arguments, inner_budget),
            name=name,
            search_space=meta_search_space,
            optimizer=optimizer,
            scheduler=scheduler,
            executor=executor,
            seed=seed,
            store=store,
            budget=budget,
            repeats=meta_repeats,
        )
        if self.search_space is None and self.optimizer.search_space is None and not self._base.tunables():
            raise UsageError(
                f"nothing of {type(self._base).__name__} may be tuned: its tunables() are empty; "
                "give meta_search_space={path: distribution}"
            )

    @property
    def _base(self) -> Experiment[Any]:
        assert isinstance(self.base_experiment, Experiment)
        return self.base_experiment


class MetaSweepExperiment(MetaExperiment):
    """Level 2: finds the best optimization strategy; see `MetaExperiment`.

    Args:
        base_experiment: the sweep that is tuned, its class or a template.
        meta_optimizer: an optimizer, or a scheduler such as `PBTScheduler()`.
        settings: the other arguments of `MetaExperiment`.
    """

    def __init__(
        self,
        base_experiment: Experiment[Any] | type[Experiment[Any]] = SweepExperiment,
        meta_optimizer: Optimizer | Scheduler | None = None,
        *,
        name: str = "meta-sweep",
        **settings: Any,
    ) -> None:
        super().__init__(base_experiment, meta_optimizer, name=name, **settings)


class MetaMetaExperiment(MetaExperiment):
    """Level 3: finds the best way to find optimization strategies; the same thing once more.

    Args:
        base_experiment: the meta sweep that is tuned, its class or a template.
        meta_meta_optimizer: an optimizer such as `EvolutionaryStrategy()`, or a scheduler.
        settings: the other arguments of `MetaExperiment`.
    """

    def __init__(
        self,
        base_experiment: Experiment[Any] | type[Experiment[Any]] = MetaSweepExperiment,
        meta_meta_optimizer: Optimizer | Scheduler | None = None,
        *,
        name: str = "meta-meta-sweep",
        **settings: Any,
    ) -> None:
        super().__init__(base_experiment, meta_meta_optimizer, name=name, **settings)


def _optimizer_for(scheduler: Scheduler) -> Optimizer | None:
    """Random search where the scheduler finds the settings itself; None for the default of sweeps."""
    from metta.sweep.optimizers.random import RandomOptimizer
    from metta.sweep.schedulers.pbt import PBTScheduler

    return RandomOptimizer() if isinstance(scheduler, PBTScheduler) else None


def _template(
    base: object, arguments: Mapping[str, Any], inner_budget: int | Budget | None
) -> Experiment[Any] | type[Experiment[Any]]:
    """The experiment that each trial runs, before its settings are applied."""
    if isinstance(base, type) and issubclass(base, Experiment):
        _check_arguments(base, arguments)
        made: Experiment[Any] = base(**arguments)
    elif isinstance(base, Experiment):
        if arguments:
            given = ", ".join(f"{name}=" for name in arguments)
            raise UsageError(f"{given} are arguments for the class of the base, but the base is an instance already")
        made = base
    else:
        raise UsageError(f"base={base!r}: expected an experiment such as SweepExperiment, its class or an instance")
    if not isinstance(made, SweepExperiment):
        if inner_budget is not None:
            raise UsageError(f"inner_budget={inner_budget!r}: {type(made).__name__} is no sweep, it has no budget")
        return made
    template = copy.copy(made)
    template.budget = made.budget or INNER_BUDGET if inner_budget is None else inner_budget
    Budget.of(template.budget)
    return template


def _check_arguments(base: type[Experiment[Any]], arguments: Mapping[str, Any]) -> None:
    known = signature(base).parameters
    if any(parameter.kind is Parameter.VAR_KEYWORD for parameter in known.values()):
        return
    own = [name for name in signature(MetaExperiment).parameters if name != "arguments"]
    for name in arguments:
        if name not in known:
            near = get_close_matches(name, [*known, *own], n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"it takes {', '.join(known)}"
            raise UsageError(f"neither MetaExperiment nor {base.__name__} has an argument {name!r}: {hint}")
