"""Defaults of Gemma 4's audio tower."""

from autoload.config import ConfigSpec, PreTrainedConfig
from autoload.errors import ConfigError


def complete(c: PreTrainedConfig) -> None:
    if len(c.subsampling_conv_channels) != 2:
        raise ConfigError("subsampling_conv_channels", c.subsampling_conv_channels, "two numbers")
    for name, least in (("attention_chunk_size", 1), ("attention_context_left", 1), ("attention_context_right", 0)):
        if not isinstance(value := getattr(c, name), int) or value < least:
            raise ConfigError(name, value, f"a whole number of at least {least}")


CONFIGS = {
    "gemma4_audio": ConfigSpec(
        dict(
            hidden_size=1024,
            num_hidden_layers=12,
            num_attention_heads=8,
            hidden_act="silu",
            subsampling_conv_channels=[128, 32],
            conv_kernel_size=5,
            residual_weight=0.5,
            attention_chunk_size=12,
            attention_context_left=13,
            attention_context_right=0,
            attention_logit_cap=50.0,
            attention_invalid_logits_value=-1e9,
            use_clipped_linears=True,
            rms_norm_eps=1e-6,
            gradient_clipping=1e10,
            output_proj_dims=1536,
            initializer_range=0.02,
        ),
        complete=complete,
        ignore_at_inference=(),
    ),
}
