"""Defaults of the Gemma of several streams."""

from autoload.config import ConfigSpec, PreTrainedConfig
from autoload.configs.decoder_gemma import COMMON
from autoload.configs.decoder_windows import every
from autoload.errors import ConfigError


def gemma3n_layers(c: PreTrainedConfig) -> None:
    """A size and a sparsity for each layer."""
    count = c.num_hidden_layers
    if not isinstance(c.intermediate_size, list):
        c.intermediate_size = [c.intermediate_size] * count
    if c.activation_sparsity_pattern is None:
        sparse = 10 if count > 10 else 0
        c.activation_sparsity_pattern = [0.95] * sparse + [0.0] * (count - sparse)
    for field in ("intermediate_size", "activation_sparsity_pattern"):
        if len(getattr(c, field)) != count:
            raise ConfigError(field, getattr(c, field), f"one number for each of the {count} layers")
    every(c, 5)


CONFIGS = {
    "gemma3n_text": ConfigSpec(
        COMMON
        | dict(
            vocab_size=262400,
            hidden_size=2048,
            intermediate_size=16384,
            num_hidden_layers=35,
            num_key_value_heads=2,
            max_position_embeddings=32768,
            final_logit_softcapping=30.0,
            vocab_size_per_layer_input=262144,
            hidden_size_per_layer_input=256,
            altup_active_idx=0,
            altup_coef_clip=120.0,
            altup_correct_scale=True,
            altup_num_inputs=4,
            num_kv_shared_layers=15,
            laurel_rank=64,
            activation_sparsity_pattern=None,
        ),
        complete=gemma3n_layers,
        theta={"full_attention": 1e6, "sliding_attention": 1e4},
    ),
}
