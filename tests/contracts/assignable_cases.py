"""(source, target) pairs, as text. The expected verdict is not here: mypy gives it when the tests run."""

from __future__ import annotations

# One line: a source and the targets it is tried against.
TABLE = """
int -> int ; float ; complex ; bool ; str ; object ; Any ; None ; int | None ; Literal[1] ; decimal.Decimal
bool -> int ; float ; Literal[True, False] ; Literal[True] ; Literal[True, False] | None ; complex
float -> int ; complex ; float | str ; fractions.Fraction ; numbers.Number ; numbers.Real
int -> numbers.Number ; MyInt ; UserId ; SupportsInt ; SupportsFloat ; SupportsIndex ; SupportsAbs[int] ;
    SupportsAbs[str]
MyInt -> int ; float ; bool ; SupportsIndex
bytes -> bytearray ; Sequence[int] ; str ; Iterable[str]
bytearray -> bytes ; MutableSequence[int] ; Sequence[float]
memoryview -> bytes ; Sequence[int]
str -> Sequence[str] ; Iterable[str] ; Iterable[object] ; Sequence[int] ; list[str] ; Container[str] ;
    Collection[str] ; Hashable ; LiteralString ; Reversible[str]
None -> None ; int ; Optional[int] ; object ; Hashable ; Sized ; Any ; HasName
Any -> int ; None ; list[int] ; HasName ; Never
object -> object ; int ; Any ; Hashable
Never -> int ; None ; list[int] ; Never
NoReturn -> str
int | str -> int ; int | str ; str | int | None ; object ; float | str ; Union[str, float] ; Hashable
int | Any -> int ; str
Optional[int] -> int ; int | None ; float | None ; Optional[str]
bool | None -> Literal[True, False, None] ; int | None
list -> list[int] ; Sequence[str] ; list[Any]
list[int] -> list ; list[Any] ; list[float] ; list[bool] ; list[int | str] ; list[object] ; Sequence[int] ;
    Sequence[float] ; Iterable[object] ; MutableSequence[int] ; MutableSequence[float] ; tuple[int, ...] ;
    Hashable ; Sized ; Collection[int] ; Reversible[float] ; Container[str] ; SupportsLen ; Iterator[int] ;
    list[int] | None ; Ints
list[Any] -> list[int] ; Sequence[str] ; dict[str, Any]
list[bool] -> list[int] ; Sequence[int] ; list[bool | int]
list[int | bool] -> list[int] ; list[bool]
list[list[int]] -> list[list[Any]] ; list[Sequence[int]] ; Sequence[Sequence[float]] ; Iterable[list[float]]
list[Dog] -> list[Animal] ; Sequence[Animal] ; Sequence[Puppy] ; Iterable[HasName]
dict -> dict[str, int] ; Mapping[str, Any]
dict[str, int] -> dict[str, float] ; dict[str, int] ; Mapping[str, int] ; Mapping[str, float] ;
    Mapping[object, int] ; MutableMapping[str, int] ; MutableMapping[str, float] ; Mapping[Any, Any] ;
    Iterable[str] ; Iterable[int] ; Container[str] ; dict ; dict[str, Any] ; Movie ;
    collections.OrderedDict[str, int] ; Sized ; Hashable
collections.OrderedDict[str, int] -> dict[str, int] ; Mapping[str, float] ; dict[str, float] ; Reversible[str]
collections.defaultdict[str, int] -> dict[str, int] ; Mapping[str, int] ; collections.OrderedDict[str, int]
collections.Counter[str] -> dict[str, int] ; Mapping[str, float] ; dict[str, float] ; collections.Counter[Any]
collections.deque[int] -> MutableSequence[int] ; Sequence[float] ; list[int] ; Hashable
set[int] -> set[float] ; Set[float] ; frozenset[int] ; MutableSet[int] ; Iterable[int] ; Collection[int] ;
    Hashable
frozenset[int] -> frozenset[float] ; Set[object] ; set[int] ; Hashable
range -> Sequence[int] ; Iterable[float] ; list[int]
Mapping[str, int] -> dict[str, int] ; Mapping[str, float] ; Mapping[str, object] ; Mapping[Any, int] ; Hashable
Sequence[int] -> list[int] ; Iterable[float] ; Sequence[float] ; tuple[int, ...] ; Hashable ; Sized
Iterable[int] -> Iterator[int] ; Sequence[int] ; Iterable[float] ; Sized ; Collection[int]
Iterator[int] -> Iterable[int] ; Generator[int, None, None]
Collection[int] -> Sized ; Iterable[int] ; Container[int] ; Sequence[int]
Generator[int, str, bool] -> Iterator[int] ; Iterable[float] ; Generator[float, str, int] ;
    Generator[int, object, bool] ; Generator[int, Literal["a"], bool] ; Iterator[str]
KeysView[str] -> Set[str] ; Iterable[str] ; Collection[object] ; Sequence[str] ; Reversible[str]
ItemsView[str, int] -> Iterable[tuple[str, int]] ; Set[tuple[str, float]]
Coroutine[Any, Any, int] -> Awaitable[int] ; Awaitable[float] ; Awaitable[str] ; int ;
    Coroutine[Any, Any, float]
asyncio.Future[int] -> Awaitable[int] ; Awaitable[float] ; asyncio.Future[float]
asyncio.Task[int] -> Awaitable[int] ; asyncio.Future[int] ; asyncio.Task[float] ; asyncio.Future[str]
Waits -> Awaitable[int] ; Awaitable[float] ; Awaitable[str] ; Coroutine[Any, Any, int]
AsyncIterator[int] -> AsyncIterable[float] ; AsyncIterator[object] ; Iterable[int]
AsyncIter -> AsyncIterable[int] ; AsyncIterable[str]
Manager -> contextlib.AbstractContextManager[int] ; contextlib.AbstractContextManager[str]
IterOnly -> Iterable[int] ; Iterable[float] ; Iterable[str] ; Iterator[int] ; Sized ; Sequence[int]
GenIter -> Iterable[str] ; Iterable[int]
GetItemOnly -> Iterable[int]
Loader -> Iterable[Dog] ; Iterable[Animal] ; Sized ; Collection[Dog] ; Iterable[int] ; SupportsLen
tuple -> tuple[int, ...] ; tuple[int, str] ; tuple[Any, ...]
tuple[int, str] -> tuple[int, str] ; tuple[float, object] ; tuple[int, ...] ; tuple[int | str, ...] ; tuple[int] ;
    tuple[int, str, int] ; Sequence[int | str] ; Sequence[object] ; Iterable[int] ; tuple ; Hashable ; Sized ;
    list[int | str] ; tuple[()] ; Point ; object
tuple[int, ...] -> tuple[int, int] ; tuple[float, ...] ; Sequence[int] ; tuple[()] ;
    tuple[int, Unpack[tuple[int, ...]]]
tuple[()] -> tuple[int, ...] ; tuple[()] ; tuple[int] ; Sequence[int]
tuple[Any, ...] -> tuple[int, str] ; tuple[int, ...]
tuple[int, Unpack[tuple[str, ...]]] -> tuple[int | str, ...] ; tuple[int, ...] ;
    tuple[int, Unpack[tuple[object, ...]]] ; tuple[int, str]
tuple[int, str, str] -> tuple[int, Unpack[tuple[str, ...]]] ; tuple[Unpack[tuple[int, ...]], str]
tuple[bool, list[int]] -> tuple[int, Sequence[int]] ; tuple[int, list[float]]
IntTuple -> tuple[int, ...] ; tuple[float, ...] ; tuple[int, int] ; Sequence[int]
PairTuple -> tuple[int, str] ; tuple[str, str] ; tuple[int | str, ...] ; Sequence[object]
Point -> tuple[int, str] ; tuple[int, ...] ; tuple[int | str, ...] ; tuple ; Sequence[int | str] ; Point ;
    NamedTuple ; tuple[str, int] ; Hashable ; HasX ; ReadX
Deep -> tuple[list[int], tuple[int, str]] ; tuple[list[float], tuple[int, str]]
Tagged[int] -> Tagged[float] ; Tagged[str] ; tuple[str, int] ; tuple[str, str] ; Tagged[int]
"""
TABLE += """
dict[str, int] -> Getter[int]
Painted -> HasX ; Barks
Dog -> Animal ; Cat ; Puppy ; HasName ; HasReadName ; Barks ; BarksLoud ; BarksWide ; Hashable ; object
Animal -> Dog ; HasName ; Barks
Puppy -> Animal ; Barks
Impl -> Base ; Runs
UserId -> int ; float ; AdminId ; UserId ; SupportsInt ; str
AdminId -> UserId ; int
Names -> list[str] ; Sequence[str] ; list[int]
list[UserId] -> list[int] ; Sequence[int]
Box[int] -> Box[int] ; Box[float] ; Box[Any] ; Box
Box -> Box[int]
IntBox -> Box[int] ; Box[str] ; Box[float]
ListBox[int] -> Box[list[int]] ; Box[list[str]]
Source[int] -> Source[float] ; Source[object] ; Source[str] ; Getter[int] ; Getter[float] ; Getter[str]
Sink[float] -> Sink[int] ; Sink[object] ; Putter[int] ; Putter[float] ; Putter[str]
StrPair[int] -> Pair[str, int] ; Pair[str, float] ; Pair[int, int]
Defaulted -> Defaulted[int] ; Defaulted[str]
Ints -> list[int] ; Sequence[int] ; Sequence[float] ; list[float]
Listing[int] -> list[int] ; list[float] ; Listing[int] ; Sequence[float]
Scores -> dict[str, float] ; Mapping[str, float] ; Mapping[str, int] ; dict[str, int]
Trials -> Sequence[Dog] ; Iterable[Animal] ; Sequence[Cat]
Registry[int] -> Mapping[str, int] ; Mapping[str, float] ; Registry[float] ; Mapping[int, int]
Color -> Color ; Literal[Color.RED] ; Literal[Color.RED, Color.BLUE] ; enum.Enum ; int ; Hashable
Literal[Color.RED] -> Color ; Literal[Color.RED, Color.BLUE] ; Literal[Color.BLUE] ; enum.Enum
Single -> Literal[Single.ONLY] ; Literal[Single.ONLY] | None
Level -> int ; float ; enum.IntEnum ; Literal[Level.LOW, Level.HIGH]
Mode -> str ; Sequence[str] ; enum.StrEnum
Literal[1] -> int ; float ; Literal[1, 2] ; Literal[2] ; bool ; Literal[True] ; object ; Hashable ; SupportsInt
Literal[True] -> bool ; int ; Literal[1] ; Literal[True, False]
Literal["a"] -> str ; Literal["a", "b"] ; Sequence[str] ; Literal["b"] ; LiteralString
Literal["a", "b"] -> Literal["a"] ; Literal["b", "a", "c"] ; str ; Literal["a"] | int
Literal[b"a"] -> bytes ; str
Literal["a", None] -> str | None ; str ; Optional[Literal["a"]]
str -> Literal["a"] ; Mode
list[Literal[1]] -> list[int] ; Sequence[int]
Annotated[int, "x"] -> int ; float ; Annotated[int, "y"] ; str
Positive -> int ; Positive
int -> Annotated[float, 1] ; Positive ; Number ; Json
Number -> float ; int ; Number
Json -> Json2 ; Json ; str
dict[str, Json] -> Json ; Json2 ; Mapping[str, Json]
list[int] -> Json ; Many[int] ; Many[str]
Many[int] -> list[int] ; Sequence[float] ; Many[float]
Flag -> str ; Literal["on"]
Movie -> Movie ; LongMovie ; MaybeMovie ; LooseMovie ; AnyMovie ; ReadMovie ; ReadMaybe ; Empty ;
    Mapping[str, object] ; Mapping[str, Any] ; dict[str, Any] ; dict[str, object] ; MutableMapping[str, object] ;
    Mapping[str, int] ; Iterable[str] ; Sized ; Hashable ; object ; SupportsLen ; Copies
ClosedMovie -> Movie ; ClosedMovie ; ClosedMaybe ; ReadMovie ; ReadMaybe ; LongMovie
Movie -> ClosedMovie
ClosedMaybe -> ClosedMovie ; Movie
LongMovie -> Movie ; Empty ; ReadMovie ; MaybeMovie
MaybeMovie -> Movie ; LooseMovie ; ReadMaybe ; ReadMovie
LooseMovie -> MaybeMovie ; Movie
AnyMovie -> Movie
ReadMovie -> Movie ; ReadMovie
Empty -> ReadMaybe ; Movie
Wrapped[int] -> Wrapped[int] ; Wrapped[float] ; Wrapped[Any] ; WrappedInt
WrappedInt -> Wrapped[int] ; Wrapped[str]
Tree -> Tree2 ; Movie
dict[str, object] -> Movie ; Mapping[str, object]
Data -> HasX ; HasXWide ; ReadX ; ReadXWide ; Frozen ; Hashable ; object
Wide -> Data ; HasX
Frozen -> HasX ; ReadX ; Hashable
FinalX -> HasX ; ReadX
PropX -> HasX ; ReadX
SetX -> HasX ; ReadX ; ReadXWide
WithKind -> HasKind
WithInstanceKind -> HasKind
Maker -> Makes
StaticMaker -> Makes
MethodMaker -> Makes
Explicit -> Barks ; BarksWide ; BarksLoud
Barks -> BarksWide ; HasName ; BarksLoud
HasName -> HasReadName ; Barks
HasReadName -> HasName
Copying -> Copies
CopyingSelf -> Copies
CopyingOther -> Copies
Node -> Linked
Trainer -> Trains
StrictTrainer -> Trains
OtherNames -> Trains
Counts -> CallTwice ; CallMe ; CallPositional ; CallKeyword ; Callable[[int], str] ; Callable[[bool], object] ;
    Callable[[str], str] ; Callable[..., str] ; Callable[[], str] ; Hashable
CountsOther -> CallMe ; CallPositional ; CallKeyword ; Callable[[int], str]
CountsMore -> CallMe ; CallPositional ; Callable[[int, int, int, int], str] ; Callable[[int], str] ;
    Callable[[], str]
CountsKeyword -> CallKeyword ; CallMe ; Callable[[int], str]
CountsAll -> CallTwice ; CallMe ; CallKeyword ; CallPositional ; Callable[[], str] ; Callable[[str, str], str]
CountsAsync -> AsyncCall ; CallMe ; Callable[[int], Coroutine[Any, Any, str]] ; Callable[[int], Awaitable[str]]
AsyncCall -> CallMe ; Callable[[int], Awaitable[object]]
CallMe -> CallPositional ; CallKeyword ; Callable[[int], str] ; Counts
CallPositional -> CallMe ; Callable[[int], str]
Callable[[int], str] -> Callable[[int], str] ; Callable[[bool], str] ; Callable[[float], str] ;
    Callable[[int], object] ; Callable[[int], int] ; Callable[[int], None] ; Callable[[], str] ;
    Callable[[int, int], str] ; Callable[..., str] ; Callable[..., Any] ; Callable ; CallMe ; CallPositional ;
    object ; Hashable ; types.FunctionType ; type[int] ; int
Callable[..., int] -> Callable[[int, str], int] ; Callable[[], float] ; Callable[..., str] ; CallMe
Callable -> Callable[[int], str] ; CallMe
Callable[[], int] -> Callable[[], float] ; Callable[[], None]
Callable[[Callable[[int], int]], int] -> Callable[[Callable[[bool], int]], int] ;
    Callable[[Callable[[int], float]], int] ; Callable[[Callable[[int], bool]], int]
Callable[Concatenate[int, ...], str] -> Callable[[int, str], str] ; Callable[[str], str]
Callable[[int, str], str] -> Callable[Concatenate[int, ...], str] ; Callable[Concatenate[str, ...], str]
Callable[[Animal], Dog] -> Callable[[Dog], Animal] ; Callable[[Animal], Cat]
Op -> Callable[[bool], object]
type -> type[int] ; type ; Callable[[], int] ; object
type[int] -> type ; type[float] ; type[object] ; type[Any] ; type[str] ; type[bool] ; Callable[[str], int] ;
    Callable[..., float] ; Callable[[], str] ; object ; Hashable ; int ; Iterable[int]
type[bool] -> type[int] ; type[int | str]
type[Any] -> type[int] ; Callable[[], int] ; int ; object
type[object] -> type[int] ; type[Any]
type[int] | type[str] -> type[int | str] ; type[int]
type[int | str] -> type[int] | type[str] ; type[object]
type[Dog] -> CallMe ; Barks ; type[Animal] ; type[Cat] ; Callable[[], Dog] ; Callable[[], Animal]
type[Base] -> abc.ABCMeta ; type[Impl]
type[Impl] -> type[Base] ; Callable[..., Base]
type[Color] -> CallPositional ; enum.EnumMeta ; Iterable[Color] ; Sized ; Iterable[int] ; Hashable
abc.ABCMeta -> type[Any] ; type[int] ; type
Type[int] -> type[float] ; type[int]
typing.List[int] -> list[int] ; typing.Sequence[float] ; typing.List[float]
typing.Dict[str, int] -> Mapping[str, int] ; dict[str, float]
pathlib.Path -> pathlib.PurePath ; os.PathLike[str] ; os.PathLike[bytes] ; str ; str | os.PathLike[str]
datetime.datetime -> datetime.date ; datetime.datetime ; datetime.time
ValueError -> Exception ; BaseException ; OSError ; Hashable
re.Pattern[str] -> re.Pattern[str] ; re.Pattern[bytes] ; re.Pattern[Any]
types.MappingProxyType[str, int] -> Mapping[str, int] ; Mapping[str, float] ; dict[str, int]
decimal.Decimal -> float ; SupportsFloat ; numbers.Number
"""

# The targets are parameters of a generic function.
GENERIC = """
int -> T ; list[T] ; T | None ; B ; C ; type[T]
None -> T | None ; T
int | None -> T | None
list[int] -> T ; list[T] ; Sequence[T] ; Iterable[T] ; Mapping[str, T] ; dict[T, T] ; list[B] ; list[C]
list[Dog] -> list[B] ; Sequence[B] ; B ; list[T]
list[str | int] -> list[C] ; list[T] ; Sequence[T]
dict[str, int] -> Mapping[str, T] ; Mapping[T, int] ; dict[T, T] ; Iterable[T] ; Mapping[int, T]
tuple[int, int] -> tuple[T, T] ; tuple[T, ...] ; Sequence[T] ; tuple[T] ; tuple[T, str]
tuple[list[int], list[str]] -> tuple[list[T], list[T]] ; tuple[T, T] ; tuple[list[T], list[K]]
tuple[list[int], list[int]] -> tuple[list[T], list[T]]
Dog -> B ; T ; B | None ; type[B]
type[Dog] -> type[B] ; type[T]
type[int] -> type[B] ; type[C]
str -> C ; T ; Iterable[T] ; Sequence[T] ; B
bool -> C
float -> C
Callable[[int], str] -> Callable[[T], K] ; Callable[[T], T] ; Callable[[], T] ; Callable[..., T]
Callable[[int], int] -> Callable[[T], T]
Counts -> Callable[[int], T] ; Callable[[T], str]
Source[int] -> Getter[T] ; Source[T]
IterOnly -> Iterable[T]
Loader -> Iterable[T] ; Iterable[B]
Wrapped[int] -> Wrapped[T]
Tagged[Dog] -> Tagged[B] ; tuple[str, T]
Any -> T ; list[T] ; B
Point -> tuple[T, K] ; NamedTuple
"""


def _pairs(table: str) -> list[tuple[str, str]]:
    found = []
    for line in table.replace(" ;\n", " ; ").splitlines():
        if line:
            source, targets = line.split(" -> ")
            found += [(source.strip(), target.strip()) for target in targets.split(" ; ")]
    return found


PAIRS = _pairs(TABLE)
GENERIC_PAIRS = _pairs(GENERIC)

#: Where we say None on purpose.
UNKNOWN = {
    ("dict[str, int]", "Getter[int]"): "`dict.get` is overloaded, and its signatures are in type stubs only",
    ("Painted", "HasX"): "`self.x = ...` without a declaration: its type is nowhere at run time",
}

#: Where mypy is wrong, and we do not follow.
DISAGREED = {
    (
        "type[Color]",
        "Iterable[int]",
    ): "mypy: the generic self type of EnumMeta.__iter__ is erased; iterating gives Color",
}
