"""Every exception that metta-sweep raises on purpose.

MettaSweepError
├── UserError                 the pipeline, the call or the input is wrong       exit code 2
│   ├── ContractError         found before anything runs (contracts/diagnostics.py)
│   ├── UsageError            a wrong argument, file or name
│   └── MissingExtraError     an optional dependency is not installed
├── RunError                  something failed while running                     exit code 1
│   ├── ContractViolation     a value broke the contract of its stage
│   ├── StageTimeout          an attempt was stopped at its time-out
│   ├── LoopLimitExceeded     `max_iterations` was reached
│   └── WorkerDied            a worker process ended before its task did
├── StorageError              a store cannot be read or written                  exit code 3
│   └── DamagedError          a file of a store is not what was written
├── RefusedError              what was asked would lose or mix up something      exit code 4
└── InternalError             our mistake: please report                         exit code 3
"""

from __future__ import annotations


class MettaSweepError(Exception):
    """The root. `exit_code` is what the command line returns for it."""

    exit_code = 1


class UserError(MettaSweepError):
    """The pipeline, the call or the input is wrong; nothing was run."""

    exit_code = 2


class UsageError(UserError):
    """A wrong argument, file or name."""


class MissingExtraError(UserError, ImportError):
    """An optional dependency is not installed."""

    def __init__(self, feature: str, extra: str) -> None:
        super().__init__(f"{feature} needs an optional dependency: pip install 'metta-sweep[{extra}]'")
        self.extra = extra


class RunError(MettaSweepError):
    """Something failed while running."""


class ContractViolation(RunError):
    """A value broke the contract of the stage that produced it.

    Attributes:
        stage: the stage that produced the value.
        data: the value as it was found.
    """

    def __init__(self, message: str, *, stage: str = "", data: object = None) -> None:
        super().__init__(message)
        self.stage = stage
        self.data = data


class StageTimeout(RunError, TimeoutError):
    """An attempt was stopped at its time-out (in seconds)."""

    def __init__(self, stage: str, seconds: float) -> None:
        super().__init__(f'stage "{stage}" was stopped after its time-out of {seconds:g} s')
        self.stage = stage
        self.seconds = seconds


class LoopLimitExceeded(RunError):
    """A loop reached `max_iterations`; `context` is what it had then."""

    def __init__(self, message: str, *, context: object = None) -> None:
        super().__init__(message)
        self.context = context


class WorkerDied(RunError):
    """A worker process ended before its task did.

    Attributes:
        reason: "killed", "oom" or "user_error" (an exit called by the user's code).
    """

    def __init__(self, message: str, *, reason: str = "killed") -> None:
        super().__init__(message)
        self.reason = reason


class StorageError(MettaSweepError):
    """A store cannot be read or written: the disk is full, the folder is read-only, the file is damaged.

    Attributes:
        path: the file or folder.
    """

    exit_code = 3

    def __init__(self, message: str, *, path: str = "") -> None:
        super().__init__(message)
        self.path = path


class DamagedError(StorageError):
    """A file of a store is not what was written to it."""


class RefusedError(MettaSweepError):
    """What was asked would lose or mix up something: a run that changed since, or that another driver holds."""

    exit_code = 4


class InternalError(MettaSweepError):
    """Our mistake. The message asks the user to report it."""

    exit_code = 3

    def __init__(self, message: str) -> None:
        super().__init__(f"{message} (this is a mistake of metta-sweep: please report it)")
