"""`metta-sweep best`: the best trials of a sweep, side by side."""

from __future__ import annotations

from collections.abc import Sequence

from metta.sweep.cli.opening import opened_sweep
from metta.sweep.cli.output import show
from metta.sweep.cli.shown import sheet, show_json, terminal_width
from metta.sweep.cli.sweep_text import trial_json
from metta.sweep.errors import RunError
from metta.sweep.experiments.sweep_status import SweepStatus, sweep_status
from metta.sweep.goal import Objectives
from metta.sweep.report.ranking import pareto_front, ranking
from metta.sweep.report.snapshot import state_text
from metta.sweep.report.text import goal_text, number_text, trials_text, value_text
from metta.sweep.store.nested import top_run
from metta.sweep.trial import Trial


def tell_best(text: str, *, store: str | None, top: int, as_json: bool) -> None:
    """Do what the command asks.

    Args:
        top: how many trials, at least 1.

    Raises:
        UsageError: there is no such run, or it is no sweep's.
        RunError: no trial has a score.
        DamagedError: the run is damaged.
    """
    with opened_sweep(text, store, "best") as run:
        sweep, is_below = sweep_status(run), top_run(run.folder) is not None
    id, objectives = sweep.run_id, sweep.objectives
    best = ranking(sweep.trials, objectives)[:top]
    if not best:
        raise RunError(f"no trial of {id} has a score: `metta-sweep status {id}` says why")
    front = None if objectives.is_single else {trial.id for trial in pareto_front(sweep.trials, objectives)}
    if as_json:
        trials = [
            trial_json(trial, sweep.status) | ({} if front is None else {"front": trial.id in front}) for trial in best
        ]
        goal = dict(zip(objectives.keys, objectives.directions, strict=True))
        show_json({"run": id, "status": sweep.status, "goal": goal, "trials": trials})
        return
    show(f"sweep {id}: {sweep.status.value}, {trials_text(len(sweep.trials))}, {goal_text(objectives)}\n")
    show("\n".join(sheet(rows_of(best, sweep, front), terminal_width())))
    where = text.rstrip("/") if is_below else id  # a run inside of another one is found from there only
    show(f"\nwhat trial {best[0].id} has printed: metta-sweep logs {where}/{best[0].id}")


def rows_of(trials: Sequence[Trial], sweep: SweepStatus, front: set[int] | None) -> list[list[str]]:
    """A column for each trial: its place, number, scores, how far it came, and its parameters.

    Args:
        sweep: that they are of.
        front: the trials of the Pareto front; None for one objective.
    """
    rows = [["place", *map(str, range(1, len(trials) + 1))], ["trial", *(str(trial.id) for trial in trials)]]
    if front is not None:
        rows.append(["Pareto front", *("yes" if trial.id in front else "-" for trial in trials)])
    for place, key in enumerate(sweep.objectives.keys):
        rows.append([key, *(_score(trial, sweep.objectives, place) for trial in trials)])
    rows.append(["step", *(str(trial.step) for trial in trials)])
    if any(trial.cost is not None for trial in trials):
        rows.append(["cost", *(number_text(trial.cost) for trial in trials)])
    rows.append(["state", *(state_text(trial.state, sweep.status) for trial in trials)])
    paths = dict.fromkeys(path for trial in trials for path in trial.params)
    return rows + [
        [path, *(value_text(trial.params[path]) if path in trial.params else "-" for trial in trials)] for path in paths
    ]


def _score(trial: Trial, objectives: Objectives, place: int) -> str:
    return "-" if trial.score is None else number_text(objectives.values(trial.score)[place])
