import pytest

from metta.sweep.errors import UsageError
from metta.sweep.optimizers import RandomOptimizer
from metta.sweep.schedulers import AsynchronousScheduler, BatchScheduler, Scheduler, SynchronousBatchScheduler
from metta.sweep.schedulers.base import Action, Done, Launch, Verdict, View, Wait
from metta.sweep.space import Uniform
from metta.sweep.testing import simulate
from metta.sweep.trial import Params, Report, Resources, Trial, TrialState

SPACE = {"x": Uniform(0, 1)}


def curve(params: Params, step: int) -> float:
    return float(params["x"]) * step


def test_asynchronous_fills_the_free_slots_within_the_budget() -> None:
    scheduler = AsynchronousScheduler()
    assert scheduler.next(View([], free_slots=3, active=0, remaining=10)) == Launch(3)
    assert scheduler.next(View([], free_slots=3, active=0, remaining=2)) == Launch(2)
    assert scheduler.next(View([], free_slots=0, active=3, remaining=2)) == Wait()
    assert scheduler.next(View([], free_slots=3, active=1, remaining=0)) == Wait()
    assert scheduler.next(View([], free_slots=3, active=0, remaining=0)) == Done()
    assert scheduler.next(View([], free_slots=3, active=0, exhausted=True)) == Done()


def test_batches_are_whole_and_wait_for_the_last() -> None:
    scheduler = SynchronousBatchScheduler(batch_size=4, max_parallel=2)
    assert scheduler.next(View([], free_slots=2, active=0, remaining=10)) == Launch(4)
    assert scheduler.next(View([], free_slots=1, active=1, remaining=6)) == Wait()
    assert scheduler.next(View([], free_slots=2, active=0, remaining=3)) == Launch(3)
    assert scheduler.next(View([], free_slots=2, active=0, remaining=0)) == Done()
    assert BatchScheduler is SynchronousBatchScheduler


def test_max_resource_completes_a_trial() -> None:
    scheduler = AsynchronousScheduler(max_epochs=5)
    trial = Trial({}, 0)
    assert scheduler.on_report(trial, Report(4, {"score": 1})) == Verdict()
    assert scheduler.on_report(trial, Report(5, {"score": 1})) == Verdict(Action.COMPLETE, 5)
    run = simulate(RandomOptimizer(SPACE), scheduler, curve, budget=3, steps=100)
    assert [(trial.state, trial.step) for trial in run.trials] == [(TrialState.COMPLETED, 5)] * 3


@pytest.mark.parametrize("name", ["max_resource", "max_epochs", "max_t"])
def test_the_names_of_max_resource(name: str) -> None:
    assert AsynchronousScheduler(**{name: 7}).max_resource == 7
    assert BatchScheduler(**{name: 7}).max_resource == 7


def test_bad_arguments() -> None:
    with pytest.raises(UsageError, match=r"max_epochs=5 and max_t=6 are names for one argument"):
        AsynchronousScheduler(max_epochs=5, max_t=6)
    with pytest.raises(UsageError, match="batch_size=0: expected a whole number, at least 1"):
        BatchScheduler(batch_size=0)
    with pytest.raises(UsageError, match="max_parallel=0"):
        AsynchronousScheduler(max_parallel=0)
    with pytest.raises(UsageError, match="max_resource=-3"):
        AsynchronousScheduler(max_resource=-3)


class Impatient(Scheduler):
    """A custom scheduler: these two methods and nothing else."""

    def should_stop(self, trial: Trial) -> bool:
        return trial.params["x"] < 0.5 and trial.step >= 3

    def allocate_resources(self, trial: Trial) -> Resources:
        return Resources(cpus=2)


def test_a_custom_scheduler_writes_should_stop_alone() -> None:
    run = simulate(RandomOptimizer(SPACE), Impatient(), curve, budget=12, steps=8)
    assert {trial.state for trial in run.trials} == {TrialState.COMPLETED, TrialState.PRUNED}
    for trial in run.trials:
        stopped = trial.params["x"] < 0.5
        assert trial.state is (TrialState.PRUNED if stopped else TrialState.COMPLETED)
        assert trial.step == (3 if stopped else 8)


def test_max_parallel_holds_in_a_run() -> None:
    for scheduler in (AsynchronousScheduler(max_parallel=2), BatchScheduler(batch_size=5, max_parallel=2)):
        run = simulate(RandomOptimizer(SPACE), scheduler, curve, budget=7, workers=4, steps=1)
        in_two_slots = sorted(run.trials[n].cost or 0 for n in range(7))
        assert run.clock >= sum(in_two_slots) / 2
        assert len(run.trials) == 7


class Recording(RandomOptimizer):
    """Writes down the order of its calls."""

    def __init__(self) -> None:
        super().__init__(SPACE)
        self.calls: list[str] = []

    def suggest(self, n: int) -> list[Trial]:
        self.calls.append(f"suggest {n}")
        return super().suggest(n)

    def observe(self, trial: Trial, result: float) -> None:
        self.calls.append(f"observe {trial.id}")


def test_a_batch_is_suggested_at_once_and_observed_in_trial_order() -> None:
    optimizer = Recording()
    run = simulate(optimizer, BatchScheduler(batch_size=4), curve, budget=6, workers=4)
    observed = run.optimizer
    assert isinstance(observed, Recording)
    assert observed.calls == [
        "suggest 4",
        *[f"observe {n}" for n in range(4)],
        "suggest 2",
        "observe 4",
        "observe 5",
    ]
    ended = [int(event.split()[2]) for event in run.events if "completed" in event]
    assert ended != sorted(ended)  # they did not end in that order
