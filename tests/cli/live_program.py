"""A program with a live view that it does not close, told what happens on the file descriptor of its argument."""

from __future__ import annotations

import json
import os
import sys

from metta.sweep.goal import Objectives
from metta.sweep.report.events import SweepEnded, SweepStarted, TrialEnded, TrialReported, TrialStarted
from metta.sweep.report.live import live_view


def main() -> None:
    view = live_view()
    kept = sys.stderr
    with os.fdopen(int(sys.argv[1])) as orders:
        for line in orders:
            order, *given = json.loads(line)
            match order:
                case "begin":
                    view(SweepStarted(0.0, given[0], Objectives(), trials=10))
                case "start":
                    view(TrialStarted(1.0, given[0], {"x": 0.5}, until=9))
                case "report":
                    view(TrialReported(2.0, given[0], given[1], 0.25))
                case "fail":
                    view(TrialEnded(3.0, given[0], "failed", 1, None, "oom", given[1]))
                case "print":
                    print(given[0], end="", flush=True)
                case "foreign":
                    os.write(2, given[0].encode())
                case "fork":
                    if os.fork() == 0:
                        print("from a child")
                        sys.stdout.flush()
                        os._exit(0)
                    os.wait()
                case "inner":
                    live_view()(SweepStarted(0.0, given[0], Objectives()))
                case "burst":
                    for number in range(given[0]):
                        print(number)
                case "keep":
                    kept = sys.stderr
                case "late":
                    print(given[0], end=given[1], file=kept)
                case "break":
                    vars(view)["inner"] = None
                case "raise":
                    raise RuntimeError(given[0])
                case _:
                    view(SweepEnded(4.0))


if __name__ == "__main__":
    main()
