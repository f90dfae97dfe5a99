"""Masking secrets in text that is kept or shown: logs, messages, tracebacks.

What counts as a secret is the value of an environment variable whose name says so, and whatever a caller adds (the
content of a `SecretStr`, say). Values shorter than 8 characters are left alone: masking every "false" or "1234" would
spoil the text and hide nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

MASK: Final = "***"
SHORTEST: Final = 8
"""Characters of the shortest value that is masked."""

_TELLING: Final = re.compile("TOKEN|KEY|SECRET|PASSWORD|CREDENTIAL", re.IGNORECASE)


def secrets_in(environment: Mapping[str, str]) -> frozenset[str]:
    """The values of those variables whose name contains TOKEN, KEY, SECRET, PASSWORD or CREDENTIAL."""
    return frozenset(
        value for name, value in environment.items() if len(value) >= SHORTEST and _TELLING.search(name) is not None
    )


class Redactor:
    """Replaces secrets by `***`.

    Args:
        secrets: the values; those that are too short are skipped. A value of several lines is also masked line by
            line, and every value also in the form in which `repr` shows it.
    """

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        forms = {form for secret in secrets for form in _forms(secret) if len(form) >= SHORTEST}
        # Longest first: of two secrets that begin alike, the longer one is masked as a whole.
        self._forms = sorted(forms, key=lambda form: (-len(form), form))
        self._pattern = re.compile("|".join(map(re.escape, self._forms))) if forms else None

    def text(self, text: str) -> str:
        """The text with every secret masked."""
        return text if self._pattern is None else self._pattern.sub(MASK, text)

    def stream(self) -> StreamRedactor:
        """A redactor for output that arrives in pieces."""
        return StreamRedactor([form.encode("utf-8", "surrogateescape") for form in self._forms])


class StreamRedactor:
    """Masks secrets in bytes that arrive in pieces, also those cut in two between pieces.

    The end of a piece is held back as long as it may be the beginning of a secret.

    Args:
        secrets: the values, none of them empty; the longest first.
    """

    def __init__(self, secrets: list[bytes]) -> None:
        self._secrets = secrets
        self._longest = max(map(len, secrets), default=0)
        self._held = b""
        if secrets:
            self._pattern = re.compile(b"|".join(map(re.escape, secrets)))
            self._beginning = re.compile(b"|".join({re.escape(secret[:1]) for secret in secrets}))

    def feed(self, data: bytes) -> bytes:
        """Add a piece; what can be shown by now."""
        if not self._secrets:
            return data
        data = self._held + data
        end = self._safe_end(data)
        shown = bytearray()
        position = 0
        for match in self._pattern.finditer(data):
            if match.start() >= end:
                break
            shown += data[position : match.start()] + MASK.encode()
            position = match.end()
        end = max(end, position)
        self._held = data[end:]
        shown += data[position:end]
        return bytes(shown)

    def close(self) -> bytes:
        """What was held back: the stream has ended."""
        held, self._held = self._held, b""
        return self._pattern.sub(MASK.encode(), held) if held else b""

    def _safe_end(self, data: bytes) -> int:
        """Where the first secret may begin that is not complete yet; the length of `data` where none does."""
        for match in self._beginning.finditer(data, max(0, len(data) - self._longest + 1)):
            rest = data[match.start() :]
            if any(len(secret) > len(rest) and secret.startswith(rest) for secret in self._secrets):
                return match.start()
        return len(data)


def _forms(secret: str) -> Iterator[str]:
    yield secret
    yield repr(secret)[1:-1]
    lines = secret.splitlines()
    if len(lines) > 1:
        yield from lines
