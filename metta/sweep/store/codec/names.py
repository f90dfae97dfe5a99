"""The names under which files know classes."""

from __future__ import annotations

import os
import sys


def class_name(cls: type) -> str:
    """`train:Config`: where a class is found again. A script's classes have the name they have when it is imported."""
    return f"{module_name(cls.__module__)}:{cls.__qualname__}"


def module_name(module: str) -> str:
    """The name of a module; for `__main__` the one it would be imported by."""
    if module != "__main__":
        return module
    main = sys.modules.get("__main__")
    spec = getattr(main, "__spec__", None)
    if spec is not None:
        return str(spec.name).removesuffix(".__main__")
    file = getattr(main, "__file__", None)
    return os.path.splitext(os.path.basename(file))[0] if file else module
