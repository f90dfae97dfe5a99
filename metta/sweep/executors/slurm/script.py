"""From what is asked for to a batch script: pure functions.

User's text reaches a script in three ways. What stands in `#SBATCH` lines was checked against what SLURM's names are
made of (settings.py). Paths and arguments stand in bash's quotes, in printable ASCII only. `setup` is shell on purpose.

A script has no secret in it, only folders and the digest of the task file. The variables of the driver's environment
reach the job by sbatch itself (`--export=ALL`).
"""

from __future__ import annotations

import math
import os
import re
import shlex
from collections.abc import Sequence
from typing import Final

from metta.sweep.errors import UsageError
from metta.sweep.executors.remote.engine import Job
from metta.sweep.executors.remote.spool import OUTPUT
from metta.sweep.executors.slurm.settings import SlurmSettings, checked

MARK: Final = "metta-sweep"
"""The first word of the comment of our jobs."""

EARLY_SECONDS: Final = 60
"""So much before its time SLURM may send the signal that it was asked for (sbatch's manual, --signal)."""

_PRINTABLE: Final = re.compile(r"[ -~]*")
_LABEL: Final = re.compile(r"[A-Za-z][A-Za-z0-9-]{0,49}")


def batch_script(jobs: Sequence[Job], label: str, settings: SlurmSettings) -> str:
    """The script for jobs of equal resources and limits: one job, or an array of them.

    The job's name is the label, because names are what squeue and sacct can be asked for. `singleton` has SLURM itself
    run at most one submission of that name at a time: of a submission that was accepted twice, one waits.

    Raises:
        UsageError: a label or a partition that cannot stand in a script.
    """
    if _LABEL.fullmatch(label) is None:
        raise UsageError(f"the label {label!r}: expected 1 to 50 letters, digits and dashes, a letter first")
    lines = ["#!/bin/bash", *(f"#SBATCH --{line}" for line in _options(jobs, label, settings))]
    lines.append("")
    each = [_variables(job) for job in jobs]
    shared = [line for line in each[0] if all(line in own for own in each)]
    lines += shared
    if len(jobs) > 1:
        lines.append('case "$SLURM_ARRAY_TASK_ID" in')
        for index, own in enumerate(each):
            lines += [f"{index})", *(f"  {line}" for line in own if line not in shared), "  ;;"]
        lines.append("esac")
    lines += [
        'exec >>"$metta_output" 2>&1',
        'cd -- "$metta_folder" || exit',
        *settings.setup,
        'export PYTHONPATH="$metta_paths${PYTHONPATH:+:$PYTHONPATH}"',
        # `exec`: the worker program becomes the batch process, which is the one that gets the signals.
        'exec "${metta_command[@]}"',
    ]
    return "\n".join(lines) + "\n"


def _variables(job: Job) -> list[str]:
    """What differs from job to job, as assignments. The names keep out of the way of `setup`."""
    return [
        f"metta_folder={quoted(str(job.work_folder))}",
        f"metta_paths={quoted(os.pathsep.join(map(str, job.paths)))}",
        f"metta_output={quoted(str(job.folder / OUTPUT))}",
        f"metta_command=({' '.join(map(quoted, job.command))})",
    ]


def _options(jobs: Sequence[Job], label: str, settings: SlurmSettings) -> list[str]:
    """The options of sbatch, as `name=value` or `name`."""
    wanted = jobs[0].resources
    options = [f"job-name={label}", f"comment={comment(label, len(jobs))}"]
    if len(jobs) > 1:
        options.append(f"array=0-{len(jobs) - 1}")
    options += ["dependency=singleton", "nodes=1", "ntasks=1", f"cpus-per-task={max(1, math.ceil(wanted.cpus))}"]
    if wanted.memory_bytes is not None:
        options.append(f"mem={math.ceil(wanted.memory_bytes / 2**20)}M")
    if gres := _gres(math.ceil(wanted.gpus), settings):
        options.append(f"gres={gres}")
    if (limit := minutes(jobs[0], settings)) is not None:
        options.append(f"time={limit}")
    if settings.signal_before:
        options.append(f"signal=B:USR1@{settings.signal_before}")
    partition = wanted.partition or settings.partition
    if partition is not None:
        options.append(f"partition={checked(partition, 'Resources(partition=...)')}")
    if settings.account is not None:
        options.append(f"account={settings.account}")
    if settings.qos is not None:
        options.append(f"qos={settings.qos}")
    options.append("requeue" if settings.requeue else "no-requeue")
    for name, value in settings.options.items():
        if value is not False:
            options.append(name if value is True else f"{name}={value}")
    # The job appends its output itself: --output would read patterns into a path, and knows one for a whole array.
    return [*options, "output=/dev/null", "open-mode=append", "chdir=/", "export=ALL"]


def _gres(gpus: int, settings: SlurmSettings) -> str:
    kinds = [settings.gres] if settings.gres else []
    if gpus:
        kinds.append(f"gpu:{settings.gpu_type}:{gpus}" if settings.gpu_type else f"gpu:{gpus}")
    return ",".join(kinds)


def minutes(job: Job, settings: SlurmSettings) -> int | None:
    """The time limit of a job in minutes; None: that of the partition.

    A task has its own limit, which the worker program keeps. SLURM's lies so far behind that the signal before it
    does not come first.
    """
    limits = [] if settings.time_limit is None else [settings.time_limit]
    if job.time_limit is not None:
        limits.append(job.time_limit + settings.signal_before + EARLY_SECONDS)
    return math.ceil(min(limits) / 60) if limits else None


def comment(label: str, size: int) -> str:
    """What stands in the comment of our jobs: whose, and of how many."""
    return f"{MARK}:{label}:{size}"


def size_in(text: str, label: str) -> int | None:
    """How many jobs a submission has, by a comment; None where that is not ours."""
    match = re.fullmatch(rf"{MARK}:{re.escape(label)}:([1-9]\d{{0,5}})", text)
    return int(match[1]) if match else None


def quoted(text: str) -> str:
    """The text as one word of bash, in printable ASCII.

    Raises:
        UsageError: it has a NUL, which no argument can have.
    """
    if "\0" in text:
        raise UsageError(f"{text!r} has a NUL character: no path or argument of a program can")
    if _PRINTABLE.fullmatch(text):
        return shlex.quote(text)
    # Bytes as the file system has them; sbatch refuses scripts with the line ends of other systems, even in quotes.
    return "$'" + "".join(map(_escaped, os.fsencode(text))) + "'"


def _escaped(byte: int) -> str:
    character = chr(byte)
    return character if " " <= character <= "~" and character not in "'\\" else f"\\x{byte:02x}"
