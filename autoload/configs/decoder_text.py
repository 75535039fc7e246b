"""Defaults of the text parts of further multimodal models."""

from autoload.config import ConfigSpec, PreTrainedConfig
from autoload.configs.decoder import LLAMA, heads, without
from autoload.configs.decoder_windows import MINISTRAL
from autoload.errors import ConfigError


def molmo2_layers(c: PreTrainedConfig) -> None:
    """All layers have scaled positions unless the file names some."""
    if c.qk_norm_type not in ("qwen3", "olmo"):
        raise ConfigError("qk_norm_type", c.qk_norm_type, '"qwen3" or "olmo"')
    if c.additional_vocab_size < 0:
        raise ConfigError("additional_vocab_size", c.additional_vocab_size, "a number of at least 0")
    if c.rope_scaling_layers is None:
        c.rope_scaling_layers = list(range(c.num_hidden_layers))


CONFIGS = {
    "molmo2_text": ConfigSpec(
        without(LLAMA, "pad_token_id", "bos_token_id", "eos_token_id")
        | dict(
            num_key_value_heads=8,
            head_dim=128,
            vocab_size=151936,
            additional_vocab_size=128,
            attention_bias=False,
            qk_norm_type="qwen3",
            num_hidden_layers=36,
            intermediate_size=12288,
            max_position_embeddings=36864,
            rope_scaling_layers=None,
            norm_after=False,
        ),
        aliases={"qkv_bias": "attention_bias", "layer_norm_eps": "rms_norm_eps"},
        complete=molmo2_layers,
    ),
    "voxtral_realtime_text": ConfigSpec(
        without(MINISTRAL, "tie_word_embeddings") | dict(sliding_window=4096), complete=heads
    ),
}
