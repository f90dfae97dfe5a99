"""`best`, `compare`, `report` and `export` as a user calls them, on runs that commands have made; in this process."""

from __future__ import annotations

import csv
import json
import math
import shutil
from pathlib import Path

import pytest

from metta.sweep.cli.compare import differences, flat
from metta.sweep.cli.main import main
from metta.sweep.cli.shown import sheet
from metta.sweep.report.text import cells
from tests.cli.commands import RUNNABLE, Commands

SWEEP = f"{RUNNABLE}:failing"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with two runs of one sweep: of three trials, and of two with another seed."""
    folder = tmp_path_factory.mktemp("made")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NOTES", str(folder / "notes"))
        store = ("--store", str(folder / "store"))
        assert main(["run", SWEEP, "--budget", "3", "seed=5", *store]) == 1
        assert main(["run", SWEEP, "--budget", "2", "scheduler.max_parallel=1", *store]) == 0
    return folder / "store"


@pytest.fixture
def two(made: Path, command: Commands, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> tuple[str, str]:
    """The ids of these runs; the store is a copy."""
    shutil.copytree(made, command.store)
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    second, first = (row["run"] for row in command.json("ls"))
    return first, second


def test_best_and_compare(two: tuple[str, str], command: Commands) -> None:
    first, second = two
    found = command.json("best", first)
    assert (found["run"], found["status"], found["goal"]) == (first, "completed", {"score": "maximize"})
    assert [trial["state"] for trial in found["trials"]] == ["completed", "completed"]  # and one has failed
    scores = [trial["score"] for trial in found["trials"]]
    assert scores == sorted(scores, reverse=True)
    assert len(command.json("best", first, "--top", "1")["trials"]) == 1
    code, out, _ = command("best", first)
    rows = {line.split("  ")[0]: line.split()[1:] for line in out.splitlines() if line}
    assert code == 0
    assert rows["trial"] == [str(trial["id"]) for trial in found["trials"]]
    assert [float(cell) for cell in rows["x"]] == pytest.approx(
        [trial["params"]["x"] for trial in found["trials"]], 1e-3
    )
    assert out.endswith(f"metta-sweep logs {first}/{rows['trial'][0]}\n")

    code, out, _ = command("compare", first, second)
    assert code == 0
    assert out.splitlines()[0].startswith(f"1  {first}  sweep, completed, 20")
    table = {line.split("  ")[0]: line.split()[-2:] for line in out.splitlines()}
    assert (table["trials"], table["failed"]) == (["3", "2"], ["1", "0"])
    assert (table["seed"], table["budget.trials"]) == (["5", "3"], ["3", "2"])
    assert table["scheduler.max_parallel"] == ["-", "1"]
    assert "space" not in out  # it is the same
    assert "numpy" not in out  # so are the packages
    assert all(cells(line) <= 80 for line in out.splitlines())
    told = command.json("compare", first, second)
    assert told["differences"]["seed"] == [5, 3]
    assert [each["run"] for each in told["runs"]] == [first, second]


def test_compare_other_versions_and_pipelines(two: tuple[str, str], command: Commands) -> None:
    manifest = command.store / "runs" / two[1] / "manifest.json"
    data = json.loads(manifest.read_text())
    packages = {f"package-{number:02}": "1.0" for number in range(20)}
    data |= {"packages": data["packages"] | packages, "host": "elsewhere", "git": {"commit": "a" * 40, "dirty": True}}
    manifest.write_text(json.dumps(data))
    out = command("compare", *two)[1]
    assert "elsewhere" in out
    assert "aaaaaaaaaaaa" in out
    assert out.splitlines()[-1] == "and 8 more packages: --json"
    assert len([each for each in command.json("compare", *two)["differences"] if each.startswith("packages.")]) == 20
    for rate in ("0.5", "0.25"):
        assert command("run", f"{RUNNABLE}:pipeline", f"rate={rate}", "mode=exact")[0] == 0
    pipelines = [path.name for path in command.runs() if path.name.startswith("pipeline-")]
    told = command.json("compare", *pipelines, two[0])
    assert [each["kind"] for each in told["runs"]] == ["pipeline", "pipeline", "sweep"]
    rates = {each["run"]: each["settings"].get("rate") for each in told["runs"]}
    assert sorted(map(str, rates.values())) == ["0.25", "0.5", "None"]
    assert told["differences"]["mode"] == ["EXACT", "EXACT", None]


def test_several_objectives(command: Commands, tmp_path: Path) -> None:
    script = tmp_path / "two.py"
    script.write_text(
        "from metta.sweep.experiments import SweepExperiment\nfrom metta.sweep.space import Uniform\n\n\n"
        "def objective(trial):\n    yield {'accuracy': trial.params['x'], 'latency': trial.params['x'] ** 2}\n\n\n"
        "two = SweepExperiment(objective, name='two', search_space={'x': Uniform(0.0, 1.0)}, seed=1,\n"
        "                      goal={'accuracy': 'maximize', 'latency': 'minimize'})\n"
    )
    assert command("run", str(script), "--budget", "3")[0] == 0
    out = command("best", "two")[1]
    assert "maximize accuracy, minimize latency" in out
    assert "Pareto front  yes" in out
    assert all(trial["front"] for trial in command.json("best", "two")["trials"])


def test_report_and_export(two: tuple[str, str], command: Commands) -> None:
    first = two[0]
    assert command("report", first) == (0, "", f"wrote {first}.html\n")
    page = Path(f"{first}.html").read_text(encoding="utf-8")
    assert page.lstrip().lower().startswith("<!doctype html>")
    assert first in page
    assert command("report", first, "-o", "-")[1].lstrip().lower().startswith("<!doctype html>")
    assert json.loads(command("report", first, "--json")[1])
    assert command("report", first, "--json", "-o", "report.json") == (0, "", "wrote report.json\n")
    assert json.loads(Path("report.json").read_text(encoding="utf-8"))
    code, out, err = command("export", first, "--to", "csv", "-o", "table.csv", "reports=all.csv")
    assert (code, err, "table.csv" in out) == (0, "", True)
    with open("table.csv", newline="") as file:
        assert len(list(csv.DictReader(file))) == 3
    assert Path("all.csv").exists()
    told = command.json("export", first, "--to", "csv")
    assert (told["run"], told["to"]) == (first, "csv")
    code, _, err = command("export", first, "--to", "csv", "report=all.csv")
    assert (code, err) == (2, "error: report=all.csv: --to csv has no option 'report': did you mean reports?\n")


def test_json_is_format_json(two: tuple[str, str], command: Commands) -> None:
    assert command("tree", two[0], "--json") == command("tree", two[0], "--format", "json")
    graph = ("compile", f"{RUNNABLE}:pipeline")
    assert command(*graph, "--json") == command(*graph, "--graph", "--format", "json")
    checked = ("check", "--no-static", RUNNABLE)
    assert command(*checked, "--json") == command(*checked, "--format", "json")


def test_settings_stand_without_an_option(command: Commands) -> None:
    given = ("run", f"{RUNNABLE}:pipeline", "--dry-run", "--json")
    with_option = command(*given, "--set", "rate=0.5", "--set", "mode=exact")
    assert with_option[0] == 0
    assert command(*given, "rate=0.5", "mode=exact") == with_option
    assert command(*given, "mode=exact", "--set", "rate=0.5") == with_option
    assert command("run", "rate=0.5", f"{RUNNABLE}:pipeline")[0] == 2  # the file comes first
    data = json.loads(command("run", f"{RUNNABLE}:failing", "budget=7", "--dry-run", "--json")[1])
    assert data["budget"] == "7"


@pytest.mark.parametrize("width", [20, 40, 80])
def test_a_sheet_fits_and_loses_no_column(width: int) -> None:
    rows = [
        ["", *map(str, range(9))],
        ["a rather long name of a parameter", *["x" * 30] * 9],
        ["名前", *["値" * 20] * 9],
    ]
    lines = sheet(rows, width)
    assert max(map(cells, lines)) <= width
    heads = [line for line in lines if line.strip() and not line.strip(" 0123456789")]
    assert [int(word) for line in heads for word in line.split()] == list(range(9))


def test_differences_of_nested_values() -> None:
    first, second = flat({"a": {"b": 1, "c": {}}, "d": [1]}), flat({"a": {"b": 2, "c": {}}, "d": [1], "e": None})
    assert first == {"a.b": 1, "a.c": {}, "d": [1]}
    assert differences([first, second]) == {"a.b": [1, 2]}
    assert flat({"optimizer": {"": "Random", "seed": math.pi}}) == {"optimizer": "Random", "optimizer.seed": math.pi}
