"""Speech2Text."""

from __future__ import annotations

import torch
from torch import Tensor

from tests.parity.harness import Case

TINY = dict(
    vocab_size=99,
    d_model=32,
    encoder_layers=3,
    decoder_layers=2,
    encoder_attention_heads=4,
    decoder_attention_heads=2,
    encoder_ffn_dim=37,
    decoder_ffn_dim=41,
    max_source_positions=60,
    max_target_positions=40,
    activation_function="gelu_new",
    conv_kernel_sizes=[5, 3],
    conv_channels=24,
    input_feat_per_channel=10,
    decoder_start_token_id=3,
)


def filter_banks(ids: Tensor) -> dict[str, Tensor | None]:
    """Sounds of several lengths in place of token ids."""
    generator = torch.Generator().manual_seed(7)
    mask = torch.ones(len(ids), 30, dtype=torch.int64)
    mask[0, 21:] = mask[-1, 12:] = 0
    return {
        "input_ids": None,
        "input_features": torch.randn(len(ids), 30, 10, generator=generator),
        "attention_mask": mask,
    }


SKIP = {"padding": "the inputs are ragged in every check"}
CASES = [
    Case("speech_to_text", TINY, inputs=filter_banks, skip=SKIP),
    Case(
        "speech_to_text",
        TINY | dict(scale_embedding=False, pad_token_id=4),
        inputs=filter_banks,
        skip=SKIP,
        label="unscaled",
    ),
]
