"""Defaults of LED's configuration."""

from autoload.config import ConfigSpec
from autoload.configs.bart import BART, NAMES, without

CONFIGS = {
    "led": ConfigSpec(
        without(BART, "max_position_embeddings", "scale_embedding", "forced_eos_token_id", "is_decoder")
        | dict(max_encoder_position_embeddings=16384, max_decoder_position_embeddings=1024, attention_window=512),
        aliases=NAMES | dict(attention_probs_dropout_prob="attention_dropout", initializer_range="init_std"),
        ignore_at_inference=(),
    ),
}
