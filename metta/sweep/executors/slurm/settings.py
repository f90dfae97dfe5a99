"""What a user asks of SLURM, checked: nothing that stands here can end a line or a word of a batch script."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from types import MappingProxyType
from typing import Final

from metta.sweep.errors import UsageError

OURS: Final[Mapping[str, str]] = {
    "account": "account=",
    "array": "",
    "chdir": "",
    "clusters": "",
    "comment": "",
    "cpus-per-task": "Resources(cpus=)",
    "dependency": "",
    "error": "",
    "export": "",
    "export-file": "",
    "get-user-env": "",
    "gpus": "Resources(gpus=)",
    "gres": "gres= and Resources(gpus=)",
    "hold": "",
    "ignore-pbs": "",
    "input": "",
    "job-name": "",
    "kill-on-invalid-dep": "",
    "mem": "Resources(memory=)",
    "no-requeue": "requeue=False",
    "nodes": "",
    "ntasks": "",
    "open-mode": "",
    "output": "",
    "parsable": "",
    "partition": "partition= or Resources(partition=)",
    "qos": "qos=",
    "quiet": "",
    "requeue": "requeue=True",
    "signal": "signal_before=",
    "test-only": "",
    "time": "time_limit= or Resources(time_limit=)",
    "time-min": "",
    "verbose": "",
    "wait": "",
    "wrap": "",
}
"""Options of sbatch that are not for `options`, and how what they do is asked for instead; "" where it is not."""

_OPTION: Final = re.compile(r"[a-z][a-z0-9-]*")
_VALUE: Final = re.compile(r"[A-Za-z0-9_@%+=:,./|&*()\[\]!<>~^-]+")
"""Whatever SLURM's own names and expressions need. No space, quote, backslash, `#`, `$` or control character."""

MOST_SIGNAL_SECONDS: Final = 65535
"""What sbatch takes for the time in --signal."""


@dataclass(frozen=True, slots=True)
class SlurmSettings:
    """What is asked of SLURM for every job.

    Args:
        partition: where `Resources(partition=)` does not say; None: the cluster's default.
        account: whose share is used.
        qos: the quality of service.
        gres: generic resources beside GPUs, as sbatch takes them: "lustre:1,license:2".
        gpu_type: of the GPUs that `Resources(gpus=)` asks for: "a100".
        time_limit: seconds; None: the limit of the partition, or what a job's own limit makes of it.
        setup: lines of shell that run before the worker program: `module load python`. They are the user's own, and
            are not quoted; a line that may fail says what then: `module load cuda || exit`.
        options: further options of sbatch by their long names: `{"constraint": "a100|h100", "exclusive": True}`.
        requeue: whether SLURM may start a job again that a lost node or a preemption ended.
        signal_before: seconds before the time limit at which a job is asked to save and end; 0: it is not.

    Raises:
        UsageError: a value that cannot stand in a batch script, or an option that is none of the user's.
    """

    partition: str | None = None
    account: str | None = None
    qos: str | None = None
    gres: str | None = None
    gpu_type: str | None = None
    time_limit: float | None = None
    setup: tuple[str, ...] = ()
    options: Mapping[str, str | int | bool] = field(default_factory=dict)
    requeue: bool = True
    signal_before: int = 60

    def __post_init__(self) -> None:
        for name in ("partition", "account", "qos", "gres", "gpu_type"):
            value = getattr(self, name)
            if value is not None:
                checked(value, f"SLURMExecutor({name}=...)")
        if self.time_limit is not None and not 0 < self.time_limit < math.inf:
            raise UsageError(f"SLURMExecutor(time_limit={self.time_limit!r}): expected a positive number of seconds")
        if not 0 <= self.signal_before <= MOST_SIGNAL_SECONDS:
            raise UsageError(
                f"SLURMExecutor(signal_before={self.signal_before!r}): expected 0 to {MOST_SIGNAL_SECONDS} seconds"
            )
        if self.time_limit is not None and self.time_limit <= self.signal_before:
            raise UsageError(
                f"SLURMExecutor(time_limit={self.time_limit!r}, signal_before={self.signal_before!r}): every job would "
                "be asked to end when it begins; expected signal_before to be the smaller one"
            )
        for line in self.setup:
            if "\0" in line or "\r\n" in line:
                raise UsageError(f"SLURMExecutor(setup=...): {line!r} has a NUL or the line end of another system")
        options = {_checked_option(name): value for name, value in self.options.items()}
        for name, value in options.items():
            if not isinstance(value, bool):
                checked(str(value), f"SLURMExecutor(options={{{name!r}: ...}})")
        object.__setattr__(self, "options", MappingProxyType(options))


def checked(value: str, what: str) -> str:
    """The value of an option, if it can stand in a batch script as it is.

    Raises:
        UsageError: it has a character that is not of SLURM's names and expressions.
    """
    if _VALUE.fullmatch(value) is None:
        bad = next((character for character in value if _VALUE.fullmatch(character) is None), "")
        found = f"{bad!r} in {value!r}" if bad else "nothing"
        raise UsageError(f"{what}: expected letters, digits and any of _@%+=:,./|&*()[]!<>~^-, found {found}")
    return value


def _checked_option(name: str) -> str:
    bare = name.removeprefix("--").replace("_", "-")
    if _OPTION.fullmatch(bare) is None:
        near = get_close_matches(bare.lower(), ("constraint", "exclude", "exclusive", "nodelist", "reservation"), n=1)
        hint = f": did you mean {near[0]!r}?" if near else ": expected a long name such as 'constraint'"
        raise UsageError(f"SLURMExecutor(options=...): {name!r} is no option of sbatch{hint}")
    if bare in OURS:
        instead = f": use {OURS[bare]}" if OURS[bare] else ": the executor sets it itself, or has no use for it"
        raise UsageError(f"SLURMExecutor(options=...): --{bare} is not for here{instead}")
    return bare
