"""Gemma 4's audio tower."""

import torch
from torch import Tensor

from tests.parity.harness import Case

TOWER = dict(
    hidden_size=32,
    num_hidden_layers=3,
    num_attention_heads=4,
    hidden_act="gelu",
    subsampling_conv_channels=[16, 6],
    conv_kernel_size=4,
    residual_weight=0.7,
    attention_chunk_size=4,
    attention_context_left=6,
    attention_context_right=2,
    attention_logit_cap=2.0,
    attention_invalid_logits_value=-2.0,
    rms_norm_eps=1e-3,
    gradient_clipping=1.5,
    output_proj_dims=20,
)


def ragged(sound: Tensor) -> dict[str, Tensor]:
    """A mask that leaves some frames out."""
    mask = torch.ones(sound.shape[:2], dtype=torch.bool)
    mask[1, 50:] = False
    mask[2, 17:] = False
    return {"attention_mask": mask}


PLAIN = dict(use_clipped_linears=False, attention_chunk_size=6, attention_context_left=4, attention_context_right=0)

CASES = [
    Case("gemma4_audio", TOWER, sound=(58, 16)),
    Case("gemma4_audio", TOWER, label="ragged", sound=(58, 16), inputs=ragged),
    Case("gemma4_audio", TOWER | PLAIN, label="plain", sound=(41, 16)),
]
