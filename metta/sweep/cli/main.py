"""The command `metta-sweep`: read the arguments, call one function, show the result.

Exit codes: 0; 1: a stage or a trial has failed; 2: wrong usage or a broken contract; 3: a store that cannot be read or
written, an executor that cannot run jobs, our own mistake, or a crash of mypy; 4: refused; 130: Ctrl-C; 141: whoever
read our output has gone (`| head`).
Nothing but click is imported here; a command imports what it needs, so that `--help` stays fast.
"""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Sequence

import click

from metta.sweep.cli import file_commands, keep_commands, look_commands, run_commands
from metta.sweep.cli.grouped import GroupedCommands, sentence_of
from metta.sweep.cli.output import show
from metta.sweep.errors import InternalError, MettaSweepError

DEBUG = "METTA_SWEEP_DEBUG"
INTERRUPTED = 130

_SECTIONS = {
    "Run": run_commands.COMMANDS,
    "Look": look_commands.COMMANDS,
    "Keep": keep_commands.COMMANDS,
    "Check": file_commands.COMMANDS,
}


def _print_version(ctx: click.Context, _parameter: click.Parameter, asked: bool) -> None:
    if asked and not ctx.resilient_parsing:
        from importlib.metadata import version

        show(f"metta-sweep {version('metta-sweep')}")
        ctx.exit()


@click.group(
    cls=GroupedCommands,
    context_settings={"help_option_names": ["-h", "--help"]},
    invoke_without_command=True,
    subcommand_metavar="COMMAND [ARGS]...",
    epilog="`metta-sweep COMMAND --help` tells the options of each.",
)
@click.option(
    "--version", is_flag=True, is_eager=True, expose_value=False, callback=_print_version, help="Show the version."
)
@click.pass_context
def cli(context: click.Context) -> None:
    """Typed pipelines, sweeps and experiments: check them, run them, look at their runs, go on with them."""
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


cli.sections = {heading: [command.name or "" for command in commands] for heading, commands in _SECTIONS.items()}
for _commands in _SECTIONS.values():
    for _command in _commands:
        cli.add_command(_command)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; the exit code.

    Args:
        arguments: without the program's name; None for those of the process.
    """
    if arguments is None:
        _survive_any_encoding()
    code = _ended(arguments)
    if arguments is None and _threads_remain():
        # A file may start threads that never end, and Python would wait for them. The answer is given.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    return code


def _survive_any_encoding() -> None:
    """A terminal that cannot show a character of a result shows "?" there; that is no reason to fail."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


def _threads_remain() -> bool:
    import threading

    return any(t is not threading.main_thread() and not t.daemon for t in threading.enumerate())


def _ended(arguments: Sequence[str] | None) -> int:
    """Run the command; every exception becomes a sentence and an exit code."""
    try:
        return _exit_code(cli.main(arguments, prog_name="metta-sweep", standalone_mode=False))
    except MettaSweepError as error:
        _debug()
        _tell(error)
        return error.exit_code
    except click.ClickException as error:
        click.echo(_error(sentence_of(error, sys.argv[1:] if arguments is None else arguments, cli)), err=True)
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        click.echo("interrupted", err=True)
        return INTERRUPTED
    except Exception as error:
        _debug()
        internal = InternalError(f"{type(error).__name__}: {error}")
        click.echo(f"error: {internal}\nset {DEBUG}=1 to see the traceback", err=True)
        return internal.exit_code


def _tell(error: MettaSweepError) -> None:
    text, found = str(error), getattr(error, "diagnostics", ())
    # Several findings, each with its place, stand for themselves.
    click.echo(_error(text, "" if found or "\n" in text else "error: "), err=True)
    if found:
        from metta.sweep.cli.explain import tell_more

        tell_more(found)


def _error(text: str, before: str = "error: ") -> str:
    """What is told of an error: names in it may be anybody's, and must not move the cursor."""
    from metta.sweep.report.text import harmless

    return before + harmless(text)


def _exit_code(returned: object) -> int:
    """Without standalone mode click returns the code of `ctx.exit()`, or what the command returned."""
    return returned if isinstance(returned, int) else 0


def _debug() -> None:
    if os.environ.get(DEBUG, "") not in ("", "0"):
        import traceback

        traceback.print_exc()


if __name__ == "__main__":
    sys.exit(main())
