"""Control hooks: retry, on_error, skip_if and timeout decide whether, how often and how long a stage runs.

`retry=2` is up to two retries; a RetryPolicy counts attempts and says which errors are worth another one. `on_error`
gives a value that meets the contract, or None to let the error go on. Corrected against the documents: `skip_if`
sees the stage's INPUT (its output does not exist yet), and a stage that may be skipped says what stands in
(`default=`) unless its fields are set already.
"""

from __future__ import annotations

import asyncio
from itertools import count

from metta.sweep import Context, Pipeline, RetryPolicy, exponential

attempts = count(1)


def download(url: str) -> list[float]:
    """A flaky server: the third attempt works."""
    if next(attempts) < 3:
        raise ConnectionResetError(f"{url}: connection reset")
    return [0.7, 0.9, 0.8]


def train(samples: list[float]) -> float:
    """Fails on purpose, so that on_error has something to do."""
    raise MemoryError(f"{len(samples)} samples do not fit")


def smaller_model(error: Exception, data: Context) -> float:
    """A score that the smaller model reaches; `data` is the input of the stage that failed."""
    print(f"train failed ({error}), falling back")
    samples: list[float] = data.samples
    return max(samples) / 2


async def profile(score: float) -> float:
    """Hangs; async, so the time-out cancels it."""
    await asyncio.sleep(3600)
    return score


def fine_tune(score: float) -> float:
    """Would improve a good model."""
    return score + 0.01


pipeline = (
    Pipeline(url=str)
    .stage("download", download)
    .through(
        samples=list[float],
        retry=RetryPolicy(max_attempts=3, backoff=exponential(base=0.01), on=(OSError,)),
    )
    .stage("train", train)
    .through(score=float, retry=1, on_error=smaller_model)
    .stage("fine_tune", fine_tune)
    .through(score=float, skip_if=lambda data: data.score < 0.5)  # score is set already: no default needed
    .stage("profile", profile)
    .through(seconds=float, timeout=0.05, on_error=lambda error: float("inf"))
)


def main() -> None:
    """Two of four stages fail, the pipeline does not."""
    result = pipeline.compile().run(url="data.example/train.csv")
    print(f"attempts {next(attempts) - 1}, score {result.score}, seconds {result.seconds}")


if __name__ == "__main__":
    main()
