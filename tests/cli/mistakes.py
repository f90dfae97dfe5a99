"""Three pipelines with five mistakes, and one that has none."""

from __future__ import annotations

from metta.sweep import Experiment, Pipeline


def load(path: str) -> list[int]:
    return [len(path)]


def train(rows: list[int], epochs: int = 1) -> float:
    return float(sum(rows) * epochs)


def evaluate(score: float, name: str) -> dict[str, float]:
    return {name: score}


first = (
    Pipeline(path=str)
    .stage("load", load)
    .through(rows=list[int])
    .stage(
        "train",
        train,
        epoch=3,
    )
    .through(score=str)
)

second = (
    Pipeline(path=str)
    .stage("load", load)
    .through(
        rows=list[int],
        logg=print,
    )
    .stage("evaluate", evaluate)
)


class Training(Experiment[float]):
    """Its pipeline is only built when somebody asks for it."""

    def pipeline(self) -> Pipeline:
        return (
            Pipeline(rows=list[int])
            .loop_while(lambda now: not now.rows)
            .stage("train", train)
            .through(score=float)
        )  # fmt: skip


fine = Pipeline(path=str).stage("load", load)
