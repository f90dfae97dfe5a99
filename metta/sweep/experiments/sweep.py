"""SweepExperiment: search the parameters of another experiment."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
from collections.abc import AsyncIterator, Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, cast

from metta.sweep.errors import StorageError, UsageError
from metta.sweep.executors.base import Event, Executor
from metta.sweep.executors.objective import Objective
from metta.sweep.experiments.aggregation import Aggregator, MeanAggregator, checked_aggregator
from metta.sweep.experiments.arguments import (
    check_paths,
    check_space,
    checked_base,
    checked_goal,
    checked_part,
    checked_seed,
    checked_text,
    names_repeats,
    objective_of,
)
from metta.sweep.experiments.base import Experiment, Pipeline
from metta.sweep.experiments.budget import Budget
from metta.sweep.experiments.checkpoints import Keep, checked_keep
from metta.sweep.experiments.moves import Move
from metta.sweep.experiments.places import DEFAULT, Place, StoreLike, store_place
from metta.sweep.experiments.plan import plan_of
from metta.sweep.experiments.restore import Parts
from metta.sweep.experiments.results import SweepRecord, SweepResult
from metta.sweep.experiments.session import Session, Standing
from metta.sweep.experiments.stages import begin, conclude, decide, launch, observe, suggest, wait
from metta.sweep.experiments.sweep_store import Opened, Request, open_sweep
from metta.sweep.experiments.training import TrainingExperiment
from metta.sweep.goal import Direction, Goal, Objectives
from metta.sweep.optimizers.base import Optimizer
from metta.sweep.report.events import Listener, SweepEvent
from metta.sweep.report.live import live_view
from metta.sweep.schedulers.base import Scheduler
from metta.sweep.store.run import RunStatus
from metta.sweep.trial import Resources, Trial

if TYPE_CHECKING:
    from metta.sweep.runtime.compiled import CompiledGraph
    from metta.sweep.space import Distribution, SearchSpace

DEFAULT_TRIALS = 100
"""Configurations of `run()` without a budget, where the scheduler has no natural end."""

UNLIMITED_SLOTS = 1_000
"""Trials at once where neither the executor nor the scheduler sets a limit."""


class SweepExperiment(Experiment[SweepResult]):
    """Searches the parameters of `base_experiment`.

    Args:
        base_experiment: what a trial runs: a function of a Trial (plain, generator or async), or an Experiment, its
            class or an instance, or a `CommandTraining`. Default: `TrainingExperiment`.
        name: for messages, drawings and the result.
        search_space: dot path -> distribution; None for the optimizer's own, else the base experiment's `tunables()`.
        optimizer: suggests configurations; default: `BayesianOptimizer`. The run works on a copy.
        scheduler: decides what runs how long; default: `AsynchronousScheduler`. The run works on a copy.
        executor: where trials run, an instance that stays open, or its class; default: `LocalExecutor`, a worker
            process per core.
        metric_key: the reported metric to optimize.
        goal: "maximize", "minimize", or a mapping metric -> direction for several objectives; None for the
            optimizer's own, else "maximize".
        cost_key: the reported metric that holds a trial's cost so far; None for seconds.
        seed: makes the sweep repeatable where the order of events is; None to draw one.
        store: the folder that keeps its runs; by default METTA_SWEEP_HOME, else `./.metta-sweep`; None: states and logs
            of the trials are removed when it is over, and it cannot be resumed. Also an open `Store`.
        keep_checkpoints: which saved states stay: of every trial the last one, with the state of the best score
            reported in the sweep ("last+best") or without ("last"); every one ("all"); none of trials that are over
            ("none").
        repeats: trainings of each configuration, each with its own `trial.seed`; they are one trial, run one after
            another (see repeats.py). Budgets count a step of all of them once, their seconds and costs in full.
        aggregate: makes one score of those of the repeats.
        deduplicate: whether a configuration that was completed before gives its recorded reports again, without
            running, when it is suggested again. It counts in the budget like any other. Not by default: where training
            is random, another run of the best configuration tells how lucky the first was.
        resources: what each trial needs. What the scheduler's `allocate_resources` says otherwise than `Resources()`
            counts instead, field by field.

    Raises:
        UsageError: an argument is none of these, or the function cannot be called with one argument.
    """

    def __init__(
        self,
        base_experiment: Experiment[Any] | type[Experiment[Any]] | Objective = TrainingExperiment,
        *,
        name: str = "sweep",
        search_space: SearchSpace | Mapping[str, object] | None = None,
        optimizer: Optimizer | None = None,
        scheduler: Scheduler | None = None,
        executor: Executor | Callable[[], Executor] | None = None,
        metric_key: str = "score",
        goal: Goal | Mapping[str, Direction | None] | None = None,
        cost_key: str | None = None,
        seed: int | None = None,
        store: StoreLike = DEFAULT,
        keep_checkpoints: str = "last+best",
        repeats: int = 1,
        aggregate: Aggregator | None = None,
        deduplicate: bool = False,
        resources: Resources | None = None,
    ) -> None:
        from metta.sweep.executors.local import LocalExecutor
        from metta.sweep.optimizers.bayesian import BayesianOptimizer
        from metta.sweep.schedulers import AsynchronousScheduler
        from metta.sweep.space import SearchSpace

        self.name = name
        self.base_experiment: Experiment[Any] | Objective = checked_base(base_experiment)
        self.search_space: SearchSpace | None = None if search_space is None else SearchSpace.of(search_space)
        self.optimizer: Optimizer = checked_part(
            "optimizer", BayesianOptimizer() if optimizer is None else optimizer, Optimizer
        )
        self.scheduler: Scheduler = checked_part(
            "scheduler", AsynchronousScheduler() if scheduler is None else scheduler, Scheduler
        )
        self.executor: Executor | Callable[[], Executor] = LocalExecutor if executor is None else executor
        if not callable(self.executor) and not hasattr(self.executor, "submit"):
            raise UsageError(
                f"executor={executor!r}: expected an executor such as LocalExecutor(max_workers=4), or its class"
            )
        self.goal: Goal = checked_goal(goal, self.optimizer)
        self.objectives: Objectives = Objectives.of(self.goal, checked_text("metric_key", metric_key))
        self.cost_key: str | None = None if cost_key is None else checked_text("cost_key", cost_key)
        self.seed: int | None = checked_seed(seed)
        self.store: StoreLike = store
        self.keep_checkpoints: Keep = checked_keep(keep_checkpoints)
        self.aggregate: Aggregator = checked_aggregator(MeanAggregator() if aggregate is None else aggregate, repeats)
        self.repeats = repeats
        self.deduplicate = deduplicate
        self.resources: Resources | None = (
            None if resources is None else checked_part("resources", resources, Resources)
        )

    def pipeline(self) -> Pipeline:
        """The loop of a sweep: decide, suggest, launch, wait, observe, until it is over.

        An override may add hooks and stages; it has to take the session and end in a SweepRecord.
        """
        return (
            Pipeline(session=Session)
            .stage("begin", begin)
            .through(standing=Standing)
            .loop_while(lambda now: not now.standing.over)
            .stage("decide", decide)
            .through(move=Move)
            .stage("suggest", suggest)
            .through(suggested=list[Trial])
            .stage("launch", launch)
            .through(launched=list[Trial])
            .stage("wait", wait)
            .through(events=list[Event])
            .stage("observe", observe)
            .through(standing=Standing)
            .end_loop()
            .stage("conclude", conclude)
            .through(SweepRecord)
        )

    def run(
        self,
        budget: int | Budget | None = None,
        *,
        resume: bool | str = False,
        store: StoreLike = DEFAULT,
        allow_changed: bool = False,
        retry_failed: bool = False,
        progress: bool | Listener = False,
    ) -> SweepResult:
        """Start the sweep: `await` the result, or read its attributes.

        Args:
            budget: configurations to start, or a `Budget`; None for the scheduler's natural end, else 100. For a sweep
                that is resumed: the new total; None for the one that it was started with.
            resume: go on with the latest unfinished run of this name, or with the one that is named (see
                `SweepResult.run_id`), also to extend a finished one.
            store: another one for this run than the sweep's.
            allow_changed: resume although the space, the code of the objective, the optimizer or the scheduler is
                another one than it was.
            retry_failed: try the trials that have failed again.
            progress: True for a live view on standard error; or a function that hears every event.

        Raises:
            UsageError: the budget, the space or the optimizer cannot be used; nothing was run.
            ContractError: an overridden pipeline is wrong; nothing was run.

        The result raises, when it is read, UsageError where there is no such run, RefusedError where the sweep has
        changed or another driver holds it, StorageError where the store cannot be written.
        """
        place = store_place(self.store if store is DEFAULT else store)
        if place is None and resume:
            raise UsageError("run(resume=...) of a sweep with store=None: without a store there is nothing to resume")
        request = self._request(budget, place, resume, allow_changed, retry_failed)
        main = self._search(self.pipeline().compile(), request, _listener(progress))
        return SweepResult.start(main, self.name)

    def tunables(self) -> Mapping[str, Distribution[Any]]:
        """What a sweep of sweeps may tune: the batch size, where the scheduler has one."""
        from metta.sweep.space import Integer

        return {"scheduler.batch_size": Integer(1, 16)} if hasattr(self.scheduler, "batch_size") else {}

    def evaluate(self, trial: Trial) -> float:
        """One trial of a sweep of sweeps: a whole sweep, judged by its best score."""
        return self.with_params(trial.params).run(store=None).best_score

    def _limits(self, budget: int | Budget | None) -> Budget | None:
        """The budget as given, None where none is."""
        limits = Budget.of(budget)
        if limits == Budget():
            return None
        if not self.objectives.is_single and (limits.target_score is not None or limits.patience is not None):
            raise UsageError("Budget(target_score=, patience=) need a single objective; this sweep has several")
        return limits

    def _space(self) -> SearchSpace | None:
        from metta.sweep.space import SearchSpace

        space: Any = self.search_space
        if space is not None and self.optimizer.search_space not in (None, space):
            raise UsageError("the sweep and its optimizer have different search spaces: give it to one of them")
        if space is None and self.optimizer.search_space is None and isinstance(self.base_experiment, Experiment):
            space = self.base_experiment.tunables() or None
        space = self.optimizer.search_space if space is None else SearchSpace.of(space)
        if space is not None:
            check_paths(self.base_experiment, space)
        return cast("SearchSpace | None", space)

    def _request(
        self,
        budget: int | Budget | None,
        place: Place | None,
        resume: bool | str,
        allow_changed: bool,
        retry_failed: bool,
    ) -> Request:
        limits, space = self._limits(budget), self._space()
        plan = plan_of(
            objective=self.base_experiment,
            space=space,
            optimizer=self.optimizer,
            scheduler=self.scheduler,
            objectives=self.objectives,
            cost_key=self.cost_key,
            seed=self.seed,
            repeats=names_repeats(self.repeats, self.aggregate),
        )
        request = Request(
            name=self.name,
            place=place,
            plan=plan,
            fresh=partial(self._bound, space),
            space=space,
            objectives=self.objectives,
            cost_key=self.cost_key,
            drawn_seed=secrets.randbits(32) if self.seed is None else self.seed,
            budget=limits,
            default_budget=Budget(trials=self.scheduler.natural_budget or DEFAULT_TRIALS),
            keep=self.keep_checkpoints,
            resume=resume,
            allow_changed=allow_changed,
            retry_failed=retry_failed,
        )
        optimizer, _ = request.fresh(request.drawn_seed)  # what cannot be bound is an error here
        check_space(optimizer, space, request.drawn_seed)
        return request

    def _bound(self, space: SearchSpace | None, seed: int) -> Parts:
        """Fresh copies of optimizer and scheduler that know the space, the goal and the seed."""
        optimizer = self.optimizer.copy()
        optimizer.bind(search_space=space, goal=self.goal, seed=seed)
        scheduler = self.scheduler.copy()
        scheduler.search_space = space
        scheduler.bind(objectives=self.objectives, seed=seed)
        return optimizer, scheduler

    async def _search(self, graph: CompiledGraph, request: Request, tell: Listener) -> SweepRecord:
        async with _opened(self.executor) as executor:
            limits = (executor.capacity, self.scheduler.max_parallel, UNLIMITED_SLOTS)
            slots = min(limit for limit in limits if limit is not None)
            async with _taken_up(request, slots, tell) as opened:
                session = Session(
                    name=self.name,
                    seed=opened.seed,
                    ledger=opened.ledger,
                    scheduler=opened.ledger.scheduler,
                    objective=objective_of(
                        self.base_experiment,
                        request.space,
                        repeats=self.repeats,
                        aggregator=self.aggregate,
                        objectives=self.objectives,
                        cost_key=self.cost_key,
                    ),
                    executor=executor,
                    checkpoints=opened.checkpoints,
                    trial_folder=opened.trial_folder,
                    run_id=opened.run_id,
                    clock=opened.clock,
                    journal=opened.journal,
                    tell=tell,
                    publish=partial(opened.publish, RunStatus.RUNNING),
                    resources=self.resources,
                    deduplicates=self.deduplicate,
                    restored=opened.restored,
                    is_kept=opened.is_kept,
                )
                error: BaseException | None = None
                try:
                    return await _run_stages(graph, session)
                except BaseException as failed:
                    error = failed
                    raise
                finally:
                    await session.close()
                    await asyncio.shield(asyncio.to_thread(session.end, error))


async def _run_stages(graph: CompiledGraph, session: Session) -> SweepRecord:
    """Run the pipeline to its record. When this is cancelled, the thread of its stages is brought to its end first."""
    stages = asyncio.ensure_future(graph.arun(session=session))
    try:
        record = await asyncio.shield(stages)
    except asyncio.CancelledError:
        session.stop()
        await asyncio.wait({stages})
        if not stages.cancelled():
            stages.exception()  # seen: what fails while it is being stopped is no news
        raise
    if not isinstance(record, SweepRecord):
        raise UsageError(
            f'the pipeline of sweep "{session.name}" gave {type(record).__name__}: it has to end in a SweepRecord'
        )
    return record


def _listener(progress: bool | Listener) -> Listener:
    if isinstance(progress, bool):
        return live_view() if progress else _silent
    return _guarded(progress)


def _silent(event: SweepEvent) -> None:
    pass


def _guarded(listener: Listener) -> Listener:
    """Whoever looks on must not end the sweep by an exception of his own."""

    def tell(event: SweepEvent) -> None:
        try:
            listener(event)
        except Exception:
            logging.getLogger("metta.sweep").exception("a progress listener failed at %r", event)

    return tell


@contextlib.asynccontextmanager
async def _opened(executor: Executor | Callable[[], Executor]) -> AsyncIterator[Executor]:
    """The executor given, which its owner closes; or a new one, closed when the sweep is over."""
    if not isinstance(executor, type) and hasattr(executor, "submit"):
        yield cast("Executor", executor)
        return
    own = cast("Callable[[], Executor]", executor)()
    try:
        yield own
    finally:
        # Closing waits for the processes' ends; a second Ctrl-C must not leave them behind.
        await asyncio.shield(asyncio.to_thread(own.close))


@contextlib.asynccontextmanager
async def _taken_up(request: Request, slots: int, tell: Listener) -> AsyncIterator[Opened]:
    """The sweep's run, opened, and closed in the end. Reading it may take seconds, so threads do it."""
    opening = asyncio.ensure_future(asyncio.to_thread(open_sweep, request, slots, tell))
    try:
        opened = await asyncio.shield(opening)
    except asyncio.CancelledError:
        # The thread goes on: what it opens is closed again before anybody hears that the run has ended.
        with contextlib.suppress(Exception):
            await asyncio.to_thread((await opening).close)
        raise
    status = RunStatus.FAILED
    try:
        await asyncio.to_thread(opened.publish, RunStatus.RUNNING)
        yield opened
        status = RunStatus.COMPLETED
    except asyncio.CancelledError:
        status = RunStatus.CANCELLED
        raise
    finally:
        await asyncio.shield(asyncio.to_thread(_leave, opened, status))


def _leave(opened: Opened, status: RunStatus) -> None:
    try:
        # A full disk must not hide what went wrong: the journal knows.
        with contextlib.suppress(StorageError):
            opened.publish(status)
    finally:
        opened.close()
