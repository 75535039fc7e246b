"""Defaults of configurations of Nemotron's streaming speech recognition."""

from __future__ import annotations

from autoload.config import ConfigSpec, PreTrainedConfig
from autoload.configs import parakeet, transducer


def subsampled(config: PreTrainedConfig) -> int:
    """Numbers in a vector that the convolutions give: channels times what is left of the bins."""
    stride, bins = config.subsampling_conv_stride, config.num_mel_bins
    for _ in range(config.subsampling_factor.bit_length() - 1):
        bins = (bins + stride - 2) // stride + 1
    return config.subsampling_conv_channels * bins


ENCODER = dict(encoder_config="nemotron_asr_streaming_encoder")
CONFIGS = {
    "nemotron3_5_asr": ConfigSpec(
        {name: value for name, value in transducer.RNNT.items() if name != "initializer_range"}
        | dict(
            vocab_size=13088,
            pad_token_id=0,
            blank_token_id=13087,
            num_prompts=128,
            prompt_intermediate_size=2048,
            default_prompt_id=101,
        ),
        sub_configs=ENCODER,
        ignore_at_inference=(),
    ),
    "nemotron_asr_streaming": ConfigSpec(
        transducer.RNNT | dict(vocab_size=1025, pad_token_id=0, blank_token_id=1024),
        complete=parakeet.spread,
        sub_configs=ENCODER,
        ignore_at_inference=(),
    ),
    "nemotron_asr_streaming_encoder": ConfigSpec(
        dict(parakeet.CONFIGS["parakeet_encoder"].defaults) | dict(sliding_window=71, default_num_lookahead_tokens=13),
        complete=parakeet.heads,
        members={"subsampling_out_hidden_size": property(subsampled)},
    ),
}
