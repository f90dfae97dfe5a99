"""What a notebook shows of a pipeline: the graph that it compiles to."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, cast

from metta.sweep.errors import UserError

if TYPE_CHECKING:
    from metta.sweep.pipeline.typed import AnyPipeline


class Shown:
    """A pipeline that is an output of a notebook."""

    __slots__ = ()

    def _repr_html_(self) -> str | None:
        return self._repr_mimebundle_().get("text/html")

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, str]:
        # One that is not finished, or has mistakes, is shown as `repr` has it; `compile()` tells what is wrong.
        with contextlib.suppress(UserError):
            return cast("AnyPipeline", self).compile()._repr_mimebundle_()
        return {"text/plain": repr(self)}
