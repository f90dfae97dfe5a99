"""A mistake in the plugin's own options stops mypy, with one sentence that names the file and the option."""

from __future__ import annotations

from pathlib import Path

import pytest

from metta.sweep.errors import UsageError
from metta_mypy.config import read_strict
from tests.plugins.running import Mypy

TOML = "pyproject.toml"
INI = "mypy.ini"


def written(folder: Path, name: str, text: str) -> str:
    (folder / name).write_text(text, encoding="utf-8")
    return str(folder / name)


@pytest.mark.parametrize(
    ("name", "text", "strict"),
    [
        (TOML, "[tool.metta-mypy]\nstrict = true", True),
        (TOML, "[tool.metta-mypy]\nstrict = false", False),
        (TOML, "[tool.metta-mypy]", False),
        (TOML, "[tool.mypy]\nstrict = true", False),
        (TOML, "tool.metta-sweep.strict = 1", False),
        (INI, "[metta-mypy]\nstrict = True", True),
        (INI, "[metta-mypy]\nstrict: off", False),
        (INI, "[mypy]\nstrict = True", False),
        (INI, "[mypy]\npython_executable = %(no_interpolation)s\n[metta-mypy]\nstrict = yes", True),
        ("setup.cfg", "[DEFAULT]\nowner = me\n[metta-mypy]\nstrict = 1", True),
        ("setup.cfg", "[DEFAULT]\nstrict = 1\n[metta-mypy]", True),
    ],
)
def test_strict_is_read(name: str, text: str, strict: bool, tmp_path: Path) -> None:
    assert read_strict(written(tmp_path, name, text)) is strict


def test_without_a_file_nothing_is_strict() -> None:
    assert read_strict(None) is read_strict("") is False


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        (
            TOML,
            '[tool.metta-mypy]\nstrict = "perhaps"',
            '[tool.metta-mypy] strict must be true or false, not "perhaps"',
        ),
        (TOML, '[tool.metta-mypy]\nstrict = "true"', '[tool.metta-mypy] strict must be true or false, not "true"'),
        (TOML, "[tool.metta-mypy]\nstrict = 1", "[tool.metta-mypy] strict must be true or false, not 1"),
        (
            TOML,
            "[tool.metta-mypy]\nstrct = true",
            '[tool.metta-mypy] has no option "strct" (did you mean "strict"?), only strict',
        ),
        (
            TOML,
            "[tool.metta-mypy]\nstrict = true\ncolor = true",
            '[tool.metta-mypy] has no option "color", only strict',
        ),
        (TOML, "[tool]\nmetta-mypy = true", "[tool.metta-mypy] must be a table of options, not true"),
        (
            TOML,
            "[[tool.metta-mypy]]\nstrict = true",
            '[tool.metta-mypy] must be a table of options, not [{"strict": true}]',
        ),
        (TOML, "[tool.metta_mypy]\nstrict = true", "[tool.metta-mypy] is not read where it is written as metta_mypy"),
        (INI, "[metta-mypy]\nstrict = perhaps", '[metta-mypy] strict must be true or false, not "perhaps"'),
        (INI, "[metta-mypy]\nstrict =", '[metta-mypy] strict must be true or false, not ""'),
        (
            "setup.cfg",
            "[metta-mypy]\nstrictly = 1",
            '[metta-mypy] has no option "strictly" (did you mean "strict"?), only strict',
        ),
        (INI, "[tool.metta-mypy]\nstrict = true", "[metta-mypy] is not read where it is written as tool.metta-mypy"),
    ],
)
def test_a_mistake_is_one_sentence(name: str, text: str, said: str, tmp_path: Path) -> None:
    file = written(tmp_path, name, text)
    with pytest.raises(UsageError) as caught:
        read_strict(file)
    assert str(caught.value) == f"{file}: error: {said}"


@pytest.mark.parametrize("text", ["[metta-mypy]\nstrict = 1\nstrict = 0", "[metta-mypy]\n\xff\n"])
def test_a_file_that_cannot_be_read_is_one_line(text: str, tmp_path: Path) -> None:
    file = tmp_path / INI
    file.write_text(text, encoding="latin-1")
    with pytest.raises(UsageError, match=r"^.*mypy\.ini: error: \[metta-mypy\] .+$"):
        read_strict(str(file))
    with pytest.raises(UsageError, match=r"none\.ini: error: "):
        read_strict(str(tmp_path / "none.ini"))


def test_mypy_stops_with_the_sentence(python: Path, tmp_path: Path) -> None:
    written(tmp_path, "empty.py", "")
    file = written(tmp_path, TOML, '[tool.mypy]\nplugins = ["metta_mypy"]\n[tool.metta-mypy]\nstrict = "perhaps"\n')
    status, printed, log = Mypy(tmp_path, python).ended("mypy", ["--cache-dir=cache", "empty.py"])
    assert status == 2
    assert (
        log.splitlines()[0]
        == f'{Path(file).name}: error: [tool.metta-mypy] strict must be true or false, not "perhaps"'
    )
    assert "INTERNAL ERROR" not in printed + log
    assert "Traceback" not in printed + log
