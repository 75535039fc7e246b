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
from torch import nn

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
PROMPT, NEW, ROUNDS = 16, 48, 5


def matrices(model: nn.Module) -> list[nn.Module]:
    """Every layer whose weight a token multiplies; tables that are only looked up are left out."""
    return [m for m in model.modules() if isinstance(m, nn.Linear) or type(m).__name__ == "Conv1D"]


def bound(model: nn.Module) -> Callable[[], float]:
    """Seconds per token of bare matrix-vector products."""
    layers = [m for m in matrices(model)]
    weights = [m.weight.detach() if isinstance(m, nn.Linear) else m.weight.detach().T for m in layers]
    vectors = [torch.randn(w.shape[1], dtype=w.dtype) for w in weights]

    def once() -> float:
        start = time.perf_counter()
        for _ in range(NEW):
            for w, x in zip(weights, vectors, strict=True):
                torch.mv(w, x)
        return (time.perf_counter() - start) / NEW

    return once


def linears(model: nn.Module) -> Callable[[], float]:
    """The same through the modules themselves, so that the cost of their kernel shows."""
    pairs = [(m, torch.randn(1, 1, _width(m), dtype=m.weight.dtype)) for m in matrices(model)]

    @torch.no_grad()
    def once() -> float:
        start = time.perf_counter()
        for _ in range(NEW):
            for m, x in pairs:
                m(x)
        return (time.perf_counter() - start) / NEW

    return once


def _width(m: Any) -> int:
    return m.weight.shape[1] if isinstance(m, nn.Linear) else m.weight.shape[0]


def decoding(model: Any) -> Callable[[], float]:
    """Seconds per token of generate(); the pass over the prompt is taken off."""
    ids = torch.arange(3, 3 + PROMPT)[None]

    def timed(count: int) -> float:
        start = time.perf_counter()
        out = model.generate(
            ids, attention_mask=torch.ones_like(ids), max_new_tokens=count, do_sample=False, eos_token_id=None
        )
        assert out.shape[1] == PROMPT + count
        return time.perf_counter() - start

    return lambda: (timed(NEW + 1) - timed(1)) / NEW


def build(kind: str, reference: bool) -> Any:
    """A model with random weights; both libraries get the same ones."""
    fields, dtype = SHAPES[kind]
    if reference:
        from transformers import AutoConfig, AutoModelForCausalLM
    else:
        from autoload import AutoConfig, AutoModelForCausalLM
    return AutoModelForCausalLM.from_config(AutoConfig.for_model(kind, **fields), dtype=dtype).eval()


def run(kind: str) -> None:
    ours, theirs = build(kind, False), build(kind, True)
    theirs.load_state_dict(ours.state_dict(), strict=False)
    timers = {
        "bare products": bound(ours),
        "modules alone": linears(ours),
        "autoload": decoding(ours),
        "reference": decoding(theirs),
    }
    times: dict[str, list[float]] = {name: [] for name in timers}
    for turn in range(ROUNDS + 1):
        for name, timer in timers.items():
            seconds = timer()
            if turn:  # the first turn warms up
                times[name].append(seconds)
    limit = median(times["bare products"])
    fields, dtype = SHAPES[kind]
    size = sum(m.weight.nbytes for m in matrices(ours))
    print(f"{kind} {dtype}, {size / 1e6:.0f} MB of matrices, {torch.get_num_threads()} thread(s)")
    for name, values in times.items():
        t = median(values)
        print(
            f"  {name:14s} {1 / t:7.1f} tokens/s  {1e3 * t:7.2f} ms  {size / t / 1e9:5.1f} GB/s  {limit / t:5.0%} of the limit"
        )
    print(f"  autoload / reference: {median(times['reference']) / median(times['autoload']):.2f}")


if __name__ == "__main__":
    for name in sys.argv[1:] or SHAPES:
        run(name)
