"""What the commands say of a run whose trials fork."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import partial

from metta.sweep.executors import LocalExecutor
from metta.sweep.experiments import SweepExperiment
from metta.sweep.optimizers import RandomOptimizer
from metta.sweep.schedulers import PBTScheduler
from metta.sweep.space import Uniform
from metta.sweep.trial import Trial
from tests.cli.commands import Commands


def train(trial: Trial) -> Iterator[dict[str, float]]:
    done = trial.load() or 0
    for step in range(done + 1, 5):
        trial.save(step)
        yield {"score": trial.params["x"]}


def test_forks_are_counted_apart(command: Commands) -> None:
    result = SweepExperiment(
        train,
        name="population",
        search_space={"x": Uniform(0, 1)},
        optimizer=RandomOptimizer(),
        scheduler=PBTScheduler(4, 4, max_resource=4, quantile_fraction=0.5),
        seed=1,
        executor=partial(LocalExecutor, max_workers=1),  # how often they fork depends on who is first
        store=command.store,
    ).run()
    forks = len(result.trials) - 4
    assert forks > 1
    _, out, _ = command("status", "population")
    assert f"4 of 4 trials and {forks} forks: " in out
    _, out, _ = command("ls")
    assert re.search(rf"completed +{4 + forks} trials ", out)
