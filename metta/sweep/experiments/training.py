"""TrainingExperiment: the default base experiment, a small real PyTorch network on the digits data."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from numbers import Real
from typing import TYPE_CHECKING, Any, NamedTuple

from metta.sweep.errors import UsageError
from metta.sweep.experiments.base import Experiment, Pipeline
from metta.sweep.experiments.places import DEFAULT, StoreLike
from metta.sweep.experiments.run import OwnRun
from metta.sweep.trial import Trial

if TYPE_CHECKING:
    from metta.sweep.space import Distribution


class TrainingRecord(NamedTuple):
    """A finished training as data: accuracy on the test split, epochs trained, mean loss of the last one."""

    score: float
    epochs: int
    loss: float


class TrainingResult(OwnRun["TrainingResult", TrainingRecord]):
    """The result of a training, and the handle to it while it runs: every attribute waits for the end."""

    @property
    def score(self) -> float:
        """Accuracy on the test split, 0 to 1."""
        return self._record.score

    @property
    def best_score(self) -> float:
        """The same as `score`: there is one network."""
        return self._record.score

    @property
    def epochs(self) -> int:
        """Epochs trained."""
        return self._record.epochs

    @property
    def loss(self) -> float:
        """Mean training loss of the last epoch."""
        return self._record.loss

    def __str__(self) -> str:
        epochs = "1 epoch" if self.epochs == 1 else f"{self.epochs} epochs"
        return f"score {self.score:.4g} after {epochs}, loss {self.loss:.4g}"


@dataclass(frozen=True)
class TrainingExperiment(Experiment[TrainingResult]):
    """Trains a two-layer network on the digits data of scikit-learn, and tests it.

    In a sweep it reports {"score": accuracy on the validation split, "loss": ...} after every epoch and saves weights,
    optimizer and generator, so that a paused or promoted trial goes on exactly where it stopped. It then trains as many
    epochs as the scheduler grants; `max_epochs` counts where no scheduler says otherwise.

    Args:
        max_epochs: epochs to train.
        learning_rate: of Adam.
        batch_size: images per step.
        hidden_size: width of both hidden layers.
        seed: of the first weights and of the batches' order; the data's split is always the same.
        name: for messages and drawings.
        classes: how many of the ten digits there are to tell apart, from 0 on: 2 to 10; fewer are easier.
        noise: standard deviation of the normal noise that is added to every pixel (pixels are 0 to 1), the same in
            every training; more is harder.

    Raises:
        UsageError: a value is no number, or outside of its range.
    """

    max_epochs: int = 10
    learning_rate: float = 1e-3
    batch_size: int = 32
    hidden_size: int = 64
    seed: int = 0
    name: str = "training"
    classes: int = 10
    noise: float = 0.0

    def __post_init__(self) -> None:
        for field in ("max_epochs", "batch_size", "hidden_size"):
            value = getattr(self, field)
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise UsageError(f"TrainingExperiment({field}={value!r}): expected a whole number above 0")
        rate: object = self.learning_rate
        if isinstance(rate, bool) or not isinstance(rate, Real) or not 0 < float(rate) < math.inf:
            raise UsageError(f"TrainingExperiment(learning_rate={rate!r}): expected a number above 0")
        classes: object = self.classes
        if isinstance(classes, bool) or not isinstance(classes, int) or not 2 <= classes <= 10:
            raise UsageError(f"TrainingExperiment(classes={classes!r}): expected a whole number from 2 to 10")
        noise: object = self.noise
        if isinstance(noise, bool) or not isinstance(noise, Real) or not 0 <= float(noise) < math.inf:
            raise UsageError(f"TrainingExperiment(noise={noise!r}): expected a number, at least 0")

    def pipeline(self) -> Pipeline:
        """Load the data, build or restore the network, train epoch by epoch, test.

        Raises:
            MissingExtraError: torch is not installed.
        """
        from metta.sweep.experiments import digits

        settings = digits.Settings(self.learning_rate, self.batch_size, self.hidden_size, self.seed)
        return (
            Pipeline(trial=Trial)
            .stage("load", digits.load_digits, classes=self.classes, noise=self.noise)
            .through(data=digits.Digits)
            .stage("build", digits.build, settings=settings)
            .through(state=digits.State)
            .loop_while(lambda now: now.state.epoch < (now.trial.resource or self.max_epochs))
            .stage("train_epoch", digits.train_epoch, settings=settings)
            .through(state=digits.State)
            .stage("validate", digits.validation_accuracy, settings=settings)
            .through(score=float)
            .stage("report", digits.report)
            .through(go_on=bool)
            .break_if(lambda now: not now.go_on)
            .end_loop()
            .stage("test", digits.test_network, settings=settings)
            .through(TrainingRecord)
        )

    def run(
        self, *, store: StoreLike = DEFAULT, resume: bool | str = False, allow_changed: bool = False
    ) -> TrainingResult:
        """Train and test: `TrainingExperiment(max_epochs=2).run().score`. A resumed training goes on at its last epoch.

        Args:
            store, resume, allow_changed: see `Experiment.run`.

        Raises:
            MissingExtraError: torch is not installed.
        """
        inputs = {} if resume else {"trial": Trial({})}
        main = self._main(self._compiled(), (), inputs, store, resume, allow_changed)
        return TrainingResult.start(main, self.name)

    def tunables(self) -> Mapping[str, Distribution[Any]]:
        """Learning rate, batch size and hidden size, with ranges that suit the digits."""
        from metta.sweep.space import Integer, LogUniform, PowerOfTwo

        return {
            "trainer.learning_rate": LogUniform(1e-4, 1e-1),
            "trainer.batch_size": PowerOfTwo(16, 256),
            "agent.hidden_size": Integer(8, 256, log=True),
        }
