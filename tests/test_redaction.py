"""Secrets become `***`, whole or in pieces; nothing else changes."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metta.sweep.redaction import Redactor, secrets_in

CANARY = "c4n4ry-s3cret"


@pytest.mark.parametrize("name", ["HF_TOKEN", "AWS_SECRET_ACCESS_KEY", "db_password", "Api_Key", "MY_CREDENTIALS"])
def test_telling_names(name: str) -> None:
    assert secrets_in({name: CANARY, "HOME": "/home/somebody"}) == {CANARY}


def test_short_values_are_left_alone() -> None:
    assert secrets_in({"TOKENIZERS_PARALLELISM": "false", "KEY": "1234567"}) == frozenset()
    assert Redactor(["false", ""]).text("false") == "false"


def test_text() -> None:
    redactor = Redactor([CANARY, "another-one"])
    assert redactor.text(f"a {CANARY}, {CANARY} and another-one") == "a ***, *** and ***"
    assert redactor.text("nothing here") == "nothing here"
    assert Redactor().text(CANARY) == CANARY


def test_the_longer_of_two_that_begin_alike() -> None:
    assert Redactor(["password", "password-of-root"]).text("password-of-root") == "***"


def test_characters_that_mean_something_to_a_pattern() -> None:
    assert Redactor(["a+b(c)[d]*"]).text("x a+b(c)[d]* aab(c)[d]*") == "x *** aab(c)[d]*"


def test_lines_and_the_form_of_repr() -> None:
    key = "-----BEGIN KEY-----\nMIIEvQIBADAN'Bgkq\n"
    redactor = Redactor([key])
    assert redactor.text("MIIEvQIBADAN'Bgkq") == "***"
    assert redactor.text(f"got {key!r}") == 'got "***"'


def test_streams_mask_what_is_cut_in_two() -> None:
    stream = Redactor([CANARY]).stream()
    shown = [stream.feed(part) for part in (b"login c4n4ry", b"-s3c", b"ret ok c4n", b"dy c4n4")]
    assert shown == [b"login ", b"", b"*** ok ", b"c4ndy "]
    assert stream.close() == b"c4n4"


def test_streams_mask_what_was_held_back_at_the_end() -> None:
    stream = Redactor(["password", "password-of-root"]).stream()
    assert stream.feed(b"password") == b""
    assert stream.close() == b"***"


def test_streams_without_secrets_hold_nothing_back() -> None:
    stream = Redactor().stream()
    assert stream.feed(b"\xff\x00 anything") == b"\xff\x00 anything"
    assert stream.close() == b""


secrets = st.lists(st.text("ab", min_size=8, max_size=10), min_size=1, max_size=3)
pieces = st.lists(st.text("ab\n", max_size=12), max_size=8)


@given(secrets, pieces)
@settings(derandomize=True, max_examples=300, deadline=None)
def test_no_secret_gets_through_however_it_is_cut(values: list[str], parts: list[str]) -> None:
    stream = Redactor(values).stream()
    shown = b"".join([*(stream.feed(part.encode()) for part in parts), stream.close()]).decode()
    assert not any(value in shown for value in values)
    if not any(value in "".join(parts) for value in values):
        assert shown == "".join(parts)
