"""Moonshine for streams."""

from __future__ import annotations

import torch
from torch import Tensor

from tests.parity.harness import Case

ENCODER = dict(
    hidden_size=36,
    intermediate_size=37,
    num_hidden_layers=4,
    num_attention_heads=4,
    num_key_value_heads=2,
    head_dim=10,
    hidden_act="gelu_new",
    attention_bias=True,
    sample_rate=8000,
    frame_ms=2.5,
    sliding_windows=[[6, 2], [6, 2], [5, 0], [16, 5]],
)
TINY = dict(
    encoder_config=ENCODER,
    vocab_size=99,
    hidden_size=40,
    intermediate_size=41,
    num_hidden_layers=2,
    num_attention_heads=2,
    num_key_value_heads=2,
    head_dim=10,
    hidden_act="relu",
    max_position_embeddings=60,
    attention_bias=True,
    decoder_start_token_id=3,
)
ALIKE = TINY | dict(
    hidden_size=36, tie_word_embeddings=True, rope_parameters={"rope_type": "default", "rope_theta": 50.0}
)


def waveforms(ids: Tensor) -> dict[str, Tensor | None]:
    """Sounds of several lengths in place of token ids; of 16 states. Each sees a real one."""
    mask = torch.ones(len(ids), 1280, dtype=torch.int64)
    mask[0, 850:] = mask[-1, 680:] = 0
    return whole(ids) | {"attention_mask": mask}


def whole(ids: Tensor) -> dict[str, Tensor | None]:
    """Sounds without a mask."""
    return {"input_ids": None, "input_values": torch.randn(len(ids), 1280, generator=torch.Generator().manual_seed(7))}


RAGGED = {"padding": "the inputs are ragged in every check"}
CASES = [
    Case("moonshine_streaming", TINY, inputs=waveforms, skip=RAGGED),
    Case(
        "moonshine_streaming",
        ALIKE,
        inputs=whole,
        label="alike",
        skip={"padding": "sounds are padded in the other case"},
    ),
]
