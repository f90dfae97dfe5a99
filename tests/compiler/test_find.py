"""What is found in a user's file, and what is said where nothing can be."""

from __future__ import annotations

import inspect
import re
import sys
import textwrap
from pathlib import Path

import pytest

from metta.sweep.compiler.find import candidates, outermost, pick
from metta.sweep.compiler.load import LoadError, fresh_packages, split_spec, user_module
from metta.sweep.compiler.loading import RunReached, loading, stop_if_loading
from metta.sweep.errors import UsageError

HEAD = """\
from __future__ import annotations

from metta.sweep import Experiment, Pipeline


def double(x: int) -> int:
    return 2 * x
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(folder: Path, text: str, name: str = "user.py", head: str = HEAD) -> str:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(head + textwrap.dedent(text))
    return name


def names(file: str) -> list[str]:
    with user_module(file) as module:
        return [each.name for each in candidates(module)]


def outer_names(file: str) -> list[str]:
    with user_module(file) as module:
        return [each.name for each, _ in outermost((each, each.build()) for each in candidates(module))]


def test_pipelines_graphs_experiments_and_functions_are_found(folder: Path) -> None:
    file = write(
        folder,
        """
        number = 3
        pipeline = Pipeline(x=int).stage("double", double)
        graph = pipeline.compile()

        def make() -> Pipeline:
            return Pipeline(x=int).stage("made", double)

        def make_with(n: int) -> Pipeline:
            return pipeline

        def unrelated() -> int:
            return 3

        class Doubling(Experiment[int]):
            def pipeline(self) -> Pipeline:
                return Pipeline(x=int).stage("double", double)

        class WithArguments(Doubling):
            def __init__(self, n: int) -> None:
                self.n = n

        class Base(Experiment[int]):
            pass

        instance = WithArguments(3)
        """,
    )
    assert names(file) == ["pipeline", "graph", "make", "Doubling", "instance"]


def test_an_instance_stands_for_its_class(folder: Path) -> None:
    file = write(
        folder,
        """
        class Doubling(Experiment[int]):
            def pipeline(self) -> Pipeline:
                return Pipeline(x=int).stage("double", double)

        doubling = Doubling()
        """,
    )
    assert names(file) == ["doubling"]


def test_parts_of_other_pipelines_are_not_outermost(folder: Path) -> None:
    file = write(
        folder,
        """
        class Doubling(Experiment[int]):
            def pipeline(self) -> Pipeline:
                return Pipeline(x=int).stage("double", double)

        arm = Pipeline().stage("needs", lambda y: y)
        inner = Pipeline().stage("inner", Pipeline().conditional(lambda now: now.x, arm))
        start = Pipeline(x=int).stage("double", double).through(x=int)
        whole = start.loop_while(lambda now: now.x < 9).stage("again", Doubling()).through(x=int).end_loop()

        def make() -> Pipeline:
            return Pipeline(x=int).stage("other", double).through(x=int).stage("inner", inner)

        other = make()
        graph = whole.compile()
        """,
    )
    assert names(file) == ["Doubling", "arm", "inner", "start", "whole", "make", "other", "graph"]
    assert outer_names(file) == ["whole", "other"]


def test_an_empty_pipeline_is_a_beginning_only(folder: Path) -> None:
    file = write(folder, "\nempty = Pipeline(x=int)\nwhole = empty.stage('double', double)\n")
    assert names(file) == ["empty", "whole"]
    assert outer_names(file) == ["whole"]


def test_global_hooks_make_another_pipeline(folder: Path) -> None:
    file = write(
        folder,
        """
        plain = Pipeline(x=int).stage("double", double)
        watched = plain.with_global_hooks(log=lambda stage, data: None)
        """,
    )
    assert outer_names(file) == ["plain", "watched"]


def test_pick_follows_dotted_names(folder: Path) -> None:
    file = write(
        folder,
        """
        class Doubling(Experiment[int]):
            inner = Pipeline(x=int).stage("inner", double)

            def pipeline(self) -> Pipeline:
                return Pipeline(x=int).stage("double", double)
        """,
    )
    with user_module(file) as module:
        for name, stage in (("Doubling", "double"), ("Doubling.pipeline", "double"), ("Doubling.inner", "inner")):
            assert stage in repr(pick(module, name).build())


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("pipelin", 'user.py has no "pipelin" (did you mean "pipeline"?)'),
        ("zzz", 'user.py has no "zzz"; it has pipeline'),
        ("Needs.pipelin", '"Needs" in user.py needs arguments (n): make it in a global variable and name that'),
        ("Needs", '"Needs" in user.py needs arguments (n): make it in a global variable and name that'),
        ("number", '"number" in user.py is an int, not a pipeline; it has pipeline'),
        ("double", '"double" in user.py needs arguments (x): make it in a global variable and name that'),
        ("pipeline.stag", 'user.py has no "pipeline.stag" (did you mean "pipeline.stage"?)'),
    ],
)
def test_a_wrong_name(name: str, message: str, folder: Path) -> None:
    file = write(
        folder,
        """
        number = 3
        pipeline = Pipeline(x=int).stage("double", double)

        class Needs(Experiment[int]):
            def __init__(self, n: int) -> None:
                self.n = n
        """,
    )
    with user_module(file) as module, pytest.raises(UsageError) as raised:
        pick(module, name)
    assert str(raised.value) == message


def test_a_function_that_gives_something_else(folder: Path) -> None:
    file = write(folder, "\ndef number():\n    return 3\n")
    with (
        user_module(file) as module,
        pytest.raises(UsageError, match=r'^"number" in user.py is an int, not a pipeline$'),
    ):
        pick(module, "number").build()


def test_an_experiment_that_cannot_be_built_is_blamed_on_its_line(folder: Path) -> None:
    file = write(
        folder,
        """
        class Broken(Experiment[int]):
            def pipeline(self) -> Pipeline:
                return Pipeline(x=self.missing).stage("double", double)
        """,
    )
    with user_module(file) as module, pytest.raises(LoadError) as raised:
        pick(module, "Broken").build()
    assert str(raised.value) == (
        "user.py:11: building \"Broken\" failed: AttributeError: 'Broken' object has no attribute 'missing'"
    )


def test_an_existing_file_may_have_a_colon(folder: Path) -> None:
    write(folder, "", "odd:name.py")
    assert split_spec("odd:name.py") == ("odd:name.py", None)
    assert split_spec("user.py:a.b") == ("user.py", "a.b")
    assert split_spec("user.py:not a name") == ("user.py:not a name", None)
    assert split_spec("user.py") == ("user.py", None)


# -- loading -------------------------------------------------------------------------------------------------------


def test_neighbours_are_imported_and_forgotten(folder: Path) -> None:
    for name in ("one", "two"):
        write(folder, f"value = {name!r}\n", f"{name}/helpers_of_test_find.py", head="")
        write(folder, "from helpers_of_test_find import value\n", f"{name}/user.py", head="")
    before, modules = list(sys.path), set(sys.modules)
    for name in ("one", "two"):
        with user_module(f"{name}/user.py") as module:
            assert module.value == name
    assert sys.path == before
    assert not {m for m in set(sys.modules) - modules if "helpers_of_test_find" in m or "metta_sweep_file" in m}


def test_a_file_in_a_package_may_import_relatively(folder: Path) -> None:
    package = "package_of_test_find"
    write(folder, "from package_of_test_find.user import value\n", f"{package}/__init__.py", head="")
    write(folder, "value = 3\n", f"{package}/beside.py", head="")
    write(folder, "from .beside import value\n", f"{package}/user.py", head="")
    with fresh_packages() as packages:
        with user_module(f"{package}/user.py", packages) as module:
            assert module.__name__ == f"{package}.user"
            assert module.value == 3
            assert module is sys.modules[f"{package}.user"]
        with user_module(f"{package}/__init__.py", packages) as top:
            assert top is sys.modules[package]
        with user_module(f"{package}/user.py", packages) as again:
            assert again is module
    assert not [name for name in sys.modules if name.partition(".")[0] == package]
    with user_module(f"{package}/user.py") as anew:
        assert anew is not module
    assert not [name for name in sys.modules if name.partition(".")[0] == package]


def test_the_main_part_does_not_run_and_prints_go_to_standard_error(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = write(
        folder,
        """
        import sys
        print("hello", sys.argv[1:])
        if __name__ == "__main__":
            raise SystemExit("the main part ran")
        """,
    )
    with user_module(file):
        print("output")
    assert capsys.readouterr() == ("output\n", "hello []\n")


def test_loading_stops_where_a_run_would_start(folder: Path) -> None:
    file = write(
        folder,
        """
        import contextlib
        from metta.sweep.compiler.loading import stop_if_loading

        pipeline = Pipeline(x=int).stage("double", double)
        with contextlib.suppress(Exception):
            stop_if_loading()
        raise AssertionError("the run was started")
        """,
    )
    assert outer_names(file) == ["pipeline"]
    stop_if_loading()  # outside of loading everything runs


def test_a_run_that_is_not_started_is_closed() -> None:
    async def main() -> None:
        raise AssertionError("never")

    coroutine = main()
    with loading(), pytest.raises(RunReached):
        stop_if_loading(coroutine)
    assert inspect.getcoroutinestate(coroutine) == inspect.CORO_CLOSED


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("def f(:\n", "user.py:1: user.py does not import: SyntaxError: invalid syntax"),
        (
            "import os\nimport no_such\n",
            (
                "user.py:2: user.py does not import: ModuleNotFoundError: No module named 'no_such' "
                "(is it installed in this environment?)"
            ),
        ),
        (
            "def f():\n    return 1 / 0\n\n\nf()\n",
            "user.py:2: user.py does not import: ZeroDivisionError: division by zero",
        ),
        (
            "import sys\nsys.exit(1)\n",
            'user.py:2: user.py does not import: it exits; put its main part under if __name__ == "__main__":',
        ),
        (
            "from metta.sweep import HookSet\nhooks = HookSet(lg=print)\n",
            'user.py:2: user.py does not import: "lg" is no hook (did you mean "log"?)',
        ),
        ("raise ValueError\n", "user.py:1: user.py does not import: ValueError"),
        (
            "class A:\n    best = 1\n    _bst = 2\n\n\nA().bst\n",
            (
                "user.py:6: user.py does not import: AttributeError: 'A' object has no attribute 'bst' "
                '(did you mean "best"?)'
            ),
        ),
        (
            "def f(batches):\n    return batchs\n\n\nf(1)\n",
            ("user.py:2: user.py does not import: NameError: name 'batchs' is not defined (did you mean \"batches\"?)"),
        ),
        ("raise ValueError('a\\nb' + 400 * 'x')\n", None),
    ],
)
def test_a_file_that_does_not_import(text: str, message: str | None, folder: Path) -> None:
    file = write(folder, text, head="")
    with pytest.raises(LoadError) as raised, user_module(file):
        pass
    assert "\n" not in str(raised.value)
    if message is None:
        assert len(str(raised.value)) < 400
    else:
        assert str(raised.value) == message


def test_an_import_error_in_a_neighbour_names_the_neighbour(folder: Path) -> None:
    write(folder, "def f(:\n", "beside_of_test_find.py", head="")
    file = write(folder, "import os\nimport beside_of_test_find\n", head="")
    with pytest.raises(LoadError) as raised, user_module(file):
        pass
    assert re.search(r"^user\.py:2: .*SyntaxError in .*beside_of_test_find\.py: invalid syntax$", str(raised.value))


@pytest.mark.parametrize(
    ("file", "message"),
    [
        ("absent.py", "there is no file absent.py in HERE"),
        ("usr.py", 'there is no file usr.py (did you mean "user.py"?)'),
        (".", ". is a directory: name a Python file (metta-sweep check takes directories)"),
        ("binary.py", "binary.py is no Python file: it holds binary data"),
        (
            "book.ipynb",
            "book.ipynb is a notebook: write it as a script first (jupyter nbconvert --to script book.ipynb)",
        ),
        (
            "latin.py",
            (
                "latin.py:2: latin.py is no Python file: byte 0xe9 is no utf-8; save it as UTF-8, or name its encoding "
                "in the first line (# -*- coding: ... -*-)"
            ),
        ),
        ("cookie.py", "cookie.py:1: cookie.py is no Python file: unknown encoding: no-such"),
    ],
)
def test_a_file_that_is_none(file: str, message: str, folder: Path) -> None:
    write(folder, "")
    (folder / "book.ipynb").write_text("{}")
    (folder / "latin.py").write_bytes(b"import os\n# caf\xe9\n")
    (folder / "cookie.py").write_bytes(b"# -*- coding: no-such -*-\n")
    (folder / "binary.py").write_bytes(b"\x7fELF\0\0\1")
    with pytest.raises(UsageError) as raised, user_module(file):
        pass
    assert str(raised.value) == message.replace("HERE", str(Path.cwd()))


def test_a_file_may_name_its_encoding(folder: Path) -> None:
    (folder / "latin.py").write_bytes(b"# -*- coding: latin-1 -*-\nname = 'caf\xe9'\n")
    with user_module(str(folder / "latin.py")) as module:
        assert module.name == "caf\u00e9"
