"""Reusable hook sets: plain dicts and HookSet objects, chosen by a condition and combined with `|`.

`Hooks` is the TypedDict of all hooks, for a dict that type checkers can follow. A HookSet knows the names of hooks and
refuses a misspelt one where the set is written, not where it is used.
"""

from __future__ import annotations

from metta.sweep import Context, Hooks, HookSet, MettaSweepError, Pipeline, RetryPolicy

seen: list[str] = []


def page_on_call(error: Exception) -> None:
    """Returns None: the error goes on, but somebody knows."""
    seen.append(f"alert: {error}")


def score_is_sane(data: Context) -> bool:
    """An expensive check, for debugging only."""
    score: float = data.score
    return 0 <= score <= 1


debug_hooks: Hooks = {
    "before": lambda data: seen.append(f"enters: {data.score}"),
    "after": lambda data: seen.append(f"leaves: {data.score}"),
    "validate": score_is_sane,
}
production_hooks: Hooks = {
    "metrics": lambda data: seen.append(f"metric: {data.score}"),
    "retry": 1,
    "on_error": page_on_call,
}

observed = HookSet(log=lambda data: seen.append(f"log: {data.score}"))
resilient = HookSet(retry=RetryPolicy(max_attempts=2, backoff=None), on_error=page_on_call)


def train(epochs: int) -> float:
    """More epochs help; none at all is an error."""
    return 1 - 1 / epochs


def pipeline(debug: bool) -> Pipeline:
    """The same pipeline with one set or the other."""
    return Pipeline().stage("train", train).through(score=float, **(debug_hooks if debug else production_hooks))


def main() -> None:
    """Both sets, then two HookSets together; the right one wins where both name a hook."""
    for debug in (True, False):
        pipeline(debug).compile().run(epochs=4)
        print(" | ".join(seen))
        seen.clear()
    combined = observed | resilient | {"retry": 0}
    try:
        Pipeline().stage("train", train).through(score=float, **combined).compile().run(epochs=0)
    except ZeroDivisionError:
        print(" | ".join(seen))
    try:
        HookSet(chekpoint=True)  # type: ignore[call-arg]
    except MettaSweepError as error:
        print(error)


if __name__ == "__main__":
    main()
