"""Parakeet."""

import torch
from torch import Tensor

from tests.parity.harness import Case

ENCODER = dict(
    hidden_size=32,
    num_hidden_layers=3,
    num_attention_heads=4,
    intermediate_size=37,
    hidden_act="gelu_new",
    conv_kernel_size=5,
    subsampling_factor=4,
    subsampling_conv_channels=6,
    num_mel_bins=20,
)
PLAIN = ENCODER | dict(attention_bias=False, convolution_bias=False, scale_input=False, subsampling_factor=8)
PLAIN |= dict(num_mel_bins=24)
HEAD = dict(vocab_size=40, pad_token_id=3, ctc_loss_reduction="sum")


def ragged(sound: Tensor) -> dict[str, Tensor]:
    """A mask, without which the reference has no lengths for its loss."""
    mask = torch.ones(sound.shape[:2], dtype=torch.long)
    mask[1, 50:] = 0
    return {"attention_mask": mask}


CASES = [
    Case("parakeet_encoder", ENCODER, sound=(62, 20)),
    Case("parakeet_encoder", PLAIN, label="plain", sound=(100, 24)),
    Case("parakeet_ctc", HEAD | dict(encoder_config=ENCODER), sound=(62, 20), inputs=ragged),
]
