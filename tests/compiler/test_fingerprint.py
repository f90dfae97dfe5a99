"""Fingerprints change exactly when code, settings or contract change, and are equal in every process."""

from __future__ import annotations

import functools
import subprocess
import sys
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest

from metta.sweep import Pipeline
from metta.sweep.compiler.fingerprint import fingerprint_of


def graph_of(stage: Callable[..., Any], **settings: Any) -> str:
    pipeline = Pipeline(x=int).stage("stage", stage, **settings).through(y=int)
    return pipeline.compile().fingerprints["stage"]


def double(x: int) -> int:
    return x * 2


def test_the_same_code_elsewhere_has_the_same_fingerprint() -> None:
    def again(x: int) -> int:
        # Another place, another comment, the same code.
        return x * 2

    assert graph_of(double) == graph_of(again)


def test_code_settings_and_contract_count() -> None:
    def triple(x: int) -> int:
        return x * 3

    def scaled(x: int, by: int = 2) -> int:
        return x * by

    found = {
        graph_of(double),
        graph_of(triple),
        graph_of(scaled),
        graph_of(scaled, by=2),
        graph_of(scaled, by=3),
        Pipeline(x=int).stage("stage", double).through(z=int).compile().fingerprints["stage"],
        Pipeline(x=int).stage("stage", double).compile().fingerprints["stage"],
    }
    assert len(found) == 7


def test_a_default_and_a_closure_count() -> None:
    def make(by: int) -> Callable[[int], int]:
        def scaled(x: int) -> int:
            return x * by

        return scaled

    assert fingerprint_of(make(2)) == fingerprint_of(make(2))
    assert fingerprint_of(make(2)) != fingerprint_of(make(3))


def test_a_function_that_refers_to_itself() -> None:
    def factorial(n: int) -> int:
        return 1 if n < 2 else n * factorial(n - 1)

    assert fingerprint_of(factorial) == fingerprint_of(factorial)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (1, 1.0),
        (1, True),
        ("1", 1),
        ((1, 2), [1, 2]),
        (("ab", "c"), ("a", "bc")),
        ({"a": 1}, {"a": 2}),
        (functools.partial(double, 1), functools.partial(double, 2)),
        (int, float),
    ],
)
def test_different_values_differ(one: object, other: object) -> None:
    assert fingerprint_of(one) == fingerprint_of(one)
    assert fingerprint_of(one) != fingerprint_of(other)


def test_the_order_of_sets_and_mappings_does_not_count() -> None:
    assert fingerprint_of({"b": 1, "a": 2}) == fingerprint_of({"a": 2, "b": 1})
    assert fingerprint_of({3, 1, 2}) == fingerprint_of({2, 3, 1})


SCRIPT = """
from metta.sweep import Pipeline
from typing import NamedTuple

class Result(NamedTuple):
    kinds: set[str]

class Model:
    def fit(self, kind: str) -> Result:
        return Result({"adam", "sgd", "lion"} | ({kind} if kind in {"rmsprop", "adagrad", "lamb"} else set()))

graph = Pipeline(kind=str).stage("fit", Model().fit).through(Result).compile()
print(graph.fingerprints["fit"])
"""


def test_every_process_finds_the_same(tmp_path: Any) -> None:
    """Other hash seeds order the constants of the code differently."""
    found = set()
    for seed in ("0", "1", "2"):
        script = tmp_path / f"script{seed}.py"
        script.write_text("\n" * int(seed) + SCRIPT)
        done = subprocess.run(
            [sys.executable, str(script)], capture_output=True, text=True, env={"PYTHONHASHSEED": seed}, check=True
        )
        found.add(done.stdout)
    assert len(found) == 1


def test_the_fields_of_a_record_count() -> None:
    def make(kind: type) -> str:
        class Out(NamedTuple):
            score: kind  # type: ignore[valid-type]

        def stage(x: int) -> Any:
            return Out(x)

        return Pipeline(x=int).stage("stage", stage).through(Out).compile().fingerprints["stage"]

    assert make(int) == make(int)
    assert make(int) != make(float)
