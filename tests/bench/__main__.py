"""Benchmarks beside the reference and beside what no library can beat: `python -m tests.bench [ROW ...]`.

Each row runs autoload, the reference and its limit in turn, in new processes where start-up is what counts. Kernels run
on one thread: two are slowed down by whatever else the machine does.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import time
from pathlib import Path

from tests.bench import growth, picture, row
from tests.bench.rows import audio, decoding, forward, loading, start, text

ROWS = [*start.ROWS, *text.ROWS, *loading.ROWS, *forward.ROWS, *decoding.ROWS, *audio.ROWS]


def main() -> None:
    """Measure, print, and write what is asked for."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)  # fmt: skip
    parser.add_argument("rows", nargs="*", metavar="ROW", help="names, or beginnings of names; all of them by default")
    parser.add_argument("--list", action="store_true", help="print the names of the rows")
    parser.add_argument("--runs", type=int, default=5, help="of each part of a row")
    parser.add_argument("--threads", type=int, default=1, help="of torch")
    parser.add_argument("--cpu", action="store_true", help="processor time, for machines that do other things too")
    parser.add_argument("--growth", action="store_true", help="also how cost grows with tensors, shards and types")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all times")
    parser.add_argument("--svg", type=Path, metavar="FILE", help="draw them")
    options = parser.parse_args()
    chosen = [r for r in ROWS if not options.rows or any(r.name.startswith(name) for name in options.rows)]
    if unknown := [name for name in options.rows if not any(r.name.startswith(name) for r in ROWS)]:
        parser.error(f"no row is called {unknown[0]!r}, expected some of {', '.join(r.name for r in ROWS)}")
    if options.list:
        print(*(f"{r.name:22} {r.what}" for r in chosen), sep="\n")
        return

    os.environ["OMP_NUM_THREADS"] = str(options.threads)
    import torch

    torch.set_num_threads(options.threads)
    clock = time.process_time if options.cpu else time.perf_counter
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else float("nan")
    about = (
        f"Python {platform.python_version()}, torch {torch.__version__}, {options.threads} thread(s), load {load:.1f}"
    )
    print(about, flush=True)
    results = []
    for each in chosen:
        results.append(row.Result(each, each.measure(options.runs, clock)))
        table = list(row.lines(results[-1:]))
        print(*(table if len(results) == 1 else table[1:]), sep="\n", flush=True)
    curves = {}
    for title, measure in growth.CURVES.items() if options.growth else ():
        curves[title] = measure(min(options.runs, 3), clock)
        print(title)
        for name, points in curves[title].items():
            print(f"  {name:10}", *(f"{count:7,}: {seconds * 1e3:9.3f} ms" for count, seconds in points))
    if options.json:
        content = {"about": about, "rows": {r.row.name: r.times for r in results}, "growth": curves}
        options.json.write_text(json.dumps(content, indent=1) + "\n")
    if options.svg:
        options.svg.write_text(picture.svg(results, curves))


if __name__ == "__main__":
    main()
