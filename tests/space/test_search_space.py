import json

import numpy as np
import pytest

from metta.sweep.errors import UsageError
from metta.sweep.space import Choice, Constant, Integer, LogUniform, PowerOfTwo, SearchSpace, Uniform, divides
from metta.sweep.trial import Params

CONDITIONAL = {
    "cnn.layers": Integer(3, 10),
    "model_type": Choice(["cnn", "transformer"]),
    "transformer.heads": Integer(4, 16),
    "transformer.norm": "pre",
    "lr": LogUniform(1e-4, 1e-1),
    "seed": 7,
}


def test_a_prefix_that_is_a_choice_makes_a_parameter_conditional() -> None:
    space = SearchSpace(CONDITIONAL)
    assert space.is_conditional
    assert [condition.parameter for condition in space.conditions("cnn.layers")] == ["model_type"]
    assert space.conditions("lr") == ()
    rng = np.random.default_rng(0)
    seen = set()
    for _ in range(50):
        params = dict(space.sample(rng))
        seen.add(params["model_type"])
        assert ("cnn.layers" in params) == (params["model_type"] == "cnn")
        assert ("transformer.heads" in params) == ("transformer.norm" in params) == (params["model_type"] != "cnn")
        assert params["seed"] == 7
        assert list(params) == [path for path in CONDITIONAL if path in params]
    assert seen == {"cnn", "transformer"}


def test_when_is_the_explicit_form_and_replaces_the_prefix_rule() -> None:
    space = SearchSpace(
        {
            "depth": Integer(1, 4),
            "cnn.kernel": Integer(1, 9).when("depth", 3, 4),
            "net.kind": Choice(["cnn", "mlp"]),
            "width": Integer(1, 8).when("kind", "mlp"),
        }
    )
    assert space.active({"depth": 3, "net.kind": "mlp", "cnn.kernel": 1, "width": 2}) == tuple(space)
    assert space.active({"depth": 2, "net.kind": "cnn", "cnn.kernel": 1, "width": 2}) == ("depth", "net.kind")


def test_a_choice_is_not_conditional_on_itself() -> None:
    assert not SearchSpace({"cnn.kind": Choice(["cnn", "deep"])}).is_conditional


def test_conditions_chain() -> None:
    space = SearchSpace(
        {
            "a.b": Choice(["c", "d"]).when("kind", "a"),
            "deep": Uniform(0, 1).when("a.b", "c"),
            "kind": Choice(["a", "z"]),
        }
    )
    assert space.active({"kind": "z", "a.b": "c", "deep": 0.5}) == ("kind",)
    assert dict(space.complete({"kind": "z"})) == {"kind": "z"}
    assert dict(space.complete({})) == {"a.b": "c", "deep": 0.5, "kind": "a"}


@pytest.mark.parametrize(
    ("space", "message"),
    [
        ({}, "the search space is empty"),
        ({"x": Uniform(0, 1).when("modle", "a"), "model": Choice(["a"])}, "'x' is conditional.*did you mean 'model'"),
        ({"x": Uniform(0, 1).when("model", "b"), "model": Choice(["a"])}, "only when 'model' is 'b', but 'b' is not"),
        ({"x": Choice([1]).when("y", 1), "y": Choice([1]).when("x", 1)}, "the conditions go in a circle"),
        ({"a": Choice(["cnn"]), "b": Choice(["cnn"]), "cnn.x": Integer(1, 2)}, "conditional on 'a' and 'b': say which"),
        ({"trainer": {"lr": Uniform(0, 1)}}, "a search space is flat: write 'trainer.lr'"),
        ({"x": Uniform}, "'x': Uniform needs its arguments"),
        ({"": 1}, "a parameter's name is a dot path"),
    ],
)
def test_spaces_that_make_no_sense(space: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        SearchSpace(space)


def test_of_accepts_mappings_and_spaces() -> None:
    space = SearchSpace.of({"x": Uniform(0, 1)})
    assert SearchSpace.of(space) is space
    with pytest.raises(UsageError, match="expected a search space"):
        SearchSpace.of([1])  # type: ignore[arg-type]


def test_lookups_take_aliases_and_name_the_nearest() -> None:
    space = SearchSpace({"trainer.learning_rate": Uniform(0, 1)})
    assert space["learning_rate"] == Uniform(0, 1)
    with pytest.raises(KeyError, match=r"did you mean 'trainer\.learning_rate'"):
        space["trainer.learning_rates"]


def test_complete() -> None:
    space = SearchSpace(CONDITIONAL)
    assert dict(space.complete({"layers": np.int64(5), "lr": 0.01})) == {
        "cnn.layers": 5,
        "model_type": "cnn",
        "lr": 0.01,
        "seed": 7,
    }
    # An inactive parameter is left out.
    assert "cnn.layers" not in dict(space.complete({"model_type": "transformer", "cnn.layers": 5}))
    with pytest.raises(KeyError, match="did you mean 'model_type'"):
        space.complete({"model_typ": "cnn"})
    with pytest.raises(UsageError, match=r"the parameter 'lr': 3 is not a value of LogUniform\(0.0001, 0.1\)"):
        space.complete({"lr": 3})


def test_validate() -> None:
    space = SearchSpace(CONDITIONAL)
    good = {"model_type": "cnn", "cnn.layers": 4, "lr": 0.01, "seed": 7}
    assert dict(space.validate(good)) == {path: good[path] for path in CONDITIONAL if path in good}
    with pytest.raises(UsageError, match=r"'cnn\.layers' is missing"):
        space.validate({"model_type": "cnn", "lr": 0.01, "seed": 7})
    with pytest.raises(
        UsageError, match=r"'transformer\.heads' is not active here: it is only where model_type is one of"
    ):
        space.validate({**good, "transformer.heads": 4})
    with pytest.raises(UsageError, match="'seed': 8 is not a value of Constant"):
        space.validate({**good, "seed": 8})


def test_adapt_drops_what_is_unknown_and_fills_what_is_missing() -> None:
    adapted = SearchSpace(CONDITIONAL).adapt({"model_type": "transformer", "transformer.heads": 5, "dropout": 0.1})
    assert adapted.dropped == ("dropout",)
    assert adapted.filled == ("lr",)
    assert adapted.params["heads"] == 5


def test_divides() -> None:
    space = SearchSpace({"minibatch": Integer(1, 12), "batch": PowerOfTwo(8, 32)}).require(
        divides("minibatch", "batch"), lambda params: params["minibatch"] > 1
    )
    rng = np.random.default_rng(1)
    for _ in range(30):
        params = space.sample(rng)
        assert params["batch"] % params["minibatch"] == 0
        assert params["minibatch"] > 1
    with pytest.raises(UsageError, match=r"does not meet divides\('minibatch', 'batch'\)"):
        space.validate({"minibatch": 3, "batch": 8})


def test_divides_holds_where_a_parameter_is_inactive() -> None:
    constraint = divides("cnn.a", "b")
    assert constraint.holds(Params({"b": 3}))
    assert not constraint.holds(Params({"b": 3, "cnn.a": 2}))
    assert not constraint.holds(Params({"b": 3, "cnn.a": 0}))


def test_impossible_constraints_are_a_clear_error() -> None:
    def never(params: Params) -> bool:
        return False

    space = SearchSpace({"x": Uniform(0, 1)}).require(never)
    with pytest.raises(UsageError, match=r"no configuration met never in 1000 tries; the last was \{'x'"):
        space.sample(np.random.default_rng(0))


def test_json_round_trip_keeps_conditions_and_constraints() -> None:
    space = SearchSpace(
        {**CONDITIONAL, "k": Integer(1, 4).when("model_type", "cnn"), "typed": Choice[str](["a", "b"])}
    ).require(divides("k", "cnn.layers"))
    again = SearchSpace.from_json(json.loads(json.dumps(space.to_json())))
    assert again.to_json() == space.to_json()
    first, second = np.random.default_rng(3), np.random.default_rng(3)
    assert [dict(space.sample(first)) for _ in range(20)] == [dict(again.sample(second)) for _ in range(20)]


def test_json_that_cannot_be() -> None:
    with pytest.raises(UsageError, match="only constraints like divides"):
        SearchSpace({"x": Uniform(0, 1)}).require(lambda params: True).to_json()
    with pytest.raises(UsageError, match="unknown distribution 'Unifrom': did you mean Uniform"):
        SearchSpace.from_json({"parameters": {"x": {"type": "Unifrom"}}, "constraints": []})
    with pytest.raises(UsageError, match="unknown constraint"):
        SearchSpace.from_json({"parameters": {"x": {"type": "Constant", "value": 1}}, "constraints": [["a"]]})


def test_tunable_and_equality() -> None:
    space = SearchSpace(CONDITIONAL)
    assert space.tunable == ("cnn.layers", "model_type", "transformer.heads", "lr")
    assert space == SearchSpace(dict(CONDITIONAL))
    assert space != SearchSpace({**CONDITIONAL, "seed": 8})
    assert space["seed"] == Constant(7)


def test_contradictory_conditions() -> None:
    kind, depth = Choice(["cnn", "mlp"]), Choice([1, 2, 3])
    with pytest.raises(
        UsageError, match=r"'x' can never be active: .* 'kind' is one of \['cnn'\] and one of \['mlp'\]"
    ):
        SearchSpace({"kind": kind, "x": Uniform(0, 1).when("kind", "cnn").when("kind", "mlp")})
    # Through a parent, and wherever that one is declared.
    with pytest.raises(UsageError, match="'x' can never be active"):
        SearchSpace({"x": Uniform(0, 1).when("kind", "mlp").when("d", 1), "d": depth.when("kind", "cnn"), "kind": kind})
    space = SearchSpace({"d": depth, "x": Uniform(0, 1).when("d", 1, 2).when("d", 2, 3)})
    assert [space.active({"d": d, "x": 0.5}) for d in (1, 2, 3)] == [("d",), ("d", "x"), ("d",)]


def test_the_longest_prefix_counts() -> None:
    space = SearchSpace(
        {"kind": Choice(["net", "net.deep"]), "net.deep.layers": Integer(1, 9), "net.width": Integer(1, 9)}
    )
    assert dict(space.complete({"kind": "net.deep"})) == {"kind": "net.deep", "net.deep.layers": 5}
    assert dict(space.complete({"kind": "net"})) == {"kind": "net", "net.width": 5}


def test_a_repair_mends_what_breaks_its_constraint() -> None:
    def fits(params: Params) -> bool:
        return bool(params["mini"] <= params["batch"])

    plain = SearchSpace({"mini": PowerOfTwo(1, 64), "train.batch": PowerOfTwo(1, 64)})
    space = plain.require(fits, repair=lambda params: {"batch": params["mini"]})
    first, second = np.random.default_rng(1), np.random.default_rng(1)
    for _ in range(40):
        free, mended = plain.sample(first), space.sample(second)
        assert dict(mended) == {"mini": free["mini"], "train.batch": max(free["mini"], free["batch"])}
    # A repair of the one may break the other: then the configuration is drawn again.
    both = space.require(lambda params: params["batch"] < 64)
    assert max(both.sample(first)["batch"] for _ in range(60)) == 32


def test_repairs_that_make_no_sense() -> None:
    space = SearchSpace({"x": Uniform(0, 1)})

    def small(params: Params) -> bool:
        return bool(params["x"] < 0)

    with pytest.raises(
        UsageError, match=r"the repair of small: the parameter 'x': -1 is not a value of Uniform\(0, 1\)"
    ):
        space.require(small, repair=lambda params: {"x": -1}).sample(np.random.default_rng(0))
    with pytest.raises(UsageError, match="the repair of small: there is no parameter 'y'"):
        space.require(small, repair=lambda params: {"y": 1}).sample(np.random.default_rng(0))
    with pytest.raises(UsageError, match=r"require\(repair=...\) mends one constraint, found 2"):
        space.require(small, small, repair=lambda params: {})


def test_spaces_with_equal_constraints_are_equal() -> None:
    parameters = {"a": Integer(1, 4), "b": Integer(1, 4)}
    space = SearchSpace(parameters).require(divides("a", "b"))
    assert space == SearchSpace(parameters).require(divides("a", "b"))
    assert space == SearchSpace.from_json(space.to_json())
    assert space != SearchSpace(parameters).require(divides("b", "a"))
    assert len({divides("a", "b"), divides("a", "b"), divides("b", "a")}) == 2


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({}, "expected what SearchSpace.to_json"),
        ({"parameters": {"x": {"type": "Uniform", "lo": 1}}}, "'x' as Uniform: .*missing.*'hi'"),
        ({"parameters": {"x": {"type": "Uniform", "lo": 1, "hi": 0}}}, "the lower bound must be below the upper"),
        ({"parameters": {"x": {"type": "Uniform", "lo": 0, "hi": 1, "step": 2}}}, "'x' as Uniform: .*'step'"),
        (
            {"parameters": {"x": {"type": "Constant", "value": 1}}, "constraints": [["divides", "a"]]},
            "unknown constraint",
        ),
    ],
)
def test_json_of_something_else(data: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        SearchSpace.from_json(data)


@pytest.mark.parametrize("value", [float("inf"), int, {"nested": float("-inf")}])
def test_values_that_json_does_not_know(value: object) -> None:
    for distribution in (Choice([1, value]), Constant(value)):
        with pytest.raises(UsageError, match=r"'x': .* has a value that JSON does not know"):
            SearchSpace({"x": distribution}).to_json()


def test_adapt_reports_what_is_inactive_here() -> None:
    adapted = SearchSpace(CONDITIONAL).adapt({"model_type": "cnn", "transformer.heads": 5, "lr": 0.01})
    assert adapted.dropped == ("transformer.heads",)
    assert adapted.filled == ("cnn.layers",)


@pytest.mark.parametrize(
    ("value", "meant"),
    [
        (
            (0.1, 1),
            r"\(0\.1, 1\) is taken as a fixed value.*write Uniform\(0\.1, 1\) or Choice\(\[0\.1, 1\]\) to search",
        ),
        ([1, 8], r"write Integer\(1, 8\) or Choice\(\[1, 8\]\) to search it, Constant\(\[1, 8\]\) to keep it"),
        ([8, 1], r"write Choice\(\[8, 1\]\) to search it"),
        ([16, 32, 64], r"write Choice\(\[16, 32, 64\]\) to search it"),
        (("adam", "sgd"), r"write Choice\(\['adam', 'sgd'\]\) to search it"),
    ],
)
def test_a_fixed_value_that_looks_like_a_range_or_choices_is_told(value: object, meant: str) -> None:
    with pytest.warns(UserWarning, match=f"'lr': .*{meant}") as told:
        space = SearchSpace({"lr": value, "x": Uniform(0, 1)})
    assert [warning.filename for warning in told] == [__file__]
    assert space["lr"] == Constant(value)


@pytest.mark.parametrize(
    "value", ["adam", 3, 0.5, True, None, [], [True, False], [[1, 2]], {"a": [1, 2]}, Constant([1, 2])]
)
def test_other_fixed_values_stay_silent(value: object) -> None:
    space = SearchSpace({"lr": value})
    assert SearchSpace.from_json(space.to_json()) == space  # warnings are errors
    assert space.require(lambda params: True)["lr"] == space["lr"]
