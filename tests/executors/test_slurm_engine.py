"""The engine with programs that stand in for SLURM's: down, garbled, late, and ids that are used again."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from metta.sweep.executors.remote.engine import EngineRefused, EngineUnavailable, Phase
from metta.sweep.executors.slurm.client import clean
from metta.sweep.executors.slurm.engine import LARGEST_BATCH, SlurmEngine
from metta.sweep.executors.slurm.settings import SlurmSettings
from metta.sweep.trial import FailureReason, Resources
from tests.executors.slurm_jobs import a_job

PROGRAM = """#!/bin/bash
here=$(dirname "$0")/..
printf '%s\\n' "${0##*/} $*" >>"$here/calls"
[ ! -e "$here/${0##*/}.sleep" ] || exec sleep 60
cat >"$here/${0##*/}.stdin"
env >"$here/${0##*/}.env"
cat "$here/${0##*/}.out" 2>/dev/null
cat "$here/${0##*/}.err" >&2 2>/dev/null
exit "$(cat "$here/${0##*/}.code" 2>/dev/null || echo 0)"
"""
DOWN = "slurm_load_jobs error: Unable to contact slurm controller (connect failure)"
POLICY = (
    "Batch job submission failed: Job violates accounting/QOS policy (job submit limit, user's size and/or time limits)"
)


class Slurm:
    """Programs that print what they are told to."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "bin").mkdir()
        for name in ("sbatch", "squeue", "scancel", "scontrol", "sacct", "sinfo"):
            path = folder / "bin" / name
            path.write_text(PROGRAM)
            path.chmod(0o755)

    def says(self, program: str, output: str = "", error: str = "", code: int = 0) -> None:
        for suffix, text in (("out", output), ("err", error), ("code", str(code))):
            (self.folder / f"{program}.{suffix}").write_text(text)

    def calls(self, program: str = "") -> list[str]:
        path = self.folder / "calls"
        lines = path.read_text().splitlines() if path.exists() else []
        return [line for line in lines if line.startswith(program)]


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Slurm:
    fake = Slurm(tmp_path)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
    return fake


@pytest.fixture
def engine() -> SlurmEngine:
    return SlurmEngine(SlurmSettings(account="vision"))


def test_submit_tells_the_ids(slurm: Slurm, engine: SlurmEngine) -> None:
    slurm.says("sbatch", "12\n")
    assert engine.submit([a_job()], "ms-1") == ["12"]
    assert (slurm.folder / "sbatch.stdin").read_text() == engine.describe(a_job(), "ms-1")
    slurm.says("sbatch", "Welcome to the cluster!\n13;east\n")
    assert engine.submit([a_job()] * 3, "ms-2") == ["13_0", "13_1", "13_2"]
    assert slurm.calls() == ["sbatch --parsable"] * 2


def test_the_environment_of_sbatch(slurm: Slurm, engine: SlurmEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    slurm.says("sbatch", "12\n")
    for name in ("SLURM_JOB_ID", "SBATCH_ACCOUNT", "SBATCH_QOS", "SBATCH_WAIT", "SQUEUE_FORMAT", "SLURM_CONF", "OWN"):
        monkeypatch.setenv(name, "set")
    engine.submit([a_job()], "ms-1")
    seen = (slurm.folder / "sbatch.env").read_text().splitlines()
    found = [
        name for name in ("SLURM_JOB_ID", "SBATCH_ACCOUNT", "SBATCH_WAIT", "SQUEUE_FORMAT") if f"{name}=set" in seen
    ]
    assert found == []
    assert {"SBATCH_QOS=set", "SLURM_CONF=set", "OWN=set"} <= set(seen)


def test_secrets_reach_the_job_by_its_environment_only(
    slurm: Slurm, engine: SlurmEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    slurm.says("sbatch", "12\n")
    monkeypatch.setenv("TRACKING_TOKEN", "c4n4ry")
    engine.submit([a_job()], "ms-1")
    assert "TRACKING_TOKEN=c4n4ry" in (slurm.folder / "sbatch.env").read_text().splitlines()
    told = [(slurm.folder / "sbatch.stdin").read_text(), *slurm.calls(), engine.describe(a_job(), "ms-1")]
    assert not [text for text in told if "c4n4ry" in text]


def test_an_option_beats_the_users_variable() -> None:
    mine = {"SBATCH_PARTITION": "x", "SBATCH_QOS": "y", "CUDA_VISIBLE_DEVICES": "0", "SLURM_MEM_PER_CPU": "1", "A": "b"}
    assert clean(mine, frozenset({"partition"})) == {"SBATCH_QOS": "y", "A": "b"}


@pytest.mark.parametrize(
    "error",
    [
        "sbatch: error: Batch job submission failed: Unable to contact slurm controller (connect failure)",
        "sbatch: error: Batch job submission failed: Socket timed out on send/recv operation",
        "sbatch: error: Slurm temporarily unable to accept job, sleeping and retrying",
        f"sbatch: error: QOSMaxSubmitJobPerUserLimit\nsbatch: error: {POLICY}",
        "sbatch: error: Batch job submission failed: I/O error writing script/environment to file",
        "sbatch: error: Batch job submission failed: Protocol authentication error",
        "sbatch: fatal: Could not establish a configuration source",
        "Segmentation fault",
        "",
    ],
)
def test_what_may_pass_is_tried_again(slurm: Slurm, engine: SlurmEngine, error: str) -> None:
    slurm.says("sbatch", error=error, code=1)
    with pytest.raises(EngineUnavailable):
        engine.submit([a_job()], "ms-1")


@pytest.mark.parametrize(
    "error",
    [
        "sbatch: error: invalid partition: nope\nsbatch: error: Batch job submission failed: Invalid partition name",
        "sbatch: error: Batch job submission failed: Requested node configuration is not available",
        "sbatch: error: Memory specification can not be satisfied",
        "sbatch: error: Invalid generic resource (gres) specification",
        "sbatch: unrecognized option '--frob=2'\nTry \"sbatch --help\" for more information",
        f"sbatch: error: {POLICY}",
    ],
)
def test_what_will_not_pass_is_refused_in_slurms_words(slurm: Slurm, engine: SlurmEngine, error: str) -> None:
    slurm.says("sbatch", error=error, code=1)
    with pytest.raises(EngineRefused) as caught:
        engine.submit([a_job()], "ms-1")
    assert error.splitlines()[-1].rpartition(": ")[2] in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_image_or_a_hostile_partition_is_refused(slurm: Slurm, engine: SlurmEngine) -> None:
    for resources in (Resources(image="python:3"), Resources(partition="a\nb")):
        with pytest.raises(EngineRefused):
            engine.submit([a_job(resources=resources)], "ms-1")
    assert slurm.calls() == []


def test_garbled_ids(slurm: Slurm, engine: SlurmEngine) -> None:
    for output in ("", "Submitted batch job 12\n", "12 13\n", "-1\n"):
        slurm.says("sbatch", output)
        with pytest.raises(EngineUnavailable, match="expected the id"):
            engine.submit([a_job()], "ms-1")


@pytest.mark.parametrize("words", ["Invalid job array specification", "QOSMaxSubmitJobPerUserLimit"])
def test_arrays_that_are_too_large_get_smaller(slurm: Slurm, engine: SlurmEngine, words: str) -> None:
    assert engine.largest_batch == LARGEST_BATCH
    slurm.says("sbatch", error=f"sbatch: error: Batch job submission failed: {words}", code=1)
    with pytest.raises(EngineUnavailable, match="no array of 7 jobs"):
        engine.submit([a_job()] * 7, "ms-1")
    assert engine.largest_batch == 3


def test_a_program_that_hangs_is_ended(slurm: Slurm) -> None:
    engine = SlurmEngine(SlurmSettings(), call_limit=0.3)
    (slurm.folder / "sbatch.sleep").touch()
    with pytest.raises(EngineUnavailable, match="sbatch took more than"):
        engine.submit([a_job()], "ms-1")


def test_no_programs(engine: SlurmEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(EngineRefused, match=r"sbatch, .* not found on the PATH"):
        engine.submit([a_job()], "ms-1")
    with pytest.raises(EngineUnavailable, match="squeue cannot be run here"):
        engine.status({"1": "ms-1"})
    assert list(engine.problems()) == [
        "SLURM: sbatch, squeue, scancel, scontrol not found on the PATH: run the driver on a node that submits jobs"
    ]


def test_the_controller_is_down(slurm: Slurm, engine: SlurmEngine) -> None:
    slurm.says("squeue", error=DOWN, code=1)
    with pytest.raises(EngineUnavailable, match="Unable to contact slurm controller"):
        engine.status({"1": "ms-1"})
    with pytest.raises(EngineUnavailable):
        engine.cancel({"1": "ms-1"})
    with pytest.raises(EngineUnavailable):
        engine.find("ms-1")
    slurm.says("scontrol", error="Slurmctld(primary) at head is DOWN", code=1)
    (problem,) = engine.problems()
    assert "does not answer (Slurmctld(primary) at head is DOWN)" in problem


def test_one_request_for_all_jobs(slurm: Slurm, engine: SlurmEngine) -> None:
    slurm.says(
        "squeue",
        "1|RUNNING|None|n1|ms-1\n2_0|PENDING|Resources||ms-2\n2_1|TIMEOUT|TimeLimit|n2|ms-2\n3|RUNNING|None|n1|mine\n",
    )
    found = engine.status({"1": "ms-1", "2_0": "ms-2", "2_1": "ms-2"})
    assert {job: status.phase for job, status in found.items()} == {
        "1": Phase.RUNNING,
        "2_0": Phase.QUEUED,
        "2_1": Phase.ENDED,
    }
    assert found["2_1"].reason is FailureReason.TIMEOUT
    assert len(slurm.calls()) == 1
    assert engine.status({}) == {}
    assert len(slurm.calls()) == 1


def test_ids_that_are_used_again_are_not_ours(slurm: Slurm, engine: SlurmEngine) -> None:
    slurm.says("squeue", "1|RUNNING|None|n1|somebody\n2|RUNNING|None|n1|ms-2\n")
    slurm.says("sacct", "1|COMPLETED|0:0|n1|somebody\n")
    jobs = {"1": "ms-1", "2": "ms-2"}
    assert list(engine.status(jobs)) == ["2"]
    engine.cancel(jobs)
    assert slurm.calls("scancel") == ["scancel 2"]
    slurm.says("squeue", "1|PENDING|None||somebody\n")
    engine.forget(jobs)
    assert slurm.calls("scancel") == ["scancel 2"]


def test_accounts_know_what_the_controller_has_forgotten(slurm: Slurm, engine: SlurmEngine) -> None:
    slurm.says("sacct", "1|CANCELLED by 7|0:0|n1|ms-1\n2|RUNNING|0:0|n1|ms-2\n3_4|NODE_FAIL|0:0|n1|ms-3\n")
    found = engine.status({"1": "ms-1", "2": "ms-2", "3_4": "ms-3", "5": "ms-5"})
    assert {job: status.reason for job, status in found.items()} == {
        "1": FailureReason.CANCELLED,
        "3_4": FailureReason.NODE_LOST,
    }
    assert slurm.calls("sacct")[0].endswith("--jobs=1,2,3_4,5")


def test_no_accounts(slurm: Slurm, engine: SlurmEngine) -> None:
    slurm.says("squeue", "1|COMPLETED|None|n1|ms-1\n")
    slurm.says("sacct", error="Slurm accounting storage is disabled", code=1)
    assert list(engine.status({"1": "ms-1", "2": "ms-2"})) == ["1"]
    (slurm.folder / "bin" / "sacct").unlink()
    assert list(engine.status({"1": "ms-1", "2": "ms-2"})) == ["1"]


def test_find(slurm: Slurm, engine: SlurmEngine) -> None:
    slurm.says("sacct", error="Slurm accounting storage is disabled", code=1)
    assert engine.find("ms-1") is None
    slurm.says("squeue", "7|metta-sweep:ms-1:1\n")
    assert engine.find("ms-1") == ["7"]
    assert "--name=ms-1" in slurm.calls("squeue")[-1]
    slurm.says("squeue", "7_2|metta-sweep:ms-1:4\n")
    assert engine.find("ms-1") == ["7_0", "7_1", "7_2", "7_3"]
    slurm.says("squeue", "7_0|the site's own\n7_1|the site's own\n")
    assert engine.find("ms-1") == ["7_0", "7_1"]
    slurm.says("squeue", "9|metta-sweep:ms-1:1\n7|metta-sweep:ms-1:1\n")
    assert engine.find("ms-1") == ["7"], "of two submissions the first one runs first"


def test_find_what_has_ended(slurm: Slurm, engine: SlurmEngine) -> None:
    slurm.says("sacct", "7_0|COMPLETED|0:0|n1|ms-1\n7_1|FAILED|1:0|n1|ms-1\n")
    assert engine.find("ms-1") == ["7_0", "7_1"]
    (call,) = slurm.calls("sacct")
    assert "--name=ms-1 --starttime=now-60days" in call


def test_cancel(slurm: Slurm, engine: SlurmEngine) -> None:
    slurm.says("squeue", "1|COMPLETED|None|n1|ms-1\n2|PENDING|None||ms-2\n3_1|RUNNING|None|n1|ms-3\n")
    jobs = {"1": "ms-1", "2": "ms-2", "3_1": "ms-3", "4": "ms-4"}
    slurm.says("scancel", error="scancel: error: Kill job error on job id 2: Invalid job id specified", code=1)
    engine.cancel(jobs)
    assert slurm.calls("scancel") == ["scancel 2 3_1"]
    slurm.says("scancel", error="scancel: error: Unable to contact slurm controller", code=1)
    with pytest.raises(EngineUnavailable):
        engine.cancel(jobs)


def test_forget_takes_out_what_would_start_again(slurm: Slurm, engine: SlurmEngine) -> None:
    slurm.says(
        "squeue", "1|COMPLETED|None|n1|ms-1\n2|PENDING|launch failed requeued held||ms-2\n3|RUNNING|None|n1|ms-3\n"
    )
    engine.forget({"1": "ms-1", "2": "ms-2"})
    assert slurm.calls("scancel") == ["scancel 2"]


def test_problems(slurm: Slurm) -> None:
    slurm.says("sinfo", "main\nlarge\n")
    assert list(SlurmEngine(SlurmSettings(partition="main,large")).problems()) == []
    assert list(SlurmEngine(SlurmSettings(partition="mian")).problems()) == [
        "SLURM: there is no partition 'mian': did you mean 'main'?"
    ]
