"""The process that runs mypy: real runs of mypy, with a plugin that reports as ours does."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from metta.sweep.compiler import mypy_child
from metta.sweep.compiler.mypy_child import Answer

PLUGIN = Path(__file__).parent / "mypy_plugin_of_test.py"
CONFIG = "[mypy]\nplugins = fake.py\n"
MISSING = "def report_missing() -> None: ...\nreport_missing()\n"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MYPY_CACHE_DIR", raising=False)
    shutil.copy(PLUGIN, tmp_path / "fake.py")
    Path("mypy.ini").write_text(CONFIG)
    return tmp_path


def write(files: dict[str, str]) -> list[str]:
    """Texts by path; the paths."""
    for path, text in files.items():
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        Path(path).write_text(text)
    return list(files)


def ask(*named: str, found: tuple[str, ...] = ()) -> Answer:
    ended = subprocess.run(
        [sys.executable, "-P", mypy_child.__file__],
        input=json.dumps({"named": named, "found": found}),
        capture_output=True,
        text=True,
        check=True,
    )
    assert ended.stderr == ""
    answer: Answer = json.loads(ended.stdout)
    return answer


def places(answer: Answer) -> list[tuple[object, object, object]]:
    assert answer["failure"] == ""
    return [(error["file"], error["line"], error["code"]) for error in answer["errors"]]


def test_errors_come_with_the_notes_behind_them(folder: Path) -> None:
    write({"user.py": "def report_missing(x: int) -> None: ...\nreport_missing(\n    1\n)\nreport_missing('one')\n"})
    first, second, third = ask("user.py")["errors"]
    assert (first["file"], first["line"], first["code"], first["severity"]) == ("user.py", 2, "missing-field", "error")
    assert first["message"] == 'stage "train" needs field "x: int"'
    assert first["hint"] == "declare it: Pipeline(x=int)\nor rename it"
    assert {second["code"], third["code"]} == {"arg-type", "missing-field"}
    assert second["line"] == third["line"] == 5


def test_a_warm_cache_gives_the_same(folder: Path) -> None:
    write({"user.py": MISSING, "other.py": "import user\n"})
    assert ask("user.py", "other.py") == ask("user.py", "other.py")


def test_the_users_configuration_holds(folder: Path) -> None:
    (user,) = write({"user.py": MISSING})
    Path("mypy.ini").write_text(
        CONFIG + "output = json\npretty = true\nhide_error_codes = true\nlinecount_report = out\n"
    )
    assert places(ask(user)) == [("user.py", 2, "missing-field")]
    assert not Path("out").exists()
    write({"user.py": MISSING.replace("()\n", "()  # type: ignore[missing-field]\n")})
    assert places(ask(user)) == []
    write({"user.py": MISSING})
    Path("mypy.ini").write_text(CONFIG + "[mypy-user]\nignore_errors = true\n")
    assert places(ask(user)) == []


def test_exclude_holds_for_files_that_were_not_named(folder: Path) -> None:
    paths = write({"cases/a.py": MISSING, "cases/deep/b.py": MISSING, "keep/c.py": MISSING})
    Path("mypy.ini").write_text(CONFIG + "exclude = ^cases/$\n")
    assert places(ask(found=(*paths, "cases/absent.py"))) == [("keep/c.py", 2, "missing-field")]
    assert len(places(ask(*paths))) == 3
    Path("mypy.ini").write_text(CONFIG + "exclude = ^ca[ses/$\n")
    assert ask(found=tuple(paths))["failure"].startswith("mypy's exclude is no regular expression: ")


def test_a_file_that_is_given_in_several_ways_is_checked_once(folder: Path) -> None:
    write({"user.py": MISSING})
    answer = ask("user.py", str(folder / "user.py"), found=("./user.py",))
    assert [os.path.relpath(str(file)) for file, _, _ in places(answer)] == ["user.py"]


def test_scripts_of_one_name_do_not_mix(folder: Path) -> None:
    # Each has its own `helpers`; in one build both would import the same.
    paths = write(
        {
            "a/train.py": "import helpers\nhelpers.report_missing()\n",
            "a/helpers.py": "def report_missing() -> None: ...\n",
            "b/train.py": "import helpers\nhelpers.report_untyped()\n",
            "b/helpers.py": "def report_untyped() -> None: ...\n",
        }
    )
    assert places(ask(*paths)) == [("a/train.py", 2, "missing-field"), ("b/train.py", 2, "untyped-stage")]
    # Even where the helpers are not checked themselves, and only they have one name.
    paths = [paths[0], *write({"b/evaluate.py": "import helpers\nhelpers.report_untyped()\n"})]
    assert places(ask(*paths)) == [("a/train.py", 2, "missing-field"), ("b/evaluate.py", 2, "untyped-stage")]


def test_scripts_of_one_name_and_one_text_are_told_apart(folder: Path) -> None:
    paths = write({"a/train.py": MISSING, "b/train.py": MISSING})
    assert places(ask(*paths)) == [(path, 2, "missing-field") for path in paths]
    assert places(ask(paths[0])) == [(paths[0], 2, "missing-field")]


def test_modules_of_a_package_are_checked_together(folder: Path) -> None:
    paths = write(
        {
            "p/__init__.py": "",
            "p/one.py": "def report_missing() -> None: ...\n",
            "p/two.py": "from p.one import *\n" + "report_missing()\n",
        }
    )
    assert places(ask(*paths)) == [("p/two.py", 2, "missing-field")]


def test_what_is_no_python_is_left_to_the_import(folder: Path) -> None:
    write({"broken.py": "def f(:\n", "user.py": MISSING})
    Path("binary.py").write_bytes(b"\0")
    assert places(ask("broken.py", "binary.py", "absent.py", "user.py")) == [("user.py", 2, "missing-field")]
    assert ask("broken.py") == Answer(errors=[], warnings=[], failure="", blame="")


def test_names_that_look_like_options_are_files(folder: Path) -> None:
    write({"--strict.py": MISSING, "@folder/x.py": MISSING, "@y.py": MISSING})
    found = sorted(places(ask("--strict.py", "@folder/x.py", "@y.py")))
    assert [os.path.normpath(str(file)) for file, _, _ in found] == ["--strict.py", "@folder/x.py"]


def test_neighbours_do_not_stand_in_for_libraries(folder: Path) -> None:
    (user, *_) = write({"user.py": MISSING, "json.py": "raise SystemExit", "mypy.py": "raise SystemExit"})
    assert places(ask(user)) == [("user.py", 2, "missing-field")]


def test_a_module_beside_the_configuration_can_be_a_plugin(folder: Path) -> None:
    Path("mypy.ini").write_text("[mypy]\nplugins = fake\n")
    (user,) = write({"user.py": MISSING})
    assert places(ask(user)) == [("user.py", 2, "missing-field")]


@pytest.mark.parametrize(("listed", "made"), [("fake.py", "own/metta-sweep"), ("fake.py, metta_mypy", "own")])
def test_the_users_cache_is_shared_where_he_lists_our_plugin(listed: str, made: str, folder: Path) -> None:
    Path("mypy.ini").write_text(f"[mypy]\ncache_dir = own\nplugins = {listed}\n")
    (user,) = write({"user.py": MISSING})
    assert places(ask(user)) == [("user.py", 2, "missing-field")]
    assert not Path(".mypy_cache").exists()
    assert list(Path(made).glob("3.*"))


def test_parallel_workers_are_left_to_mypy_itself(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MYPY_NUM_WORKERS", "2")
    Path("mypy.ini").write_text(CONFIG + "cache_dir = /dev/null\n")  # without a cache they cannot work
    (user,) = write({"user.py": MISSING})
    assert places(ask(user)) == [("user.py", 2, "missing-field")]


def test_a_chain_may_be_as_long_as_for_mypy(folder: Path) -> None:
    chain = "Chain()" + ".then()" * 2000
    write({"user.py": f"class Chain:\n    def then(self) -> 'Chain': ...\nx: int = {chain}\n"})
    assert places(ask("user.py"))[-1] == ("user.py", 3, "assignment")


def test_our_plugin_is_loaded_without_any_configuration(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("mypy.ini").unlink()
    (user,) = write({"user.py": MISSING})
    assert places(ask(user)) == []
    write({"metta_mypy.py": PLUGIN.read_text()})
    monkeypatch.setenv("PYTHONPATH", str(folder))
    assert places(ask(user)) == [("user.py", 2, "missing-field")]


def test_what_mypy_tells_about_its_configuration_is_passed_on(folder: Path) -> None:
    Path("mypy.ini").write_text(CONFIG + "strickt = true\n")
    (user,) = write({"user.py": MISSING})
    answer = ask(user)
    assert places(answer) == [("user.py", 2, "missing-field")]
    assert answer["warnings"] == ["mypy.ini: [mypy]: Unrecognized option: strickt = true"]


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        ("[mypy]\nplugins = absent_plugin\n", 'mypy.ini:2: Error importing plugin "absent_plugin"'),
        (
            "[mypy]\nexplicit_package_bases = true\nnamespace_packages = false\n",
            "mypy: error: Can only use --explicit-package-bases with --namespace-packages",
        ),
    ],
)
def test_a_configuration_that_mypy_refuses(config: str, reason: str, folder: Path) -> None:
    Path("mypy.ini").write_text(config)
    (user,) = write({"user.py": MISSING})
    answer = ask(user)
    assert answer["blame"] == "usage"
    assert answer["failure"].startswith(reason)
    assert "\n" not in answer["failure"]


def test_an_import_that_is_broken_stops_mypy_and_is_named(folder: Path) -> None:
    write({"user.py": "import broken\n" + MISSING, "broken.py": "def f(:\n"})
    answer = ask("user.py")
    assert answer["failure"].startswith("broken.py:1: ")
    assert answer["blame"] == "usage"


def test_a_crash_is_one_line_and_the_other_findings_stay(folder: Path) -> None:
    write(
        {
            "a.py": MISSING,
            "b.py": "import a\ndef report_crash() -> None: ...\ndef report_missing() -> None: ...\nreport_missing()\n"
            "report_crash()\n",
        }
    )
    answer = ask("a.py", "b.py")
    assert answer["failure"].startswith("b.py:5: error: INTERNAL ERROR -- ")
    assert answer["blame"] == "crash"
    assert [(error["file"], error["line"]) for error in answer["errors"]] == [("a.py", 2)]
    assert "Traceback" not in json.dumps(answer)


def test_a_file_in_no_encoding_does_not_stop_the_others(folder: Path) -> None:
    write({"user.py": MISSING})
    Path("latin.py").write_bytes(b"# caf\xe9\n" + MISSING.encode())
    assert [file for file, _, _ in places(ask("latin.py", "user.py"))] == ["user.py"]
