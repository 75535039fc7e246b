"""Timing side by side: each thing measured is run in turn with the others, and the best of its runs counts."""

from __future__ import annotations

import argparse
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Mapping

from tests.bench.row import children


def processes(codes: Mapping[str, str], runs: int, cpu: bool = False) -> dict[str, float]:
    """Seconds that `python -c code` takes from start to end, or with `cpu` the processor time that it uses."""

    # Installed packages have their bytecode; so must this one, or its compilation would be timed.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}

    def run(code: str) -> None:
        quiet = dict(stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        subprocess.run([sys.executable, "-c", code], check=True, env=environment, **quiet)  # type: ignore[call-overload]

    clock = children if cpu else time.perf_counter
    return calls({name: lambda code=code: run(code) for name, code in codes.items()}, runs, clock)


def calls(
    functions: Mapping[str, Callable[[], object]], runs: int, clock: Callable[[], float] = time.perf_counter
) -> dict[str, float]:
    """Seconds that each function takes; a first round is not counted."""
    best = dict.fromkeys(functions, float("inf"))
    for round_ in range(runs + 1):
        for name, function in functions.items():
            start = clock()
            result = function()
            taken = clock() - start
            del result  # freeing it is not part of the time
            if round_:
                best[name] = min(best[name], taken)
    return best


def options(description: str | None, runs: int) -> argparse.Namespace:
    """`--runs`, and `--cpu` for machines that do other things too."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=runs, help="of which the best counts")
    parser.add_argument("--cpu", action="store_true", help="processor time instead of elapsed time")
    return parser.parse_args()


def about() -> None:
    """What the numbers depend on."""
    import torch

    threads = torch.get_num_threads()
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else float("nan")
    print(f"Python {platform.python_version()}, torch {torch.__version__}, {threads} threads, load {load:.1f}\n")
