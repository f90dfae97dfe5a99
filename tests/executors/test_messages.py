"""What others say, in our messages."""

from __future__ import annotations

import pytest

from metta.sweep.executors.remote.messages import as_line


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("", ""),
        ("two\n lines\t", "two lines"),
        ("\x1b[31mred\x1b[0m\x00\u202e", "[31mred [0m"),  # nothing that colors or turns around what follows
        ("naïve größe", "naïve größe"),
        ("a" * 10, "a" * 10),
        ("a" * 11, "a" * 9 + "…"),
    ],
)
def test_any_text_becomes_one_harmless_line(text: str, line: str) -> None:
    assert as_line(text, 10 if text.startswith("a") else 300) == line
