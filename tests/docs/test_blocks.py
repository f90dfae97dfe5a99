"""What tests/docs/blocks.py lets through, and what not."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.docs.blocks import Block, blocks_of, compare, run_page

PAGE = """
```python
print("one")
```

```text
one
```

```python title="two.py"
print("two 2.5")
```

```sh
python two.py
```

```text
two 2.5
```
"""


def block(shown: str, *marks: str) -> Block:
    return Block("sh", frozenset(marks), None, "", shown)


def test_a_page_runs(tmp_path: Path) -> None:
    run_page(blocks_of(PAGE), tmp_path)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("```text\none", "```text\nother"),
        ("```text\ntwo 2.5", "```text\ntwo 2.6"),
        ("```sh\n", "```sh fails\n"),
        ("python two.py", "python three.py"),
        ('print("one")', "1 / 0"),
    ],
)
def test_a_page_that_says_what_is_not_so_fails(old: str, new: str, tmp_path: Path) -> None:
    assert old in PAGE
    with pytest.raises(AssertionError):
        run_page(blocks_of(PAGE.replace(old, new)), tmp_path)


def test_a_block_that_is_not_run_is_not_compared(tmp_path: Path) -> None:
    run_page(blocks_of(PAGE.replace("```sh\npython two.py", "```sh no-run\npython three.py")), tmp_path)


def test_a_wrong_mark_is_told() -> None:
    with pytest.raises(ValueError, match="norun"):
        blocks_of("```sh norun\nls\n```\n")


@pytest.mark.parametrize(
    ("shown", "printed"),
    [
        ("run a-20261122-051500-3fa9\n", "run a-20270101-000000-0000\n"),
        ("[0:07] done in 0.4 s\n", "[1:12:07] done in 12 s\n"),
        ("digits  completed  22 s\n", "digits  completed  1 min 12 s\n"),
        ("first\n...\nlast\n", "first\nsecond\nthird\nlast\n"),
        ("45 passed in ...\n", "45 passed in 61.2s (0:01:01)\n"),
    ],
)
def test_what_changes_from_run_to_run_may_differ(shown: str, printed: str) -> None:
    compare(block(shown), printed)


def test_numbers_may_differ_only_where_a_block_says_so() -> None:
    compare(block("score 0.9648 of 30\n", "like"), "score 0.9631 of 31\n")
    with pytest.raises(AssertionError):
        compare(block("score 0.9648\n"), "score 0.9631\n")
    with pytest.raises(AssertionError):
        compare(block("score 0.9648\n", "like"), "cost 0.9648\n")
