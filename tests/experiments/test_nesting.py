"""Trials that are experiments: in the driver, with their child runs, their accounts and their share of the workers."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import pytest

from metta.sweep.errors import RefusedError, RunError, UsageError
from metta.sweep.executors import LocalExecutor
from metta.sweep.experiments import (
    Budget,
    MetaExperiment,
    MetaMetaExperiment,
    MetaSweepExperiment,
    SweepExperiment,
    SweepResult,
    load_observations,
)
from metta.sweep.optimizers import EvolutionaryStrategy, GridOptimizer, RandomOptimizer
from metta.sweep.schedulers import ASHAScheduler, AsynchronousScheduler, PBTScheduler, SynchronousBatchScheduler
from metta.sweep.space import Choice, Integer, Uniform
from metta.sweep.trial import FailureReason, Trial, TrialState

from .nested_objectives import (
    SPACE,
    Asking,
    Holding,
    Shifted,
    StopSecond,
    TwoSweeps,
    broken,
    endless,
    loss,
    mended,
    noted,
    priced,
    quadratic,
    random_sweep,
    sweeping,
    sweeping_per_epoch,
)

SEEDS = {"seed": Integer(0, 1_000)}


@pytest.fixture
def notes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "notes"
    path.touch()
    monkeypatch.setenv("NOTES", str(path))
    return path


def inner_runs(result: SweepResult) -> list[Path]:
    assert result.folder is not None
    return sorted(result.folder.glob("trials/*/children/*/runs/*"))


# One mechanism, any number of levels


def test_a_trial_is_a_whole_sweep_with_the_trials_settings(tmp_path: Path) -> None:
    result = SweepExperiment(
        random_sweep(budget=3), search_space=SEEDS, optimizer=RandomOptimizer(), seed=5, store=tmp_path
    ).run(budget=3)
    assert not result.failures
    for trial in result.trials:
        alone = random_sweep(seed=trial.params["seed"]).run(budget=3)
        assert trial.score == alone.best_score
        assert [report.step for report in trial.reports] == [1, 2, 3]
        best_so_far = [max(float(str(t.score)) for t in alone.trials[: n + 1]) for n in range(3)]
        assert [report.metrics["score"] for report in trial.reports] == best_so_far


def test_the_runs_of_all_levels_are_one_tree(tmp_path: Path) -> None:
    batches = SynchronousBatchScheduler(batch_size=2)
    meta = MetaSweepExperiment(random_sweep(), RandomOptimizer(SEEDS), inner_budget=2, scheduler=batches)
    result = MetaMetaExperiment(
        meta, EvolutionaryStrategy(), inner_budget=2, meta_search_space={"scheduler.batch_size": Integer(1, 2)},
        store=tmp_path, seed=1,
    ).run(budget=2)  # fmt: skip
    assert not result.failures, str(result)
    assert result.folder is not None
    middle = inner_runs(result)
    assert len(middle) == 2
    lowest = [path for run in middle for path in run.glob("trials/*/children/*/runs/*")]
    assert len(lowest) == 4
    assert [path.name for path in (tmp_path / "runs").iterdir()] == [result.folder.name]
    assert len(load_observations(lowest[0])) == 2


def test_three_levels_with_one_slot_come_to_an_end() -> None:
    with LocalExecutor(max_workers=1) as executor:
        meta = MetaSweepExperiment(random_sweep(), RandomOptimizer(SEEDS), inner_budget=2)
        top = MetaMetaExperiment(
            meta, RandomOptimizer({"seed": Integer(0, 9)}), inner_budget=2, seed=0, executor=executor, store=None
        )
        result = top.run(budget=2).value
        assert [trial.state for trial in result.trials] == [TrialState.COMPLETED] * 2
        # One slot at each level: the order of everything is fixed, so it is the same with other slots and one trial.
        assert top.run(budget=2).best_score == result.best_score


@pytest.mark.parametrize(("max_parallel", "budget", "share"), [(2, 3, 2), (None, 2, 2), (None, 8, 1), (None, 1, 4)])
def test_the_slots_are_handed_down(max_parallel: int | None, budget: int, share: int, tmp_path: Path) -> None:
    """On four slots: each of the trials that run at once has its share of them."""
    seen: set[int] = set()

    class Spy(AsynchronousScheduler):
        def next(self, view):  # type: ignore[no-untyped-def]
            seen.add(view.free_slots + view.active)
            return super().next(view)

        def copy(self):  # type: ignore[no-untyped-def]
            return self

    with LocalExecutor(max_workers=4) as executor:
        result = SweepExperiment(
            random_sweep(scheduler=Spy(), budget=2),
            search_space=SEEDS,
            optimizer=RandomOptimizer(),
            scheduler=AsynchronousScheduler(max_parallel=max_parallel),
            executor=executor,
            store=tmp_path,
        ).run(budget=budget)
        assert not result.failures
    assert seen == {share}


def test_an_experiment_with_sweeps_in_its_stages_is_a_trial(tmp_path: Path) -> None:
    result = SweepExperiment(
        TwoSweeps(), search_space={"trials": Choice([1, 2])}, optimizer=GridOptimizer(), store=tmp_path, seed=0
    ).run(budget=2)
    assert not result.failures, str(result)
    for trial in result.trials:
        best = [random_sweep(seed=seed).run(budget=trial.params["trials"]).best_score for seed in (1, 2)]
        assert trial.score == max(best)
        assert trial.reports[-1].metrics["leaf_resource"] == 2 * trial.params["trials"]
    pipelines = inner_runs(result)
    assert len(pipelines) == 2
    assert all(trial.cost > 0 for trial in result.trials if trial.cost is not None)
    assert all(len(list(run.glob("children/*/runs/*"))) == 2 for run in pipelines)


# What was used


def test_resource_and_cost_are_those_of_the_leaves(tmp_path: Path) -> None:
    inner = random_sweep(priced, cost_key="price", budget=2)
    middle = SweepExperiment(inner, search_space=SEEDS, optimizer=RandomOptimizer(), budget=2)
    top = SweepExperiment(middle, search_space=SEEDS, optimizer=RandomOptimizer(), store=tmp_path, seed=0)
    result = top.run(budget=2)
    for trial in result.trials:
        assert trial.reports[-1].metrics["leaf_resource"] == 2 * 2 * 3
        assert trial.cost == 2 * 2 * 6


def test_a_budget_of_resource_counts_at_the_leaves(tmp_path: Path) -> None:
    with LocalExecutor(max_workers=1) as executor:
        sweep = SweepExperiment(
            random_sweep(priced, budget=2), search_space=SEEDS, optimizer=RandomOptimizer(), executor=executor, seed=0
        )
        result = sweep.run(budget=Budget(resource=18), store=tmp_path).value
    assert result.ended == "the resource budget of 18 was used up"
    assert [trial.step for trial in result.trials] == [2, 2, 2]


def test_what_follows_the_last_report_is_paid_for_too(tmp_path: Path) -> None:
    result = SweepExperiment(
        Asking(after=2), search_space=SEEDS, optimizer=RandomOptimizer(), store=tmp_path, seed=0
    ).run(budget=Budget(resource=6))  # fmt: skip
    assert not result.failures, str(result)
    assert result.trials[0].reports[-1].metrics["leaf_resource"] == 1
    assert result.ended == "the resource budget of 6 was used up"
    finished = [trial for trial in result.trials if trial.state is TrialState.COMPLETED]
    assert len(finished) <= 2  # three steps each


def test_without_a_score_the_trial_fails_and_says_why(tmp_path: Path) -> None:
    result = SweepExperiment(
        random_sweep(broken, name="inner", budget=2), search_space=SEEDS, optimizer=RandomOptimizer(), store=tmp_path
    ).run(budget=1)
    (trial,) = result.failures[FailureReason.USER_ERROR]
    assert trial.failure is not None
    assert "inner" in trial.failure.message
    assert "no such layer" in trial.failure.message


def test_what_failed_trials_have_used_counts(tmp_path: Path) -> None:
    """Every inner trial fails: a budget of resource ends all the same, at every level."""
    inner = random_sweep(broken, budget=3)
    result = SweepExperiment(inner, search_space=SEEDS, optimizer=RandomOptimizer(), store=tmp_path, seed=0).run(
        budget=Budget(resource=6)
    )
    assert len(result.failures[FailureReason.USER_ERROR]) >= 2
    assert result.ended == "the resource budget of 6 was used up"
    assert random_sweep(broken).run(budget=Budget(resource=4)).ended == "the resource budget of 4 was used up"


@pytest.mark.parametrize("goal", ["minimize", {"score": "minimize"}])
def test_what_a_loss_is_stays_one(goal: Any, tmp_path: Path) -> None:
    result = MetaExperiment(
        random_sweep(loss, goal=goal), RandomOptimizer(SEEDS), inner_budget=3, seed=1, store=tmp_path
    ).run(budget=3)
    alone = [random_sweep(loss, goal=goal, seed=t.params["seed"]).run(budget=3).best_score for t in result.trials]
    assert result.best_score == min(alone)


def test_repeats_are_sweeps_with_seeds_of_their_own(tmp_path: Path) -> None:
    result = MetaExperiment(
        random_sweep(), RandomOptimizer({"deduplicate": Choice([True, False])}), inner_budget=2, meta_repeats=3, seed=1,
        store=tmp_path,
    ).run(budget=1)  # fmt: skip
    assert not result.failures, str(result)
    assert len(inner_runs(result)) == 3
    scores = [max(float(str(o.result.score)) for o in load_observations(run)) for run in inner_runs(result)]
    assert len(set(scores)) == 3
    assert result.best_score == pytest.approx(sum(scores) / 3)


def test_a_promoted_experiment_pays_for_every_grant(tmp_path: Path) -> None:
    """Each grant is a run of its own: what they have used adds up."""
    with LocalExecutor(max_workers=1) as executor:
        result = SweepExperiment(
            TwoSweeps(2), search_space={"trials": Choice([1, 2])}, optimizer=GridOptimizer(), executor=executor,
            scheduler=ASHAScheduler(max_epochs=2, reduction_factor=2, grace_period=1), store=tmp_path, seed=0,
        ).run(budget=2).value  # fmt: skip
    promoted = [trial for trial in result.trials if trial.step == 2]
    assert promoted
    for trial in promoted:
        used = [report.metrics["leaf_resource"] for report in trial.reports]
        assert used == [2 * trial.params["trials"], 4 * trial.params["trials"]]


def test_a_copied_result_costs_nothing(tmp_path: Path) -> None:
    with LocalExecutor(max_workers=1) as executor:  # the second one comes when the first has ended
        result = SweepExperiment(
            random_sweep(budget=2), search_space={"seed": Choice([3])}, optimizer=RandomOptimizer(), executor=executor,
            store=tmp_path, deduplicate=True, seed=0,
        ).run(budget=2).value  # fmt: skip
    assert [trial.reports[-1].metrics["leaf_resource"] for trial in result.trials] == [2, 0]


# Schedulers over sweeps


def test_a_promoted_sweep_goes_on_with_its_own_run(tmp_path: Path, notes: Path) -> None:
    scheduler = ASHAScheduler(max_epochs=4, reduction_factor=2, grace_period=2)
    with LocalExecutor(max_workers=1) as executor:
        result = SweepExperiment(
            random_sweep(noted), search_space=SEEDS, optimizer=RandomOptimizer(), scheduler=scheduler,
            executor=executor, store=tmp_path, seed=2,
        ).run(budget=4).value  # fmt: skip
    assert not result.failures, str(result)
    promoted = [trial for trial in result.trials if trial.step == 4]
    assert promoted
    assert len(inner_runs(result)) == 4
    assert len(notes.read_text().split()) == sum(trial.step for trial in result.trials)  # nothing ran twice
    assert result.recomputed == 0
    best = promoted[0]
    assert best.score == random_sweep(seed=best.params["seed"]).run(budget=4).best_score


def test_an_exploit_copies_what_the_donor_has_observed(tmp_path: Path) -> None:
    with LocalExecutor(max_workers=1) as executor:
        result = MetaExperiment(
            SweepExperiment(quadratic, optimizer=Shifted(SPACE)),
            PBTScheduler(population_size=4, num_generations=3, max_resource=6),
            executor=executor, seed=3, store=tmp_path,
        ).run().value  # fmt: skip
    assert not result.failures, str(result)
    forks = [trial for trial in result.trials if trial.parent is not None]
    assert forks
    for fork in forks:
        assert fork.parent is not None
        donor = result.trials[fork.parent]
        first = fork.reports[0]
        known = [report for report in donor.reports if report.step < first.step]
        # It goes on at its donor's step, and never falls behind what the donor had found by then.
        assert first.step == known[-1].step + 1
        assert first.metrics["score"] >= known[-1].metrics["score"]
        assert first.metrics["leaf_resource"] == 1
    assert result.best_params["optimizer.region"] == pytest.approx(0.3, abs=0.2)


def test_a_sweep_is_stopped_between_two_of_its_trials(tmp_path: Path, notes: Path) -> None:
    with LocalExecutor(max_workers=1) as executor:
        result = SweepExperiment(
            random_sweep(noted, budget=50), search_space=SEEDS, optimizer=RandomOptimizer(), scheduler=StopSecond(),
            executor=executor, store=tmp_path, seed=2,
        ).run(budget=2).value  # fmt: skip
    assert [trial.state for trial in result.trials] == [TrialState.COMPLETED, TrialState.PRUNED]
    assert result.trials[1].step < 50
    assert len(notes.read_text().split()) < 100


# The ends


def test_cancelling_reaches_the_leaves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    workers = tmp_path / "workers"
    workers.mkdir()
    monkeypatch.setenv("WORKERS", str(workers))
    meta = MetaSweepExperiment(random_sweep(endless), RandomOptimizer(SEEDS), inner_budget=2)
    run = MetaMetaExperiment(meta, RandomOptimizer({"seed": Integer(0, 9)}), store=tmp_path).run(budget=2)
    while not list(workers.iterdir()):
        time.sleep(0.01)
    run.cancel()
    with pytest.raises(RunError, match="cancelled"):
        _ = run.best_score
    for path in workers.iterdir():
        with pytest.raises(ProcessLookupError):
            os.kill(int(path.name), 0)


def test_a_nested_trial_has_a_time_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from metta.sweep.trial import Resources

    workers = tmp_path / "workers"
    workers.mkdir()
    monkeypatch.setenv("WORKERS", str(workers))
    result = SweepExperiment(
        random_sweep(endless, budget=2), search_space=SEEDS, optimizer=RandomOptimizer(),
        resources=Resources(time_limit=1.0), store=tmp_path,
    ).run(budget=1)  # fmt: skip
    assert list(result.failures) == [FailureReason.TIMEOUT]


def test_a_finished_tree_is_extended(tmp_path: Path, notes: Path) -> None:
    sweep = SweepExperiment(
        random_sweep(noted, budget=2), search_space=SEEDS, optimizer=RandomOptimizer(), seed=1, store=tmp_path
    )
    first = sweep.run(budget=2)
    assert first.run_id is not None
    more = sweep.run(budget=3, resume=first.run_id)
    assert [trial.score for trial in more.trials[:2]] == [trial.score for trial in first.trials]
    assert len(notes.read_text().split()) == 6


def test_an_experiment_in_an_attribute_is_part_of_the_plan(tmp_path: Path) -> None:
    def outer(seed: int) -> SweepExperiment:
        holder = Holding(random_sweep(seed=seed))
        return SweepExperiment(
            holder, search_space={"trials": Choice([1])}, optimizer=RandomOptimizer(), store=tmp_path
        )

    first = outer(1).run(budget=1)
    assert first.run_id is not None
    with pytest.raises(RefusedError, match=r"settings\.sweep\.seed"):
        outer(2).run(budget=2, resume=first.run_id).value  # noqa: B018


def test_an_error_above_a_waiting_trial_ends_the_run(tmp_path: Path) -> None:
    """An async stage asks whether to stop while the sweep around it dies: nobody waits for the other."""

    class Faulty(RandomOptimizer):
        def observe(self, trial: Trial, result: object) -> None:
            raise ValueError("a bug in observe")

    asha = ASHAScheduler(max_epochs=2, reduction_factor=2, grace_period=1)
    sweep = SweepExperiment(Asking(), search_space=SEEDS, optimizer=Faulty(), scheduler=asha, store=tmp_path, seed=1)
    with pytest.raises(ValueError, match="a bug in observe"):
        sweep.run(budget=4).value  # noqa: B018


def test_what_has_failed_below_is_tried_again(tmp_path: Path, notes: Path) -> None:
    sweep = SweepExperiment(
        random_sweep(mended, budget=2), search_space=SEEDS, optimizer=RandomOptimizer(), store=tmp_path, seed=1
    )
    first = sweep.run(budget=1)
    assert list(first.failures) == [FailureReason.USER_ERROR]
    assert first.run_id is not None
    notes.write_text("mended")
    again = sweep.run(resume=first.run_id, retry_failed=True)
    assert not again.failures, str(again)
    assert again.trials[0].reports[-1].metrics["leaf_resource"] == 4  # two that failed count, too


def test_an_inner_sweep_that_is_ahead_reports_every_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The driver died when the inner run had come further than what the trial had reported."""
    sweep = SweepExperiment(
        random_sweep(budget=6), search_space=SEEDS, optimizer=RandomOptimizer(), store=tmp_path, seed=1
    )
    # What was reported in the middle never reached the sweep around it.
    with monkeypatch.context() as lost:
        lost.setattr("metta.sweep.experiments.nested.sweep_trial._SweepTrial._watch", lambda self, ledger: None)
        first = sweep.run(budget=1)
        assert [report.step for report in first.trials[0].reports] == [1]
    child = inner_runs(first)[0]
    seed = first.trials[0].params["seed"]
    fresh = SweepExperiment(
        random_sweep(budget=6), search_space={"seed": Choice([seed])}, optimizer=RandomOptimizer(),
        store=tmp_path / "b", seed=1,
    )  # fmt: skip

    def with_child(self: object, name: str) -> Path:
        return child.parents[1]

    monkeypatch.setattr("metta.sweep.executors.nest.Nest.child", with_child)
    trial = fresh.run(budget=1).trials[0]
    assert [report.step for report in trial.reports] == [1, 2, 3, 4, 5, 6]


def test_several_objectives_are_no_score(tmp_path: Path) -> None:
    two = random_sweep(goal={"score": "maximize", "price": "minimize"})
    with pytest.raises(UsageError, match="a sweep over it needs one score"):
        SweepExperiment(two, search_space=SEEDS, optimizer=RandomOptimizer(), store=tmp_path).run(budget=1)


def test_a_changed_inner_sweep_is_refused(tmp_path: Path) -> None:
    def outer(**settings: object) -> SweepExperiment:
        inner = random_sweep(budget=2, **settings)
        return SweepExperiment(inner, search_space=SEEDS, optimizer=RandomOptimizer(), seed=1, store=tmp_path)

    first = outer().run(budget=1)
    assert first.run_id is not None
    changed = outer(keep_checkpoints="none", scheduler=SynchronousBatchScheduler(batch_size=2))
    with pytest.raises(RefusedError, match="objective"):
        changed.run(budget=2, resume=first.run_id).value  # noqa: B018
    assert len(outer().run(budget=2, resume=first.run_id).trials) == 2


# Sweeps that a worker starts


def test_a_sweep_in_a_worker_is_a_child_of_its_trial(tmp_path: Path, notes: Path) -> None:
    result = random_sweep(sweeping, seed=0, store=tmp_path / "store").run(budget=2)
    assert not result.failures, str(result)
    assert len(inner_runs(result)) == 2
    assert len(list((tmp_path / "store" / "runs").iterdir())) == 1
    assert {trial.score for trial in result.trials} == {random_sweep(seed=3).run(budget=2).best_score}


def test_a_worker_that_goes_on_from_a_state_starts_new_runs(tmp_path: Path, notes: Path) -> None:
    """Paused after two epochs and resumed: the third epoch's sweep is not taken for the first one's."""
    scheduler = ASHAScheduler(max_epochs=4, reduction_factor=2, grace_period=2)
    result = random_sweep(sweeping_per_epoch, scheduler=scheduler, seed=0, store=tmp_path).run(budget=2)
    assert not result.failures, str(result)
    assert sorted(trial.step for trial in result.trials) == [2, 4]
    best = max(result.trials, key=lambda trial: trial.step)
    expected = [random_sweep(seed=epoch).run(budget=1).best_score for epoch in range(4)]
    assert [report.metrics["score"] for report in best.reports] == expected
    assert len(notes.read_text().split()) == 6


# What is given


def test_settings_of_the_parts_are_parameters() -> None:
    sweep = SweepExperiment(quadratic, optimizer=Shifted(SPACE), scheduler=SynchronousBatchScheduler(batch_size=2))
    assert set(sweep.tunables()) == {"optimizer.region", "scheduler.batch_size"}
    changed = sweep.with_params({"optimizer.region": 0.5, "scheduler.batch_size": 3, "seed": 7})
    assert isinstance(changed.optimizer, Shifted)
    assert isinstance(changed.scheduler, SynchronousBatchScheduler)
    assert (changed.optimizer.region, changed.scheduler.batch_size, changed.seed) == (0.5, 3, 7)
    assert isinstance(sweep.optimizer, Shifted)
    assert (sweep.optimizer.region, sweep.seed) == (0.0, None)


def test_a_path_leads_through_experiments_and_parts() -> None:
    inner = SweepExperiment(quadratic, optimizer=Shifted(SPACE), name="inner")
    outer = SweepExperiment(inner, search_space=SEEDS, optimizer=RandomOptimizer())
    changed = outer.with_params({"base_experiment.optimizer.region": 0.5, "base_experiment.seed": 3})
    assert isinstance(changed.base_experiment, SweepExperiment)
    assert isinstance(changed.base_experiment.optimizer, Shifted)
    assert (changed.base_experiment.optimizer.region, changed.base_experiment.seed) == (0.5, 3)
    assert changed.base_experiment.optimizer.with_arguments(seed=1).region == 0.5
    with pytest.raises(UsageError, match="expected a number from 0 to 1"):
        outer.with_params({"base_experiment.optimizer.region": 2.0})
    with pytest.raises(UsageError, match="did you mean 'region'"):
        outer.check_params(["base_experiment.optimizer.regoin"])


@pytest.mark.parametrize(
    ("space", "message"),
    [
        ({"optimizer.regoin": Uniform(0, 1)}, "Shifted has no argument 'regoin': did you mean 'region'"),
        ({"scheduler.batchsize": Integer(1, 2)}, "did you mean 'batch_size'"),
        ({"optimiser": Choice([1, 2])}, "did you mean 'optimizer'"),
    ],
)
def test_a_wrong_path_is_told_before_anything_runs(space: dict[str, object], message: str) -> None:
    inner = SweepExperiment(quadratic, optimizer=Shifted(SPACE), scheduler=SynchronousBatchScheduler(batch_size=2))
    with pytest.raises(UsageError, match=message):
        SweepExperiment(inner, search_space=space, optimizer=RandomOptimizer(), store=None).run(budget=1)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: MetaExperiment(random_sweep(), name="m"), r"nothing of SweepExperiment may be tuned"),
        (lambda: MetaExperiment(SweepExperiment, serch_space=SPACE), "did you mean 'search_space'"),
        (lambda: MetaExperiment(random_sweep(), goal="minimize"), "the base is an instance already"),
        (lambda: MetaExperiment(3), "base=3: expected an experiment"),  # type: ignore[arg-type]
        (lambda: MetaExperiment(SweepExperiment, PBTScheduler(), scheduler=PBTScheduler()), "give one of them"),
        (lambda: MetaExperiment(SweepExperiment, inner_budget=0), "budget=0"),
        (lambda: SweepExperiment(quadratic, warm_start=[1.0]), "expected observations"),  # type: ignore[list-item]
        (lambda: SweepExperiment(quadratic, budget=-1), "budget=-1"),
    ],
)
def test_wrong_arguments(make, message: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(UsageError, match=message):
        make()


def test_a_warm_start_is_told_to_the_optimizer(tmp_path: Path) -> None:
    told: list[float] = []

    class Listening(RandomOptimizer):
        def observe(self, trial: Trial, result: object) -> None:
            told.append(trial.params["x"])

    earlier = random_sweep(seed=1).run(budget=3)
    sweep = SweepExperiment(
        quadratic, search_space=SPACE, optimizer=Listening(), seed=2, warm_start=earlier.observations, store=tmp_path
    )
    sweep.run(budget=1).value  # noqa: B018
    assert told[:3] == [trial.params["x"] for trial in earlier.trials]
    with pytest.warns(UserWarning, match="searched another space; dropped: x"):
        SweepExperiment(quadratic, search_space={"y": Uniform(0, 1)}, warm_start=earlier.observations).run(budget=1)


def test_by_hand_a_sweep_is_evaluated_like_any_experiment() -> None:
    metrics = random_sweep(seed=1, budget=3).evaluate(Trial({"seed": 4}))
    assert metrics == {"score": random_sweep(seed=4).run(budget=3).best_score}
