"""A sweep on a virtual clock: optimizer and scheduler are real, training is a formula.

A simulation is deterministic under its seed, runs thousands of trials in seconds, and can be taken to JSON and back
between any two events, as a run that was killed and resumed.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from metta.sweep.errors import InternalError
from metta.sweep.goal import Goal, Objectives
from metta.sweep.optimizers.base import Optimizer
from metta.sweep.schedulers.base import Action, Decision, Done, Fork, Launch, Prune, Resume, Scheduler, View, Wait
from metta.sweep.trial import Failure, FailureReason, Params, Report, Result, Trial, TrialState

Curve = Callable[[Params, int], float | Mapping[str, float]]
"""A learning curve: parameters and step (from 1) -> the score, or several metrics. May raise: the trial then fails."""

DEFAULT_BUDGET = 100


@dataclass(slots=True)
class _Running:
    """A trial that trains: the step it works on, and when that step is done on the virtual clock."""

    trial: int
    step: int
    due: float


@dataclass(slots=True)
class Simulation:
    """The state of a simulated sweep. `run()` takes it to the end, `step()` to the next event.

    Args:
        optimizer, scheduler: used as they are given; the run binds them to goal and seed.
        curve: the learning curve.
        budget: configurations to start; None for the scheduler's natural end, else 100.
        workers: how many trials train at once.
        seed: of the optimizer, of the scheduler and of the durations.
        goal: as in `SweepExperiment`, with the metric key "score".
        steps: units of resource after which training ends by itself.
        stride: report every `stride` steps only, and at the end.
    """

    optimizer: Optimizer
    scheduler: Scheduler
    curve: Curve
    budget: int | None = None
    workers: int = 4
    seed: int = 0
    goal: Goal = "maximize"
    steps: int = 100
    stride: int = 1
    trials: list[Trial] = field(default_factory=list, init=False)
    events: list[str] = field(default_factory=list, init=False)
    clock: float = field(default=0.0, init=False)
    _running: list[_Running] = field(default_factory=list, init=False)
    _queue: deque[int] = field(default_factory=deque, init=False)
    _held: list[int] = field(default_factory=list, init=False)
    _started: int = field(default=0, init=False)
    _exhausted: bool = field(default=False, init=False)
    _objectives: Objectives = field(init=False)

    def __post_init__(self) -> None:
        self._objectives = Objectives.of(self.goal)
        self.optimizer.bind(goal=self.goal, seed=self.seed)
        self.scheduler.search_space = self.optimizer.search_space
        self.scheduler.bind(objectives=self._objectives, seed=self.seed)
        if self.budget is None:
            natural = self.scheduler.natural_budget
            self.budget = DEFAULT_BUDGET if natural is None else natural

    def run(self) -> Self:
        """Go to the end."""
        while self.step():
            pass
        return self

    def step(self) -> bool:
        """Decide all there is to decide, then let the next training step end. False when the sweep is over."""
        if not self._decide():
            return False
        job = min(self._running, key=lambda running: (running.due, running.trial))
        self.clock = job.due
        self._train(job)
        self._pass_on_results()
        return True

    def table(self) -> list[dict[str, Any]]:
        """The trials as JSON values, by number."""
        return [trial.to_json() for trial in self.trials]

    # Decisions

    def _decide(self) -> bool:
        while True:
            decision = self.scheduler.next(self._view())
            if isinstance(decision, Done):
                if self._running or self._queue:
                    raise InternalError("the scheduler said Done while trials are active")
                return False
            if isinstance(decision, Wait):
                if not self._running and not self._queue:
                    raise InternalError("the scheduler waits for nothing")
                self._fill_slots()
                return True
            self._apply(decision)
            self._fill_slots()

    def _view(self) -> View:
        slots = min(self.workers, self.scheduler.max_parallel or self.workers)
        active = len(self._running) + len(self._queue)
        return View(self.trials, slots - active, active, (self.budget or 0) - self._started, self._exhausted)

    def _apply(self, decision: Decision) -> None:
        match decision:
            case Launch(count, until):
                new = self.optimizer.suggest(min(count, (self.budget or 0) - self._started))
                self._exhausted = len(new) < count
                self._started += len(new)
                self._add(decision, new, until)
            case Fork(parent, params, until, replaces):
                forks = [Trial(params)] if params is not None else self.optimizer.suggest(1)
                self._exhausted = not forks if params is None else self._exhausted
                for fork in forks:
                    fork.parent = parent
                self._add(decision, forks, until)
                if forks and replaces is not None:
                    self._end(self.trials[replaces], TrialState.PRUNED)
                    self._hear(self.trials[replaces])
            case Resume(number, until):
                self._note(f"resume {number} until {until}")
                self.trials[number].resource = until or 0
                self._enqueue(number)
            case Prune(numbers):
                for number in numbers:
                    self._end(self.trials[number], TrialState.PRUNED)
                    self._hear(self.trials[number])
                self._pass_on_results()

    def _add(self, decision: Launch | Fork, new: list[Trial], until: int | None) -> None:
        for trial in new:
            trial.id = len(self.trials)
            trial.resource = until or 0
            self.trials.append(trial)
        self.scheduler.on_launch(decision, new)
        for trial in new:
            self._note(f"start {trial.id} until {until}")
            self._enqueue(trial.id)

    def _enqueue(self, number: int) -> None:
        self.trials[number].state = TrialState.PENDING
        self._queue.append(number)

    def _fill_slots(self) -> None:
        slots = min(self.workers, self.scheduler.max_parallel or self.workers)
        while self._queue and len(self._running) < slots:
            number = self.scheduler.next_start(
                (self.trials[number] for number in self._queue), [self.trials[job.trial] for job in self._running]
            )
            if number is None and self._running:
                return
            trial = self.trials[self._queue[0] if number is None else number]
            self._queue.remove(trial.id)
            self.scheduler.allocate_resources(trial)
            trial.state = TrialState.RUNNING
            # A fork goes on from its donor's step: the virtual training always saves.
            step = trial.step or (self.trials[trial.parent].step if trial.parent is not None else 0)
            self._running.append(self._next_step(trial, step))

    def _next_step(self, trial: Trial, step: int) -> _Running:
        next_step = min(step + self.stride, max(self.steps, step + 1))
        return _Running(trial.id, next_step, self.clock + self._duration(trial.id) * (next_step - step))

    def _duration(self, number: int) -> float:
        """Seconds per step on the virtual clock, between 0.5 and 1.5, fixed for a trial."""
        return 0.5 + math.modf(math.sin(12.9898 * (number + 1) + 78.233 * (self.seed + 1)) * 43758.5453)[0] % 1.0

    # Training

    def _train(self, job: _Running) -> None:
        trial = self.trials[job.trial]
        self._running.remove(job)
        try:
            value = self.curve(trial.params, job.step)
        except Exception as error:
            trial.failure = Failure(FailureReason.USER_ERROR, str(error))
            self._end(trial, TrialState.FAILED)
            self.scheduler.on_failure(trial)
            self._hear(trial)
            return
        report = Report(job.step, value if isinstance(value, Mapping) else {"score": float(value)})
        trial.reports.append(report)
        trial.score = self._objectives.score(report.metrics)
        trial.cost = self._duration(trial.id) * report.step
        verdict = self.scheduler.on_report(trial, report)
        if verdict.milestone is not None:
            trial.resource = verdict.milestone
        match verdict.action:
            case Action.PAUSE:
                self._end(trial, TrialState.PAUSED)
            case Action.STOP:
                self._end(trial, TrialState.PRUNED)
            case Action.COMPLETE:
                self._end(trial, TrialState.COMPLETED)
            case Action.CONTINUE if report.step >= self.steps:
                self._end(trial, TrialState.COMPLETED)
                self.scheduler.on_complete(trial)
                self._hear(trial)
                return
            case Action.CONTINUE:
                self._running.append(self._next_step(trial, report.step))
        if verdict.milestone is not None:
            self._hear(trial)
        if verdict.action is Action.CONTINUE and verdict.until is not None:
            trial.resource = verdict.until

    def _end(self, trial: Trial, state: TrialState) -> None:
        trial.state = state
        self._note(f"{state.value} {trial.id} at {trial.step}")

    def _hear(self, trial: Trial) -> None:
        """The optimizer hears of `trial`; later and in order under a synchronous scheduler."""
        if self.scheduler.synchronous:
            self._held.append(trial.id)
        else:
            self._observe(trial)

    def _pass_on_results(self) -> None:
        if self._held and not self._running and not self._queue:
            for number in sorted(self._held):
                self._observe(self.trials[number])
            self._held.clear()

    def _observe(self, trial: Trial) -> None:
        failed = trial.state is TrialState.FAILED
        self.optimizer.observe(trial, Result(None if failed else trial.score, trial.cost, trial.failure))
        self._exhausted = False

    def _note(self, event: str) -> None:
        self.events.append(f"{self.clock:.3f} {event}")

    # JSON

    def to_json(self) -> dict[str, Any]:
        """Everything the rest of the simulation depends on, as JSON values."""
        return {
            "optimizer": self.optimizer.state_dict(),
            "scheduler": self.scheduler.state_dict(),
            "trials": self.table(),
            "events": list(self.events),
            "clock": self.clock,
            "running": [[job.trial, job.step, job.due] for job in self._running],
            "queue": list(self._queue),
            "held": list(self._held),
            "started": self._started,
            "exhausted": self._exhausted,
        }

    def load_json(self, data: Mapping[str, Any]) -> Self:
        """Go on where `to_json` was taken; called on a simulation with a fresh optimizer and scheduler."""
        self.optimizer.load_state_dict(data["optimizer"])
        self.scheduler.load_state_dict(data["scheduler"])
        self.trials = [Trial.from_json(trial) for trial in data["trials"]]
        self.events = list(data["events"])
        self.clock = data["clock"]
        self._running = [_Running(*job) for job in data["running"]]
        self._queue = deque(data["queue"])
        self._held = list(data["held"])
        self._started = data["started"]
        self._exhausted = data["exhausted"]
        return self


def simulate(
    optimizer: Optimizer,
    scheduler: Scheduler,
    curve: Curve,
    budget: int | None = None,
    workers: int = 4,
    seed: int = 0,
    *,
    goal: Goal = "maximize",
    steps: int = 100,
    stride: int = 1,
) -> Simulation:
    """Run a sweep to its end on a virtual clock; the arguments are those of `Simulation`."""
    return Simulation(optimizer.copy(), scheduler.copy(), curve, budget, workers, seed, goal, steps, stride).run()
