"""The plugin's own options: `[tool.metta-mypy]` in pyproject.toml, `[metta-mypy]` in mypy.ini or setup.cfg.

A mistake in them stops mypy: a check that only seems to be strict is worse than none.
"""

from __future__ import annotations

import configparser
import json
import tomllib
from collections.abc import Iterable, Mapping
from typing import Final

from metta.sweep.contracts.flow import did_you_mean
from metta.sweep.errors import UsageError

_SECTION: Final = "metta-mypy"
_OPTIONS: Final = ("strict",)
_TRUTH: Final = configparser.RawConfigParser.BOOLEAN_STATES


def read_strict(config_file: str | None) -> bool:
    """`strict`: whether a stage that cannot be verified is an error.

    Args:
        config_file: the one that mypy has read; None or "" if there is none.

    Raises:
        UsageError: in one line, what is wrong with our section, or with the file.
    """
    if not config_file:
        return False
    is_toml = config_file.lower().endswith(".toml")  # as mypy decides it
    shown = f"[tool.{_SECTION}]" if is_toml else f"[{_SECTION}]"
    try:
        options = _of_toml(config_file) if is_toml else _of_ini(config_file)
        for name in options:
            if name not in _OPTIONS:
                known = ", ".join(_OPTIONS)
                raise UsageError(f'has no option "{name}"{did_you_mean(name, [*_OPTIONS])}, only {known}')
        return _truth("strict", options.get("strict", False), is_toml=is_toml)
    except (OSError, ValueError, configparser.Error, UsageError) as error:
        raise UsageError(f"{config_file}: error: {shown} {' '.join(str(error).split())}") from None


def _of_toml(config_file: str) -> Mapping[str, object]:
    with open(config_file, "rb") as file:
        tools = tomllib.load(file).get("tool", {})
    _check_header(tools)
    options: object = tools.get(_SECTION, {})
    if not isinstance(options, dict):
        raise UsageError(f"must be a table of options, not {json.dumps(options, default=str)}")
    return options


def _of_ini(config_file: str) -> Mapping[str, object]:
    parser = configparser.RawConfigParser()
    with open(config_file, encoding="utf-8") as file:
        parser.read_file(file)
    _check_header(parser.sections())
    if not parser.has_section(_SECTION):
        return {}
    # What stands in [DEFAULT] is not meant for us alone: only an option that we have is taken from there.
    return {name: it for name, it in parser.items(_SECTION) if name in _OPTIONS or name not in parser.defaults()}


def _check_header(names: Iterable[str]) -> None:
    """The name of the plugin, or the section of the other kind of file."""
    for name in names:
        if name != _SECTION and name.lower().replace("_", "-").removeprefix("tool.") == _SECTION:
            raise UsageError(f"is not read where it is written as {name}")


def _truth(name: str, value: object, *, is_toml: bool) -> bool:
    known = value if is_toml else _TRUTH.get(str(value).lower())
    if not isinstance(known, bool):
        raise UsageError(f"{name} must be true or false, not {json.dumps(value, default=str)}")
    return known
