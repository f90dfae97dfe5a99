"""SweepExperiment: search the parameters of another experiment."""

from __future__ import annotations

import asyncio
import contextlib
import copy
import logging
import secrets
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self, cast

from metta.sweep.errors import StorageError, UsageError
from metta.sweep.executors.base import Event, EventStream, Executor
from metta.sweep.executors.nest import LEAF_COST, NEST
from metta.sweep.executors.objective import Objective
from metta.sweep.experiments.aggregation import Aggregator, MeanAggregator, checked_aggregator
from metta.sweep.experiments.arguments import (
    check_paths,
    check_space,
    checked_base,
    checked_budget,
    checked_goal,
    checked_observations,
    checked_part,
    checked_seed,
    checked_text,
    names_repeats,
    objective_of,
)
from metta.sweep.experiments.base import Experiment, Pipeline, steps_to
from metta.sweep.experiments.budget import Budget
from metta.sweep.experiments.callbacks import checked_callbacks, told_too
from metta.sweep.experiments.checkpoints import Keep, checked_keep
from metta.sweep.experiments.ledger import Ledger
from metta.sweep.experiments.moves import Move
from metta.sweep.experiments.nested.executor import DriverExecutor, leaves
from metta.sweep.experiments.nested.sweep_trial import Inner, Watch, run_sweep_trial
from metta.sweep.experiments.observations import fitted
from metta.sweep.experiments.places import DEFAULT, Place, StoreLike, store_place
from metta.sweep.experiments.plan import Plan, plan_of
from metta.sweep.experiments.restore import Parts
from metta.sweep.experiments.results import SweepRecord, SweepResult
from metta.sweep.experiments.run import Run
from metta.sweep.experiments.session import Session, Standing
from metta.sweep.experiments.stages import begin, conclude, decide, launch, observe, suggest, wait
from metta.sweep.experiments.sweep_store import Adopt, Opened, Request, open_sweep
from metta.sweep.experiments.training import TrainingExperiment
from metta.sweep.goal import Direction, Goal, Objectives
from metta.sweep.optimizers.base import Optimizer
from metta.sweep.report.events import Callback, Listener, SweepEvent
from metta.sweep.report.live import live_view
from metta.sweep.schedulers.base import Scheduler
from metta.sweep.store.run import RunStatus
from metta.sweep.trial import Observation, Resources, Trial

if TYPE_CHECKING:
    from metta.sweep.compiler.graph import Graph
    from metta.sweep.runtime.compiled import CompiledGraph
    from metta.sweep.space import Distribution, SearchSpace

DEFAULT_TRIALS = 100
"""Configurations of `run()` without a budget, where the scheduler has no natural end."""

UNLIMITED_SLOTS = 1_000
"""Trials at once where neither the executor nor the scheduler sets a limit."""


PARTS: Final = ("optimizer", "scheduler")
"""The attributes of a sweep that have settings of their own."""


class SweepExperiment(Experiment[SweepResult]):
    """Searches the parameters of `base_experiment`.

    Args:
        base_experiment: what a trial runs: a function of a Trial (plain, generator or async), or an Experiment, its
            class or an instance, or a `CommandTraining`. Default: `TrainingExperiment`.
        name: for messages, drawings and the result.
        search_space: dot path -> distribution; None for the optimizer's own, else the base experiment's `tunables()`.
        optimizer: suggests configurations; default: `BayesianOptimizer`. The run works on a copy.
        scheduler: decides what runs how long; default: `AsynchronousScheduler`. The run works on a copy.
        executor: where trials run, an instance that stays open, or its class; default: the one of the sweep around
            this one, with its share of the slots, else `LocalExecutor`, a worker process per core.
        metric_key: the reported metric to optimize.
        goal: "maximize", "minimize", or a mapping metric -> direction for several objectives; None for the
            optimizer's own, else that of the searched experiment where it has a `goal`, else "maximize".
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
        budget: what `run()` takes where it is given none.
        warm_start: results of earlier sweeps, which the optimizer is told before it suggests anything. They are fitted
            into the search space: see `load_observations`.
        callbacks: functions that hear every event of a run (report/events.py), and loggers, such as
            `TensorBoardLogger("logs")`. Each hears them in a thread of its own, so that none stops or slows the sweep:
            one that raises is switched off for the rest of the run, with a warning. Those of a sweep that is a trial of
            another one hear nothing.

    A sweep over an experiment that `nests` (another sweep, say) runs its trials in the driver. The unit of resource of
    a sweep as a trial is one inner trial. What nested trials have used, in resource and in cost, is what the leaves
    below them have, so that a `Budget(resource=, cost=)` counts at the leaves; `Budget(seconds=)` is wall time at every
    level.

    Raises:
        UsageError: an argument is none of these, or the function cannot be called with one argument.
    """

    nests = True

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
        budget: int | Budget | None = None,
        warm_start: Sequence[Observation] = (),
        callbacks: Sequence[Listener | Callback] = (),
    ) -> None:
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
        self.executor: Executor | Callable[[], Executor] | None = executor
        if executor is not None and not callable(executor) and not hasattr(executor, "submit"):
            raise UsageError(
                f"executor={executor!r}: expected an executor such as LocalExecutor(max_workers=4), or its class"
            )
        self.goal: Goal = checked_goal(goal, self.optimizer, self.base_experiment)
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
        self.budget: int | Budget | None = None if budget is None else checked_budget(budget)
        self.warm_start: tuple[Observation, ...] = checked_observations(warm_start)
        self.callbacks: tuple[Listener | Callback, ...] = checked_callbacks(callbacks)

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
            budget: configurations to start, or a `Budget`; None for the sweep's own `budget`, else the scheduler's
                natural end, else 100. For a sweep that is resumed: the new total; None for the one that it was started
                with.
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
        retry_failed = retry_failed or (place is not None and place.retry_failed)
        request = self._request(budget, place, resume, allow_changed, retry_failed)
        return self._start(request, told_too(_listener(progress), self.callbacks))

    def _start(self, request: Request, tell: Listener, watch: Watch | None = None) -> SweepResult:
        return SweepResult.start(self._search(self.pipeline().compile(), request, tell, watch), self.name)

    def tunables(self) -> Mapping[str, Distribution[Any]]:
        """What a sweep of sweeps may tune: the settings of the optimizer ("optimizer.exploration", say) and of the
        scheduler ("scheduler.batch_size")."""
        return {
            f"{name}.{setting}": distribution
            for name in PARTS
            for setting, distribution in getattr(self, name).tunables().items()
        }

    def with_params(self, params: Mapping[str, Any]) -> Self:
        """As `Experiment.with_params`; optimizer and scheduler are made anew with the settings that `params` has.

        Raises:
            UsageError: a path leads to no attribute, or a setting is not accepted.
        """
        rest = {path: value for path, value in params.items() if path.partition(".")[0] not in PARTS or path in PARTS}
        changed = super().with_params(rest)
        for name in PARTS:
            start = f"{name}."
            settings = {path.removeprefix(start): value for path, value in params.items() if path.startswith(start)}
            if settings:
                changed = copy.copy(changed)
                setattr(changed, name, getattr(changed, name).with_arguments(**settings))
        return changed

    def check_params(self, paths: Iterable[str]) -> None:
        """As `Experiment.check_params`."""
        for path in paths:
            name, _, setting = path.partition(".")
            if name in PARTS and setting:
                getattr(self, name).check_argument(setting)
            else:
                steps_to(self, path)

    def evaluate(self, trial: Trial) -> float | Mapping[str, float] | None:
        """One trial of a sweep of sweeps, by hand: a whole sweep, judged by its best score; nothing is kept of it."""
        run: Run[float | Mapping[str, float] | None] = Run.start(self.evaluate_nested(trial), self.name)
        return run.value

    async def evaluate_nested(self, trial: Trial) -> float | Mapping[str, float] | None:
        """One trial of a sweep of sweeps; see `sweep_trial`."""
        changed = copy.copy(self.with_params(trial.params))
        changed.seed = trial.seed if changed.seed is None else changed.seed
        inner = Inner(changed.name, changed.objectives, changed._space(), changed.budget, changed._as_trial)
        return await run_sweep_trial(inner, trial)

    def _as_trial(
        self, budget: int | Budget | None, place: Place | None, inherited: Sequence[Observation], watch: Watch
    ) -> SweepResult:
        warm = copy.copy(self)
        warm.warm_start = (*self.warm_start, *inherited)
        return warm._start(
            warm._request(budget, place, False, False, place is not None and place.retry_failed), _silent, watch
        )

    def _settings(self) -> dict[str, Any]:
        space = self._space()
        return {**self._plan(space, self._warm(space)), "budget": str(self.budget)}

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
        base = self.base_experiment
        if isinstance(base, SweepExperiment) and not base.objectives.is_single:
            raise UsageError(f'the sweep "{base.name}" has several objectives: a sweep over it needs one score')
        space = self._space()
        own = self.budget if budget is None and not resume else budget
        limits, warm = self._limits(own), self._warm(space)
        request = Request(
            name=self.name,
            place=place,
            plan=self._plan(space, warm),
            fresh=partial(self._bound, space, warm),
            space=space,
            objectives=self.objectives,
            cost_key=self._cost_key,
            drawn_seed=secrets.randbits(32) if self.seed is None else self.seed,
            budget=limits,
            default_budget=Budget(trials=self.scheduler.natural_budget or DEFAULT_TRIALS),
            keep=self.keep_checkpoints,
            resume=resume,
            allow_changed=allow_changed,
            retry_failed=retry_failed,
            nested=self._is_nested,
            drawn=self._drawn,
        )
        optimizer, _ = request.fresh(request.drawn_seed)  # what cannot be bound is an error here
        check_space(optimizer, space, request.drawn_seed)
        return request

    def _drawn(self) -> Graph:
        """The graph that its run shows: that of what is searched where there is one, else the sweep's own."""
        base = self.base_experiment
        if isinstance(base, Experiment) and type(base).pipeline is not Experiment.pipeline:
            return base._compiled().graph
        return self.pipeline().compile().graph

    def _plan(self, space: SearchSpace | None, warm: Sequence[Observation]) -> Plan:
        return plan_of(
            objective=self.base_experiment,
            space=space,
            optimizer=self.optimizer,
            scheduler=self.scheduler,
            objectives=self.objectives,
            cost_key=self._cost_key,
            seed=self.seed,
            repeats=names_repeats(self.repeats, self.aggregate),
            nested=self._is_nested,
            warm_start=warm,
        )

    @property
    def _is_nested(self) -> bool:
        """Whether its trials are experiments that run in the driver."""
        return isinstance(self.base_experiment, Experiment) and self.base_experiment.nests

    @property
    def _cost_key(self) -> str | None:
        return LEAF_COST if self.cost_key is None and self._is_nested else self.cost_key

    def _warm(self, space: SearchSpace | None) -> Sequence[Observation]:
        """The observations that fit into the space."""
        return fitted(list(self.warm_start), space, self.name) if self.warm_start and space is not None else ()

    def _bound(self, space: SearchSpace | None, warm: Sequence[Observation], seed: int) -> Parts:
        """Fresh copies of optimizer and scheduler that know the space, the goal, the seed and earlier results."""
        optimizer = self.optimizer.copy()
        optimizer.bind(search_space=space, goal=self.goal, seed=seed)
        for known in warm:
            optimizer.observe(known.trial, known.result)
        scheduler = self.scheduler.copy()
        scheduler.search_space = space
        scheduler.bind(objectives=self.objectives, seed=seed)
        return optimizer, scheduler

    async def _search(
        self, graph: CompiledGraph, request: Request, tell: Listener, watch: Watch | None = None
    ) -> SweepRecord:
        async with leaves(self.executor) as below:
            limits = (below.slots, self.scheduler.max_parallel, UNLIMITED_SLOTS)
            slots = min(limit for limit in limits if limit is not None)
            executor, events = below.executor, below.executor.events()
            adopts = executor.outlives_driver and not request.nested
            adopt = partial(_adopted, executor, events) if adopts else None
            # What trials on other machines read and write has to be where those see it.
            scratch = getattr(executor, "spool", None)
            async with _taken_up(request, slots, tell, adopt, scratch) as opened:
                if request.nested:
                    at_once = min(slots, opened.ledger.budget.trials or slots)
                    executor = DriverExecutor(below, at_once, allow_changed=opened.has_changed, retried=opened.retried)
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
                        cost_key=self._cost_key,
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
                    nested=request.nested,
                    watch=_accounted(opened.run_id, watch),
                    events=events if adopts else None,
                    adopted=opened.adopted,
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


def _adopted(executor: Executor, events: EventStream, token: str, folder: Path, also_ended: bool) -> bool:
    return executor.reattach(token, events, folder, also_ended=also_ended)


def _accounted(run_id: str, watch: Watch | None) -> Watch | None:
    """`watch`, after what the sweep has spent was told to the trial that it belongs to."""
    nest = NEST.get()
    if nest is None:
        return watch

    def account(ledger: Ledger) -> None:
        nest.account(run_id, ledger.spent.resource, ledger.spent.cost)
        if watch is not None:
            watch(ledger)

    return account


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
async def _taken_up(
    request: Request, slots: int, tell: Listener, adopt: Adopt | None, scratch: Path | None
) -> AsyncIterator[Opened]:
    """The sweep's run, opened, and closed in the end. Reading it may take seconds, so threads do it."""
    opening = asyncio.ensure_future(asyncio.to_thread(open_sweep, request, slots, tell, adopt, scratch))
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
