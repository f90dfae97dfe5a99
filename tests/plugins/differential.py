"""The same program texts, asked of the plugin and of definition time."""

from __future__ import annotations

import json
import linecache
import subprocess
import sys
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from metta.sweep import Pipeline
from metta.sweep.contracts.diagnostics import Diagnostic
from metta.sweep.pipeline.reporting import collecting
from metta.sweep.pipeline.steps import Step
from tests.marks import Finding
from tests.pipeline.grammar import Pipe, Recorder
from tests.plugins.rendering import HEADER, Style, Text, render

ROOT = Path(__file__).parents[2]

_CONFIG = """\
[mypy]
plugins = metta_mypy
mypy_path = {root}:{root}/plugins:{root}/stubs
namespace_packages = true
explicit_package_bases = true
follow_imports = silent
"""

_PER_MODULE = 50


class Case(NamedTuple):
    """A described pipeline, and how it is written."""

    pipe: Pipe
    style: Style


@dataclass(frozen=True)
class Verdict:
    """What both say about one case; the lines of the findings count from the first line of its text.

    Attributes:
        early: what definition time says of open pipelines before it is known where they are used. (It looks at them
            again where they are, and then finds what the plugin finds.)
        build: makes the pipeline; what its bodies are called with goes to `recorder`.
    """

    case: Case
    text: str
    static: frozenset[Finding]
    definition: frozenset[Finding]
    early: frozenset[Finding]
    build: Callable[[], Pipeline]
    recorder: Recorder

    @property
    def only_static(self) -> frozenset[Finding]:
        return self.static - self.definition

    @property
    def only_definition(self) -> frozenset[Finding]:
        return self.definition - self.static

    def show(self) -> str:
        """The text, each line with what is said about it."""
        lines = []
        for number, line in enumerate(self.text.splitlines(), 1):
            said = [
                f"{who} {f.severity} {f.code}"
                for who, found in self._sides()
                for f in sorted(found)
                if f.line == number
            ]
            lines.append(f"{line}    # {', '.join(said)}" if said else line)
        return "\n".join(lines)

    def _sides(self) -> Iterator[tuple[str, frozenset[Finding]]]:
        yield "BOTH:", self.static & self.definition
        yield "PLUGIN ONLY:", self.only_static
        yield "DEFINITION ONLY:", self.only_definition


def verdicts(cases: Sequence[Case], folder: Path) -> list[Verdict]:
    """Both verdicts on every case, with one run of mypy.

    Args:
        folder: for the modules, and for mypy's cache: used again, the cache is warm.
    """
    folder.mkdir(exist_ok=True)
    chunks = [cases[begin : begin + _PER_MODULE] for begin in range(0, len(cases), _PER_MODULE)]
    modules = [_Module.of(folder / f"generated_{index}.py", chunk) for index, chunk in enumerate(chunks)]
    said = _mypy([module.path for module in modules], folder)
    return [verdict for module in modules for verdict in module.verdicts(said[module.path])]


def _mypy(paths: Sequence[Path], folder: Path) -> dict[Path, list[Finding]]:
    config = folder / "mypy.ini"
    config.write_text(_CONFIG.format(root=ROOT))
    command = [
        sys.executable,
        "-m",
        "mypy",
        f"--config-file={config}",
        f"--cache-dir={folder / 'cache'}",
        "--output=json",
    ]
    done = subprocess.run([*command, *map(str, paths)], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode in (0, 1), done.stdout + done.stderr
    found: dict[Path, list[Finding]] = {path: [] for path in paths}
    for line in done.stdout.split("\n"):
        if not line:
            continue
        report = json.loads(line)
        found[(ROOT / report["file"]).resolve()].append(
            Finding(report["line"], report["severity"], report["code"] or report["message"])
        )
    return found


@dataclass(frozen=True)
class _Module:
    """Texts of many cases in one file."""

    path: Path
    cases: Sequence[Case]
    texts: Sequence[Text]
    starts: Sequence[int]

    @classmethod
    def of(cls, path: Path, cases: Sequence[Case]) -> _Module:
        """Write the file."""
        texts = [render(case.pipe, f"p{index}", case.style) for index, case in enumerate(cases)]
        written, starts = HEADER, []
        for text in texts:
            starts.append(written.count("\n") + 1)
            written += text.text
        path = path.resolve()
        path.write_text(written)
        return cls(path, cases, texts, starts)

    def verdicts(self, static: Sequence[Finding]) -> Iterator[Verdict]:
        linecache.checkcache(str(self.path))
        recorder = Recorder()
        names = _bodies(self.texts, recorder)
        with collecting() as found, _open_apart() as opened:
            exec(compile(self.path.read_text(), str(self.path), "exec"), names)
            for case, text in zip(self.cases, self.texts, strict=True):
                _builder(names, text.name, case.style)().compile()
        assert all(Path(d.file).resolve() == self.path for d in (*found, *opened))
        by_case = [self._by_case(side) for side in (static, _findings(found), _findings(opened))]
        for index, (case, text) in enumerate(zip(self.cases, self.texts, strict=True)):
            build = _builder(names, text.name, case.style)
            static_found, definition, early = (frozenset(side.get(index, ())) for side in by_case)
            yield Verdict(case, text.text, static_found, definition, early, build, recorder)

    def _by_case(self, findings: Sequence[Finding]) -> dict[int, set[Finding]]:
        found: dict[int, set[Finding]] = {}
        for finding in findings:
            index = bisect_right(self.starts, finding.line) - 1
            assert index >= 0, finding
            found.setdefault(index, set()).add(finding._replace(line=finding.line - self.starts[index] + 1))
        return found


def _findings(diagnostics: Iterable[Diagnostic]) -> list[Finding]:
    return [Finding(d.line, d.severity.value, d.code) for d in diagnostics]


@contextmanager
def _open_apart() -> Iterator[dict[Diagnostic, None]]:
    """Inside the block, what is found in an open pipeline before it is known where it is used is collected apart."""
    found: dict[Diagnostic, None] = {}
    apply = Pipeline._apply

    def applied(pipeline: Pipeline, step: Step) -> None:
        if pipeline._inputs is not None:
            apply(pipeline, step)
            return
        with collecting() as early:
            apply(pipeline, step)
        found.update(early)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Pipeline, "_apply", applied)
        yield found


def _builder(names: dict[str, Any], name: str, style: Style) -> Callable[[], Pipeline]:
    made: Any = names[name]
    return made if style.in_function else lambda: made


def _bodies(texts: Sequence[Text], recorder: Recorder) -> dict[str, Any]:
    """What stands behind the names that `HEADER` declares."""
    stages = {name: body for text in texts for name, body in text.stages.items()}
    conditions = {name: body for text in texts for name, body in text.conditions.items()}
    hooks = {name: body for text in texts for name, body in text.hooks.items()}

    def call(name: str, given: dict[str, Any]) -> Any:
        return recorder.call(*stages[name], given)

    def ask(name: str, whole: object) -> bool:
        return recorder.ask(*conditions[name], whole)

    def see(name: str, data: object) -> None:
        recorder.see(hooks[name], data)

    return {"call": call, "ask": ask, "see": see, "__name__": "generated"}
