"""Records of every kind: what run time reads from the classes, and the plugin from mypy's types."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from mypy.types import Type

from metta.sweep.contracts import records
from metta.sweep.contracts.runtime_oracle import RuntimeOracle
from metta_mypy.oracle import MypyOracle
from metta_mypy.records import family_of
from tests.plugins.program import Program, program, programs

RECORDS = [
    *("Named", "NamedChild", "Tagged[int]", "Old", "Data", "Child", "Undecorated", "Seeded", "Derived", "Own"),
    *("Silent", "Bare", "Keywords", "Box[int]", "Twice[str]", "Ints", "Movie", "Long", "Keyed[int]", "Defined"),
    *("Wider", "Computed", "Classic[int]", "Converted", "Model", "ModelChild", "Typed[int]"),
]
PROTOCOLS = ["HasName", "HasMore[int]", "Runs"]
OTHERS = ["Plain", "Named2", "object", "int", "tuple[int,str]", "dict[str,int]", "Any", "Data|None"]
UNIONS = ["Data|Derived", "Derived|Data", "Data|None", "Seeded|Movie", "Named|Own"]
TEXTS = list(dict.fromkeys([*RECORDS, *PROTOCOLS, *OTHERS, *UNIONS]))
LINKED = len(TEXTS)

TEXT = "from typing import Any\nfrom tests.plugins.record_zoo import *\n" + "".join(
    f"def f{index}(x: {text}) -> None: ...\n" for index, text in enumerate([*TEXTS, "Linked"])
)

RUNTIME = RuntimeOracle(type("View", (), {}))


@pytest.fixture(scope="module", params=["cold", "warm"])
def checked(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    """With a warm cache the classes are not read from their source, which forgets the order of keys."""
    folder = programs(tmp_path_factory, "record_zoo" if request.param == "cold" else "")
    if request.param == "warm":
        with program(TEXT, folder):
            pass
    with program(f"{TEXT}# {request.param}\n", folder) as it:
        yield it


@pytest.fixture
def oracle(checked: Program) -> MypyOracle:
    return MypyOracle(checked.checker)


@pytest.fixture
def types(checked: Program) -> Mapping[str, Type]:
    return {text: checked.function(f"f{index}").arg_types[0] for index, text in enumerate(TEXTS)}


@pytest.fixture
def forms(checked: Program) -> Mapping[str, Any]:
    return {text: eval(text, checked.names) for text in TEXTS}


def words(oracle: Any, found: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """An answer with its types in words."""
    if found is None:
        return None
    pairs = {name: it if isinstance(it, tuple) else (it, None) for name, it in found.items()}
    return {name: (None if tp is None else oracle.describe(tp), flag) for name, (tp, flag) in pairs.items()}


@pytest.mark.parametrize("question", ["fields_of", "constructor_of", "protocol_of"])
def test_members(oracle: MypyOracle, types: Mapping[str, Type], forms: Mapping[str, Any], question: str) -> None:
    found = {text: words(oracle, getattr(oracle, question)(types[text])) for text in TEXTS}
    wanted = {text: words(RUNTIME, getattr(RUNTIME, question)(forms[text])) for text in TEXTS}
    assert found == wanted
    known = PROTOCOLS[:2] if question == "protocol_of" else RECORDS
    assert [text for text, it in found.items() if it is not None] == known


def test_fields_keep_their_order(oracle: MypyOracle, types: Mapping[str, Type], forms: Mapping[str, Any]) -> None:
    # Only a TypedDict is nothing but its keys, whose order a cache does not keep.
    asked = [text for text in RECORDS if text not in ("Movie", "Long", "Keyed[int]")]
    found = {text: list(oracle.fields_of(types[text]) or ()) for text in asked}
    assert found == {text: list(RUNTIME.fields_of(forms[text]) or ()) for text in asked}


@pytest.mark.parametrize("field", ["x", "y", "size", "seed", "twice", "title", "content"])
def test_unreplaceable(oracle: MypyOracle, types: Mapping[str, Type], forms: Mapping[str, Any], field: str) -> None:
    found = {text: oracle.unreplaceable(types[text], field) for text in TEXTS}
    assert found == {text: RUNTIME.unreplaceable(forms[text], field) for text in TEXTS}


def test_why_not(oracle: MypyOracle, types: Mapping[str, Type]) -> None:
    assert oracle.unreplaceable(types["Derived"], "x") == '"twice" has init=False: the constructor does not take it'
    assert oracle.unreplaceable(types["Data|Derived"], "x") == oracle.unreplaceable(types["Derived"], "x")
    assert oracle.unreplaceable(types["Data|Derived"], "y") is None


def test_a_field_of_its_own_type(checked: Program, oracle: MypyOracle) -> None:
    """Run time leaves Self as it is written."""
    fields = oracle.fields_of(checked.function(f"f{LINKED}").arg_types[0])
    assert words(oracle, fields) == {"x": ("int", True), "rest": ("Linked | None", True)}


def test_families(types: Mapping[str, Type], forms: Mapping[str, Any]) -> None:
    found = {text: family_of(types[text]) for text in TEXTS}
    assert found == {text: records.family_of(forms[text]) for text in TEXTS}
