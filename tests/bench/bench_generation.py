"""Greedy decoding at batch 1: tokens per second against what the weights' memory traffic allows, and the reference.

The limit is measured in the same run: every matrix that a token needs is multiplied by a vector, one after the other,
and nothing else is done. Run as `python -m tests.bench.bench_generation [gpt2 llama]`.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from statistics import median
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

SHAPES: dict[str, tuple[dict[str, Any], torch.dtype]] = {
    "gpt2": (dict(vocab_size=50257, n_embd=768, n_layer=12, n_head=12, n_positions=1024), torch.float32),
    "llama": (
        dict(
            vocab_size=32000,
            hidden_size=768,
            intermediate_size=2048,
            num_hidden_layers=16,
            num_attention_heads=12,
            num_key_value_heads=12,
            max_position_embeddings=2048,
            tie_word_embeddings=False,
        ),
        torch.bfloat16,
    ),
}
NARROW: dict[str, dict[str, Any]] = {  # as many layers, hardly any arithmetic: what is left is overhead
    "gpt2": dict(vocab_size=99, n_embd=48),
    "llama": dict(vocab_size=99, hidden_size=48, intermediate_size=64),
}
PROMPT, NEW, ROUNDS = 16, 16, 5


def matrices(model: nn.Module) -> list[nn.Module]:
    """Every layer whose weight a token multiplies; tables that are only looked up are left out."""
    return [m for m in model.modules() if isinstance(m, nn.Linear) or type(m).__name__ == "Conv1D"]


def products(model: nn.Module, multiply: Callable[[Tensor, Tensor], Tensor]) -> Callable[[], float]:
    """Seconds per token of bare products of every matrix (out, in) with a vector."""
    weights = [m.weight.detach() if isinstance(m, nn.Linear) else m.weight.detach().T for m in matrices(model)]
    vectors = [torch.randn(w.shape[1], dtype=w.dtype) for w in weights]

    def once() -> float:
        start = time.perf_counter()
        for _ in range(NEW):
            for w, x in zip(weights, vectors, strict=True):
                multiply(w, x)
        return (time.perf_counter() - start) / NEW

    return once


def decoding(model: Any, clock: Callable[[], float] = time.perf_counter) -> Callable[[], float]:
    """Seconds per token of generate(); the pass over the prompt is taken off."""
    ids = torch.arange(3, 3 + PROMPT)[None]

    def timed(count: int) -> float:
        start = clock()
        out = model.generate(
            ids, attention_mask=torch.ones_like(ids), max_new_tokens=count, do_sample=False, eos_token_id=None
        )
        assert out.shape[1] == PROMPT + count
        return clock() - start

    return lambda: (timed(NEW + 1) - timed(1)) / NEW


def build(kind: str, reference: bool, **narrow: Any) -> Any:
    """A model with random weights."""
    fields, dtype = SHAPES[kind]
    fields = fields | narrow
    if reference:
        from transformers import AutoConfig, AutoModelForCausalLM
    else:
        from autoload import AutoConfig, AutoModelForCausalLM
    return AutoModelForCausalLM.from_config(AutoConfig.for_model(kind, **fields), dtype=dtype).eval()


def run(kind: str) -> None:
    ours, theirs = build(kind, False), build(kind, True)
    theirs.load_state_dict(ours.state_dict(), strict=False)
    timers = {
        "products, mv": products(ours, torch.mv),
        "products, linear": products(ours, lambda w, x: F.linear(x[None], w)),
        "autoload": decoding(ours),
        "reference": decoding(theirs),
    }
    times: dict[str, list[float]] = {name: [] for name in timers}
    for turn in range(ROUNDS + 1):
        for name, timer in timers.items():
            seconds = timer()
            if turn:  # the first turn warms up
                times[name].append(seconds)
    best = {name: median(values) for name, values in times.items()}
    limit = min(best["products, mv"], best["products, linear"])  # whichever kernel reads memory faster
    size = sum(m.weight.nbytes for m in matrices(ours))
    print(f"{kind} {SHAPES[kind][1]}, {size / 1e6:.0f} MB of matrices, {torch.get_num_threads()} thread(s)")
    for name, t in best.items():
        rate = f"{1 / t:7.1f} tokens/s  {1e3 * t:7.2f} ms  {size / t / 1e9:5.1f} GB/s"
        print(f"  {name:16s} {rate}  {limit / t:5.0%} of the limit")
    print(f"  autoload / reference: {best['reference'] / best['autoload']:.2f}", flush=True)


def overhead(kind: str) -> None:
    """Processor time per token and layer in which hardly any weights are read."""
    for name, reference in (("autoload", False), ("reference", True)):
        model = build(kind, reference, **NARROW[kind])
        timer = decoding(model, time.process_time)
        best = min(timer() for _ in range(ROUNDS))
        print(
            f"  {name:16s} {1e6 * best:5.0f} us per token, {1e6 * best / model.config.num_hidden_layers:4.0f} per layer"
        )


if __name__ == "__main__":
    for name in sys.argv[1:] or SHAPES:
        run(name)
        overhead(name)
