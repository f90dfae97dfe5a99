"""The state of one sweep, and the only place that talks to its optimizer and its scheduler.

Plain synchronous code: it starts nothing, waits for nothing and reads no clock. The session (session.py) tells it what
the workers did and starts what it grants. So it is a function of the order of its inputs, and a sweep that is
resumed is the same inputs again (replay.py). An input is a call of one of the methods below "What to do next" and
"What happened"; before each, `now` is set.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Final, NamedTuple

from metta.sweep.errors import UsageError
from metta.sweep.executors.nest import LEAF_RESOURCE
from metta.sweep.experiments.budget import Budget, Spent
from metta.sweep.experiments.moves import Halt, Move
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
    Verdict,
    View,
    Wait,
)
from metta.sweep.trial import UNNUMBERED, Failure, FailureReason, Report, Result, Trial, TrialState

MAX_DEATHS: Final = 3
"""A trial whose attempts have killed their workers this often is not tried again."""

MAX_PREEMPTIONS: Final = 20
"""The same for attempts whose machine was taken away or lost, or could not be reached."""


@dataclass(frozen=True, slots=True)
class Grant:
    """A trial that may start or go on.

    Attributes:
        trial: its number.
        resumed: whether it has run before.
        charged: an earlier attempt of this grant was lost after it began: what it does again is not charged twice.
        reported: that attempt had reported.
    """

    trial: int
    resumed: bool = False
    charged: bool = False
    reported: bool = False


@dataclass(slots=True)
class Attempt:
    """A grant in the hands of a worker.

    Attributes:
        grant: what was granted.
        granted: the trial's resource then; 0 for no limit.
        began: when a worker had it, on the sweep's clock; None before.
        cost_before: the trial's cost then.
        reported: whether it, or the lost attempts before it, have reported anything.
    """

    grant: Grant
    granted: int
    began: float | None = None
    cost_before: float = 0.0
    reported: bool = False


class SavedState(NamedTuple):
    """A state on disk: the step it belongs to, and its file inside the run's folder."""

    step: int
    path: str


class Ledger:
    """Trials, queue and budget of one sweep.

    Args:
        optimizer: a bound copy; nobody else may use it.
        scheduler: a bound copy; nobody else may use it.
        objectives: the metrics to optimize.
        budget: the limits.
        slots: how many trials may run at once.
        cost_key: the metric that holds a trial's cost so far; None for the seconds it ran.
        tell: hears every event.
        nested: the trials are experiments themselves: what they have used is what the leaves below them have, which
            their reports say.

    Attributes:
        now: seconds since the sweep began, of the input that comes next.
        trials: all of them, `trials[i].id == i`.
        running: number -> the attempt that can still change its trial.
        attempts: number -> how many attempts were granted.
        states: number -> the state that the trial, or a fork before its first own one, goes on from.
        best_state: the state that was saved with the best score of the sweep.
        over: why the sweep has ended, as a phrase; None while it goes on.
        recomputed: units of resource run again because no state was saved.
        charged: number -> the units of resource of the leaves below a nested trial that are paid for.
        touched: the trials that were changed since the caller last emptied it.
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
        tell: Callable[[SweepEvent], None],
        nested: bool = False,
    ) -> None:
        self.optimizer = optimizer
        self.scheduler = scheduler
        self.objectives = objectives
        self.budget: Budget = budget
        self.slots: int = slots
        self.cost_key = cost_key
        self.tell = tell
        self.nested = nested
        self.now: float = 0.0
        self.trials: list[Trial] = []
        self.queue: deque[Grant] = deque()
        self.running: dict[int, Attempt] = {}
        self.attempts: Counter[int] = Counter()
        self.deaths: Counter[int] = Counter()
        self.preemptions: Counter[int] = Counter()
        self.states: dict[int, SavedState] = {}
        self.forks: set[int] = set()
        """Trials that may still go on from a state of their donor's."""
        self.best_state: SavedState | None = None
        self.best_report: tuple[int, int] | None = None
        """The trial and the step of the best score."""
        self.held: list[int] = []
        """The trials whose results a synchronous scheduler keeps from the optimizer until nothing runs."""
        self.cut: list[Grant] = []
        """What a halt took from its workers or from the queue: it goes on if the budget is raised."""
        self.cut_paused: list[int] = []
        self.exhausted: bool = False
        self.spent: Spent = Spent()
        self.recomputed: int = 0
        self.over: str | None = None
        self.charged: Counter[int] = Counter()
        self.touched: set[int] = set()
        self._sign = 1 if objectives.directions[0] == "maximize" else -1

    # What to do next

    def decide(self) -> Move:
        """The next move. `Wait` changes nothing, any other has to be enacted.

        The results of a synchronous scheduler are held back until nothing runs, and then reach the optimizer in the
        order of the trials' numbers: whichever trial was faster, the next suggestions are the same.
        """
        why = self.budget.end(replace(self.spent, seconds=self.now), self._sign)
        if why is not None:
            return Halt(why)
        active = len(self.running) + len(self.queue)
        if not active:
            self._pass_on_held()
        view = View(
            trials=self.trials,
            free_slots=self.slots - active,
            active=active,
            remaining=self.budget.remaining(self.spent),
            exhausted=self.exhausted,
        )
        decision: object = self.scheduler.next(view)
        if not isinstance(decision, Decision):
            raise UsageError(
                f"{type(self.scheduler).__name__}.next gave {decision!r:.100}: "
                "expected a Launch, Resume, Fork, Prune, Wait or Done"
            )
        return decision

    def enact(self, move: Move) -> list[Trial]:
        """Do what was decided; returns the new trials."""
        match move:
            case Launch():
                return self._launch(move)
            case Fork():
                return self._fork(move)
            case Resume():
                trial = self._touch(move.trial)
                trial.resource = move.until or 0
                trial.state = TrialState.PENDING
                self.queue.append(Grant(trial.id, resumed=True))
            case Prune():
                for number in move.trials:
                    self._end(self._touch(number), TrialState.PRUNED)
                    self._hear(self.trials[number])
            case Halt():
                self._halt(move.why)
            case Done():
                nothing_left = "the optimizer had no more suggestions" if self.exhausted else "the scheduler was done"
                self.over = self.budget.spent_up(self.spent) or nothing_left
            case Wait():
                pass
        return []

    def next_grant(self, blocked: Collection[int] = ()) -> int | None:
        """The queued trial that may start or go on now, if there is one and a free slot.

        Args:
            blocked: trials whose earlier attempt is still winding down: they go on when it has ended, because it
                may be saving the very state that they go on from.
        """
        if len(self.running) >= self.slots:
            return None
        waiting = [grant.trial for grant in self.queue if grant.trial not in blocked]
        known = self.trials.__getitem__
        number = self.scheduler.next_start(map(known, waiting), map(known, self.running)) if waiting else None
        if number is None and waiting and not self.running:
            return waiting[0]  # or nothing would ever happen again
        if number is not None and number not in waiting:
            raise UsageError(
                f"{type(self.scheduler).__name__}.next_start gave {number!r}: expected one of the waiting {waiting}"
            )
        return number

    def grant(self, number: int) -> Attempt:
        """Give a queued trial its next attempt, number `attempts[number]`."""
        grant = next(grant for grant in self.queue if grant.trial == number)
        self.queue.remove(grant)
        trial = self._touch(number)
        trial.state = TrialState.RUNNING
        self.attempts[number] += 1
        attempt = self.running[number] = Attempt(grant, trial.resource, reported=grant.reported)
        return attempt

    # What happened

    def began(self, number: int, saved_step: int) -> None:
        """A worker has the trial; it goes on from the state saved at `saved_step` (0: from the start)."""
        trial, attempt = self._touch(number), self.running[number]
        attempt.began = self.now
        attempt.cost_before = trial.cost or 0.0
        # A nested trial starts nothing again: it finds its child runs as they were.
        again = 0 if self.nested else max(0, trial.step - saved_step)
        self.recomputed += again
        if not attempt.grant.charged:
            self._spend(resource=again)
        until, resumed = trial.resource or None, attempt.grant.resumed
        attempts = self.attempts[number]
        self.tell(TrialStarted(self.now, number, trial.params, trial.step, until, resumed, attempts, trial.parent))

    def saved(self, number: int, state: SavedState) -> None:
        """A state of the trial is safe on disk, and so is the report of its step."""
        self._touch(number)
        self.states[number] = state
        self.forks.discard(number)
        if (number, state.step) == self.best_report:
            self.best_state = state

    def problem(self, report: Report) -> str | None:
        """Why the sweep cannot use a report; None where it can."""
        try:
            self.objectives.score(report.metrics)
        except UsageError as error:
            return str(error)
        if self.cost_key is not None and self.cost_key not in report.metrics:
            reported = ", ".join(repr(name) for name in report.metrics)
            return f"the cost {self.cost_key!r} was not reported; reported: {reported}"
        return None

    def reported(self, number: int, report: Report) -> Verdict:
        """A running trial reported a new step, without a `problem`; what becomes of it now."""
        trial, attempt = self._touch(number), self.running[number]
        attempt.reported = True
        score = self.objectives.score(report.metrics)
        if self.nested:
            self._charge(number, report.metrics)
        else:
            self._spend(resource=report.step - self._known_step(trial))
        trial.add_report(report)
        trial.score = score
        self._book_cost(trial, attempt, report.metrics)
        self._note_best(trial)
        self.tell(TrialReported(self.now, number, report.step, score, report.metrics))
        verdict = self._verdict(trial, report)
        if verdict.milestone is not None:
            trial.resource = verdict.milestone
        match verdict.action:
            case Action.PAUSE:
                del self.running[number]
                trial.state = TrialState.PAUSED
                self._count_against_patience(trial)
                self.tell(TrialPaused(self.now, number, trial.step, score))
            case Action.STOP:
                self._end(trial, TrialState.PRUNED)
            case Action.COMPLETE:
                self._end(trial, TrialState.COMPLETED)
        if verdict.milestone is not None:
            self._hear(trial)
        if verdict.action is Action.CONTINUE and verdict.until is not None:
            trial.resource = verdict.until
        return verdict

    def _verdict(self, trial: Trial, report: Report) -> Verdict:
        verdict: object = self.scheduler.on_report(trial, report)
        if not isinstance(verdict, Verdict):
            raise UsageError(
                f"{type(self.scheduler).__name__}.on_report gave {verdict!r:.100}: expected a Verdict, such as CONTINUE"
            )
        return verdict

    def last_report(self, number: int, metrics: Mapping[str, float] | None) -> Report | None:
        """What the value that a running trial's objective returned stands for: a report, if it has made none itself."""
        if metrics is None or self.running[number].reported:
            return None
        trial = self.trials[number]
        return Report(trial.resource or trial.step + 1, metrics)

    def returned(self, number: int, used: Mapping[str, float] | None = None) -> None:
        """The objective of a running trial ended by itself; what it returned was reported before, see `last_report`.

        Args:
            number: of the trial.
            used: what the leaves below it have used in all, as metrics, where it is nested.
        """
        trial, attempt = self._touch(number), self.running[number]
        if used is not None:
            self._charge(number, used)
            if self.cost_key in used:
                self._book_cost(trial, attempt, used)
        if trial.step == 0:
            key = self.objectives.keys[0]
            message = (
                f"the objective reported nothing and returned None: return a number or {{{key!r}: ...}}, "
                f"or call trial.report({{{key!r}: ...}})"
            )
            self._fail(trial, attempt, Failure(FailureReason.USER_ERROR, message))
        elif 0 < attempt.granted <= trial.step < trial.resource:
            # It used up its grant and the grant has been extended since: it is called again, at once.
            del self.running[number]
            trial.state = TrialState.PENDING
            self.queue.appendleft(Grant(number, resumed=True))
            self._tell_paused(trial)
        else:
            self._end(trial, TrialState.COMPLETED)
            self.scheduler.on_complete(trial)
            self._hear(trial)

    def failed(self, number: int, failure: Failure, used: Mapping[str, float] | None = None) -> None:
        """The attempt of a running trial failed. The trial gets another one where the machine may be to blame.

        Args:
            number: of the trial.
            failure: why.
            used: what the leaves below it have used in all, as metrics, where it is nested.
        """
        trial, attempt = self._touch(number), self.running[number]
        again = False
        if not failure.reason.uses_up_retries:
            self.preemptions[number] += 1
            again = self.preemptions[number] <= MAX_PREEMPTIONS
        elif failure.reason in (FailureReason.KILLED, FailureReason.OOM) and not failure.traceback:
            # With a traceback it was the objective's own MemoryError, and its worker lives.
            self.deaths[number] += 1
            again = self.deaths[number] < MAX_DEATHS
            if not again:
                given_up = f"{failure.message} ({MAX_DEATHS} attempts ended like this: it is not tried again)"
                failure = replace(failure, message=given_up)
        if again:
            self._requeue(number, failure)
        else:
            self._fail(trial, attempt, failure, used)

    def restart(
        self,
        *,
        slots: int,
        budget: Budget,
        retry: Iterable[int] = (),
        drop_paused: bool = False,
        adopted: Collection[int] = (),
    ) -> tuple[int, ...]:
        """A new driver takes the sweep over: the attempts that ran have died with the old one, but for the adopted.

        Their trials go on first, in the order of their numbers. What an earlier end of the budget has cut goes on
        too.

        Args:
            slots: how many trials may run at once from now on.
            budget: the limits from now on.
            retry: failed trials to be tried again.
            drop_paused: end the paused trials: the scheduler that paused them is gone.
            adopted: the trials whose attempts go on elsewhere.

        Returns:
            The trials whose attempts were lost.
        """
        self.slots, self.budget, self.over = slots, budget, None
        for number in self.cut_paused:
            self._touch(number).state = TrialState.PAUSED
        for grant in self.cut:
            self._touch(grant.trial).state = TrialState.PENDING
            self.queue.append(grant)
        self.cut, self.cut_paused = [], []
        lost = tuple(sorted(self.running.keys() - set(adopted)))
        for number in reversed(lost):
            self._requeue(number)
        for number in retry:
            trial = self._touch(number)
            trial.state, trial.failure = TrialState.PENDING, None
            self._spend(failures=-1)
            self.deaths[number] = self.preemptions[number] = 0
            self.queue.append(Grant(number, resumed=True))
        if drop_paused:
            for trial in self.trials:
                if trial.state is TrialState.PAUSED:
                    self._end(self._touch(trial.id), TrialState.PRUNED)
                    self._hear(trial)
        return lost

    # Inside

    def _touch(self, number: int) -> Trial:
        self.touched.add(number)
        return self.trials[number]

    def _launch(self, move: Launch) -> list[Trial]:
        remaining = self.budget.remaining(self.spent)
        wanted = move.count if remaining is None else min(move.count, remaining)
        suggested = self._suggestions(wanted) if wanted > 0 else []
        self.exhausted = len(suggested) < wanted
        self._spend(trials=len(suggested))
        return self._enroll(move, suggested)

    def _suggestions(self, wanted: int) -> list[Trial]:
        call = f"{type(self.optimizer).__name__}.suggest({wanted})"
        suggested: object = self.optimizer.suggest(wanted)
        if not isinstance(suggested, list | tuple):
            raise UsageError(f"{call} gave {type(suggested).__name__}: expected a list of Trial")
        for proposal in suggested:
            if not isinstance(proposal, Trial):
                raise UsageError(f"{call} gave {proposal!r:.100} in its list: expected Trial({{...}})")
        if len(suggested) > wanted:
            raise UsageError(f"{call} returned {len(suggested)} trials: at most {wanted}")
        return list(suggested)

    def _fork(self, move: Fork) -> list[Trial]:
        proposed = self._suggestions(1) if move.params is None else [Trial(move.params)]
        if move.params is None:
            self.exhausted = not proposed
        new = self._enroll(move, proposed)
        for fork in new:
            donor, state = self.trials[move.parent], self.states.get(move.parent)
            if state is not None:
                # The donor goes on and saves again: the fork starts from what it is now.
                self.states[fork.id] = state
                self.forks.add(fork.id)
            if not self.nested:
                self.recomputed += donor.step - (0 if state is None else state.step)
            if move.replaces is not None:
                self._end(self._touch(move.replaces), TrialState.PRUNED)
                self._hear(self.trials[move.replaces])
        return new

    def _enroll(self, move: Launch | Fork, suggested: list[Trial]) -> list[Trial]:
        new: list[Trial] = []
        for proposal in suggested:
            # A custom optimizer may return the same object twice; the table must not hold it twice.
            trial = proposal if proposal.id == UNNUMBERED else Trial(proposal.params, tag=proposal.tag)
            trial.id = len(self.trials)
            trial.parent = move.parent if isinstance(move, Fork) else None
            trial.resource = move.until or 0
            self.trials.append(trial)
            self.touched.add(trial.id)
            self.queue.append(Grant(trial.id))
            new.append(trial)
        self.scheduler.on_launch(move, new)
        return new

    def _charge(self, number: int, metrics: Mapping[str, float]) -> None:
        """Pay for what the leaves below a nested trial have used since it was last paid for."""
        used = round(metrics.get(LEAF_RESOURCE, 0.0))
        self._spend(resource=max(0, used - self.charged[number]))
        self.charged[number] = max(used, self.charged[number])

    def _known_step(self, trial: Trial) -> int:
        """The last step that is paid for: a fork has not done the steps of its donor."""
        return self.states[trial.id].step if trial.id in self.forks and not trial.step else trial.step

    def _requeue(self, number: int, lost: Failure | None = None) -> None:
        """An attempt is lost: the same grant once more, before everything else."""
        trial = self._touch(number)
        trial.state = TrialState.PENDING
        if self.running[number].began is not None:
            self._tell_paused(trial, lost)
        self.queue.appendleft(self._regrant(number))

    def _regrant(self, number: int) -> Grant:
        attempt = self.running.pop(number)
        began = attempt.began is not None
        grant = attempt.grant
        return Grant(number, grant.resumed or began, grant.charged or began, attempt.reported)

    def _fail(self, trial: Trial, attempt: Attempt, failure: Failure, used: Mapping[str, float] | None = None) -> None:
        trial.failure = failure
        if self.cost_key is None or (used is not None and self.cost_key in used):
            self._book_cost(trial, attempt, used or {})
        if used is not None:
            self._charge(trial.id, used)
        elif not trial.step:
            self._spend(resource=1)  # where every trial fails at once, a budget of resource has to end, too
        self._end(trial, TrialState.FAILED)
        self.scheduler.on_failure(trial)
        self._hear(trial)

    def _end(self, trial: Trial, state: TrialState) -> None:
        if state is TrialState.COMPLETED and not Result(trial.score).is_usable:
            state = TrialState.FAILED
            trial.failure = Failure(FailureReason.USER_ERROR, f"its last score is not finite: {trial.score!r}")
        was_paused = trial.state is TrialState.PAUSED  # its result was counted then
        self._leave(trial, state)
        if not was_paused:
            self._count_against_patience(trial)
        if state is TrialState.FAILED:
            self._spend(failures=1)

    def _leave(self, trial: Trial, state: TrialState) -> None:
        self.running.pop(trial.id, None)
        trial.state = state
        self.tell(trial_ended(trial, self.now))

    def _halt(self, why: str) -> None:
        """End now: what runs or is queued is cancelled, what is paused is pruned."""
        self._pass_on_held()
        cut = {grant.trial: grant for grant in self.queue}
        cut |= {number: self._regrant(number) for number in list(self.running)}
        self.queue.clear()
        for trial in self.trials:
            if trial.id in cut:
                self.cut.append(cut[trial.id])
                self._leave(self._touch(trial.id), TrialState.CANCELLED)
            elif trial.state is TrialState.PAUSED:
                self.cut_paused.append(trial.id)
                self._leave(self._touch(trial.id), TrialState.PRUNED)
        self.over = why

    def _tell_paused(self, trial: Trial, lost: Failure | None = None) -> None:
        why = (None, "") if lost is None else (lost.reason.value, lost.message)
        self.tell(TrialPaused(self.now, trial.id, trial.step, trial.score, *why))

    def _hear(self, trial: Trial) -> None:
        """The optimizer hears of `trial`: now, or in order with its whole batch under a synchronous scheduler."""
        if self.scheduler.synchronous:
            self.held.append(trial.id)
        else:
            self._observe(trial)

    def _pass_on_held(self) -> None:
        held, self.held = self.held, []
        for number in sorted(held):
            self._observe(self.trials[number])

    def _observe(self, trial: Trial) -> None:
        self.optimizer.observe(self._touch(trial.id), outcome_of(trial))
        self.exhausted = False

    def _book_cost(self, trial: Trial, attempt: Attempt, metrics: Mapping[str, float]) -> None:
        if self.cost_key is not None:
            cost = float(metrics[self.cost_key])
        else:
            cost = attempt.cost_before + (0.0 if attempt.began is None else self.now - attempt.began)
        self._spend(cost=cost - (trial.cost or 0.0))
        trial.cost = cost

    def _note_best(self, trial: Trial) -> None:
        score = trial.score
        if score is None or isinstance(score, Mapping) or not Result(score).is_usable:
            return
        value = self._sign * score
        if self.spent.best is None or value > self.spent.best:
            self.spent = replace(self.spent, best=value, since_best=0)
            self.best_report = (trial.id, trial.step)

    def _count_against_patience(self, trial: Trial) -> None:
        if self.best_report is None or self.best_report[0] != trial.id:
            self._spend(since_best=1)

    def _spend(
        self, *, trials: int = 0, resource: int = 0, cost: float = 0.0, since_best: int = 0, failures: int = 0
    ) -> None:
        spent = self.spent
        self.spent = replace(
            spent,
            trials=spent.trials + trials,
            resource=spent.resource + resource,
            cost=spent.cost + cost,
            since_best=spent.since_best + since_best,
            failures=spent.failures + failures,
        )


def outcome_of(trial: Trial) -> Result:
    """What the optimizer hears of a trial."""
    score = None if trial.state is TrialState.FAILED else trial.score
    return Result(score, trial.cost, trial.failure)


def trial_ended(trial: Trial, now: float) -> TrialEnded:
    """The event that tells of a trial's end."""
    failure = trial.failure
    reason, message = (None, "") if failure is None else (failure.reason.value, failure.message)
    return TrialEnded(now, trial.id, trial.state.value, trial.step, trial.score, reason, message, trial.cost)


def told_again(ledger: Ledger) -> Iterator[SweepEvent]:
    """What has happened to the trials so far, in short, for whoever begins to look on."""
    not_begun = {grant.trial for grant in ledger.queue if not grant.resumed}
    for trial in ledger.trials:
        if trial.id in not_begun:
            continue
        until, attempts = trial.resource or None, ledger.attempts[trial.id]
        yield TrialStarted(ledger.now, trial.id, trial.params, 0, until, False, attempts, trial.parent)
        if trial.step:
            yield TrialReported(ledger.now, trial.id, trial.step, trial.score)
        if trial.state.is_finished:
            yield trial_ended(trial, ledger.now)
        else:
            yield TrialPaused(ledger.now, trial.id, trial.step, trial.score)
