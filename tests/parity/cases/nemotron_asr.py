"""Nemotron's streaming speech recognition."""

import importlib
from typing import Any

import torch
from torch import Tensor

from tests.parity.cases.transducer import BLANK, HEAD, PAD, text
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
    num_mel_bins=21,
    sliding_window=6,
    default_num_lookahead_tokens=1,
)
PLAIN = ENCODER | dict(attention_bias=False, convolution_bias=False, scale_input=False, subsampling_factor=2)
PLAIN |= dict(subsampling_conv_kernel_size=5, subsampling_conv_stride=2, default_num_lookahead_tokens=3)
SMALL = HEAD | dict(pad_token_id=PAD, blank_token_id=BLANK, encoder_config=ENCODER | dict(num_hidden_layers=2))


def mend() -> None:
    """Give the reference's eager attention the mask that its other kernels get: it takes zeros for what is hidden."""
    module: Any = importlib.import_module("transformers.models.nemotron_asr_streaming.modeling_nemotron_asr_streaming")
    make = module.create_bidirectional_mask
    if getattr(make, "mended", False):
        return

    def mended(**arguments: Any) -> Tensor:
        mask = make(**arguments)
        return mask if mask.dtype == torch.bool else mask == 0

    mended.mended = True  # type: ignore[attr-defined]
    module.create_bidirectional_mask = mended


def unlabelled(sound: Tensor) -> dict[str, Tensor]:
    """The reference has no loss for these."""
    return {name: x for name, x in text(sound).items() if name != "labels"}


def prompted(sound: Tensor) -> dict[str, Tensor]:
    """In three languages."""
    return unlabelled(sound) | {"prompt_ids": torch.tensor([2, 0, 4])}


CASES = [
    Case("nemotron_asr_streaming_encoder", ENCODER, sound=(62, 21), mend=mend),
    Case("nemotron_asr_streaming_encoder", PLAIN, label="plain", sound=(41, 21), inputs=None, mend=mend),
    Case("nemotron_asr_streaming", SMALL, sound=(62, 21), inputs=unlabelled, mend=mend),
    Case(
        "nemotron3_5_asr",
        SMALL | dict(num_prompts=6, prompt_intermediate_size=11, default_prompt_id=5),
        sound=(62, 21),
        inputs=prompted,
        mend=mend,
    ),
]
