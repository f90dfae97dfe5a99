"""The code blocks of a page, and what is run of them.

In the order of the page:

- `python` blocks are one program, which is run once, before the commands; `no-run` leaves a block to the type checker.
- A `python` or `toml` block with a title is the file of that name, there from its place on.
- `sh` blocks are run by bash in the page's folder; `no-run` leaves a block out, and `fails` expects an exit code that
  is not 0.
- A `text` block directly behind one that is run is what that prints, but for ids and times. In it, `...` stands for
  anything on its line, and a line `...` for any lines; `like` on the block that is run lets the numbers differ, too.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
FENCE = re.compile(r"^```(\w+)([^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
TITLE = re.compile(r'title="([^"]+)"')
MARKS = frozenset({"no-run", "fails", "like"})
CHANGING = (
    (re.compile(r"\b\d{8}-\d{6}-[0-9a-f]{4}\b"), "ID"),
    (re.compile(r"\[\d+:\d\d(:\d\d)?\]"), "[TIME]"),
    (re.compile(r"\b\d+(\.\d+)? (s|ms|min|h|d)( \d+ (s|min|h))?\b"), "TIME"),
    (re.compile(r"\b\d+:\d\d\b"), "TIME"),
    (re.compile(r"  +"), "  "),
    (re.compile(r" +$", re.MULTILINE), ""),
)
NUMBER = re.compile(r"\b\d+(\.\d+)?(e-?\d+)?\b")
END = "\x1e"  # printed behind each block of a program


@dataclass(frozen=True, slots=True)
class Block:
    """A code block.

    Attributes:
        language: "python", "sh", "text", ...
        marks: those of `MARKS` behind the language.
        title: the name of the file it is; None for code that is no file.
        code: its text.
        shown: the `text` block directly behind it; None where there is none.
    """

    language: str
    marks: frozenset[str]
    title: str | None
    code: str
    shown: str | None


def blocks_of(page: str) -> Sequence[Block]:
    """The blocks of a page, in its order.

    Raises:
        ValueError: a mark that means nothing.
    """
    found = list(FENCE.finditer(page))
    blocks = []
    for block, after in zip(found, [*found[1:], None], strict=False):
        language, info, code = block.groups()
        title = TITLE.search(info)
        marks = frozenset(TITLE.sub("", info).split())
        if marks - MARKS:
            raise ValueError(f"```{language}{info}: unknown marks {sorted(marks - MARKS)}")
        is_output = after is not None and after[1] == "text" and not page[block.end() : after.start()].strip()
        shown = after[3] if after is not None and is_output else None
        blocks.append(Block(language, marks, title[1] if title else None, code, shown))
    return blocks


def program(blocks: Sequence[Block]) -> Sequence[Block]:
    """The blocks that are one program."""
    return [block for block in blocks if block.language == "python" and block.title is None]


def run_page(blocks: Sequence[Block], folder: Path, *, commands: bool = True) -> None:
    """Run what is to be run of a page in a folder, and compare what it prints.

    Raises:
        AssertionError: an exit code or an output that is not the page's.
    """
    run_program([block for block in program(blocks) if "no-run" not in block.marks], folder)
    for block in blocks:
        if block.title is not None:
            (folder / block.title).parent.mkdir(parents=True, exist_ok=True)
            (folder / block.title).write_text(block.code)
        elif block.language == "sh" and "no-run" not in block.marks and commands:
            run_commands(block, folder)


def run_program(blocks: Sequence[Block], folder: Path) -> None:
    """Run blocks as one program and compare what each prints."""
    (folder / "page.py").write_text("".join(f'{block.code}\nprint("\\x1e", end="", flush=True)\n' for block in blocks))
    done = subprocess.run([sys.executable, "page.py"], capture_output=True, text=True, timeout=120, cwd=folder)
    assert (done.returncode, done.stderr) == (0, "")
    for block, printed in zip(blocks, done.stdout.split(END), strict=False):
        if block.shown is not None:
            compare(block, printed)


def run_commands(block: Block, folder: Path) -> None:
    """Run an `sh` block and compare what it prints, errors included."""
    home = folder / ".home"
    home.mkdir(exist_ok=True)
    # Where a page has no configuration of mypy: all that this machine has installed need not be read for it.
    (home / ".mypy.ini").write_text("[mypy]\nno_site_packages = True\nfollow_imports = silent\n")
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("METTA_SWEEP_")},
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "HOME": str(home),
        "MYPYPATH": f"{ROOT}{os.pathsep}{ROOT / 'plugins'}",
        "COLUMNS": "100",
        "OMP_NUM_THREADS": "1",  # small matrices: more threads only wait for one another
        "OPENBLAS_NUM_THREADS": "1",
    }
    with (folder / ".printed").open("w") as printed:
        shell = subprocess.Popen(
            ["bash", "-c", f"set -o pipefail\n{block.code}"],
            stdin=subprocess.DEVNULL,
            stdout=printed,
            stderr=subprocess.STDOUT,
            cwd=folder,
            env=environment,
            start_new_session=True,
        )
        try:
            code = shell.wait(timeout=300)
        finally:
            with suppress(ProcessLookupError):
                os.killpg(shell.pid, signal.SIGKILL)  # what a page has left in the background
    text = (folder / ".printed").read_text().replace(str(folder), "/home/me/digits")
    assert (code != 0) == ("fails" in block.marks), f"{block.code}exit code {code}\n{text}"
    if block.shown is not None:
        compare(block, text)


def compare(block: Block, printed: str) -> None:
    """Assert that what was printed is what the page shows."""
    assert block.shown is not None
    expected, found = steady(block.shown), steady(printed)
    if "like" in block.marks:
        expected, found = NUMBER.sub("N", expected), NUMBER.sub("N", found)
    shown = f"{block.code}\nshown:\n{block.shown}\nprinted:\n{printed}"
    assert re.fullmatch("".join(pattern(expected)), found), shown


def steady(text: str) -> str:
    """A text without what differs from run to run: ids, dates and times, and the columns that their lengths move."""
    for changing, same in CHANGING:
        text = changing.sub(same, text)
    return text


def pattern(shown: str) -> Iterator[str]:
    """A regular expression for a `text` block, line by line."""
    for line in shown.splitlines():
        if line.strip() == "...":
            yield r"(?:.*\n)*?"
        else:
            yield ".*?".join(map(re.escape, line.split("..."))) + r"\n"
