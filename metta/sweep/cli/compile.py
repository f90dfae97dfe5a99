"""`metta-sweep compile`: the pipelines of a file, described, printed as Python, or drawn."""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from types import ModuleType

import click

from metta.sweep.cli.output import show, write_file
from metta.sweep.compiler.check import in_order, note_of_stop
from metta.sweep.compiler.find import Candidate, candidates, names_inside, no_pipeline, outermost, pick
from metta.sweep.compiler.flat import inputs_of, result_of
from metta.sweep.compiler.graph import NodeKind
from metta.sweep.compiler.load import LoadError, split_spec, user_module
from metta.sweep.compiler.loading import noting_stops
from metta.sweep.compiler.render import TEXT_FORMATS, check_format, default_file_name, render
from metta.sweep.contracts.diagnostics import ContractError, Diagnostic, Severity, format_diagnostics
from metta.sweep.errors import UsageError
from metta.sweep.pipeline.builder import Pipeline
from metta.sweep.pipeline.reporting import collecting
from metta.sweep.runtime.compiled import CompiledGraph, compile_pipeline

_WIDTH = 100
_WORDS = {
    NodeKind.STAGE: ("stage", "stages"),
    NodeKind.MAP: ("map", "maps"),
    NodeKind.NESTED: ("nested pipeline", "nested pipelines"),
    NodeKind.LOOP: ("loop", "loops"),
    NodeKind.BRANCH: ("conditional", "conditionals"),
    NodeKind.PARALLEL: ("parallel step", "parallel steps"),
}


def compile_file(target: str, *, drawn: bool, source: bool, format: str | None, output: str | None) -> None:
    """Do what the command asks.

    Raises:
        UsageError: the file, the name, the format or the options cannot be used.
        ContractError: with every mistake of the pipeline that is named, else of the file's pipelines.
    """
    if drawn and source:
        raise UsageError("--graph and --source exclude one another: choose one")
    if not drawn and format is not None:
        raise UsageError("--format is for drawings: add --graph")
    if not drawn and not source and output is not None:
        raise UsageError("-o is for drawings and for --source: add one of them")
    if drawn:
        format = check_format(format, output)
    with _compiled(target) as graphs:
        if not drawn and not source:
            show("\n\n".join(map(_described, graphs)))
            return
        if len(graphs) > 1:
            names = ", ".join(graph.name for graph in graphs)
            example = f"{target}:{graphs[0].name}"
            raise UsageError(f"{target} has {len(graphs)} pipelines ({names}): choose one, as in {example}")
        (graph,) = graphs
        if format is not None:
            _deliver(render(graph.graph, format), format, graph.name, output)
        else:
            _deliver(graph.source.encode(), "py", graph.name, output or "-")


def _deliver(data: bytes, format: str, name: str, output: str | None) -> None:
    if output is None and format not in TEXT_FORMATS:
        output = default_file_name(name, format)
    if output is None or output == "-":
        show(data, end=False)
        return
    write_file(data, output)


@contextmanager
def _compiled(target: str) -> Iterator[list[CompiledGraph]]:
    """The one that is named, else all that are not parts of others; inside the block their modules are loaded."""
    file, name = split_spec(target)
    # Mistakes are collected, so that the message holds all of them.
    with ExitStack() as stack:
        with collecting() as found, _telling_stops():
            try:
                pairs = _chosen(stack.enter_context(user_module(file)), name)
                for _, pipeline in pairs:
                    pipeline._standing()
            except LoadError:
                if not _has_error(found):
                    raise
                # The file went on with a pipeline that has mistakes: they are what is wrong.
                raise ContractError(in_order(found)) from None
        told = in_order(found) if name is None else [d for d in in_order(found) if _is_in(d, pairs)]
        if _has_error(told):
            raise ContractError(told)
        yield [compile_pipeline(pipeline, each.name) for each, pipeline in pairs]


def _chosen(module: ModuleType, name: str | None) -> list[tuple[Candidate, Pipeline]]:
    if name is not None:
        chosen = pick(module, name)
        return [(chosen, chosen.build())]
    pairs = [(each, each.build()) for each in candidates(module)]
    if not pairs:
        raise no_pipeline(module)
    return outermost(pairs) or pairs


@contextmanager
def _telling_stops() -> Iterator[None]:
    """Say where a file was not read to its end: what is looked for may stand behind."""
    with noting_stops() as stops:
        try:
            yield
        finally:
            if stops:
                click.echo(format_diagnostics(map(note_of_stop, stops)), err=True)


def _is_in(finding: Diagnostic, pairs: Iterable[tuple[Candidate, Pipeline]]) -> bool:
    """Whether it is about one of the pipelines or a part of it; global hooks stand in no step, but under its name."""
    return any(
        finding.pipeline in names_inside(pipeline) or finding.pipeline.partition(".")[0] == each.name.partition(".")[0]
        for each, pipeline in pairs
    )


def _has_error(found: Iterable[Diagnostic]) -> bool:
    return any(d.severity is Severity.ERROR for d in found)


def _described(graph: CompiledGraph) -> str:
    kinds = Counter(node.kind for node in graph.graph.walk())
    steps = [f"{kinds[kind]} {words[kinds[kind] != 1]}" for kind, words in _WORDS.items() if kinds[kind]]
    lines = [
        graph.name,
        *_row("inputs", str(inputs_of(graph.graph)) or "none"),
        *_row("result", _result(graph)),
        *_row("steps", ", ".join(steps) or "none"),
    ]
    if graph.notes:
        lines += ["", format_diagnostics(graph.notes)]
    return "\n".join(lines)


def _result(graph: CompiledGraph) -> str:
    result = result_of(graph.graph)
    return str(result) if result.value else f"Context ({result})"


def _row(word: str, text: str) -> list[str]:
    return textwrap.wrap(f"  {word:<8}{text}", _WIDTH, subsequent_indent=" " * 10)
