"""Five classical mistakes, each found before anything runs, with the line to mend.

A wrong builder call raises ContractError as soon as it can be known; what concerns the whole graph, at `compile()`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from metta.sweep import ContractError, Pipeline


class Training(NamedTuple):
    """What a training gives."""

    losses: dict[str, float]
    epochs: int


def prepare(seed: int) -> list[float]:
    """Samples."""
    return [float(seed)]


def train(samples: list[float]) -> Training:
    """A training."""
    return Training({"sgd": 0.5}, 3)


def best(losses: list[float]) -> float:
    """Expects a list where the training gives a dict."""
    return min(losses)


def report(loses: dict[str, float]) -> str:
    """Its parameter is misspelt."""
    return str(loses)


def halve(epochs: int) -> int:
    """For a loop."""
    return epochs // 2


trained = Pipeline(samples=list[float]).stage("train", train).through(Training)


def misspelt_parameter() -> None:
    """The stage reads a field that nobody sets."""
    trained.stage("report", report).through(text=str).compile()  # type: ignore[stage-input]


def wrong_type() -> None:
    """The stage takes another type than the contract before it promises."""
    trained.stage("best", best).through(score=float).compile()  # type: ignore[stage-input]


def broken_contract() -> None:
    """The stage returns something else than its contract says."""
    Pipeline().stage("prepare", prepare).through(samples=dict[str, float]).compile()  # type: ignore[stage-output]


def called_too_early() -> None:
    """The result of a call is given where the function was meant."""
    Pipeline().stage("prepare", prepare(0)).through(samples=list[float]).compile()  # type: ignore[not-a-stage]


def set_in_one_arm() -> None:
    """A field is read that only one arm of a conditional sets."""
    (
        Pipeline(epochs=int)
        .conditional(lambda ctx: ctx.epochs > 2, Pipeline(epochs=int).stage("halve", halve).through(fewer=int))
        .stage("again", halve_again)  # type: ignore[maybe-missing-field]
        .through(epochs=int)
        .compile()
    )


def halve_again(fewer: int) -> int:
    """Reads what only one arm sets."""
    return fewer // 2


MISTAKES: tuple[Callable[[], None], ...] = (
    misspelt_parameter,
    wrong_type,
    broken_contract,
    called_too_early,
    set_in_one_arm,
)


def main() -> None:
    """Make each mistake and show what the compiler says."""
    for mistake in MISTAKES:
        try:
            mistake()
        except ContractError as error:
            print(f"-- {mistake.__name__}\n{error}\n")


if __name__ == "__main__":
    main()
