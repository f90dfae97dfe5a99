"""The group of all commands: its help by purpose, its mistakes in one sentence each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import click

from metta.sweep.errors import UsageError


class GroupedCommands(click.Group):
    """Suggests the nearest command, and lists the commands by what they are for.

    Attributes:
        sections: heading -> the names of its commands, in the order in which help shows them.
    """

    sections: Mapping[str, Sequence[str]] = {}

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        if not ctx.resilient_parsing and not name.startswith("-") and self.get_command(ctx, name) is None:
            from metta.sweep.contracts.diagnostics import nearest

            if name.partition(":")[0].endswith(".py"):
                raise UsageError(
                    f'"{name}" is a file: run it with `metta-sweep run {name}`, or see `metta-sweep --help`'
                )
            near = nearest(name, self.list_commands(ctx))
            hint = f'did you mean "{near}"?' if near else "`metta-sweep --help` lists them"
            raise UsageError(f'no such command "{name}": {hint}')
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write a list for each section."""
        width = max(map(len, self.commands))
        for heading, names in self.sections.items():
            with formatter.section(heading):
                limit = formatter.width - width - 6
                rows = [(f"{name:<{width}}", self.commands[name].get_short_help_str(limit)) for name in names]
                formatter.write_dl(rows)


def sentence_of(error: click.ClickException, words: Sequence[str], group: click.Group) -> str:
    """What is wrong with the arguments, and where to look: one sentence, as all other errors are told.

    Args:
        words: the arguments.
        group: of all commands.
    """
    context = error.ctx if isinstance(error, click.UsageError) else None
    called = next((word for word in words if word in group.commands), "")
    if context is not None:
        called = "" if context.parent is None else context.info_name or ""
    help = f"`{' '.join(filter(None, ['metta-sweep', called]))} --help` tells what it takes"
    if isinstance(error, click.NoSuchOption):
        return f"no such option {error.option_name}: {_nearest_option(error.option_name, called, group) or help}"
    if isinstance(error, click.MissingParameter) and error.param is not None:
        return f"{_name_of(error.param)} is missing: {help}"
    if isinstance(error, click.BadParameter) and error.param is not None:
        return f"{_name_of(error.param)}: {error.message.rstrip('.')}"
    if isinstance(error, click.BadOptionUsage):
        return f"{error.option_name} needs a value: {help}"
    message = " ".join(error.format_message().split()).rstrip(".")
    return f"{message[:1].lower()}{message[1:]}: {help}"


def _nearest_option(option: str, called: str, group: click.Group) -> str:
    from metta.sweep.contracts.diagnostics import nearest

    command = group.commands.get(called)
    commands: Sequence[click.Command] = [group, *group.commands.values()] if command is None else [command]
    known = {name for each in commands for param in each.params for name in param.opts if name.startswith("--")}
    near = nearest(option, sorted(known))
    if near is None:
        return ""
    return (
        f"did you mean {near}?" if command is not None else f"options go behind a command, did you mean {near} there?"
    )


def _name_of(parameter: click.Parameter) -> str:
    if isinstance(parameter, click.Argument):
        return parameter.metavar or parameter.name or ""
    return max(parameter.opts, key=len)
