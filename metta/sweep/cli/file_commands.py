"""The commands about files and about the command line itself: only what click needs to know."""

from __future__ import annotations

import click

from metta.sweep.cli.options import AS_JSON, drawing_output, file_argument, format_option, leave

SHELLS = ("bash", "zsh", "fish")


@click.command("init", short_help="Make a small typed project.")
@click.argument("folder", metavar="DIR")
@click.option("--name", metavar="NAME", help="Of the project; by default that of the folder.")
@click.option("--force", is_flag=True, help="Write over files that are there.")
def init_command(folder: str, name: str | None, force: bool) -> None:
    """Write a pipeline, a sweep over it, a test and the configuration of mypy to DIR. Nothing is installed.

    Files that are there are not touched: the command is refused (exit code 4).
    """
    from metta.sweep.cli.init import make_project

    leave(make_project(folder, name=name, force=force))


@click.command("check", short_help="Find every mistake in the pipelines of files and directories.")
@file_argument("paths", metavar="PATH...", nargs=-1, required=True)
@format_option(("text", "json", "github", "sarif", "junit"), "text (default), json, github, sarif or junit.")
@click.option(
    "--static/--no-static", default=None, help="Run mypy, too, with the plugin metta_mypy. Default: if it is installed."
)
@click.option("--json", "as_json", is_flag=True, help="The same as --format json.")
def check_command(paths: tuple[str, ...], format: str | None, static: bool | None, as_json: bool) -> None:
    """Check all pipelines in the files named, and in directories in every file that imports metta.sweep.

    The files are imported, the pipelines are not run. Where mypy is installed, it checks the same files. Exit code 2 if
    there is an error; notes do not count.
    """
    from metta.sweep.cli.check import check_files
    from metta.sweep.cli.shown import format_of

    if check_files(paths, format_of(format, as_json) or "text", static=static):
        raise click.exceptions.Exit(2)


@click.command("compile", short_help="Check a pipeline, describe it, draw it.")
@file_argument()
@click.option("--graph", "drawn", is_flag=True, help="Draw the pipeline.")
@click.option("--source", is_flag=True, help="Print the Python that was generated.")
@format_option(
    ("svg", "png", "pdf", "dot", "mermaid", "html", "json"),
    "Of the drawing: svg (default), png, pdf, dot, mermaid, html or json.",
)
@drawing_output("pipeline")
@click.option("--json", "as_json", is_flag=True, help="The same as --graph --format json.")
def compile_command(
    target: str, drawn: bool, source: bool, format: str | None, output: str | None, as_json: bool
) -> None:
    """Check the pipelines of FILE and compile them.

    NAME picks one: a variable, an Experiment class, or a function that returns a pipeline. Without options the inputs,
    the result and the stages are described.
    """
    from metta.sweep.cli.compile import compile_file
    from metta.sweep.cli.shown import format_of

    compile_file(target, drawn=drawn or as_json, source=source, format=format_of(format, as_json), output=output)


def _codes(_context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[str]:
    from metta.sweep.explain import codes

    return [code for code in codes() if code.startswith(incomplete)]


@click.command("explain", short_help="What an error means, and what to do about it.")
@click.argument("code", metavar="[CODE]", required=False, shell_complete=_codes)
@AS_JSON
def explain_command(code: str | None, as_json: bool) -> None:
    """Explain the error CODE, such as missing-field: a program that gets it, why, and how to mend it.

    Without CODE all of them are listed.
    """
    from metta.sweep.cli.explain import explain

    leave(explain(code, as_json=as_json))


@click.command("completion", short_help="Print the script that completes commands in a shell.")
@click.argument(
    "shell", metavar="bash|zsh|fish", shell_complete=lambda _c, _p, text: [s for s in SHELLS if s.startswith(text)]
)
def completion_command(shell: str) -> None:
    """Print the script for a shell: it completes commands, options, files, and the ids of runs.

    \b
    bash  metta-sweep completion bash >> ~/.bashrc
    zsh   metta-sweep completion zsh >> ~/.zshrc
    fish  metta-sweep completion fish > ~/.config/fish/completions/metta-sweep.fish

    A shell that is started afterwards has it.
    """
    from metta.sweep.cli.completion import script

    script(shell, click.get_current_context().find_root().command)


COMMANDS: tuple[click.Command, ...] = (
    init_command,
    check_command,
    compile_command,
    explain_command,
    completion_command,
)
