import pytest

from metta.sweep.optimizers.fidelity import chosen_resource, threshold


def test_threshold() -> None:
    assert threshold(2) == 10
    assert threshold(20) == 22


@pytest.mark.parametrize(
    ("reached", "expected"),
    [
        ([], None),
        ([[], []], None),
        ([[10]], 10),
        # Enough nowhere: where most results are.
        ([[10], [10], [10, 30]], 10),
        # Enough at 10 only, then at 30 too.
        ([[10]] * 8 + [[10, 30]] * 4, 10),
        ([[10]] * 8 + [[10, 30]] * 10, 30),
        # 0 is the end, above everything.
        ([[10, 0]] * 10, 0),
        ([[0]] * 3, 0),
        ([[10], [10, 30]], 10),
        ([[10, 30]], 30),
        # Those that were stopped at 3 are not what a model should see: the others never had a result there.
        ([[3]] * 12 + [[0]] * 5, 0),
        ([[3]] * 2 + [[7]] + [[0]] * 12, 0),
        # A sparse reporter that jumped over a rung changes nothing.
        ([[10]] * 12 + [[30]], 10),
        ([[10]] * 12 + [[30]] + [[10, 30]] * 4, 10),
    ],
)
def test_the_resource_a_model_sees(reached: list[list[int]], expected: int | None) -> None:
    assert chosen_resource(reached, 10) == expected
