"""What `Resources` promise, in real worker processes; the devices are pretended."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from metta.sweep.errors import UsageError, WorkerDied
from metta.sweep.executors import Failed, Finished, LocalExecutor, Started
from metta.sweep.executors.child import call_in_child
from metta.sweep.trial import FailureReason, Resources
from tests.executors import tasks
from tests.executors.helpers import PATIENCE, eventually, fail, last, lives, read_when_there, run, start

MIB = 2**20


@pytest.fixture
def two_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")


@pytest.fixture
def four(two_devices: None) -> Iterator[LocalExecutor]:
    with LocalExecutor(4, grace=0.2) as executor:
        yield executor


# --- memory


def test_too_much_memory_is_killed(executor: LocalExecutor) -> None:
    end = fail(executor, tasks.fill_memory, 400 * MIB, resources=Resources(memory="200MiB"))
    assert end.reason is FailureReason.OOM
    found = re.fullmatch(r"the task and its children used (\d+) MiB of memory, its limit is 200 MiB.*", end.message)
    assert found
    assert int(found[1]) > 200
    assert isinstance(end.exception, WorkerDied)
    assert end.exception.reason == "oom"
    assert run(executor, tasks.echo, 1) == 1


def test_memory_of_children_counts(executor: LocalExecutor, tmp_path: Path) -> None:
    end = fail(executor, tasks.fill_memory_in_children, 3, 100 * MIB, tmp_path, resources=Resources(memory="250MiB"))
    assert end.reason is FailureReason.OOM
    children = [int(path.name) for path in tmp_path.iterdir()]
    assert len(children) == 3
    assert eventually(lambda: not any(map(lives, children)))


def test_shared_memory_counts_once(executor: LocalExecutor, tmp_path: Path) -> None:
    """Forked children share what their parent had: four times the resident size, once the memory."""
    limit = Resources(memory="300MiB")
    assert run(executor, tasks.share_memory, 4, 100 * MIB, 1.0, resources=limit) == "alive"


def test_enough_memory(executor: LocalExecutor) -> None:
    assert run(executor, tasks.hold_memory, 50 * MIB, 0.6, resources=Resources(memory="200MiB")) == 50 * MIB


def test_nobody_pays_for_what_an_earlier_task_left(tmp_path: Path) -> None:
    with LocalExecutor(1) as executor:
        first = run(executor, tasks.leak_memory, 150 * MIB)
        second = run(executor, tasks.wait_and_tell, 0.6, resources=Resources(memory="100MiB"))
        assert second != first
        assert run(executor, tasks.pid, resources=Resources(memory="100MiB")) == second


# --- devices


def seen(executor: LocalExecutor, gpus: float) -> str:
    _, devices = run(executor, tasks.worker_and_devices, resources=Resources(gpus=gpus))
    return str(devices)


def test_a_task_sees_its_devices(four: LocalExecutor) -> None:
    assert seen(four, 1) in ("0", "1")
    assert seen(four, 2) == "0,1"
    assert seen(four, 0.5) in ("0", "1")
    assert seen(four, 0) == ""


def test_devices_are_there_before_the_tasks_code_is_loaded(
    four: LocalExecutor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "looks_at_import.py").write_text(
        "import os\nSEEN = os.environ['CUDA_VISIBLE_DEVICES']\ndef seen():\n    return SEEN\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    import looks_at_import  # type: ignore[import-not-found]

    assert looks_at_import.SEEN == "0,1"
    assert run(four, looks_at_import.seen, resources=Resources(gpus=1)) in ("0", "1")


def test_a_worker_keeps_its_devices_for_life(four: LocalExecutor) -> None:
    seen: dict[str, set[str]] = {}
    for gpus in (1, 0, 2, 0.5, 0, 1, 0.5, 2):
        worker, devices = run(four, tasks.worker_and_devices, resources=Resources(gpus=gpus))
        seen.setdefault(worker, set()).add(devices)
    assert all(len(devices) == 1 for devices in seen.values())
    assert {"", "0,1"} <= set.union(*seen.values())


def hold(executor: LocalExecutor, gpus: float, folder: Path, name: str) -> str:
    """Start a task that keeps its devices until `folder/go` is there; what it sees."""
    start(executor, tasks.tell_devices_and_wait, folder / name, folder / "go", resources=Resources(gpus=gpus))
    return read_when_there(folder / name)


def test_two_tasks_have_two_devices(four: LocalExecutor, tmp_path: Path) -> None:
    assert {hold(four, 1, tmp_path, "a"), hold(four, 1, tmp_path, "b")} == {"0", "1"}
    _, third = start(four, tasks.echo, resources=Resources(gpus=1))
    with pytest.raises(TimeoutError):
        third.get(0.2)
    assert run(four, tasks.echo, 1) == 1  # who wants none does not wait behind it
    (tmp_path / "go").touch()
    assert isinstance(last(third), Finished)


def test_two_halves_share_a_device(four: LocalExecutor, tmp_path: Path) -> None:
    assert [hold(four, 0.5, tmp_path, name) for name in "abc"] == ["0", "0", "1"]
    _, whole = start(four, tasks.echo, resources=Resources(gpus=1))
    with pytest.raises(TimeoutError):
        whole.get(0.2)
    (tmp_path / "go").touch()
    assert isinstance(last(whole), Finished)


def test_an_idle_worker_leaves_the_device_that_another_needs(four: LocalExecutor) -> None:
    """It may still hold gigabytes there."""
    alone, _ = run(four, tasks.worker_and_devices, resources=Resources(gpus=1))
    assert run(four, tasks.lives, int(alone), resources=Resources(gpus=2)) is False


def test_more_devices_than_there_are(four: LocalExecutor) -> None:
    with pytest.raises(
        UsageError, match=r'"train" wants 3 GPUs, there are 2 \(0, 1; from CUDA_VISIBLE_DEVICES=\'0,1\'\)'
    ):
        start(four, tasks.echo, name="train", resources=Resources(gpus=3))
    with pytest.raises(UsageError, match=r"wants 1.5 GPUs: expected a whole number, or a share below 1"):
        start(four, tasks.echo, resources=Resources(gpus=1.5))


def test_no_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    with LocalExecutor(1) as executor, pytest.raises(UsageError, match=r"wants 0.5 GPUs, there are 0 \(none; from"):
        start(executor, tasks.echo, resources=Resources(gpus=0.5))


def test_a_stage_without_resources_sees_what_the_driver_sees(two_devices: None) -> None:
    assert call_in_child(tasks.worker_and_devices, timeout=PATIENCE, name="look")[1] == "0,1"


def test_a_stage_with_resources_is_held_to_them(two_devices: None) -> None:
    look = call_in_child(tasks.worker_and_devices, timeout=PATIENCE, name="look", resources=Resources(gpus=1))
    assert look[1] in ("0", "1")
    limited = Resources(memory="100MiB")
    with pytest.raises(WorkerDied, match='stage "fill": the task and its children used') as caught:
        call_in_child(tasks.fill_memory, (200 * MIB,), timeout=PATIENCE, name="fill", resources=limited)
    assert caught.value.reason == "oom"
    with pytest.raises(UsageError, match='the task "wide" wants 5000 cores'):
        call_in_child(tasks.echo, timeout=PATIENCE, name="wide", resources=Resources(cpus=5000))


# --- cores


def test_threads_fit_the_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    with LocalExecutor(4) as executor:
        threads = {cpus: run(executor, tasks.threads, resources=Resources(cpus=cpus)) for cpus in (1, 2, 3.5, 4, 0.5)}
    fair = str(max(1, len(os.sched_getaffinity(0)) // 4))
    assert threads == {1: fair, 2: "2", 3.5: "3", 4: "4", 0.5: "1"}


def test_workers_stay_as_many_as_there_are_slots(two_devices: None) -> None:
    """A library reads its threads and its devices once, so other tasks get other workers; the old ones go."""
    wishes = [Resources(cpus=2), Resources(cpus=0.5), Resources(cpus=2, gpus=1), Resources(cpus=2, gpus=0.5)]
    with LocalExecutor(2) as executor:
        workers = {run(executor, tasks.pid, resources=wish) for wish in wishes + wishes}
        assert len(workers) > 2
        assert eventually(lambda: sum(map(lives, workers)) <= 2)


def test_cancelled_before_its_worker_is_there(tmp_path: Path) -> None:
    with LocalExecutor(1) as executor:
        for _ in range(10):
            token, stream = start(executor, tasks.wait_forever, tmp_path / "ready")
            executor.cancel(token)
            events = [stream.get(PATIENCE)]
            if isinstance(events[0], Started):
                events.append(stream.get(PATIENCE))
            assert isinstance(events[-1], Failed)
            assert events[-1].reason is FailureReason.CANCELLED
        assert run(executor, tasks.echo, 1) == 1
