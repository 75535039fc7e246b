"""Numbers and dates in texts, and how they compare: what TAPAS is told about the cells of a table.

A number is a float; a date is (year, month, day) with None for what the text leaves open.
"""

from __future__ import annotations

import datetime
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator

Date = tuple[float | None, float | None, float | None]
Quantity = float | Date
Key = Callable[[Quantity], float | tuple[float, ...]]

MONTHS = (
    "january february march april may june july august september october november december".split()
)  # fmt: skip
MONTH_OF = {name: place for place, month in enumerate(MONTHS, 1) for name in (month, month[:3])}
WEEKDAYS = "monday|tuesday|wednesday|thursday|friday|saturday|sunday"
NAME = rf"(?P<month>{'|'.join(sorted(MONTH_OF, key=len, reverse=True))})"
YEAR, MONTH, DAY = r"(?P<year>\d{4})", r"(?P<month>\d{1,2})", r"(?P<day>\d{1,2})"
DATES = [
    re.compile(form.replace(" ", r"\s+"))
    for form in (
        rf"(?P<month>{'|'.join(MONTHS)})",  # "jan" alone is no date
        rf"{YEAR}s?",
        rf"{NAME} {YEAR}",
        rf"{NAME} {DAY}",
        rf"{DAY} {NAME}",
        rf"{NAME} {DAY}, {YEAR}",
        rf"{DAY} {NAME} {YEAR}",
        rf"{MONTH}-{DAY}-{YEAR}",
        rf"{YEAR}-{MONTH}(?:-{DAY})?",
        rf"{DAY}\.{MONTH}\.{YEAR}",
        rf"(?:{WEEKDAYS}), {NAME} {DAY}",
    )
]
YEARS = range(1700, 2017)  # other years are taken for numbers
DATE_WORDS = 5
LEAST_SHARE = 0.7  # of a column's cells that must be of one kind

NUMBER = re.compile(r"(?:(?:^|\s)[+-])?(?:\.\d+|\d+(?:,\d\d\d)*(?:\.\d*)?)")
ORDINAL = re.compile(r"(?:st|nd|rd|th)$")
CARDINALS = "zero one two three four five six seven eight nine ten eleven twelve".split()
ORDINALS = "zeroth first second third fourth fifth sixth seventh eighth ninth tenth eleventh twelfth".split()
WORDS = {word: float(value) for words in (CARDINALS, ORDINALS) for value, word in enumerate(words)}


def quantities(text: str) -> list[Quantity]:
    """Numbers and dates of a text, in its order; of those that overlap the longest, the first of equal ones."""
    text = " ".join(text.lower().split())
    found: dict[tuple[int, int], list[Quantity]] = {}
    for match in NUMBER.finditer(text):
        if (number := _number(match[0])) is not None:
            found[match.span()] = [number]
    for start, end in _spans(text, 1):
        if (start, end) in found:
            continue
        word = text[start:end]
        values = [value for value in (_number(word), WORDS.get(word)) if value is not None]
        if values:
            found[start, end] = list(values)
    for start, end in _spans(text, DATE_WORDS):
        if (date := _date(text[start:end])) is not None:
            found.setdefault((start, end), []).append(date)
    kept: list[tuple[int, int]] = []
    for start, end in sorted(found, key=lambda span: (span[0] - span[1], span[0])):
        if not any(first <= start and end <= last for first, last in kept):
            kept.append((start, end))
    return [value for span in sorted(kept) for value in found[span]]


def _spans(text: str, words: int) -> Iterator[tuple[int, int]]:
    """Borders of up to `words` words in a row; words are letters and digits."""
    starts: list[int] = []
    for place, letter in enumerate(text):
        if not letter.isalnum():
            continue
        if place == 0 or not text[place - 1].isalnum():
            starts.append(place)
        if place + 1 == len(text) or not text[place + 1].isalnum():
            for start in starts[-words:]:
                yield start, place + 1


def _number(text: str) -> float | None:
    try:
        value = float(ORDINAL.sub("", text).replace(",", ""))
    except ValueError:
        return None
    return None if value != value or value == float("inf") else value


def _date(text: str) -> Date | None:
    match = next((match for form in DATES if (match := form.fullmatch(text))), None)
    if match is None:
        return None
    given = match.groupdict()
    year, month, day = (given.get(part) for part in ("year", "month", "day"))
    number = None if month is None else MONTH_OF.get(month) or int(month)
    try:  # 1900 has no 29th of February, and so a date without a year has none either
        date = datetime.date(int(year or 1900), 1 if number is None else number, int(day or 1))
    except ValueError:
        return None
    if date.year not in YEARS:
        return None
    return (
        float(date.year) if year else None,
        float(date.month) if month else None,
        float(date.day) if day else None,
    )


def column_quantities(cells: list[str]) -> dict[int, Quantity]:
    """Row -> quantity, all of one kind: the kind of most cells. Nothing where too few cells have it."""
    rows = [quantities(cell) for cell in cells]
    counts = Counter(kind for values in rows for kind in {type(value) for value in values})
    most = max(counts.values(), default=0)
    if not most or most < len(rows) * LEAST_SHARE:
        return {}
    kind = tuple if counts[tuple] == most else float
    firsts = ((row, next((value for value in values if type(value) is kind), None)) for row, values in enumerate(rows))
    return {row: value for row, value in firsts if value is not None}


def comparison(values: Iterable[Quantity]) -> Key | None:
    """What quantities compare by: numbers as they are, dates by the parts that all of them have; None without any."""
    values = list(values)
    if all(isinstance(value, float) for value in values):
        return lambda value: value  # type: ignore[return-value]
    dates = [value for value in values if isinstance(value, tuple)]
    parts = [part for part in range(3) if all(date[part] is not None for date in dates)]
    if len(dates) < len(values) or not parts:
        return None
    return lambda date: tuple(date[part] for part in parts)  # type: ignore[index]
