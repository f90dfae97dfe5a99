"""Global hooks: with_global_hooks puts hooks on every stage of a pipeline, nested ones included.

They take the stage's name first. `before` runs when a stage starts, with its input. Of hooks that control (here
`on_error`) a stage's own one wins; observers both run.
"""

from __future__ import annotations

from metta.sweep import Pipeline

journal: list[str] = []


def load(path: str) -> list[float]:
    """Three samples, whatever the path."""
    return [1.0, 2.0, 4.0]


def normalize(samples: list[float]) -> list[float]:
    """Zero mean."""
    mean = sum(samples) / len(samples)
    return [x - mean for x in samples]


def train(samples: list[float]) -> float:
    """Divides by the sum, which normalizing has made zero."""
    return 1 / round(sum(samples), 9)


def export(samples: list[float]) -> None:
    """Nowhere to export to; nobody handles this one but the global hook."""
    raise OSError("disk full")


cleaning = Pipeline(samples=list[float]).stage("normalize", normalize).through(samples=list[float])

pipeline = (
    Pipeline(path=str)
    .stage("load", load)
    .through(samples=list[float])
    .stage("cleaning", cleaning)
    .stage("train", train)
    .through(loss=float, on_error=lambda error: float("nan"), after=lambda data: journal.append("train: own after"))
    .stage("export", export)
).with_global_hooks(
    before=lambda stage, data: journal.append(f"{stage}: starting"),
    after=lambda stage, data: journal.append(f"{stage}: complete"),
    on_error=lambda stage, error: journal.append(f"{stage}: failed with {error}"),
    profile=True,
)


def main() -> None:
    """`list.append` returns None, so the global on_error only tells; the error of `export` goes on."""
    try:
        pipeline.compile().run(path="train.csv")
    except OSError as error:
        print("\n".join(journal))
        print(f"raised: {error}")


if __name__ == "__main__":
    main()
