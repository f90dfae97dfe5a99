"""The command `metta-sweep`: read the arguments, call one function, show the result.

Exit codes: 0; 1: a stage or a trial has failed; 2: wrong usage or a broken contract; 3: a store that cannot be read or
written, an executor that cannot run jobs, our own mistake, or a crash of mypy; 4: refused; 130: Ctrl-C.
Nothing but click is imported here; a command imports what it needs, so that `--help` stays fast.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

import click

from metta.sweep.cli.run_commands import COMMANDS
from metta.sweep.errors import InternalError, MettaSweepError, UsageError

DEBUG = "METTA_SWEEP_DEBUG"
INTERRUPTED = 130


class _Group(click.Group):
    """A group that suggests the nearest command, and knows the version only when asked."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        if not ctx.resilient_parsing and not name.startswith("-") and self.get_command(ctx, name) is None:
            from metta.sweep.contracts.diagnostics import nearest

            known = self.list_commands(ctx)
            near = nearest(name, known)
            hint = f' (did you mean "{near}"?)' if near else f"; there is {', '.join(known)}"
            raise UsageError(f'no such command "{name}"{hint}')
        return super().resolve_command(ctx, args)


def _print_version(ctx: click.Context, _parameter: click.Parameter, asked: bool) -> None:
    if asked and not ctx.resilient_parsing:
        from importlib.metadata import version

        from metta.sweep.cli.output import show

        show(f"metta-sweep {version('metta-sweep')}")
        ctx.exit()


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--version", is_flag=True, is_eager=True, expose_value=False, callback=_print_version, help="Show the version."
)
def cli() -> None:
    """Typed pipelines, sweeps and experiments: check, compile and draw them; run them, and go on with their runs."""


for _command in COMMANDS:
    cli.add_command(_command)


@cli.command("compile", short_help="Check a pipeline, describe it, draw it.")
@click.argument("target", metavar="FILE[:NAME]")
@click.option("--graph", "drawn", is_flag=True, help="Draw the pipeline.")
@click.option("--source", is_flag=True, help="Print the Python that was generated.")
@click.option(
    "--format", "format", metavar="FORMAT", help="Of the drawing: svg (default), png, pdf, dot, mermaid or json."
)
@click.option(
    "-o",
    "--output",
    metavar="FILE",
    help="Where to write: by default text to standard output, a picture to <pipeline>.<format>; - is standard output.",
)
def compile_command(target: str, drawn: bool, source: bool, format: str | None, output: str | None) -> None:
    """Check the pipelines of FILE and compile them.

    NAME picks one: a variable, an Experiment class, or a function that returns a pipeline. Without options the inputs,
    the result and the stages are described.
    """
    from metta.sweep.cli.compile import compile_file

    compile_file(target, drawn=drawn, source=source, format=format, output=output)


@cli.command("check", short_help="Find every mistake in the pipelines of files and directories.")
@click.argument("paths", metavar="PATH...", nargs=-1, required=True)
@click.option(
    "--format", "format", metavar="FORMAT", default="text", help="text (default), json, github, sarif or junit."
)
@click.option(
    "--static/--no-static", default=None, help="Run mypy, too, with the plugin metta_mypy. Default: if it is installed."
)
def check_command(paths: tuple[str, ...], format: str, static: bool | None) -> None:
    """Check all pipelines in the files named, and in directories in every file that imports metta.sweep.

    The files are imported, the pipelines are not run. Where mypy is installed, it checks the same files. Exit code 2 if
    there is an error; notes do not count.
    """
    from metta.sweep.cli.check import check_files

    if check_files(paths, format, static=static):
        raise click.exceptions.Exit(2)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; the exit code.

    Args:
        arguments: without the program's name; None for those of the process.
    """
    code = _ended(arguments)
    if arguments is None and _threads_remain():
        # A file may start threads that never end, and Python would wait for them. The answer is given.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    return code


def _threads_remain() -> bool:
    import threading

    return any(t is not threading.main_thread() and not t.daemon for t in threading.enumerate())


def _ended(arguments: Sequence[str] | None) -> int:
    """Run the command; every exception becomes a sentence and an exit code."""
    try:
        return _exit_code(cli.main(arguments, prog_name="metta-sweep", standalone_mode=False))
    except MettaSweepError as error:
        _debug()
        # Several findings, each with its place, stand for themselves.
        click.echo(str(error) if "\n" in str(error) else f"error: {error}", err=True)
        return error.exit_code
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        click.echo("interrupted", err=True)
        return INTERRUPTED
    except Exception as error:
        _debug()
        internal = InternalError(f"{type(error).__name__}: {error}")
        click.echo(f"error: {internal}\nset {DEBUG}=1 to see the traceback", err=True)
        return internal.exit_code


def _exit_code(returned: object) -> int:
    """Without standalone mode click returns the code of `ctx.exit()`, or what the command returned."""
    return returned if isinstance(returned, int) else 0


def _debug() -> None:
    if os.environ.get(DEBUG, "") not in ("", "0"):
        import traceback

        traceback.print_exc()


if __name__ == "__main__":
    sys.exit(main())
