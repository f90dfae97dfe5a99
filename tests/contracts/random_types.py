"""Random (source, target) pairs of types as text, half of them related: the target is a variation of the source."""

from __future__ import annotations

import random

_TEXT = (
    "int float bool str bytes complex None object Any Animal Dog Cat Puppy MyInt UserId AdminId Color "
    "Level Mode Point Data Frozen Wide Movie LongMovie MaybeMovie AnyMovie ReadMovie Ints Scores IntBox "
    "IntTuple PairTuple HasName Barks HasX ReadX Runs Impl Base IterOnly GenIter Loader Trials Names "
    "SupportsLen CallMe CallPositional Counts CountsMore Node Linked Waits range Literal[1] Literal[True] "
    'Literal["a"] Literal["a","b"] Literal[Color.RED] tuple[()] Hashable Sized Flag Number Json Never '
)
_LEAVES = _TEXT.split()

# What a leaf may turn into: wider or narrower, so that the answer is often yes and sometimes just no.
_KIN = {
    "int": ["float", "bool", "MyInt", "UserId", "Literal[1]", "Level"],
    "float": ["int", "complex", "bool"],
    "str": ['Literal["a"]', "Mode", "Flag", "Sequence[str]"],
    "Animal": ["Dog", "Cat", "HasName", "Puppy"],
    "Dog": ["Animal", "Puppy", "Barks", "HasName"],
    "Color": ["Literal[Color.RED]", "Literal[Color.RED, Color.BLUE]"],
    "Movie": ["LongMovie", "MaybeMovie", "ReadMovie", "Mapping[str, object]", "dict[str, object]"],
    "Point": ["tuple[int, str]", "tuple[int | str, ...]", "ReadX"],
    "Scores": ["dict[str, float]", "Mapping[str, float]"],
    "Ints": ["list[int]", "Sequence[float]"],
    "Loader": ["Iterable[Dog]", "Iterable[Animal]", "Sized"],
}

# Constructors that stand near each other: (name, number of arguments).
_FAMILIES = [
    [("list", 1), ("Sequence", 1), ("Iterable", 1), ("MutableSequence", 1), ("Collection", 1), ("Listing", 1)],
    [("set", 1), ("frozenset", 1), ("Set", 1), ("Collection", 1), ("Iterable", 1), ("Container", 1)],
    [("dict", 2), ("Mapping", 2), ("MutableMapping", 2), ("collections.OrderedDict", 2)],
    [("Iterator", 1), ("Iterable", 1), ("collections.deque", 1), ("Reversible", 1)],
    [("Box", 1), ("Source", 1), ("Getter", 1), ("ListBox", 1)],
    [("Sink", 1), ("Putter", 1)],
    [("Pair", 2), ("StrPair", 1)],
    [("Awaitable", 1), ("asyncio.Future", 1), ("asyncio.Task", 1)],
    [("Wrapped", 1)],
    [("Tagged", 1)],
    [("Many", 1), ("list", 1)],
    [("Registry", 1)],
]


class Generator:
    """Pairs from a seed: the same seed gives the same pairs."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)

    def pairs(self, count: int) -> list[tuple[str, str]]:
        """`count` pairs of types."""
        return [self._pair() for _ in range(count)]

    def _pair(self) -> tuple[str, str]:
        source = self.type(self._random.randint(0, 3))
        if self._random.random() < 0.25:
            return source[0], self.type(self._random.randint(0, 2))[0]
        return source[0], self.vary(source[1])

    def type(self, depth: int) -> tuple[str, object]:
        """A type as text, and as the tree that `vary` works on."""
        tree = self._tree(depth)
        return _text(tree), tree

    def vary(self, tree: object) -> str:
        """A type near the one that `tree` describes, as text."""
        return _text(self._varied(tree))

    def _tree(self, depth: int) -> object:
        choose = self._random
        if depth == 0:
            return choose.choice(_LEAVES)
        kind = choose.choices(
            ["generic", "union", "tuple", "variadic", "callable", "type", "leaf"], [8, 4, 3, 1, 4, 1, 2]
        )[0]
        match kind:
            case "generic":
                name, count = choose.choice(choose.choice(_FAMILIES))
                return ("generic", name, [self._tree(depth - 1) for _ in range(count)])
            case "union":
                return ("union", "", [self._tree(depth - 1) for _ in range(choose.randint(2, 3))])
            case "tuple":
                return ("tuple", "", [self._tree(depth - 1) for _ in range(choose.randint(1, 3))])
            case "variadic":
                return ("variadic", "", [self._tree(depth - 1)])
            case "callable":
                return ("callable", "", [self._tree(depth - 1) for _ in range(choose.randint(1, 3))])
            case "type":
                return ("type", "", [choose.choice(["int", "bool", "Animal", "Dog", "Color", "Base", "Any", "object"])])
        return choose.choice(_LEAVES)

    def _varied(self, tree: object) -> object:
        choose = self._random
        chance = choose.random()
        if isinstance(tree, str):
            if chance < 0.35 and tree in _KIN:
                return choose.choice(_KIN[tree])
            if chance < 0.42:
                return choose.choice(["Any", "object", *_LEAVES])
            return ("union", "", [tree, choose.choice(_LEAVES)]) if chance < 0.47 else tree
        assert isinstance(tree, tuple)
        kind, name, parts = tree
        if chance < 0.06:
            return choose.choice(["Any", "object", *_LEAVES])
        if chance < 0.14 and kind == "union":
            return choose.choice(parts)
        if chance < 0.2:
            return ("union", "", [tree, self._tree(0)])
        if kind == "tuple" and chance < 0.3:
            return ("variadic", "", [("union", "", parts) if len(parts) > 1 else parts[0]])
        if kind == "callable" and chance < 0.28:
            return ("callable", "", parts[1:] or parts)
        varied = [self._varied(part) for part in parts]
        if kind == "union":
            choose.shuffle(varied)
        if kind == "generic" and chance < 0.55:
            families = [family for family in _FAMILIES if any(each[0] == name for each in family)]
            near = [each for each in choose.choice(families) if each[1] == len(varied)]
            name = choose.choice(near)[0]
        return (kind, name, parts if kind == "type" else varied)


def _text(tree: object) -> str:
    if isinstance(tree, str):
        return tree
    assert isinstance(tree, tuple)
    kind, name, parts = tree
    inner = [_text(part) for part in parts]
    match kind:
        case "union":
            # Written with Union: `None | None` and `Literal | str` do not evaluate everywhere.
            return f"Union[{', '.join(inner)}]"
        case "tuple":
            return f"tuple[{', '.join(inner)}]"
        case "variadic":
            return f"tuple[{inner[0]}, ...]"
        case "callable":
            return f"Callable[[{', '.join(inner[:-1])}], {inner[-1]}]"
        case "type":
            return f"type[{inner[0]}]"
    return f"{name}[{', '.join(inner)}]"
