"""Beginning a sweep and taking one up again: from what the user asked for to a ledger that can go on."""

from __future__ import annotations

import math
import shutil
import tempfile
import uuid
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from metta.sweep.compiler.drawing.file import keep_drawing
from metta.sweep.errors import RefusedError, UsageError
from metta.sweep.executors.remote import spool
from metta.sweep.experiments import records
from metta.sweep.experiments.budget import Budget
from metta.sweep.experiments.checkpoints import Checkpoints, Keep
from metta.sweep.experiments.ledger import Ledger
from metta.sweep.experiments.ledger_json import budget_to_json
from metta.sweep.experiments.places import Place
from metta.sweep.experiments.plan import FIXED, Plan, changes
from metta.sweep.experiments.replay import inform, introduce
from metta.sweep.experiments.restore import Parts, Restoration, restore
from metta.sweep.experiments.sweep_facts import Facts, facts_after, facts_of, start_of
from metta.sweep.experiments.sweep_journal import Clock, SweepJournal
from metta.sweep.optimizers.base import Restored
from metta.sweep.optimizers.params import ParamsCodec
from metta.sweep.report.events import Listener
from metta.sweep.store.files import make_folder
from metta.sweep.store.run import Run, RunStatus
from metta.sweep.store.runs import Store
from metta.sweep.trial import Trial, TrialState

if TYPE_CHECKING:
    from metta.sweep.compiler.graph import Graph
    from metta.sweep.goal import Objectives
    from metta.sweep.space import SearchSpace

KIND = "sweep"


@dataclass(frozen=True, slots=True)
class Request:
    """What the user asked for.

    Attributes:
        name: of the sweep.
        place: the store; None for none.
        plan: what must not change from run to run.
        fresh: the bound optimizer and scheduler for a seed.
        space: what is searched.
        objectives, cost_key: what is optimized, and what it costs.
        seed: as given; None to draw one, or to take the recorded one.
        drawn_seed: the seed of a new sweep.
        budget: as given; None for the recorded one, or for `default_budget`.
        default_budget: of a new sweep without one.
        keep: which states stay.
        resume: the run to go on with, True for the latest unfinished one of this name, False for a new one.
        allow_changed: whether the plan may differ from the recorded one.
        retry_failed: whether failed trials are tried again.
        nested: whether its trials are experiments that run in the driver.
        drawn: gives the graph that the run shows.
    """

    name: str
    place: Place | None
    plan: Plan
    drawn: Callable[[], Graph]
    fresh: Callable[[int], Parts]
    space: SearchSpace | None
    objectives: Objectives
    cost_key: str | None
    drawn_seed: int
    budget: Budget | None
    default_budget: Budget
    keep: Keep
    resume: bool | str = False
    allow_changed: bool = False
    retry_failed: bool = False
    nested: bool = False


class Adopted(NamedTuple):
    """An attempt of an earlier driver, which tells its events to this one.

    Attributes:
        trial: its number.
        attempt: which of the trial's, from 1.
        token: of its task.
        runs: whether it still counts; else it only has to end.
    """

    trial: int
    attempt: int
    token: str
    runs: bool


Adopt = Callable[[str, Path, bool], bool]
"""Takes over the attempt with a token, by the folder of its trial, also one that has ended or not; False where nothing
comes of it any more."""


def token_of(run_id: str, trial: int, attempt: int) -> str:
    """The token of an attempt."""
    return f"{run_id}-trial-{trial}-attempt-{attempt}"


@dataclass(slots=True)
class Opened:
    """A sweep that can go on: what its session needs. `close` when it is done."""

    run_id: str
    seed: int
    ledger: Ledger
    clock: Clock
    journal: SweepJournal
    checkpoints: Checkpoints
    trial_folder: Callable[[int], Path]
    restored: Restored | None
    is_kept: bool
    has_changed: bool = field(default=False, kw_only=True)
    """Whether it was ever resumed with another plan: the runs below it then may still have the old one."""
    retried: Collection[int] = field(default=(), kw_only=True)
    """The failed trials that are tried again."""
    adopted: Sequence[Adopted] = field(default=(), kw_only=True)
    """The attempts of an earlier driver that are not over."""
    publish: Callable[[RunStatus], None]
    close: Callable[[], None]


def open_sweep(
    request: Request, slots: int, tell: Listener, adopt: Adopt | None = None, scratch: Path | None = None
) -> Opened:
    """Begin the sweep that is asked for, or take it up again.

    Args:
        request: see there.
        slots: how many trials may run at once.
        tell: hears what happens from now on.
        adopt: takes over attempts that outlived their driver; None where none do.
        scratch: where a sweep without a store has its states; None: with the system's temporary files.

    Raises:
        UsageError: there is no such run.
        RefusedError: the plan has changed, or another driver holds the run.
        StorageError: the store cannot be read or written.
    """
    if request.place is None:
        return _without_store(request, slots, tell, scratch)
    store = Store.at(request.place.folder)
    name = _run_to_resume(store, request)
    run = store.create(request.name, KIND) if name is None else store.open(name, write=True)
    try:
        began = next(run.journal.events(kinds={records.STARTED}), None) is not None
        if not began and request.resume and request.budget is None:
            # Its driver died before the sweep began: nothing is lost, and nothing says what its budget was.
            raise UsageError(f"run {run.id} had not begun: say its budget= once more, or start a new one")
        return _resumed(run, request, slots, tell, adopt) if began else _begun(run, request, slots, tell)
    except BaseException:
        run.close()
        raise


def _run_to_resume(store: Store, request: Request) -> str | None:
    """The run to go on with; None for a new one."""
    place = request.place
    if isinstance(request.resume, str):
        return request.resume
    nested = place is not None and place.is_nested
    if not request.resume and not nested:
        return None
    # A run inside of a stage or a trial belongs to that: finished or not, there is no other one to go on with.
    latest = store.latest(request.name, unfinished=not nested)
    if latest is not None:
        return latest.id
    if request.resume:
        known = sorted({info.name for info in store.all()})
        there = f"there are runs of {', '.join(map(repr, known))}" if known else "there are no runs"
        raise UsageError(f'there is no unfinished run of "{request.name}" in {store.folder}: {there}')
    return None


def _without_store(request: Request, slots: int, tell: Listener, scratch: Path | None) -> Opened:
    if scratch is not None:
        make_folder(scratch)
    folder = Path(tempfile.mkdtemp(prefix="metta-sweep-", dir=scratch))
    seed = request.drawn_seed
    ledger = _new_ledger(request, request.budget or request.default_budget, slots, tell)
    trial_folder = partial(_trial_folder, folder)
    return Opened(
        uuid.uuid4().hex[:12],
        seed,
        ledger,
        Clock(),
        SweepJournal(None, ParamsCodec(request.space), {}),
        Checkpoints(folder, trial_folder, request.keep, ledger.scheduler.forks),
        trial_folder,
        None,
        False,
        _not_published,
        partial(shutil.rmtree, folder, ignore_errors=True),
    )


def _not_published(status: RunStatus) -> None:
    """Without a store nobody can look."""


def _trial_folder(folder: Path, number: int) -> Path:
    return folder / f"trial-{number:04}"


def _new_ledger(request: Request, budget: Budget, slots: int, tell: Listener) -> Ledger:
    optimizer, scheduler = request.fresh(request.drawn_seed)
    return Ledger(
        optimizer=optimizer,
        scheduler=scheduler,
        objectives=request.objectives,
        budget=budget,
        slots=slots,
        cost_key=request.cost_key,
        tell=tell,
        nested=request.nested,
    )


def _begun(run: Run, request: Request, slots: int, tell: Listener) -> Opened:
    """A new sweep in a run that has none yet."""
    clock = Clock()
    budget = request.budget or request.default_budget
    ledger = _new_ledger(request, budget, slots, tell)
    facts = Facts(request.name, request.drawn_seed, request.plan, clock.base)
    journal = SweepJournal(run.journal, ParamsCodec(request.space), {"facts": facts.to_json()})
    journal.note(
        clock.base,
        records.STARTED,
        name=request.name,
        seed=request.drawn_seed,
        plan=request.plan,
        base=clock.base,
        budget=budget_to_json(budget),
        slots=slots,
    )
    journal.commit(ledger)
    keep_drawing(run.folder, request.drawn())
    return _opened(run, request, ledger, clock, journal, facts, None)


def _opened(
    run: Run,
    request: Request,
    ledger: Ledger,
    clock: Clock,
    journal: SweepJournal,
    facts: Facts,
    restored: Restored | None,
) -> Opened:
    checkpoints = Checkpoints(
        run.folder, run.trial_folder, request.keep, ledger.scheduler.forks, resumed=restored is not None
    )
    publish = partial(_publish, run, ledger)
    return Opened(
        run.id, facts.seed, ledger, clock, journal, checkpoints, run.trial_folder, restored, True, publish, run.close
    )


def _publish(run: Run, ledger: Ledger, status: RunStatus) -> None:
    run.publish(status, Counter(trial.state.value for trial in ledger.trials), _best_score(ledger))


def _best_score(ledger: Ledger) -> float | None:
    """The best score at the largest resource; None without one, and for several objectives."""
    if not ledger.objectives.is_single:
        return None
    sign = 1 if ledger.objectives.directions[0] == "maximize" else -1
    scored = (trial for trial in ledger.trials if trial.state is not TrialState.FAILED)
    best = max(((trial.step, sign * score) for trial in scored if (score := _finite(trial)) is not None), default=None)
    return None if best is None else sign * best[1]


def _finite(trial: Trial) -> float | None:
    score = trial.score
    return score if isinstance(score, float) and math.isfinite(score) else None


def _resumed(run: Run, request: Request, slots: int, tell: Listener, adopt: Adopt | None) -> Opened:
    """The sweep of a run, from where its journal ends."""
    facts = facts_of(run.journal, start_of(run.journal), run.journal.snapshot())
    changed = _allowed_changes(facts, request)
    codec = ParamsCodec(request.space)
    fresh = partial(request.fresh, facts.seed)
    new_optimizer = not changed.keys().isdisjoint({"optimizer", "space", "seed"})
    restoration = restore(
        run.journal, codec, fresh, keep_optimizer=not new_optimizer, keep_scheduler="scheduler" not in changed
    )
    ledger = restoration.ledger
    if restoration.scheduler is None and "scheduler" not in changed and not request.allow_changed:
        told = "; ".join(restoration.differences)
        raise RefusedError(
            f"run {run.id} cannot go on as before: its scheduler decides otherwise than it did ({told}); "
            "allow_changed=True starts it again with the trials there are"
        )
    budget = _budget(request, ledger, run)
    if ledger.over is not None and budget == ledger.budget and not request.retry_failed:
        opened = _finished(run, request, restoration, codec, fresh)
        # Its driver may have died before it ended what the end has cut.
        opened.adopted = [] if adopt is None else _adopted(run, ledger, adopt)
        return opened
    clock = Clock(ledger.now)
    instant = clock.instant()
    ledger.now = instant - clock.base
    retry = [trial.id for trial in ledger.trials if trial.state is TrialState.FAILED] if request.retry_failed else []
    restarted = restoration.scheduler is None
    adopted = [] if adopt is None else _adopted(run, ledger, adopt)
    going_on = [found.trial for found in adopted if found.runs]
    lost = ledger.restart(slots=slots, budget=budget, retry=retry, drop_paused=restarted, adopted=going_on)
    _fence(run, ledger, {found.trial for found in adopted})
    optimizer, scheduler = restoration.optimizer, restoration.scheduler
    how = restoration.how
    if optimizer is None:
        optimizer, how = fresh()[0], Restored.OBSERVATIONS
        inform(optimizer, ledger)
    if scheduler is None:
        scheduler = fresh()[1]
        introduce(scheduler, ledger)
    ledger.optimizer, ledger.scheduler = optimizer, scheduler
    data: dict[str, Any] = {
        "base": clock.base,
        "budget": budget_to_json(budget),
        "slots": slots,
        "retry": retry,
        "drop_paused": restarted,
        "optimizer": how.value,
        "informed": restoration.optimizer is None,
        "scheduler": records.RESTARTED if restarted else "kept",
        "synchronous": scheduler.synchronous,
        "plan": request.plan if changed else None,
        "lost": lost,
        "adopted": going_on,
        "differences": restoration.differences,
    }
    facts = facts_after(facts, run.journal.last_seq + 1, data)
    journal = SweepJournal(run.journal, codec, {"facts": facts.to_json()}, restoration.entries)
    journal.note(instant, records.RESUMED, **data)
    journal.commit(ledger, snapshot=True)
    if changed:
        keep_drawing(run.folder, request.drawn())
    ledger.tell = tell
    opened = _opened(run, request, ledger, clock, journal, facts, how)
    opened.retried = retry
    opened.adopted = adopted
    opened.has_changed = any(event.data["plan"] for event in run.journal.events(kinds={records.RESUMED}))
    return opened


def _adopted(run: Run, ledger: Ledger, adopt: Adopt) -> list[Adopted]:
    """The attempts that outlived their driver: those that run, and those that were told to end or never heard it."""
    found = []
    for number, attempt in ledger.attempts.items():
        token, runs = token_of(run.id, number, attempt), number in ledger.running
        if adopt(token, run.trial_folder(number), runs):
            found.append(Adopted(number, attempt, token, runs))
    return found


def _fence(run: Run, ledger: Ledger, adopted: Collection[int]) -> None:
    """End what may still run elsewhere of trials that go on: this driver may have another executor than the last."""
    for number, attempt in ledger.attempts.items():
        if number not in adopted and not ledger.trials[number].state.is_finished:
            folder = spool.attempt_folder(token_of(run.id, number, attempt), run.trial_folder(number))
            if (folder / spool.TASK).exists():
                spool.fence(folder)


def _allowed_changes(facts: Facts, request: Request) -> dict[str, str]:
    """What has changed in the plan.

    Raises:
        RefusedError: something has, and must not.
    """
    changed = changes(facts.plan, request.plan)
    if never := [changed[part] for part in FIXED if part in changed]:
        raise RefusedError(
            f'"{facts.name}" cannot go on with another goal, seed or number of repeats ({"; ".join(never)}): '
            "start a new sweep"
        )
    allowed = request.allow_changed or (request.place is not None and request.place.allow_changed)
    if changed and not allowed:
        lines = "".join(f"\n  {text}" for text in changed.values())
        raise RefusedError(
            f'"{facts.name}" has changed since the run was started (recorded -> now):{lines}\n'
            "change it back, start a new run, or go on with allow_changed=True (--allow-changed)"
        )
    return changed


def _budget(request: Request, ledger: Ledger, run: Run) -> Budget:
    """The limits from now on: a new total, or those recorded."""
    named = isinstance(request.resume, str)
    if named and ledger.over is not None and request.budget is None and not request.retry_failed:
        spent = f"{ledger.spent.trials} trials were started, and {ledger.over}"
        raise UsageError(f"run {run.id} is finished ({spent}): give budget= a new total to extend it")
    return ledger.budget if request.budget is None else request.budget


def _finished(run: Run, request: Request, restoration: Restoration, codec: ParamsCodec, fresh: Any) -> Opened:
    """A sweep that is over and is not to go on: only its result is wanted."""
    ledger = restoration.ledger
    ledger.optimizer, ledger.scheduler = fresh()
    facts = restoration.facts
    journal = SweepJournal(None, codec, {})
    return _opened(run, request, ledger, Clock(ledger.now), journal, facts, restoration.how)
