"""mypy with the plugin, in a process and a folder of its own: any version of it, cold or warm, or as a daemon."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

_CONFIGURATION = """\
[mypy]
strict = true
plugins = {plugins}
cache_dir = {cache}
ignore_missing_imports = true
namespace_packages = true
explicit_package_bases = true
pretty = false
error_summary = false

[metta-mypy]
strict = {strict}
"""

_RECHECKED = re.compile(r"LOG:  \w+ SCC [^(]*\((.*)\) as inherently stale")


def own_lines(printed: str) -> list[str]:
    """What mypy says, sorted; without its notes on where the library defines something, which not all versions give."""
    return sorted(line for line in printed.splitlines() if not line.endswith("defined here"))


class Finding(NamedTuple):
    """One report, as `--output=json` gives it; what to do about it stands in `hint`."""

    file: str
    line: int
    severity: str
    code: str
    message: str
    hint: str


@dataclass(frozen=True, slots=True)
class Mypy:
    """A mypy to run in a folder. It finds `metta` and the plugin where they are installed.

    Attributes:
        folder: the working directory; the cache stands in it.
        python: the interpreter of an environment (tests/environments.py).
        libraries: folders that Python looks for modules in before all others: with another mypy, say.
        strict: the plugin's own option.
        options: of the command line, for mypy and for the daemon.
    """

    folder: Path
    python: Path
    libraries: tuple[Path, ...] = ()
    plugins: str = "metta_mypy"
    cache: str = "cache"
    strict: bool = False
    options: tuple[str, ...] = ()

    def lines(self, files: Iterable[str | Path]) -> list[str]:
        """The reports on the files, in an order that does not depend on what is checked first.

        Raises:
            AssertionError: mypy failed, or wrote to stderr.
        """
        printed, log = self.call("mypy", [*self.settings(), *map(str, files)])
        assert not log, log
        return own_lines(printed)

    def findings(self, files: Iterable[str | Path]) -> list[Finding]:
        """The same reports, with the codes of notes and with hints."""
        printed, log = self.call("mypy", [*self.settings(), "--output=json", *map(str, files)])
        assert not log, log
        found = map(json.loads, printed.splitlines())
        return sorted(
            Finding(it["file"], it["line"], it["severity"], it["code"] or "", it["message"], it["hint"] or "")
            for it in found
        )

    def rechecked(self, files: Iterable[str | Path]) -> set[str]:
        """The modules that do not come from the cache, in a run of their own."""
        _, log = self.call("mypy", [*self.settings(), "--verbose", *map(str, files)])
        assert "LOG:  Build finished" in log, log
        return {module for found in _RECHECKED.findall(log) for module in found.split()}

    def settings(self) -> list[str]:
        """Write the configuration file; the options that go with it."""
        path = self.folder / f"{self.cache}.ini"
        text = _CONFIGURATION.format(plugins=self.plugins, cache=self.cache, strict=self.strict)
        path.write_text(text, encoding="utf-8")
        return [f"--config-file={path.name}", *self.options]

    def call(self, module: str, arguments: Sequence[str]) -> tuple[str, str]:
        """Run a module of mypy to its end; what it prints and what it logs."""
        status, printed, log = self.ended(module, arguments)
        assert status in (0, 1), printed + log
        return printed, log

    def ended(self, module: str, arguments: Sequence[str]) -> tuple[int, str, str]:
        """Run a module of mypy; how it ends, what it prints and what it logs."""
        environment = {name: value for name, value in os.environ.items() if not name.startswith("MYPY")}
        done = subprocess.run(
            [self.python, "-m", module, *arguments],
            cwd=self.folder,
            env={**environment, "PYTHONPATH": os.pathsep.join(map(str, self.libraries))},
            capture_output=True,
            text=True,
            check=False,
        )
        return done.returncode, done.stdout, done.stderr


class Daemon:
    """dmypy; it is started by a `with` statement and stopped when that is left."""

    def __init__(self, mypy: Mypy) -> None:
        self._mypy = mypy

    def __enter__(self) -> Daemon:
        self._ask("start", "--timeout=600", "--", *self._mypy.settings())
        return self

    def __exit__(self, *_: object) -> None:
        self._ask("stop")

    def lines(self, files: Iterable[str | Path]) -> list[str]:
        return own_lines(self._ask("check", *map(str, files)))

    def _ask(self, *arguments: str) -> str:
        printed, log = self._mypy.call("mypy.dmypy", ["--status-file=daemon.json", *arguments])
        assert not log, log
        return printed
