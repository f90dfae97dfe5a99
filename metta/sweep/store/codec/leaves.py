"""Values without parts of their own, as JSON and back: numbers, text, bytes, dates, paths, UUIDs.

What JSON has itself (None, bool, most numbers, most text) never comes here.
"""

from __future__ import annotations

import base64
import datetime
import math
import pathlib
import sys
import uuid
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any, Final

from metta.sweep.errors import UsageError
from metta.sweep.store.codec.place import CannotStore

_MICROSECOND: Final = datetime.timedelta(microseconds=1)

# Python takes quadratic time for long decimal numbers, and refuses very long ones (sys.set_int_max_str_digits).
LARGEST_INT: Final = 1 << 256


def is_plain_float(value: float) -> bool:
    """Whether JSON knows the number."""
    return math.isfinite(value)


def is_plain_int(value: int) -> bool:
    """Whether the number is written as JSON's."""
    return -LARGEST_INT < value < LARGEST_INT


def is_plain_text(value: str) -> bool:
    """Whether the text has a UTF-8 form: half a surrogate pair, as in the names of odd files, has none."""
    if value.isascii():
        return True
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def text_node(value: str) -> object:
    """A text, whatever is in it."""
    if is_plain_text(value):
        return value
    return {"$": "str", "value": _base64(value.encode("utf-8", "surrogatepass"))}


def _text(node: Any) -> str:
    if isinstance(node, str):
        return node
    return base64.b64decode(node["value"], validate=True).decode("utf-8", "surrogatepass")


def _base64(value: bytes) -> str:
    return base64.b64encode(value).decode("ascii")


def _zone(value: datetime.datetime | datetime.time) -> object:
    """A time zone: a key of the IANA database, or its offset, which is all that ISO 8601 knows of it."""
    zone = value.tzinfo
    if zone is None:
        return None
    zoneinfo = sys.modules.get("zoneinfo")
    if zoneinfo is not None and isinstance(zone, zoneinfo.ZoneInfo):
        key: str | None = zone.key
        if key is not None:
            return {"key": key}
    offset = value.utcoffset()
    if offset is None:
        raise CannotStore(f"has the time zone {zone!r}, which has no offset there; use a zoneinfo.ZoneInfo")
    node: dict[str, object] = {"offset": offset // _MICROSECOND}
    name = zone.tzname(None) if type(zone) is datetime.timezone else None
    if name != datetime.timezone(offset).tzname(None) and name is not None:
        node["name"] = text_node(name)
    return node


def _zone_from(node: Any) -> datetime.tzinfo | None:
    if node is None:
        return None
    if "key" in node:
        import zoneinfo

        try:
            return zoneinfo.ZoneInfo(node["key"])
        except (zoneinfo.ZoneInfoNotFoundError, OSError):  # OSError: the name of a folder of zones
            raise UsageError(
                f"the stored time has the zone {node['key']!r:.80}, which this machine does not know: "
                "pip install tzdata"
            ) from None
    offset = datetime.timedelta(microseconds=node["offset"])
    return datetime.timezone(offset, _text(node["name"])) if "name" in node else datetime.timezone(offset)


def _moment(value: datetime.datetime | datetime.time) -> list[object]:
    return [value.replace(tzinfo=None, fold=0).isoformat(), _zone(value), value.fold]


def _complex(value: complex) -> list[str]:
    return [repr(value.real), repr(value.imag)]


def _path(value: pathlib.PurePath) -> list[object]:
    return [_PATHS[type(value)], text_node(str(value))]


def _duration(value: datetime.timedelta) -> list[int]:
    return [value.days, value.seconds, value.microseconds]


def _path_from(node: Any) -> pathlib.PurePath:
    kind, text = node
    return _PATH_CLASSES[kind](_text(text))


def _date_from(node: Any) -> datetime.date:
    return datetime.date.fromisoformat(node)


def _time_from(node: Any) -> datetime.time:
    text, zone, fold = node
    return datetime.time.fromisoformat(text).replace(tzinfo=_zone_from(zone), fold=fold)


def _datetime_from(node: Any) -> datetime.datetime:
    text, zone, fold = node
    return datetime.datetime.fromisoformat(text).replace(tzinfo=_zone_from(zone), fold=fold)


# A concrete path belongs to the machine: it is a Path of the one that reads it.
_PATH_CLASSES: Final[Mapping[str, type[pathlib.PurePath]]] = {
    "Path": pathlib.Path,
    "PurePosixPath": pathlib.PurePosixPath,
    "PureWindowsPath": pathlib.PureWindowsPath,
}
_PATHS: Final[Mapping[type, str]] = {
    pathlib.PosixPath: "Path",
    pathlib.WindowsPath: "Path",
    pathlib.PurePosixPath: "PurePosixPath",
    pathlib.PureWindowsPath: "PureWindowsPath",
}

WRITERS: Final[Mapping[type, tuple[str, Callable[[Any], object]]]] = {
    bytes: ("bytes", _base64),
    complex: ("complex", _complex),
    Decimal: ("decimal", str),
    datetime.datetime: ("datetime", _moment),
    datetime.date: ("date", datetime.date.isoformat),
    datetime.time: ("time", _moment),
    datetime.timedelta: ("timedelta", _duration),
    uuid.UUID: ("uuid", str),
    **dict.fromkeys(_PATHS, ("path", _path)),
}
"""Class -> the tag and the JSON value of its instances."""

READERS: Final[Mapping[str, Callable[[Any], Any]]] = {
    "float": float,
    "int": lambda node: int(node, 16),
    "str": lambda node: _text({"value": node}),
    "bytes": lambda node: base64.b64decode(node, validate=True),
    "complex": lambda node: complex(float(node[0]), float(node[1])),
    "decimal": Decimal,
    "datetime": _datetime_from,
    "date": _date_from,
    "time": _time_from,
    "timedelta": lambda node: datetime.timedelta(*node),
    "uuid": uuid.UUID,
    "path": _path_from,
}
"""Tag -> how its JSON value is read back."""
