"""A row of the benchmark: what is timed, beside which limit, and the goal.

All that belongs to a row runs in turn (A B C A B C), so that a machine that slows down slows all of it. Medians count,
and the spread is shown: half the distance between the quartiles, as a share of the median.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from statistics import median, quantiles

Times = dict[str, list[float]]  # seconds of each run, of "autoload", "reference", "limit" and others
OURS, REFERENCE, LIMIT = "autoload", "reference", "limit"


@dataclass(frozen=True)
class Goal:
    """At most `factor` times what `of` takes, and `plus` seconds."""

    factor: float
    of: str = LIMIT
    plus: float = 0.0

    def seconds(self, times: Times) -> float:
        return self.factor * median(times[self.of]) + self.plus

    def __str__(self) -> str:
        if not self.factor:
            return f"{self.plus * 1e3:.0f} ms"
        if self.plus:
            return f"{self.of} + {self.plus:.2f} s"
        return f"{self.factor:.2f} x {self.of}" if self.factor >= 1 else f"{self.of} / {1 / self.factor:.2f}"


@dataclass(frozen=True)
class Row:
    """One line of the table. `measure(runs, clock)` gives the times; `start` is taken off all of them, where given."""

    name: str
    what: str
    goal: Goal
    measure: Callable[[int, Callable[[], float]], Times]
    start: str | None = None


@dataclass(frozen=True)
class Result:
    """A row with its times."""

    row: Row
    times: Times

    def seconds(self, name: str) -> float:
        """The median."""
        return median(self.times[name])

    def spread(self, name: str) -> float:
        values = self.times[name]
        if len(values) < 3:
            return 0.0
        low, _, high = quantiles(values, n=4)
        return (high - low) / 2 / median(values)

    def against(self, name: str) -> float | None:
        """Time of autoload over that of `name`, the median of the ratios within a turn."""
        if name not in self.times:
            return None
        off = self.seconds(self.row.start) if self.row.start else 0.0
        pairs = zip(self.times[OURS], self.times[name], strict=True)
        ratios = [(ours - off) / (theirs - off) for ours, theirs in pairs if theirs > off]
        return median(ratios) if ratios else None

    @property
    def reached(self) -> bool:
        goal = self.row.goal
        if goal.plus == 0 and (ratio := self.against(goal.of)) is not None:
            return ratio <= goal.factor
        return self.seconds(OURS) <= goal.seconds(self.times)


def in_turn(functions: Mapping[str, Callable[[], object]], runs: int, clock: Callable[[], float]) -> Times:
    """Seconds of each run of each function; a first round is not counted."""
    times: Times = {name: [] for name in functions}
    for turn in range(runs + 1):
        for name, function in functions.items():
            start = clock()
            result = function()
            taken = clock() - start
            del result  # freeing it is not part of the time
            if turn:
                times[name].append(taken)
    return times


def processes(codes: Mapping[str, str], runs: int, clock: Callable[[], float]) -> Times:
    """Seconds of `python -c code` from start to end; its processor time where that is what the clock counts."""
    # Installed packages have their bytecode; so must this one, or its compilation would be timed.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}

    def run(code: str) -> None:
        subprocess.run(
            [sys.executable, "-c", code],
            check=True,
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    functions = {name: lambda code=code: run(code) for name, code in codes.items()}
    return in_turn(functions, runs, children if clock is time.process_time else clock)


def children() -> float:
    """Processor time of the child processes that have ended."""
    import resource  # not on Windows

    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def lines(results: list[Result]) -> Iterator[str]:
    """The table as text."""
    yield f"{'':66} {'limit':>10} {'reference':>10} {'autoload':>16} {'/ limit':>8} {'/ ref.':>7}  goal"
    for result in results:
        scale, unit = (1e6, "us") if result.seconds(OURS) < 1e-3 else (1e3, "ms")
        cells = [
            f"{result.seconds(name) * scale:7.1f} {unit}" if name in result.times else f"{'-':>10}"
            for name in (LIMIT, REFERENCE, OURS)
        ]
        ratios = [result.against(name) for name in (LIMIT, REFERENCE)]
        shown = [f"{ratio:{width}.2f}" if ratio is not None else f"{'-':>{width}}" for ratio, width in zip(ratios, (8, 7), strict=True)]  # fmt: skip
        verdict = "reached" if result.reached else "missed"
        yield (
            f"{result.row.what:66} {cells[0]} {cells[1]} {cells[2]} +-{result.spread(OURS):3.0%} {shown[0]} {shown[1]}"
            f"  {result.row.goal}: {verdict}"
        )
