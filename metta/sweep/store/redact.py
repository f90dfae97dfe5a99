"""Taking secrets out of what is written down: command lines, diffs, texts.

A name is secret by its last word (HF_TOKEN, --api-key, db_password). Known values are taken out wherever they stand.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from typing import Any, Final

from metta.sweep.redaction import MASK, SHORTEST, Redactor

_SECRET_WORDS: Final = (
    *("token", "key", "secret", "secrets", "password", "passwords", "passwd", "passphrase"),
    *("pwd", "credential", "credentials", "authorization"),
)
_HARMLESS: Final = frozenset(
    {"metric_key", "cost_key", "cache_key", "sort_key", "primary_key", "pwd", "oldpwd", "monkey", "turkey"}
)

# The patterns begin at the secret word, not at the name that it ends, and every part is bounded: so no text takes long.
_WORD: Final = rf"(?P<word>{'|'.join(sorted(_SECRET_WORDS, key=len, reverse=True))})"
_BEFORE: Final = re.compile(r"[A-Za-z0-9_.\-]{0,80}\Z")
# name = "value", name: 'value', "name": "value"
_QUOTED: Final = re.compile(
    rf"(?i:{_WORD}(?P<sign>[\"']?\s{{0,80}}[:=]\s{{0,80}}(?P<quote>[\"']))[^\"'\n]{{1,4000}}(?P=quote))"
)
# name=value, name: value; with a digit or in capitals, else `key=len` and `token: str` of program text would go
_BARE: Final = re.compile(
    rf"(?i:{_WORD}(?P<sign>\s{{0,80}}[:=]\s{{0,80}})(?P<value>[^\s\"'(){{}}\[\],;]+)(?![\w(\[.]))"
)
_IN_ADDRESS: Final = re.compile(
    r"(?P<start>\b[a-z][a-z0-9+.\-]{0,20}://[^\s/:@]{0,100}:)[^\s/@]{1,200}@", re.IGNORECASE
)
_SHAPES: Final = re.compile(
    r"""\b(?:gh[pousr]_[A-Za-z0-9]{20,} | github_pat_\w{20,} | hf_[A-Za-z0-9]{20,} | sk-[A-Za-z0-9_\-]{20,}
        | xox[abprs]-[A-Za-z0-9\-]{10,} | AKIA[0-9A-Z]{16} | glpat-[\w\-]{20,}
        | eyJ[\w\-]{10,2000}\.[\w\-]{10,4000}\.[\w\-]{0,2000})
      | -----BEGIN[ A-Z]*PRIVATE\ KEY-----[\s\S]*?(?:-----END[ A-Z]*PRIVATE\ KEY-----|\Z)""",
    re.VERBOSE,
)


def is_secret_name(name: str) -> bool:
    """Whether what has this name is a secret: "HF_TOKEN" and "--api-key" are, "tokenizer" and "metric_key" are not."""
    plain = name.lstrip("-").replace("-", "_").rpartition(".")[2].lower()
    return plain.endswith(_SECRET_WORDS) and plain not in _HARMLESS


def redact_arguments(arguments: Iterable[str], secrets: Collection[str] = ()) -> list[str]:
    """A command line without the values of secret options, such as `--token x`, `--token=x` and `api.key=x`."""
    redacted: list[str] = []
    is_value = False
    for argument in arguments:
        name, sign, _ = argument.partition("=")
        if is_value and not argument.startswith("--"):
            redacted.append(MASK)
        elif sign and is_secret_name(name):
            redacted.append(f"{name}={MASK}")
        else:
            redacted.append(redact_text(argument, secrets))
        is_value = not sign and argument.startswith("-") and is_secret_name(argument)
    return redacted


def redact_text(text: str, secrets: Collection[str] = ()) -> str:
    """A text without these secrets, values that follow secret names, passwords in addresses and well-known tokens."""
    text = Redactor(secrets).text(text)
    text = _SHAPES.sub(MASK, text)
    text = _IN_ADDRESS.sub(rf"\g<start>{MASK}@", text)
    text = _QUOTED.sub(_without_quoted, text)
    return _BARE.sub(_without_bare, text)


def redact_values(data: Any, secrets: Collection[str] = ()) -> Any:
    """JSON values without the texts under secret names and without these secrets."""
    if isinstance(data, str):
        return redact_text(data, secrets)
    if isinstance(data, Mapping):
        return {
            name: MASK if isinstance(value, str) and is_secret_name(str(name)) else redact_values(value, secrets)
            for name, value in data.items()
        }
    return [redact_values(value, secrets) for value in data] if isinstance(data, (list, tuple)) else data


def _without_quoted(match: re.Match[str]) -> str:
    if not is_secret_name(_name(match)):
        return match[0]
    return f"{match['word']}{match['sign']}{MASK}{match['quote']}"


def _without_bare(match: re.Match[str]) -> str:
    name, value = _name(match), match["value"]
    is_literal = name.isupper() or (len(value) >= SHORTEST and any(character.isdigit() for character in value))
    is_password = "passw" in name.lower() or "secret" in name.lower()
    if not is_secret_name(name) or not (is_literal or is_password):
        return match[0]
    return f"{match['word']}{match['sign']}{MASK}"


def _name(match: re.Match[str]) -> str:
    """The whole name that ends in the secret word of a match."""
    start = match.start()
    before = _BEFORE.search(match.string, max(0, start - 80), start)
    return f"{before[0] if before else ''}{match['word']}"
