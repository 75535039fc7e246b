"""Defaults of the text part with experts in a narrower stream."""

from autoload.config import ConfigSpec, PreTrainedConfig
from autoload.configs.decoder import BIAS, LLAMA
from autoload.configs.decoder_attention_gate import muse_bases, muse_layers


def spark_layers(c: PreTrainedConfig) -> None:
    muse_layers(c)
    if c.mlp_layer_types is None:
        c.mlp_layer_types = ["sparse"] * c.num_hidden_layers


CONFIGS = {
    "muse_spark_text": ConfigSpec(
        LLAMA
        | BIAS
        | dict(
            vocab_size=202048,
            hidden_size=8192,
            intermediate_size=16384,
            num_hidden_layers=62,
            num_attention_heads=128,
            num_key_value_heads=16,
            head_dim=64,
            max_position_embeddings=1048576,
            rms_norm_eps=1e-5,
            eos_token_id=200001,
            bos_token_id=200000,
            sliding_window=2048,
            layer_types=None,
            final_logit_softcapping=20.0,
            qk_scale_factor=5.4730064863875,
            output_multiplier=0.1767766952966369,
            post_norm_eps=1e-8,
            layer_rope_theta=None,
            moe_intermediate_size=4096,
            num_local_experts=256,
            num_experts_per_tok=8,
            routed_scaling_factor=1.0,
            moe_hidden_size=4096,
            mlp_layer_types=None,
            residual_gate_temperature=0.3,
            output_router_logits=False,
        ),
        complete=spark_layers,
        finish=muse_bases,
        theta=5e5,
    ),
}
