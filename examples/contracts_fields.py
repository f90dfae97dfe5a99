"""Contracts written inline: `.through(name=type)` adds fields, and everything set before stays.

Also shown: settings (`tries=3`), and `field("...")`, which binds a parameter to a field of another name. Corrected
against the documents: `init_from=exploration_results` names a variable that nobody defined (a NameError); what is
meant is the context field, so it is written `init_from=field("exploration_results")`.
"""

from __future__ import annotations

from random import Random

from metta.sweep import Pipeline, Trial, field


def prepare_batch(seed: int) -> tuple[str, int, list[Trial]]:
    """A plain tuple gives several fields, in the order in which the contract declares them."""
    random = Random(seed)
    trials = [Trial({"width": random.choice([16, 32, 64]), "lr": random.uniform(0.01, 0.2)}) for _ in range(4)]
    return "digits", seed, trials


def train_batch(run_name: str, run_id: int, trials: list[Trial]) -> dict[str, float]:
    """One field may be returned bare."""
    return {
        f"{run_name}-{run_id}-{i}": 1 - (trial.params["lr"] - 0.1) ** 2 * trial.params["width"]
        for i, trial in enumerate(trials)
    }


def refine(init_from: dict[str, float], tries: int) -> dict[str, float]:
    """Starts from the best result it is given; `tries` is a setting."""
    name, score = max(init_from.items(), key=lambda item: item[1])
    return {f"{name}+{i}": score + (1 - score) * i / tries for i in range(tries)}


def evaluate(exploration_results: dict[str, float], refined: dict[str, float], run_name: str) -> str:
    """Reads what three different stages have set."""
    before, after = max(exploration_results.values()), max(refined.values())
    return f"{run_name}: {before:.3f} -> {after:.3f}"


pipeline = (
    Pipeline()
    .stage("prepare", prepare_batch)
    .through(run_name=str, run_id=int, trials=list[Trial])
    .stage("train", train_batch)  # verified to accept run_name, run_id, trials
    .through(exploration_results=dict[str, float])
    .stage("refine", refine, init_from=field("exploration_results"), tries=3)
    .through(refined=dict[str, float])
    .stage("evaluate", evaluate)
    .through(report=str)
)


def main() -> None:
    """The result is the whole of the last context: here all fields together."""
    result = pipeline.compile().run(seed=1)
    print(result.report)
    print("fields:", ", ".join(result._asdict()))


if __name__ == "__main__":
    main()
