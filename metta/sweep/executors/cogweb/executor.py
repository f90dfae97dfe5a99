"""Tasks through a Cogweb server."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from metta.sweep.errors import UsageError
from metta.sweep.executors.cogweb.client import CogwebClient
from metta.sweep.executors.cogweb.credentials import config_path, find_server, find_token
from metta.sweep.executors.cogweb.engine import CogwebEngine, Fetcher
from metta.sweep.executors.remote.executor import RemoteExecutor

if TYPE_CHECKING:
    from pydantic import SecretStr

_SWEEP: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}")


class CogwebExecutor(RemoteExecutor):
    """Runs tasks through the queue of a Cogweb server, as runs of a sweep that is registered there.

    The sweep is registered before the first task; every attempt gets a run id from the server ("name.r.k"), which
    stands in its task's attributes with the label of the submission. Cogweb's workers run `command`, a shell line of
    quoted words, with the commit `git_hash` checked out.

    What the server's routes do not offer:

    - Ending a task. A cancelled attempt is fenced: its worker sees that within seconds and ends; a task that still
      waits in the queue does nothing when its turn comes.
    - Listing tasks. If the driver dies, or an answer is lost, between the server's taking a task and the driver's
      hearing of its id, that attempt counts as lost. It is fenced, so its worker does not start, and the next attempt
      takes over.
    - Priorities, limits and sizes of machines: `Resources` are told in the attributes, for whoever runs the workers.

    The workers must see the attempts' folders: on a shared file system, or by a `fetcher`. With one, it is called for
    every task that runs, at each look, and once more after its end and before that counts. It must leave files alone
    that only this side has. Answers do not travel back: such tasks cannot be stopped early.

    Args:
        sweep: the sweep's name: letters, digits, `_`, `-` and `.`.
        project: of Weights & Biases, which Cogweb keeps with the sweep.
        entity: of Weights & Biases.
        wandb_sweep_id: if given, a sweep of this name that has another one is refused; default for a new one: its name.
        git_hash: default: the commit that is checked out in the working folder.
        server: the server's address; default: the environment variable COGWEB_SERVER.
        token: default: the environment variable COGWEB_TOKEN, else the server's entry in `observatory_tokens` of
            `~/.metta/config.yaml`.
        data_file: handed to the server with every task.
        attributes: JSON values for every task, beside ours.
        fetcher: called as (task id, attempt folder); see above.
        poll_interval: seconds between two looks at the tasks.
        timeout: seconds until a request counts as lost.
        spool: for tasks that have no folder of their own; default: `spool` in METTA_SWEEP_HOME or `./.metta-sweep`.
        max_jobs: how many tasks there are at once, waiting ones included; None leaves that to the queue.
        python: the interpreter of the workers.
        lost_after: seconds without a heart-beat after which a running task is taken as lost.
        grace: seconds between the signal that asks a job to end and the one that makes it.
        patience: seconds that a trial waits for a driver's answer before it saves its state and ends.

    Raises:
        UsageError: no server or token is to be found, or an argument makes no sense.
        MissingExtraError: httpx is not installed: `pip install 'metta-sweep[cogweb]'`.
    """

    def __init__(
        self,
        sweep: str,
        *,
        project: str,
        entity: str,
        wandb_sweep_id: str | None = None,
        git_hash: str | None = None,
        server: str | None = None,
        token: str | SecretStr | None = None,
        data_file: str | None = None,
        attributes: Mapping[str, Any] | None = None,
        fetcher: Fetcher | None = None,
        poll_interval: float = 5.0,
        timeout: float = 5.0,
        spool: str | os.PathLike[str] | None = None,
        max_jobs: int | None = None,
        python: str = sys.executable,
        lost_after: float = 60.0,
        grace: float = 10.0,
        patience: float = 3600.0,
    ) -> None:
        if _SWEEP.fullmatch(sweep) is None:
            raise UsageError(f"CogwebExecutor(sweep={sweep!r}): expected 1 to 100 letters, digits, _, - and .")
        for name, seconds in (("poll_interval", poll_interval), ("timeout", timeout)):
            if not seconds > 0:
                raise UsageError(f"CogwebExecutor({name}={seconds!r}): expected a positive number of seconds")
        address = find_server(server, os.environ)
        client = CogwebClient(address, find_token(address, token, os.environ, config_path()), timeout=timeout)
        engine = CogwebEngine(
            client,
            sweep,
            project=project,
            entity=entity,
            wandb_sweep_id=wandb_sweep_id,
            git_hash=git_hash,
            data_file=data_file,
            attributes=attributes,
            fetcher=fetcher,
            poll_interval=poll_interval,
        )
        super().__init__(
            engine, spool=spool, max_jobs=max_jobs, python=python, lost_after=lost_after, grace=grace, patience=patience
        )
