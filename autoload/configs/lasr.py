"""Defaults of LASR's configurations."""

from __future__ import annotations

from autoload.config import ConfigSpec, PreTrainedConfig
from autoload.configs import parakeet
from autoload.errors import ConfigError


def frames(config: PreTrainedConfig) -> int:
    """Frames of the spectrogram for each vector that is scored."""
    return config.encoder_config.subsampling_conv_stride**2


def two(config: PreTrainedConfig) -> None:
    """Heads never share keys, and a part has two weights: of the stream, and of what is added to it."""
    parakeet.heads(config)
    for name in ("feed_forward_residual_weights", "conv_residual_weights"):
        weights = getattr(config, name)
        if len(weights) != 2 or not all(isinstance(w, (int, float)) for w in weights):
            raise ConfigError(name, weights, "two numbers")


CONFIGS = {
    "lasr_ctc": ConfigSpec(
        dict(parakeet.CONFIGS["parakeet_ctc"].defaults, vocab_size=512, pad_token_id=0),
        complete=parakeet.spread,
        sub_configs=dict(encoder_config="lasr_encoder"),
        ignore_at_inference=(),
        members=dict(inputs_to_logits_ratio=property(frames)),
    ),
    "lasr_encoder": ConfigSpec(
        dict(
            hidden_size=512,
            num_hidden_layers=17,
            num_attention_heads=8,
            num_key_value_heads=8,
            intermediate_size=2048,
            hidden_act="silu",
            attention_bias=False,
            convolution_bias=False,
            conv_kernel_size=32,
            subsampling_conv_channels=256,
            num_mel_bins=128,
            subsampling_conv_kernel_size=5,
            subsampling_conv_stride=2,
            dropout=0.1,
            dropout_positions=0.0,
            layerdrop=0.1,
            activation_dropout=0.1,
            attention_dropout=0.1,
            max_position_embeddings=10000,
            initializer_range=0.02,
            layer_norm_eps=1e-6,
            feed_forward_residual_weights=[1.5, 0.5],
            conv_residual_weights=[2.0, 1.0],
            batch_norm_momentum=0.01,
            rope_parameters=None,
        ),
        complete=two,
    ),
}
