"""Decoding takes the memory of the weights and of the cache, and hardly more."""

from __future__ import annotations

import weakref
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

import autoload

# A Llama of 1.1 B in proportion: few heads with keys, so that a long text takes a fraction of what the weights do.
SIZES = dict(vocab_size=2000, hidden_size=256, intermediate_size=680, num_hidden_layers=12)
HEADS = dict(num_attention_heads=8, num_key_value_heads=2)


class Ledger(TorchDispatchMode):
    """Bytes of the tensors that came to life within it, and the most that lived at once."""

    def __init__(self, known: Any):
        super().__init__()
        self.live = {t.untyped_storage()._cdata for t in known}
        self.bytes = self.peak = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(out):
            if isinstance(tensor, torch.Tensor) and (storage := tensor.untyped_storage())._cdata not in self.live:
                size = storage.nbytes()
                self.live.add(storage._cdata)
                self.bytes += size
                weakref.finalize(storage, self.ended, storage._cdata, size)
        self.peak = max(self.peak, self.bytes)
        return out

    def ended(self, number: int, size: int) -> None:
        self.live.discard(number)
        self.bytes -= size


@pytest.mark.parametrize("settings", [{}, dict(cache_implementation="static")], ids=str)
def test_cache_and_a_tenth(settings: dict[str, Any]) -> None:
    """Beside the weights, room that a growing cache has taken but not filled included."""
    config = autoload.AutoConfig.for_model("llama", **SIZES, **HEADS, max_position_embeddings=2048)
    model = autoload.AutoModelForCausalLM.from_config(config).eval()
    ids, given = torch.arange(3, 1003)[None], dict(eos_token_id=None, max_new_tokens=40, return_dict_in_generate=True)
    with Ledger([*model.parameters(), *model.buffers()]) as ledger:
        out = model.generate(ids, prefill_chunk_size=100, **given, **settings)
    cache = sum(part.nbytes for layer in out.past_key_values for part in layer)
    weights = sum(p.nbytes for p in model.parameters())
    assert cache > 6e6 and weights > 3e7 and ledger.peak > cache
    assert ledger.peak <= cache + 0.1 * (cache + weights), f"{ledger.peak} at once, of them {cache} of the cache"
