"""Bayesian optimization that starts from what earlier tasks taught."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from metta.sweep.errors import UsageError
from metta.sweep.goal import Goal, Score
from metta.sweep.optimizers.bayesian import BayesianOptimizer
from metta.sweep.space import SearchSpace
from metta.sweep.trial import Observation

if TYPE_CHECKING:
    from metta.sweep.optimizers.protein.search import Proposal
    from metta.sweep.optimizers.protein.step import Step
    from metta.sweep.optimizers.transfer.ensemble import Task
    from metta.sweep.space import Distribution


class Seen(NamedTuple):
    """One result of an earlier task.

    Attributes:
        params: the configuration, in the task's own space.
        resource: at which the result was reached; 0 for "to the end".
        score: a number, or one per objective.
    """

    params: dict[str, Any]
    resource: int
    score: Score


@dataclass(frozen=True, slots=True)
class PreviousTask:
    """The usable results of an earlier task, in the order they were observed."""

    results: tuple[Seen, ...]

    @classmethod
    def of(cls, observations: Iterable[Observation] | PreviousTask) -> PreviousTask:
        """The results among `observations`; failures are left out."""
        if isinstance(observations, PreviousTask):
            return observations
        seen = []
        for observation in observations:
            if not isinstance(observation, Observation):
                raise UsageError(
                    f"expected observations, as `load_observations` or `result.observations` give them; "
                    f"found {type(observation).__name__}"
                )
            trial, score = observation.trial, observation.result.score
            if observation.result.is_usable and score is not None:
                seen.append(Seen(dict(trial.params), trial.resource, score))
        return cls(tuple(seen))


class TransferOptimizer(BayesianOptimizer):
    """Bayesian optimization that starts warm, and trusts an earlier task as far as it ranks what is seen here::

        previous = {"mnist": load_observations("mnist-sweep"), "svhn": load_observations("svhn-sweep")}
        SweepExperiment(train, optimizer=TransferOptimizer(space, previous))

    A ranking-weighted ensemble (RGPE: Feurer, Letham, Hutter and Bakshy, 2018): each earlier task has a Gaussian
    process of its own, fitted once. The weight of a task is how often, over bootstrap samples of the observations, it
    puts fewer pairs of them in the wrong order than any other model; the process of the new observations, judged by
    leave-one-out predictions, is one of the models. So a related task leads from the first trial on, an unrelated one
    loses its weight after a few, and in the end the observations speak for themselves. A task that ranks clearly worse
    than the own model has no weight at all, however many there are.

    Before the second observation the weights are the similarities; later those decide where models are equally good.
    The second trial is not where the tasks expect the best but anywhere: beside it the first one tells whether they are
    right.

    Scores are standardized for each task, so tasks may differ in scale. Their spaces may differ a little: unknown
    parameters are dropped, missing ones get their defaults, values outside of the space are left out, and a warning
    says so. Of a sweep with rungs the results at one resource are used, see `fidelity`. Without a task that fits it is
    the `BayesianOptimizer`.

    Args:
        search_space, seed, goal: see `Optimizer`.
        previous: name of an earlier task -> its observations. Their scores mean what the new ones mean: the goal is the
            same.
        similarity: name -> number from 0 (not related) to 1 (the same), where something is known; default 1.
        acquisition, exploration, gp_max_obs, initial_params: see `BayesianOptimizer`.
        initial_samples: see `BayesianOptimizer`; used where no earlier task fits.

    Raises:
        UsageError: `previous` holds no observations, `similarity` names no previous task or is out of range, or an
            argument of `BayesianOptimizer` is wrong.
    """

    def __init__(
        self,
        search_space: SearchSpace | Mapping[str, object] | None = None,
        previous: Mapping[str, Sequence[Observation] | PreviousTask] | None = None,
        *,
        similarity: Mapping[str, float] | None = None,
        acquisition: Literal["ei", "ucb"] = "ei",
        seed: int | None = None,
        goal: Goal | None = None,
        exploration: float | None = None,
        initial_samples: int | None = None,
        gp_max_obs: int = 750,
        initial_params: Sequence[Mapping[str, Any]] = (),
    ) -> None:
        super().__init__(
            search_space,
            acquisition,
            seed=seed,
            goal=goal,
            exploration=exploration,
            initial_samples=initial_samples,
            gp_max_obs=gp_max_obs,
            initial_params=initial_params,
        )
        if previous is not None and not isinstance(previous, Mapping):
            raise UsageError(
                f"previous={type(previous).__name__}: expected a mapping such as "
                '{"mnist": load_observations("mnist")}'
            )
        self.previous: dict[str, PreviousTask] = {
            name: PreviousTask.of(observations) for name, observations in (previous or {}).items()
        }
        self.similarity: dict[str, float] = _checked_similarity(similarity or {}, self.previous)
        self._tasks: tuple[Task, ...] | None = None

    def tunables(self) -> Mapping[str, Distribution[Any]]:
        return {name: known for name, known in super().tunables().items() if name != "initial_samples"}

    @property
    def weights(self) -> dict[str, float]:
        """The weights of the earlier tasks at the next suggestion; what is missing to 1 is that of the own model.

        Observations of a finished sweep can be told to a fresh optimizer to read what it came to.
        """
        from metta.sweep.optimizers.transfer.ensemble import ensemble

        asked = self.copy()  # to look is not to touch: a process may be fitted for it
        tasks = asked._fitted_tasks()
        if not tasks:
            return {}
        mixed = ensemble(tasks, asked.similarity, asked._step(), asked._prior())
        return {task.name: float(weight) for task, weight in zip(tasks, mixed.weights, strict=False)}

    def _fitted_tasks(self) -> tuple[Task, ...]:
        from metta.sweep.optimizers.transfer.ensemble import fitted_tasks

        if self._tasks is None:
            encoding = self._encoding()
            self._tasks = fitted_tasks(self.previous, encoding, self.objectives, self._prior(), self._max_points)
        return self._tasks

    def _propose(self, step: Step) -> Proposal:
        from metta.sweep.optimizers.protein.candidates import Search
        from metta.sweep.optimizers.transfer.ensemble import ensemble, propose

        tasks = self._fitted_tasks()
        if not tasks:
            return super()._propose(step)
        if len(step.records) == 1:
            # Not where the tasks expect the best: the two together tell at once whether the tasks are right.
            return step.sampled(step.design(), "the first trial is compared with it")
        mixed = ensemble(tasks, self.similarity, step, self._prior())
        return propose(Search(self.acquisition, self.exploration, 0), step, tasks, mixed)


def _checked_similarity(similarity: Mapping[str, float], previous: Mapping[str, PreviousTask]) -> dict[str, float]:
    for name, value in similarity.items():
        if name not in previous:
            near = get_close_matches(str(name), list(previous), n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"there is {', '.join(map(repr, previous)) or 'none'}"
            raise UsageError(f"similarity={{{name!r}: ...}} is of no previous task: {hint}")
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1 or math.isnan(value):
            raise UsageError(f"similarity={{{name!r}: {value!r}}}: expected a number from 0 to 1")
    return {name: float(value) for name, value in similarity.items()}
