"""Defaults of the decoders with several streams."""

from autoload.config import ConfigSpec, PreTrainedConfig
from autoload.configs.mla import LATENT, ROUTED
from autoload.configs.mla_indexed import check_sharing, indexed


def hy_v4_layers(c: PreTrainedConfig) -> None:
    """A dense layer in front; each fourth layer after the first has an index of its own."""
    c.num_key_value_heads = c.num_attention_heads
    indexed(c)
    layers = range(c.num_hidden_layers)
    if c.mlp_layer_types is None:
        c.mlp_layer_types = ["sparse" if i else "dense" for i in layers]
    if c.indexer_types is None:
        c.indexer_types = ["full" if i == 0 or (i - 1) % 4 == 0 else "shared" for i in layers]
    check_sharing(c)


CONFIGS = {
    "hy_v4": ConfigSpec(
        LATENT
        | ROUTED
        | dict(
            vocab_size=120832,
            hidden_size=2816,
            intermediate_size=6912,
            moe_intermediate_size=768,
            num_hidden_layers=34,
            num_key_value_heads=32,
            head_dim=256,
            max_position_embeddings=262144,
            initializer_range=0.006,
            rms_norm_eps=1e-5,
            pad_token_id=120002,
            bos_token_id=120000,
            eos_token_id=120025,
            n_routed_experts=256,
            num_experts_per_tok=8,
            routed_scaling_factor=2.827,
            qk_nope_head_dim=192,
            v_head_dim=256,
            mlp_layer_types=None,
            layer_types=None,
            index_topk=2048,
            index_head_dim=128,
            index_n_heads=16,
            indexer_types=None,
            hc_mult=4,
            hc_magnitude=2.0,
            hc_eps=1e-6,
            learnable_sink_init=0.0,
            swiglu_limit=10.0,
        ),
        aliases={"num_local_experts": "n_routed_experts"},
        complete=hy_v4_layers,
    ),
}
