import subprocess
from collections.abc import Sequence

class ExecutableNotFound(RuntimeError):
    def __init__(self, args: Sequence[str]) -> None: ...

class CalledProcessError(subprocess.CalledProcessError): ...

def pipe(
    engine: str,
    format: str,
    data: bytes,
    renderer: str | None = None,
    formatter: str | None = None,
    neato_no_op: bool | int | None = None,
    quiet: bool = False,
) -> bytes: ...
