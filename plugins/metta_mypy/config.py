"""The plugin's own options: `[tool.metta-mypy]` in pyproject.toml, `[metta-mypy]` in mypy.ini or setup.cfg."""

from __future__ import annotations

import configparser
import tomllib


def read_strict(config_file: str | None) -> bool:
    """`strict`: whether a stage that cannot be verified is an error. A file that cannot be read says nothing."""
    if not config_file:
        return False
    try:
        if config_file.endswith(".toml"):
            with open(config_file, "rb") as file:
                return tomllib.load(file).get("tool", {}).get("metta-mypy", {}).get("strict", False) is True
        parser = configparser.ConfigParser()
        parser.read(config_file, encoding="utf-8")
        return parser.getboolean("metta-mypy", "strict", fallback=False)
    except (OSError, ValueError, configparser.Error):
        return False
