"""What mypy costs: CPU seconds of a process of its own, on one file that it has not seen."""

from __future__ import annotations

import os
import resource
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

from benchmarks.programs import IMPORT, UNTYPED_SURFACE

ROOT = Path(__file__).resolve().parents[1]

_CONFIGURATION = """\
[mypy]
strict = true
mypy_path = {path}
namespace_packages = true
explicit_package_bases = true
follow_imports = silent
cache_dir = {cache}
{more}
"""


@dataclass(frozen=True)
class Checker:
    """One mypy with one configuration and a cache of its own.

    Attributes:
        python: the interpreter that mypy is installed for.
        folder: of the configuration, the cache and the file that is checked.
    """

    python: str
    folder: Path
    _numbers: count[int] = field(default_factory=count)

    def seconds(self, text: str) -> float:
        """CPU seconds of checking a module with this text, start-up included.

        The module gets a name that was not used before, so that of the cache only what it imports can be used.

        Raises:
            RuntimeError: mypy does not accept the text: what it would have cost is not known then.
        """
        source = self.folder / f"program{next(self._numbers)}.py"
        source.write_text(text, encoding="utf-8")
        command = [self.python, "-m", "mypy", "--config-file", str(self.folder / "mypy.ini"), source.name]
        # An interpreter that this package is not installed for finds the plugin, too.
        path = os.pathsep.join([str(ROOT / "plugins"), str(ROOT)])
        before = _children()
        done = subprocess.run(
            command,
            cwd=self.folder,
            env={**os.environ, "PYTHONPATH": path},
            capture_output=True,
            text=True,
            check=False,
        )
        taken = _children() - before
        source.unlink()
        if done.returncode:
            raise RuntimeError(f"mypy does not accept a program of the benchmark:\n{done.stdout}{done.stderr}")
        return taken

    def net(self, text: str) -> float:
        """CPU seconds of checking, without start-up: those of a module that only imports what the text imports.

        Zero where a text is so short that the two cannot be told apart.
        """
        return max(0.0, self.seconds(text) - self.seconds(IMPORT))


def typed(python: str, folder: Path) -> Checker:
    """Our own surface, and the plugin."""
    return _checker(python, folder, [ROOT, ROOT / "plugins"], "plugins = metta_mypy")


def untyped(python: str, folder: Path) -> Checker:
    """The surface without types, and no plugin."""
    package = folder / "surface" / "metta"
    (package / "sweep").mkdir(parents=True)
    # With an `__init__` mypy prefers it to a namespace package of the same name that is installed.
    (package / "__init__.pyi").touch()
    (package / "sweep" / "__init__.pyi").write_text(UNTYPED_SURFACE, encoding="utf-8")
    return _checker(python, folder, [folder / "surface"])


def _checker(python: str, folder: Path, path: Sequence[Path], more: str = "") -> Checker:
    folder.mkdir(exist_ok=True)
    text = _CONFIGURATION.format(path=", ".join(map(str, path)), cache=folder / "cache", more=more)
    (folder / "mypy.ini").write_text(text, encoding="utf-8")
    return Checker(python, folder)


def version_of(python: str) -> str:
    """Of the mypy that an interpreter has.

    Raises:
        subprocess.CalledProcessError: it has none.
    """
    program = "from mypy.version import __version__; print(__version__)"
    return subprocess.run([python, "-c", program], capture_output=True, text=True, check=True).stdout.strip()


def _children() -> float:
    """CPU seconds of all processes that have ended and been waited for."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime
