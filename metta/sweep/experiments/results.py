"""What a sweep gives: its trials, the best of them, and why others failed."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from metta.sweep.errors import MissingExtraError, RunError, UsageError
from metta.sweep.experiments.run import OwnRun
from metta.sweep.experiments.trial_table import TrialTable, trial_table
from metta.sweep.goal import Objectives
from metta.sweep.optimizers.base import Restored
from metta.sweep.report.failed import failed_by_reason
from metta.sweep.report.importance import shares
from metta.sweep.report.ranking import pareto_front, ranking
from metta.sweep.report.snapshot import SweepSnapshot
from metta.sweep.report.text import clock, goal_text, shorten, trials_text
from metta.sweep.store.run import RunStatus
from metta.sweep.trial import FailureReason, Observation, Params, Result, Trial

WIDTH = 80


@dataclass(frozen=True, slots=True)
class SweepRecord:
    """A finished sweep as data.

    Attributes:
        name: of the sweep.
        objectives: what was optimized.
        trials: all of them, `trials[i].id == i`.
        seconds: wall time.
        seed: what its random choices were drawn from; the same seed repeats the sweep.
        ended: why it ended, as a phrase.
        recomputed: units of resource run again because a trial had saved no state.
        run_id: of the run in the store; None without a store.
        folder: of the run in the store; None without a store.
        resumed: how the optimizer was brought back when the sweep was resumed last; None if it never was.
    """

    name: str
    objectives: Objectives
    trials: tuple[Trial, ...]
    seconds: float
    seed: int
    ended: str
    recomputed: int = 0
    run_id: str | None = None
    folder: Path | None = None
    resumed: Restored | None = None


class SweepResult(OwnRun["SweepResult", SweepRecord]):
    """The result of a sweep, and the handle to it while it runs: every attribute waits for the end.

    `best_*` speak of the best trial among those that reached the largest resource, failed ones excepted.
    They raise RunError where no trial has a score, and UsageError for several objectives.
    """

    @property
    def name(self) -> str:
        """The sweep's name."""
        return self._record.name

    @property
    def trials(self) -> tuple[Trial, ...]:
        """All trials in the order they were started: `trials[i].id == i`."""
        return self._record.trials

    @property
    def seed(self) -> int:
        """The seed that repeats this sweep."""
        return self._record.seed

    @property
    def seconds(self) -> float:
        """Wall time in seconds."""
        return self._record.seconds

    @property
    def ended(self) -> str:
        """Why the sweep ended, as a phrase."""
        return self._record.ended

    @property
    def recomputed(self) -> int:
        """Units of resource that were run again because a trial had saved no state."""
        return self._record.recomputed

    @property
    def run_id(self) -> str | None:
        """The name of the run in its store, as `resume=` and the command line take it; None without a store."""
        return self._record.run_id

    @property
    def folder(self) -> Path | None:
        """The run's folder with its journal, and the states and logs of its trials; None without a store."""
        return self._record.folder

    @property
    def resumed(self) -> Restored | None:
        """How the optimizer was brought back when the sweep was resumed last; None if it never was."""
        return self._record.resumed

    @property
    def ranking(self) -> tuple[Trial, ...]:
        """The trials with a score, best first: by resource reached, then by score.

        With several objectives the score ranks by front of non-domination, then by crowding distance.
        """
        return ranking(self._record.trials, self._record.objectives)

    @property
    def pareto_front(self) -> tuple[Trial, ...]:
        """The trials that no other one beats in all objectives, among those that reached the largest resource.

        In the order of their numbers. With one objective it is the best trial, and those that are just as good.
        """
        return pareto_front(self._record.trials, self._record.objectives)

    def snapshot(self) -> SweepSnapshot:
        """The sweep as the figures take it; with a store also when which attempt ran where."""
        from metta.sweep.experiments.sweep_reading import snapshot_in

        record = self._record
        if record.folder is not None and record.run_id is not None:
            return snapshot_in(record.folder)
        return _remembered(record)

    def importance(self) -> dict[str, float]:
        """How much each parameter matters for a good result: path -> share, the largest first; they add up to 1.

        A parameter matters as much as it alone explains of the variance of the trials' ranks: see
        `report.importance.shares`.

        Raises:
            RunError: fewer than 8 trials have a score.
        """
        return shares(self.ranking)

    def lineage(self) -> dict[int, tuple[int, ...]]:
        """The forest of the trials: each one's number -> those of the forks that went on from its state.

        Only population based training forks; a trial that was promoted is the same trial. `trial.parent` is the way
        up.
        """
        forks: dict[int, list[int]] = {trial.id: [] for trial in self.trials}
        for trial in self.trials:
            if trial.parent is not None:
                forks[trial.parent].append(trial.id)
        return {number: tuple(found) for number, found in forks.items()}

    @property
    def best_trial(self) -> Trial:
        """The best trial."""
        record = self._record
        if not record.objectives.is_single:
            keys = ", ".join(record.objectives.keys)
            raise UsageError(
                f"several objectives ({keys}) have no best trial: read `pareto_front`, the trials that none other beats"
            )
        best = next(iter(self.ranking), None)
        if best is None:
            why = "; ".join(_failure_lines(record)) or f"{len(record.trials)} trials were started"
            raise RunError(f'sweep "{record.name}" has no trial with a score: {why}')
        return best

    @property
    def best_params(self) -> Params:
        """The parameters of the best trial."""
        return self.best_trial.params

    @property
    def best_score(self) -> float:
        """The score of the best trial."""
        score = self.best_trial.score
        assert isinstance(score, float)  # `ranking` keeps trials with a score, and there is one objective
        return score

    @property
    def best_metric(self) -> float:
        """The same as `best_score`: the best trial's value of the metric that the sweep optimized."""
        return self.best_score

    @property
    def observations(self) -> tuple[Observation, ...]:
        """Every trial that has an outcome, with it: what another optimizer can be warm-started from."""
        return tuple(
            Observation(trial, Result(trial.score, trial.cost, trial.failure))
            for trial in self.trials
            if trial.score is not None or trial.failure is not None
        )

    @property
    def failures(self) -> Mapping[FailureReason, tuple[Trial, ...]]:
        """The failed trials by reason; `trial.failure` has message and traceback."""
        return _failures(self.trials)

    def rows(self) -> list[dict[str, Any]]:
        """One flat row per trial: trial, state, score(s), step, cost, failure, and every parameter by its path."""
        return [_row(trial, self._record.objectives) for trial in self.trials]

    def to_dataframe(self) -> Any:
        """`rows()` as a `pandas.DataFrame`.

        Raises:
            MissingExtraError: pandas is not installed; `rows()` needs nothing.
        """
        from importlib import import_module

        try:
            pandas = import_module("pandas")
        except ImportError as missing:
            raise MissingExtraError("SweepResult.to_dataframe()", "pandas") from missing
        return pandas.DataFrame(self.rows())

    def print_table(self, top: int = 10) -> None:
        """Print the `top` best trials, what failed and why, and how the sweep ended."""
        from rich.console import Console

        self._print(Console(), top)

    def __str__(self) -> str:
        return self.to_text()

    def to_text(self, width: int = WIDTH, top: int = 10) -> str:
        """What `print_table` prints.

        Args:
            width: of the table, in columns; what there is no room for is named below it.
            top: how many of the best trials.
        """
        from rich.console import Console

        text = io.StringIO()
        self._print(Console(file=text, width=width, color_system=None, force_terminal=False, force_jupyter=False), top)
        return text.getvalue().rstrip("\n")

    def _repr_html_(self) -> str | None:
        """The same for a notebook, with the figures that say most: scores, what was traded, what mattered.

        None for a sweep that has failed: a notebook then shows the `repr`, not the frames of its own machinery.
        """
        return None if self._has_failed() else self._html()

    def _html(self) -> str:
        from html import escape

        from metta.sweep.report.figures import history, parameter_importance, pareto

        record = self._record
        snapshot = _remembered(record)  # the run's folder may be gone by now
        table = trial_table(record.trials, record.objectives, 10)
        cells = "".join(f"<th>{escape(column.title)}</th>" for column in table.columns)
        rows = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in table.rows)
        notes = "".join(f"<p>{escape(line)}</p>" for line in _notes(record))
        figures = (make(snapshot) for make in (history, pareto, parameter_importance))
        drawn = "".join(figure._repr_html_() for figure in figures if not figure.missing)
        return f"<table><thead><tr>{cells}</tr></thead><tbody>{rows}</tbody></table>{notes}{drawn}"

    def _repr_mimebundle_(
        self, include: Sequence[str] | None = None, exclude: Sequence[str] | None = None
    ) -> dict[str, str]:
        """For a notebook: the table with figures, and the table as text where there is no HTML."""
        from metta.sweep.report.figures.base import chosen

        if self._has_failed():
            return chosen({"text/plain": self.__repr__}, include, exclude)
        return chosen({"text/html": self._html, "text/plain": self.__str__}, include, exclude)

    def _print(self, console: Any, top: int) -> None:
        record = self._record
        table = trial_table(record.trials, record.objectives, top).fitted(console.width)
        console.print(table.to_rich(record.name))
        for line in [*_left_out(record, table), *_notes(record)]:
            console.print(line, markup=False, highlight=False, soft_wrap=True)


def _remembered(record: SweepRecord) -> SweepSnapshot:
    """The sweep as data, without its store."""
    return SweepSnapshot(
        run_id=record.run_id,
        name=record.name,
        status=RunStatus.COMPLETED.value,
        objectives=record.objectives,
        trials=record.trials,
        seconds=record.seconds,
        ended=record.ended,
    )


def _failures(trials: Sequence[Trial]) -> dict[FailureReason, tuple[Trial, ...]]:
    failed = [(trial.failure.reason, trial) for trial in trials if trial.failure is not None]
    reasons = dict.fromkeys(reason for reason, _ in failed)
    return {reason: tuple(trial for why, trial in failed if why is reason) for reason in reasons}


def _row(trial: Trial, objectives: Objectives) -> dict[str, Any]:
    score = trial.score
    scores = dict(score) if isinstance(score, Mapping) else {objectives.keys[0]: score}
    failure = trial.failure
    return {
        "trial": trial.id,
        "state": trial.state.value,
        **scores,
        "step": trial.step,
        "cost": trial.cost,
        "failure": None if failure is None else f"{failure.reason.value}: {failure.message}",
        **trial.params,
    }


def _left_out(record: SweepRecord, table: TrialTable) -> list[str]:
    """What there was no room for, and where it is."""
    if not table.left_out:
        return []
    where = ".rows()" if record.run_id is None else f"metta-sweep best {record.run_id}"
    return [f"no room for {shorten(', '.join(table.left_out), 120)}: see {where}"]


def _notes(record: SweepRecord) -> list[str]:
    """The lines below the table."""
    return [*_front_lines(record), _summary(record), *_failure_lines(record)]


def _front_lines(record: SweepRecord) -> list[str]:
    """With several objectives: what they are, and how many trials nobody beats; these are the first in the table."""
    if record.objectives.is_single:
        return []
    front = pareto_front(record.trials, record.objectives)
    return [f"Pareto front ({goal_text(record.objectives)}): {trials_text(len(front))}"]


def _summary(record: SweepRecord) -> str:
    states = [trial.state for trial in record.trials]
    told = ", ".join(f"{states.count(state)} {state.value}" for state in dict.fromkeys(states))
    epochs = sum(trial.step for trial in record.trials) + record.recomputed
    again = f" ({record.recomputed} of them again, no state was saved)" if record.recomputed else ""
    return (
        f"{len(record.trials)} trials ({told or 'none'}), {epochs} steps{again} in {clock(record.seconds)}; "
        f"seed {record.seed}; {record.ended}"
    )


def _failure_lines(record: SweepRecord) -> list[str]:
    """One line per reason, with the last trial's message."""
    return [shorten(str(failed), 200) for failed in failed_by_reason(record.trials)]
