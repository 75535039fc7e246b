"""Greedy decoding of one text, against what the weights' memory traffic allows.

The limit: every matrix that a token needs is multiplied by a vector, one after the other, and nothing else is done, by
whichever kernel reads memory faster.
"""

from __future__ import annotations

from collections.abc import Callable
from statistics import median
from typing import Any

from tests.bench.checkpoints import drop, made, packages
from tests.bench.row import Goal, Row, Times, in_turn

PROMPT, NEW = 16, 16


def matrices(model: Any) -> list[Any]:
    """Weights (out, in) that a token multiplies; tables that are only looked up are left out."""
    from torch import nn

    found = [m.weight.detach() for m in model.modules() if isinstance(m, nn.Linear)]
    return found + [m.weight.detach().T for m in model.modules() if type(m).__name__ == "Conv1D"]


def _decode(name: str, dtype: str, layers: int = 1):
    """Seconds per token, or per token and layer."""

    def measure(runs: int, clock: Callable[[], float]) -> Times:
        import torch
        import torch.nn.functional as F

        folder = made(name, dtype)
        models = {key: p.AutoModelForCausalLM.from_pretrained(folder).eval() for key, p in packages().items()}
        ids = torch.arange(3, 3 + PROMPT)[None]
        weights = matrices(models["autoload"])
        vectors = [torch.randn(w.shape[1], dtype=w.dtype) for w in weights]

        def product(multiply: Callable[[Any, Any], Any]) -> Callable[[], None]:
            return lambda: [multiply(w, x) for _ in range(NEW) for w, x in zip(weights, vectors, strict=True)].clear()

        def decode(model: Any, count: int) -> Callable[[], Any]:
            options = dict(max_new_tokens=count, do_sample=False, eos_token_id=None)
            return lambda: model.generate(ids, attention_mask=torch.ones_like(ids), **options)

        functions: dict[str, Callable[[], Any]] = {
            "mv": product(torch.mv),
            "linear": product(lambda w, x: F.linear(x[None], w)),
        }
        for key, model in models.items():
            functions |= {f"{key} prefill": decode(model, 1), key: decode(model, NEW + 1)}
        with torch.no_grad():
            times = in_turn(functions, runs, clock)
        drop(folder)
        found = {"limit": min((times["mv"], times["linear"]), key=median)}
        for key in models:
            pairs = zip(times[key], times[f"{key} prefill"], strict=True)
            found[key] = [whole - first for whole, first in pairs]  # what follows the prompt
        return {key: [seconds / NEW / layers for seconds in values] for key, values in found.items()}

    return measure


ROWS = [
    Row("decode-overhead", "overhead of a layer and token in fp32; limit: its products", Goal(1.0, "reference"), _decode("llama-thin", "float32", 32)),
    Row("decode-overhead-bf16", "overhead of a layer and token in bf16; limit: its products", Goal(1.0, "reference"), _decode("llama-thin", "bfloat16", 32)),
    Row("decode-gpt2", "GPT-2 fp32, a token; limit: its products", Goal(1 / 0.9), _decode("gpt2", "float32")),
    Row("decode-150m", "Llama 150 M fp32, a token; limit: its products", Goal(1 / 0.9), _decode("llama-150m", "float32")),
    Row("decode-150m-bf16", "Llama 150 M bf16, a token; limit: its products", Goal(1 / 0.9), _decode("llama-150m", "bfloat16")),
    Row("decode-1b", "Llama 1.1 B bf16, a token; limit: its products", Goal(1 / 0.9), _decode("llama-1b", "bfloat16")),
]  # fmt: skip
