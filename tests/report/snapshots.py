"""Snapshots of sweeps that never ran, for the tests of figures."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import Any

from metta.sweep.goal import Goal, Objectives, Score
from metta.sweep.report.snapshot import Span, SweepSnapshot
from metta.sweep.space import Choice, Constant, Integer, LogitNormal, LogUniform, PowerOfTwo, SearchSpace, Uniform
from metta.sweep.trial import Failure, FailureReason, Report, Trial, TrialState

TWO: Goal = {"accuracy": "maximize", "latency": "minimize"}

SPACE: Mapping[str, Mapping[str, Any]] = SearchSpace(
    {
        "trainer.lr": LogUniform(1e-5, 1e-1),
        "trainer.batch_size": PowerOfTwo(16, 512),
        "model.kind": Choice(["cnn", "mlp"]),
        "model.depth": Integer(1, 12).when("model.kind", "cnn"),
        "gamma": LogitNormal(0.9, 0.9999),
        "dropout": Uniform(0.0, 0.5),
        "augment": Choice([True, False]),
        "version": Constant(3),
    }
).to_json()["parameters"]


def trial(
    number: int,
    score: Score | None = None,
    step: int = 1,
    state: TrialState = TrialState.COMPLETED,
    params: Mapping[str, Any] | None = None,
    reports: Sequence[Report] | None = None,
) -> Trial:
    """A trial that has come to a step with a score; by default it reported once."""
    made = Trial(params if params is not None else {"x": number / 7}, number)
    made.state = state
    if reports is None and score is not None:
        reports = [Report(step, score if isinstance(score, Mapping) else {"score": score})]
    for report in reports or ():
        made.add_report(report)
    made.score = score
    if state is TrialState.FAILED:
        made.failure = Failure(FailureReason.OOM, "out of memory")
    return made


def snapshot(
    *trials: Trial,
    goal: Goal = "maximize",
    space: Mapping[str, Mapping[str, Any]] | None = None,
    spans: Sequence[Span] = (),
    seconds: float = 10.0,
) -> SweepSnapshot:
    """A sweep with these trials."""
    objectives = Objectives.of(goal)
    return SweepSnapshot("r", "sweep", "running", objectives, trials, seconds, space or {}, tuple(spans))


def searched(count: int, seed: int = 0, goal: Goal = "maximize", workers: int = 4) -> SweepSnapshot:
    """A sweep over `SPACE` with successive halving: learning curves, failures, preemptions, running trials."""
    draw = random.Random(seed)
    objectives = Objectives.of(goal)
    trials, spans, clocks = [], [], [0.0] * workers
    for number in range(count):
        params: dict[str, Any] = {
            "trainer.lr": 10 ** draw.uniform(-5, -1),
            "trainer.batch_size": 2 ** draw.randint(4, 9),
            "model.kind": draw.choice(["cnn", "mlp"]),
            "gamma": draw.uniform(0.9, 0.9999),
            "dropout": draw.uniform(0, 0.5),
            "augment": draw.random() < 0.5,
            "version": 3,
        }
        if params["model.kind"] == "cnn":
            params["model.depth"] = draw.randint(1, 12)
        last = draw.choices([3, 9, 27], [0.6, 0.25, 0.15])[0]
        state = TrialState.COMPLETED if last == 27 else TrialState.PRUNED
        if number % 17 == 5:
            state, last = TrialState.FAILED, 0
        elif number >= count - 2:
            state = TrialState.RUNNING
        reports = []
        for step in (step for step in (1, 3, 9, 27) if step <= last):
            value = (1 - 0.5**step) * (1 - abs(params["trainer.lr"] - 0.01)) + draw.gauss(0, 0.01)
            reports.append(Report(step, {key: value * (place + 1) for place, key in enumerate(objectives.keys)}))
        score = objectives.score(reports[-1].metrics) if reports else None
        trials.append(trial(number, score, last, state, params, reports))
        worker = min(range(workers), key=clocks.__getitem__)
        began = clocks[worker]
        end = None if state is TrialState.RUNNING else began + last + 1
        spans.append(Span(number, 1, f"worker-{worker}", began, end, state.value))
        clocks[worker] = began + last + 1.5
    return snapshot(*trials, goal=goal, space=SPACE, spans=spans, seconds=max(clocks, default=0.0))
