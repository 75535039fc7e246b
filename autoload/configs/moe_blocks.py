"""Defaults of the decoders with experts that look at few blocks of keys."""

from autoload.config import ConfigSpec, PreTrainedConfig
from autoload.configs.decoder import LLAMA
from autoload.configs.moe import ROUTED
from autoload.errors import ConfigError

# The flat names of what the Hub's file says under `sparse_attention_config`.
INDEX = dict(
    index_n_heads="sparse_num_index_heads",
    index_head_dim="sparse_index_dim",
    index_block_size="sparse_block_size",
    index_topk_blocks="sparse_topk_blocks",
    index_local_blocks="sparse_local_block",
)


def minimax_layers(c: PreTrainedConfig) -> None:
    """Which layers have an index, and which have experts; the activation is always the clamped one."""
    c.hidden_act = "silu"
    sparse, frequency = c.__dict__.pop("sparse_attention_config", None) or {}, c.__dict__.pop("moe_layer_freq", None)
    if not isinstance(sparse, dict):
        raise ConfigError("sparse_attention_config", sparse, "an object")
    c.update({flat: sparse[name] for flat, name in INDEX.items() if name in sparse})
    layers = sparse.get("sparse_attention_freq", [0] * c.num_hidden_layers)
    if c.layer_types is None:
        c.layer_types = ["minimax_m3_sparse" if indexed else "full_attention" for indexed in layers]
    if c.mlp_layer_types is None:
        routed = [1] * c.num_hidden_layers if frequency is None else frequency
        c.mlp_layer_types = ["sparse" if r else "dense" for r in routed]


CONFIGS = {
    "minimax_m3_vl_text": ConfigSpec(
        LLAMA
        | ROUTED
        | dict(
            vocab_size=200064,
            hidden_size=6144,
            intermediate_size=3072,
            num_hidden_layers=60,
            num_attention_heads=64,
            num_key_value_heads=4,
            head_dim=128,
            max_position_embeddings=524288,
            bos_token_id=200034,
            eos_token_id=200020,
            num_experts_per_tok=4,
            num_local_experts=128,
            router_jitter_noise=0.0,
            dense_intermediate_size=12288,
            shared_intermediate_size=3072,
            routed_scaling_factor=2.0,
            rotary_dim=64,
            swiglu_alpha=1.702,
            swiglu_limit=7.0,
            mlp_layer_types=None,
            index_n_heads=4,
            index_head_dim=128,
            index_block_size=128,
            index_topk_blocks=16,
            index_local_blocks=1,
            layer_types=None,
        ),
        aliases={"num_experts": "num_local_experts"},
        complete=minimax_layers,
        theta=5e6,
    ),
}
