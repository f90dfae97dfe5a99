import math
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metta.sweep.errors import UsageError
from metta.sweep.goal import Goal, Losses, Objectives, crowding_distances, dominates, fronts, ranked


def test_one_direction_is_for_the_metric_key() -> None:
    objectives = Objectives.of("minimize", "loss")
    assert objectives.keys == ("loss",)
    assert objectives.score({"loss": 0.25, "accuracy": 1}) == 0.25
    assert objectives.losses(0.25) == (0.25,)


def test_maximizing_turns_the_loss_round_and_nan_is_the_worst() -> None:
    objectives = Objectives.of("maximize")
    assert objectives.losses(2.0) == (-2.0,)
    assert objectives.losses(math.nan) == (math.inf,)
    assert Objectives.of("minimize").losses(math.nan) == (math.inf,)


def test_several_objectives_keep_their_order() -> None:
    objectives = Objectives.of({"accuracy": "maximize", "latency": "minimize"})
    score = objectives.score({"latency": 3, "accuracy": 0.5, "other": 1})
    assert score == {"accuracy": 0.5, "latency": 3.0}
    assert objectives.losses(score) == (-0.5, 3.0)
    assert not objectives.is_single


def test_a_missing_metric_names_what_was_reported_and_the_nearest() -> None:
    with pytest.raises(UsageError, match=r"'accuracy' was not reported; reported: 'acuracy', 'loss'.*mean 'acuracy'"):
        Objectives.of("maximize", "accuracy").score({"acuracy": 1, "loss": 2})
    with pytest.raises(UsageError, match=r"reported: nothing: report it, or set metric_key"):
        Objectives.of("maximize", "accuracy").score({})


@pytest.mark.parametrize(
    ("goal", "message"),
    [("maximise", "did you mean 'maximize'"), ({}, "names no metric"), ({"a": "up"}, "goal of 'a'")],
)
def test_a_wrong_goal(goal: Goal, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Objectives.of(goal)


def test_a_number_for_two_objectives_is_an_error() -> None:
    with pytest.raises(UsageError, match=r"one score per objective \(a, b\), found the number 1\.0"):
        Objectives.of({"a": "maximize", "b": "maximize"}).values(1.0)


def test_a_mapping_with_one_entry_serves_one_objective() -> None:
    assert Objectives.of("maximize").values({"accuracy": 0.5}) == (0.5,)


def test_ranked_one_objective_breaks_ties_by_number() -> None:
    assert ranked([(3, (1.0,)), (1, (1.0,)), (2, (0.0,)), (0, (math.inf,))]) == [2, 1, 3, 0]


def test_ranked_two_objectives_by_front_then_crowding() -> None:
    # 0, 1, 2, 3 form the first front; 1 lies closest to its neighbors; 4 is dominated by 2.
    points = [(0, (0.0, 9.0)), (1, (1.0, 8.0)), (2, (5.0, 2.0)), (3, (9.0, 0.0)), (4, (6.0, 3.0))]
    assert ranked(points) == [0, 3, 2, 1, 4]


def test_crowding_distances_by_hand() -> None:
    # Axis widths 4 and 4: the middle point has (4 - 0) / 4 on both axes.
    assert crowding_distances([(0.0, 4.0), (1.0, 1.0), (4.0, 0.0)]) == [math.inf, 2.0, math.inf]
    assert crowding_distances([(0.0, math.inf), (1.0, 1.0), (2.0, 0.0)])[1] == 1.0


@settings(derandomize=True, max_examples=60)
@given(st.lists(st.tuples(st.integers(0, 5).map(float), st.integers(0, 5).map(float)), max_size=12))
def test_fronts_partition_and_never_dominate_inside(losses: list[tuple[float, float]]) -> None:
    found = fronts(losses)
    assert sorted(index for front in found for index in front) == list(range(len(losses)))
    for number, front in enumerate(found):
        for index in front:
            assert not any(dominates(losses[other], losses[index]) for other in front)
            if number:
                assert any(dominates(losses[other], losses[index]) for other in found[number - 1])


def fronts_by_all_pairs(losses: list[Losses]) -> list[list[int]]:
    left, found = list(range(len(losses))), []
    while left:
        found.append([one for one in left if not any(dominates(losses[other], losses[one]) for other in left)])
        left = [one for one in left if one not in found[-1]]
    return found


@pytest.mark.parametrize("width", [1, 2, 3, 4])
@pytest.mark.parametrize("seed", range(4))
def test_fronts_are_those_of_comparing_all_pairs(width: int, seed: int) -> None:
    draw = random.Random(seed)
    few: list[Losses] = [tuple(float(draw.randint(0, 4)) for _ in range(width)) for _ in range(60)]  # with many ties
    many: list[Losses] = [tuple(draw.random() for _ in range(width)) for _ in range(60)]
    for losses in (few, many, few + many, []):
        assert fronts(losses) == fronts_by_all_pairs(losses)
