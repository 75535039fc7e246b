"""Defaults of Granite Speech 5's configurations."""

from __future__ import annotations

from autoload.config import ConfigSpec, PreTrainedConfig
from autoload.configs import parakeet
from autoload.errors import ConfigError


def fill(config: PreTrainedConfig) -> None:
    """Heads of an even share of the width, and the first two layers halve time, unless the file says otherwise."""
    if config.head_dim is None:
        config.head_dim = config.hidden_size // config.num_attention_heads
    if config.num_key_value_heads is None:
        config.num_key_value_heads = config.num_attention_heads
    if config.subsample_layers is None:
        config.subsample_layers = [0, 1]
    block, most = config.context_size, config.max_position_embeddings
    if not 0 < block <= most:
        raise ConfigError("context_size", block, f"a whole number from 1 to max_position_embeddings ({most})")


def agree(config: PreTrainedConfig) -> None:
    """The head is a layer of the encoder."""
    parakeet.spread(config)
    inner = config.encoder_config.vocab_size
    if inner != config.vocab_size:
        raise ConfigError("vocab_size", config.vocab_size, f"that of encoder_config ({inner})")


CONFIGS = {
    "granite_speech5_ctc": ConfigSpec(
        dict(
            parakeet.CONFIGS["parakeet_ctc"].defaults,
            vocab_size=16384,
            pad_token_id=0,
            tie_word_embeddings=True,
        ),
        complete=agree,
        sub_configs=dict(encoder_config="granite_speech5_encoder"),
        ignore_at_inference=(),
    ),
    "granite_speech5_encoder": ConfigSpec(
        dict(
            vocab_size=16384,
            hidden_size=1024,
            intermediate_size=4096,
            num_hidden_layers=16,
            num_attention_heads=8,
            num_key_value_heads=None,
            num_mel_bins=80,
            head_dim=None,
            hidden_act="silu",
            max_position_embeddings=512,
            context_size=128,
            conv_kernel_size=7,
            conv_expansion_factor=2,
            subsample_layers=None,
            attention_bias=True,
            attention_dropout=0.0,
            activation_dropout=0.0,
            initializer_range=0.02,
        ),
        complete=fill,
        ignore_at_inference=(),
    ),
}
