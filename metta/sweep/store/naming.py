"""Names of folders from names of users, who may call things as they like."""

from __future__ import annotations

import re
import unicodedata
from hashlib import blake2b
from typing import Final

LONGEST_SLUG: Final = 60

_OTHER: Final = re.compile(r"[^A-Za-z0-9_]+")


def slug(name: str, default: str = "run") -> str:
    """The name in letters, digits, "_" and single "-" in between, at most 60; `default` where nothing is left of it.

    Accents are taken off; different names may have the same slug.
    """
    plain = unicodedata.normalize("NFKD", name[:1000]).encode("ascii", "ignore").decode()
    return _OTHER.sub("-", plain).strip("-")[:LONGEST_SLUG].rstrip("-") or default


def unique_slug(name: str, default: str = "item") -> str:
    """A slug that different names do not share: where it is not the name itself, a digest of the name follows it."""
    text = slug(name, default)
    if text == name:
        return text
    digest = blake2b(name.encode("utf-8", "surrogatepass"), digest_size=4).hexdigest()
    return f"{text[: LONGEST_SLUG - 9].rstrip('-')}-{digest}"
