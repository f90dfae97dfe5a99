from typing import Literal, overload

from numpy import float64, int_
from numpy.typing import NDArray
from sklearn.utils import Bunch

# With `as_frame=True` they are pandas objects, which this project does not use.
@overload
def load_digits(
    *, n_class: int = 10, return_X_y: Literal[False] = False, as_frame: Literal[False] = False
) -> Bunch: ...
@overload
def load_digits(
    *, n_class: int = 10, return_X_y: Literal[True], as_frame: Literal[False] = False
) -> tuple[NDArray[float64], NDArray[int_]]: ...
