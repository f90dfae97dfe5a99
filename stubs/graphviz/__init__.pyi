import subprocess

class ExecutableNotFound(RuntimeError): ...

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
