"""The place of a builder call: lines are counted from the marks in this very file.

Every expected line carries a comment `# <- name`; `line_of("name")` finds it.
"""

import linecache
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from metta.sweep.contracts.diagnostics import Site

HERE = Path(__file__)


class Builder:
    """A stand-in for the pipeline: each call remembers where it was made."""

    def __init__(self, *args: object, **kwargs: object) -> None:
        self.sites = [Site.of_caller()]

    def stage(self, *args: object, **kwargs: object) -> "Builder":
        self.sites.append(Site.of_caller())
        return self

    def through(self, *args: object, **kwargs: object) -> "Builder":
        return self._indirect()

    def _indirect(self) -> "Builder":
        self.sites.append(Site.of_caller(depth=2))
        return self

    def __or__(self, other: object) -> "Builder":
        self.sites.append(Site.of_caller())
        return self

    @property
    def last(self) -> Site:
        return self.sites[-1]


def line_of(mark: str) -> int:
    lines = HERE.read_text().splitlines()
    (found,) = [number for number, line in enumerate(lines, 1) if line.endswith(f"# <- {mark}")]
    return found


def line(site: Site, *arguments: str | int | None) -> int:
    file, number = site.locate(*arguments)
    assert Path(file).resolve() == HERE
    return number


module_level = Builder().stage("a", print)  # <- module constructor


class Owner:
    attribute = Builder().stage("a")

    def pipeline(self) -> Builder:
        def inner() -> Builder:
            return Builder()

        return inner().stage("a")


hooks = {"retry": 3}


def test_method_names_and_arguments_in_a_long_chain() -> None:
    chain = (
        Builder(  # <- constructor
            x=int,  # <- declared input
        )
        .stage("a", print)  # <- first stage
        .through(  # <- through
            int,  # <- positional
            **hooks,  # <- bag
            timeout=(
                300  # <- timeout
            ),
        )
    )
    constructor, first, through = chain.sites
    assert line(constructor) == line_of("constructor")
    assert line(constructor, "x") == line_of("declared input")
    assert line(first) == line(first, 1) == line_of("first stage")
    assert line(through) == line_of("through")
    assert line(through, 0) == line_of("positional")
    assert line(through, "timeout") == line_of("timeout")
    assert line(through, "retry") == line_of("bag")
    assert line(through, 5) == line_of("through")  # there is no such argument
    assert line(through, None, 7, "timeout") == line_of("timeout")  # the first one there is


def test_which_of_several_bags() -> None:
    more = {"log": print}
    site = (
        Builder()
        .through(
            **hooks,  # <- unknown bag
            **{"cache": True},  # noqa: PIE804  # <- literal bag
            **(more if hooks else {}),
        )
        .last
    )
    assert line(site, "cache") == line_of("literal bag")
    assert line(site, "retry") == line_of("unknown bag")


def test_conditional_bag_and_star_arguments() -> None:
    debug = True
    arguments = ["a", print]
    builder = (
        Builder()
        .stage(
            *arguments,  # <- star
        )
        .through(
            **(
                hooks  # <- conditional bag
                if debug
                else {}
            ),
        )
    )
    assert line(builder.sites[1], 1) == line_of("star")
    assert line(builder.sites[2], "retry") == line_of("conditional bag")


def test_a_bag_that_cannot_hold_the_keyword() -> None:
    site = (
        Builder()
        .through(  # <- closed bag call
            **{"cache": True},  # noqa: PIE804
        )
        .last
    )
    assert line(site, "retry") == line_of("closed bag call")


def test_statement_form_and_nested_calls() -> None:
    p = Builder()
    p = p.stage("a")  # <- statement
    assert line(p.last) == line_of("statement")
    outer = Builder().stage(  # <- outer
        "b",
        Builder()
        .stage("inner"),  # <- inner
    )  # fmt: skip
    inner = Builder()
    assert line(outer.last) == line_of("outer")
    assert line(outer.last, 1) == line_of("inner") - 1
    assert inner.sites


def test_inner_pipeline_of_a_nested_call() -> None:
    seen: list[Builder] = []

    def keep(builder: Builder) -> Builder:
        seen.append(builder)
        return builder

    Builder().stage(
        "outer",
        keep(
            Builder()
            .stage("inner", lambda x: x),  # <- nested inner
        ),
    )  # fmt: skip
    assert line(seen[0].last) == line_of("nested inner")
    assert line(seen[0].last, 1) == line_of("nested inner")


def test_in_lambdas_comprehensions_and_loops() -> None:
    make: Callable[[], Builder] = lambda: Builder().stage("a")  # noqa: E731  # <- lambda
    assert line(make().last) == line_of("lambda")
    built = [Builder().stage(name) for name in "ab"]  # <- comprehension
    assert [line(it.last) for it in built] == [line_of("comprehension")] * 2
    p = Builder()
    for name in "ab":
        p = p.stage(name)  # <- loop
    assert line(p.last) == line_of("loop")


def test_as_a_decorator() -> None:
    sites: list[Site] = []

    def register(fn: Callable[[], None]) -> Callable[[], None]:
        sites.append(Site.of_caller())
        return fn

    @register  # <- decorator
    def decorated() -> None: ...

    assert line(sites[0]) == line_of("decorator")


def test_operators() -> None:
    site = (Builder() | 0).last  # <- operator
    assert line(site) == line_of("operator")


def test_source_of_an_argument() -> None:
    site = Builder().stage("a", lambda ctx: ctx.loss > 0.5, skip_if=lambda ctx: (ctx.a
                                                                                and ctx.b)).last  # fmt: skip
    assert site.source(1) == "lambda ctx: ctx.loss > 0.5"
    assert site.source("skip_if") == "lambda ctx: (ctx.a and ctx.b)"
    assert site.source("until", 1) == "lambda ctx: ctx.loss > 0.5"
    assert site.source("until") is None


def test_scope() -> None:
    assert module_level.last.scope() == "module_level"
    assert Owner.attribute.last.scope() == "Owner.attribute"
    assert Owner().pipeline().last.scope() == "Owner.pipeline"
    assert Owner().pipeline().sites[0].scope() == "Owner.pipeline.inner"
    assert Builder().last.scope() == "test_scope"
    assert [Builder() for _ in range(1)][0].last.scope() == "test_scope"  # noqa: RUF015


def run(code: str, name: str = "<string>") -> dict[str, Any]:
    names: dict[str, Any] = {"Builder": Builder}
    exec(compile(code, name, "exec"), names)
    return names


def test_without_source_the_line_of_the_instruction() -> None:
    site = run("\n\np = (Builder()\n  .stage('a'))\n")["p"].last
    assert site.locate() == ("<string>", 4)
    assert site.locate("retry") == ("<string>", 4)
    assert site.source(0) is None
    assert site.scope() == "<string>"


def test_a_notebook_cell_is_read_through_linecache() -> None:
    code = "pipeline = (\n  Builder()\n  .stage('a',\n     timeout=3)\n)\n"
    name = "<cell 7>"
    linecache.cache[name] = (len(code), None, code.splitlines(keepends=True), name)
    try:
        site = run(code, name)["pipeline"].last
        assert site.locate("timeout") == (name, 4)
        assert site.locate() == (name, 3)
        assert site.scope() == "pipeline"
    finally:
        del linecache.cache[name]


def test_a_file_that_was_changed_afterwards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "changed.py"
    file.write_text("p = (Builder()\n .stage('a'))\n")
    site = run(file.read_text(), str(file))["p"].last
    file.write_text("# nothing is where it was\n" * 5)
    monkeypatch.chdir(tmp_path)
    assert site.locate("timeout") == ("changed.py", 2)


def test_paths_are_relative_below_the_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "sub" / "train.py"
    file.parent.mkdir()
    file.write_text("p = Builder()\n")
    site = run(file.read_text(), str(file))["p"].last
    monkeypatch.chdir(tmp_path)
    assert site.locate() == ("sub/train.py", 1)
    monkeypatch.chdir(file.parent)
    assert site.locate() == ("train.py", 1)
    (tmp_path / "other").mkdir()
    monkeypatch.chdir(tmp_path / "other")
    assert site.locate() == (str(file), 1)


def test_nothing_is_resolved_when_the_call_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise AssertionError("resolved too early")

    monkeypatch.setattr(linecache, "getlines", fail)
    builder = Builder().stage("a")
    assert len(builder.sites) == 2
    with pytest.raises(AssertionError, match="too early"):
        builder.last.locate()


def test_a_chain_deeper_than_the_stack_allows(tmp_path: Path) -> None:
    file = tmp_path / "long.py"
    stages = "".join(f"    .stage({i}, retry={i})\n" for i in range(600))
    file.write_text(f"chain = (\n    Builder()\n{stages})\n")
    sites = run(file.read_text(), str(file))["chain"].sites
    assert [site.locate("retry")[1] for site in sites] == list(range(2, 603))
    assert sites[-1].scope() == "chain"
    assert sites[-1].source("retry") == "599"
