"""The mypy plugin of metta-sweep: `plugins = metta_mypy` in the mypy configuration."""

from metta_mypy.digest import VERSION
from metta_mypy.plugin import plugin as plugin

__all__ = ["plugin"]

__version__ = VERSION
"""mypy keeps a cache per plugin and version, and looks at this file alone: so the version covers all that decides."""
