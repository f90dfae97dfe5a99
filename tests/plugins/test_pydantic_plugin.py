"""Models as the mypy plugin of pydantic leaves them.

In a module of its own: mypy fails where one program is checked while the answers for another one are still wanted.
"""

from __future__ import annotations

from pathlib import Path

from mypy.types import Instance

from metta_mypy.oracle import MypyOracle
from tests.plugins.program import program
from tests.plugins.test_mypy_records import RUNTIME, words


def test_models_with_the_plugin_of_pydantic(tmp_path: Path) -> None:
    texts = ["Model", "ModelChild", "Typed[int]"]
    functions = "".join(f"def f{index}(x: {text}) -> None: ...\n" for index, text in enumerate(texts))
    text = f"from tests.plugins.record_zoo import *\n{functions}"
    with program(text, tmp_path, plugins=["pydantic.mypy"]) as checked:
        oracle = MypyOracle(checked.checker)
        for index, text in enumerate(texts):
            (tp,), form = checked.function(f"f{index}").arg_types, eval(text, checked.names)
            assert isinstance(tp, Instance)
            assert "pydantic-mypy-metadata" in tp.type.metadata
            assert words(oracle, oracle.fields_of(tp)) == words(RUNTIME, RUNTIME.fields_of(form))
            assert words(oracle, oracle.constructor_of(tp)) == words(RUNTIME, RUNTIME.constructor_of(form))
