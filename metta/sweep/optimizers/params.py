"""The parameters of trials as JSON values, in a journal and in the states of optimizers."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final

from metta.sweep.errors import DamagedError, UsageError
from metta.sweep.space import Choice, SearchSpace

_TAG: Final = "$"
_PLAIN: Final = (str, int, bool, type(None))


class ParamsCodec:
    """Parameters as JSON values and back.

    Numbers, text, None and lists and dicts of them stand as they are. A value of a `Choice` that is none of these (a
    class, say) stands as its place among the choices, so that only someone who has the space gets it back.

    Args:
        space: of the sweep; None for a reader that has none, who gets text in the place of such values.
    """

    def __init__(self, space: SearchSpace | None) -> None:
        self._space = space

    def encode(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """`params` as JSON values.

        Raises:
            UsageError: a value cannot be stored.
        """
        return {path: self._encode(path, params[path]) for path in params}

    def decode(self, data: Mapping[str, Any]) -> dict[str, Any]:
        """The parameters that `encode` wrote.

        Raises:
            DamagedError: a value is not among the choices of the space.
        """
        if not any(isinstance(value, dict | list) for value in data.values()):
            return dict(data)
        return {path: self._decode(path, value) for path, value in data.items()}

    def _encode(self, path: str, value: object) -> object:
        kind = type(value)
        if kind in _PLAIN or (kind is float and math.isfinite(value)):  # type: ignore[arg-type]
            return value
        distribution = None if self._space is None else self._space.get(path)
        if isinstance(value, list | tuple):
            items = [self._encode(path, item) for item in value]
            return items if kind is list else {_TAG: "tuple", "items": items}
        if isinstance(value, dict) and all(type(key) is str for key in value) and _TAG not in value:
            return {key: self._encode(path, item) for key, item in value.items()}
        if isinstance(distribution, Choice):
            for index, known in enumerate(distribution.values):
                if known is value or (type(known) is kind and known == value):
                    return {_TAG: "choice", "index": index, "text": f"{value!r:.200}"}
        if isinstance(value, float):
            number = float(value)
            return number if math.isfinite(number) else {_TAG: "float", "value": str(number)}
        for plain in (int, str):
            if isinstance(value, plain):  # an enum's member, a named number
                return plain(value)
        if kind.__module__ == "numpy" and hasattr(value, "item"):
            return self._encode(path, value.item())
        raise UsageError(
            f"the parameter {path!r} is a {kind.__module__}.{kind.__qualname__}, which cannot be stored: "
            f"search it with Choice([...]), or run the sweep with store=None"
        )

    def _decode(self, path: str, data: Any) -> Any:
        if isinstance(data, list):
            return [self._decode(path, item) for item in data]
        if not isinstance(data, dict):
            return data
        match data.get(_TAG):
            case None:
                return {key: self._decode(path, item) for key, item in data.items()}
            case "tuple":
                return tuple(self._decode(path, item) for item in data["items"])
            case "float":
                return float(data["value"])
            case _ if self._space is None:
                return str(data["text"])
        distribution = self._space.get(path)
        if not isinstance(distribution, Choice) or not 0 <= data["index"] < len(distribution.values):
            raise DamagedError(f"the parameter {path!r} was {data['text']}, which the search space no longer has")
        return distribution.values[data["index"]]
