"""Encoders leave padding out: the same results, fewer tokens."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from autoload.layers.packing import Packing
from tests.checkpoints import tiny

LENGTHS = [[7, 3, 3, 5], [7, 1, 1, 1], [7, 7, 7, 2]]


def batch(lengths: list[int]) -> dict[str, torch.Tensor]:
    mask = (torch.arange(max(lengths))[None] < torch.tensor(lengths)[:, None]).long()
    ids = torch.randint(5, 60, mask.shape, generator=torch.Generator().manual_seed(0))
    return {"input_ids": ids * mask, "attention_mask": mask, "token_type_ids": (ids % 2) * mask}


def tokens_seen(model: Any) -> list[int]:
    """Tokens that each call of the first layer's query gets."""
    seen: list[int] = []
    query = model.base_model.encoder.layer[0].attention.self.query
    query.register_forward_pre_hook(lambda module, args: seen.append(args[0].shape[:-1].numel()))
    return seen


@pytest.mark.parametrize("lengths", LENGTHS, ids=str)
def test_each_text_is_as_if_it_were_alone(lengths: list[int]) -> None:
    model, inputs = tiny("bert"), batch(lengths)
    seen = tokens_seen(model)
    with torch.no_grad():
        out = model(**inputs, output_hidden_states=True)
        assert seen == [sum(lengths)]
        for row, length in enumerate(lengths):
            alone = model(
                **{name: value[row : row + 1, :length] for name, value in inputs.items()}, output_hidden_states=True
            )
            for found, expected in zip(out.hidden_states, alone.hidden_states, strict=True):
                assert torch.allclose(found[row, :length], expected[0], atol=1e-6)
            assert torch.allclose(out.pooler_output[row], alone.pooler_output[0], atol=1e-6)


def test_gradients_are_those_of_the_padded_pass() -> None:
    inputs = batch([7, 3, 2, 5])
    labels = inputs["input_ids"].masked_fill(inputs["attention_mask"] == 0, -100)
    grads = []
    for kernel in ("sdpa", "eager"):
        model = tiny("bert", "MaskedLM", attn_implementation=kernel)
        seen = tokens_seen(model)
        model(**inputs, labels=labels).loss.backward()
        assert seen == [17 if kernel == "sdpa" else 28]
        grads.append([p.grad for p in model.parameters()])
    assert all(torch.allclose(a, b, atol=1e-6) for a, b in zip(*grads, strict=True))


def test_when_padding_stays() -> None:
    mask = batch([7, 3, 3, 5])["attention_mask"]
    assert Packing.of(mask) is not None
    assert Packing.of(None) is None and Packing.of(torch.ones(2, 9)) is None
    assert Packing.of(mask.flip(1)) is None, "on the left"
    assert Packing.of(mask[:, None, None]) is None, "a ready mask"
    model, inputs = tiny("bert"), batch([7, 3, 3, 5])
    seen = tokens_seen(model)
    with torch.no_grad():
        model(**inputs, output_attentions=True)
    assert seen == [28], "weights are asked for"


def test_holes_and_neighbours_of_equal_length() -> None:
    packing = Packing.of(torch.tensor([[1, 0, 1, 0], [1, 1, 0, 0], [1, 0, 0, 0]]))
    assert packing is not None and packing.runs == [(0, 2, 2), (4, 1, 1)]
    x = torch.arange(12.0).reshape(3, 4, 1)
    assert packing.pack(x).flatten().tolist() == [0, 2, 4, 5, 8]
    assert packing.unpack(packing.pack(x)).flatten().tolist() == [0, 0, 2, 0, 4, 5, 0, 0, 8, 0, 0, 0]
