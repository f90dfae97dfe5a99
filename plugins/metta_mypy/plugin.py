"""The entry point mypy calls.

The checks that need mypy's own types are added feature by feature, one file each; this file only dispatches.
"""

from mypy.plugin import Plugin


class MettaPlugin(Plugin):
    """Dispatches mypy's hooks to the features of this package."""


def plugin(version: str) -> type[Plugin]:
    """Called by mypy with its own version; returns the class to instantiate."""
    return MettaPlugin
