"""What a sweep's result says: Pareto front, importance, lineage, tables."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from metta.sweep.errors import RunError, UsageError
from metta.sweep.experiments import SweepResult
from metta.sweep.experiments.driver import Job
from metta.sweep.experiments.results import SweepRecord
from metta.sweep.goal import Goal, Objectives
from metta.sweep.trial import Failure, FailureReason, Report, Trial, TrialState


def trial(number: int, score: Any, step: int = 1, state: TrialState = TrialState.COMPLETED, **params: Any) -> Trial:
    made = Trial(params, number)
    made.state = state
    metrics: Mapping[str, float] = score if isinstance(score, dict) else {"score": score}
    made.add_report(Report(step, metrics))
    made.score = score
    if state is TrialState.FAILED:
        made.failure = Failure(FailureReason.USER_ERROR, "no such layer")
    return made


def result(*trials: Trial, goal: Goal = "maximize") -> SweepResult:
    record = SweepRecord("sweep", Objectives.of(goal), trials, 1.0, 0, "the scheduler was done")
    return SweepResult(Job.finished("sweep", record))


def page(found: SweepResult) -> str:
    """What a notebook shows of it."""
    return found._repr_mimebundle_()["text/html"]


TWO: Goal = {"accuracy": "maximize", "latency": "minimize"}


def pair(number: int, accuracy: float, latency: float, step: int = 1) -> Trial:
    return trial(number, {"accuracy": accuracy, "latency": latency}, step)


def test_the_front_is_what_no_other_trial_beats_at_the_largest_resource() -> None:
    found = result(
        pair(0, 0.9, 5.0, step=2),
        pair(1, 0.8, 1.0, step=2),
        pair(2, 0.8, 2.0, step=2),  # beaten by 1
        pair(3, 1.0, 0.1, step=1),  # not at the largest resource
        pair(4, 0.9, 5.0, step=2),  # the same as 0
        trial(5, {"accuracy": 1.0, "latency": 0.0}, 2, TrialState.FAILED),
        goal=TWO,
    )
    assert [trial.id for trial in found.pareto_front] == [0, 1, 4]


def test_the_table_of_several_objectives_names_them_and_counts_the_front() -> None:
    found = result(pair(0, 0.9, 5.0), pair(1, 0.8, 1.0), pair(2, 0.8, 2.0), goal=TWO)
    told = "Pareto front (maximize accuracy, minimize latency): 2 trials"
    assert told in str(found).splitlines()
    assert f"<p>{told}</p>" in page(found)
    assert "Pareto" not in str(result(trial(0, 1.0)))
    assert "latency): 0 trials" in str(result(goal=TWO))


def test_with_one_objective_the_front_is_the_best_trial_and_its_equals() -> None:
    found = result(trial(0, 1.0), trial(1, 3.0), trial(2, 3.0), trial(3, 9.0, state=TrialState.FAILED))
    assert [trial.id for trial in found.pareto_front] == [1, 2]
    assert found.best_trial.id == 1
    assert found.best_metric == 3.0
    assert result(trial(0, 1.0), trial(1, 3.0), goal="minimize").pareto_front[0].id == 0


def test_without_a_score_the_front_is_empty() -> None:
    assert result().pareto_front == ()


@pytest.mark.parametrize(
    "read", [lambda r: r.best_trial, lambda r: r.best_params, lambda r: r.best_score, lambda r: r.best_metric]
)
def test_several_objectives_have_no_best_but_a_front(read: Callable[[SweepResult], Any]) -> None:
    with pytest.raises(UsageError, match=r"accuracy, latency\) have no best trial: read `pareto_front`"):
        read(result(pair(0, 1.0, 1.0), goal=TWO))


def sampled(score: Callable[[Mapping[str, Any]], float], count: int = 80, seed: int = 0) -> list[Trial]:
    draw = random.Random(seed)
    trials = []
    for number in range(count):
        params: dict[str, Any] = {"x": 10 ** draw.uniform(-5, 0), "noise": draw.random(), "kind": draw.choice("abc")}
        if params["kind"] == "a":
            params["a.depth"] = draw.randint(1, 8)
        trials.append(trial(number, score(params), **params))
    return trials


def test_the_parameter_that_decides_is_the_important_one() -> None:
    import math

    found = result(*sampled(lambda params: -((math.log10(params["x"]) + 2) ** 2))).importance()
    assert next(iter(found)) == "x"
    assert found["x"] > 0.8
    assert sum(found.values()) == pytest.approx(1.0)
    assert list(found.values()) == sorted(found.values(), reverse=True)
    assert found.keys() == {"x", "noise", "kind", "a.depth"}


def test_a_choice_and_a_conditional_parameter_can_be_the_important_ones() -> None:
    by_kind = result(*sampled(lambda params: {"a": 3.0, "b": 2.0, "c": 1.0}[params["kind"]])).importance()
    assert by_kind["kind"] > 0.8
    by_depth = result(*sampled(lambda params: float(params.get("a.depth", 0)))).importance()
    assert set(list(by_depth)[:2]) == {"a.depth", "kind"}


def test_for_minimizing_and_for_several_objectives_too() -> None:
    trials = sampled(lambda params: params["x"])
    assert next(iter(result(*trials, goal="minimize").importance())) == "x"
    for one in trials:
        one.score = {"accuracy": one.params["x"], "latency": -one.params["x"]}
    assert next(iter(result(*trials, goal=TWO).importance())) == "x"


def test_too_few_trials_tell_nothing() -> None:
    with pytest.raises(RunError, match="at least 8 trials with a score; there are 3"):
        result(*(trial(number, float(number), x=number) for number in range(3))).importance()


def test_lineage_is_the_forest_of_forks() -> None:
    trials = [trial(number, 1.0) for number in range(5)]
    trials[2].parent, trials[3].parent, trials[4].parent = 0, 0, 2
    assert result(*trials).lineage() == {0: (2, 3), 1: (), 2: (4,), 3: (), 4: ()}


def test_failures_by_reason() -> None:
    found = result(trial(0, 1.0), trial(1, 2.0, state=TrialState.FAILED))
    assert {reason: [one.id for one in trials] for reason, trials in found.failures.items()} == {
        FailureReason.USER_ERROR: [1]
    }


def test_a_table_for_pandas() -> None:
    pandas = pytest.importorskip("pandas")
    frame = result(trial(0, 1.0, x=0.5), trial(1, 2.0, x=0.25)).to_dataframe()
    assert isinstance(frame, pandas.DataFrame)
    assert frame["x"].tolist() == [0.5, 0.25]
    assert frame["score"].tolist() == [1.0, 2.0]


def test_a_notebook_shows_what_is_escaped() -> None:
    html = page(result(trial(0, 1.0, kind="<b>")))
    assert "&lt;b&gt;" in html
    assert "<b>" not in html


def test_a_notebook_shows_the_figures_that_say_something() -> None:
    html = page(result(*sampled(lambda params: params["x"])))
    assert [name for name in ("history", "parameter_importance", "pareto") if f'class="figure {name}"' in html] == [
        "history",
        "parameter_importance",
    ]
    assert 'class="figure pareto"' in page(result(pair(0, 0.9, 5.0), pair(1, 0.8, 1.0), goal=TWO))
    assert "<svg" not in page(result())


def test_a_notebook_gets_what_it_asks_for() -> None:
    one = result(trial(0, 1.0))
    assert one._repr_mimebundle_() == {"text/html": one._repr_html_(), "text/plain": str(one)}
    assert one._repr_mimebundle_(include=["text/plain"]) == {"text/plain": str(one)}
    assert one._repr_mimebundle_(exclude=["text/plain"]) == {"text/html": one._repr_html_()}


def test_a_notebook_shows_a_failed_sweep_in_one_line() -> None:
    job: Job[Any] = Job("lost")
    job.outcome.set_exception(RunError("the store is full"))
    failed = SweepResult(job)
    assert failed._repr_html_() is None
    assert failed._repr_mimebundle_() == {"text/plain": '<SweepResult "lost": failed with RunError: the store is full>'}
    with pytest.raises(RunError, match="the store is full"):
        print(failed.trials)


def test_the_text_is_a_text_in_a_notebook_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where rich finds a kernel it displays what it is to write."""
    text = str(result(trial(0, 1.0)))
    monkeypatch.setattr("rich.console._is_jupyter", lambda: True)
    assert str(result(trial(0, 1.0))) == text != ""
