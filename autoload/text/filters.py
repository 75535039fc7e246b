"""Jinja's filters and tests, each with its price.

The wrappers are made once and find the meter of the render in the context. Two filters and one global of Jinja are not
offered: `random` and `lipsum` draw from the process's random numbers, and no prompt should depend on those.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from functools import wraps
from typing import Any

from jinja2.exceptions import SecurityError
from jinja2.filters import FILTERS, make_attrgetter
from jinja2.runtime import Context
from jinja2.tests import TESTS
from jinja2.utils import _PassArg, pass_context

from autoload.text.meter import SHORT, STEP, Meter, Once, extent, padded, percent, positive, replaced, scanned, weigh

# Constant time, or lazy: what they read is paid for by who reads it
FREE = {"abs", "attr", "count", "d", "default", "first", "last", "length"}
# These go over the top level of a list ...
OVER = {"batch", "items", "list", "map", "reject", "rejectattr", "reverse", "select", "selectattr", "slice"}
# ... and these through the elements as well, to compare or to print them
THROUGH = {"dictsort", "groupby", "join", "max", "min", "sort", "unique"}
# Quadratic in the worst case
ONLY_SHORT = {"int", "pprint", "striptags", "urlize", "wordwrap", "xmlattr"}
# Filters work in Python, word by word at worst, so a character costs more than in an operator
FACTOR = 8

COMPARING = {"in", "lower", "upper"} | {name for name, test in TESTS.items() if test.__module__ == "_operator"}
ARITHMETIC = {"odd", "even", "divisibleby"}


def _indented(text: Any, width: Any = 4, *rest: Any, **options: Any) -> int:
    return (str(text).count("\n") + 1) * (len(width) if isinstance(width, str) else positive(width))


def _grouped(value: Any, count: Any, *rest: Any, **options: Any) -> int:
    return STEP * positive(count)


def _formatted(value: Any, *args: Any, **kwargs: Any) -> int:
    return percent(value, kwargs or args, weigh([args, kwargs]))  # paid for, so not endless


def _rounded(value: Any, precision: Any = 0, *rest: Any, **options: Any) -> int:
    if not isinstance(value, int | float) or not -308 <= precision <= 308:
        raise SecurityError("it rounds something that is not a number, or to more digits than a number has")
    return 0


GROWTH: dict[str, Callable[..., int]] = {
    "batch": _grouped,
    "center": padded,
    "format": _formatted,
    "indent": _indented,
    "replace": replaced,
    "round": _rounded,
    "slice": _grouped,
    "trim": scanned,
}


def _price(meter: Meter, name: str, args: list[Any], options: dict[str, Any]) -> None:
    """Charge for the filter `name`; an iterator to be read is replaced by the list of what it gives."""
    meter.charge(STEP)
    if name in FREE:
        return
    if name in OVER or name in THROUGH:
        if args and isinstance(args[0], Iterator):
            args[0] = meter.counted(args[0])
        value = args[0] if args else None
        meter.charge(meter.weigh(value) * FACTOR if name in THROUGH else extent(value))
        # a dotted attribute is looked up in each element, a separator written between them
        texts = sum(len(text) for text in (*args[1:], *options.values()) if isinstance(text, str))
        meter.charge(texts * (1 + extent(value) // STEP))
    else:
        weight = meter.weigh([*args, *options.values()])
        if name in ONLY_SHORT and weight > SHORT:
            raise SecurityError(f"it uses the filter {name!r} on more than {SHORT} characters")
        meter.charge(weight * FACTOR)
    if name in GROWTH:
        meter.charge(GROWTH[name](*args, **options))


def _priced_filter(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    kind = _PassArg.from_obj(function)

    @pass_context
    @wraps(function, updated=())
    def run(context: Context, *values: Any, **options: Any) -> Any:
        meter: Meter = context.environment.meter  # pyright: ignore[reportAttributeAccessIssue]
        args = list(values)
        _price(meter, name, args, options)
        result = function(*_passed(kind, context), *args, **options)
        if isinstance(result, str):
            meter.charge(len(result))
        elif isinstance(result, Iterator):
            # read at once: nested lazily, thousands of filters would overflow the stack of the interpreter
            result = Once(meter.counted(result))
        return result

    return run


def _priced_test(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    kind = _PassArg.from_obj(function)

    @pass_context
    @wraps(function, updated=())
    def run(context: Context, *args: Any) -> Any:
        meter: Meter = context.environment.meter  # pyright: ignore[reportAttributeAccessIssue]
        meter.charge(meter.weigh(list(args)) if name in COMPARING else STEP)
        if name in ARITHMETIC and not all(isinstance(value, int | float) for value in args):
            raise SecurityError(f"it asks whether something is {name!r} that is not a number")
        return function(*_passed(kind, context), *args)

    return run


def _passed(kind: _PassArg | None, context: Context) -> tuple[Any, ...]:
    """The leading argument that a filter of this kind wants."""
    if kind is None:
        return ()
    if kind is _PassArg.context:
        return (context,)
    return (context.eval_ctx if kind is _PassArg.eval_context else context.environment,)


@pass_context
def _sum(context: Context, values: Any, attribute: Any = None, start: Any = 0) -> Any:
    """The `sum` filter, adding through the priced operator: lists and texts add up too."""
    environment: Any = context.environment
    if attribute is not None:
        environment.meter.charge(len(str(attribute)) * (1 + extent(values) // STEP))
        values = map(make_attrgetter(environment, attribute), values)
    for value in values:
        start = environment.call_binop(context, "+", start, value)
    return start


@pass_context
def _tojson(
    context: Context,
    value: Any,
    ensure_ascii: bool = False,
    indent: Any = None,
    separators: Any = None,
    sort_keys=False,
) -> str:
    """JSON as it is, without the escapes for HTML that Jinja's own filter makes."""
    meter: Meter = context.environment.meter  # pyright: ignore[reportAttributeAccessIssue]
    margin = len(indent) if isinstance(indent, str) else positive(indent)
    between = sum(map(len, separators)) if separators else 0
    meter.charge(meter.weigh(value, FACTOR * STEP + between, margin) + meter.weigh(value) * FACTOR)
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


PRICED_FILTERS = {name: _priced_filter(name, f) for name, f in FILTERS.items() if name != "random"}
PRICED_FILTERS |= {"sum": _sum, "tojson": _tojson}
PRICED_TESTS = {name: _priced_test(name, f) for name, f in TESTS.items()}
