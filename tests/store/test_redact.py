"""What counts as a secret, and that it goes while the rest stays."""

from __future__ import annotations

import pytest

from metta.sweep.redaction import MASK, secrets_in
from metta.sweep.store.redact import (
    is_secret_name,
    redact_arguments,
    redact_text,
    redact_values,
)

CANARY = "canary-5f2e9b"


@pytest.mark.parametrize("name", ["HF_TOKEN", "--api-key", "db.password", "AWS_ACCESS_KEY", "key", "clientSecret"])
def test_secret_names(name: str) -> None:
    assert is_secret_name(name)


@pytest.mark.parametrize("name", ["tokenizer", "max_tokens", "--metric-key", "sweep.cost_key", "lr", "PWD", "keys"])
def test_harmless_names(name: str) -> None:
    assert not is_secret_name(name)


@pytest.mark.parametrize(
    "arguments",
    [
        ["--token", CANARY],
        [f"--api-key={CANARY}"],
        [f"wandb.api_key={CANARY}"],
        [f"WANDB_API_KEY={CANARY}"],
        ["--db-url", f"postgres://me:{CANARY}@host/db"],
        ["-c", f"token = '{CANARY}'"],
    ],
)
def test_no_secret_of_a_command_line_stays(arguments: list[str]) -> None:
    redacted = redact_arguments(["train.py", *arguments, "optimizer.lr=0.1", "--seed", "3"])
    assert CANARY not in " ".join(redacted)
    assert redacted[0] == "train.py"
    assert redacted[-3:] == ["optimizer.lr=0.1", "--seed", "3"]


def test_a_secret_option_without_a_value_takes_no_other_option() -> None:
    assert redact_arguments(["--password", "--seed", "3"]) == ["--password", "--seed", "3"]


@pytest.mark.parametrize(
    "text",
    [
        f'api_key = "{CANARY}"',
        f"{{'password': '{CANARY}'}}",
        f"export HF_TOKEN={CANARY}",
        f"password: {CANARY}",
        f"https://me:{CANARY}@example.org/x",
        "ghp_" + CANARY.replace("-", "") + "a" * 20,
        f"-----BEGIN RSA PRIVATE KEY-----\n{CANARY}\n-----END RSA PRIVATE KEY-----",
    ],
)
def test_no_secret_of_a_text_stays(text: str) -> None:
    redacted = redact_text(f"before\n{text}\nafter")
    assert CANARY not in redacted
    assert CANARY.replace("-", "") not in redacted
    assert redacted.startswith("before\n")
    assert redacted.endswith("\nafter")


@pytest.mark.parametrize(
    "text",
    ["sorted(x, key=len)", "sorted(x, key=lambda item: item[1])", "def f(token: str) -> None:", "key = PRNGKey(0)"],
)
def test_program_text_stays(text: str) -> None:
    assert redact_text(text) == text


def test_secrets_of_the_environment_go_wherever_they_stand() -> None:
    secrets = secrets_in({"MY_TOKEN": CANARY, "SHORT_KEY": "abc", "PATH": "/usr/bin/x", "PWD": "/home/me/x"})
    assert secrets == {CANARY}
    assert redact_text(f"print({CANARY!r}) /home/me/x", secrets) == f"print('{MASK}') /home/me/x"


def test_values_go_by_their_names() -> None:
    data = {"api_key": CANARY, "nested": [{"x": f"token={CANARY}1"}], "seed": 3, "key": 7}
    assert redact_values(data) == {"api_key": MASK, "nested": [{"x": f"token={MASK}"}], "seed": 3, "key": 7}


@pytest.mark.parametrize("text", ["a", "key", "key = ", "eyJ", "http://", "_key=", "token='"])
def test_no_text_takes_more_than_linear_time(text: str) -> None:
    # Quadratic time for half a million characters would be minutes, and the test would be stopped.
    assert len(redact_text(text * (500_000 // len(text)))) > 1000
