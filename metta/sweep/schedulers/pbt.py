"""Population based training (Jaderberg et al., "Population Based Training of Neural Networks", 2017)."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Any, ClassVar, Literal, get_args

from metta.sweep.errors import UsageError
from metta.sweep.goal import Objectives
from metta.sweep.schedulers import exploit
from metta.sweep.schedulers.base import (
    CONTINUE,
    Action,
    Decision,
    Done,
    Fork,
    Launch,
    Resume,
    Scheduler,
    Verdict,
    View,
    Wait,
    positive,
    resource_argument,
)
from metta.sweep.schedulers.explore import perturb, resample
from metta.sweep.schedulers.population import Member, Population
from metta.sweep.space import Choice, Distribution, Integer, SearchSpace, Uniform
from metta.sweep.trial import Report, Trial

ExploitMethod = Literal["truncation", "binary_tournament", "t_test"]
ExploreMethod = Literal["perturb", "resample", "optimizer"]


class PBTScheduler(Scheduler):
    """Trains a population; members that do badly go on from the weights and parameters of members that do well.

    A member is ready every `interval` units of resource, counted from its last ready check or its fork: it pauses,
    and when it gets a slot again it is compared with the others (exploit). Either it goes on, or a fork takes its
    place: a new trial (`trial.parent` is the donor) that starts from the donor's saved state, with the donor's
    parameters changed (explore). Nobody waits for a generation to be complete. The member that has trained least goes
    on first, so a population may be larger than the number of slots; and it is compared with what the others had
    reached at its own resource, where they are ahead of it, so that those that come late are not worse for it.

    Training is over for a member after num_generations * interval units (or `max_resource`, where that is less); it
    is not copied any more. A member that fails is replaced by a fork of one drawn from the top quantile, which is not
    charged to the budget; while nobody has a result, by a new configuration, which is.

    Results that are not finite are the worst and are never copied; ties break by trial number. Several objectives are
    ranked by non-domination, then by crowding distance.

    Args:
        population_size: members; the sweep's natural budget.
        num_generations: ready checks of a member, its last one included.
        perturbation_factor: a perturbed value is multiplied with 1 + factor or 1 - factor; see `explore.moved`.
        exploit_method: "truncation" (members in the bottom quantile copy one drawn from the top one),
            "binary_tournament" (a member copies another one, drawn, if that is better) or "t_test" (if its last
            10 reports are better by Welch's test at the 5 % level; single objective only).
        explore_method: "perturb", "resample" (all parameters are drawn anew) or "optimizer" (they are the optimizer's
            next suggestion).
        quantile_fraction: the size of the top and the bottom quantile; they have ceil(fraction * n) members, at
            most half of the n that are compared.
        resample_probability: that "perturb" draws a choice without an order anew.
        max_resource: units of resource of a full training: interval = max(1, max_resource // num_generations);
            None for an interval of 1. `max_epochs` and `max_t` are accepted too.
        seed: draws the donors and the parameters; None to take the run's.
        max_parallel: trials that may run at once; None for as many as the executor has slots.

    Raises:
        UsageError: an argument is out of range.
    """

    forks: ClassVar[bool] = True

    def __init__(
        self,
        population_size: int = 20,
        num_generations: int = 50,
        perturbation_factor: float = 0.2,
        exploit_method: ExploitMethod = "truncation",
        explore_method: ExploreMethod = "perturb",
        *,
        quantile_fraction: float = 0.2,
        resample_probability: float = 0.25,
        max_resource: int | None = None,
        max_epochs: int | None = None,
        max_t: int | None = None,
        seed: int | None = None,
        max_parallel: int | None = None,
    ) -> None:
        limit = resource_argument(None, max_resource=max_resource, max_epochs=max_epochs, max_t=max_t)
        super().__init__(max_resource=limit, max_parallel=max_parallel, seed=seed)
        self.population_size: int = positive("population_size", population_size, least=2)
        self.num_generations: int = positive("num_generations", num_generations)
        self.perturbation_factor: float = _between("perturbation_factor", perturbation_factor, 1, open_above=True)
        self.quantile_fraction: float = _between("quantile_fraction", quantile_fraction, 0.5)
        self.resample_probability: float = _between("resample_probability", resample_probability, 1, open_below=False)
        self.exploit_method: ExploitMethod = exploit_method
        self.explore_method: ExploreMethod = explore_method
        _check_name("exploit_method", exploit_method, get_args(ExploitMethod))
        _check_name("explore_method", explore_method, get_args(ExploreMethod))
        self._population = Population()
        self._drawn = 0
        """Generators drawn so far."""

    def tunables(self) -> Mapping[str, Distribution[Any]]:
        methods = get_args(ExploitMethod) if self.objectives.is_single else ("truncation", "binary_tournament")
        return {
            **self._tunable_generations(),
            "perturbation_factor": Uniform(0.05, 0.5),
            "exploit_method": Choice(methods),
            "explore_method": Choice(get_args(ExploreMethod)),
            "quantile_fraction": Uniform(0.1, 0.5),
        }

    def _tunable_generations(self) -> Mapping[str, Distribution[Any]]:
        """How often a training of a given length is checked; where it has none, more checks would mean more of it."""
        if self.max_resource is None or self.max_resource < 3:
            return {}
        return {"num_generations": Integer(2, self.max_resource, log=True)}

    @property
    def interval(self) -> int:
        """Units of resource between two ready checks of a member."""
        return 1 if self.max_resource is None else max(1, self.max_resource // self.num_generations)

    @property
    def total(self) -> int:
        """Units of resource after which a member's training is over."""
        whole = self.num_generations * self.interval
        return whole if self.max_resource is None else min(whole, self.max_resource)

    @property
    def natural_budget(self) -> int:
        """One configuration for each member: forks are not charged."""
        return self.population_size

    def bind(self, *, objectives: Objectives, seed: int) -> None:
        """See `Scheduler.bind`.

        Raises:
            UsageError: there is no search space to explore, or exploit_method="t_test" and several objectives.
        """
        super().bind(objectives=objectives, seed=seed)
        if self.exploit_method == "t_test" and not objectives.is_single:
            raise UsageError('exploit_method="t_test" compares means of one objective: use "truncation" for several')
        if self.explore_method != "optimizer":
            self._require_space()

    def next(self, view: View) -> Decision:
        if view.free_slots > 0:
            count = view.startable(min(self._room(), view.free_slots))
            if count > 0:
                return Launch(count, self.interval)
            turn = self._turn(view)
            if turn is not None:
                return turn
        return Wait() if view.active else Done()

    def on_launch(self, decision: Launch | Fork, trials: Sequence[Trial]) -> None:
        until = decision.until or self.interval
        if not isinstance(decision, Fork):
            self._population.enter([Member(trial.id, 0, until, 0) for trial in trials], self.population_size)
            return
        for trial in trials:
            donor = self._population.members[decision.parent]
            fork = Member(trial.id, donor.step, until, donor.step, baseline=donor.losses)
            if decision.replaces is not None:
                fork.results = self._population.members.pop(decision.replaces).results
            self._population.enter([fork], self.population_size)

    def on_report(self, trial: Trial, report: Report) -> Verdict:
        member = self._population.members.get(trial.id)
        if member is None:  # tried again by a resumed sweep after it had failed: its place is taken
            return super().on_report(trial, report)
        if report.step <= member.start:  # it had no saved state: it is not judged before it is where its donor was
            return CONTINUE
        member.step = report.step
        member.losses = self.objectives.losses(self.objectives.score(report.metrics))
        if report.step < member.until:
            return CONTINUE
        self._population.record(member, member.losses)
        self.on_ready(member, trial)
        member.start = report.step
        if report.step >= self.total:
            member.phase = "over"
            return Verdict(Action.COMPLETE, self.total)
        member.phase = "paused"
        return Verdict(Action.PAUSE, member.until)

    def on_complete(self, trial: Trial) -> None:
        member = self._population.members.get(trial.id)
        if member is not None:
            member.phase = "over"

    def on_failure(self, trial: Trial) -> None:
        self._population.bury(trial.id)

    def on_ready(self, member: Member, trial: Trial) -> None:
        """`member` has trained from `member.start` to `member.step`; for schedulers that learn from that."""

    def explore(self, view: View, donor: Member) -> Mapping[str, Any]:
        """The parameters of a fork of `donor`."""
        params, space = view.trials[donor.trial].params, self._require_space()
        if self.explore_method == "resample":
            return resample(space, params, self._generator())
        return perturb(
            space,
            params,
            self._generator(),
            factor=self.perturbation_factor,
            resample_probability=self.resample_probability,
        )

    def state_dict(self) -> dict[str, Any]:
        return {"population": self._population.to_json(), "drawn": self._drawn}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._population = Population.from_json(state["population"])
        self._drawn = state["drawn"]

    # Inside

    def _room(self) -> int:
        """How many new configurations the population lacks; the dead are rather replaced by forks."""
        population = self._population
        return self.population_size - (population.size if population.donors() else len(population.members))

    def _turn(self, view: View) -> Resume | Fork | None:
        """Who gets a slot: the paused member, or the place of a dead one, that has trained least."""
        population = self._population
        paused, vacant = population.next_paused(), population.next_vacant()
        if vacant is not None and (paused is None or vacant < paused.start):
            donors = population.donors()
            if donors and self._can_fork(view):
                standing = population.standing(self.total)
                parent = exploit.replacement(standing, donors, self.quantile_fraction, self._generator())
                return self._fork(view, parent, None)
        if paused is None:
            return None
        donor = self._exploit(view, paused) if self._can_fork(view) else None
        if donor is not None:
            return self._fork(view, donor, paused.trial)
        paused.until = min(paused.start + self.interval, self.total)
        paused.baseline = paused.losses
        paused.phase = "active"
        return Resume(paused.trial, paused.until)

    def _can_fork(self, view: View) -> bool:
        return self.explore_method != "optimizer" or not view.exhausted

    def _exploit(self, view: View, member: Member) -> int | None:
        """The trial that a ready member copies; None to go on."""
        number, rng = member.trial, self._generator()
        standing, donors = self._population.standing(member.start), self._population.donors()
        match self.exploit_method:
            case "truncation":
                return exploit.truncation(number, standing, donors, self.quantile_fraction, rng)
            case "binary_tournament":
                return exploit.binary_tournament(number, standing, donors, rng)
        other = exploit.drawn_other(number, donors, rng)
        if other is None:
            return None
        own, others = (self._last_losses(view.trials[trial], member.start) for trial in (number, other))
        return other if exploit.significantly_better(others, own) else None

    def _last_losses(self, trial: Trial, step: int) -> list[float]:
        """Of its last reports at or before `step`, or of the last ones where it has none so early."""
        reports = [report for report in trial.reports if report.step <= step] or trial.reports
        scores = (self.objectives.score(report.metrics) for report in reports[-exploit.REPORTS_COMPARED :])
        return [self.objectives.losses(score)[0] for score in scores]

    def _fork(self, view: View, parent: int, replaces: int | None) -> Fork:
        donor = self._population.members[parent]
        params = None if self.explore_method == "optimizer" else self.explore(view, donor)
        return Fork(parent, params, min(donor.step + self.interval, self.total), replaces)

    def _generator(self) -> random.Random:
        # Each draw has its own generator, so the number of draws is all the state there is.
        self._drawn += 1
        return random.Random(f"{self.seed}/{self._drawn}")

    def _require_space(self) -> SearchSpace:
        if self.search_space is None:
            name = type(self).__name__
            remedy = "give one to the experiment, as in SweepExperiment(search_space={...})"
            raise UsageError(f"{name} explores the search space, and there is none: {remedy}")
        return self.search_space


def _between(name: str, value: float, most: float, *, open_below: bool = True, open_above: bool = False) -> float:
    """`value`, if it is a number from 0 to `most`; an open end does not belong to it.

    Raises:
        UsageError: it is not.
    """
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or not 0 <= value <= most or (open_below and value == 0) or (open_above and value == most):
        ends = f"{'above' if open_below else 'at least'} 0 and {'below' if open_above else 'at most'} {most:g}"
        raise UsageError(f"{name}={value!r}: expected a number {ends}")
    return float(value)


def _check_name(argument: str, value: str, known: tuple[str, ...]) -> None:
    """Refuse a name that is none of the known ones; the message names the nearest.

    Raises:
        UsageError: it is none of them.
    """
    if value not in known:
        near = get_close_matches(str(value), known, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise UsageError(f"{argument}={value!r}: expected one of {', '.join(map(repr, known))}{hint}")
