"""The mypy plugin of metta-sweep: `plugins = metta_mypy` in the mypy configuration."""

from metta_mypy.plugin import plugin as plugin

__all__ = ["plugin"]
