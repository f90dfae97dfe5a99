"""Random search."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from typing import Any

from metta.sweep.goal import Goal
from metta.sweep.optimizers.base import Optimizer, Restored
from metta.sweep.space import SearchSpace
from metta.sweep.trial import Trial


class RandomOptimizer(Optimizer):
    """Draws every configuration independently from the space.

    Configuration number k depends on the seed and k only, so the stream is the same however it is asked for.

    Args:
        search_space, seed, goal: see `Optimizer`.
        initial_params: configurations to suggest first; what they leave out gets its default.
    """

    def __init__(
        self,
        search_space: SearchSpace | Mapping[str, object] | None = None,
        *,
        seed: int | None = None,
        goal: Goal | None = None,
        initial_params: Sequence[Mapping[str, Any]] = (),
    ) -> None:
        super().__init__(search_space, seed=seed, goal=goal)
        self.initial_params: tuple[Mapping[str, Any], ...] = tuple(initial_params)
        self._suggested = 0

    def suggest(self, n: int) -> list[Trial]:
        import numpy as np

        space = self.require_space()
        if self.seed is None:
            self.seed = secrets.randbits(32)
        trials = []
        for number in range(self._suggested, self._suggested + n):
            if number < len(self.initial_params):
                params = space.complete(self.initial_params[number])
            else:
                sequence = np.random.SeedSequence(self.seed, spawn_key=(number,))
                params = space.sample(np.random.default_rng(sequence))
            trials.append(Trial(params, tag=number))
        self._suggested += n
        return trials

    def observe(self, trial: Trial, result: Any) -> None:
        """Nothing to learn."""

    def state_dict(self) -> dict[str, Any]:
        return {"seed": self.seed, "suggested": self._suggested}

    def load_state_dict(self, state: Mapping[str, Any]) -> Restored:
        self.seed = state["seed"]
        self._suggested = state["suggested"]
        return Restored.STATE
