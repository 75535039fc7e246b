"""Moonshine."""

from __future__ import annotations

import torch
from torch import Tensor

from tests.parity.harness import Case

TINY = dict(
    vocab_size=99,
    hidden_size=40,
    intermediate_size=37,
    encoder_num_hidden_layers=3,
    decoder_num_hidden_layers=2,
    encoder_num_attention_heads=2,
    decoder_num_attention_heads=2,
    max_position_embeddings=60,
    encoder_hidden_act="gelu_new",
    decoder_hidden_act="relu",
    attention_bias=True,
    pad_token_id=0,
    decoder_start_token_id=3,
)


def waveforms(ids: Tensor) -> dict[str, Tensor | None]:
    """Sounds of several lengths in place of token ids; of 12 states."""
    generator = torch.Generator().manual_seed(7)
    mask = torch.ones(len(ids), 5119, dtype=torch.int64)
    mask[0, 3700:] = mask[-1, 1200:] = 0
    return {
        "input_ids": None,
        "input_values": torch.randn(len(ids), 5119, generator=generator),
        "attention_mask": mask,
    }


CASES = [Case("moonshine", TINY, inputs=waveforms, skip={"padding": "the inputs are ragged in every check"})]
