"""What mypy says about (source, target) pairs written as text: one run for all of them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import chdir
from pathlib import Path
from typing import Any

import mypy.api

ROOT = Path(__file__).parents[2]

IMPORTS = """\
import abc, asyncio, collections, contextlib, datetime, decimal, enum, fractions, numbers
import os, pathlib, re, types, typing
from collections.abc import *
from typing import (
    Annotated, Any, ClassVar, Final, Literal, LiteralString, NamedTuple, Never, NoReturn, Optional, Type, Union,
    SupportsFloat, SupportsIndex, SupportsInt, SupportsAbs,
)
from typing_extensions import Concatenate, Unpack
from tests.contracts.type_zoo import *
"""

_ERROR = re.compile(r"^.+?:(?P<line>\d+): error: (?P<text>.*)$")
_MISFITS = re.compile(r"\[(assignment|arg-type|type-var)\]$|^Cannot infer value of type parameter")


def mypy_verdicts(pairs: Sequence[tuple[str, str]], folder: Path) -> list[bool]:
    """For each pair whether `mypy --strict` accepts a value of the first type where the second is declared."""
    return _verdicts(
        [f"def f{i}(x: {source}) -> None: y: {target} = x" for i, (source, target) in enumerate(pairs)], folder
    )


def mypy_call_verdicts(pairs: Sequence[tuple[str, str]], folder: Path) -> list[bool]:
    """The same for a call: the second type is that of a parameter and may contain type variables."""
    return _verdicts(
        [
            f"def f{i}(x: {source}) -> None:\n    def g(y: {target}) -> None: ...\n    g(x)"
            for i, (source, target) in enumerate(pairs)
        ],
        folder,
    )


def evaluate(text: str) -> Any:
    """The type that `text` stands for in the modules that mypy checks."""
    return eval(text, _NAMES)


_NAMES: dict[str, Any] = {}
exec(IMPORTS, _NAMES)


def _verdicts(functions: Sequence[str], folder: Path) -> list[bool]:
    """For each function whether mypy has nothing to say about it.

    Raises:
        ValueError: mypy says more than that a type does not fit: the text does not mean what its author thinks.
    """
    lines = IMPORTS.splitlines()
    owners: dict[int, int] = {}
    for index, function in enumerate(functions):
        for line in function.splitlines():
            lines.append(line)
            owners[len(lines)] = index
    module = folder / "pairs.py"
    module.write_text("\n".join(lines) + "\n")
    options = ["--strict", "--config-file=", "--no-error-summary", "--allow-any-generics", "--explicit-package-bases"]
    with chdir(ROOT):
        output, errors, _ = mypy.api.run([*options, f"--cache-dir={folder / 'cache'}", str(module)])
    if errors:
        raise ValueError(errors)
    verdicts = [True] * len(functions)
    for line in output.splitlines():
        if ": note: " in line:
            continue
        found = _ERROR.match(line)
        if found is None or not _MISFITS.search(found["text"]) or (number := int(found["line"])) not in owners:
            raise ValueError(line)
        verdicts[owners[number]] = False
    return verdicts
