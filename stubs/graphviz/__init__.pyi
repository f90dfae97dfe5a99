"""graphviz: `pipe` and what it raises; the classes that build graphs are left out."""

import subprocess
from collections.abc import Sequence
from os import PathLike

class ExecutableNotFound(RuntimeError):
    def __init__(self, args: Sequence[str | PathLike[str]]) -> None: ...

class CalledProcessError(subprocess.CalledProcessError): ...
class RequiredArgumentError(TypeError): ...

def pipe(
    engine: str,
    format: str,
    data: bytes,
    renderer: str | None = None,
    formatter: str | None = None,
    neato_no_op: bool | int | None = None,
    quiet: bool = False,
) -> bytes: ...
