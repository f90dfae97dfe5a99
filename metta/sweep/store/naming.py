"""Names of folders from names of users, who may call things as they like."""

from __future__ import annotations

import re
import unicodedata
from hashlib import blake2b
from typing import Final

LONGEST_SLUG: Final = 60

_PLAIN: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.\-]{0,199}")
_OTHER: Final = re.compile(r"[^A-Za-z0-9_]+")


def is_plain(name: str) -> bool:
    """Whether the folder of a run may be called so: letters, digits, "_", "-" and ".", which mean nothing to a shell.

    Every name that a store gives is plain; a folder that somebody has put there may be called anything, and commands
    that are printed to be copied hold its name.
    """
    return _PLAIN.fullmatch(name) is not None


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


def natural_order(name: str) -> list[tuple[int, str]]:
    """A key that sorts "trial-2" before "trial-10"."""
    # Python makes no number of more than 4,300 digits.
    return [(int(part[:4000]), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", name)]


def stage_path(key: str) -> str:
    """The relative folder of a stage, by its key: "conditional.then.fit" lies in `conditional/then/fit`."""
    return "/".join(unique_slug(part, "stage") for part in key.split("."))
