"""CommandTraining: a program as the objective of a sweep."""

from __future__ import annotations

import copy
import os
import shlex
import string
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from metta.sweep.errors import UsageError
from metta.sweep.executors.command_run import CommandRun
from metta.sweep.trial import Trial, resolve_path

_OF_TRIAL: Final = ("id", "resource", "seed")


class CommandTraining:
    """Runs a program for each trial: `CommandTraining("python train.py --lr {learning_rate}")`.

    The template is split into arguments as a shell would, before values are put in, and no shell runs: a value is
    always part of one argument. `{path}` is a parameter by its dot path or the end of it, `{path:.3g}` formats it, and
    `{trial.id}`, `{trial.resource}`, `{trial.seed}` are of the trial. An argument whose parameter is inactive in a
    conditional space is left out, and with it the option before, where it is the option's value ("--layers {layers}").

    The program reports on its standard output: every line that is a JSON object with numbers in it is one report,
    `{"score": 0.9}`; other lines, and all of standard error, go to the trial's log. Reports count one step each, or
    name it under `step_key`. Its environment has

    - METTA_SWEEP_PARAMS, all parameters as a JSON object;
    - METTA_SWEEP_TRIAL, METTA_SWEEP_RESOURCE, METTA_SWEEP_SEED, as `trial.id`, `.resource` and `.seed`;
    - METTA_SWEEP_CHECKPOINT, a folder for its state, and METTA_SWEEP_STEP, the step to which the files in it belong.

    What lies in that folder when a report is read is saved with that report; a trial that is paused, promoted, forked
    or resumed finds it there again. Write files under a name that ends in ".tmp" first, and rename them before
    reporting: such files are not saved. At step 0 the folder is empty. The program does not wait for its reports to be
    read: one that is quick may find files of a later step than METTA_SWEEP_STEP, so it should name its steps.

    When the scheduler ends or pauses the trial, the program gets SIGTERM after the report that led to it, and `grace`
    seconds to exit; how it exits does not count then. What it saves in that time is kept if it has saved nothing with
    its reports. Then what is left of it and its children is killed. Time-outs and cancellations end them likewise.

    Args:
        command: the template, or the arguments one by one, each a template.
        environment: variables beside those of the driver.
        folder: where it runs; None for the driver's working folder.
        step_key: the number in a report that is its step.
        grace: seconds between SIGTERM and SIGKILL.

    Raises:
        UsageError: the command is empty, or a template is malformed.
    """

    def __init__(
        self,
        command: str | Sequence[str],
        *,
        environment: Mapping[str, str] | None = None,
        folder: str | os.PathLike[str] | None = None,
        step_key: str = "step",
        grace: float = 10.0,
    ) -> None:
        self.command: tuple[str, ...] = _split(command)
        self.environment: dict[str, str] = dict(environment or {})
        self.folder: str | None = None if folder is None else os.fspath(folder)
        self.step_key = step_key
        self.grace = grace
        self._placeholders: tuple[str, ...] = tuple(_placeholders(self.command))
        self._known: frozenset[str] | None = None

    def __repr__(self) -> str:
        return f"CommandTraining({shlex.join(self.command)!r})"

    def bound(self, paths: Iterable[str]) -> CommandTraining:
        """A copy that knows the paths of the search space, and so tells an inactive parameter from a wrong one.

        Raises:
            UnknownParameter: a placeholder is no parameter of the space; the message names the nearest.
        """
        known = frozenset(paths)
        for name in self._placeholders:
            if not _is_of_trial(name):
                resolve_path(name, sorted(known))
        copied = copy.copy(self)
        copied._known = known
        return copied

    def arguments(self, trial: Trial) -> list[str]:
        """The command of a trial.

        Raises:
            UnknownParameter: a placeholder is no parameter.
        """
        made: list[str] = []
        for template in self.command:
            argument = self._filled(template, trial)
            if argument is not None:
                made.append(argument)
            elif _is_placeholder(template) and made and made[-1].startswith("-") and "=" not in made[-1]:
                made.pop()
        return made

    def _filled(self, template: str, trial: Trial) -> str | None:
        """An argument with its values; None where a parameter is inactive."""
        made = ""
        for text, name, spec, conversion in string.Formatter().parse(template):
            made += text
            if name is None:
                continue
            if _is_of_trial(name):
                value = getattr(trial, name.removeprefix("trial."))
            elif self._known is not None and name not in trial.params and resolve_path(name, self._known):
                return None
            else:
                value = trial.params[name]
            value = repr(value) if conversion == "r" else value
            made += format(value, spec) if spec else str(value)
        return made

    def __call__(self, trial: Trial) -> None:
        """Run the program to its end, or until the scheduler ends the trial.

        Raises:
            RunError: it cannot be started, exits with another code than 0, or reports nothing.
        """
        with tempfile.TemporaryDirectory(prefix="metta-sweep-command-") as scratch:
            CommandRun(self, trial, Path(scratch)).run()


def _split(command: str | Sequence[str]) -> tuple[str, ...]:
    try:
        arguments = tuple(shlex.split(command)) if isinstance(command, str) else tuple(command)
    except ValueError as error:
        raise UsageError(f"CommandTraining({command!r}): {error}") from None
    if not arguments or not all(isinstance(argument, str) for argument in arguments):
        raise UsageError(f'CommandTraining({command!r}): expected a command such as "python train.py --lr {{lr}}"')
    return arguments


def _placeholders(templates: Iterable[str]) -> Iterator[str]:
    for template in templates:
        try:
            parts = list(string.Formatter().parse(template))
        except ValueError as error:
            raise UsageError(
                f"CommandTraining: the argument {template!r} is malformed: {error}; a brace that is meant is doubled"
            ) from None
        for _, name, _, _ in parts:
            if name == "":
                raise UsageError(
                    f"CommandTraining: {{}} in the argument {template!r} names no parameter: write {{learning_rate}}"
                )
            if name is not None:
                yield name


def _is_of_trial(name: str) -> bool:
    return name in [f"trial.{attribute}" for attribute in _OF_TRIAL]


def _is_placeholder(template: str) -> bool:
    """Whether a template is one placeholder and nothing else."""
    return [bool(text) for text, *_ in string.Formatter().parse(template)] == [False]
