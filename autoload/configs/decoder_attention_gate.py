"""Defaults of decoders that gate what attention saw."""

from autoload.config import ConfigSpec, PreTrainedConfig
from autoload.configs.decoder import BIAS, LLAMA, without


def from_the_end(c: PreTrainedConfig) -> list[bool]:
    """Each fourth layer, counted from the last."""
    return [(c.num_hidden_layers - 1 - i) % 4 == 0 for i in range(c.num_hidden_layers)]


def muse_layers(c: PreTrainedConfig) -> None:
    if c.layer_types is None:
        c.layer_types = ["full_attention" if full else "sliding_attention" for full in from_the_end(c)]


def muse_bases(c: PreTrainedConfig) -> None:
    """Layers that see everything do not rotate."""
    if c.layer_rope_theta is None:
        c.layer_rope_theta = [0 if full else c.rope_parameters["rope_theta"] for full in from_the_end(c)]


def hrm_cycles(c: PreTrainedConfig) -> None:
    """`num_hidden_layers` counts every run of every layer, as the cache does."""
    if c.L_bp_cycles is None:
        c.L_bp_cycles = [2]
    if c.embedding_scale is None:
        c.embedding_scale = 1.0 / c.initializer_range
    if c.num_layers_per_stack is None:
        c.num_layers_per_stack = c.num_hidden_layers
        c.num_hidden_layers = c.num_layers_per_stack * c.H_cycles * (c.L_cycles + 1)


CONFIGS = {
    "muse_glimmer_text": ConfigSpec(
        without(LLAMA, "hidden_act")
        | BIAS
        | dict(
            vocab_size=202048,
            hidden_size=6656,
            intermediate_size=19968,
            num_hidden_layers=52,
            num_key_value_heads=2,
            head_dim=128,
            hidden_activation="silu",
            max_position_embeddings=131072,
            rms_norm_eps=1e-5,
            eos_token_id=200001,
            bos_token_id=200000,
            sliding_window=2048,
            layer_types=None,
            final_logit_softcapping=20.0,
            qk_scale_factor=3.87,
            output_multiplier=0.19611613513818404,
            post_norm_eps=1e-8,
            layer_rope_theta=None,
        ),
        complete=muse_layers,
        finish=muse_bases,
    ),
    "hrm_text": ConfigSpec(
        without(LLAMA, "num_key_value_heads")
        | BIAS
        | dict(
            vocab_size=151808,
            hidden_size=1536,
            intermediate_size=4096,
            num_hidden_layers=16,
            num_attention_heads=12,
            bos_token_id=None,
            eos_token_id=None,
            mlp_bias=False,
            head_dim=128,
            H_cycles=2,
            L_cycles=3,
            L_bp_cycles=None,
            embedding_scale=None,
            prefix_lm=True,
            num_layers_per_stack=None,
        ),
        complete=hrm_cycles,
    ),
}
