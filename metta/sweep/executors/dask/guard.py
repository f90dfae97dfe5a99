"""A process between a Dask worker and a job: it ends the job when the worker says so, and when the worker is gone.

    python -I -S guard.py GRACE PROGRAM ARGUMENT ...

Both reach it as the end of its standard input, which it has from the worker. The program then gets SIGTERM, and what is
left of its process group after GRACE seconds SIGKILL. The exit code is the program's; 128 + the signal that ended it.
It is run as a file, and needs nothing but the standard library: to start it takes a few hundredths of a second.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from contextlib import suppress

EXIT_NOT_STARTED = 127


def main(arguments: list[str]) -> int:
    """Run the program; its exit code."""
    grace, command = float(arguments[0]), arguments[1:]
    try:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True)
    except OSError as error:
        print(f"cannot start {command[0]}: {error.strerror}", file=sys.stderr)
        return EXIT_NOT_STARTED
    threading.Thread(target=_end_when_told, args=(process, grace), daemon=True).start()
    code = process.wait()
    return code if code >= 0 else 128 - code


def _end_when_told(process: subprocess.Popen[bytes], grace: float) -> None:
    os.read(sys.stdin.fileno(), 1)
    process.terminate()
    try:
        process.wait(grace)
    except subprocess.TimeoutExpired:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
