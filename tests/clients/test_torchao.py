"""`quantize_` to int8, weights alone and with dynamic activations; `generate` on it."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch

from tests.clients.checkpoints import batch
from tests.clients.conftest import Both

CLIENTS = ("torchao",)


@pytest.mark.parametrize("kind", ["Int8WeightOnlyConfig", "Int8DynamicActivationInt8WeightConfig"])
@pytest.mark.parametrize("name", ["llama", "bert", "mixtral"])
def test_int8(both: Both, folder: Any, name: str, kind: str) -> None:
    def figures(library: Any, path: str) -> list[float]:
        from torchao import quantization

        task = "SequenceClassification" if name == "bert" else "CausalLM"
        model = getattr(library, f"AutoModelFor{task}").from_pretrained(path)
        ids = batch(vocabulary=40)
        small: Any = copy.deepcopy(model)
        quantization.quantize_(small, getattr(quantization, kind)())
        in_int8 = [name for name, p in small.named_parameters() if type(p.data).__module__.startswith("torchao")]
        assert len(in_int8) >= 8
        logits = small(ids).logits
        assert torch.cosine_similarity(logits.flatten(), model(ids).logits.flatten(), 0) > 0.99
        text = small.generate(ids[:1, :4], max_new_tokens=3, do_sample=False) if name != "bert" else ids
        return [len(in_int8), float(logits.detach().abs().mean()), *text.flatten().tolist()]

    both(figures, folder(name))
