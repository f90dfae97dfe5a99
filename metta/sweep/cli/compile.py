"""`metta-sweep compile`: the pipelines of a file, described, printed as Python, or drawn."""

from __future__ import annotations

import textwrap
from collections import Counter

import click

from metta.sweep.compiler.flat import inputs_of, result_of
from metta.sweep.compiler.graph import NodeKind
from metta.sweep.compiler.load import Candidate, candidates, no_pipeline, outermost, pick, split_spec, user_module
from metta.sweep.compiler.render import TEXT_FORMATS, check_format, default_file_name, render, write
from metta.sweep.contracts.diagnostics import ContractError, Severity, format_diagnostics
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
        ContractError: with every mistake of the file's pipelines.
    """
    if drawn and source:
        raise UsageError("--graph and --source exclude one another: choose one")
    if not drawn and format is not None:
        raise UsageError("--format is for drawings: add --graph")
    if not drawn and not source and output is not None:
        raise UsageError("-o is for drawings and for --source: add one of them")
    if drawn:
        format = check_format(format, output)
    graphs = _compiled(target)
    if not drawn and not source:
        click.echo("\n\n".join(map(_described, graphs)))
        return
    if len(graphs) > 1:
        names = ", ".join(graph.name for graph in graphs)
        raise UsageError(f"{target} has {len(graphs)} pipelines ({names}): choose one, as in {target}:{graphs[0].name}")
    (graph,) = graphs
    if drawn:
        assert format is not None
        _show(render(graph.graph, format), format, graph.name, output)
    else:
        _show(graph.source.encode(), "py", graph.name, output or "-")


def _show(data: bytes, format: str, name: str, output: str | None) -> None:
    if output is None and format not in TEXT_FORMATS:
        output = default_file_name(name, format)
    if output is None or output == "-":
        click.echo(data, nl=False)
        return
    write(data, output)
    click.echo(f"wrote {output}", err=True)


def _compiled(target: str) -> list[CompiledGraph]:
    """The one that is named, else all that are not parts of others."""
    file, name = split_spec(target)
    # Mistakes are collected, so that the message holds all of them.
    with collecting() as found, user_module(file) as module:
        pairs: list[tuple[Candidate, Pipeline]]
        if name is None:
            pairs = outermost([(each, each.build()) for each in candidates(module)])
            if not pairs and not found:
                raise UsageError(no_pipeline(module))
        else:
            chosen = pick(module, name)
            pairs = [(chosen, chosen.build())]
        for _, pipeline in pairs:
            pipeline._standing()
    if any(d.severity is Severity.ERROR for d in found):
        raise ContractError(found)
    return [compile_pipeline(pipeline, each.name) for each, pipeline in pairs]


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
