"""What a resumed sweep relies on: every scheduler is a function of the calls it gets."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from metta.sweep.optimizers import RandomOptimizer
from metta.sweep.schedulers import ASHAScheduler, AsynchronousScheduler, SynchronousBatchScheduler
from metta.sweep.schedulers.base import Decision, Launch, Scheduler, View, Wait
from metta.sweep.schedulers.hyperband import HyperbandScheduler
from metta.sweep.schedulers.median import MedianStoppingScheduler
from metta.sweep.schedulers.resource_aware import ResourceAwareScheduler
from metta.sweep.space import Uniform
from metta.sweep.testing import Simulation
from metta.sweep.trial import Params

SCHEDULERS: dict[str, Callable[[], Scheduler]] = {
    "async": lambda: AsynchronousScheduler(max_resource=9),
    "batch": lambda: SynchronousBatchScheduler(batch_size=4, max_resource=9),
    "asha": lambda: ASHAScheduler(max_epochs=9, grace_period=1),
    "asha-stopping": lambda: ASHAScheduler(max_epochs=9, grace_period=1, mode="stopping"),
    "asha-brackets": lambda: ASHAScheduler(max_epochs=9, grace_period=1, brackets=2),
    "hyperband": lambda: HyperbandScheduler(max_resource=9),
    "median": lambda: MedianStoppingScheduler(max_resource=9),
    "resource-aware": lambda: ResourceAwareScheduler(max_resource=9, resource_limit=20),
}


def curve(params: Params, step: int) -> float:
    return float(params["x"]) * step


def watched(inner: Scheduler, seen: list[str]) -> Scheduler:
    """The same scheduler, and what each of its decisions has left changed."""
    decide = inner.next

    def next_decision(view: View) -> Decision:
        before = json.dumps(inner.state_dict())
        own = {name: copy.deepcopy(value) for name, value in vars(inner).items() if name.startswith("_drawn")}
        decision = decide(view)
        if isinstance(decision, Wait):
            changed = json.dumps(inner.state_dict()) != before or any(
                getattr(inner, name) != value for name, value in own.items()
            )
            seen.append("changed" if changed else "same")
            assert decide(view) == decision
        return decision

    inner.next = next_decision  # type: ignore[method-assign]
    return inner


@pytest.mark.parametrize("name", SCHEDULERS)
def test_an_answer_to_wait_changes_nothing(name: str) -> None:
    seen: list[str] = []
    run = Simulation(RandomOptimizer({"x": Uniform(0, 1)}), watched(SCHEDULERS[name](), seen), curve, 20, steps=9)
    run.run()
    assert len(run.trials) == 20
    assert len(seen) > 20
    assert set(seen) == {"same"}


def test_the_check_finds_a_scheduler_that_counts_its_waits() -> None:
    class Impatient(AsynchronousScheduler):
        waits = 0

        def next(self, view: View) -> Decision:
            decision = super().next(view)
            self.waits += isinstance(decision, Wait)
            return decision

        def state_dict(self) -> dict[str, Any]:
            return {"waits": self.waits}

    seen: list[str] = []
    Simulation(RandomOptimizer({"x": Uniform(0, 1)}), watched(Impatient(), seen), curve, 3, steps=2).run()
    assert "changed" in seen


@pytest.mark.parametrize("name", SCHEDULERS)
def test_none_of_ours_forks(name: str) -> None:
    """So the states of finished trials may go early; a scheduler of the user's may fork unless it says otherwise."""
    assert SCHEDULERS[name]().forks is False
    assert Scheduler.forks is True


@pytest.mark.parametrize("name", SCHEDULERS)
def test_the_same_calls_give_the_same_decisions(name: str) -> None:
    def launches() -> Sequence[Decision]:
        scheduler = SCHEDULERS[name]()
        scheduler.bind(objectives=scheduler.objectives, seed=3)
        found = []
        for number in range(6):
            decision = scheduler.next(View((), free_slots=2, active=0, remaining=6 - number))
            assert isinstance(decision, Launch)
            scheduler.on_launch(decision, [])
            found.append(decision)
        return found

    assert launches() == launches()
