"""SLURM as an engine: sbatch, squeue, sacct, scancel, scontrol."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Collection, Iterable, Mapping, Sequence
from difflib import get_close_matches
from typing import Final

from metta.sweep.errors import UsageError
from metta.sweep.executors.remote.engine import EngineRefused, EngineUnavailable, Job, JobStatus, Phase
from metta.sweep.executors.slurm.client import PROGRAMS, Client, clean, refusal, said
from metta.sweep.executors.slurm.script import batch_script, size_in
from metta.sweep.executors.slurm.settings import SlurmSettings
from metta.sweep.executors.slurm.states import (
    SACCT_FORMAT,
    SQUEUE_FORMAT,
    Record,
    final_status_of,
    ids_of,
    records,
    split_id,
    status_of,
)

LARGEST_BATCH: Final = 500
"""Jobs of one array. SLURM's own limit is 1000 where a cluster does not set it."""

_TOO_MANY: Final = re.compile("Invalid job array specification|Submit\\w*Limit")
"""What sbatch says where fewer jobs at once may pass."""

ACCOUNTS_SINCE: Final = "now-60days"
"""How far back sacct is asked for a submission; without this it looks at today only."""

IDS_AT_ONCE: Final = 500
"""In one argument list."""


class SlurmEngine:
    """Runs jobs on the SLURM cluster whose programs are on the `PATH`.

    Jobs are recognised by their name, which is the label of their submission: a cluster that has lost its state
    gives the same ids again, to others' jobs as well.

    Args:
        settings: what is asked for every job.
        poll_interval: seconds between two looks. Each costs the controller one request for all jobs.
        call_limit: seconds for one call of a program.
    """

    name = "SLURM"

    def __init__(self, settings: SlurmSettings, *, poll_interval: float = 10.0, call_limit: float = 30.0) -> None:
        self.poll_interval = poll_interval
        self.largest_batch: int = LARGEST_BATCH
        self._settings = settings
        self._client = Client(call_limit)

    def submit(self, jobs: Sequence[Job], label: str) -> Sequence[str]:
        """Submit jobs: one by itself, several as an array."""
        if missing := _missing_programs():
            raise EngineRefused(missing)
        done = self._client.attempt(
            ("sbatch", "--parsable"), self._script(jobs, label), clean(os.environ, self._given(jobs[0]))
        )
        if done.returncode:
            if len(jobs) > 1 and _TOO_MANY.search(done.stderr) is not None:
                self.largest_batch = len(jobs) // 2
                raise EngineUnavailable(
                    f"SLURM takes no array of {len(jobs)} jobs ({said(done)}): it gets a smaller one"
                )
            raise refusal(done)
        # A plugin of the site may print before it; the name of a cluster may follow.
        found = re.search(r"^(\d+)(?:;\S*)?$", done.stdout.strip(), re.MULTILINE)
        if found is None:
            raise EngineUnavailable(f"SLURM: sbatch printed {done.stdout[:100]!r}, expected the id of the job")
        return ids_of(int(found[1]), len(jobs))

    def find(self, label: str) -> Sequence[str] | None:
        """The jobs of a submission, by their name: from the controller, then from the accounts."""
        shown = self._client.call(*self._squeue(), f"--name={label}", "--format=%i|%k")
        found: dict[int, int] = {}
        for line in shown.splitlines():
            job, _, comment = line.partition("|")
            try:
                number, index = split_id(job)
            except ValueError:
                continue
            # Elements of an array that ended long ago are missing; its comment, which sites may change, has the size.
            found[number] = max(found.get(number, 1), index + 1, size_in(comment, label) or 1)
        for record in [] if found else self._accounts(f"--name={label}", f"--starttime={ACCOUNTS_SINCE}"):
            number, index = split_id(record.id)
            found[number] = max(found.get(number, 1), index + 1)
        if not found:
            return None
        first = min(found)  # of two, SLURM runs the first one before the other
        return ids_of(first, found[first])

    def status(self, jobs: Mapping[str, str]) -> Mapping[str, JobStatus]:
        """How the jobs are: from the controller, and from the accounts for those that it has forgotten."""
        if not jobs:
            return {}
        found = {record.id: status_of(record) for record in self._ours(jobs)}
        missing = [job for job in jobs if job not in found]
        for some in _chunks(missing):
            for record in self._accounts(f"--jobs={','.join(some)}"):
                status = final_status_of(record)
                if status is not None and jobs.get(record.id) == record.name:
                    found[record.id] = status
        return found

    def cancel(self, jobs: Mapping[str, str]) -> None:
        """End jobs: SLURM sends SIGTERM, and after its KillWait SIGKILL."""
        alive = [record.id for record in self._ours(jobs) if status_of(record).phase is not Phase.ENDED]
        self._cancel(alive)

    def forget(self, jobs: Mapping[str, str]) -> None:
        """Take out of the queue what SLURM would start again: a task that has told its end needs no second start."""
        waiting = [record.id for record in self._ours(jobs) if record.state in ("PENDING", "REQUEUED", "REQUEUE_HOLD")]
        self._cancel(waiting)

    def describe(self, job: Job, label: str) -> str:
        """The batch script."""
        return self._script([job], label)

    def problems(self) -> Collection[str]:
        """See `Engine.problems`: the controller is asked for a sign of life, and for its partitions."""
        if missing := _missing_programs():
            return [missing]
        try:
            done = self._client.attempt(("scontrol", "ping"))
            if done.returncode:
                return [f"SLURM: the controller does not answer ({said(done)}): is SLURM_CONF right?"]
            return self._partition_problems()
        except EngineUnavailable as error:
            return [str(error)]

    def close(self) -> None:
        """Nothing is open."""

    def _partition_problems(self) -> list[str]:
        wanted = self._settings.partition
        known = self._client.call("sinfo", "--noheader", "--format=%R").split() if wanted else []
        for partition in wanted.split(",") if wanted else []:
            if partition not in known:
                near = get_close_matches(partition, known, n=1)
                hint = f"did you mean {near[0]!r}?" if near else f"there is {', '.join(known)}"
                return [f"SLURM: there is no partition {partition!r}: {hint}"]
        return []

    def _script(self, jobs: Sequence[Job], label: str) -> str:
        for job in jobs:
            if job.resources.image is not None:
                raise EngineRefused(
                    f"SLURM starts no container images, found image={job.resources.image!r}: leave the image out, and "
                    f"give the executor python= of a wrapper that runs Python inside it"
                )
        try:
            return batch_script(jobs, label, self._settings)
        except UsageError as error:
            raise EngineRefused(f"SLURM: {error}") from error

    def _given(self, job: Job) -> frozenset[str]:
        """The options of a script that a variable of the user's would beat."""
        settings = self._settings
        chosen = {"account": settings.account, "qos": settings.qos}
        chosen["partition"] = job.resources.partition or settings.partition
        return frozenset((*(name for name, value in chosen.items() if value is not None), *settings.options))

    def _squeue(self) -> tuple[str, ...]:
        return ("squeue", "--noheader", "--array", "--states=all", f"--user={os.getuid()}")

    def _ours(self, jobs: Mapping[str, str]) -> Iterable[Record]:
        """What the controller knows of these jobs; others that have their ids by now are left out.

        All jobs of the user are asked for: squeue fails where it is asked for a single id that it does not know.
        """
        if not jobs:
            return []
        shown = records(self._client.call(*self._squeue(), f"--format={SQUEUE_FORMAT}"))
        return [record for record in shown if jobs.get(record.id) == record.name]

    def _accounts(self, *asked: str) -> list[Record]:
        """What sacct knows; nothing where there are no accounts, or they do not answer.

        That is safe: a job that the controller does not know does not run.
        """
        try:
            done = self._client.attempt(
                ("sacct", "--noheader", "--parsable2", "--allocations", f"--format={SACCT_FORMAT}", *asked)
            )
        except EngineUnavailable:
            return []
        return records(done.stdout)

    def _cancel(self, ids: Sequence[str]) -> None:
        for some in _chunks(ids):
            # It fails where one of them has ended meanwhile.
            done = self._client.attempt(("scancel", *some))
            if done.returncode and "nvalid job id" not in done.stderr and "already" not in done.stderr:
                raise EngineUnavailable(f"SLURM: scancel failed: {said(done)}")


def _missing_programs() -> str:
    """What to do about programs of SLURM that are not here; "" where none is missing."""
    missing = [program for program in PROGRAMS if shutil.which(program) is None]
    if not missing:
        return ""
    return f"SLURM: {', '.join(missing)} not found on the PATH: run the driver on a node that submits jobs"


def _chunks(ids: Sequence[str]) -> Iterable[Sequence[str]]:
    for start in range(0, len(ids), IDS_AT_ONCE):
        yield ids[start : start + IDS_AT_ONCE]
