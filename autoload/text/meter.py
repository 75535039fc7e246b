"""What a chat template may use up, and what each of its operations costs.

The unit is one character touched. A loop turn, a call or an element of a list counts for `STEP` of them. An operation
is charged before it runs, so that the one that would take the machine never starts: `10 ** 10 ** 9` and `'ab' * 4e9`
cannot be interrupted once the interpreter is inside them.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, MappingView, Sequence
from string import Formatter
from typing import Any

from jinja2.exceptions import SecurityError
from jinja2.runtime import LoopContext, Macro
from jinja2.utils import Namespace

STEP = 16
BUDGET = 64_000_000
LARGEST = 16_000_000  # of one operation: at most about 0.5 s and 300 MB
SECONDS = 1.5  # processor time of this thread, so that a busy machine changes nothing
# A long conversation is not an attack, and templates that are in use take quadratic time. What the caller passes in
# adds to the limits: four milliseconds a message, and a second for 1.5 M characters.
GIVEN_NODE = 1_200  # a part of the caller's data counts for as many characters
GIVEN_PER_SECOND = 1_500_000
SHARE = 50
LOOK_EVERY = 2_000 * STEP
DEEPEST = 100  # nested macro calls; six frames each, well inside Python's 1,000
INTEGER_BITS = 8_192
SHORT = 20_000  # for what takes quadratic time

# A chat has no bytes, and these take quadratic time or make integers of any size
BYTES_METHODS = {"encode", "to_bytes", "from_bytes", "translate", "maketrans"}
DEEP_METHODS = {"count", "index"}  # of lists and tuples: they compare the elements
SHORT_METHODS = {"striptags", "unescape"}
SPLITS = {"split", "rsplit", "splitlines"}


class Meter:
    """The budget and the clock of one render."""

    def __init__(self, given: int = 0):
        """`given` is the weight of what the caller passed in, with `GIVEN_NODE` for each part."""
        self.left = BUDGET + SHARE * given
        self.largest = LARGEST + 4 * given
        self.end = time.thread_time() + SECONDS + given / GIVEN_PER_SECOND
        self.look = self.left - LOOK_EVERY
        self.depth = 0

    def charge(self, characters: int) -> None:
        """Take `characters` off the budget.

        Raises:
            SecurityError: nothing is left, or the time is over.
        """
        self.left -= characters
        if self.left < self.look or characters > self.largest:
            self._check(characters)

    def _check(self, characters: int) -> None:
        if self.left < 0 or characters > self.largest:
            raise SecurityError("it takes too many steps or makes too much text (an endless loop, a huge repetition?)")
        if time.thread_time() > self.end:
            self.left = -1  # whoever swallows this error gets the next one
            raise SecurityError("it takes too long (an endless loop?)")
        self.look = max(self.left - LOOK_EVERY, 0)

    def step(self, cost: int) -> bool:
        """A body begins: one turn of a loop, or one call of a macro; `cost` grows with its length."""
        self.charge(cost)
        return True

    def touch(self, value: Any) -> Any:
        """Charge for a walk through all of `value`, and give it back."""
        self.charge(self.weigh(value))
        return value

    def skim(self, value: Any) -> Any:
        """Charge for a walk over the top level of `value`, and give it back."""
        self.charge(extent(value))
        return value

    def weigh(self, value: Any, node: int = STEP, indent: int = 0) -> int:
        """`weigh`, no further than what may be charged."""
        return weigh(value, min(self.left, self.largest), node, indent)

    def counted(self, values: Iterable[Any]) -> list[Any]:
        """The values of an iterator as a list, charged one by one."""
        result = []
        for value in values:
            self.charge(STEP)
            result.append(value)
        return result

    def enter(self) -> None:
        """A call begins; the caller takes one off `depth` when it ends."""
        self.depth += 1
        self.charge(STEP)
        if self.depth > DEEPEST:
            raise SecurityError(f"its macros call each other more than {DEEPEST} deep")


class Once:
    """What a lazy filter gives: it can be read once, like a generator, but the meter sees what is in it."""

    def __init__(self, values: list[Any]):
        self._values = values
        self._iterator = iter(values)

    def __iter__(self) -> Once:
        return self

    def __next__(self) -> Any:
        return next(self._iterator)


def weigh(value: Any, limit: int | None = None, node: int = STEP, indent: int = 0) -> int:
    """Characters met on a walk through all of `value`, parts that are shared counted each time they are met.

    Args:
        value: plain data, or a namespace.
        limit: stop when above this; sharing can make a small value 2 ** 60 nodes large, or endless.
        node: what each node costs besides its text.
        indent: what each level of nesting adds to the cost of a node.
    """
    total, depth, level = 0, 0, [value]
    while level:
        total += len(level) * (node + depth * indent)
        below: list[Any] = []
        for item in level:
            if isinstance(item, str):
                total += len(item)
            elif isinstance(item, dict):
                below += item
                below += item.values()
            elif isinstance(item, list | tuple):
                below += item
            elif item is not None and not isinstance(item, int | float):
                below += _inside(item)
            if limit is not None and total + len(below) * node > limit:
                return total + len(below) * node
        level, depth = below, depth + 1
    return total


def _inside(value: Any) -> Iterable[Any]:
    """What printing, comparing or searching a less usual object walks through."""
    if isinstance(value, MappingView | range):
        return value  # pyright: ignore[reportReturnType]
    if isinstance(value, Once):
        return value._values
    if isinstance(value, Namespace):
        return (value._Namespace__attrs,)  # pyright: ignore[reportAttributeAccessIssue]
    return (value._iterable,) if isinstance(value, LoopContext) else ()


def extent(value: Any) -> int:
    """What a walk over the top level of `value` costs."""
    if isinstance(value, str):
        return len(value)
    if isinstance(value, Once):
        return STEP * len(value._values)
    return STEP * len(value) if isinstance(value, list | tuple | dict | range | MappingView) else STEP


# What an operation makes beyond its arguments ------------------------------------------------------------------------


def positive(value: Any) -> int:
    """`value` where it is a count, 0 where it is anything else."""
    return value if isinstance(value, int) and value > 0 else 0


def padded(text: Any, width: Any = 80, *rest: Any) -> int:
    """center, ljust, rjust, zfill."""
    return positive(width)


def untabbed(text: str, tabsize: Any = 8) -> int:
    """expandtabs."""
    return text.count("\t") * positive(tabsize)


def replaced(text: Any, old: Any, new: Any, *rest: Any, **options: Any) -> int:
    """replace, the method and the filter."""
    text, old = str(text), str(old)
    return (text.count(old) if old else len(text) + 1) * len(str(new))


def joined(separator: Any, values: Any) -> int:
    """str.join; the values are weighed as an argument."""
    return len(values) * len(separator) if isinstance(values, Sequence) else 0


def scanned(text: Any, other: Any = None, *rest: Any) -> int:
    """strip and the searches from the end, which may compare each character with each."""
    return len(str(text)) * len(other) // 8 if isinstance(other, str) else 0


def percent(pattern: Any, values: Any, weight: int) -> int:
    """`pattern % values`: each directive of a named value, and each width. `weight` is that of the values."""
    pattern = str(pattern)
    cost = weight * (pattern.count("%") if isinstance(values, Mapping) else 1)
    for sizes in re.findall(r"[%)][-+ #0]*(\d+|\*)?(?:\.(\d+|\*))?", pattern):
        for size in sizes:
            if size == "*":
                cost += sum(map(positive, values)) if isinstance(values, tuple) else positive(values)
            elif size:
                cost += int(size[:12])
    return cost


def formatted(pattern: str, weight: int) -> int:
    """`pattern.format(...)`: each field, and each width. `weight` is that of the arguments."""
    cost = 0
    for _, field, spec, _ in Formatter().parse(pattern):
        if spec and "{" in spec:
            raise SecurityError("it uses a format whose width is itself a field")
        cost += (weight if field is not None else 0) + sum(
            int(digits[:12]) for digits in re.findall(r"\d+", spec or "")
        )
    return cost


METHOD_GROWTH: dict[str, Callable[..., int]] = {
    "center": padded,
    "expandtabs": untabbed,
    "join": joined,
    "ljust": padded,
    "lstrip": scanned,
    "replace": replaced,
    "rfind": scanned,
    "rindex": scanned,
    "rjust": padded,
    "rpartition": scanned,
    "rsplit": scanned,
    "rstrip": scanned,
    "strip": scanned,
    "zfill": padded,
}


def price_call(meter: Meter, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, ...]:
    """Charge for a call, and give the arguments to make it with: an iterator can only be counted by reading it."""
    meter.charge(STEP * (len(args) + len(kwargs)))
    if isinstance(function, Macro):
        return args
    owner, name = getattr(function, "__self__", None), getattr(function, "__name__", "")
    if name in BYTES_METHODS:
        raise SecurityError(f"it calls {name!r}, which is not offered to chat templates")
    if not isinstance(owner, str | list | tuple | dict | int | float):
        meter.touch((args, kwargs))  # `loop.changed` compares, `raise_exception` prints
        return args
    if isinstance(owner, dict) and name != "copy":
        meter.charge(sum(map(extent, args)))  # a lookup does not walk through the dict
        return args
    if name == "join" and len(args) == 1 and isinstance(args[0], Iterator):
        args = (meter.counted(args[0]),)
    weight = meter.weigh([owner, *args]) if isinstance(owner, str) or name in DEEP_METHODS else extent(owner)
    if name in SHORT_METHODS and weight > SHORT:
        raise SecurityError(f"it calls {name!r} on more than {SHORT} characters")
    meter.charge(weight * (4 if name in SPLITS else 1))
    if name in METHOD_GROWTH:
        meter.charge(METHOD_GROWTH[name](owner, *args))
    return args


def price_operator(meter: Meter, operator: str, left: Any, right: Any) -> None:
    """Charge for `left operator right`."""
    if isinstance(left, int) and isinstance(right, int):
        bits = left.bit_length()
        if operator == "*" and bits + right.bit_length() > INTEGER_BITS:
            raise SecurityError(f"it multiplies to more than {INTEGER_BITS} bits")
        if operator == "**" and bits * right > INTEGER_BITS:
            raise SecurityError(f"it raises to a power of more than {INTEGER_BITS} bits")
        meter.charge(STEP)
    elif operator == "+":
        # a tuple can be a key: what hashing it would walk through is paid for when it is made
        cost = meter.weigh if isinstance(left, tuple) else extent
        meter.charge(cost(left) + cost(right))
    elif operator == "*":
        value, times = (right, left) if isinstance(left, int) else (left, right)
        weight = meter.weigh(value) if isinstance(value, tuple) else extent(value)
        meter.charge(weight * max(positive(times), 1))
    elif operator == "%" and isinstance(left, str):
        meter.charge(len(left) + percent(left, right, meter.weigh(right)))
    else:
        meter.charge(STEP)
