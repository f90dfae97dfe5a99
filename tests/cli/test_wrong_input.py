"""Every command with wrong input, as a new user types it: the exit code, and one sentence that says what to do next.

The golden file holds what is said to each.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from metta.sweep.cli.main import main
from tests.cli.commands import ROOT, RUNNABLE
from tests.golden import check_golden

GOLDEN = Path(__file__).with_name("golden") / "wrong_input.txt"

CASES: tuple[tuple[int, str], ...] = (
    # The command line itself.
    (2, "chek ."),
    (2, "zzz"),
    (2, "help"),
    (2, "--stor x ls"),
    (2, "run.py"),
    # compile and check
    (2, "compile"),
    (2, "compile absent.py"),
    (2, "compile runable.py"),
    (2, "compile ."),
    (2, "compile binary.py"),
    (2, "compile notes.txt"),
    (2, "compile syntax.py"),
    (2, "compile raises.py"),
    (2, "compile empty.py"),
    (2, "compile runnable.py:pipelin"),
    (2, "compile runnable.py:objective"),
    (2, "compile runnable.py:pipeline --grph"),
    (2, "compile runnable.py:pipeline --format svg"),
    (2, "compile runnable.py:pipeline --graph --format sgv"),
    (2, "compile runnable.py:pipeline --graph --source"),
    (2, "compile runnable.py:pipeline --json --format svg"),
    (2, "compile runnable.py:pipeline --graph --format dot -o absent/graph.dot"),
    (2, "compile runnable.py:pipeline --graph --format dot -o ."),
    (2, "compile mistaken.py"),
    (2, "check"),
    (2, "check absent --no-static"),
    (2, "check . --format sraif"),
    (2, "check . --json --format github"),
    # run
    (2, "run"),
    (2, "run absent.py"),
    (2, "run runnable.py"),
    (2, "run runnable.py:pipeline"),
    (2, "run runnable.py:pipeline rate=high mode=fast"),
    (2, "run runnable.py:pipeline rate=0.5 mode=fst"),
    (2, "run runnable.py:pipeline rat=0.5"),
    (2, "run runnable.py:pipeline budget 3"),
    (2, "run runnable.py:pipeline rate 0.5"),
    (2, "run runnable.py:pipeline --set rate"),
    (2, "run runnable.py:pipeline --set"),
    (2, "run runnable.py:pipeline rate=0.5 mode=fast --budget 3"),
    (2, "run runnable.py:pipeline rate=0.5 mode=fast --fail-fast"),
    (2, "run runnable.py:failing --budget -3"),
    (2, "run runnable.py:failing --budget many"),
    (2, "run runnable.py:failing --budget 1.5"),
    (2, "run runnable.py:failing budget=-1"),
    (2, "run runnable.py:failing --budget 1e30"),
    (2, "run runnable.py:failing seed=1e400"),
    (2, "run runnable.py:failing sheduler.max_parallel=1"),
    (2, "run runnable.py:failing executor.partition=gpu"),
    (2, "run runnable.py:failing --executor slrum"),
    (2, "run runnable.py:failing --executor local executor.gpus=1"),
    (2, "run runnable.py:failing --detach --dry-run"),
    (2, "run runnable.py:failing --detach --store none"),
    (3, "run runnable.py:failing --budget 1 --store notes.txt"),
    (3, "run runnable.py:failing --budget 1 --store /dev/null/store"),
    # What takes a RUN.
    (2, "resume"),
    (2, "resume failng"),
    (2, "resume RUN"),
    (2, "resume RUN absent.py --budget 9"),
    (2, "resume RUN runnable.py:pipeline --budget 9"),
    (2, "resume RUN one.py two.py"),
    (3, "resume DAMAGED"),
    (4, "resume RUN other.py:failing --budget 9"),
    (2, "status failng"),
    (2, "status"),
    (2, "status /etc"),
    (2, "status nothing-like-it"),
    (3, "status DAMAGED"),
    (2, "status RUN --wach"),
    (2, "best failng"),
    (2, "best PIPELINE"),
    (2, "best RUN --top 0"),
    (2, "best RUN --top five"),
    (3, "best DAMAGED"),
    (1, "best NOSCORE"),
    (2, "compare RUN"),
    (2, "compare RUN RUN"),
    (2, "compare RUN failng"),
    (3, "compare RUN DAMAGED"),
    (2, "tree failng"),
    (2, "tree RUN --format sgv"),
    (2, "tree RUN --json --format dot"),
    (2, "tree RUN --format dot -o absent/tree.dot"),
    (2, "logs failng"),
    (2, "logs RUN/99"),
    (2, "logs PIPELINE"),
    (2, "cancel failng"),
    (2, "report failng"),
    (3, "report DAMAGED"),
    (2, "report RUN -o absent/report.html"),
    (2, "report RUN -o ."),
    (2, "ui failng --no-browser"),
    (2, "ui --port 99999"),
    (2, "export RUN"),
    (2, "export RUN --to optnua"),
    (2, "export PIPELINE --to csv"),
    (2, "export failng --to csv"),
    (3, "export DAMAGED --to csv"),
    # What keeps the store in order.
    (2, "rm failng --yes"),
    (2, "rm"),
    (2, "gc --older-than soon"),
    (2, "gc --keep -1"),
    (2, "doctor failng"),
    (3, "doctor DAMAGED"),
    (2, "doctor --executor lokal"),
    (2, "doctor executor.partition=gpu"),
    (2, "doctor --wait 0"),
    # Of an empty store.
    (2, "status failing --store fresh"),
    (2, "doctor --store fresh"),
    # The rest.
    (2, "completion"),
    (2, "completion bsh"),
    (2, "completion powershell"),
    (2, "explain missing-feild"),
    (2, "init"),
)


class Place(NamedTuple):
    """Where the commands are run.

    Attributes:
        folder: the working folder.
        runs: what stands for a run in a case -> its id.
    """

    folder: Path
    runs: dict[str, str]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """A folder with right and wrong files, and a store with runs of several kinds."""
    folder = tmp_path_factory.mktemp("wrong")
    shutil.copy(RUNNABLE, folder / "runnable.py")
    for name, text in FILES.items():
        (folder / name).write_text(text)
    (folder / "binary.py").write_bytes(bytes(range(256)))
    (folder / "other.py").write_text(
        (folder / "runnable.py").read_text().replace("Uniform(0.0, 1.0)", "Uniform(0.0, 2.0)")
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("METTA_SWEEP_HOME", str(folder / "store"))
        patch.setenv("NOTES", str(folder / "notes"))
        patch.syspath_prepend(str(ROOT))
        assert main(["run", "runnable.py:failing", "--budget", "2"]) == 1
        assert main(["run", "runnable.py:pipeline", "rate=0.5", "mode=fast"]) == 0
        assert main(["run", "hopeless.py:hopeless", "--budget", "1"]) == 1
        runs = {path.name.partition("-")[0]: path for path in (folder / "store" / "runs").iterdir()}
        damaged = runs["pipeline"].with_name("broken-20260101-000000-abcd")
        shutil.copytree(runs["pipeline"], damaged)
        (damaged / "manifest.json").write_text("{")
        names = {"RUN": "failing", "PIPELINE": "pipeline", "NOSCORE": "hopeless"}
        yield Place(folder, {word: runs[name].name for word, name in names.items()} | {"DAMAGED": damaged.name})


FILES = {
    "notes.txt": "no Python here, (at all\n",
    "syntax.py": "def broken(:\n    pass\n",
    "raises.py": "import json\n\nvalue = json.loads('[')\n",
    "empty.py": "VALUE = 1\n",
    "mistaken.py": (
        "from metta.sweep import Pipeline\n\n\ndef train(rate: float) -> float:\n    return rate\n\n\n"
        "pipeline = Pipeline(rates=float).stage('train', train).through(score=float)\n"
    ),
    "hopeless.py": (
        "from metta.sweep.experiments import SweepExperiment\nfrom metta.sweep.space import Uniform\n\n\n"
        "def objective(trial):\n    raise ValueError('no luck')\n\n\n"
        "hopeless = SweepExperiment(objective, name='hopeless', search_space={'x': Uniform(0.0, 1.0)}, seed=1)\n"
    ),
}


def words_of(text: str, place: Place) -> list[str]:
    """The arguments, with the ids of runs in place of the words in capitals."""
    words = ["" if word == "''" else word for word in text.split()]
    return [re.sub(r"^[A-Z]+", lambda found: place.runs.get(found[0], found[0]), word) for word in words]


def plain(text: str, folder: Path) -> str:
    """Without what differs from one machine, and one second, to the next."""
    text = text.replace(str(folder), "/here").replace(str(ROOT), "/metta-sweep")
    text = re.sub(r"\b(failing|pipeline|hopeless)-\d{8}-\d{6}-[0-9a-f]{4}", r"\1-TIME", text)
    return re.sub(r"\bpid \d+", "pid N", text)


def said_to(text: str, place: Place, capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    capsys.readouterr()
    code = main(words_of(text, place))
    captured = capsys.readouterr()
    return code, plain(captured.out + captured.err, place.folder)


@pytest.mark.skipif(os.geteuid() == 0 and shutil.which("setpriv") is None, reason="root may write everywhere")
def test_a_store_that_cannot_be_written(place: Place, tmp_path: Path) -> None:
    store = tmp_path / "store"
    shutil.copytree(place.folder / "store", store)
    for path in [store, *store.rglob("*")]:
        path.chmod(0o500 if path.is_dir() else 0o400)
    powers = "-dac_override,-dac_read_search"
    as_user = ["setpriv", "--bounding-set", powers, "--inh-caps", powers] if os.geteuid() == 0 else []
    for arguments, code, said in (
        (["best", "failing", "--json"], 0, '"state": "completed"'),
        (["rm", "failing", "--yes"], 3, f"error: cannot make the folder {store / 'trash'}: Permission denied"),
    ):
        command = [*as_user, sys.executable, "-m", "metta.sweep.cli.main", *arguments, "--store", str(store)]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        ended = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=60)
        assert (ended.returncode, said in ended.stdout + ended.stderr) == (code, True), ended.stderr
    for path in store.rglob("*"):
        if path.is_dir():
            path.chmod(0o700)


def test_every_mistake_gets_a_sentence(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    found, wrong = [], []
    for expected, text in CASES:
        code, said = said_to(text, place, capsys)
        found.append(f"$ metta-sweep {text}\n{said}[{code}]\n")
        if code != expected or not said or "Traceback" in said or "report it" in said:
            wrong.append(f"{found[-1]}expected exit code {expected}")
    check_golden(GOLDEN, "\n".join(found))
    assert not wrong, "\n\n".join(wrong)
    left = {path.name for path in place.folder.iterdir()} - {"__pycache__"}
    assert left == {*FILES, "runnable.py", "binary.py", "other.py", "store", "notes"}, "something was written"
