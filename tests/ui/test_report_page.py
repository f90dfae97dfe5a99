"""report.html: one file with everything, and its data as JSON."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest

from benchmarks import durability
from metta.sweep.cli.shown import jsonable
from metta.sweep.cli.sweep_text import trial_json
from metta.sweep.errors import DamagedError
from metta.sweep.experiments import SweepExperiment
from metta.sweep.experiments.sweep_status import sweep_status
from metta.sweep.optimizers import RandomOptimizer
from metta.sweep.space import Choice, Constant, SearchSpace, Uniform
from metta.sweep.store.run import Run
from metta.sweep.store.runs import Store
from metta.sweep.ui.rendering import csp_hash
from metta.sweep.ui.report_page import MOST_TRIALS, report_html, report_json
from tests.ui import stores
from tests.ui.conftest import Runs
from tests.ui.test_pages import Page


def html_of(folder: Path) -> str:
    with Run.open(folder, write=False) as run:
        return report_html(run)


def test_it_is_one_file_without_scripts_and_links(runs: Runs) -> None:
    for folder in (runs.sweep.folder, runs.pipeline.folder):
        html = html_of(folder)
        page = Page(html)
        assert page.all("script") == page.all("img") == page.all("a") == []
        assert [each["rel"] for each in page.all("link")] == ["icon"]
        assert (page.all("link")[0]["href"] or "").startswith("data:")
        assert len(page.all("style")) == 1
        assert not any("style" in attributes or "src" in attributes for _, attributes in page.tags)
        assert not any(name.startswith("on") for _, attributes in page.tags for name in attributes)
        assert "url(" not in html
        assert "@import" not in html


def test_its_own_policy_allows_its_style_only(runs: Runs) -> None:
    html = html_of(runs.sweep.folder)
    (policy,) = (each["content"] for each in Page(html).all("meta") if "http-equiv" in each)
    style = html.partition("<style>")[2].partition("</style>")[0]
    assert policy is not None
    assert policy.startswith("default-src 'none'; ")
    assert f"style-src {csp_hash(style)};" in policy


def test_a_sweep_is_told_as_a_whole(runs: Runs) -> None:
    html = html_of(runs.sweep.folder)
    for text in ("8 of 8: completed 6, failed 2", "History", "Timeline", "Python", "Started with", "/home/me/train.py"):
        assert text in html
    assert html.count('<th scope="row" class="number">') == 8


def test_a_pipeline_is_told_as_a_whole(runs: Runs) -> None:
    html = html_of(runs.pipeline.folder)
    assert "2.0 is wrong" in html
    assert "Stages" in html
    assert "Inner" in html
    assert '<div class="dag-view">' in html


def test_many_trials_are_cut_and_counted(tmp_path: Path) -> None:
    durability.build(tmp_path, MOST_TRIALS + 7, 1)
    info = Store.at(tmp_path).all()[0]
    html = html_of(info.folder)
    assert f"The {MOST_TRIALS} best of {MOST_TRIALS + 7}; 7 more are in the store" in html
    assert html.count('<th scope="row" class="number">') == MOST_TRIALS
    with Run.open(info.folder, write=False) as run:
        data = report_json(run)
    assert (len(data["trials"]), data["trials_left_out"]) == (MOST_TRIALS, 7)
    scores = [trial["score"] for trial in data["trials"]]
    assert scores == sorted(scores, reverse=True)


def test_the_data_are_json_values(runs: Runs) -> None:
    with Run.open(runs.sweep.folder, write=False) as run:
        data = json.loads(json.dumps(report_json(run), allow_nan=False))
    assert (data["run"], data["status"], data["counts"]) == (runs.sweep.id, "completed", {"completed": 6, "failed": 2})
    assert set(data["figures"]) >= {"history", "timeline"}
    assert data["failures"][0]["message"] == f"no luck with {stores.EVIL}"
    assert data["trials"][0]["params"]["x"] > 0
    with Run.open(runs.sweep.folder, write=False) as run:  # a trial is told as `best --json` tells it
        told = [jsonable(trial_json(trial, run.info.status)) for trial in sweep_status(run).trials]
    assert sorted(data["trials"], key=lambda trial: trial["id"]) == told
    with Run.open(runs.pipeline.folder, write=False) as run:
        data = json.loads(json.dumps(report_json(run), allow_nan=False))
    assert [stage["name"] for stage in data["stages"]] == ["inner"]
    assert data["children"][0]["name"] == "Inner"
    assert data["dag"]["drawing"] is not None


def test_secrets_in_a_manifest_do_not_reach_it(tmp_path: Path, runs: Runs) -> None:
    folder = tmp_path / "runs" / runs.sweep.id
    shutil.copytree(runs.sweep.folder, folder)
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["details"] = {"api_key": "hunter2hunter2", "seed": 7}
    manifest["command"] = ["python", "train.py", "--token=hunter2hunter2"]
    (folder / "manifest.json").write_text(json.dumps(manifest))
    with Run.open(folder, write=False) as run:
        assert "hunter2" not in report_html(run) + json.dumps(report_json(run))
        assert "seed=7" in report_html(run)


def test_a_damaged_run_is_refused_with_what_to_do(tmp_path: Path) -> None:
    info = stores.sweep(tmp_path)
    with Run.open(info.folder, write=False) as run:
        (info.folder / "manifest.json").write_text("{")
        with pytest.raises(DamagedError, match=re.escape(f"metta-sweep doctor {info.folder}")):
            report_html(run)


def test_a_run_that_has_only_just_been_made(tmp_path: Path) -> None:
    with Store.at(tmp_path).create("young", "sweep"):
        info = Store.at(tmp_path).all()[0]
        assert "it has not begun" in html_of(info.folder)


def test_secret_parameters_stay_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By their names, as addresses with passwords, and as values of the environment."""
    monkeypatch.setenv("SERVICE_TOKEN", "hunter2-of-the-environment")
    space = {
        "x": Uniform(0.0, 1.0),
        "api_token": Choice(["hunter2-one", "hunter2-two"]),
        "data": Choice(["https://me:hunter2@host/", "plain"]),
        "auth": Constant("hunter2-of-the-environment"),
    }
    experiment = SweepExperiment(
        stores.objective,
        search_space=SearchSpace(space),
        optimizer=RandomOptimizer(),
        executor=stores.Instantly(1),
        seed=1,
        store=tmp_path,
    )
    assert len(experiment.run(6).trials) == 6
    with Run.open(Store.at(tmp_path).all()[0].folder, write=False) as run:
        html, told = report_html(run), json.dumps(report_json(run))
    assert "hunter2" not in html
    assert "hunter2" not in told
    assert "***" in told
    assert "plain" in html
