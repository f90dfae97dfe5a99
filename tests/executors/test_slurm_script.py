"""From an attempt to its batch script: golden text, what bash makes of it, and hostile names."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metta.sweep.errors import UsageError
from metta.sweep.executors.slurm.executor import SLURMExecutor
from metta.sweep.executors.slurm.script import batch_script, comment, minutes, quoted, size_in
from metta.sweep.executors.slurm.settings import OURS, SlurmSettings
from metta.sweep.trial import Resources
from tests.executors.slurm_jobs import a_job
from tests.golden import check_golden

GOLDEN = Path(__file__).parent / "golden"
FULL = SlurmSettings(
    partition="main",
    account="vision",
    qos="long",
    gres="lustre:1",
    gpu_type="a100",
    time_limit=86_400,
    setup=("module load cuda/12 || exit", 'echo "on $(hostname)"'),
    options={"constraint": "a100|h100", "exclusive": True, "contiguous": False, "nice": 100},
    requeue=False,
    signal_before=120,
)
HOSTILE = (
    "new\nline", "a'b", 'a"b', "$(touch pwned)", "`touch pwned`", "%j %A %%", "-rf", "back\\slash", "two  words",
    "#SBATCH --wrap=x", "dos\r\nline", "tab\t", "ünï", "\udcff", "*", "~", "!!", "a;b", "a&b", "a|b",
    "\n#SBATCH --uid=0\n",
)  # fmt: skip
SHOW = "import json, os, sys; print(json.dumps([os.getcwd(), os.environ['PYTHONPATH'], sys.argv[1:]]))"
NAMES = st.text(st.characters(exclude_characters="\0/", exclude_categories=()), min_size=1, max_size=30)


def directives(script: str) -> list[str]:
    """The options that sbatch reads: those before the first line that is no comment."""
    lines = script.splitlines()
    end = next(index for index, line in enumerate(lines) if line and not line.startswith("#"))
    return [line.removeprefix("#SBATCH --") for line in lines[1:end] if line]


def test_golden() -> None:
    check_golden(GOLDEN / "slurm_plain.sh", batch_script([a_job()], "ms-1", SlurmSettings()))
    full = a_job(resources=Resources(cpus=3.5, gpus=1.5, memory="8GB", partition="gpu"), time_limit=5000)
    other = a_job(
        folder="/shared/run/it's 2",
        command=("python3", "-m", "metta.sweep.worker", "/shared/run/it's 2", "1" * 64),
        resources=full.resources,
        time_limit=5000,
    )
    check_golden(GOLDEN / "slurm_array.sh", batch_script([full, other], "ms-2", FULL))


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_names_arrive_as_they_are(text: str, tmp_path: Path) -> None:
    work = tmp_path / "work" / text.strip("/")
    work.mkdir(parents=True)
    other = tmp_path / "other"
    folder = tmp_path / "folder" / text
    folder.mkdir(parents=True)
    command = (sys.executable, "-c", SHOW, text, "end")
    jobs = [
        a_job(folder=str(folder), command=command, work_folder=str(work), paths=(str(work),)),
        a_job(folder=str(other), command=("false",), work_folder=str(other), paths=()),
    ]
    for batch in (jobs, jobs[:1]):
        script = batch_script(batch, "ms-1", SlurmSettings())
        assert script.isascii()
        assert "\r" not in script
        assert directives(script) == directives(batch_script([a_job()] * len(batch), "ms-1", SlurmSettings()))
        environment = {"PATH": os.environ["PATH"], "SLURM_ARRAY_TASK_ID": "0"}
        done = subprocess.run(["bash"], input=script.encode(), cwd=tmp_path, env=environment, capture_output=True)
        assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    told = [json.loads(line) for line in (folder / "output.txt").read_text().splitlines()]
    assert told == [[str(work), str(work), [text, "end"]]] * 2, "the second job's output was not appended"
    assert not list(tmp_path.rglob("pwned"))


@settings(max_examples=60, derandomize=True, deadline=None)
@given(text=NAMES)
def test_any_name_is_one_word_of_bash(text: str) -> None:
    try:
        expected = os.fsencode(text)
    except UnicodeEncodeError:  # half a surrogate pair, which no path has
        with pytest.raises(UsageError, match="no path"):
            quoted(text)
        return
    done = subprocess.run(["bash", "-c", f"printf %s. {quoted(text)}"], capture_output=True, check=True)
    assert done.stdout == expected + b"."


def test_a_nul_is_refused() -> None:
    with pytest.raises(UsageError, match="NUL"):
        batch_script([a_job(command=("python3", "a\0b"))], "ms-1", SlurmSettings())


@pytest.mark.parametrize("label", ["", "1a", "a b", "a\nb", "a" * 51, "a;b", "-a", "a,b"])
def test_labels(label: str) -> None:
    with pytest.raises(UsageError, match="label"):
        batch_script([a_job()], label, SlurmSettings())


@pytest.mark.parametrize("text", ["", *(text for text in HOSTILE if text not in ("-rf", "*", "~", "!!", "a&b", "a|b"))])
@pytest.mark.parametrize("name", ["partition", "account", "qos", "gres", "gpu_type"])
def test_hostile_settings_are_refused(name: str, text: str) -> None:
    with pytest.raises(UsageError, match=rf"SLURMExecutor\({name}="):
        SlurmSettings(**{name: text})  # type: ignore[arg-type]


def test_hostile_partitions_of_a_task_are_refused() -> None:
    with pytest.raises(UsageError, match="Resources"):
        batch_script([a_job(resources=Resources(partition="a b"))], "ms-1", SlurmSettings())


def test_options() -> None:
    found = directives(batch_script([a_job()], "ms-1", SlurmSettings(options={"--mail_type": "FAIL", "nice": 5})))
    assert "mail-type=FAIL" in found
    assert "nice=5" in found
    with pytest.raises(UsageError, match=r"--mem is not for here: use Resources\(memory=\)"):
        SlurmSettings(options={"mem": "4G"})
    with pytest.raises(UsageError, match="--output is not for here"):
        SlurmSettings(options={"output": "x"})
    with pytest.raises(UsageError, match="did you mean 'constraint'"):
        SlurmSettings(options={"Constraint": "x"})
    for name in ("C", "a b", "a\nb", "a=b", ""):
        with pytest.raises(UsageError, match="no option of sbatch"):
            SlurmSettings(options={name: "x"})
    with pytest.raises(UsageError, match="expected letters"):
        SlurmSettings(options={"constraint": "a b"})


def test_what_we_set_ourselves_cannot_be_an_option() -> None:
    """An option that stood twice would count as it stands last."""
    for line in directives(batch_script([a_job()] * 2, "ms-1", FULL)):
        name = line.partition("=")[0]
        assert name in OURS or name in FULL.options


def test_numbers() -> None:
    with pytest.raises(UsageError, match="time_limit=0"):
        SlurmSettings(time_limit=0)
    with pytest.raises(UsageError, match="poll_interval=0"):
        SLURMExecutor(poll_interval=0)
    with pytest.raises(UsageError, match="signal_before=70000"):
        SlurmSettings(signal_before=70_000)
    with pytest.raises(UsageError, match="asked to end when it begins"):
        SlurmSettings(time_limit=60, signal_before=60)
    with pytest.raises(UsageError, match="NUL"):
        SlurmSettings(setup=("a\0b",))


@pytest.mark.parametrize(
    ("own", "limit", "before", "expected"),
    [
        (None, None, 60, None),
        (None, 61, 0, 2),
        (60, None, 0, 2),  # SLURM may send the signal a minute early
        (60, None, 61, 4),
        (10_000, 3600, 60, 60),
        (60, 86_400, 60, 3),
    ],
)
def test_minutes(own: float | None, limit: float | None, before: int, expected: int | None) -> None:
    assert minutes(a_job(time_limit=own), SlurmSettings(time_limit=limit, signal_before=before)) == expected


def test_the_comment_tells_the_size() -> None:
    assert size_in(comment("ms-1", 12), "ms-1") == 12
    for text in ("", "(null)", comment("ms-10", 12), "metta-sweep:ms-1:0", "metta-sweep:ms-1:12 and more"):
        assert size_in(text, "ms-1") is None
