"""Every scheduler of ours keeps the contract; and the suite finds those that do not."""

from __future__ import annotations

import math
import random
from typing import Any, ClassVar

import pytest

from metta.sweep.schedulers.asha import ASHAScheduler
from metta.sweep.schedulers.asynchronous import AsynchronousScheduler
from metta.sweep.schedulers.base import (
    CONTINUE,
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
from metta.sweep.schedulers.batch import SynchronousBatchScheduler
from metta.sweep.schedulers.hyperband import HyperbandScheduler
from metta.sweep.schedulers.median import MedianStoppingScheduler
from metta.sweep.schedulers.pb2 import PB2Scheduler
from metta.sweep.schedulers.pbt import PBTScheduler
from metta.sweep.schedulers.resource_aware import ResourceAwareScheduler
from metta.sweep.testing.scheduler_conformance import SchedulerConformance
from metta.sweep.trial import Report, Trial, TrialState


class TestAsynchronous(SchedulerConformance):
    def make(self) -> Scheduler:
        return AsynchronousScheduler()


class TestAsynchronousWithALimit(SchedulerConformance):
    def make(self) -> Scheduler:
        return AsynchronousScheduler(max_parallel=2, max_resource=9)


class TestBatch(SchedulerConformance):
    def make(self) -> Scheduler:
        return SynchronousBatchScheduler(batch_size=4, max_resource=9)


class TestASHA(SchedulerConformance):
    def make(self) -> Scheduler:
        return ASHAScheduler(max_epochs=27, grace_period=1)


class TestASHAStopping(SchedulerConformance):
    def make(self) -> Scheduler:
        return ASHAScheduler(max_epochs=27, grace_period=1, mode="stopping")


class TestASHABrackets(SchedulerConformance):
    def make(self) -> Scheduler:
        return ASHAScheduler(max_epochs=27, grace_period=1, brackets=3)


class TestHyperband(SchedulerConformance):
    def make(self) -> Scheduler:
        return HyperbandScheduler(max_resource=27)


class TestHyperbandTable1(SchedulerConformance):
    def make(self) -> Scheduler:
        return HyperbandScheduler(max_resource=9, rule="table1")


class TestMedianStopping(SchedulerConformance):
    def make(self) -> Scheduler:
        return MedianStoppingScheduler(grace_period=2, min_trials=3)


class TestResourceAware(SchedulerConformance):
    def make(self) -> Scheduler:
        return ResourceAwareScheduler(max_concurrent_trials=3, max_resource=9)


class TestPBT(SchedulerConformance):
    def make(self) -> Scheduler:
        return PBTScheduler(population_size=6, num_generations=9, max_resource=27)


class TestPBTTournament(SchedulerConformance):
    def make(self) -> Scheduler:
        return PBTScheduler(6, 5, exploit_method="binary_tournament", explore_method="resample", max_resource=25)


class TestPB2(SchedulerConformance):
    def make(self) -> Scheduler:
        return PB2Scheduler(population_size=5, num_generations=6, max_resource=18)


class Custom(Scheduler):
    """A custom scheduler as in the manual: it stops what is bad after three steps. It keeps the contract."""

    def should_stop(self, trial: Trial) -> bool:
        return trial.step >= 3 and isinstance(trial.score, float) and not trial.score > 0.2


class TestCustom(SchedulerConformance):
    def make(self) -> Scheduler:
        return Custom()


# What the suite finds


class Impatient(Scheduler):
    waits = 0

    def next(self, view: View) -> Decision:
        decision = super().next(view)
        self.waits += isinstance(decision, Wait)
        return decision

    def state_dict(self) -> dict[str, Any]:
        return {"waits": self.waits}


class Pausing(Scheduler):
    """Every trial pauses after its first step; what comes then is up to the subclass."""

    def on_report(self, trial: Trial, report: Report) -> Verdict:
        return Verdict(Action.PAUSE, 1) if report.step == 1 else CONTINUE

    def at_the_end(self, view: View) -> Decision:
        paused = tuple(trial.id for trial in view.trials if trial.state is TrialState.PAUSED)
        return Prune(paused) if paused else Done()

    def next(self, view: View) -> Decision:
        decision = super().next(view)
        return self.at_the_end(view) if isinstance(decision, Done) else decision


class Undecided(Pausing):
    """What it says depends on how often it was asked."""

    asked = 0

    def next(self, view: View) -> Decision:
        self.asked += 1
        return Wait() if view.active and self.asked % 2 else super().next(view)


class Leaving(Pausing):
    def at_the_end(self, view: View) -> Decision:
        return Done()


class Stuck(Pausing):
    def at_the_end(self, view: View) -> Decision:
        return Wait()


class Mistaken(Pausing):
    def at_the_end(self, view: View) -> Decision:
        return Resume(len(view.trials))


class Twice(Pausing):
    def next(self, view: View) -> Decision:
        running = [trial.id for trial in view.trials if trial.state is TrialState.RUNNING]
        return Resume(running[0]) if running else super().next(view)


class Miserly(Pausing):
    def at_the_end(self, view: View) -> Decision:
        paused = [trial.id for trial in view.trials if trial.state is TrialState.PAUSED]
        return Resume(paused[0], until=1) if paused else Done()


class Secretive(Pausing):
    forks: ClassVar[bool] = False

    def at_the_end(self, view: View) -> Decision:
        return Fork(0, view.trials[0].params)


class Idle(Pausing):
    def at_the_end(self, view: View) -> Decision:
        return Prune(())


class Spending(Scheduler):
    def next(self, view: View) -> Decision:
        return Launch(1) if view.free_slots > 0 else Wait()


class Granting(Scheduler):
    def next(self, view: View) -> Decision:
        decision = super().next(view)
        return Launch(decision.count, until=3) if isinstance(decision, Launch) else decision


class Ahead(Scheduler):
    def on_report(self, trial: Trial, report: Report) -> Verdict:
        return Verdict(Action.CONTINUE, milestone=report.step + 1)


class Confused(Scheduler):
    def on_report(self, trial: Trial, report: Report) -> Verdict:
        return Verdict(Action.STOP, until=report.step + 1)


class Unseeded(Scheduler):
    def should_stop(self, trial: Trial) -> bool:
        return random.random() < 0.1


class Forgetful(Scheduler):
    reports = 0

    def should_stop(self, trial: Trial) -> bool:
        self.reports += 1
        return self.reports % 7 == 0


class Unwritable(Scheduler):
    def state_dict(self) -> dict[str, Any]:
        return {"best": math.inf}


class Shared(Forgetful):
    def state_dict(self) -> dict[str, Any]:
        return {"reports": self.reports}

    def copy(self) -> Any:
        return self


class Mourning(SynchronousBatchScheduler):
    """Waits until every trial of its batch has reported three times: the dead never do."""

    def next(self, view: View) -> Decision:
        return Wait() if any(trial.step < 3 for trial in view.trials) else super().next(view)


class Hasty(AsynchronousScheduler):
    synchronous: ClassVar[bool] = True


ENDS, BUDGET, AGAIN = "test_every_trial_runs_and_ends", "test_the_budget_is_kept", "test_the_same_sweep_again"


@pytest.mark.parametrize(
    ("wrong", "found_by", "message"),
    [
        (Impatient, ENDS, "an answer `Wait` changed the scheduler"),
        (Undecided, ENDS, r"asked again with the same view it decided Launch\(.*\) instead of Wait\(\)"),
        (Leaving, ENDS, r"Done\(\), although these trials have not ended: \[0, 1, 2"),
        (Stuck, ENDS, r"Wait\(\), although nothing is active"),
        (Mistaken, ENDS, "expected the number of a paused trial, but there is no such trial"),
        (Twice, ENDS, "expected the number of a paused trial, but it is running"),
        (Miserly, ENDS, "grants nothing: the trial is at step 1"),
        (Secretive, ENDS, "with `forks = False` the donor's state may be gone"),
        (Idle, ENDS, r"Prune\(trials=\(\)\) prunes nothing"),
        (Spending, BUDGET, "although the budget or the optimizer has nothing left"),
        (Spending, "test_an_optimizer_that_has_no_more_ends_the_sweep", "although the budget or the optimizer"),
        (Granting, ENDS, "its grant of 3 is used up, and it gets neither more nor an end"),
        (Ahead, ENDS, "its milestone lies ahead"),
        (Confused, ENDS, "a grant for a trial that stops"),
        (Unseeded, AGAIN, "the same sweep with the same seed went differently"),
        (Forgetful, "test_the_state_is_exact_between_any_two_events", "brought back after event .*, it went on"),
        (Unwritable, ENDS, "state_dict has to be of JSON values, without NaN"),
        (Shared, "test_a_copy_is_independent", "what happened to a copy was felt by the original"),
        (Mourning, "test_trials_that_die_never_block_the_others", r"Wait\(\), although nothing is active"),
        (Hasty, "test_a_synchronous_one_does_not_depend_on_the_pace", "with four workers the trials are others"),
    ],
)
def test_what_breaks_the_contract_is_found(wrong: type[Scheduler], found_by: str, message: str) -> None:
    class Suite(SchedulerConformance):
        def make(self) -> Scheduler:
            return wrong()

    with pytest.raises(AssertionError, match=message):
        getattr(Suite(), found_by)()


def test_a_suite_without_make_says_what_to_write() -> None:
    with pytest.raises(TypeError, match=r"SchedulerConformance has to say how a scheduler is made: write make\(self\)"):
        SchedulerConformance().test_equal_scores_never_block()
