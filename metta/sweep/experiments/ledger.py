"""The state of one sweep, and the only place that talks to its optimizer and its scheduler.

Plain synchronous code: it starts nothing and waits for nothing. The session (session.py) tells it what the workers
did and starts what it queues, so with the same order of events it makes the same trials.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace

from metta.sweep.errors import UsageError
from metta.sweep.experiments.budget import Budget, Spent
from metta.sweep.goal import Objectives
from metta.sweep.optimizers.base import Optimizer
from metta.sweep.report.events import SweepEvent, TrialEnded, TrialPaused, TrialReported, TrialStarted
from metta.sweep.schedulers.base import (
    Action,
    Decision,
    Done,
    Fork,
    Launch,
    Prune,
    Resume,
    Scheduler,
    View,
    Wait,
)
from metta.sweep.trial import UNNUMBERED, Failure, FailureReason, Report, Result, Trial, TrialState


@dataclass(frozen=True, slots=True)
class Halt:
    """A limit of the budget ends the sweep now; `why` says which."""

    why: str


@dataclass(frozen=True, slots=True)
class Grant:
    """A trial that may start or go on now."""

    trial: Trial
    resumed: bool


class Ledger:
    """Trials, queue and budget of one sweep.

    Args:
        optimizer: a bound copy; nobody else may use it.
        scheduler: a bound copy; nobody else may use it.
        objectives: the metrics to optimize.
        budget: the limits.
        slots: how many trials may run at once.
        cost_key: the metric that holds a trial's cost so far; None for the seconds it ran.
        clock: seconds since the sweep began.
        tell: hears every event.
    """

    def __init__(
        self,
        *,
        optimizer: Optimizer,
        scheduler: Scheduler,
        objectives: Objectives,
        budget: Budget,
        slots: int,
        cost_key: str | None,
        clock: Callable[[], float],
        tell: Callable[[SweepEvent], None],
    ) -> None:
        self.trials: list[Trial] = []
        self.objectives = objectives
        self.over: str | None = None
        self.recomputed: int = 0
        self._optimizer = optimizer
        self._scheduler = scheduler
        self.budget = budget
        self._slots = slots
        self._cost_key = cost_key
        self._clock = clock
        self._tell = tell
        self._sign = 1 if objectives.directions[0] == "maximize" else -1
        self._queue: deque[Grant] = deque()
        self._running: set[int] = set()
        self._held: list[int] = []
        self._exhausted = False
        self._spent = Spent()
        self._costs: dict[int, float] = {}
        self._began: dict[int, float] = {}

    # What to do next

    def decide(self) -> Decision | Halt:
        """The next decision.

        The results of a synchronous scheduler are held back until nothing runs, and then reach the optimizer in the
        order of the trials' numbers: whichever trial was faster, the next suggestions are the same.
        """
        why = self.budget.end(replace(self._spent, seconds=self._clock()), self._sign)
        if why is not None:
            return Halt(why)
        active = len(self._running) + len(self._queue)
        if not active:
            self._pass_on_held()
        view = View(
            trials=self.trials,
            free_slots=self._slots - active,
            active=active,
            remaining=self.budget.remaining(self._spent),
            exhausted=self._exhausted,
        )
        return self._scheduler.next(view)

    def enact(self, decision: Decision | Halt) -> list[Trial]:
        """Do what was decided; returns the new trials."""
        match decision:
            case Launch():
                return self._launch(decision)
            case Fork():
                return self._fork(decision)
            case Resume():
                trial = self.trials[decision.trial]
                trial.resource = decision.until or 0
                trial.state = TrialState.PENDING
                self._queue.append(Grant(trial, resumed=True))
            case Prune():
                for number in decision.trials:
                    self._end(self.trials[number], TrialState.PRUNED)
                    self._hear(self.trials[number])
            case Halt():
                self._halt(decision.why)
            case Done():
                nothing_left = "the optimizer had no more suggestions" if self._exhausted else "the scheduler was done"
                self.over = self.budget.spent_up(self._spent) or nothing_left
            case Wait():
                pass
        return []

    def grants(self, blocked: Iterable[int] = ()) -> list[Grant]:
        """Take from the queue what has a free slot.

        Args:
            blocked: trials whose earlier attempt is still winding down: they go on when it has ended, because it
                may be saving the very state that they go on from.
        """
        waiting = set(blocked)
        taken: list[Grant] = []
        kept: list[Grant] = []
        while self._queue and len(self._running) < self._slots:
            grant = self._queue.popleft()
            if grant.trial.id in waiting:
                kept.append(grant)
                continue
            grant.trial.state = TrialState.RUNNING
            self._running.add(grant.trial.id)
            taken.append(grant)
        self._queue.extendleft(reversed(kept))
        return taken

    # What happened

    def began(self, grant: Grant, saved_step: int) -> None:
        """A worker has the trial; it goes on from the state saved at `saved_step` (0: from the start)."""
        trial = grant.trial
        self._began[trial.id] = self._clock()
        self._costs[trial.id] = trial.cost or 0.0
        again = max(0, trial.step - saved_step)
        self.recomputed += again
        self._spend(resource=again)
        self._tell(
            TrialStarted(self._clock(), trial.id, trial.params, trial.step, trial.resource or None, grant.resumed)
        )

    def reported(self, trial: Trial, report: Report) -> Action:
        """A running trial reported; what becomes of it now."""
        if report.step <= trial.step:
            return Action.CONTINUE
        try:
            score = self.objectives.score(report.metrics)
            cost = self._cost(trial, report.metrics)
        except UsageError as error:
            self.failed(trial, Failure(FailureReason.USER_ERROR, str(error)))
            return Action.STOP
        self._spend(resource=report.step - trial.step)
        trial.reports.append(report)
        trial.score = score
        self._book_cost(trial, cost)
        self._note_best(score)
        number = score if isinstance(score, float) else None
        self._tell(TrialReported(self._clock(), trial.id, report.step, number))
        verdict = self._scheduler.on_report(trial, report)
        if verdict.milestone is not None:
            trial.resource = verdict.milestone
        match verdict.action:
            case Action.PAUSE:
                self._running.discard(trial.id)
                trial.state = TrialState.PAUSED
                self._tell(TrialPaused(self._clock(), trial.id, trial.step, number))
            case Action.STOP:
                self._end(trial, TrialState.PRUNED)
            case Action.COMPLETE:
                self._end(trial, TrialState.COMPLETED)
        if verdict.milestone is not None:
            self._hear(trial)
        if verdict.action is Action.CONTINUE and verdict.until is not None:
            trial.resource = verdict.until
        return verdict.action

    def returned(self, trial: Trial, metrics: Mapping[str, float] | None, *, granted: int, reported: bool) -> None:
        """The objective ended by itself.

        Args:
            trial: a running one.
            metrics: what it returned; this counts where it has reported nothing.
            granted: the trial's resource when this attempt was started; 0 for no limit.
            reported: whether this attempt has reported anything.
        """
        if not reported:
            if metrics is None:
                key = self.objectives.keys[0]
                message = (
                    f"the objective reported nothing and returned None: return a number or {{{key!r}: ...}}, "
                    f"or call trial.report({{{key!r}: ...}})"
                )
                self.failed(trial, Failure(FailureReason.USER_ERROR, message))
                return
            if self.reported(trial, Report(trial.resource or trial.step + 1, metrics)) is not Action.CONTINUE:
                return
        if trial.step == granted < trial.resource:
            # It used up its grant and the grant has been extended since: it is called again, at once.
            self._running.discard(trial.id)
            trial.state = TrialState.PENDING
            self._queue.appendleft(Grant(trial, resumed=True))
            return
        self._end(trial, TrialState.COMPLETED)
        self._scheduler.on_complete(trial)
        self._hear(trial)

    def failed(self, trial: Trial, failure: Failure) -> None:
        """A running trial failed for good."""
        trial.failure = failure
        if self._cost_key is None:
            self._book_cost(trial, self._cost(trial, {}))
        self._end(trial, TrialState.FAILED)
        self._scheduler.on_failure(trial)
        self._hear(trial)

    # Inside

    def _launch(self, decision: Launch) -> list[Trial]:
        remaining = self.budget.remaining(self._spent)
        wanted = decision.count if remaining is None else min(decision.count, remaining)
        suggested = self._suggestions(wanted) if wanted > 0 else []
        self._exhausted = len(suggested) < wanted
        self._spend(trials=len(suggested))
        return self._enroll(decision, suggested, decision.until)

    def _suggestions(self, wanted: int) -> list[Trial]:
        call = f"{type(self._optimizer).__name__}.suggest({wanted})"
        suggested: object = self._optimizer.suggest(wanted)
        if not isinstance(suggested, list | tuple):
            raise UsageError(f"{call} gave {type(suggested).__name__}: expected a list of Trial")
        for proposal in suggested:
            if not isinstance(proposal, Trial):
                raise UsageError(f"{call} gave {proposal!r:.100} in its list: expected Trial({{...}})")
        if len(suggested) > wanted:
            raise UsageError(f"{call} returned {len(suggested)} trials: at most {wanted}")
        return list(suggested)

    def _fork(self, decision: Fork) -> list[Trial]:
        new = self._enroll(decision, [Trial(decision.params, parent=decision.parent)], decision.until)
        if decision.replaces is not None:
            self._end(self.trials[decision.replaces], TrialState.PRUNED)
        return new

    def _enroll(self, decision: Launch | Fork, suggested: list[Trial], until: int | None) -> list[Trial]:
        new: list[Trial] = []
        for proposal in suggested:
            # A custom optimizer may return the same object twice; the table must not hold it twice.
            trial = proposal if proposal.id == UNNUMBERED else Trial(proposal.params, tag=proposal.tag)
            trial.id = len(self.trials)
            trial.resource = until or 0
            self.trials.append(trial)
            self._queue.append(Grant(trial, resumed=False))
            new.append(trial)
        self._scheduler.on_launch(decision, new)
        return new

    def _end(self, trial: Trial, state: TrialState) -> None:
        if state is TrialState.COMPLETED and not Result(trial.score).is_usable:
            state = TrialState.FAILED
            trial.failure = Failure(FailureReason.USER_ERROR, f"its last score is not finite: {trial.score!r}")
        self._leave(trial, state)
        self._spend(since_best=1)

    def _leave(self, trial: Trial, state: TrialState) -> None:
        self._running.discard(trial.id)
        trial.state = state
        failure = trial.failure
        score = trial.score if isinstance(trial.score, float) else None
        self._tell(
            TrialEnded(
                self._clock(),
                trial.id,
                state.value,
                trial.step,
                score,
                None if failure is None else failure.reason.value,
                "" if failure is None else failure.message,
            )
        )

    def _halt(self, why: str) -> None:
        """End now: what runs or is queued is cancelled, what is paused is pruned."""
        self._pass_on_held()
        self._queue.clear()
        for trial in self.trials:
            if trial.state in (TrialState.RUNNING, TrialState.PENDING):
                self._leave(trial, TrialState.CANCELLED)
            elif trial.state is TrialState.PAUSED:
                self._leave(trial, TrialState.PRUNED)
        self.over = why

    def _hear(self, trial: Trial) -> None:
        """The optimizer hears of `trial`: now, or in order with its whole batch under a synchronous scheduler."""
        if self._scheduler.synchronous:
            self._held.append(trial.id)
        else:
            self._observe(trial)

    def _pass_on_held(self) -> None:
        held, self._held = self._held, []
        for number in sorted(held):
            self._observe(self.trials[number])

    def _observe(self, trial: Trial) -> None:
        score = None if trial.state is TrialState.FAILED else trial.score
        self._optimizer.observe(trial, Result(score, trial.cost, trial.failure))
        self._exhausted = False

    def _cost(self, trial: Trial, metrics: Mapping[str, float]) -> float:
        if self._cost_key is None:
            began = self._began.get(trial.id)
            return self._costs.get(trial.id, 0.0) + (0.0 if began is None else self._clock() - began)
        if self._cost_key not in metrics:
            reported = ", ".join(repr(name) for name in metrics)
            raise UsageError(f"the cost {self._cost_key!r} was not reported; reported: {reported}")
        return float(metrics[self._cost_key])

    def _book_cost(self, trial: Trial, cost: float) -> None:
        self._spend(cost=cost - (trial.cost or 0.0))
        trial.cost = cost

    def _note_best(self, score: float | Mapping[str, float]) -> None:
        if isinstance(score, Mapping) or not Result(score).is_usable:
            return
        value = self._sign * score
        if self._spent.best is None or value > self._spent.best:
            self._spent = replace(self._spent, best=value, since_best=0)

    def _spend(self, *, trials: int = 0, resource: int = 0, cost: float = 0.0, since_best: int = 0) -> None:
        spent = self._spent
        self._spent = replace(
            spent,
            trials=spent.trials + trials,
            resource=spent.resource + resource,
            cost=spent.cost + cost,
            since_best=spent.since_best + since_best,
        )
