"""What strategies give to the stages behind them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from metta.sweep.trial import Trial


@dataclass(eq=False, repr=False)
class Found(list[Trial]):
    """What a phase has found: the list of its trials, and the fields that the next stages read.

    It is a list, so that a contract may give it a name of its own (`.through(exploration_results=list[Trial])`), and a
    record, so that without a `.through` its fields are what the context holds.

    Attributes:
        trials: those of this phase, in the order they were started: the same as the list.
        observed: what is known now: the trials of earlier phases, then these; a configuration with a result that
            was known before is there once.
        best_score: of the best of the observed trials, see `known.ranking`.
        best_params: its parameters.
    """

    trials: list[Trial]
    observed: list[Trial]
    best_score: float
    best_params: dict[str, Any]

    def __post_init__(self) -> None:
        self.extend(self.trials)

    def __repr__(self) -> str:
        found = f"{len(self.trials)} trials, {len(self.observed)} known"
        return f"Found({found}, best score {self.best_score!r} with {self.best_params!r})"


@dataclass(frozen=True)
class Validation:
    """The best candidates, each trained under several seeds.

    Attributes:
        validation_scores: name of the candidate -> mean score, the best first. The names count the candidates in the
            order of the scores that they came with: "candidate 1", ...
        spread: name -> standard deviation over the seeds.
        candidates: name -> parameters.
        best_score: the best mean score.
        best_params: the parameters of that candidate.
        score: the same as `best_score`: what a sweep over the experiment optimizes.
    """

    validation_scores: dict[str, float]
    spread: dict[str, float]
    candidates: dict[str, dict[str, Any]]
    best_score: float
    best_params: dict[str, Any]
    score: float


class Prediction(NamedTuple):
    """What a model expects of a configuration: the mean of the score without noise, and its standard deviation."""

    mean: float
    sd: float


@dataclass(frozen=True)
class GaussianProcessModel:
    """A Gaussian process over a search space, given the scores of trials. Plain numbers and text: it can be stored.

    Attributes:
        space: the search space without its constraints, as JSON.
        theta: the hyperparameters, see `optimizers.protein.gp.Kernel`.
        rows: the observed configurations, encoded.
        targets: their standardized scores.
        center, spread: a score is center + spread * target.
        jitter: on the diagonal of the covariance.
        optimum: the configuration with the best predicted mean.
    """

    space: str
    theta: list[float]
    rows: list[list[float]]
    targets: list[float]
    center: float
    spread: float
    jitter: float
    optimum: dict[str, Any]

    def predict(self, params: Mapping[str, Any]) -> Prediction:
        """What the model expects of a configuration; parameters that are left out have their defaults.

        Raises:
            UnknownParameter: the space has no such parameter.
            UsageError: a value outside of its distribution.
        """
        from metta.sweep.experiments.strategies.modeling import predict

        return predict(self, params)


@dataclass(frozen=True)
class FittedModel:
    """A model of the space, and what it was fitted to.

    Attributes:
        model: predicts scores; `model.optimum` is its best point.
        observed: all trials that are known.
        best_score: of the best of them.
        best_params: its parameters.
    """

    model: GaussianProcessModel
    observed: list[Trial]
    best_score: float
    best_params: dict[str, Any]
