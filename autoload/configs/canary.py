"""Defaults of the configurations of Canary and of Cohere's ASR."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from autoload.config import ConfigSpec, PreTrainedConfig, make_config_class
from autoload.errors import ConfigError

PARAKEET = {"model_type": "parakeet_encoder"}


def canary_encoder(fields: Mapping[str, Any]) -> Mapping[str, Any]:
    """What the file says, or else the encoder of the model that was released."""
    return PARAKEET | dict(fields or dict(num_hidden_layers=32, num_mel_bins=128, scale_input=False, layerdrop=0.0))


def cohere_encoder(fields: Mapping[str, Any]) -> Mapping[str, Any]:
    """What the file says, and for the rest the encoder of the model that was released."""
    rates = ("dropout", "dropout_positions", "layerdrop", "activation_dropout", "attention_dropout")
    sizes = dict(hidden_size=1280, num_hidden_layers=48, intermediate_size=5120, num_mel_bins=128)
    return PARAKEET | dict.fromkeys(rates, 0.0) | sizes | dict(scale_input=False) | dict(fields)


def fill(config: PreTrainedConfig) -> None:
    """Heads of an even share of the width that share no keys, unless the file says otherwise."""
    if config.head_dim is None:
        config.head_dim = config.hidden_size // config.num_attention_heads
    if config.num_key_value_heads is None:
        config.num_key_value_heads = config.num_attention_heads
    if config.hidden_size % config.num_attention_heads:
        raise ConfigError("num_attention_heads", config.num_attention_heads, f"a divisor of {config.hidden_size}")


def agree(config: PreTrainedConfig) -> None:
    """Both sizes of the vocabulary are one."""
    inner = config.decoder_config.vocab_size
    if inner != config.vocab_size:
        raise ConfigError("vocab_size", config.vocab_size, f"that of decoder_config ({inner})")


def of_decoder(config: PreTrainedConfig, *args: Any, **kwargs: Any) -> PreTrainedConfig:
    """The configuration of the text part."""
    return config.decoder_config


TOKENS = dict(vocab_size=16384, pad_token_id=2, bos_token_id=4, eos_token_id=3)
DECODER = TOKENS | dict(
    hidden_size=1024,
    intermediate_size=4096,
    num_hidden_layers=8,
    num_attention_heads=8,
    num_key_value_heads=8,
    hidden_act="relu",
    max_position_embeddings=1024,
    initializer_range=0.02,
    use_cache=True,
    attention_bias=True,
    attention_dropout=0.0,
    head_dim=128,
    is_encoder_decoder=True,
)
BOTH = TOKENS | dict(
    encoder_config=None,
    use_cache=True,
    is_encoder_decoder=True,
    initializer_range=0.02,
)

CONFIGS = {
    "canary": ConfigSpec(
        BOTH | dict(decoder_config=None, tie_word_embeddings=True, decoder_start_token_id=7),
        complete=agree,
        sub_configs=dict(
            encoder_config=canary_encoder,
            decoder_config=make_config_class(
                "CanaryDecoderConfig", "canary_decoder", ConfigSpec(DECODER, complete=fill)
            ),
        ),
        members=dict(get_text_config=of_decoder),
    ),
    "cohere_asr": ConfigSpec(
        BOTH
        | DECODER
        | dict(head_dim=None, num_key_value_heads=None, tie_word_embeddings=False, decoder_start_token_id=None),
        complete=fill,
        sub_configs=dict(encoder_config=cohere_encoder),
        ignore_at_inference=(),
    ),
}
