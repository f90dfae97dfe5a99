"""Calling SLURM's programs: argument lists, time limits, an environment that has no say in what they print."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Mapping, Sequence
from typing import Final

from metta.sweep.executors.remote.engine import EngineRefused, EngineUnavailable
from metta.sweep.executors.remote.messages import as_line

PROGRAMS: Final = ("sbatch", "squeue", "scancel", "scontrol")
"""What must be there. `sacct` may be missing: many clusters keep no accounts."""

LONGEST_TEXT: Final = 500
"""Characters of SLURM's own words in a message."""

_OF_SLURM: Final = ("SLURM_", "SBATCH_", "SQUEUE_", "SACCT_", "SCANCEL_", "SCONTROL_", "SINFO_")
_KEPT: Final = frozenset(
    (
        *("SLURM_CONF", "SLURM_CONF_SERVER", "SLURM_JWT"),
        *(
            "SBATCH_ACCOUNT",
            "SBATCH_CONSTRAINT",
            "SBATCH_PARTITION",
            "SBATCH_QOS",
            "SBATCH_RESERVATION",
            "SBATCH_WCKEY",
        ),
    )
)
"""How the cluster is reached, and the defaults that users set for where their jobs go and whose share they use."""

_FOR_NOW: Final = re.compile(
    r"Unable to contact slurm controller|temporarily unable|[Tt]ry again|timed out|Connection (refused|reset)|"
    r"Zero Bytes|standby mode|not connected|communication (error|failure)|authentication (error|credential)|"
    r"Unexpected message|I/O error|No space left|Resource temporarily|SubmitJobs?(Per\w+)?Limit|Submit\w*Limit|"
    r"configuration source|not responding",
)
"""What sbatch says about a controller that is away or overloaded, or too many jobs for now."""

_VERDICT: Final = re.compile(
    r"Batch job submission failed|unrecognized option|error: [Ii]nvalid|not look like a batch|can not be satisfied"
)
"""What sbatch says when it or the controller has looked at the job."""


class Client:
    """Calls SLURM's programs.

    Args:
        time_limit: seconds for one call.
    """

    def __init__(self, time_limit: float) -> None:
        self._time_limit = time_limit

    def call(self, *arguments: str, stdin: str = "", environment: Mapping[str, str] | None = None) -> str:
        """What a program prints.

        Raises:
            EngineUnavailable: it failed, or is not there, or took too long.
        """
        done = self.attempt(arguments, stdin, environment)
        if done.returncode:
            raise EngineUnavailable(f"SLURM: {arguments[0]} failed: {said(done)}")
        return done.stdout

    def attempt(
        self, arguments: Sequence[str], stdin: str = "", environment: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """A call that may fail.

        Raises:
            EngineUnavailable: the program is not there, or took too long. It was ended; what it had asked for may
                still happen.
        """
        try:
            return subprocess.run(
                arguments,
                input=stdin,
                capture_output=True,
                timeout=self._time_limit,
                env=dict(environment if environment is not None else clean(os.environ)),
                encoding="utf-8",
                errors="replace",
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise EngineUnavailable(f"SLURM: {arguments[0]} took more than {self._time_limit:g} s") from None
        except OSError as error:
            raise EngineUnavailable(f"SLURM: {arguments[0]} cannot be run here: {error.strerror}") from error


def clean(environment: Mapping[str, str], given: frozenset[str] = frozenset()) -> dict[str, str]:
    """The environment for SLURM's programs, which sbatch hands on to the job.

    Variables of SLURM change what its programs print and ask for, and those of the job that the driver runs in would be
    taken for the new one's. So they stay out, but for how the cluster is reached and the user's defaults; the latter
    would beat what a script says, so those of the options `given` there stay out, too. The driver's GPUs are not the
    job's.
    """
    unwanted = {f"SBATCH_{name.upper()}" for name in given} | {"CUDA_VISIBLE_DEVICES"}
    return {
        name: value
        for name, value in environment.items()
        if name not in unwanted and (name in _KEPT or not name.startswith(_OF_SLURM))
    }


def said(done: subprocess.CompletedProcess[str]) -> str:
    """What a program that failed has said, as one line."""
    lines = (done.stderr.strip() or done.stdout.strip()).splitlines()
    text = "; ".join(re.sub(r"^\w+: (error: )?", "", line.strip()) for line in lines)
    return as_line(text, LONGEST_TEXT) or f"exit code {done.returncode}"


def refusal(done: subprocess.CompletedProcess[str]) -> EngineRefused | EngineUnavailable:
    """What it means that sbatch failed."""
    text = f"SLURM: sbatch failed: {said(done)}"
    if _FOR_NOW.search(done.stderr) is None and _VERDICT.search(done.stderr) is not None:
        return EngineRefused(text)
    return EngineUnavailable(text)
