"""Defaults of Gemma 4's image tower."""

from autoload.config import ConfigSpec, PreTrainedConfig
from autoload.errors import ConfigError


def two_axes(c: PreTrainedConfig) -> None:
    """Half of a head turns with the column, half with the row."""
    rope = c.rope_parameters
    if rope["rope_type"] == "default":
        rope["rope_type"] = "axial"
    if rope["rope_type"] != "axial":
        raise ConfigError("rope_parameters.rope_type", rope["rope_type"], "'axial'")
    if c.head_dim % 4:
        raise ConfigError("head_dim", c.head_dim, "a multiple of 4: pairs for each of two axes")


CONFIGS = {
    "gemma4_vision": ConfigSpec(
        dict(
            hidden_size=768,
            intermediate_size=3072,
            num_hidden_layers=16,
            num_attention_heads=12,
            num_key_value_heads=12,
            head_dim=64,
            hidden_activation="gelu_pytorch_tanh",
            rms_norm_eps=1e-6,
            max_position_embeddings=131072,
            attention_bias=False,
            attention_dropout=0.0,
            rope_parameters=None,
            pooling_kernel_size=3,
            patch_size=16,
            position_embedding_size=10240,
            use_clipped_linears=False,
            standardize=False,
            initializer_range=0.02,
        ),
        finish=two_axes,
        theta=100.0,
        ignore_at_inference=(),
    ),
}
