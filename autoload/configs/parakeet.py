"""Defaults of Parakeet's configurations."""

from __future__ import annotations

from autoload.config import ConfigSpec, PreTrainedConfig


def heads(config: PreTrainedConfig) -> None:
    """Heads never share keys."""
    config.num_key_value_heads = config.num_attention_heads


def spread(config: PreTrainedConfig) -> None:
    """The encoder's spread of fresh values is the head's too."""
    config.initializer_range = config.encoder_config.initializer_range


CONFIGS = {
    "parakeet_ctc": ConfigSpec(
        dict(
            vocab_size=1025,
            ctc_loss_reduction="mean",
            ctc_zero_infinity=True,
            encoder_config=None,
            pad_token_id=1024,
            initializer_range=0.02,
        ),
        complete=spread,
        sub_configs=dict(encoder_config="parakeet_encoder"),
        ignore_at_inference=(),
    ),
    "parakeet_encoder": ConfigSpec(
        dict(
            hidden_size=1024,
            num_hidden_layers=24,
            num_attention_heads=8,
            num_key_value_heads=8,
            intermediate_size=4096,
            hidden_act="silu",
            attention_bias=True,
            convolution_bias=True,
            conv_kernel_size=9,
            subsampling_factor=8,
            subsampling_conv_channels=256,
            num_mel_bins=80,
            subsampling_conv_kernel_size=3,
            subsampling_conv_stride=2,
            dropout=0.1,
            dropout_positions=0.0,
            layerdrop=0.1,
            activation_dropout=0.1,
            attention_dropout=0.1,
            max_position_embeddings=5000,
            scale_input=True,
            initializer_range=0.02,
        ),
        complete=heads,
    ),
}
