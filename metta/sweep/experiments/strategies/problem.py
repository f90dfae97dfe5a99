"""What a strategy searches: the base experiment of the experiment that it belongs to, and its space."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Callable
from dataclasses import dataclass
from numbers import Real
from typing import TYPE_CHECKING, Any

from metta.sweep.errors import UsageError
from metta.sweep.experiments.arguments import checked_base, checked_seed, goal_of
from metta.sweep.experiments.base import Experiment
from metta.sweep.goal import Direction, Objectives

if TYPE_CHECKING:
    from metta.sweep.executors.base import Executor
    from metta.sweep.executors.objective import Objective
    from metta.sweep.space import SearchSpace


@dataclass(frozen=True)
class Problem:
    """What is searched, as an experiment's attributes say it.

    Attributes:
        base: `base_experiment`.
        space: `search_space`, else what the base experiment says that may be tuned.
        metric_key: of the same name; "score" where there is none.
        direction: `goal`, else that of the base experiment, else "maximize".
        seed: of the same name; None where there is none, to draw one.
        executor: of the same name; None for the sweep's default.
        full: units of resource (epochs, say) of a full training: `max_resource` of the experiment, else `max_resource`
            or `max_epochs` of the base experiment; None where nobody says.
    """

    base: Experiment[Any] | Objective
    space: SearchSpace
    metric_key: str
    direction: Direction
    seed: int | None
    executor: Executor | Callable[[], Executor] | None
    full: int | None

    @classmethod
    def of(cls, owner: object, strategy: str) -> Problem:
        """What the strategy of an experiment searches.

        Raises:
            UsageError: there is no base experiment, nothing to tune, or more than one objective.
        """
        check_base(owner, strategy)
        base = _base(owner)
        space, objectives = _space(owner, base), _objectives(owner, base)
        kind = type(owner).__name__
        if space is None:
            raise UsageError(f"{kind}.{strategy}: nothing says what may be tuned; set {kind}.search_space = {{...}}")
        if not objectives.is_single:
            raise UsageError(f"{kind}.{strategy}: strategies search for one objective, found {list(objectives.keys)}")
        return cls(
            base,
            space,
            objectives.keys[0],
            objectives.directions[0],
            checked_seed(getattr(owner, "seed", None)),
            getattr(owner, "executor", None),
            _full_resource(owner, base),
        )

    def seed_for(self, strategy: str, known: int, seed: int | None) -> int | None:
        """The seed of one phase: that of its settings, else one that follows from the experiment's.

        Parallel arms of one strategy know the same, so they draw the same configurations unless each has a `seed`.

        Args:
            strategy: its name.
            known: how many trials it knows: a second phase of the same strategy draws other configurations.
            seed: the setting.
        """
        if seed is not None or self.seed is None:
            return checked_seed(seed)
        return random.Random(f"{self.seed}/{strategy}/{known}").getrandbits(31)

    def resource(self, strategy: str, share: float) -> int | None:
        """Units of resource of a trial that gets a share of a full training; None for all of one without a measure.

        Raises:
            UsageError: it is no share, or a part of nobody knows what.
        """
        check_share(strategy, share)
        if self.full is None:
            if share == 1:
                return None
            raise UsageError(
                f"{strategy}(resources_per_trial={share!r}): nothing says how much a full training is; set "
                "max_resource on the experiment (max_epochs of its base experiment is known as well)"
            )
        return max(1, math.ceil(share * self.full))


def check_share(strategy: str, share: object) -> None:
    """Whether `resources_per_trial` is a share of a full training.

    Raises:
        UsageError: it is no number above 0 and at most 1.
    """
    if not (isinstance(share, Real) and 0 < float(share) <= 1):
        raise UsageError(
            f"{strategy}(resources_per_trial={share!r}): expected a share of a full training, above 0, at most 1"
        )


def check_base(owner: object, strategy: str) -> None:
    """Find out before anything runs that there is nothing to search.

    Raises:
        UsageError: the experiment has no base experiment.
    """
    if getattr(owner, "base_experiment", None) is None:
        kind = type(owner).__name__
        raise UsageError(
            f"{kind}.{strategy} searches the parameters of {kind}.base_experiment, which is not set: write "
            f"`base_experiment = TrainingExperiment()` in class {kind}, or set it in its __init__"
        )


def searched(owner: object) -> str:
    """What the strategies of an experiment search, as JSON: the parts of a sweep's plan that stand before it runs.

    Equal in every process, so the stages of a resumed run tell by it whether they still search the same. What is not
    known before the run, such as a space that a stage sets, is null.

    Raises:
        UsageError: the base experiment or the goal cannot be used.
    """
    from metta.sweep.experiments.plan import plan_of
    from metta.sweep.optimizers.random import RandomOptimizer
    from metta.sweep.schedulers.asynchronous import AsynchronousScheduler

    base = _base(owner)
    plan = plan_of(
        objective=base,
        space=_space(owner, base),
        optimizer=RandomOptimizer(),
        scheduler=AsynchronousScheduler(),
        objectives=_objectives(owner, base),
        cost_key=None,
        seed=getattr(owner, "seed", None),
    )
    # Optimizer and scheduler are the strategy's own: its code and its settings tell them.
    parts = {part: plan[part] for part in ("objective", "space", "objectives", "seed")}
    return json.dumps({**parts, "full": _full_resource(owner, base)})


def _base(owner: object) -> Experiment[Any] | Objective:
    given: Any = owner
    return checked_base(given.base_experiment)


def _space(owner: object, base: object) -> SearchSpace | None:
    from metta.sweep.space import SearchSpace

    space = getattr(owner, "search_space", None)
    if space is None and isinstance(base, Experiment):
        space = base.tunables() or None
    return None if space is None else SearchSpace.of(space)


def _objectives(owner: object, base: object) -> Objectives:
    goal = getattr(owner, "goal", None) or goal_of(base) or "maximize"
    return Objectives.of(goal, getattr(owner, "metric_key", "score"))


def _full_resource(owner: object, base: object) -> int | None:
    found = (
        getattr(owner, "max_resource", None),
        getattr(base, "max_resource", None),
        getattr(base, "max_epochs", None),
    )
    return next((limit for limit in found if isinstance(limit, int)), None)
