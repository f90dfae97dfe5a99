"""Users' scripts, run as they are: without an `if __name__ == "__main__"` guard, and killed in the middle."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

from tests.executors.helpers import PATIENCE, eventually, lives, read_when_there

ROOT = Path(__file__).parents[2]


def write_script(folder: Path, text: str) -> Path:
    script = folder / "script.py"
    script.write_text(textwrap.dedent(text))
    return script


def run_script(script: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        [sys.executable, "-W", "error", str(script), *arguments],
        env=environment,
        cwd=script.parent,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )


NO_GUARD = """
    import dataclasses, enum, typing

    from metta.sweep.executors import Finished, LocalExecutor, Task

    print("the script runs")
    SCALE = 3

    class Color(enum.Enum):
        RED = 1

    @dataclasses.dataclass
    class Point:
        x: int
        color: Color = Color.RED

        def scaled(self):
            return Point(self.x * SCALE, self.color)

    class Pair(typing.NamedTuple):
        left: Point
        right: Point

    def make(x):
        print("in the worker")
        return Pair(Point(x).scaled(), Point(-x))

    executor = LocalExecutor(2)
    stream = executor.events()

    def result_of(fn, *args):
        executor.submit(Task(fn.__name__, fn, args), stream)
        while not isinstance(event := stream.get(60), Finished):
            print(type(event).__name__)
        return event.result

    for _ in range(2):
        pair = result_of(make, 5)
        assert type(pair) is Pair and type(pair.left) is Point and pair.left.color is Color.RED
        assert pair == (Point(15), Point(-5)), pair
        SCALE = 4
        assert pair.right.scaled() == Point(-20), "the class is not ours any more"
        SCALE = 3
    assert result_of(Point(2).scaled) == Point(6)
    assert result_of(lambda: SCALE) == 3
    print("done")
"""


def test_script_without_a_guard(tmp_path: Path) -> None:
    done = run_script(write_script(tmp_path, NO_GUARD))
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    # Nothing runs the script again, and a task's output does not come between.
    assert done.stdout.splitlines() == ["the script runs", *["Started"] * 4, "done"]


def test_module_that_a_fresh_process_cannot_import(tmp_path: Path) -> None:
    (tmp_path / "hidden").mkdir()
    (tmp_path / "hidden" / "model.py").write_text("class Model:\n    size = 4\n\ndef build():\n    return Model()\n")
    script = """
        import importlib.util, sys
        from metta.sweep.executors.child import call_in_child

        spec = importlib.util.spec_from_file_location("model", "hidden/model.py")
        model = importlib.util.module_from_spec(spec)
        sys.modules["model"] = model
        spec.loader.exec_module(model)
        built = call_in_child(model.build, timeout=60, name="build")
        assert type(built) is model.Model
        print(built.size)
    """
    done = run_script(write_script(tmp_path, script))
    assert (done.returncode, done.stdout, done.stderr) == (0, "4\n", "")


def test_pool_inside_a_worker(tmp_path: Path) -> None:
    script = """
        from metta.sweep.executors.child import call_in_child

        def inner(x):
            return x + 1

        def outer(x):
            return 10 * call_in_child(inner, (x,), timeout=60, name="inner")

        print(call_in_child(outer, (4,), timeout=60, name="outer"))
    """
    done = run_script(write_script(tmp_path, script))
    assert (done.returncode, done.stdout, done.stderr) == (0, "50\n", "")


def test_script_that_never_closes(tmp_path: Path) -> None:
    script = """
        from metta.sweep.executors import LocalExecutor, Started, Task
        from tests.executors import tasks
        from pathlib import Path

        executor = LocalExecutor(2, grace=0.2)
        stream = executor.events()
        executor.submit(Task("a", tasks.start_child_and_wait, (Path("ready"),)), stream)
        stream.get(60)
        while not Path("ready").exists() or not Path("ready").read_text():
            pass
        raise SystemExit("the script is at its end")
    """
    done = run_script(write_script(tmp_path, script))
    assert done.stderr == "the script is at its end\n"
    worker, grandchild = map(int, read_when_there(tmp_path / "ready").split())
    assert not lives(worker)
    assert eventually(lambda: not lives(grandchild))


def test_killed_driver_takes_everything_with_it(tmp_path: Path) -> None:
    script = """
        from metta.sweep.executors import LocalExecutor, Task
        from tests.executors import tasks
        from pathlib import Path
        import os, time

        executor = LocalExecutor(3)
        stream = executor.events()
        executor.submit(Task("a", tasks.start_child_and_wait, (Path("a"),)), stream)
        executor.submit(Task("b", tasks.ignore_sigterm, (Path("b"),)), stream)
        executor.submit(Task("server", os.getppid), stream)
        while True:
            event = stream.get(60)
            if event.token == "server" and hasattr(event, "result"):
                break
        if os.fork() == 0:
            # A forked copy of the driver that lives on: it must not keep the workers alive.
            Path("copy").write_text(str(os.getpid()))
            time.sleep(10_000)
        Path("server").write_text(str(event.result))
        time.sleep(10_000)
    """
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        [sys.executable, str(write_script(tmp_path, script))], cwd=tmp_path, env=environment
    ) as driver:
        processes = [
            int(number) for name in ("a", "b", "server") for number in read_when_there(tmp_path / name).split()
        ]
        copy = int(read_when_there(tmp_path / "copy"))
        assert len(processes) == 4
        assert all(map(lives, processes))
        driver.send_signal(signal.SIGKILL)
    try:
        assert eventually(lambda: not any(map(lives, processes)))
        assert lives(copy)
    finally:
        os.kill(copy, signal.SIGKILL)
