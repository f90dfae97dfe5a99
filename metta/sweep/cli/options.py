"""What several commands take: the run, the store, settings, `--json`; and what the shell completes them with."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final, NoReturn, TypeVar

import click

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

F = TypeVar("F", bound=Callable[..., Any])

AS_JSON = click.option("--json", "as_json", is_flag=True, help="One JSON document on standard output.")
STORE = click.option(
    "--store", metavar="DIR", help="The store: by default METTA_SWEEP_HOME, else ./.metta-sweep in this folder."
)

_SETTING: Final = re.compile(r"\s*[^\W\d]\w*(\.[^\W\d]\w*)*\s*=")
"""How a setting begins: `rate=`, `scheduler.max_epochs=`."""


class Whole(click.IntRange):
    """A whole number in a range; a wrong one is told what was expected."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The number.

        Raises:
            click.BadParameter: it is none, or out of the range.
        """
        try:
            return super().convert(value, param, ctx)
        except click.BadParameter:
            limits = f"of at least {self.min}" if self.max is None else f"from {self.min} to {self.max}"
            self.fail(f"expected a whole number {limits}, found {value!r}", param, ctx)


def leave(code: int) -> None:
    """End the command with this exit code."""
    if code:
        raise click.exceptions.Exit(code)


def run_argument(name: str = "run", **settings: Any) -> Callable[[F], F]:
    """The argument RUN: an id, a name (the newest run of it), the beginning of an id, or a path.

    RUN/3 is the run that trial 3 of RUN has started, RUN/NAME one of that name.
    """
    return click.argument(name, **{"metavar": "RUN", "shell_complete": complete_run, **settings})


def file_argument(name: str = "target", **settings: Any) -> Callable[[F], F]:
    """An argument that is, or begins with, the name of a file."""
    return click.argument(name, **{"metavar": "FILE[:NAME]", "shell_complete": _complete_file, **settings})


def format_option(words: Sequence[str], help: str, *names: str, **settings: Any) -> Callable[[F], F]:
    """An option that takes one of these words; whoever reads it says what a wrong one was probably meant to be."""

    def complete(_context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[str]:
        return [word for word in words if word.startswith(incomplete)]

    return click.option(*(names or ("--format",)), metavar="FORMAT", help=help, shell_complete=complete, **settings)


def output_option(help: str, metavar: str = "FILE") -> Callable[[F], F]:
    """`-o`: where to write."""
    return click.option("-o", "--output", metavar=metavar, help=help)


def drawing_output(what: str) -> Callable[[F], F]:
    """`-o` of a command that says or draws something.

    Args:
        what: the file of a picture is called after.
    """
    return output_option(
        f"Where to write: by default text to standard output, a picture to <{what}>.<format>; - is standard output."
    )


def settings_argument(command: F) -> F:
    """`name=value ...` behind the other arguments; the same as `--set name=value`."""
    return click.argument("settings", metavar="[NAME=VALUE]...", nargs=-1, callback=_checked_settings)(command)


def split_settings(words: Sequence[str]) -> tuple[list[str], list[str]]:
    """The words that are no settings, and those that are."""
    settings = [word for word in words if _SETTING.match(word)]
    return [word for word in words if word not in settings], settings


def refuse_word(context: click.Context, word: str, *following: str) -> NoReturn:
    """Say what a word was probably meant to be that is no argument of the command.

    Args:
        following: the words behind it.

    Raises:
        UsageError: always.
    """
    from metta.sweep.contracts.diagnostics import nearest
    from metta.sweep.errors import UsageError

    options = {option.lstrip("-"): option for each in context.command.params for option in each.opts}
    near = nearest(word.partition("=")[0].lstrip("-"), [name for name in options if options[name].startswith("--")])
    hint = "a setting is written name=value, such as optimizer.seed=7"
    if near is not None:
        hint = f"did you mean {options[near]}?"
    elif following:
        hint = f"did you mean {word}={following[0]}?"
    raise UsageError(f"unexpected argument {word!r}: {hint}")


def _checked_settings(context: click.Context, _parameter: click.Parameter, words: tuple[str, ...]) -> tuple[str, ...]:
    others, settings = split_settings(words)
    if others and not context.resilient_parsing:
        refuse_word(context, *others)
    return tuple(settings)


def complete_run(_context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[str]:
    """The ids of the runs in the default store that begin so."""
    from metta.sweep.cli.completion import run_ids

    return run_ids(incomplete)


def _complete_file(_context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    from click.shell_completion import CompletionItem

    return [CompletionItem(incomplete, type="file")]
