"""`python -m metta.sweep.worker ATTEMPT_FOLDER SHA256`: runs one attempt on the machine where an engine starts it."""

from __future__ import annotations

import sys

from metta.sweep.executors.remote.program import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
