"""Sentences per second of text encoders beside the reference: `python -m tests.bench.bench_packing`.

256 texts in padded batches of 32, in the order in which they come, fp32, one thread; autoload leaves their padding out.
Lengths are log-normal, as those of sentences are (median 24 tokens, from 5 to 128), uniform, or all equal. Both models run
each set in turn; medians of elapsed and of processor time, and of their ratios within a turn.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable
from typing import Any

from tests.bench import timing
from tests.bench.checkpoints import minilm

TEXTS, BATCH, SHORTEST, LONGEST = 256, 32, 5, 128


def main() -> None:
    options = timing.options(__doc__, runs=3)
    import torch
    import transformers

    import autoload

    torch.set_num_threads(1)
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    timing.about()
    generator = torch.Generator().manual_seed(0)
    bell = torch.randn(TEXTS, generator=generator)
    sets = {
        "log-normal lengths": (24 * (0.75 * bell).exp()).round().clamp(SHORTEST, LONGEST).long(),
        "uniform lengths": torch.randint(SHORTEST, LONGEST + 1, (TEXTS,), generator=generator),
        "all of 16 tokens": torch.full((TEXTS,), 16),
        "all of 64 tokens": torch.full((TEXTS,), 64),
    }
    print(f"{'texts per second':46} {'autoload':>9} {'reference':>9} {'ratio':>8} {'ratio of processor time':>24}")
    with tempfile.TemporaryDirectory() as folder:
        autoload.AutoModel.from_config(autoload.AutoConfig.for_model("bert")).save_pretrained(folder)
        for name, where in (("MiniLM", str(minilm())), ("BERT-base", folder)):
            ours, theirs = autoload.AutoModel.from_pretrained(where), transformers.AutoModel.from_pretrained(where)
            for kind, lengths in sets.items():
                batches = [padded(part, generator) for part in lengths.split(BATCH)]
                tokens, places = int(lengths.sum()), sum(b["input_ids"].numel() for b in batches)
                with torch.inference_mode():
                    for model in (ours, theirs):
                        run(model, batches[:1])
                    both = [lambda m=m, b=batches: run(m, b) for m in (ours, theirs)]
                    times = alternate(both, options.runs)
                wall, cpu = (statistics.median(b[i] / a[i] for a, b in zip(*times, strict=True)) for i in (0, 1))
                each = [TEXTS / statistics.median(wall for wall, _ in runs) for runs in times]
                what = f"{name}, {kind} ({tokens / places:.0%} real)"
                print(f"{what:46} {each[0]:9.1f} {each[1]:9.1f} {wall:7.2f}x {cpu:23.2f}x", flush=True)


def padded(lengths: Any, generator: Any) -> dict[str, Any]:
    """Random texts of these lengths, padded to the longest."""
    import torch

    mask = (torch.arange(int(lengths.max())) < lengths[:, None]).long()
    ids = torch.randint(1000, 30000, mask.shape, generator=generator)
    return {"input_ids": ids * mask, "attention_mask": mask}


def run(model: Any, batches: list[dict[str, Any]]) -> None:
    for batch in batches:
        model(**batch)


def alternate(functions: list[Callable[[], None]], runs: int) -> list[list[tuple[float, float]]]:
    """Elapsed and processor seconds of each run of each function, in turn."""
    times: list[list[tuple[float, float]]] = [[] for _ in functions]
    for _ in range(runs):
        for function, kept in zip(functions, times, strict=True):
            wall, cpu = time.perf_counter(), time.process_time()
            function()
            kept.append((time.perf_counter() - wall, time.process_time() - cpu))
    return times


if __name__ == "__main__":
    main()
