"""CLAP."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from tests.parity.cases.bert import TINY
from tests.parity.harness import Case

TEXT = TINY | dict(type_vocab_size=1, pad_token_id=1)
AUDIO = dict(
    window_size=4,
    num_mel_bins=8,
    spec_size=32,
    hidden_act="gelu_new",
    patch_size=4,
    patch_stride=[2, 2],
    hidden_size=32,
    depths=[2, 3, 1],
    num_attention_heads=[2, 4, 4],
    patch_embeds_hidden_size=8,
    qkv_bias=False,
    mlp_ratio=2.5,
    aff_block_r=2,
    layer_norm_eps=1e-3,
)
CLAP = dict(
    text_config=TEXT, audio_config=AUDIO, projection_dim=18, projection_hidden_act="silu", logit_scale_init_value=3.0
)
FUSED = AUDIO | dict(
    enable_fusion=True, fusion_type="aff_2d", spec_size=48, window_size=5, num_mel_bins=12, qkv_bias=True
)
FUSED |= dict(enable_patch_layer_norm=False, depths=[2, 2], num_attention_heads=[2, 4], hidden_size=16)


def spectrograms(ids: Tensor) -> dict[str, Any]:
    """As long as the tower reads."""
    generator = torch.Generator().manual_seed(9)
    return {"input_features": torch.randn(len(ids), 1, 128, 8, generator=generator), "return_loss": True}


def pieces(ids: Tensor) -> dict[str, Tensor]:
    """Shorter ones, with pieces to fuse into some; more sounds than texts."""
    features = torch.randn(8, 4, 150, 12, generator=torch.Generator().manual_seed(9))
    return {"input_features": features, "is_longer": torch.arange(8)[:, None] % 3 == 1}


CASES = [
    Case("clap", CLAP, inputs=spectrograms),
    Case("clap", CLAP | dict(audio_config=FUSED), inputs=pieces, label="fused"),
]
