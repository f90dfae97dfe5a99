"""Which policy shares epochs out best among configurations? Each one runs the same sweep, for the same sum of epochs.

Equal shares waste most of them on configurations that are bad. In proportion to their promise the good ones get more,
but here the best configurations learn slowest, so that an early score says little. A bandit looks ahead: it follows
the end of each learning curve to where it might lead. Corrected against the documents: what is trained is said
(`base_experiment`; without it the digits' network), and the policies are told how much there is to share.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from metta.sweep.executors import LocalExecutor
from metta.sweep.experiments.optimizable.allocation import ResourceSchedulerOptimization
from metta.sweep.schedulers.allocation import AdaptiveBandit, EqualAllocation, ProportionalToPromise
from metta.sweep.space import Uniform
from metta.sweep.trial import Trial


def train(trial: Trial) -> Iterator[float]:
    """A learning curve: the better it ends, the slower it rises."""
    quality = float(trial.params["quality"])
    epoch = trial.load() or 0
    while True:
        epoch += 1
        trial.save(epoch)
        yield quality * (1 - math.exp(-epoch / 8 ** (quality)))


def main() -> None:
    """Nine configurations, 81 epochs, three policies, three seeds each."""
    with LocalExecutor(max_workers=2) as executor:
        experiment = ResourceSchedulerOptimization(
            policies=[
                EqualAllocation(population=9, max_resource=27, mean_resource=9),
                ProportionalToPromise(population=9, max_resource=27, mean_resource=9),
                AdaptiveBandit(population=9, max_resource=27, mean_resource=9),
            ],
            base_experiment=train,
            search_space={"quality": Uniform(0.0, 1.0)},
            repeats=3,
            executor=executor,
            seed=0,
        )
        result = experiment.run()
        for trial in result.ranking:
            metrics = trial.reports[-1].metrics
            print(f"{trial.params['scheduler']}: {metrics['score']:.3f} with {metrics['resource']:.0f} epochs")
        print(f"best: {result.best_params['scheduler']}")


if __name__ == "__main__":
    main()
